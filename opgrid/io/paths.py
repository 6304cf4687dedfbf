"""The base of IO managers that keep each value under a path of its own, in a format that the subclass chooses."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from opgrid.io.context import InputContext, IOContext, OutputContext
from opgrid.io.kept import no_url, path_part
from opgrid.io.manager import IOManager


class UPathIOManager(IOManager):
    """``<base_path>/<run>/<step>/<output>[/<mapping key>]<extension>``; the subclass writes and reads one path.

    class CsvIOManager(UPathIOManager):
        extension = ".csv"

        def dump_to_path(self, context, obj, path): ...
        def load_from_path(self, context, path): ...

    Any object with the interface of ``pathlib.Path`` will do for ``base_path``: those of universal_pathlib reach object
    stores.
    """

    extension: str | None = ""

    def __init__(self, base_path: Any = None) -> None:
        self.base_path = Path(no_url(base_path)) if isinstance(base_path, str) else base_path

    @abstractmethod
    def dump_to_path(self, context: OutputContext, obj: Any, path: Any) -> None: ...

    @abstractmethod
    def load_from_path(self, context: InputContext, path: Any) -> Any: ...

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        path = self.get_path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.dump_to_path(context, obj, path)
        context.add_output_metadata({"path": str(path), **self.get_metadata(context, obj)})

    def load_input(self, context: InputContext) -> Any:
        assert context.upstream_output is not None
        return self.load_from_path(context, self.get_path(context.upstream_output))

    def get_metadata(self, context: OutputContext, obj: Any) -> dict[str, Any]:
        """More to attach to the output."""
        return {}

    def get_path(self, context: OutputContext) -> Any:
        base = self.base_path if self.base_path is not None else Path(context.io.home, "storage")
        *folders, name = (path_part(part) for part in context.get_identifier())
        return base.joinpath(*folders, name + (self.extension or ""))

    def path_for(self, context: IOContext) -> Any:
        """Of the output that is written, or of the one that an input takes."""
        if isinstance(context, InputContext):
            assert context.upstream_output is not None
            return self.get_path(context.upstream_output)
        assert isinstance(context, OutputContext)
        return self.get_path(context)
