"""What a pool child works on, told through a page of shared memory: nobody has to be woken up for it.

The child writes its claims and which of them runs, the watch process reads them: every few seconds to beat for them,
and once more when the child has died. A claim is written before Redis is asked for it, so that a child that dies in
between is told of, too.
Writing takes two microseconds. A page that was being written when its owner died reads as empty: its lease then
expires.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from opgrid.broker.protocol import Attempt
from opgrid.contracts.decoding import json_decoder

_SIZE: Final = 16 * 1024 * 1024  #: of which only what is written takes room
#: Bytes that take it from the start: who writes into a page that the disk has no room for is killed. Nearly all fits.
_KEPT: Final = 64 * 1024
#: Of file systems that cannot say whether they have room.
_CANNOT_TELL: Final = errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP
_HEAD = struct.Struct("<III")  # version, length, checksum
_BUSY_AT: Final = _HEAD.size
_STOP_AT: Final = _BUSY_AT + 4
_STOP_SIZE: Final = 64
_RUN = struct.Struct("<d56s")  # since when, which claim
_RUN_AT: Final = _STOP_AT + _STOP_SIZE
_DATA_AT: Final = _RUN_AT + _RUN.size
#: Before the claim of a step that has ended, while that is told and what follows is done: its hooks run, its resources
#: are closed.
AFTER: Final = "~"


class Claim(msgspec.Struct, array_like=True):
    """An attempt that a child holds the lease of. ``taken`` is set in place."""

    run_id: str
    stream: str
    step: str
    attempt: int
    claim: str
    owner: str
    timeout: float | None = None  #: seconds
    taken: bool = True  #: False while Redis is asked for it
    follows: bool = False  #: it came along with a step that had to succeed first; it may not be out yet

    @property
    def at(self) -> Attempt:
        return Attempt(self.run_id, self.stream, self.step, self.attempt)


_encode = msgspec.json.Encoder().encode
_decode = json_decoder(list[Claim]).decode


class Slot:
    """One child's page. The child calls ``hold``, ``begin`` and ``stop_asked``, and says whether it is busy; the watch
    process calls the others."""

    def __init__(self, path: Path, page: mmap.mmap) -> None:
        self.path = path
        self._page = page
        self._version = 0

    @classmethod
    def create(cls, path: Path) -> Self:
        """Raises OSError, where there is no room for it."""
        return cls._open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, kept=_KEPT)

    @classmethod
    def open(cls, path: Path) -> Self:
        return cls._open(path, os.O_RDWR)

    @classmethod
    def _open(cls, path: Path, flags: int, kept: int = 0) -> Self:
        handle = os.open(path, flags, 0o600)
        try:
            os.ftruncate(handle, _SIZE)
            if kept:
                _keep(handle, kept)
            return cls(path, mmap.mmap(handle, _SIZE))
        finally:
            os.close(handle)

    def hold(self, claims: Sequence[Claim]) -> None:
        data = _encode(claims)
        if len(data) > _SIZE - _DATA_AT:
            raise ValueError(f"{len(claims)} claims do not fit into a page of {_SIZE} bytes")
        self._version += 2
        _HEAD.pack_into(self._page, 0, self._version - 1, 0, 0)
        self._page[_DATA_AT : _DATA_AT + len(data)] = data
        _HEAD.pack_into(self._page, 0, self._version, len(data), zlib.crc32(data))

    def held(self) -> list[Claim]:
        """What the child works on now; empty while it writes."""
        version, length, checksum = _HEAD.unpack_from(self._page, 0)
        if version % 2 or not 0 < length <= _SIZE - _DATA_AT:
            return []
        data = self._page[_DATA_AT : _DATA_AT + length]
        if zlib.crc32(data) != checksum:
            return []
        return _decode(data)

    @property
    def is_busy(self) -> bool:
        """Whether the child is at a message, from the code that it loads for it to the hooks that follow."""
        return bool(self._page[_BUSY_AT])

    @is_busy.setter
    def is_busy(self, busy: bool) -> None:
        self._page[_BUSY_AT] = busy

    def begin(self, claim: str, now: float) -> None:
        """Of what is held, this one runs from now on (monotonic clock of this machine); "": none does; ``AFTER`` and a
        claim: what follows the end of that.
        """
        _RUN.pack_into(self._page, _RUN_AT, now, claim.encode())

    def running(self) -> tuple[str, float]:
        """The claim that runs, and since when."""
        since, claim = _RUN.unpack_from(self._page, _RUN_AT)
        return claim.rstrip(b"\0").decode(), since

    def ask_to_stop(self, claim: str) -> None:
        self._page[_STOP_AT:_RUN_AT] = claim.encode().ljust(_STOP_SIZE, b"\0")

    def stop_asked(self) -> str:
        """The claim that must stop, if any. It is left standing: another claim does not feel meant."""
        return self._page[_STOP_AT:_RUN_AT].rstrip(b"\0").decode()

    def close(self, remove: bool = False) -> None:
        self._page.close()
        if remove:
            self.path.unlink(missing_ok=True)


def _keep(handle: int, size: int) -> None:
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        if error.errno not in _CANNOT_TELL:
            raise


def slot_path(folder: Path, pid: int) -> Path:
    return folder / f"{pid}.slot"
