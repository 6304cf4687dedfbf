"""Values on their way to and from the broker, gathered by whoever runs steps: many go in one round trip."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from opgrid.io.kept import index_of
from opgrid.io.keys import KeyRing
from opgrid.io.parcels import Entry, Parcel

#: Bytes that wait at most; what comes then is written at once.
_MOST: Final = 4 << 20


class Store(NamedTuple):
    """A value to be written."""

    key: str
    value: bytes
    names: str  #: key of the set that names the keys of its run
    seconds: int  #: to live


def store_commands(stores: Iterable[Store]) -> list[list[str | bytes | int]]:
    """The commands that write them."""
    names: dict[tuple[str, int], list[str]] = {}
    commands: list[list[str | bytes | int]] = []
    for store in stores:
        commands.append(["SET", store.key, store.value, "EX", store.seconds])
        names.setdefault((store.names, store.seconds), []).append(store.key)
    for (index, seconds), keys in names.items():
        commands.append(["SADD", index, *keys])
        commands.append(["EXPIRE", index, seconds])
    return commands


def add_to(pipe: Any, stores: Iterable[Store]) -> None:
    """The same, to a pipeline."""
    for command in store_commands(stores):
        pipe.execute_command(*command)


class Pending:
    """For several threads. What waits in it has to be written before any output in it is reported."""

    def __init__(self) -> None:
        self._waiting: dict[str, Store] = {}
        self._open: Parcel | None = None  #: takes further small values
        self._fetched: Mapping[str, bytes] = {}
        self._before: Mapping[str, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def put(self, store: Store) -> bool:
        """False where there is no room."""
        with self._lock:
            if self._size + len(store.value) > _MOST:
                return False
            self._size += len(store.value)
            self._waiting[store.key] = store
            return True

    def add(self, run_id: str, seconds: int, ring: KeyRing, entry: Entry) -> tuple[Parcel, int] | None:
        """The parcel that takes a small value, and its place there; None where there is no room."""
        with self._lock:
            if self._size + len(entry.body) > _MOST:
                return None
            parcel = self._open
            if parcel is None or parcel.is_full or parcel.run_id != run_id or parcel.seconds != seconds:
                self._close()
                parcel = self._open = Parcel(run_id, seconds, ring)
            self._size += len(entry.body)
            return parcel, parcel.add(entry)

    def _close(self) -> None:
        """What comes next goes into another parcel."""
        parcel, self._open = self._open, None
        if parcel is not None:
            store = Store(parcel.key, parcel.sealed(), index_of(parcel.run_id), parcel.seconds)
            self._waiting[store.key] = store
            self._size += len(store.value) - parcel.size

    @property
    def is_half_full(self) -> bool:
        return self._size * 2 > _MOST

    def find(self, key: str) -> bytes | None:
        """What is still to be written, or was fetched ahead."""
        with self._lock:
            if self._open is not None and self._open.key == key:
                self._close()
        found = self._waiting.get(key)
        if found is not None:
            return found.value
        value = self._fetched.get(key)
        return self._before.get(key) if value is None else value

    def fetched(self, values: Mapping[str, bytes]) -> None:
        """What the next steps are going to load. Others may still be about to load what was fetched last."""
        if values:
            self._before, self._fetched = self._fetched, values

    def waiting(self) -> list[Store]:
        with self._lock:
            self._close()
            return list(self._waiting.values())

    def written(self, stores: list[Store]) -> None:
        with self._lock:
            for store in stores:
                if self._waiting.pop(store.key, None) is not None:
                    self._size -= len(store.value)
