"""Small values of a run, many in one file: to make a file, and folders for it, costs several times a quick step.

A process appends to bundles of its own, so that no two write to one, and a value is in its file before its step is
reported: the smallest of them wait for each other until then, and are written in one go, signed once
(:mod:`opgrid.io.parcels`). Where a value lies is told by the manifest of its output: nothing searches a bundle, and
what a lost attempt left in it is never read. Readers may be other processes of the same host; across hosts, a shared
folder need not show what was written to a file that is still open, so only executors whose steps stay on one host use
them.
"""

from __future__ import annotations

import os
import re
import secrets
import struct
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any, Final, NamedTuple

from opgrid.errors import PayloadDamaged
from opgrid.io.keys import KeyRing
from opgrid.io.parcels import FULL, MANY, Entry, sealed

#: No folder of a step has such a name: there, this character is encoded.
_MARK: Final = "+"
_NAME: Final = re.compile(r"\+[0-9a-f]{16}").fullmatch
#: Beyond these no value begins, and none is longer: more than its header and what is still small take.
_FARTHEST: Final = 1 << 62
_LONGEST: Final = 2 << 20
#: In the place of an index: the value has no others beside it.
_ALONE: Final = -1
#: In front of a parcel: its length.
_LENGTH: Final = struct.Struct(">I")
#: Bytes of a parcel that are read at once: mostly all of it.
_GUESS: Final = 1 << 16
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


class Among(NamedTuple):
    """Where a value lies that is written with others, as its manifest says it."""

    bundle: str
    at: int  #: where its parcel begins
    place: int  #: in that

    @classmethod
    def of(cls, told: Any) -> Among:
        """Raises PayloadDamaged for what is no place."""
        if isinstance(told, cls):
            return told
        match told:
            case [str(name), int(at), int(place)] if _NAME(name) and 0 <= at < _FARTHEST and 0 <= place <= MANY:
                return cls(name, at, place)
        raise PayloadDamaged(f"{told!r} is no place in a bundle")

    @property
    def parcel(self) -> str:
        """Its name: signed with it, so that none is taken for another."""
        return f"{self.bundle}@{self.at}"


#: A value as bytes: the name of its serializer, the bytes in one piece, the lengths of its segments. Thousands of these
#: are held: tuples of what holds nothing itself, which the garbage collector does not walk.
Kept = tuple[str, bytes, tuple[int, ...]]


