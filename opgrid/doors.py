"""Ways up: what ``opgrid`` offers and another package implements, found by entry point when it is called."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from opgrid.errors import OpGridError

GROUP = "opgrid.doors"

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
    for entry in entry_points(group=GROUP, name=name):
        _open[name] = entry.load()
        return _open[name]
    raise DoorClosed(name)
