"""What the IO manager of files does beyond the contract: large files are mapped, and hashed again where that is due."""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opgrid.contracts.tasks import OutputRef
from opgrid.errors import PayloadDamaged, PayloadRejected, SettingsError
from opgrid.io import filesystem
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.definitions import CustomPathIOManager
from opgrid.io.filesystem import HEAD, MAGIC, FilesystemStore
from opgrid.io.pages import LARGE
from opgrid.io.paths import UPathIOManager
from opgrid.io.payload import pack, plain
from opgrid.io.serializers import serializer
from opgrid.io.setup import IOSetup
from opgrid.testing.io_managers import ref

BODY = os.urandom(LARGE) + b"the end"


@pytest.fixture
def around(tmp_path: Path) -> Any:
    return SimpleNamespace(io=IOSetup(str(tmp_path)))


def store(around: Any, value: Any, to: OutputRef | None = None) -> OutputRef:
    to = to or ref()
    context = OutputContext(to.output, to, around)
    FilesystemStore().handle_output(context, value)
    return with_manifest(to, context.manifest)


def with_manifest(of: OutputRef, manifest: Any) -> OutputRef:
    return OutputRef(of.run_id, of.step, of.output, of.mapping_key, of.attempt, of.claim, manifest)


def load(around: Any, of: OutputRef) -> Any:
    return FilesystemStore().load_input(InputContext("value", OutputContext(of.output, of, around), around))


def file_of(around: Any) -> Path:
    (file,) = (each for each in Path(around.io.home, "storage").rglob("*") if each.is_file())
    return file


class Texts(UPathIOManager):
    def dump_to_path(self, context: OutputContext, obj: Any, path: Path) -> None:
        path.write_text(obj)

    def load_from_path(self, context: InputContext, path: Path) -> Any:
        return path.read_text()


@pytest.mark.parametrize("manager", [FilesystemStore, CustomPathIOManager, Texts])
def test_a_url_is_taken_for_no_folder(tmp_path: Path, manager: Any) -> None:
    with pytest.raises(SettingsError, match="'s3://bucket/values' is a URL"):
        manager("s3://bucket/values")
    for named in (str(tmp_path), tmp_path, None):
        manager(named)


def flip_the_last_bit(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        last = opened.read(1)[0]
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([last ^ 1]))


def marked_as_it_is(around: Any, of: OutputRef) -> OutputRef:
    mark = filesystem._mark(os.stat(file_of(around)))
    assert mark
    return with_manifest(of, {**of.manifest, "file": mark})


def test_a_value_of_very_many_buffers_comes_back(around: Any) -> None:
    """Its header names the length of each, and has a limit."""
    value = [pickle.PickleBuffer(bytearray(b"%d" % n)) for n in range(140_000)]
    found = load(around, store(around, value))
    assert [bytes(each) for each in found] == [b"%d" % n for n in range(140_000)]


def test_a_large_buffer_is_mapped_where_arrays_may_begin_and_is_its_readers_own(around: Any) -> None:
    stored = store(around, pickle.PickleBuffer(bytearray(BODY)))
    found = load(around, stored)
    assert found == BODY
    assert str(file_of(around)) in Path("/proc/self/maps").read_text()
    assert ctypes.addressof(ctypes.c_char.from_buffer(found)) % 64 == 0
    found[0] ^= 1
    assert load(around, stored) == BODY
    file_of(around).unlink()
    assert found[1:] == BODY[1:]  # it stays for who has it


