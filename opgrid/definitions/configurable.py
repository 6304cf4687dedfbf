"""Resources as pydantic models: their fields are their config, or other resources."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from typing import Any, Self, get_args

import pydantic

from opgrid.config.env_in_models import holds_reference
from opgrid.config.files import merged
from opgrid.config.model import Config, ModelType, refuse_secrets, to_plain
from opgrid.config.report import Report
from opgrid.config.schema import ABSENT, ConfigType, Field, plain_values
from opgrid.definitions.resource import InitResourceContext, ResourceDefinition, is_dependency, is_resource_annotation
from opgrid.errors import InvalidDefinitionError


class ConfigurableResourceFactory(Config):
    """Makes something that is not itself: override ``create_resource``. Ops take ``ResourceParam[What]``."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    _context: InitResourceContext | None = pydantic.PrivateAttr(default=None)
    _at_launch: bool = pydantic.PrivateAttr(default=False)

    def __class_getitem__(cls, item: Any) -> Any:
        """``ConfigurableResource[Client]`` says what is made of it, and is the same class."""
        return super().__class_getitem__(item) if cls.__pydantic_generic_metadata__["parameters"] else cls

    # ---- for users to override -------------------------------------------------------------------------------------

    def create_resource(self, context: InitResourceContext) -> Any:
        """The object that ops get."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it creates: override create_resource().")

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Called before it is used."""

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Called after it was used, whatever happened."""

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Generator[Any, None, None]:
        """Setup, use and teardown in one; the default calls the three above."""
        self.setup_for_execution(context)
        try:
            yield self.create_resource(context)
        finally:
            self.teardown_after_execution(context)

    # ---- for users to call -----------------------------------------------------------------------------------------

    @classmethod
    def configure_at_launch(cls, **values: Any) -> Self:
        """What is not given here has to come from the run config."""
        made = cls.model_construct(_fields_set=set(values), **values)
        made._at_launch = True
        return made

    def get_resource_context(self) -> InitResourceContext:
        """Raises InvalidDefinitionError outside of a run."""
        if self._context is None:
            raise InvalidDefinitionError(f"{type(self).__name__} was not opened by a run: it has no context.")
        return self._context

    def with_resource_context(self, context: InitResourceContext) -> Self:
        made = self.model_copy()
        made._context = context
        return made

    def process_config_and_initialize(self) -> Any:
        """The object, without a run; what it opens stays open."""
        manager = self.process_config_and_initialize_cm()
        return manager.__enter__()

    @contextmanager
    def process_config_and_initialize_cm(self) -> Iterator[Any]:
        definition = _revealed(self).as_resource_definition(type(self).__name__)
        with definition.open(InitResourceContext(definition.read_config(None))) as made:
            yield made

    @classmethod
    def _makes_itself(cls) -> bool:
        return False  # what uses it is given one

    @classmethod
    def from_resource_context(cls, context: InitResourceContext) -> Any:
        return cls(**_values_of(context.resource_config)).process_config_and_initialize()

    @classmethod
    def from_resource_context_cm(cls, context: InitResourceContext) -> Any:
        return cls(**_values_of(context.resource_config)).process_config_and_initialize_cm()

    # ---- for the run -----------------------------------------------------------------------------------------------

    def as_resource_definition(self, key: str) -> ResourceDefinition:
        return ConfigurableDefinition(self, key)


class ConfigurableResource(ConfigurableResourceFactory):
    """Is itself what ops get: ``def crunch(server: Server)``. Its values may be ``EnvVar("NAME")``."""

    def create_resource(self, context: InitResourceContext) -> Any:
        return self


class ConfigurableDefinition(ResourceDefinition):
    """A configurable resource in the place of a definition."""

    def __init__(self, given: ConfigurableResourceFactory, key: str) -> None:
        super().__init__(_unused, None, type(given).__doc__)
        self.given = given
        self.key = key
        self.nested = nested_of(given)
        self.shared: dict[str, str] = {}  #: of the nested ones, those that are bound to a key of the job, too
        plain = {name: each for name, each in to_plain_config(given).items() if name not in self.nested}
        kind = GivenModel(config_model(type(given), self.nested), plain)
        self.__dict__["config_field"] = Field(kind) if kind.model.model_fields else None

    @property
    def takes_any_config(self) -> bool:
        return False

    @property
    def open_at_launch(self) -> list[str]:
        """Nested ones that the run config has to complete, and that it cannot name: no key of the job is theirs."""
        return [
            name
            for name, inner in self.nested.items()
            if name not in self.shared and isinstance(inner, ConfigurableResourceFactory) and inner._at_launch
        ]

    def among(self, keys: Mapping[int, str]) -> ResourceDefinition:
        shared = {name: keys[id(inner)] for name, inner in self.nested.items() if id(inner) in keys}
        if not shared:
            return self
        made = copy.copy(self)
        made.shared, made.required_resource_keys = shared, frozenset(shared.values())
        return made

    def open(self, context: InitResourceContext) -> Any:
        return self._opened(context)

    @contextmanager
    def _opened(self, context: InitResourceContext) -> Iterator[Any]:
        told = context.replace_config(plain_values(context.resource_config) or {})
        with ExitStack() as stack:
            values = _values_of(context.resource_config)
            for name, inner in self.nested.items():
                if name in self.shared:
                    values[name] = getattr(context.resources, self.shared[name])
                else:
                    values[name] = stack.enter_context(_open_nested(inner, name, context))
            made = _assembled(type(self.given), values)
            made = made.with_resource_context(told)
            for private, value in (self.given.__pydantic_private__ or {}).items():
                if private not in ("_context", "_at_launch"):
                    setattr(made, private, value)
            manager = made.yield_for_execution(told)
            if isinstance(manager, AbstractAsyncContextManager):
                manager = _on_the_event_loop(manager)
            elif inspect.isgenerator(manager):
                manager = contextmanager(lambda: manager)()
            yield stack.enter_context(manager)


class GivenModel(ConfigType):
    """The config of a resource: what it was built with, and what the run config says over that."""

    def __init__(self, model: type[Config], given: Mapping[str, Any]) -> None:
        self.kind = ModelType(model)
        self.model = model
        self.given = dict(given)

    def check(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, Mapping):
            return self.kind.check(value, path, report)
        return self.kind.check(merged([self.given, value]), path, report)

    def load(self, value: Any) -> Any:
        return self.kind.load(merged([self.given, value or {}]))

    def default(self) -> Any:
        report = Report()
        self.kind.check(self.given, "", report)
        return ABSENT if report.problems else self.given

    def json_schema(self) -> dict[str, Any]:
        found = self.kind.json_schema()
        left = [name for name in found.get("required", ()) if name not in self.given]
        return {
            **{key: value for key, value in found.items() if key != "required"},
            **({"required": left} if left else {}),
        }

    def shown(self) -> str:
        return self.kind.shown()

    def example(self) -> Any:
        return {name: each for name, each in self.kind.example().items() if name not in self.given}

    def fields(self) -> Mapping[str, Field]:
        return self.kind.fields()


def config_model(owner: type[ConfigurableResourceFactory], nested: Mapping[str, Any]) -> type[Config]:
    """The fields of a resource that are config, as a model of their own."""
    fields: dict[str, Any] = {
        name: (field.annotation, field) for name, field in owner.model_fields.items() if name not in nested
    }
    made: type[Config] = pydantic.create_model(
        f"{owner.__name__}",
        __base__=Config,
        __config__=None,
        __module__=owner.__module__,
        __validators__=_validators(owner, set(fields)),
        **fields,
    )
    return made


def _validators(owner: type[ConfigurableResourceFactory], fields: set[str]) -> dict[str, Any]:
    """Those of single fields: what the owner says of itself as a whole needs what is nested in it."""
    return {
        name: pydantic.field_validator(*kept, mode=each.info.mode, check_fields=False)(staticmethod(each.func))
        for name, each in owner.__pydantic_decorators__.field_validators.items()
        if (kept := [field for field in each.info.fields if field in fields])
    }


def nested_of(given: ConfigurableResourceFactory) -> dict[str, Any]:
    """The fields that hold other resources."""
    found: dict[str, Any] = {}
    for name, field in type(given).model_fields.items():
        value = getattr(given, name, None)
        marked = is_resource_annotation(field.annotation) or any(
            is_resource_annotation(each) for each in get_args(field.annotation)
        )
        if (
            isinstance(value, ConfigurableResourceFactory | ResourceDefinition)
            or (marked and value is not None)
            or (is_dependency(field) and name in given.__dict__)
        ):
            found[name] = value
    return found


def to_plain_config(given: ConfigurableResourceFactory) -> dict[str, Any]:
    nested = nested_of(given)
    kept = {name: getattr(given, name) for name in given.model_fields_set if name not in nested}
    refuse_secrets(kept, type(given).__name__)
    return to_plain(type(given).model_construct(_fields_set=set(kept), **kept) if nested else given)


def with_variables_read(given: Any) -> Any:
    """A resource that is used without a run; what refers to no variable is given back as it is."""
    if not isinstance(given, ConfigurableResourceFactory) or not holds_reference(given):
        return given
    read = _values_of(ConfigurableDefinition(given, type(given).__name__).read_config(None))
    inner = {name: with_variables_read(each) for name, each in nested_of(given).items()}
    return given.model_copy(update={**read, **inner})


@contextmanager
def _open_nested(inner: Any, name: str, context: InitResourceContext) -> Iterator[Any]:
    definition = inner if isinstance(inner, ResourceDefinition) else None
    if isinstance(inner, ConfigurableResourceFactory):
        definition = inner.as_resource_definition(name)
    if definition is None:
        yield inner
        return
    with definition.open(context.replace_config(definition.read_config(None))) as made:
        yield made


def _assembled(kind: type[ConfigurableResourceFactory], values: Mapping[str, Any]) -> ConfigurableResourceFactory:
    """Validated before; a nested factory's product need not be of the class that the field is annotated with."""
    return kind.model_construct(_fields_set=set(values), **values)


