"""Checksums of values: SHA-256, and BLAKE3 of large ones, which takes a quarter of the time; both are cryptographic
hashes of 32 bytes. Those of large values are computed by a thread beside the one that reads or writes them.

A checksum begins with what tells how it was made: nothing for SHA-256.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from queue import SimpleQueue
from typing import Any, Final, Self

from opgrid.errors import PayloadRejected
from opgrid.io.pages import LARGE
from opgrid.io.serializers import Segment

#: Bytes from which on a thread pays.
BESIDE: Final = 4 << 20
_SHA256: Final = b""
_BLAKE3: Final = b"b3:"
_DIGEST: Final = 32


def kind_for(size: int) -> bytes:
    """How the checksum of so many bytes is made; by SHA-256 alone where BLAKE3 is not installed."""
    if size >= LARGE:
        try:
            import blake3  # noqa: F401
        except ImportError:
            return _SHA256
        return _BLAKE3
    return _SHA256


def kind_of(checksum: bytes) -> bytes:
    return checksum[:-_DIGEST]


def blank(kind: bytes) -> bytes:
    """As long as a checksum of this kind."""
    return kind + bytes(_DIGEST)


def checksum_of(parts: Sequence[Segment], kind: bytes) -> bytes:
    """Raises PayloadRejected for a kind that is not known here."""
    if kind == _SHA256 and len(parts) == 1:
        return hashlib.sha256(parts[0]).digest()
    hashed = _new(kind)
    for part in parts:
        hashed.update(part)
    return kind + bytes(hashed.digest())


class Hashing:
    """What it is given is hashed in that order, and must not change until the checksum was asked for. Its thread ends
    with the ``with`` statement, or once it is told that this was all.
    """

    def __init__(self, kind: bytes) -> None:
        self._kind = kind
        self._hash = _new(kind)
        self._parts: SimpleQueue[Segment | None] = SimpleQueue()
        self._thread: threading.Thread | None = threading.Thread(target=self._work, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads
            self._thread = None

    @classmethod
    def of(cls, parts: Iterable[Segment], kind: bytes) -> Self:
        with cls(kind) as hashing:
            for part in parts:
                hashing.update(part)
        return hashing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.put(None)

    def update(self, part: Segment) -> None:
        self._parts.put(part)

    def checksum(self) -> bytes:
        """Of all that it was given; waits for the thread, after the ``with`` statement."""
        if self._thread is None:
            self._work()
            self._parts.put(None)
        else:
            self._thread.join()
        return self._kind + bytes(self._hash.digest())

    def _work(self) -> None:
        while (part := self._parts.get()) is not None:
            self._hash.update(part)


def _new(kind: bytes) -> Any:
    if kind == _SHA256:
        return hashlib.sha256()
    if kind != _BLAKE3:
        raise PayloadRejected(f"the stored bytes were hashed in a way that is not known here: {kind!r}")
    try:
        from blake3 import blake3
    except ImportError:
        raise PayloadRejected(
            "the stored bytes were hashed with BLAKE3, which is not here: pip install blake3"
        ) from None
    return blake3()
