"""Where values go that are too large for Redis: a folder that all workers share, or an object store by fsspec."""

from __future__ import annotations

from typing import Any, Final

from opgrid.contracts.tasks import OutputRef
from opgrid.errors import OutputGone, SettingsError
from opgrid.io.filesystem import HEAD, MAGIC, places, read_file, relative_path, write_file
from opgrid.io.keys import KeyRing
from opgrid.io.payload import Packed, unpack

_BLOCK: Final = 8 << 20


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


def spilled(base: str, ref: OutputRef, ring: KeyRing) -> Any:
    """The value. Raises OutputGone where it is gone, and what ``unpack`` does."""
    path = _path(base, ref)
    try:
        if not _is_remote(base):
            return read_file(path, ref, ring)
        with _open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise OutputGone(
            f"Output {ref.output!r} of step {ref.step!r} (run {ref.run_id}, attempt {ref.attempt}) is gone: there is "
            f"nothing at {path}."
        ) from None
    end, start = places(data, len(data), path)
    return unpack(data[HEAD.size : end], memoryview(data)[start:], ref, ring)


def _path(base: str, ref: OutputRef) -> str:
    return f"{base.rstrip('/')}/{relative_path(ref)}"


def _is_remote(base: str) -> bool:
    return "://" in base


def _open(path: str, mode: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise SettingsError(
            f"Values that are too large for Redis go to {path.partition('://')[0]}://, which needs fsspec: pip install "
            "'opgrid[fsspec]', and the package of that store."
        ) from None
    return fsspec.open(path, mode, block_size=_BLOCK).open()
