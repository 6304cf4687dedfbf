"""Signed payloads: what was written comes back, and nothing else does."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import sys
import threading
import zlib
from array import array
from pathlib import Path
from typing import Any

import msgspec
import pytest
from blake3 import blake3

from opgrid.contracts.tasks import OutputRef
from opgrid.errors import PayloadDamaged, PayloadRejected, SettingsError
from opgrid.ids import RunId, StepKey
from opgrid.io.envelope import open_sealed, seal
from opgrid.io.hashing import BESIDE, Hashing, checksum_of, kind_for, kind_of
from opgrid.io.keys import KEY_FILE, KeyRing
from opgrid.io.pages import LARGE
from opgrid.io.payload import Packed, pack, plain, read_header, unpack
from opgrid.io.serializers import serializer

RING = KeyRing(b"k" * 32)
REF = OutputRef(RunId("r1"), StepKey("clean[a]"), "result", None, 1, "c1")


class Bomb:
    """Unpickling it is what must never happen."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a rejected payload was unpickled",)


def stored(value: object, ref: OutputRef = REF, ring: KeyRing = RING, compress: bool = False) -> tuple[bytes, bytes]:
    packed = pack(plain(value, serializer("cloudpickle")), ref, ring, compress)
    return packed.header, b"".join(packed.body)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    "value", [None, 5, "text", {"a": [1, 2]}, b"x" * 100_000, os.urandom(50_000), array("d", range(5000)), lambda: 7]
)
def test_values_come_back(value: Any, compress: bool) -> None:
    found = unpack(*stored(value, compress=compress), REF, RING)
    assert found() == 7 if callable(value) else found == value


def test_buffers_travel_out_of_band_and_come_back_aligned() -> None:
    buffers = [bytearray(b"a" * 3), bytearray(b"b" * 100_001), bytearray(b"c" * 7)]
    value = [pickle.PickleBuffer(each) for each in buffers]
    packed: Packed = pack(plain(value, serializer("cloudpickle")), REF, RING)
    assert sum(len(part) for part in packed.body) == packed.size
    assert any(getattr(part, "obj", None) is buffers[1] for part in packed.body), "the large buffer was copied"
    found = unpack(packed.header, bytearray(b"".join(packed.body)), REF, RING)
    assert [bytes(each) for each in found] == [bytes(each) for each in buffers]


