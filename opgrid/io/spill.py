"""Where values go that are too large for Redis: a folder that all workers share, or an object store by fsspec."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, SettingsError
from opgrid.io.filesystem import HEAD, LARGEST_HEADER, MAGIC, places, read_file, relative_path, write_file
from opgrid.io.keys import KeyRing
from opgrid.io.payload import Header, Packed, opened, read_header, value_of
from opgrid.io.serializers import Segment

_BLOCK: Final = 8 << 20
_BEGIN: Final = HEAD.size + LARGEST_HEADER


def spill(base: str, ref: OutputRef, packed: Packed) -> None:
    """Write a value; it is there whole or not at all."""
    path = _path(base, ref)
    if not _is_remote(base):
        write_file(path, packed)
        return
    with _open(path, "wb") as file:  # an object store shows an object once it is complete
        file.write(HEAD.pack(MAGIC, len(packed.header)))
        file.write(packed.header)
        for part in packed.body:
            file.write(part)


def spilled(base: str, ref: OutputRef, ring: KeyRing, near: Callable[[Header], Segment | None]) -> Callable[[], Any]:
    """What makes the value of what was read; ``near`` has the bytes of some, by their headers. Raises OutputGone where
    it is gone, and what ``read_header`` does.
    """
    path = _path(base, ref)
    try:
        if not _is_remote(base):
            return read_file(path, ref, ring, near=near)
        with _open(path, "rb") as file:
            data = file.read(_BEGIN)
            end, start = places(data, LARGEST_HEADER, path)
            told = read_header(data[HEAD.size : end], ref, ring)
            found = near(told)
            if found is not None:
                return partial(value_of, told, found)
            body = bytearray(data[start:])
            body += file.read()
    except FileNotFoundError:
        raise OutputGone(
            f"Output {ref.output!r} of step {ref.step!r} (run {ref.run_id}, attempt {ref.attempt}) is gone: there is "
            f"nothing at {path}."
        ) from None
    return partial(opened, told, ref, body)


def _path(base: str, ref: OutputRef) -> str:
    return f"{base.rstrip('/')}/{relative_path(ref)}"


def _is_remote(base: str) -> bool:
    return "://" in base


def _open(path: str, mode: str) -> Any:
    """Without ``fsspec.open``, which looks for the folder before it writes: in an object store that is a bucket, which
    who may write objects need not be allowed to see or make.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise SettingsError(
            f"Values that are too large for Redis go to {path.partition('://')[0]}://, which needs fsspec: pip install "
            "'opgrid[fsspec]', and the package of that store."
        ) from None
    files, place = url_to_fs(path)
    try:
        return files.open(place, mode, block_size=_BLOCK)
    except FileNotFoundError:
        if mode == "rb":
            raise
    files.makedirs(place.rpartition("/")[0], exist_ok=True)
    return files.open(place, mode, block_size=_BLOCK)
