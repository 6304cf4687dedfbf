from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from worker.leases import Claim, Slot, slot_path


def claim(step: str = "a") -> Claim:
    return Claim("r", "s", step, 1, "c1", "w@host:7", None)


def test_the_watch_reads_what_the_child_holds(tmp_path: Path) -> None:
    child = Slot.create(slot_path(tmp_path, 7))
    watch = Slot.open(slot_path(tmp_path, 7))
    assert watch.held() == []
    child.hold([claim("a"), claim("b" * 300)])
    assert watch.held() == [claim("a"), claim("b" * 300)]
    child.hold([claim("c")])
    assert watch.held() == [claim("c")]
    child.hold([])
    assert watch.held() == []


def test_a_page_that_is_being_written_reads_as_empty(tmp_path: Path) -> None:
    child = Slot.create(slot_path(tmp_path, 7))
    child.hold([claim()])
    watch = Slot.open(slot_path(tmp_path, 7))
    data = bytearray(child.path.read_bytes())
    torn = data.copy()
    torn[150] ^= 1
    child.path.write_bytes(torn)
    assert Slot.open(child.path).held() == []
    odd = data.copy()
    odd[0] ^= 1
    child.path.write_bytes(odd)
    assert Slot.open(child.path).held() == []
    watch.close()


def test_only_the_claim_that_was_named_is_asked_to_stop(tmp_path: Path) -> None:
    child = Slot.create(slot_path(tmp_path, 7))
    watch = Slot.open(slot_path(tmp_path, 7))
    assert child.stop_asked() == ""
    watch.ask_to_stop("c1")
    assert child.stop_asked() == "c1"
    watch.ask_to_stop("c22")
    assert child.stop_asked() == "c22"


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    child = Slot.create(slot_path(tmp_path, 7))
    with pytest.raises(ValueError, match="claims do not fit"):
        child.hold([claim("x" * 1_000_000)] * 17)


def test_steps_with_very_long_names_fit_and_a_page_takes_no_more_room_than_they_need(tmp_path: Path) -> None:
    child = Slot.create(slot_path(tmp_path, 7))
    child.hold([claim()])
    assert child.path.stat().st_blocks * 512 < 100_000
    claims = [claim(f"work[{number}{'x' * 50_000}]") for number in range(200)]
    child.hold(claims)
    watch = Slot.open(slot_path(tmp_path, 7))
    assert watch.held() == claims
    child.close()
    watch.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes room when it is written to")
def test_a_page_has_its_room_before_the_disk_is_full(tmp_path: Path) -> None:
    child = Slot.create(slot_path(tmp_path, 7))
    assert child.path.stat().st_blocks * 512 >= 50_000
    child.close()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes room when it is written to")
def test_where_a_file_system_cannot_say_whether_it_has_room_pages_are_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_with(number: int) -> None:
        def fallocate(*_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", fallocate)

    fails_with(errno.EOPNOTSUPP)
    child = Slot.create(slot_path(tmp_path, 7))
    child.hold([claim()])
    assert child.held() == [claim()]
    child.close()
    fails_with(errno.ENOSPC)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        Slot.create(slot_path(tmp_path, 8))
