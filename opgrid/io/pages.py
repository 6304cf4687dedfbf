"""Memory for large values: files that are mapped, and room that is made of large pages."""

from __future__ import annotations

import mmap
import os
import resource
from contextlib import suppress
from typing import Final

#: Bytes from which on either pays.
LARGE: Final = 1 << 20


def mapped(handle: int, size: int) -> memoryview | None:
    """A file, as a copy of one's own where it is written to. None where that cannot be had.

    A mapping holds a descriptor of its own: where those become few, files are to be read.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        if most != resource.RLIM_INFINITY and _next_descriptor(handle) >= most // 2:
            return None
        return memoryview(mmap.mmap(handle, size, access=mmap.ACCESS_COPY))
    return None


def _next_descriptor(handle: int) -> int:
    """The lowest that is free: what is opened, mapped and closed again leaves its own free for the next."""
    found = os.dup(handle)
    os.close(found)
    return found


def room(size: int) -> bytearray | memoryview:
    """To be written to. In pages of 4 KiB, most of the time to read 64 MiB goes into the pages."""
    if size < LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(size)
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        made.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(made)


def is_ours_alone(about: os.stat_result) -> bool:
    """Nobody but this user can write to it, or read it."""
    return about.st_uid == os.geteuid() and not about.st_mode & 0o077
