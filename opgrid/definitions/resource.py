"""Resources: what ops use and do not own, such as connections. Opened before a step, ended after it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin, overload

from opgrid.definitions.annotations import signature_of
from opgrid.definitions.configured import function_and_schema
from opgrid.definitions.schemas import checked_schema
from opgrid.errors import (
    InvalidConfigError,
    InvalidDefinitionError,
    InvalidInvocationError,
    ResourceFunctionError,
    listed,
)

if TYPE_CHECKING:
    from opgrid.config import ConfigField

T = TypeVar("T")
ResourceFn = Callable[..., Any]


class InitResourceContext:
    """What the function of a resource gets."""

    def __init__(
        self,
        resource_config: Any = None,
        resources: Any = None,
        *,
        resource_def: ResourceDefinition | None = None,
        run_id: str | None = None,
        run_tags: Mapping[str, str] | None = None,
        log: Any = None,
        instance: Any = None,
        run: Any = None,
    ) -> None:
        self.resource_config = resource_config
        self.resources = resources
        self.resource_def = resource_def
        self.run_id = run_id
        self.run_tags = run_tags or {}
        self.log = log
        self._instance = instance
        self.run = run

    @property
    def instance(self) -> Any:
        """Found when it is asked for, where a function was given for it."""
        return self._instance() if inspect.isfunction(self._instance) else self._instance

    @property
    def log_manager(self) -> Any:
        return self.log

    def replace_config(self, config: Any) -> InitResourceContext:
        return InitResourceContext(
            config,
            self.resources,
            resource_def=self.resource_def,
            run_id=self.run_id,
            run_tags=self.run_tags,
            log=self.log,
            instance=self._instance,
            run=self.run,
        )


class ResourceDefinition:
    """How a resource is made. A function that yields makes what it yields and ends it when it goes on."""

    def __init__(
        self,
        resource_fn: ResourceFn,
        config_schema: Any = None,
        description: str | None = None,
        required_resource_keys: Iterable[str] | None = None,
        version: str | None = None,
    ) -> None:
        self.resource_fn = resource_fn
        self.config_schema = checked_schema(config_schema, "a resource")
        self.description = description
        self.required_resource_keys = frozenset(required_resource_keys or ())
        self.version = version
        #: Set by ``configured``: the definition it was made from, and the function from this one's config to that
        #: one's.
        self.base: ResourceDefinition | None = None
        self.config_fn: Callable[[Any], Any] | None = None

    @cached_property
    def config_field(self) -> ConfigField | None:
        """None: it takes no config."""
        if self.config_schema is None:
            return None
        from opgrid.config import as_field

        return as_field(self.config_schema)

    def open(self, context: InitResourceContext) -> AbstractContextManager[Any]:
        """``with definition.open(context) as resource``; its end is the resource's."""
        definition, config = self.innermost(context.resource_config)
        if definition is not self:
            return definition.open(context.replace_config(config))
        made = self.resource_fn(context) if _takes_context(self.resource_fn) else self.resource_fn()
        if inspect.isgenerator(made):
            return _from_generator(made)
        if _is_context_manager_of(self.resource_fn, made):
            entered: AbstractContextManager[Any] = made
            return entered
        return nullcontext(made)

    def innermost(self, config: Any) -> tuple[ResourceDefinition, Any]:
        """The definition that was not made by ``configured``, and what it gets where this one gets that config."""
        if self.base is None or self.config_fn is None:
            return self, config
        return self.base.innermost(self.base.read_config(self.config_fn(config)))

    def read_config(self, given: Any) -> Any:
        """What its function sees, of config that no run config was checked with. Raises InvalidConfigError."""
        field = self.config_field
        return given if field is None else field.read(given, "a resource")

    @property
    def takes_any_config(self) -> bool:
        """It was made without a schema, of a function that can look at what is given."""
        return self.config_schema is None and self.config_fn is None and _takes_context(self.resource_fn)

    def among(self, keys: Mapping[int, str]) -> ResourceDefinition:
        """This definition where others are bound beside it; ``keys`` are theirs, by the identity of what was bound."""
        return self

    def configured(
        self, config_or_config_fn: Any, config_schema: Any = None, description: str | None = None
    ) -> ResourceDefinition:
        """The same resource with its config given, or made by a function from a smaller one."""
        fn, schema = function_and_schema(config_or_config_fn, config_schema, "a resource")
        made = ResourceDefinition(
            self.resource_fn, schema, description or self.description, self.required_resource_keys, self.version
        )
        made.base, made.config_fn = self, fn
        return made

    def __call__(self, context: InitResourceContext | None = None) -> Any:
        """The resource itself, for tests; of a function that yields, a context manager."""
        if context is None and self.required_resource_keys:
            raise InvalidInvocationError(
                f"The function of a resource needs {listed(self.required_resource_keys)}: pass "
                "build_init_resource_context(resources=...)."
            )
        given = context if context is not None else InitResourceContext()
        given = given.replace_config(self.read_config(given.resource_config))
        if self.base is not None and self.config_fn is not None:
            return self.base(given.replace_config(self.config_fn(given.resource_config)))
        made = self.resource_fn(given) if _takes_context(self.resource_fn) else self.resource_fn()
        return _from_generator(made) if inspect.isgenerator(made) else made

    @staticmethod
    def hardcoded_resource(value: Any, description: str | None = None) -> ResourceDefinition:
        return ResourceDefinition(_Constant(value), description=description)

    @staticmethod
    def none_resource(description: str | None = None) -> ResourceDefinition:
        return ResourceDefinition.hardcoded_resource(None, description)

    @staticmethod
    def string_resource(description: str | None = None) -> ResourceDefinition:
        """A text that is its config."""
        return ResourceDefinition(_its_config, str, description)

    @staticmethod
    def mock_resource(description: str | None = None) -> ResourceDefinition:
        """A MagicMock, new each time it is opened."""
        return ResourceDefinition(_mock, description=description)


