"""Small values that a process stores within one turn share a key in Redis, or a place in a file: a *parcel*, signed and
written once.

The manifest of an output names its parcel and its place there; each entry says which output of which attempt it is,
so that no reader takes one for another. A parcel is never changed once it was written.
"""

from __future__ import annotations

import secrets
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from opgrid.contracts.decoding import msgpack_decoder
from opgrid.contracts.tasks import OutputRef
from opgrid.errors import PayloadDamaged, PayloadRejected
from opgrid.io.envelope import open_sealed, seal
from opgrid.io.kept import index_of
from opgrid.io.keys import KeyRing

PURPOSE: Final = "parcel"
#: Bytes of a value that goes with others: who wants it reads all of them.
LARGEST: Final = 1024
#: Bytes and values that a parcel takes.
FULL: Final = 32 * 1024
MANY: Final = 500
#: Parcels that a reader keeps: those of a thousand values that are read at once, and more.
_KEPT: Final = 100
_CRC_SIZE: Final = 4


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One value, and whose it is."""

    step: str
    output: str
    mapping_key: str | None
    attempt: int
    claim: str
    how: str  #: name of the serializer
    lengths: tuple[int, ...]  #: of the segments
    body: bytes

    @classmethod
    def of(
        cls, ref: OutputRef, how: str, lengths: Sequence[int], body: Sequence[bytes | bytearray | memoryview]
    ) -> Entry:
        whole = bytes(body[0]) if len(body) == 1 else b"".join(body)
        return cls(ref.step, ref.output, ref.mapping_key, ref.attempt, ref.claim, how, tuple(lengths), whole)

    def belongs_to(self, ref: OutputRef) -> bool:
        return (
            self.step == ref.step
            and self.output == ref.output
            and self.mapping_key == ref.mapping_key
            and self.attempt == ref.attempt
            and self.claim == ref.claim
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgpack_decoder(list[Entry]).decode


def parcel_of(ref: OutputRef) -> str | None:
    """The name of the parcel that a value lies in; None for one that has keys of its own."""
    manifest = ref.manifest
    name = manifest.get("in") if type(manifest) is dict else None
    return name if type(name) is str else None


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a value lies, as its manifest says it."""

    parcel: str
    at: int

    @classmethod
    def of(cls, ref: OutputRef) -> Place | None:
        """None for a value that has keys of its own."""
        manifest = ref.manifest
        if type(manifest) is not dict:
            return None
        name, at = manifest.get("in"), manifest.get("at")
        return cls(name, at) if type(name) is str and type(at) is int and at >= 0 else None


@lru_cache(maxsize=256)
def parcel_key(run_id: str, parcel: str) -> str:
    """No key of an output looks like it: there, this character is encoded."""
    return f"{index_of(run_id)}:+{parcel}"


class Parcel:
    """On its way; for one run."""

    __slots__ = ("_ring", "entries", "is_full", "key", "name", "run_id", "seconds", "size")

    def __init__(self, run_id: str, seconds: int, ring: KeyRing) -> None:
        self.run_id = run_id
        self.seconds = seconds  #: to live
        self.name = secrets.token_hex(8)
        self.key = parcel_key(run_id, self.name)
        self.entries: list[Entry] = []
        self.size = 0  #: of the values
        self.is_full = False
        self._ring = ring

    def add(self, entry: Entry) -> int:
        """Its place."""
        place = len(self.entries)
        self.entries.append(entry)
        self.size += len(entry.body)
        self.is_full = self.size >= FULL or place + 1 >= MANY
        return place

    def sealed(self) -> bytes:
        return sealed(self.entries, self.run_id, self.name, self._ring)


def sealed(entries: Sequence[Entry], run_id: str, name: str, ring: KeyRing) -> bytes:
    whole = seal(PURPOSE, [run_id.encode(), name.encode(), _encode(entries)], ring)
    return zlib.crc32(whole).to_bytes(_CRC_SIZE) + whole


def opened(data: bytes, run_id: str, name: str, ring: KeyRing) -> list[Entry]:
    """Raises PayloadRejected, and PayloadDamaged for what is no more than damage; nothing is unpickled."""
    sealed = data[_CRC_SIZE:]
    if data[:_CRC_SIZE] != zlib.crc32(sealed).to_bytes(_CRC_SIZE):
        raise PayloadDamaged(f"values of run {run_id} that were stored together: their bytes were damaged")
    match open_sealed(sealed, PURPOSE, ring):
        case [whose, named, packed] if whose == run_id.encode() and named == name.encode():
            try:
                return _decode(packed)
            except msgspec.MsgspecError as error:
                raise PayloadRejected(f"no parcel of values: {error}") from error
    raise PayloadRejected(f"what is stored there is no parcel {name} of run {run_id}")


def taken_from(entries: Sequence[Entry], at: int, ref: OutputRef) -> Entry:
    """Raises PayloadRejected where the place is another output's."""
    if at >= len(entries) or not entries[at].belongs_to(ref):
        raise PayloadRejected(
            f"Output {ref.output!r} of step {ref.step!r} (run {ref.run_id}): what is stored there belongs to "
            "another output"
        )
    return entries[at]


class Parcels:
    """Those that this process has written or read lately, by their keys."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Sequence[Entry]] = OrderedDict()

    def find(self, key: str) -> Sequence[Entry] | None:
        return self._entries.get(key)

    def keep(self, key: str, entries: Sequence[Entry]) -> None:
        if key in self._entries:
            return
        self._entries[key] = entries
        if len(self._entries) > _KEPT:
            self._entries.popitem(last=False)
