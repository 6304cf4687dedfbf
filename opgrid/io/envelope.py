"""The signed envelope ``OG1``: fields that nobody can change, swap or forge, checked before anything in them is
looked at.

``"OG1" | purpose | key id | fields, each as u32 length and bytes | HMAC-SHA256 over all of it``. The key is derived
per purpose, and the key id chooses it: nothing in a message chooses an algorithm.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from opgrid.errors import PayloadRejected
from opgrid.io.keys import ID_SIZE, MAC_SIZE, KeyRing

MAGIC: Final = b"OG1"
_U32 = struct.Struct(">I")
_SHORT: Final = [_U32.pack(size) for size in range(256)]


@lru_cache(maxsize=64)
def _start(purpose: str) -> bytes:
    name = purpose.encode()
    return MAGIC + bytes([len(name)]) + name


def seal(purpose: str, fields: Sequence[bytes], ring: KeyRing) -> bytes:
    parts = [_start(purpose), ring.active]
    for field in fields:
        parts.append(_SHORT[len(field)] if len(field) < len(_SHORT) else _U32.pack(len(field)))
        parts.append(field)
    body = b"".join(parts)
    return body + ring.sign(purpose, body)


def open_sealed(data: bytes, purpose: str, ring: KeyRing) -> list[bytes]:
    """The fields, once their signature was found good. Raises PayloadRejected and nothing else."""
    start = _start(purpose)
    head = len(start) + ID_SIZE
    if len(data) < head + MAC_SIZE or not data.startswith(start):
        raise PayloadRejected(f"no signed {purpose}: the bytes do not begin as one")
    body, mac = data[:-MAC_SIZE], data[-MAC_SIZE:]
    ring.verify(purpose, data[len(start) : head], mac, body)
    fields, read = [], _U32.unpack_from
    at, end = head, len(body)
    while at < end:
        if at + 4 > end:
            raise PayloadRejected(f"the signed {purpose} is cut short")
        start_of = at + 4
        at = start_of + read(body, at)[0]
        if at > end:
            raise PayloadRejected(f"the signed {purpose} is cut short")
        fields.append(body[start_of:at])
    return fields
