"""IO managers with fields, as resources have them: ``resource_defs={"io_manager": "
"FilesystemIOManager(base_dir="/data")}``."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Any

from opgrid.definitions.configurable import ConfigurableResource
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.filesystem import FilesystemStore
from opgrid.io.manager import InputManager, IOManager
from opgrid.io.redis import RedisStore


class ConfigurableIOManager(ConfigurableResource, IOManager):
    """The base of IO managers that take config.

    class Warehouse(ConfigurableIOManager):
        schema_name: str

        def handle_output(self, context, obj): ...
        def load_input(self, context): ...
    """


class ConfigurableInputManager(ConfigurableResource, InputManager):
    """The base of input managers that take config."""


class ConfigurableIOManagerFactory(ConfigurableResource):
    """Config for an IO manager that is an object of its own."""

    @abstractmethod
    def create_io_manager(self, context: Any) -> IOManager: ...

    def create_resource(self, context: Any) -> IOManager:
        return self.create_io_manager(context)


class FilesystemIOManager(ConfigurableIOManager):
    """Values as files below ``base_dir``, or below ``storage`` in the home."""

    base_dir: str | None = None
    serializer: str = "cloudpickle"

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        FilesystemStore(self.base_dir, self.serializer).handle_output(context, obj)

    def load_input(self, context: InputContext) -> Any:
        return FilesystemStore(self.base_dir, self.serializer).load_input(context)


class RedisIOManager(ConfigurableIOManager):
    """Values in Redis: at ``url``, or in the broker that the run uses."""

    url: str | None = None
    serializer: str = "cloudpickle"
    compress: bool | None = None  #: whatever becomes smaller, nothing, or (None) what gets there sooner so
    ttl: int | None = None  #: seconds, at most: values go with their run, too
    max_bytes: int | None = None
    spill_to: str | None = None  #: a folder that all workers share, or a URL of fsspec
    spill_above: int | None = None  #: bytes

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        self._store().handle_output(context, obj)

    def load_input(self, context: InputContext) -> Any:
        return self._store().load_input(context)

    def _store(self) -> RedisStore:
        return _store(
            self.url, self.serializer, self.compress, self.ttl, self.max_bytes, self.spill_to, self.spill_above
        )


#: One per process and setting: it knows what this process has stored lately.
_store = lru_cache(maxsize=16)(RedisStore)
