from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from opgrid.io.nearby import LEAST, Nearby

BODY = os.urandom(LEAST)


def keep(nearby: Nearby, name: str, body: bytes = BODY) -> None:
    with nearby.keeping([body[:100], memoryview(body)[100:]], len(body)) as kept:
        kept.name = name


def names(nearby: Nearby) -> set[str]:
    return set(os.listdir(nearby.folder))


def test_what_is_kept_is_found_and_may_be_written_to(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "near")
    keep(nearby, "a")
    found = nearby.find("a", LEAST)
    assert found == BODY
    assert found is not None
    found[0] ^= 1
    assert nearby.find("a", LEAST) == BODY
    (nearby.folder / "a").unlink()
    assert found[1:] == BODY[1:]  # it stays for who has it


def test_nothing_is_found_where_nothing_fits(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "near")
    assert nearby.find("a", LEAST) is None
    keep(nearby, "a")
    assert nearby.find("b", LEAST) is None
    assert nearby.find("a", LEAST + 1) is None


def test_small_values_and_huge_ones_are_not_kept(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "near", most=3 * LEAST)
    keep(nearby, "small", BODY[:-1])
    keep(nearby, "huge", BODY * 2)
    assert not nearby.folder.exists()


def test_the_oldest_make_room_and_what_is_old_goes(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "near", most=3 * LEAST)
    for number, name in enumerate("abc"):
        keep(nearby, name)
        at = os.stat(nearby.folder / name).st_mtime - 100 + number
        os.utime(nearby.folder / name, (at, at))
    keep(nearby, "d")
    assert names(nearby) == {"b", "c", "d"}
    for name in "bc":
        os.utime(nearby.folder / name, (0, 0))
    nearby.most = 100 * LEAST
    keep(nearby, "e")
    assert names(nearby) == {"d", "e"}


@pytest.mark.parametrize("mode", [0o770, 0o705, 0o722])
def test_a_folder_that_others_may_look_into_is_not_used(tmp_path: Path, mode: int) -> None:
    nearby = Nearby(tmp_path / "near")
    keep(nearby, "a")
    nearby.folder.chmod(mode)
    assert nearby.find("a", LEAST) is None
    keep(nearby, "b")
    nearby.folder.chmod(0o700)
    assert names(nearby) == {"a"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "near")
    keep(nearby, "a")
    (nearby.folder / "b").symlink_to(nearby.folder / "a")
    assert nearby.find("b", LEAST) is None
    link = tmp_path / "link"
    link.symlink_to(nearby.folder)
    assert Nearby(link).find("a", LEAST) is None


def test_a_value_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep(Nearby(tmp_path / "file"), "a")
    nearby = Nearby(tmp_path / "near")
    keep(nearby, "a/b")  # no such folder: it cannot be moved there
    assert names(nearby) == set()


def test_memory_that_is_full_half_way_leaves_nothing(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "near")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LEAST // 2, hard))
    try:
        keep(nearby, "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(nearby) == set()


def test_memory_with_little_room_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nearby = Nearby(tmp_path / "near")
    little = SimpleNamespace(f_bavail=2 * LEAST // 4096 - 1, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: little)
    keep(nearby, "a")
    assert names(nearby) == set()


def test_what_its_writer_gave_up_is_not_kept(tmp_path: Path) -> None:
    nearby = Nearby(tmp_path / "near")
    with pytest.raises(KeyError), nearby.keeping([BODY], len(BODY)):
        raise KeyError
    with nearby.keeping([BODY], len(BODY)):
        pass  # it was not named
    assert names(nearby) == set()


def test_a_process_without_room_for_a_thread_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuses)
    nearby = Nearby(tmp_path / "near")
    keep(nearby, "a")
    assert nearby.find("a", LEAST) is None
