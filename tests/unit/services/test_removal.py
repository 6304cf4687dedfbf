"""Runs go with all that belongs to them, and nothing else goes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import redis

from opgrid import Instance, RunsFilter, RunStatus, job, op
from opgrid.broker.connection import connect
from opgrid.errors import InvariantViolationError
from opgrid.ids import RunId
from opgrid.io.kept import index_of, log_of, storage_of
from orchestrator.services.removal import Removal


@op
def one() -> int:
    return 1


@job
def small() -> None:
    one()


def run(instance: Instance) -> RunId:
    return RunId(small.execute_in_process(instance=instance).run_id)


def keep(home: Path, run_id: str) -> list[Path]:
    """Files as steps and processes leave them."""
    value, log = storage_of(home / "storage", run_id) / "one" / "result" / "1", log_of(home, run_id)
    for path in (value, log):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return [storage_of(home / "storage", run_id), log]


def test_files_of_a_run_go_and_those_of_others_stay(tmp_path: Path) -> None:
    with Instance.ephemeral() as instance:
        instance.home = tmp_path
        first, second = run(instance), run(instance)
        gone, kept = keep(tmp_path, first), keep(tmp_path, second)
        instance.delete_run(first)
        assert not any(path.exists() for path in gone)
        assert all(path.exists() for path in kept)
        assert [each.run_id for each in instance.get_runs()] == [second]
        instance.wipe()
        assert not any(path.exists() for path in kept)


@pytest.mark.parametrize("of", [Instance.ephemeral, Instance.local_temp])
def test_a_run_that_a_reexecution_may_need_stays_until_that_has_ended(of: Callable[[], Instance]) -> None:
    with of() as instance:
        root, other = run(instance), run(instance)
        first = small.execute_in_process(instance=instance).run_id
        ended = instance.record(first)
        parts = instance.store.content(ended.plan), instance.store.content(ended.snapshot)
        for name, parent, status in (("second", root, RunStatus.FAILURE), ("third", "second", RunStatus.QUEUED)):
            brief = msgspec.structs.replace(
                ended.brief, run_id=RunId(name), parent_run_id=RunId(parent), root_run_id=RunId(root)
            )
            again = dataclasses.replace(ended, run_id=RunId(name), status=status, brief=brief)
            instance.store.create_run(again, *parts)
        for name in (root, "second"):
            with pytest.raises(InvariantViolationError, match=f"{name} is not deleted: run third.*opgrid run cancel"):
                instance.delete_run(name)
        instance.delete_run(other)
        instance.wipe()
        assert sorted(each.run_id for each in instance.get_runs()) == sorted([root, "second", "third"])
        instance.report_run_canceled(instance.record("third"))
        instance.delete_run(root)
        instance.wipe()
        assert instance.get_runs() == []


def test_runs_that_go_on_stay_with_what_they_stored(tmp_path: Path) -> None:
    with Instance.ephemeral() as instance:
        ended = run(instance)
        parts = (
            instance.store.content(instance.record(ended).plan),
            instance.store.content(instance.record(ended).snapshot),
        )
        going = []
        for status in (RunStatus.QUEUED, RunStatus.NOT_STARTED, RunStatus.STARTED, RunStatus.CANCELING):
            record = dataclasses.replace(instance.record(ended), run_id=RunId(f"is-{status.value}"), status=status)
            instance.store.create_run(record, *parts)
            going.append(record.run_id)
        kept = [path for run_id in going for path in keep(tmp_path, run_id)]
        gone = keep(tmp_path, ended)
        instance.home = tmp_path
        for run_id in going:
            with pytest.raises(InvariantViolationError, match=f"{run_id} has not ended"):
                instance.delete_run(run_id)
        instance.wipe()
        assert sorted(each.run_id for each in instance.get_runs()) == sorted(going)
        assert all(path.exists() for path in kept)
        assert not any(path.exists() for path in gone)
        instance.delete_run("nowhere")
        for run_id in going:
            instance.report_run_canceled(instance.record(run_id))
            instance.delete_run(run_id)
        assert instance.get_runs() == []


@pytest.mark.parametrize("run_id", ["..", ".", "", "../other", "/etc", "a/../..", "a\0b", "%2E%2E"])
def test_no_id_leads_out_of_the_folder(tmp_path: Path, run_id: str) -> None:
    home = tmp_path / "home"
    for path in (home / "storage" / "kept", tmp_path / "other", home / "other", home / "logs"):
        path.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with Instance.ephemeral() as instance:
        Removal(instance.store, home).remove([RunId(run_id)])
    assert sorted(tmp_path.rglob("*")) == before
    gone = keep(home, run_id)
    assert {path.parent for path in gone} == {home / "storage", home / "logs"}
    with Instance.ephemeral() as instance:
        Removal(instance.store, home).remove([RunId(run_id)])
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("x")
    link = storage_of(tmp_path / "storage", "a")
    link.parent.mkdir()
    link.symlink_to(tmp_path / "elsewhere")
    inside = storage_of(tmp_path / "storage", "b")
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path / "elsewhere")
    with Instance.ephemeral() as instance:
        Removal(instance.store, tmp_path).remove([RunId("a"), RunId("b")])
    assert not link.is_symlink() and not inside.exists()
    assert (tmp_path / "elsewhere" / "file").exists()


def test_large_values_beside_redis_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPGRID_IO_SPILL_TO", str(tmp_path))
    folder = storage_of(tmp_path, "a")
    folder.mkdir()
    with Instance.ephemeral() as instance:
        Removal(instance.store).remove([RunId("a")])
    assert not folder.exists()


@pytest.mark.redis
def test_values_in_redis_go(redis_url: str) -> None:
    with connect(redis_url) as client, Instance.ephemeral() as instance:
        for name in ("a", "b"):
            client.set(f"{index_of(name)}:one:result:1", "x")
            client.sadd(index_of(name), f"{index_of(name)}:one:result:1")
        instance.broker_url = redis_url
        instance.delete_run("a")
        keys = keys_of(client)
    assert keys == {index_of("b"), f"{index_of('b')}:one:result:1"}


def keys_of(client: redis.Redis) -> set[str]:
    return {key.decode() for key in client.scan_iter(f"{index_of('').removesuffix(':')}:*")}


def test_a_run_is_forgotten_though_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    with Instance.ephemeral() as instance:
        run_id = run(instance)
        with caplog.at_level(logging.WARNING, "opgrid.removal"):
            Removal(instance.store, None, "redis://127.0.0.1:1/0").remove([run_id])
        assert instance.get_runs(RunsFilter(run_ids=(run_id,))) == []
    assert "until their time is over" in caplog.text