def test_small_buffers_are_laid_out_in_one_piece() -> None:
    large = 100_000
    sizes = [*range(1, 70), large, *range(60, 130), large, large, 5]
    buffers = [bytearray(os.urandom(size)) for size in sizes]
    packed = pack(plain([pickle.PickleBuffer(each) for each in buffers], serializer("cloudpickle")), REF, RING)
    assert len(packed.body) == 7  # what is between the large ones is a piece, too
    found = unpack(packed.header, bytearray(b"".join(packed.body)), REF, RING)
    assert [bytes(each) for each in found] == [bytes(each) for each in buffers]


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("compress", [False, True])
def test_large_values_are_hashed_and_compressed_beside(
    compress: bool, threads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not threads:

        def refuses(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuses)
    chance = random.Random(3)
    value = array("d", [chance.randrange(1 << 30) for _ in range(2_000_000)])
    packed = pack(plain(value, serializer("cloudpickle")), REF, RING, compress)
    assert packed.size > BESIDE
    size, body = packed.header_size, b"".join(packed.body)
    assert len(packed.header) == size
    assert packed.checksum == b"b3:" + blake3(body).digest()
    assert unpack(packed.header, body, REF, RING) == value
    for at in (0, len(body) // 2, -1):
        changed = bytearray(body)
        changed[at] ^= 1
        with pytest.raises(PayloadDamaged):
            unpack(packed.header, changed, REF, RING)


def test_what_is_hashed_beside_is_hashed_in_order_and_its_thread_ends() -> None:
    parts = [os.urandom(10), b"", memoryview(os.urandom(BESIDE)), bytearray(b"x")]
    kind = kind_for(LARGE)
    with pytest.raises(KeyError), Hashing(kind) as given_up:
        given_up.update(parts[0])
        raise KeyError
    assert given_up.checksum() == checksum_of([parts[0]], kind)
    assert given_up._thread is not None
    assert not given_up._thread.is_alive()
    assert Hashing.of(parts, kind).checksum() == checksum_of([b"".join(parts)], kind)


def test_who_is_without_blake3_writes_what_all_can_read_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = os.urandom(LARGE)
    large = stored(value)
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(PayloadRejected, match="pip install blake3"):
        unpack(*large, REF, RING)
    header, body = stored(value)
    assert read_header(header, REF, RING).checksum == hashlib.sha256(body).digest()
    assert unpack(header, body, REF, RING) == value
    monkeypatch.undo()
    assert unpack(header, body, REF, RING) == value


def test_a_checksum_of_an_unknown_kind_is_rejected() -> None:
    with pytest.raises(PayloadRejected, match="not known here"):
        checksum_of([b""], kind_of(b"b4:" + bytes(32)))


def test_dense_bytes_are_not_compressed_and_repetitive_ones_are() -> None:
    how = serializer("cloudpickle")
    assert pack(plain(os.urandom(100_000), how), REF, RING, True).size > 100_000
    assert pack(plain(b"x" * 100_000, how), REF, RING, True).size < 1000


def test_headers_of_versions_that_gave_them_no_checksum_are_read_and_their_signature_is_looked_at() -> None:
    header, body = stored({"a": [1, 2]})
    assert unpack(header[4:], body, REF, RING) == {"a": [1, 2]}
    with pytest.raises(PayloadRejected, match="signature"):
        unpack(header[4:-1] + b"?", body, REF, RING)


@pytest.mark.parametrize("place", ["header", "body"])
def test_a_flipped_bit_is_damage_and_nothing_is_unpickled(place: str) -> None:
    header, body = stored(Bomb())
    changed = bytearray(header if place == "header" else body)
    for at in range(len(changed)):
        changed[at] ^= 1
        parts = (bytes(changed), body) if place == "header" else (header, bytes(changed))
        with pytest.raises(PayloadDamaged):
            unpack(*parts, REF, RING)
        changed[at] ^= 1


def test_what_somebody_signed_with_another_key_is_no_damage() -> None:
    for header, body in (stored(Bomb(), ring=KeyRing(b"z" * 32)), (stored(5)[0][:-32] + bytes(32), stored(Bomb())[1])):
        forged = zlib.crc32(header[4:]).to_bytes(4, "big") + header[4:]
        with pytest.raises(PayloadRejected) as caught:
            unpack(forged, body, REF, RING)
        assert not isinstance(caught.value, PayloadDamaged)


@pytest.mark.parametrize(
    "other",
    [
        {"run_id": "r2"},
        {"step": "clean[b]"},
        {"output": "other"},
        {"mapping_key": "k"},
        {"attempt": 2},
        {"claim": "c2"},
    ],
)
def test_the_payload_of_another_output_is_rejected(other: dict[str, Any]) -> None:
    header, body = stored(Bomb())
    with pytest.raises(PayloadRejected, match="another output"):
        unpack(header, body, msgspec.structs.replace(REF, **other), RING)


def test_a_key_that_is_not_ours_is_rejected_and_an_older_one_is_believed() -> None:
    header, body = stored(5)
    with pytest.raises(PayloadRejected, match="OPGRID_SECRET_KEY"):
        unpack(header, body, REF, KeyRing(b"z" * 32))
    assert unpack(header, body, REF, KeyRing(b"z" * 32, b"k" * 32)) == 5


def test_a_signature_for_another_purpose_is_none() -> None:
    sealed = seal("dispatch", [b"a", b""], RING)
    assert open_sealed(sealed, "dispatch", RING) == [b"a", b""]
    with pytest.raises(PayloadRejected):
        open_sealed(sealed, "payload", RING)


@pytest.mark.parametrize("junk", [b"", b"OG1", bytes(range(1, 101)), b"OG1\x07payload" + bytes(60)])
def test_junk_is_rejected(junk: bytes) -> None:
    with pytest.raises(PayloadRejected):
        open_sealed(junk, "payload", RING)


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPGRID_SECRET_KEY", raising=False)
    monkeypatch.delenv("OPGRID_SECRET_KEY_FILE", raising=False)
    first = KeyRing.load(str(tmp_path / "home"))
    assert (tmp_path / "home" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert KeyRing.load(str(tmp_path / "home")).active == first.active
    assert [each.name for each in (tmp_path / "home").iterdir()] == [KEY_FILE]


def test_without_a_key_a_process_that_may_make_none_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPGRID_SECRET_KEY", raising=False)
    monkeypatch.delenv("OPGRID_SECRET_KEY_FILE", raising=False)
    with pytest.raises(SettingsError, match="OPGRID_SECRET_KEY"):
        KeyRing.load(str(tmp_path), create=False)


def test_the_first_key_signs_and_all_verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = "o" * 32, "n" * 32
    monkeypatch.setenv("OPGRID_SECRET_KEY", old)
    header, body = stored(5, ring=KeyRing.load(str(tmp_path)))
    (tmp_path / "keys").write_text(f"{new},{old}\n")
    monkeypatch.delenv("OPGRID_SECRET_KEY")
    monkeypatch.setenv("OPGRID_SECRET_KEY_FILE", str(tmp_path / "keys"))
    ring = KeyRing.load(str(tmp_path))
    assert unpack(header, body, REF, ring) == 5
    assert ring.active == KeyRing(new.encode()).active


@pytest.mark.parametrize("text", ["short", ",", "a" * 32 + ",tiny"])
def test_keys_that_are_none_are_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPGRID_SECRET_KEY", text)
    with pytest.raises(SettingsError):
        KeyRing.load(str(tmp_path))
