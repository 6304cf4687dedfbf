"""SHA-256 of large values, by a thread beside the one that reads or writes them: hashing takes as long as either."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Final, Self

from opgrid.io.serializers import Segment

#: Bytes from which on a thread pays.
BESIDE: Final = 4 << 20


class Hashing:
    """What it is given is hashed in that order, and must not change until the digest was asked for. Its thread ends
    with the ``with`` statement, or once it is told that this was all.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._parts: SimpleQueue[Segment | None] = SimpleQueue()
        self._thread: threading.Thread | None = threading.Thread(target=self._work, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads
            self._thread = None

    @classmethod
    def of(cls, parts: Iterable[Segment]) -> Self:
        with cls() as hashing:
            for part in parts:
                hashing.update(part)
        return hashing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.put(None)

    def update(self, part: Segment) -> None:
        self._parts.put(part)

    def digest(self) -> bytes:
        """Of all that it was given; waits for the thread, after the ``with`` statement."""
        if self._thread is None:
            self._work()
            self._parts.put(None)
        else:
            self._thread.join()
        return self._hash.digest()

    def _work(self) -> None:
        while (part := self._parts.get()) is not None:
            self._hash.update(part)
