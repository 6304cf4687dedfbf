"""Values as files: under the home, or any folder that all steps of a run can reach.

``<base>/<run>/<step>/<output>[/<mapping key>]/<attempt>[.<claim>]``, each part percent-encoded. A file is written
under another name and then renamed, so that it is there whole or not at all, and it is found by the reference of an
accepted attempt only: what a lost attempt left behind is never read. Below the home, small values of a run whose
steps are all on one host share files: see :mod:`opgrid.io.bundles`.

What reads a large file where it was written, since that machine was started, maps it. Its manifest says which file the
writer has closed, and when that changed last; while the kernel says the same, what is in it is what was hashed, and is
not hashed again. The header and its signature are looked at as ever.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Final

from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, PayloadDamaged
from opgrid.io.bundles import Among, Place, read_once, read_parcel_once
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.hashing import Hashing, kind_of
from opgrid.io.kept import no_url, path_part
from opgrid.io.keys import KeyRing
from opgrid.io.manager import IOManager
from opgrid.io.pages import LARGE, is_ours_alone, mapped, room
from opgrid.io.parcels import LARGEST as LARGEST_TOGETHER
from opgrid.io.parcels import Entry, taken_from
from opgrid.io.parcels import opened as opened_parcel
from opgrid.io.payload import Header, Packed, again, opened, pack, plain, read_header, unpack, value_of
from opgrid.io.serializers import Segment, Serializer, serializer
from opgrid.io.setup import IOSetup

HEAD: Final = struct.Struct(">4sI")
MAGIC: Final = b"OGF1"  #: the body follows its header
ALIGNED: Final = b"OGF2"  #: the body begins where arrays may begin
_ALIGN: Final = 64
LARGEST_HEADER: Final = 1 << 20
_SMALL: Final = 1 << 16  #: bytes that are read at once
_PIECE: Final = 4 << 20  #: bytes that are read before they are hashed
#: Bytes that are written at once, up to multiples of it in the file: ext4 then keeps each in one piece of memory, which
#: is mapped sooner than small ones. The larger they are, the more often Linux has none at hand: a virtual machine may
#: have to fetch them from its host, which takes eight times as long as to write.
_WRITTEN: Final = 1 << 18


class FilesystemStore(IOManager):
    """Built for ``base_dir``, or for the home of the process that uses it."""

    def __init__(self, base_dir: str | None = None, serializer: str = "cloudpickle") -> None:
        self.base_dir = base_dir and no_url(base_dir)
        self.serializer = serializer

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        ref, how, io = context.output_ref, serializer(self.serializer), context.io
        value = plain(obj, how)
        bundles = io.bundles if self.base_dir is None else None
        if bundles is not None and value.size <= LARGEST_TOGETHER:
            entry = Entry.of(ref, value.how, value.lengths, value.body)
            context.manifest = {
                "size": value.size,
                "with": bundles.add(self._folder(io, ref), ref.run_id, entry, io.keys),
            }
            return
        packed = pack(value, ref, io.keys)
        if bundles is None or packed.size >= _SMALL:
            _write(f"{self._base(io)}/{relative_path(ref)}", packed, context)
            return
        kept = value.how, b"".join(value.body), tuple(value.lengths)
        place = bundles.put(self._folder(io, ref), b"".join(_parts(packed)), kept)
        context.manifest = {"size": packed.size, "in": place}

    def load_input(self, context: InputContext) -> Any:
        ref = context.output_ref
        manifest, bundles = ref.manifest if isinstance(ref.manifest, dict) else {}, context.io.bundles
        if (told := manifest.get("with")) is not None:
            return self._from_parcel(Among.of(told), ref, context.io)
        if (told := manifest.get("in")) is None:
            return self.read_from(f"{self._base(context.io)}/{relative_path(ref)}", context)
        place = Place.of(told)
        if bundles is not None and (found := bundles.remembered(place)) is not None:
            return again(*found)
        folder = self._folder(context.io, ref)
        try:
            data = read_once(folder, place) if bundles is None else bundles.read(folder, place)
        except FileNotFoundError:
            raise _gone(ref, f"{folder}/{place.bundle}") from None
        end, start = places(data, len(data), f"{folder}/{place.bundle}")
        return unpack(data[HEAD.size : end], data[start:], ref, context.io.keys)

    def _from_parcel(self, place: Among, ref: OutputRef, io: IOSetup) -> Any:
        if io.bundles is not None and (found := io.bundles.remembered(place)) is not None:
            return again(*found)
        folder = self._folder(io, ref)
        key = f"{folder}/{place.parcel}"
        entries = io.parcels.find(key)
        if entries is None:
            try:
                data = read_parcel_once(folder, place) if io.bundles is None else io.bundles.read_parcel(folder, place)
            except FileNotFoundError:
                raise _gone(ref, f"{folder}/{place.bundle}") from None
            entries = opened_parcel(data, ref.run_id, place.parcel, io.keys)
            io.parcels.keep(key, entries)
        entry = taken_from(entries, place.place, ref)
        return again(entry.how, entry.body, entry.lengths)

    @staticmethod
    def write_to(path: str, obj: Any, context: OutputContext, how: Serializer) -> None:
        _write(path, pack(plain(obj, how), context.output_ref, context.io.keys), context)

    @staticmethod
    def read_from(path: str, context: InputContext) -> Any:
        ref, ring = context.output_ref, context.io.keys
        mark = ref.manifest.get("file") if isinstance(ref.manifest, dict) else None
        try:
            value = read_file(path, ref, ring, mark)
        except FileNotFoundError:
            raise _gone(ref, path) from None
        return value()

    def _base(self, io: IOSetup) -> str:
        return self.base_dir or f"{io.home}/storage"

    def _folder(self, io: IOSetup, ref: OutputRef) -> str:
        return f"{self._base(io)}/{_part_of_run(ref.run_id)}"


_part_of_run = lru_cache(maxsize=64)(path_part)


def _write(path: str, packed: Packed, context: OutputContext) -> None:
    mark = write_file(path, packed, to_map=packed.size >= LARGE)
    context.manifest = {"size": packed.size, "file": mark} if mark else {"size": packed.size}


def _gone(ref: OutputRef, path: str) -> OutputGone:
    return OutputGone(
        f"Output {ref.output!r} of step {ref.step!r} (run {ref.run_id}, attempt {ref.attempt}) is gone: there is no "
        f"file {path}."
    )


def relative_path(ref: OutputRef) -> str:
    """Below the base: the same everywhere that values are kept as files."""
    file = f"{ref.attempt}.{path_part(ref.claim)}" if ref.claim else str(ref.attempt)
    if ref.mapping_key is not None:
        file = f"{path_part(ref.mapping_key)}/{file}"
    return f"{path_part(ref.run_id)}/{path_part(ref.step)}/{path_part(ref.output)}/{file}"


def write_file(path: str, packed: Packed, to_map: bool = False) -> str:
    """Gives the mark by which this machine knows a file again that is to be mapped; "" for none."""
    temporary = f"{path}.{os.getpid()}.part"
    _make_folder(path.rpartition("/")[0])
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        try:
            if packed.size >= LARGE:
                _write_large(handle, packed, ALIGNED if to_map else MAGIC)
            else:
                _write_all(handle, _parts(packed))
        except BaseException:
            os.unlink(temporary)
            raise
        os.rename(temporary, path)
        return _mark(os.fstat(handle)) if to_map else ""
    finally:
        os.close(handle)


def _write_large(handle: int, packed: Packed, magic: bytes) -> None:
    """The body first: it is hashed meanwhile."""
    end = HEAD.size + packed.header_size
    at = os.lseek(handle, _aligned(end) if magic == ALIGNED else end, os.SEEK_SET)
    _write_all(handle, packed.body, at)
    os.lseek(handle, 0, os.SEEK_SET)
    _write_all(handle, [HEAD.pack(magic, len(packed.header)), packed.header])


def _mark(about: os.stat_result) -> str:
    """The time of change is the kernel's to set: nobody writes to a file and leaves it as it was."""
    started = _started()
    if not started or not is_ours_alone(about):
        return ""
    return f"{started}:{about.st_dev}:{about.st_ino}:{about.st_ctime_ns}:{about.st_size}"