def _revealed(given: Any) -> Any:
    """With secrets as they are, for what is made of it here and now and told to nobody."""
    if isinstance(given, pydantic.SecretStr | pydantic.SecretBytes):
        return given.get_secret_value()
    if isinstance(given, pydantic.BaseModel):
        before = {name: getattr(given, name) for name in type(given).model_fields}
        changed = {name: each for name, value in before.items() if (each := _revealed(value)) is not value}
        return given.model_copy(update=changed) if changed else given
    if isinstance(given, dict):
        found: Any = {key: _revealed(each) for key, each in given.items()}
        return found if any(found[key] is not each for key, each in given.items()) else given
    if isinstance(given, list):
        found = [_revealed(each) for each in given]
        return found if any(new is not old for new, old in zip(found, given, strict=True)) else given
    return given


def _values_of(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    if isinstance(config, pydantic.BaseModel):
        return {name: getattr(config, name) for name in type(config).model_fields} | dict(config.model_extra or {})
    return dict(config)


@contextmanager
def _on_the_event_loop(manager: AbstractAsyncContextManager[Any]) -> Iterator[Any]:
    with _runner() as run:
        value = run(_enter(manager))
        try:
            yield value
        except BaseException as error:
            if not run(_exit(manager, error)):
                raise
        else:
            run(_exit(manager, None))


@contextmanager
def _runner() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """A loop of its own; in a thread of its own where one runs in this thread already, as in a notebook."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    runner = asyncio.Runner()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with runner:
            yield runner.run
        return
    context = copy_context()
    with ThreadPoolExecutor(1, "opgrid-resource") as thread:
        try:
            yield lambda coroutine: thread.submit(context.run, runner.run, coroutine).result()
        finally:
            thread.submit(runner.close).result()


async def _enter(manager: AbstractAsyncContextManager[Any]) -> Any:
    return await manager.__aenter__()


async def _exit(manager: AbstractAsyncContextManager[Any], error: BaseException | None) -> Any:
    if error is None:
        return await manager.__aexit__(None, None, None)
    return await manager.__aexit__(type(error), error, error.__traceback__)


def _unused(_: InitResourceContext) -> Any:
    raise NotImplementedError
