"""Large values in memory that processes of one host share, beside Redis: who runs where a value was made need not
fetch it.

A file is named by the checksum of the value as it lies in Redis, which the reader knows from the signed header there;
here it lies not compressed, and is mapped rather than read. The folder belongs to this user and nobody else can write
to it: who could forge a file there can read the signing key as well, so what lies there is not hashed again. It is a
cache of bounded size: nothing in it is needed, and all that goes wrong with it means that the value comes from Redis.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from opgrid.io.pages import LARGE, is_ours_alone, mapped
from opgrid.io.serializers import Segment

#: The folder: OPGRID_IO_NEARBY; ``off`` for none.
FOLDER: Final = f"/dev/shm/opgrid-{os.geteuid()}"
OFF: Final = "off"
#: Bytes below which Redis is as quick.
LEAST: Final = LARGE
#: Bytes that lie there at most: OPGRID_IO_NEARBY_BYTES.
MOST: Final = 256 << 20
#: Seconds after which a value is thrown away by whoever writes next.
_AGE: Final = 600.0


class Kept:
    """A value that is written there."""

    def __init__(self) -> None:
        self.name = ""  #: under which it is to be found; "": it is not
        self.path: Path | None = None  #: once it is whole


class Nearby:
    """For several threads and processes."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self.folder = folder
        self.most = most

    @contextmanager
    def keeping(self, body: Sequence[Segment], size: int) -> Iterator[Kept]:
        """Writes a value there, if there is room, by a thread beside the caller: others find it once the caller is done
        and has named it. Raises nothing.
        """
        kept = Kept()
        writer = threading.Thread(target=self._write, args=(kept, body, size), daemon=True)
        started = False
        if LEAST <= size <= self.most // 2:
            with suppress(RuntimeError):  # no more threads
                writer.start()
                started = True
        try:
            yield kept
        finally:
            if started:
                writer.join()
            if kept.path is not None:
                with suppress(OSError):
                    if kept.name:
                        kept.path.rename(self.folder / kept.name)
                with suppress(OSError):
                    kept.path.unlink()

    def find(self, name: str, size: int) -> memoryview | None:
        """The bytes, as a copy of one's own where they are written to. They stay while they are used."""
        if size < LEAST:
            return None
        with suppress(OSError):
            if not self._is_ours():
                return None
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(handle).st_size == size:
                    return mapped(handle, size)
            finally:
                os.close(handle)
        return None

    def _write(self, kept: Kept, body: Sequence[Segment], size: int) -> None:
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return
            self._make_room(size)
            space = os.statvfs(self.folder)
            if space.f_bavail * space.f_frsize < 2 * size:
                return
            path = self.folder / f".{secrets.token_hex(8)}"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
                try:
                    for part in body:
                        view = memoryview(part).cast("B")
                        while view:
                            view = view[file.write(view) :]
                except BaseException:
                    path.unlink()
                    raise
            kept.path = path

    def _is_ours(self) -> bool:
        found = os.lstat(self.folder)
        return stat.S_ISDIR(found.st_mode) and is_ours_alone(found)

    def _make_room(self, size: int) -> None:
        """What is old goes, and the oldest where there is too much."""
        found = []
        for entry in os.scandir(self.folder):
            with suppress(FileNotFoundError):
                about = entry.stat(follow_symlinks=False)
                found.append((about.st_mtime, about.st_size, entry.path))
        total, now = sum(each for _, each, _ in found) + size, time.time()
        for written, bytes_, path in sorted(found):
            if total <= self.most and now - written < _AGE:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            total -= bytes_