class _Constant:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, _: InitResourceContext) -> Any:
        return self.value


def _its_config(context: InitResourceContext) -> Any:
    return context.resource_config


def _mock(_: InitResourceContext) -> Any:
    from unittest.mock import MagicMock  # with asyncio and all that runs tests

    return MagicMock()


def _takes_context(fn: ResourceFn) -> bool:
    try:
        parameters = signature_of(fn).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(
        each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL) for each in parameters
    )


def _is_context_manager_of(fn: ResourceFn, made: Any) -> bool:
    """Of a function under ``@contextmanager``; an object that happens to be a context manager is itself the
    resource.
    """
    return hasattr(fn, "__wrapped__") and isinstance(made, AbstractContextManager)


@contextmanager
def _from_generator(made: Iterator[Any]) -> Iterator[Any]:
    value = next(made)
    try:
        yield value
    finally:
        for _ in made:
            raise InvalidDefinitionError("The function of a resource yielded twice; it has to yield once.")


@overload
def resource(config_schema: ResourceFn) -> ResourceDefinition: ...
@overload
def resource(
    config_schema: Any = None,
    description: str | None = None,
    required_resource_keys: Iterable[str] | None = None,
    version: str | None = None,
) -> Callable[[ResourceFn], ResourceDefinition]: ...
def resource(
    config_schema: Any = None,
    description: str | None = None,
    required_resource_keys: Iterable[str] | None = None,
    version: str | None = None,
) -> Any:
    """Makes a resource of a function ``(context) -> object``, or of one that yields it."""
    if callable(config_schema) and not isinstance(config_schema, type):
        return ResourceDefinition(config_schema, description=inspect.getdoc(config_schema))

    def decorated(fn: ResourceFn) -> ResourceDefinition:
        return ResourceDefinition(fn, config_schema, description or inspect.getdoc(fn), required_resource_keys, version)

    return decorated


def make_values_resource(**kwargs: Any) -> ResourceDefinition:
    """A dict of named values that the run config gives: ``make_values_resource(size=int)``."""
    return ResourceDefinition(_values, dict(kwargs) or dict)


def _values(context: InitResourceContext) -> dict[str, Any]:
    return dict(context.resource_config or {})


