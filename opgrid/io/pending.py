"""Values on their way to and from the broker, gathered by whoever runs steps: many go in one round trip."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

#: Bytes that wait at most; what comes then is written at once.
_MOST: Final = 4 << 20


class Store(NamedTuple):
    """A value to be written."""

    key: str
    value: bytes
    names: str  #: key of the set that names the keys of its run
    seconds: int  #: to live


class Pending:
    """For several threads. What waits in it has to be written before any output in it is reported."""

    def __init__(self) -> None:
        self._waiting: dict[str, Store] = {}
        self._fetched: Mapping[str, bytes] = {}
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

    @property
    def is_half_full(self) -> bool:
        return self._size * 2 > _MOST

    def find(self, key: str) -> bytes | None:
        """What is still to be written, or was fetched ahead."""
        found = self._waiting.get(key)
        return self._fetched.get(key) if found is None else found.value

    def fetched(self, values: Mapping[str, bytes]) -> None:
        """What the next steps are going to load. It takes the place of what was fetched before."""
        self._fetched = values

    def waiting(self) -> list[Store]:
        with self._lock:
            return list(self._waiting.values())

    def written(self, stores: list[Store]) -> None:
        with self._lock:
            for store in stores:
                if self._waiting.pop(store.key, None) is not None:
                    self._size -= len(store.value)
