"""Ways up: what ``opgrid`` offers and another package implements, found by entry point when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from opgrid.errors import OpGridError

GROUP = "opgrid.doors"

#: Our top-level packages.
OURS: Final = ("opgrid", "orchestrator", "executors", "worker")

#: Where a process has no other use for the installation's metadata, to read them would be a third of its start.
KNOWN: Final = {
    "pool-child": "executors.multiprocess.child:main",
    "zygote": "opgrid.zygote.server:main",
}

#: To look through what is installed takes longer than many runs do.
_open: dict[str, Any] = {}


class DoorClosed(OpGridError):
    """This installation lacks the package that implements a call."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def describe(self) -> str:
        return (
            f"{self.name!r} is not available in this installation: it has no part that implements it "
            f"(a slim worker holds no orchestrator). Install all of it with: pip install opgrid"
        )


def through(name: str) -> Any:
    """The callable behind a door."""
    if name in _open:
        return _open[name]
    if name in KNOWN:
        module, _, attribute = KNOWN[name].partition(":")
        _open[name] = getattr(import_module(module), attribute)
        return _open[name]
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP, name=name):
        _open[name] = entry.load()
        return _open[name]
    raise DoorClosed(name)