def test_large_files_are_written_in_pieces_that_begin_and_end_at_multiples_of_their_size(
    around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = []
    write = os.write

    def noting(handle: int, data: Any) -> int:
        begin = os.lseek(handle, 0, os.SEEK_CUR)
        pieces.append((begin, begin + len(data)))
        return write(handle, data)

    monkeypatch.setattr(os, "write", noting)
    value = os.urandom(3 * LARGE)
    stored = store(around, pickle.PickleBuffer(bytearray(value)))
    monkeypatch.undo()
    size = filesystem._WRITTEN
    assert [begin % size for begin, _ in pieces[2:-1]] == [0] * (3 * LARGE // size)
    assert all((end - 1) // size == begin // size for begin, end in pieces)
    assert load(around, stored) == value


def test_a_file_that_nobody_touched_is_not_hashed_again(around: Any) -> None:
    stored = store(around, pickle.PickleBuffer(bytearray(BODY)))
    flip_the_last_bit(file_of(around))
    assert load(around, marked_as_it_is(around, stored)) == BODY[:-1] + b"e"


def test_a_file_that_was_changed_since_is_hashed(around: Any) -> None:
    stored = store(around, BODY)
    flip_the_last_bit(file_of(around))
    with pytest.raises(PayloadDamaged, match="damaged or changed"):
        load(around, stored)


def test_a_file_of_before_the_machine_was_started_is_hashed(around: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store(around, BODY)
    flip_the_last_bit(file_of(around))
    stored = marked_as_it_is(around, stored)
    monkeypatch.setattr(filesystem, "_started", lambda: "later")
    with pytest.raises(PayloadDamaged, match="damaged or changed"):
        load(around, stored)


def test_a_file_that_others_may_write_to_is_hashed(around: Any) -> None:
    stored = store(around, BODY)
    file_of(around).chmod(0o620)
    assert filesystem._mark(os.stat(file_of(around))) == ""
    assert load(around, stored) == BODY
    flip_the_last_bit(file_of(around))
    with pytest.raises(PayloadDamaged, match="damaged or changed"):
        load(around, stored)


def test_the_header_of_a_mapped_file_is_verified_as_any(around: Any) -> None:
    mine = store(around, BODY)
    other = store(around, BODY[::-1], ref("other"))
    files = {each.parts[-3]: each for each in Path(around.io.home, "storage").rglob("*") if each.is_file()}
    files["other"].rename(files["make"])
    mark = filesystem._mark(os.stat(files["make"]))
    with pytest.raises(PayloadRejected, match="another output"):
        load(around, with_manifest(mine, {**mine.manifest, "file": mark}))
    assert other.manifest["file"] != mark  # to move it was a change


def test_where_the_machine_cannot_be_told_files_have_no_mark(around: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "_started", lambda: "")
    stored = store(around, BODY)
    assert stored.manifest.keys() == {"size"}
    assert load(around, stored) == BODY


def test_small_values_have_no_mark(around: Any) -> None:
    assert store(around, 5).manifest.keys() == {"size"}


def test_where_descriptors_are_few_a_file_is_read(around: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store(around, pickle.PickleBuffer(bytearray(BODY)))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4, 4))
    found = load(around, stored)
    assert found == BODY
    assert str(file_of(around)) not in Path("/proc/self/maps").read_text()
    found[0] ^= 1


def test_values_that_are_held_leave_descriptors_to_others(around: Any) -> None:
    stored = store(around, pickle.PickleBuffer(bytearray(BODY)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    next_one = os.dup(0)
    os.close(next_one)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * next_one + 20, hard))
    try:
        held = [load(around, stored) for _ in range(next_one + 30)]
        others = [os.dup(0) for _ in range(next_one)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for each in others:
        os.close(each)
    assert str(file_of(around)) in Path("/proc/self/maps").read_text()
    assert all(each == BODY for each in held)


@pytest.mark.parametrize("size", [LARGE - 100, 5 * LARGE])
def test_files_of_the_first_layout_are_read(around: Any, size: int) -> None:
    value = os.urandom(size)
    stored = store(around, 0)
    packed = pack(plain(value, serializer("cloudpickle")), ref(), around.io.keys)
    file_of(around).write_bytes(b"".join([HEAD.pack(MAGIC, len(packed.header)), packed.header, *packed.body]))
    assert load(around, stored) == value


@pytest.mark.parametrize("left", [0, 5, HEAD.size, 100, 300, 1 << 16, LARGE, LARGE + 300])
def test_a_file_that_is_cut_is_damage(around: Any, left: int) -> None:
    stored = store(around, BODY)
    os.truncate(file_of(around), left)
    with pytest.raises(PayloadDamaged):
        load(around, stored)


def test_a_flipped_bit_of_the_head_is_damage_and_one_between_head_and_body_is_nothing(around: Any) -> None:
    stored = store(around, BODY)
    file = file_of(around)
    data = bytearray(file.read_bytes())
    end, start = filesystem.places(bytes(data), len(data), str(file))
    assert data[:4] == b"OGF2"
    for at in (*range(0, end, 7), *range(end, start)):
        data[at] ^= 1
        file.write_bytes(data)
        if at < end:
            with pytest.raises(PayloadDamaged):
                load(around, stored)
        else:
            assert load(around, stored) == BODY
        data[at] ^= 1


def test_a_disk_that_is_full_leaves_nothing(around: Any) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    around.io.keys  # its file is written
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            store(around, BODY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [each for each in Path(around.io.home, "storage").rglob("*") if each.is_file()] == []


class Refuses:
    """Cannot be unpickled, with an error that a file might have raised."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __reduce__(self) -> Any:
        return _refuse, (bytes(self.size),)


def _refuse(_: bytes) -> None:
    raise FileNotFoundError("not of the store")


@pytest.mark.parametrize("size", [1, LARGE])
def test_what_a_value_raises_when_it_is_made_is_its_own(around: Any, size: int) -> None:
    stored = store(around, Refuses(size))
    with pytest.raises(FileNotFoundError, match="not of the store"):
        load(around, stored)
