"""Values in Redis: signed, checksummed, compressed where it pays, in chunks that Redis handles well.

``<deployment>:io:<run>:<step>:<output>[:<mapping key>]:<attempt>:<claim>``, each part percent-encoded, holds the
header and the first chunk; ``...:1``, ``...:2`` hold the others. Small values share keys (:mod:`opgrid.io.parcels`);
the set ``<deployment>:io:<run>`` names all keys of a run. A time to live is the net under what nobody cleans up; what
removes values is in :mod:`opgrid.io.kept`.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from opgrid.broker.environment import whole_number
from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, PayloadDamaged, PayloadRejected, SettingsError
from opgrid.io.context import InputContext, IOContext, OutputContext
from opgrid.io.hashing import Hashing, kind_of
from opgrid.io.kept import batches, index_of
from opgrid.io.keys import KeyRing
from opgrid.io.manager import IOManager
from opgrid.io.nearby import FOLDER, LEAST, MOST, OFF, Nearby
from opgrid.io.pages import room
from opgrid.io.parcels import LARGEST as LARGEST_TOGETHER
from opgrid.io.parcels import Entry, Parcels, Place, parcel_key, parcel_of, taken_from
from opgrid.io.parcels import opened as opened_parcel
from opgrid.io.payload import Header, Packed, Plain, again, opened, pack, plain, read_header, value_of
from opgrid.io.pending import Pending, Store, add_to
from opgrid.io.serializers import Segment, serializer
from opgrid.io.setup import IOSetup
from opgrid.io.spill import spill, spilled

if TYPE_CHECKING:
    import redis

T = TypeVar("T")

CHUNK: Final = 1 << 20
#: Bytes of which large buffers are cut: a quarter of the time goes, of what sockets take for whole chunks.
_PIECE: Final = 1 << 18
_AT_ONCE: Final = 8 << 20  #: bytes that are on the way before answers are read
#: Seconds that a value stays if nobody cleans up: OPGRID_IO_TTL.
TTL: Final = 7 * 24 * 3600
#: Bytes of one value: OPGRID_IO_MAX_BYTES.
LARGEST: Final = 1 << 30
#: Bytes above which a value goes to OPGRID_IO_SPILL_TO, where that is set: OPGRID_IO_SPILL_ABOVE.
SPILL_ABOVE: Final = 64 << 20
#: Seconds that a step waits for a Redis that does not answer, or has no room: OPGRID_IO_PATIENCE.
PATIENCE: Final = 60
_AGAIN: Final = 0.2  #: seconds until it is tried again
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.\-~\[\],]*").fullmatch  #: what quoting leaves as it is
_HEAD: Final = struct.Struct(">I")
_CACHED_VALUES: Final = 256
_CACHED_BYTES: Final = 64 * 1024


class RedisStore(IOManager):
    """For ``url``, or the broker of the process that uses it. Values above ``max_bytes`` are refused with their
    size and the limit. ``compress``: whatever becomes smaller, nothing, or (None) what gets there sooner so.
    """

    def __init__(
        self,
        url: str | None = None,
        serializer: str = "cloudpickle",
        compress: bool | None = None,
        ttl: int | None = None,
        max_bytes: int | None = None,
        spill_to: str | None = None,
        spill_above: int | None = None,
    ) -> None:
        self.url = url
        self.spill_to = spill_to or os.environ.get("OPGRID_IO_SPILL_TO") or None
        self.spill_above = spill_above or whole_number("OPGRID_IO_SPILL_ABOVE", SPILL_ABOVE)
        self.serializer = serializer
        self.compress = compress
        self.ttl = ttl or whole_number("OPGRID_IO_TTL", TTL)
        self.max_bytes = max_bytes or whole_number("OPGRID_IO_MAX_BYTES", LARGEST)
        self.patience = whole_number("OPGRID_IO_PATIENCE", PATIENCE)
        #: Bytes above which a value does not go to Redis.
        self._most = self.max_bytes if self.spill_to is None else min(self.max_bytes, self.spill_above)
        self._nearby = nearby()
        self._recent = _Recent()
        self._parcels = Parcels()
        self._ahead: Mapping[str, bytes] = {}

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        ref, value = context.output_ref, plain(obj, serializer(self.serializer))
        if value.size <= LARGEST_TOGETHER and self._posted(context, ref, value):
            return
        if self._nearby is None or value.size < LEAST:
            self._store(context, ref, value, pack(value, ref, context.io.keys, self._compresses(context, value)))
            return
        with self._nearby.keeping(value.body, value.size) as kept:
            packed = pack(value, ref, context.io.keys, self._compresses(context, value))
            self._store(context, ref, value, packed)
            kept.name = packed.checksum.hex()

    def _compresses(self, context: OutputContext, value: Plain) -> bool:
        """To compress takes longer than to send what does not leave the machine."""
        if self.compress is not None:
            return self.compress
        url = self.url or context.io.broker_url
        return not (url and LEAST <= value.size <= self._most and _is_here(url))

    def _store(self, context: OutputContext, ref: OutputRef, value: Plain, packed: Packed) -> None:
        if self.spill_to is not None and packed.size > self.spill_above:
            spill(self.spill_to, ref, packed)
            context.manifest = {"size": packed.size, "chunks": 0}
            return
        if packed.size > self.max_bytes:
            raise ValueError(
                f"Output {ref.output!r} of step {ref.step!r} takes {packed.size:,} bytes; the Redis IO manager "
                f"stores {self.max_bytes:,} at most (OPGRID_IO_MAX_BYTES). Let large values go elsewhere with "
                "OPGRID_IO_SPILL_TO, or bind an IO manager for them: Out(io_manager_key=...)."
            )
        key = key_of(ref)
        chunks = 1
        if not self._put_off(context, key, ref, packed):
            client = self._client(context)
            chunks = self._patiently(lambda: self._write(client, key, ref, packed))
        self._recent.keep(key, value)
        context.manifest = {"size": packed.size, "chunks": chunks}

    def load_input(self, context: InputContext) -> Any:
        ref = context.output_ref
        place = Place.of(ref)
        if place is not None:
            return self._from_parcel(context, ref, place)
        key = key_of(ref)
        if not _chunks_of(ref):
            return spilled(self._spilled_to(ref), ref, context.io.keys, self._near)()
        recent = self._recent.find(key)
        if recent is not None:
            return again(recent.how, recent.body[0], recent.lengths)
        waiting = self._ahead.get(key)
        if waiting is None and context.io.pending is not None:
            waiting = context.io.pending.find(key)
        if waiting is not None:
            return self._value(*_apart(key, waiting), ref, context.io.keys)
        client, ring = self._client(context), context.io.keys
        return self._patiently(lambda: self._read(client, key, ref, ring))()

    def read_ahead(self, io: IOSetup, refs: Sequence[OutputRef]) -> Mapping[int, Any]:
        """Small values, that is; of one that is wrong or gone, ``load_input`` tells."""
        pending, url = io.pending, self.url or io.broker_url
        keys = [key for key in self.to_fetch(refs) if pending is None or pending.find(key) is None]
        self._ahead = {}
        if keys and url:
            client = client_of(url, os.getpid())
            values: Any = self._patiently(lambda: client.mget(keys))
            self._ahead = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
        if getattr(self.load_input, "__func__", None) is not _load_input:
            return {}  # it has something else to do for each
        return self._at_hand(io, refs)

    def _at_hand(self, io: IOSetup, refs: Sequence[OutputRef]) -> dict[int, Any]:
        """Those in parcels that are."""
        parcels: dict[tuple[str, str], Sequence[Entry] | None] = {}
        found: dict[int, Any] = {}
        for number, ref in enumerate(refs):
            place = Place.of(ref)
            if place is None:
                continue
            parcel = ref.run_id, place.parcel
            try:
                if parcel not in parcels:
                    parcels[parcel] = None
                    parcels[parcel] = self._parcel(io, ref.run_id, place)
                entries = parcels[parcel]
                if entries is not None:
                    entry = taken_from(entries, place.at, ref)
                    found[number] = again(entry.how, entry.body, entry.lengths)
            except Exception:
                continue  # whatever it is, ``load_input`` says it of this value
        return found

    def _posted(self, context: OutputContext, ref: OutputRef, value: Plain) -> bool:
        """Whether it goes with others, which the process that runs the step writes before the step is reported."""
        io = context.io
        pending = io.pending
        if pending is None or self.url not in (None, io.broker_url) or value.size > self._most:
            return False
        entry = Entry.of(ref, value.how, value.lengths, value.body)
        found = pending.add(ref.run_id, self.ttl, io.keys, entry)
        if found is None:
            self._write_all(pending, self._client(context))
            found = pending.add(ref.run_id, self.ttl, io.keys, entry)
            if found is None:
                return False
        parcel, at = found
        if not at:
            self._parcels.keep(parcel.key, parcel.entries)
        context.manifest = {"size": value.size, "in": parcel.name, "at": at}
        return True

    def _from_parcel(self, context: InputContext, ref: OutputRef, place: Place) -> Any:
        key = parcel_key(ref.run_id, place.parcel)
        entries = self._parcels.find(key) or self._parcel(context.io, ref.run_id, place)
        if entries is None:
            client = self._client(context)
            data: Any = self._patiently(lambda: client.get(key))
            if data is None:
                raise _gone(ref)
            entries = self._opened(data, ref.run_id, place, context.io)
        entry = taken_from(entries, place.at, ref)
        return again(entry.how, entry.body, entry.lengths)

    def _parcel(self, io: IOSetup, run_id: str, place: Place) -> Sequence[Entry] | None:
        """One that this process has, or that was read ahead."""
        key = parcel_key(run_id, place.parcel)
        entries = self._parcels.find(key)
        if entries is not None:
            return entries
        data = self._ahead.get(key)
        if data is None and io.pending is not None:
            data = io.pending.find(key)
        return None if data is None else self._opened(data, run_id, place, io)

    def _opened(self, data: bytes, run_id: str, place: Place, io: IOSetup) -> list[Entry]:
        entries = opened_parcel(data, run_id, place.parcel, io.keys)
        self._parcels.keep(parcel_key(run_id, place.parcel), entries)
        return entries

    def _put_off(self, context: OutputContext, key: str, ref: OutputRef, packed: Packed) -> bool:
        """Whether the process that runs the step writes it, with others, before the step is reported."""
        io = context.io
        if io.pending is None or packed.size > _CACHED_BYTES or self.url not in (None, io.broker_url):
            return False
        store = Store(key, _first(packed), index_of(ref.run_id), self.ttl)
        if not io.pending.put(store):
            self._write_all(io.pending, self._client(context))
            return io.pending.put(store)
        return True

    def _write_all(self, pending: Pending, client: redis.Redis) -> None:
        """What waits: there is no room for more."""
        waiting = pending.waiting()

        def write() -> None:
            pipe = client.pipeline(transaction=False)
            add_to(pipe, waiting)
            pipe.execute()

        self._patiently(write)
        pending.written(waiting)

    def to_fetch(self, refs: Iterable[OutputRef]) -> Iterator[str]:
        """Keys of small values that this process does not have, each once, for who can read many at once."""
        found: set[str] = set()
        last: tuple[str, str] | None = None
        for ref in refs:
            parcel = parcel_of(ref)
            if parcel is not None:
                if last == (parcel, ref.run_id):  # as with nearly all of a fan-out
                    continue
                last = parcel, ref.run_id
                key = parcel_key(ref.run_id, parcel)
                is_here = self._parcels.find(key) is not None
            elif isinstance(ref.manifest, dict) and ref.manifest.get("chunks") == 1 and _size_of(ref) <= _CACHED_BYTES:
                key = key_of(ref)
                is_here = self._recent.find(key) is not None
            else:
                continue
            if not is_here and key not in found:
                found.add(key)
                yield key

    def _patiently(self, work: Callable[[], T]) -> T:
        """A Redis that is away for a while, or full, fails no step: what was begun is begun anew."""
        from redis import RedisError

        from opgrid.broker.connection import is_unreachable

        until = inf  # a large value may take longer to be begun anew for the first time
        while True:
            try:
                return work()
            except RedisError as error:
                now = time.monotonic()
                until = min(until, now + self.patience)
                if not is_unreachable(error) or now >= until:
                    raise
                time.sleep(_AGAIN)

    def _spilled_to(self, ref: OutputRef) -> str:
        if self.spill_to is None:
            raise SettingsError(
                f"Output {ref.output!r} of step {ref.step!r} was too large for Redis and lies elsewhere: set "
                "OPGRID_IO_SPILL_TO here, too."
            )
        return self.spill_to

    def _write(self, client: redis.Redis, key: str, ref: OutputRef, packed: Packed) -> int:
        """The header last: while the body is on its way, its checksum is computed. What is written in part is named
        before it is there, to go with its run; of what finds no room nothing stays, for it would keep out others.
        """
        from redis.exceptions import OutOfMemoryError

        index = index_of(ref.run_id)
        chunks = list(_chunks(packed.body)) if packed.size > CHUNK else []
        names = [key, *(f"{key}:{number}" for number in range(1, len(chunks) + 1))]
        pipe = client.pipeline(transaction=False)
        try:
            pipe.sadd(index, *names)
            pipe.expire(index, self.ttl)
            if chunks:
                pipe.execute()
                _send(client, list(zip(names[1:], chunks, strict=True)), self.ttl)
            pipe.set(key, _first(packed), ex=self.ttl)
            pipe.execute()
        except OutOfMemoryError:
            client.unlink(*names)
            raise
        return len(names)

    def _read(self, client: redis.Redis, key: str, ref: OutputRef, ring: KeyRing) -> Callable[[], Any]:
        """What makes the value of what was read: whatever that raises, it is not read again."""
        count = _chunks_of(ref)
        first: Any = client.get(key)
        if first is None:
            raise _gone(ref)
        header, begin = _apart(key, first)
        if count == 1:
            return partial(self._value, header, begin, ref, ring)
        told = read_header(header, ref, ring)
        if told.size > self.max_bytes:
            raise PayloadRejected(f"{key} would take {told.size:,} bytes; {self.max_bytes:,} are allowed")
        near = self._near(told)
        if near is not None:
            return partial(value_of, told, near)
        names = [f"{key}:{number}" for number in range(1, count)]
        return partial(opened, told, ref, *_gathered(client, key, begin, names, told))

    def _value(self, header: bytes, body: Segment, ref: OutputRef, ring: KeyRing) -> Any:
        told = read_header(header, ref, ring)
        near = self._near(told)
        return opened(told, ref, body) if near is None else value_of(told, near)

    def _near(self, told: Header) -> memoryview | None:
        if self._nearby is None or told.raw < LEAST:
            return None
        return self._nearby.find(told.checksum.hex(), told.raw)

    def _client(self, context: IOContext) -> redis.Redis:
        url = self.url or context.io.broker_url
        if not url:
            raise SettingsError(
                "The Redis IO manager has no broker: set OPGRID_BROKER_URL, or give it a url of its own."
            )
        return client_of(url, os.getpid())


_load_input: Final = RedisStore.load_input


class _Recent:
    """Small values that this process stored lately: its next step need not ask Redis, nor check what never left the
    process. Bytes, so that each reader has its own copy.
    """

    def __init__(self) -> None:
        self._values: OrderedDict[str, Plain] = OrderedDict()

    def keep(self, key: str, value: Plain) -> None:
        if value.size > _CACHED_BYTES:
            return
        self._values[key] = Plain(value.how, [b"".join(value.body)], value.size, value.lengths)
        if len(self._values) > _CACHED_VALUES:
            self._values.popitem(last=False)

    def find(self, key: str) -> Plain | None:
        return self._values.get(key)


# ---- keys and cleaning up --------------------------------------------------------------------------------------------


def key_of(ref: OutputRef) -> str:
    step: str = ref.step
    output, key, claim = ref.output, ref.mapping_key, ref.claim or "-"
    if not _PLAIN(step + output + (key or "") + claim):  # as nearly all are
        step, output, claim = _quoted(step), _quoted(output), _quoted(claim)
        key = None if key is None else _quoted(key)
    mapped = "" if key is None else f":{key}"
    return f"{index_of(ref.run_id)}:{step}:{output}{mapped}:{ref.attempt}:{claim}"


def keys_of(ref: OutputRef) -> list[str]:
    """All that hold one output; they exist before it is reported. None for one that was too large for Redis."""
    parcel = parcel_of(ref)
    if parcel is not None:
        return [parcel_key(ref.run_id, parcel)]
    key = key_of(ref)
    return [f"{key}:{number}" if number else key for number in range(_chunks_of(ref))]


def _gone(ref: OutputRef) -> OutputGone:
    return OutputGone(
        f"Output {ref.output!r} of step {ref.step!r} (run {ref.run_id}, attempt {ref.attempt}) is gone from Redis: "
        "its time to live is over, or Redis lost its data."
    )


def _quoted(part: str) -> str:
    return part if _PLAIN(part) else quote(part, safe="[],")


def _size_of(ref: OutputRef) -> int:
    return int(ref.manifest.get("size", 0)) if isinstance(ref.manifest, dict) else 0


def _chunks_of(ref: OutputRef) -> int:
    return int(ref.manifest.get("chunks", 1)) if isinstance(ref.manifest, dict) else 1


# ---- bytes -----------------------------------------------------------------------------------------------------------


def _first(packed: Packed) -> bytes:
    """The header, and the body where both make one chunk."""
    begin = _HEAD.pack(len(packed.header)) + packed.header
    return begin if packed.size > CHUNK else b"".join((begin, *packed.body))


def _chunks(body: Iterable[Segment]) -> Iterator[Segment]:
    """Small segments together, large ones cut without a copy."""
    small = bytearray()
    for segment in body:
        view = memoryview(segment).cast("B")
        if small and (len(view) >= _PIECE or len(small) + len(view) > CHUNK):
            yield small
            small = bytearray()
        if len(view) < _PIECE:
            small += view
            continue
        for start, end in pairwise([*range(0, len(view), _PIECE), len(view)]):
            yield view[start:end]
    if small:
        yield small


def _send(client: redis.Redis, chunks: Sequence[tuple[str, Segment]], ttl: int) -> None:
    """As they lie in memory: what packs commands for redis-py copies values, twice."""
    with _connection(client) as connection:
        for batch in batches(chunks, _AT_ONCE // _PIECE):
            connection.send_packed_command(_commands(batch, ttl))
            for _ in batch:
                connection.read_response()


@contextmanager
def _connection(client: redis.Redis) -> Iterator[Any]:
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        yield connection
    except BaseException:
        connection.disconnect()  # there may be more answers on the way
        raise
    finally:
        pool.release(connection)


def _commands(chunks: Iterable[tuple[str, Segment]], ttl: int) -> Iterator[Segment]:
    """``SET name chunk EX ttl`` for each; what is between two chunks, in one piece."""
    expires = b"\r\n$2\r\nEX\r\n$%d\r\n%d\r\n" % (len(str(ttl)), ttl)
    between = b""
    for name, chunk in chunks:
        key = name.encode()
        yield between + b"*5\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (len(key), key, len(chunk))
        yield chunk
        between = expires
    yield between


def _apart(key: str, first: bytes) -> tuple[bytes, bytes]:
    """The header, and what of the body comes with it."""
    if len(first) < _HEAD.size:
        raise PayloadDamaged(f"{key} holds no value of an opgrid IO manager any more")
    (length,) = _HEAD.unpack_from(first)
    return first[_HEAD.size : _HEAD.size + length], first[_HEAD.size + length :]


def _gathered(client: redis.Redis, key: str, begin: bytes, names: Sequence[str], told: Header) -> tuple[Segment, bytes]:
    """The body and its checksum, which is computed while it comes."""
    size = told.size
    body = room(size)
    view, at = memoryview(body), 0
    with _connection(client) as connection, Hashing(kind_of(told.checksum)) as hashing:

        def take(name: str, chunk: bytes) -> None:
            nonlocal at
            if at + len(chunk) > size:
                raise PayloadDamaged(f"{name} is longer than what was written")
            view[at : at + len(chunk)] = chunk
            hashing.update(chunk)
            at += len(chunk)

        take(key, begin)
        on_the_way: list[str] = []
        for batch in [*batches(names, _AT_ONCE // _PIECE), []]:
            connection.send_packed_command(connection.pack_commands([("GET", name) for name in batch]))
            for name in on_the_way:  # Redis sends what is asked for next, while this is taken
                chunk = connection.read_response()
                if chunk is None:
                    raise OutputGone(f"{name}, a part of an output, is gone from Redis")
                take(name, chunk)
            on_the_way = batch
    if at != size:
        raise PayloadDamaged(f"{key} and its followers hold {at:,} bytes where {size:,} were written")
    return body, hashing.checksum()


def nearby() -> Nearby | None:
    """What OPGRID_IO_NEARBY says, else where Linux has memory that processes share."""
    folder = os.environ.get("OPGRID_IO_NEARBY") or (FOLDER if os.path.isdir(os.path.dirname(FOLDER)) else OFF)
    return None if folder == OFF else Nearby(Path(folder), whole_number("OPGRID_IO_NEARBY_BYTES", MOST))


@lru_cache(maxsize=8)
def client_of(url: str, process: int) -> redis.Redis:
    """One client per process: connections do not survive a fork."""
    from opgrid.broker.connection import connect

    return connect(url)


@lru_cache(maxsize=8)
def _is_here(url: str) -> bool:
    from opgrid.broker.address import BrokerAddress

    return BrokerAddress.parse(url).is_here
