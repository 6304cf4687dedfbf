"""Long JSON, compressed: the items of a list of events are nearly alike, and take a tenth of the room then."""

from __future__ import annotations

import threading
from typing import Any, Final

from opgrid.errors import PayloadRejected

#: Bytes from which on it pays, everywhere that they are copied, signed and stored.
LONG: Final = 4096
_MAGIC: Final = b"\x28\xb5\x2f\xfd"  #: that zstd begins with, and JSON does not


class _OfThread(threading.local):
    """What may be used by one thread at a time, and takes a while to be made."""

    def __init__(self) -> None:
        import zstandard

        self.compressor: Any = zstandard.ZstdCompressor(level=1)
        self.decompressor: Any = zstandard.ZstdDecompressor()
        self.error: Any = zstandard.ZstdError


_own: list[_OfThread] = []  #: none, until the first is needed


def _tools() -> _OfThread:
    if not _own:
        _own.append(_OfThread())
    return _own[0]


def compacted(text: bytes) -> bytes:
    """For ``restored``. What is short stays as it is."""
    return text if len(text) < LONG else compressed(text)


def compressed(text: bytes) -> bytes:
    """For ``restored``."""
    found: bytes = _tools().compressor.compress(text)
    return found


def restored(data: bytes) -> bytes:
    """Of bytes that are known to be ours, as by a signature: they say themselves how many they become. Raises
    PayloadRejected.
    """
    if not data.startswith(_MAGIC):
        return data
    tools = _tools()
    try:
        found: bytes = tools.decompressor.decompress(data, allow_extra_data=False)
    except (tools.error, MemoryError) as error:
        raise PayloadRejected(f"what was compressed does not decompress: {error}") from error
    return found