@lru_cache(maxsize=1)
def _started() -> str:
    """Names the time since this machine was started; "" where that cannot be had."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _parts(packed: Packed) -> list[Segment]:
    header = packed.header
    return [HEAD.pack(MAGIC, len(header)), header, *packed.body]


def _make_folder(path: str) -> None:
    """``os.makedirs`` without a look at each part: mostly, the last two are missing, and no others."""
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        os.mkdir(path.rpartition("/")[0])
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)


def _write_all(handle: int, parts: Sequence[Segment], at: int = 0) -> None:
    if sum(len(part) for part in parts) < 1 << 16:
        parts = [b"".join(parts)]
    for part in parts:
        view = memoryview(part).cast("B")
        while view:
            written = os.write(handle, view[: _WRITTEN - at % _WRITTEN])
            view, at = view[written:], at + written


def read_file(
    path: str,
    ref: OutputRef,
    ring: KeyRing,
    mark: str | None = None,
    near: Callable[[Header], Segment | None] | None = None,
) -> Callable[[], Any]:
    """What makes the value of what was read. ``mark``: what its writer was given; ``near`` has the bytes of some, by
    their headers. Raises what ``read_header`` does, and FileNotFoundError.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        first = os.read(handle, _SMALL)
        about = None if len(first) < _SMALL else os.fstat(handle)
        size = len(first) if about is None else about.st_size
        end, start = places(first, size, path)
        if about is None:
            return partial(unpack, first[HEAD.size : end], first[start:], ref, ring)
        if start > len(first):
            first += os.read(handle, start - len(first))
        told = read_header(first[HEAD.size : end], ref, ring)
        if mark and size == start + told.size and mark == _mark(about) and (file := mapped(handle, size)) is not None:
            return partial(value_of, told, file[start:])
        if near is not None and (found := near(told)) is not None:
            return partial(value_of, told, found)
        return partial(opened, told, ref, *_read_hashing(handle, first[start:], size - start, told))
    finally:
        os.close(handle)


def _read_hashing(handle: int, begin: bytes, size: int, told: Header) -> tuple[Segment, bytes]:
    body = room(size)
    view, at, hashed = memoryview(body), len(begin), 0
    view[:at] = begin
    with Hashing(kind_of(told.checksum)) as hashing:
        while at < size and (count := os.readv(handle, [view[at : at + _PIECE]])):
            at += count
            hashing.update(view[hashed:at])
            hashed = at
        hashing.update(view[hashed:])
    return body, hashing.checksum()


def places(begin: bytes, size: int, path: str) -> tuple[int, int]:
    """Where the header ends and where the body starts. Raises PayloadDamaged for what is no file of ours."""
    if len(begin) >= HEAD.size:
        magic, length = HEAD.unpack_from(begin)
        end = HEAD.size + length
        start = _aligned(end) if magic == ALIGNED else end
        if magic in (MAGIC, ALIGNED) and start <= min(size, LARGEST_HEADER):
            return end, start
    raise PayloadDamaged(f"{path} is no file of an opgrid IO manager")


def _aligned(at: int) -> int:
    return at + (-at % _ALIGN)
