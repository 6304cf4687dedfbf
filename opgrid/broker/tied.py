"""Processes that end when this one does, however it ends."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def tied(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """``subprocess.Popen``; the new process gets SIGTERM when this one dies, where the kernel can do that.

    The kernel ties a process to the *thread* that started it, so one thread that stays starts them all.
    """
    tie = _tie()
    if tie is None:
        return subprocess.Popen(command, **options)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, preexec_fn=tie, **options)

    return _starter(os.getpid()).submit(start).result()


@functools.lru_cache(maxsize=1)
def _starter(process: int) -> ThreadPoolExecutor:
    """One per process: threads do not survive a fork."""
    return ThreadPoolExecutor(1, "opgrid-starter")


def _tie() -> Callable[[], None] | None:
    """What the child calls before it becomes the program."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    set_pdeathsig = 1

    def tie() -> None:
        prctl(set_pdeathsig, signal.SIGTERM)

    return tie