class Bundles:
    """Of one run in one process, for several threads. Opens nothing until there is something to write or read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mine: dict[str, _Bundle] = {}  #: by folder
        self._others: OrderedDict[str, int] = OrderedDict()  #: descriptors, by path
        self._recent: OrderedDict[tuple[str, int, int], Kept] = OrderedDict()
        self._held = 0
        self._open: _Parcel | None = None  #: whose values are still to be written
        self._failure: OSError | None = None  #: for which values were not

    def put(self, folder: str, data: bytes, kept: Kept | None = None) -> Place:
        """Write a value below ``folder``, which need not exist. ``kept``: the value once more, for readers in this
        process: it never left it, and need not be read and checked.
        """
        with self._lock:
            self._write_open()
            bundle = self._bundle(folder)
            place = Place(bundle.name, bundle.append(data), len(data))
            if kept is not None:
                self._remember((place.bundle, place.at, _ALONE), kept)
            return place

    def add(self, folder: str, run_id: str, entry: Entry, ring: KeyRing) -> Among:
        """Take a small value below ``folder``: it is written with those that fill its parcel, or with :meth:`write`."""
        with self._lock:
            parcel = self._open
            if parcel is None or parcel.is_full or parcel.folder != folder or not parcel.bundle.is_ours:
                self._write_open()
                parcel = self._open = _Parcel(folder, run_id, ring, self._bundle(folder))
            place = Among(parcel.bundle.name, parcel.at, parcel.add(entry))
            self._remember(place, (entry.how, entry.body, entry.lengths))
            return place

    def write(self) -> None:
        """What was added is in its file now. OSError, until it is forgiven, where some of it never will be."""
        with self._lock:
            self._write_open()
            if self._failure is not None:
                raise self._failure

    def forgive(self) -> None:
        """Those that were not written count as failed."""
        self._failure = None

    def _write_open(self) -> None:
        parcel, self._open = self._open, None
        if parcel is None or not parcel.bundle.is_ours:
            return  # it belongs to the process that this one was forked from
        try:
            if not parcel.bundle.is_there():
                parcel.bundle.reopen(parcel.folder)
            parcel.bundle.append(parcel.sealed())
        except OSError as error:
            self._failure = error

    def _bundle(self, folder: str) -> _Bundle:
        bundle = self._mine.get(folder)
        if bundle is None or not bundle.is_there():
            if bundle is not None:
                bundle.close()
            bundle = self._mine[folder] = _Bundle(folder)
        return bundle

    def read(self, folder: str, place: Place) -> bytes:
        """Raises FileNotFoundError where the bundle is gone."""
        with self._lock:
            return os.pread(self._handle(folder, place.bundle), place.length, place.at)

    def read_parcel(self, folder: str, place: Among) -> bytes:
        """Raises FileNotFoundError where the bundle is gone."""
        with self._lock:
            self._write_open()
            return _parcel_at(self._handle(folder, place.bundle), place.at)

    def _handle(self, folder: str, bundle: str) -> int:
        mine = self._mine.get(folder)
        if mine is not None and mine.name == bundle and mine.is_there():
            return mine.handle
        path = f"{folder}/{bundle}"
        handle = self._others.get(path)
        if handle is None:
            handle = self._others[path] = _open(path)
            if len(self._others) > _OPEN:
                os.close(self._others.popitem(last=False)[1])
        return handle

    def _remember(self, place: tuple[str, int, int], kept: Kept) -> None:
        self._recent[place] = kept
        self._held += len(kept[1]) + _BESIDE
        while self._held > _RECENT:
            _, (_, old, _) = self._recent.popitem(last=False)
            self._held -= len(old) + _BESIDE

    def remembered(self, place: Place | Among) -> Kept | None:
        """None for what is to be read."""
        return self._recent.get(place if isinstance(place, Among) else (place.bundle, place.at, _ALONE))

    def close(self) -> None:
        """May be called twice, and used again. What waits to be written was reported by nobody."""
        with self._lock:
            self._open = self._failure = None
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


def read_parcel_once(folder: str, place: Among) -> bytes:
    """The same, of a parcel."""
    handle = _open(f"{folder}/{place.bundle}")
    try:
        return _parcel_at(handle, place.at)
    finally:
        os.close(handle)


def _parcel_at(handle: int, at: int) -> bytes:
    """As much of it as there is."""
    begin = os.pread(handle, _GUESS, at)
    length = int.from_bytes(begin[: _LENGTH.size]) + _LENGTH.size
    if length > len(begin) and length <= _LONGEST:
        begin += os.pread(handle, length - len(begin), at + len(begin))
    return begin[_LENGTH.size : length]


class _Parcel:
    """Values that are still to be written to a bundle, one behind the other."""

    __slots__ = ("_entries", "_ring", "_run_id", "_size", "at", "bundle", "folder")

    def __init__(self, folder: str, run_id: str, ring: KeyRing, bundle: _Bundle) -> None:
        self.folder, self.bundle, self.at = folder, bundle, bundle.size
        self._run_id, self._ring = run_id, ring
        self._entries: list[Entry] = []
        self._size = 0

    @property
    def is_full(self) -> bool:
        return self._size >= FULL or len(self._entries) >= MANY

    def add(self, entry: Entry) -> int:
        self._entries.append(entry)
        self._size += len(entry.body)
        return len(self._entries) - 1

    def sealed(self) -> bytes:
        name = Among(self.bundle.name, self.at, 0).parcel
        whole = sealed(self._entries, self._run_id, name, self._ring)
        return _LENGTH.pack(len(whole)) + whole


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

    @property
    def is_ours(self) -> bool:
        """Of this process, and not of the one that it was forked from: then two would write to one place."""
        return os.getpid() == self._process

    def is_there(self) -> bool:
        """Whether what is appended will be found: user code may have removed the file, closed its descriptor, or
        forked.
        """
        try:
            about = os.fstat(self.handle)
        except OSError:
            return False
        return about.st_nlink > 0 and (about.st_dev, about.st_ino) == self._file and self.is_ours

    def reopen(self, folder: str) -> None:
        """For values whose place in it is known already. What was in it may be gone."""
        self.close()
        os.makedirs(folder, exist_ok=True)
        self.handle = os.open(f"{folder}/{self.name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        about = os.fstat(self.handle)
        self._file = about.st_dev, about.st_ino

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
