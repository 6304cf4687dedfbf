"""Values as files: under the home, or any folder that all steps of a run can reach.

``<base>/<run>/<step>/<output>[/<mapping key>]/<attempt>[.<claim>]``, each part percent-encoded. A file is written
under another name and then renamed, so that it is there whole or not at all, and it is found by the reference of an
accepted attempt only: what a lost attempt left behind is never read.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Sequence
from typing import Any, Final

from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, PayloadDamaged
from opgrid.io.context import InputContext, IOContext, OutputContext
from opgrid.io.kept import path_part
from opgrid.io.manager import IOManager
from opgrid.io.payload import Packed, pack, unpack
from opgrid.io.serializers import Segment, Serializer, serializer

HEAD: Final = struct.Struct(">4sI")
MAGIC: Final = b"OGF1"
_LARGEST_HEADER: Final = 1 << 20
_SMALL: Final = 1 << 16  #: bytes that are read at once


class FilesystemStore(IOManager):
    """Built for ``base_dir``, or for the home of the process that uses it."""

    def __init__(self, base_dir: str | None = None, serializer: str = "cloudpickle") -> None:
        self.base_dir = base_dir
        self.serializer = serializer

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        self.write_to(self._path(context, context.output_ref), obj, context, serializer(self.serializer))

    def load_input(self, context: InputContext) -> Any:
        return self.read_from(self._path(context, context.output_ref), context)

    @staticmethod
    def write_to(path: str, obj: Any, context: OutputContext, how: Serializer) -> None:
        packed = pack(obj, context.output_ref, context.io.keys, how)
        write_file(path, packed)
        context.manifest = {"size": packed.size}

    @staticmethod
    def read_from(path: str, context: InputContext) -> Any:
        ref = context.output_ref
        try:
            header, body = read_file(path)
        except FileNotFoundError:
            raise OutputGone(
                f"Output {ref.output!r} of step {ref.step!r} (run {ref.run_id}, attempt {ref.attempt}) is gone: "
                f"there is no file {path}."
            ) from None
        return unpack(header, body, ref, context.io.keys)

    def _path(self, context: IOContext, ref: OutputRef) -> str:
        base = self.base_dir or f"{context.io.home}/storage"
        return f"{base}/{relative_path(ref)}"


def relative_path(ref: OutputRef) -> str:
    """Below the base: the same everywhere that values are kept as files."""
    file = f"{ref.attempt}.{path_part(ref.claim)}" if ref.claim else str(ref.attempt)
    if ref.mapping_key is not None:
        file = f"{path_part(ref.mapping_key)}/{file}"
    return f"{path_part(ref.run_id)}/{path_part(ref.step)}/{path_part(ref.output)}/{file}"


def write_file(path: str, packed: Packed) -> None:
    temporary = f"{path}.{os.getpid()}.part"
    parts: list[Segment] = [HEAD.pack(MAGIC, len(packed.header)), packed.header, *packed.body]
    _make_folder(path.rpartition("/")[0])
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(handle, parts)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(handle)
    os.rename(temporary, path)


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


def _write_all(handle: int, parts: Sequence[Segment]) -> None:
    if sum(len(part) for part in parts) < 1 << 16:
        parts = [b"".join(parts)]
    for part in parts:
        view = memoryview(part).cast("B")
        while view:
            view = view[os.write(handle, view) :]


def read_file(path: str) -> tuple[bytes, Segment]:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        first = os.read(handle, _SMALL)
        size = len(first) if len(first) < _SMALL else os.fstat(handle).st_size
        start = HEAD.size + head_of(first[: HEAD.size], size, path)
        if size == len(first):
            return first[HEAD.size : start], first[start:]
        if start > len(first):
            first += os.read(handle, start - len(first))
        body = bytearray(size - start)
        view, at = memoryview(body), len(first) - start
        view[:at] = first[start:]
        while at < len(body) and (count := os.readv(handle, [view[at:]])):
            at += count
        return first[HEAD.size : start], body
    finally:
        os.close(handle)


def head_of(data: bytes, size: int, path: str) -> int:
    """The length of the header that follows. Raises PayloadDamaged for what is no file of ours."""
    if len(data) == HEAD.size:
        magic, length = HEAD.unpack(data)
        if magic == MAGIC and length <= min(size, _LARGEST_HEADER):
            return int(length)
    raise PayloadDamaged(f"{path} is no file of an opgrid IO manager")
