"""A value as it lies in a store: a signed header that binds it to one output of one attempt, and a body of aligned
segments.

A reader checks in this order: the header's own checksum, signature, that it is the output it asked for, size, the
body's checksum, bounded decompression; only then is anything unpickled. The header's checksum keeps nobody out: it
tells damage, for which the value is made again, from a header that somebody wrote without having a key.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from opgrid.contracts.tasks import OutputRef
from opgrid.errors import PayloadDamaged, PayloadRejected
from opgrid.io.envelope import MAGIC, open_sealed, seal
from opgrid.io.hashing import BESIDE, Hashing, blank, checksum_of, kind_for, kind_of
from opgrid.io.keys import KeyRing
from opgrid.io.pages import room
from opgrid.io.serializers import Segment, Serializer, serializer

PURPOSE: Final = "payload"
#: How headers begin that were written before they had a checksum of their own.
_BARE: Final = MAGIC + bytes([len(PURPOSE)]) + PURPOSE.encode()
#: Buffers start where arrays of any dtype like to start.
_ALIGN: Final = 64
_PADDING: Final = bytes(_ALIGN)
_COPIED: Final = 16 * 1024  #: bytes below which a segment is
_COMPRESS_FROM: Final = 8 * 1024
_SAMPLE: Final = 64 * 1024
#: Bytes from which on threads share the work of compressing, and how many at most.
_COMPRESS_BESIDE: Final = 8 << 20
_MOST_THREADS: Final = 4
_SIZES: Final = struct.Struct(">QQ")
_CRC: Final = struct.Struct(">I")


class Plain(NamedTuple):
    """A value as bytes."""

    how: str  #: name of the serializer
    body: list[Segment]  #: to be written one behind the other
    size: int  #: of the body
    lengths: list[int]  #: of the segments in it


class Packed:
    """A value that is ready to be written. A large body is hashed by a thread meanwhile: write it before its header
    is asked for.
    """

    __slots__ = ("_before", "_behind", "_checksum", "_header", "_kind", "_ring", "body", "size")

    def __init__(self, plain: Plain, compression: str, body: list[Segment], size: int, ref: OutputRef, ring: KeyRing):
        self.body = body
        self.size = size
        self._ring = ring
        self._before = [*_identity(ref), plain.how.encode(), compression.encode(), _SIZES.pack(plain.size, size)]
        self._behind = struct.pack(f">{len(plain.lengths)}Q", *plain.lengths)
        self._header = b""
        self._kind = kind_for(size)
        self._checksum: bytes | Hashing = (Hashing.of if size >= BESIDE else checksum_of)(body, self._kind)

    @property
    def checksum(self) -> bytes:
        if isinstance(self._checksum, Hashing):
            self._checksum = self._checksum.checksum()
        return self._checksum

    @property
    def header(self) -> bytes:
        if not self._header:
            self._header = self._sealed(self.checksum)
        return self._header

    @property
    def header_size(self) -> int:
        """Known before the header is."""
        return len(self._sealed(blank(self._kind)))

    def _sealed(self, checksum: bytes) -> bytes:
        sealed = seal(PURPOSE, [*self._before, checksum, self._behind], self._ring)
        return _CRC.pack(zlib.crc32(sealed)) + sealed


def plain(value: object, how: Serializer) -> Plain:
    segments = how.dumps(value)
    if len(segments) == 1:  # as nearly all have
        first = segments[0]
        size = len(first) if type(first) is bytes else _length(first)
        return Plain(how.name, segments, size, [size])
    lengths = [_length(segment) for segment in segments]
    body = list(_laid_out(segments, lengths))
    return Plain(how.name, body, sum(map(_length, body)), lengths)


def again(how: str, body: Segment, lengths: Sequence[int]) -> Any:
    """The value; for bytes that never left this process."""
    return serializer(how).loads([body] if len(lengths) == 1 else _segments(body, lengths))


def pack(plain: Plain, ref: OutputRef, ring: KeyRing, compress: bool = False) -> Packed:
    if compress and plain.size >= _COMPRESS_FROM and (smaller := _compressed(plain)) is not None:
        return Packed(plain, "zstd", [smaller], len(smaller), ref, ring)
    return Packed(plain, "", plain.body, plain.size, ref, ring)


class Header(NamedTuple):
    """What a header says of its body."""

    how: str  #: name of the serializer
    compression: str
    raw: int  #: bytes once decompressed
    size: int
    checksum: bytes  #: of the body (:mod:`opgrid.io.hashing`)
    lengths: tuple[int, ...]  #: of the segments


def read_header(header: bytes, ref: OutputRef, ring: KeyRing) -> Header:
    """Raises PayloadRejected and PayloadDamaged."""
    sealed = header[_CRC.size :]
    if header[: _CRC.size] != _CRC.pack(zlib.crc32(sealed)):
        if not header.startswith(_BARE):
            raise PayloadDamaged(f"{_named(ref)}: what tells of the stored bytes was damaged")
        sealed = header
    fields = open_sealed(sealed, PURPOSE, ring)
    wanted = _identity(ref)
    if fields[: len(wanted)] != wanted:
        raise PayloadRejected(f"{_named(ref)}: what is stored there belongs to another output")
    how, compression, sizes, checksum, packed_lengths = fields[len(wanted) :]
    raw, size = _SIZES.unpack(sizes)
    lengths = struct.unpack(f">{len(packed_lengths) // 8}Q", packed_lengths)
    return Header(how.decode(), compression.decode(), raw, size, checksum, lengths)


def unpack(header: bytes, body: Segment, ref: OutputRef, ring: KeyRing) -> Any:
    """The value. PayloadRejected names what is wrong, PayloadDamaged where it is no more than damage; nothing was
    unpickled then.
    """
    return opened(read_header(header, ref, ring), ref, body)


def opened(told: Header, ref: OutputRef, body: Segment, checksum: bytes | None = None) -> Any:
    """``unpack`` from a header that was read; ``checksum``: of the body, where it was hashed while it came."""
    if _length(body) != told.size:
        raise PayloadDamaged(f"{_named(ref)}: {_length(body)} bytes are stored where {told.size} were written")
    if (checksum or checksum_of([body], kind_of(told.checksum))) != told.checksum:
        raise PayloadDamaged(f"{_named(ref)}: the bytes were damaged or changed after they were written")
    if told.compression:
        body = _decompressed(body, told.raw)
    return value_of(told, body)


def value_of(told: Header, raw: Segment) -> Any:
    """Of a body that is known to be what was written, and is not compressed any more."""
    return serializer(told.how).loads(_segments(raw, told.lengths))


def _identity(ref: OutputRef) -> list[bytes]:
    mapped = b"" if ref.mapping_key is None else b"[" + ref.mapping_key.encode()
    return [
        ref.run_id.encode(),
        ref.step.encode(),
        ref.output.encode(),
        mapped,
        str(ref.attempt).encode(),
        ref.claim.encode(),
    ]


def _named(ref: OutputRef) -> str:
    return f"Output {ref.output!r} of step {ref.step!r} (run {ref.run_id})"


def _length(segment: Segment) -> int:
    return segment.nbytes if isinstance(segment, memoryview) else len(segment)


def _laid_out(segments: Sequence[Segment], lengths: Sequence[int]) -> Iterator[Segment]:
    """Each begins where it may; small ones become one piece, for each piece is hashed and written on its own."""
    last = len(segments) - 1
    small = bytearray()
    for index, segment in enumerate(segments):
        if lengths[index] < _COPIED:
            small += segment
        else:
            if small:
                yield small
                small = bytearray()
            yield segment
        if index < last and (over := lengths[index] % _ALIGN):
            small += _PADDING[: _ALIGN - over]
    if small:
        yield small


def _segments(body: Segment, lengths: Sequence[int]) -> list[Segment]:
    if len(lengths) == 1:
        return [body]
    view = memoryview(bytearray(body) if isinstance(body, bytes) else body)  # readers may change what they get
    found: list[Segment] = []
    at = 0
    for length in lengths:
        found.append(view[at : at + length])
        at += length + (-length % _ALIGN)
    return found


def _compressed(plain: Plain) -> bytes | None:
    """None where it does not pay: told by a sample, so that what is already dense costs next to nothing."""
    import zstandard

    compressor = zstandard.ZstdCompressor(level=1)
    largest = max(plain.body, key=_length)
    sample = bytes(memoryview(largest)[:_SAMPLE])
    if len(compressor.compress(sample)) > 0.8 * len(sample):
        return None
    if plain.size >= _COMPRESS_BESIDE:
        compressor = zstandard.ZstdCompressor(level=1, threads=min(_MOST_THREADS, os.cpu_count() or 1))
    stream = compressor.compressobj(size=plain.size)
    return b"".join([*(stream.compress(part) for part in plain.body), stream.flush()])


def _decompressed(body: Segment, raw: int) -> Segment:
    import zstandard

    out = room(raw)
    view, at = memoryview(out), 0
    try:
        with zstandard.ZstdDecompressor().stream_reader(body) as reader:
            while at < raw and (count := reader.readinto(view[at:])):
                at += count
            whole = at == raw and not reader.read(1)
    except zstandard.ZstdError as error:
        raise PayloadRejected(f"the stored bytes do not decompress: {error}") from error
    if not whole:
        raise PayloadRejected(f"the stored bytes do not decompress to the {raw} bytes that were written")
    return out
