"""Steps on a pool of warm processes of this machine."""

from __future__ import annotations

from executors.multiprocess.executor import MultiprocessExecutor

__all__ = ["MultiprocessExecutor"]
