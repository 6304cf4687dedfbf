"""Executors and IO managers by name: entry points in, classes out. Built-ins are registered like everybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opgrid.contracts.executor import Executor
from opgrid.errors import UnknownExecutor

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

EXECUTORS = "opgrid.executors"
IO_MANAGERS = "opgrid.io_managers"

#: To look through what is installed takes longer than many runs do.
_loaded: dict[str, type[Executor]] = {}


def executor_class(name: str) -> type[Executor]:
    """Raises UnknownExecutor, naming the nearest."""
    known = _loaded.get(name)
    if known is None:
        found = _named(EXECUTORS)
        if name not in found:
            raise UnknownExecutor("executor", name, sorted(found))
        known = _loaded[name] = found[name].load()
    return known


def executor_names() -> list[str]:
    return sorted(_named(EXECUTORS))


def _named(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=group)}
