"""Executors and IO managers by name: entry points in, classes out. Built-ins are registered like everybody else's."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from opgrid.contracts.executor import Executor
from opgrid.errors import UnknownExecutor

EXECUTORS = "opgrid.executors"
IO_MANAGERS = "opgrid.io_managers"


def executor_class(name: str) -> type[Executor]:
    """Raises UnknownExecutor, naming the nearest."""
    found = _named(EXECUTORS)
    if name not in found:
        raise UnknownExecutor("executor", name, sorted(found))
    loaded: type[Executor] = found[name].load()
    return loaded


def executor_names() -> list[str]:
    return sorted(_named(EXECUTORS))


def _named(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}
