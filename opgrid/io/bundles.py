"""Small values of a run, many in one file: to make a file, and folders for it, costs several times a quick step.

A process appends to bundles of its own, so that no two write to one, and a value is in its file before its step is
reported. Where it lies is told by the manifest of its output: nothing searches a bundle, and what a lost attempt left
in it is never read. Readers may be other processes of the same host; across hosts, a shared folder need not show what
was written to a file that is still open, so only executors whose steps stay on one host use them.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Final, NamedTuple

from opgrid.errors import PayloadDamaged

#: No folder of a step has such a name: there, this character is encoded.
_MARK: Final = "+"
_NAME: Final = re.compile(r"\+[0-9a-f]{16}").fullmatch
#: Beyond these no value begins, and none is longer: more than its header and what is still small take.
_FARTHEST: Final = 1 << 62
_LONGEST: Final = 2 << 20
#: Bundles of others that are kept open for reading.
_OPEN: Final = 16
#: Bytes of values that the process which wrote them need not read again, and what the bookkeeping of each takes.
_RECENT: Final = 4 << 20
_BESIDE: Final = 512


class Place(NamedTuple):
    """Where a value lies, as its manifest says it."""

    bundle: str  #: the name of the file, in the folder of its run
    at: int
    length: int

    @classmethod
    def of(cls, told: Any) -> Place:
        """Raises PayloadDamaged for what is no place."""
        if isinstance(told, cls):
            return told  # it never left this process
        match told:
            case [str(name), int(at), int(length)] if _NAME(name) and 0 <= at < _FARTHEST and 0 < length <= _LONGEST:
                return cls(name, at, length)
        raise PayloadDamaged(f"{told!r} is no place in a bundle")


#: A value as bytes: the name of its serializer, the bytes in one piece, the lengths of its segments. Thousands of these
#: are held: tuples of what holds nothing itself, which the garbage collector does not walk.
Kept = tuple[str, bytes, tuple[int, ...]]


class Bundles:
    """Of one run in one process, for several threads. Opens nothing until there is something to write or read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mine: dict[str, _Bundle] = {}  #: by folder
        self._others: OrderedDict[str, int] = OrderedDict()  #: descriptors, by path
        self._recent: OrderedDict[tuple[str, int], Kept] = OrderedDict()
        self._held = 0

    def put(self, folder: str, data: bytes, kept: Kept | None = None) -> Place:
        """Write a value below ``folder``, which need not exist. ``kept``: the value once more, for readers in this
        process: it never left it, and need not be read and checked.
        """
        with self._lock:
            bundle = self._mine.get(folder)
            if bundle is None or not bundle.is_there():
                if bundle is not None:
                    bundle.close()
                bundle = self._mine[folder] = _Bundle(folder)
            place = Place(bundle.name, bundle.append(data), len(data))
            if kept is not None:
                self._remember(place, kept)
            return place

    def read(self, folder: str, place: Place) -> bytes:
        """Raises FileNotFoundError where the bundle is gone."""
        path = f"{folder}/{place.bundle}"
        with self._lock:
            mine = self._mine.get(folder)
            if mine is not None and mine.name == place.bundle and mine.is_there():
                return os.pread(mine.handle, place.length, place.at)
            handle = self._others.get(path)
            if handle is None:
                handle = self._others[path] = _open(path)
                if len(self._others) > _OPEN:
                    os.close(self._others.popitem(last=False)[1])
            return os.pread(handle, place.length, place.at)

    def _remember(self, place: Place, kept: Kept) -> None:
        self._recent[place.bundle, place.at] = kept
        self._held += len(kept[1]) + _BESIDE
        while self._held > _RECENT:
            _, (_, old, _) = self._recent.popitem(last=False)
            self._held -= len(old) + _BESIDE

    def remembered(self, place: Place) -> Kept | None:
        """None for what is to be read."""
        return self._recent.get((place.bundle, place.at))

    def close(self) -> None:
        """May be called twice, and used again."""
        with self._lock:
            for bundle in self._mine.values():
                bundle.close()
            for handle in self._others.values():
                with suppress(OSError):
                    os.close(handle)
            self._mine.clear()
            self._others.clear()
            self._recent.clear()
            self._held = 0


def read_once(folder: str, place: Place) -> bytes:
    """For who reads few values. Raises FileNotFoundError where the bundle is gone."""
    handle = _open(f"{folder}/{place.bundle}")
    try:
        return os.pread(handle, place.length, place.at)
    finally:
        os.close(handle)


class _Bundle:
    __slots__ = ("_file", "_process", "handle", "name", "size")

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self.name = _MARK + secrets.token_hex(8)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.handle = os.open(f"{folder}/{self.name}", flags, 0o600)
        about = os.fstat(self.handle)
        self._file = about.st_dev, about.st_ino
        self._process = os.getpid()
        self.size = 0

    def is_there(self) -> bool:
        """Whether what is appended will be found: user code may have removed the file, closed its descriptor, or
        forked: then two processes would write to one place.
        """
        try:
            about = os.fstat(self.handle)
        except OSError:
            return False
        return about.st_nlink > 0 and (about.st_dev, about.st_ino) == self._file and os.getpid() == self._process

    def close(self) -> None:
        """The descriptor may be another file's by now."""
        with suppress(OSError):
            about = os.fstat(self.handle)
            if (about.st_dev, about.st_ino) == self._file:
                os.close(self.handle)

    def append(self, data: bytes) -> int:
        """Where it begins. What a disk that is full has cut short is written over by what comes next."""
        start = at = self.size
        while data:
            count = os.pwrite(self.handle, data, at)
            at, data = at + count, data[count:]
        self.size = at
        return start


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
