"""Steps on a pool of warm processes of this machine. A child imports :mod:`.child` alone, not the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from executors.multiprocess.executor import MultiprocessExecutor

__all__ = ["MultiprocessExecutor"]


def __getattr__(name: str) -> Any:
    if name == "MultiprocessExecutor":
        from executors.multiprocess.executor import MultiprocessExecutor

        return MultiprocessExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
