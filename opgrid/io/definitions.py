"""IO managers as resources: what ``@io_manager`` and ``@input_manager`` make, and the built-in ones by their older "
"names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, overload

from opgrid.config.schema import Field, Noneable, StringSource
from opgrid.definitions.resource import InitResourceContext, ResourceDefinition
from opgrid.errors import InvalidDefinitionError
from opgrid.io.context import InputContext, IOContext, OutputContext
from opgrid.io.filesystem import FilesystemStore
from opgrid.io.kept import no_url
from opgrid.io.manager import InputManager, IOManager
from opgrid.io.memory import InMemoryIOManager
from opgrid.io.redis import RedisStore
from opgrid.io.serializers import serializer


class IOManagerDefinition(ResourceDefinition):
    """A resource that is an IO manager; ``manager_class`` is known where it can be told without opening it."""

    def __init__(
        self,
        resource_fn: Callable[..., Any],
        config_schema: Any = None,
        description: str | None = None,
        required_resource_keys: Iterable[str] | None = None,
        version: str | None = None,
        input_config_schema: Any = None,
        output_config_schema: Any = None,
        *,
        manager_class: type[InputManager] | None = None,
    ) -> None:
        super().__init__(
            resource_fn,
            config_schema=config_schema,
            description=description,
            required_resource_keys=required_resource_keys,
            version=version,
        )
        self.input_config_schema = input_config_schema
        self.output_config_schema = output_config_schema
        self.manager_class = manager_class

    def configured(
        self, config_or_config_fn: Any, config_schema: Any = None, description: str | None = None
    ) -> IOManagerDefinition:
        """The same IO manager with its config given, or made by a function from a smaller one."""
        made = super().configured(config_or_config_fn, config_schema, description)
        found = IOManagerDefinition(
            made.resource_fn,
            made.config_schema,
            made.description,
            made.required_resource_keys,
            made.version,
            self.input_config_schema,
            self.output_config_schema,
            manager_class=self.manager_class,
        )
        found.base, found.config_fn = made.base, made.config_fn
        return found

    @staticmethod
    def hardcoded_io_manager(value: IOManager, description: str | None = None) -> IOManagerDefinition:
        return IOManagerDefinition(lambda _: value, description=description, manager_class=type(value))


ManagerFn = Callable[..., Any]


@overload
def io_manager(config_schema: ManagerFn) -> IOManagerDefinition: ...
@overload
def io_manager(
    config_schema: Any = None,
    description: str | None = None,
    output_config_schema: Any = None,
    input_config_schema: Any = None,
    required_resource_keys: Iterable[str] | None = None,
    version: str | None = None,
) -> Callable[[ManagerFn], IOManagerDefinition]: ...
def io_manager(
    config_schema: Any = None,
    description: str | None = None,
    output_config_schema: Any = None,
    input_config_schema: Any = None,
    required_resource_keys: Iterable[str] | None = None,
    version: str | None = None,
) -> Any:
    """Makes an IO manager of a function ``(init_context) -> IOManager``.

    @io_manager
    def warehouse(init_context):
        return WarehouseIOManager()
    """

    def decorated(function: ManagerFn) -> IOManagerDefinition:
        return IOManagerDefinition(
            function,
            config_schema,
            description if description is not None else inspect.getdoc(function),
            required_resource_keys,
            version,
            input_config_schema,
            output_config_schema,
        )

    if inspect.isfunction(config_schema):
        function, config_schema = config_schema, None
        return decorated(function)
    return decorated


@overload
def input_manager(config_schema: ManagerFn) -> ResourceDefinition: ...
@overload
def input_manager(
    config_schema: Any = None,
    description: str | None = None,
    input_config_schema: Any = None,
    required_resource_keys: Iterable[str] | None = None,
    version: str | None = None,
) -> Callable[[ManagerFn], ResourceDefinition]: ...
def input_manager(
    config_schema: Any = None,
    description: str | None = None,
    input_config_schema: Any = None,
    required_resource_keys: Iterable[str] | None = None,
    version: str | None = None,
) -> Any:
    """Makes an input manager of a function ``(input_context) -> value``."""

    def decorated(function: ManagerFn) -> ResourceDefinition:
        return IOManagerDefinition(
            lambda _: _Loader(function),
            config_schema,
            description if description is not None else inspect.getdoc(function),
            required_resource_keys,
            version,
            input_config_schema,
        )

    if inspect.isfunction(config_schema):
        function, config_schema = config_schema, None
        return decorated(function)
    return decorated


class _Loader(InputManager):
    def __init__(self, function: ManagerFn) -> None:
        self._function = function

    def load_input(self, context: InputContext) -> Any:
        given = self._function(context)
        return given.load_input(context) if isinstance(given, InputManager) else given


# ---- the built-in ones -----------------------------------------------------------------------------------------------


def _of_config(context: InitResourceContext, name: str) -> Any:
    config = context.resource_config
    return config.get(name) if isinstance(config, dict) else None


class CustomPathIOManager(IOManager):
    """Files whose paths the outputs name: ``Out(metadata={"path": "report.pkl"})``, below ``base_dir``. Not kept "
    "apart by attempt."""

    def __init__(self, base_dir: str | None = None) -> None:
        self.base_dir = base_dir and no_url(base_dir)

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        path = self._path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        FilesystemStore.write_to(str(path), obj, context, serializer("cloudpickle"))
        context.add_output_metadata({"path": str(path)})

    def load_input(self, context: InputContext) -> Any:
        assert context.upstream_output is not None
        return FilesystemStore.read_from(str(self._path(context.upstream_output)), context)

    def _path(self, context: IOContext) -> Path:
        named = context.definition_metadata.get("path")
        if not isinstance(named, str):
            raise InvalidDefinitionError(
                f"Output {context.name!r} needs metadata={{'path': ...}}: its IO manager stores it under that path."
            )
        return Path(self.base_dir or Path(context.io.home, "storage"), named)


def _filesystem(context: InitResourceContext) -> IOManager:
    return FilesystemStore(_of_config(context, "base_dir"))


def _custom_path(context: InitResourceContext) -> IOManager:
    return CustomPathIOManager(_of_config(context, "base_dir"))


def _memory(_: InitResourceContext) -> IOManager:
    return InMemoryIOManager()


def _redis(_: InitResourceContext) -> IOManager:
    return RedisStore()


_IN_A_FOLDER: Final = {"base_dir": Field(Noneable(StringSource), is_required=False)}

fs_io_manager = IOManagerDefinition(_filesystem, _IN_A_FOLDER, manager_class=FilesystemStore)
custom_path_fs_io_manager = IOManagerDefinition(_custom_path, _IN_A_FOLDER, manager_class=CustomPathIOManager)
mem_io_manager = IOManagerDefinition(_memory, manager_class=InMemoryIOManager)
redis_io_manager = IOManagerDefinition(_redis, manager_class=RedisStore)