class _ResourceMarker:
    """In the annotation of a parameter that is a resource and no input, or of a field that holds another resource."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_wrap_validator_function(_unless_it_is_still_to_be_made, handler(source))


def _unless_it_is_still_to_be_made(given: Any, check: Callable[[Any], Any]) -> Any:
    """What makes the resource may stand for it, whatever it makes."""
    return (
        given
        if isinstance(given, ResourceDefinition) or hasattr(type(given), "as_resource_definition")
        else check(given)
    )


if TYPE_CHECKING:
    ResourceParam = Annotated[T, _ResourceMarker]
    ResourceDependency = Annotated[T, _ResourceMarker]
else:

    class ResourceParam(Generic[T]):
        """``def crunch(client: ResourceParam[Client])``: the resource bound under ``client``, whatever its class."""

        def __class_getitem__(cls, item: Any) -> Any:
            return Annotated[item, _ResourceMarker]

    ResourceDependency = ResourceParam


def is_resource_annotation(annotation: object) -> bool:
    """Whether a parameter so annotated is a resource, by its own name."""
    if get_origin(annotation) is Annotated:
        return _ResourceMarker in get_args(annotation)
    base = getattr(configurable(), "ConfigurableResourceFactory", None)
    return base is not None and isinstance(annotation, type) and issubclass(annotation, base)


def configurable() -> Any:
    """The module of resources that are pydantic models; None where there can be none, as nobody has loaded it."""
    return sys.modules.get("opgrid.definitions.configurable")


def is_dependency(field: Any) -> bool:
    """Whether a field of a resource is said to hold another resource, of whatever kind."""
    return _ResourceMarker in field.metadata


def wrap_resource(key: str, value: Any) -> ResourceDefinition:
    """What may stand in ``resource_defs``: a definition, a configurable resource, or any object, which is the
    resource.
    """
    if isinstance(value, ResourceDefinition):
        return value
    if hasattr(type(value), "as_resource_definition"):  # of its class: a MagicMock has every attribute
        found: ResourceDefinition = value.as_resource_definition(key)
        return found
    if isinstance(value, type) and is_resource_annotation(value):
        raise InvalidDefinitionError(
            f"The resource {key!r} is the class {value.__name__}; bind an instance of it: {value.__name__}(...), or "
            f"{value.__name__}.configure_at_launch()."
        )
    return ResourceDefinition.hardcoded_resource(value)


def config_of_port(definition: ResourceDefinition | None, side: Literal["input", "output"]) -> ConfigField | None:
    """What an IO manager takes as config of a single input or output; None: it says nothing of that."""
    schema = getattr(definition, f"{side}_config_schema", None)
    if schema is None:
        return None
    from opgrid.config import as_field

    return as_field(schema)


def bind_resources(given: Mapping[str, Any]) -> dict[str, ResourceDefinition]:
    """Definitions by key. One that is bound to a key and is a field of another, too, is opened once for both."""
    found = {key: wrap_resource(key, value) for key, value in given.items()}
    keys = {id(getattr(definition, "given", definition)): key for key, definition in found.items()}
    return {key: definition.among(keys) for key, definition in found.items()}


@contextmanager
def build_resources(
    resources: Mapping[str, Any],
    instance: Any = None,
    resource_config: Mapping[str, Any] | None = None,
    run: Any = None,
    log_manager: Any = None,
    event_loop: Any = None,
) -> Iterator[Any]:
    """Resources outside of a run: ``with build_resources({"server": Server()}) as resources: resources.server``."""
    from types import SimpleNamespace

    definitions = bind_resources(resources)
    opened: dict[str, Any] = {}
    with ExitStack() as stack:
        for key in ordered(definitions):
            definition = definitions[key]
            given = (resource_config or {}).get(key, {})
            raw = given.get("config") if isinstance(given, Mapping) else given
            context = InitResourceContext(
                definition.read_config(raw),
                SimpleNamespace(**{each: opened[each] for each in definition.required_resource_keys}),
                resource_def=definition,
                log=log_manager,
                instance=instance,
                run=run,
            )
            opened[key] = open_on(stack, key, definition, context)
        yield SimpleNamespace(**opened, _asdict=lambda: dict(opened))


def open_on(stack: ExitStack, key: str, definition: ResourceDefinition, context: InitResourceContext) -> Any:
    """Opened where no run does it. Raises ResourceFunctionError."""
    try:
        return stack.enter_context(definition.open(context))
    except InvalidConfigError:
        raise
    except Exception as error:
        raise ResourceFunctionError(f"Resource {key!r} could not be opened.") from error


def ordered(definitions: Mapping[str, ResourceDefinition]) -> list[str]:
    """Each key after those that it needs. Raises InvalidDefinitionError for a circle or a key that is not there."""
    from graphlib import CycleError, TopologicalSorter

    for key, definition in definitions.items():
        for needed in definition.required_resource_keys:
            if needed not in definitions:
                raise InvalidDefinitionError(
                    f"Resource {key!r} needs a resource {needed!r}, and nothing is bound to that key."
                )
    try:
        return list(
            TopologicalSorter(
                {key: sorted(each.required_resource_keys) for key, each in definitions.items()}
            ).static_order()
        )
    except CycleError as error:
        raise InvalidDefinitionError(f"Resources need each other in a circle: {' -> '.join(error.args[1])}.") from None
