"""What the daemon forgets, by age and by count."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import EngineNote, RunEnqueued
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.ids import RunId
from orchestrator.daemon.retention import forget_old
from orchestrator.sections import Retention
from orchestrator.services.removal import Removal
from orchestrator.storage.records import RunRecord
from orchestrator.storage.service_records import Instigator, InstigatorKind, NewRun, Tick, TickStatus
from orchestrator.storage.sql.deletions import note_deletion
from orchestrator.storage.sql.store import SqlStore
from tests.integration.service import until
from tests.unit.storage.locks import somebody_waits

DAY = 86400.0
NOW = 1000 * DAY


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    made = SqlStore(database_url)
    yield made
    made.close()


def run(store: SqlStore, name: str, status: RunStatus, at: float, plan: str = "p", root: str | None = None) -> None:
    run_id, root_id = RunId(name), None if root is None else RunId(root)
    brief = RunBrief(run_id, JobRef("job", "h"), ExecutorChoice("celery"), root_run_id=root_id, parent_run_id=root_id)
    record = RunRecord(run_id, "job", RunStatus.QUEUED, brief, plan, "s", created=at)
    store.launch([NewRun(record, b"plan", b"snapshot", [RunEnqueued(run_id=run_id, at=at)])])
    with store.turn() as turn:
        turn.set_status(run_id, status, at)


def ticks(store: SqlStore, name: str, *given: tuple[TickStatus, float]) -> None:
    before = Instigator("here", name, InstigatorKind.SENSOR)
    for status, at in given:
        after = Instigator("here", name, InstigatorKind.SENSOR, ticked=at)
        assert store.commit_tick(Tick("here", name, InstigatorKind.SENSOR, at, status, at), before, after) is not None
        before = after


def kept(store: SqlStore) -> list[str]:
    return sorted(run.run_id for run in store.runs())


def test_runs_that_ended_long_ago(store: SqlStore) -> None:
    run(store, "old", RunStatus.SUCCESS, NOW - 11 * DAY)
    run(store, "old-going", RunStatus.STARTED, NOW - 11 * DAY)
    run(store, "new", RunStatus.FAILURE, NOW - 9 * DAY)
    forget_old(store, Removal(store), Retention(), NOW)
    assert len(kept(store)) == 3
    forget_old(store, Removal(store), Retention(runs_days=10), NOW)
    assert kept(store) == ["new", "old-going"]
    assert list(store.read(RunId("old"))) == []


def test_runs_beyond_a_number(store: SqlStore) -> None:
    for number in range(6):
        run(store, str(number), RunStatus.STARTED if number == 1 else RunStatus.SUCCESS, NOW)
    forget_old(store, Removal(store), Retention(runs_count=3), NOW)
    assert kept(store) == ["1", "3", "4", "5"]


def test_runs_that_a_reexecution_may_need_stay_until_it_has_ended(store: SqlStore) -> None:
    run(store, "root", RunStatus.FAILURE, NOW - 11 * DAY)
    run(store, "first", RunStatus.FAILURE, NOW - 11 * DAY, root="root")
    run(store, "second", RunStatus.STARTED, NOW, root="root")
    run(store, "old", RunStatus.FAILURE, NOW - 11 * DAY)
    run(store, "again", RunStatus.SUCCESS, NOW - 11 * DAY, root="old")
    forget_old(store, Removal(store), Retention(runs_days=10, runs_count=1), NOW)
    assert kept(store) == ["first", "root", "second"]
    with store.turn() as turn:
        turn.set_status(RunId("second"), RunStatus.SUCCESS, NOW)
    forget_old(store, Removal(store), Retention(runs_days=10), NOW)
    assert kept(store) == ["second"]


def logged(store: SqlStore, name: str, *at: float) -> None:
    with store.turn() as turn:
        turn.append(RunId(name), [EngineNote(run_id=RunId(name), at=each, message="hello") for each in at])


def notes(store: SqlStore, name: str) -> int:
    return sum(isinstance(event, EngineNote) for event in store.read(RunId(name)))


def test_logs_by_age_and_number(store: SqlStore) -> None:
    for name, status, at in (("old", RunStatus.SUCCESS, NOW - 9 * DAY), ("new", RunStatus.SUCCESS, NOW - DAY)):
        run(store, name, status, at)
        logged(store, name, *range(5))
    run(store, "going", RunStatus.STARTED, NOW - 9 * DAY)
    logged(store, "going", *range(5))
    forget_old(store, Removal(store), Retention(logs_days=8), NOW)
    assert [notes(store, name) for name in ("old", "new", "going")] == [0, 5, 5]
    assert [event.TYPE.name for event in store.read(RunId("old"))] == ["RUN_ENQUEUED"]  # how it went itself
    logged(store, "new", *range(5))
    forget_old(store, Removal(store), Retention(logs_count=3), NOW)
    assert [notes(store, name) for name in ("old", "new", "going")] == [0, 3, 5]
    assert len(kept(store)) == 3


def test_of_notes_that_were_written_together_the_oldest_go_and_the_numbers_of_the_others_stay(store: SqlStore) -> None:
    run(store, "r", RunStatus.SUCCESS, NOW)
    logged(store, "r", *range(40))
    logged(store, "r", *range(40, 50))
    before = store.events("r")
    for kept in (45, 40, 12, 10, 9, 1):
        forget_old(store, Removal(store), Retention(logs_count=kept), NOW)
        assert store.events("r") == [before[0], *before[-kept:]]  # how it went itself, and these
    forget_old(store, Removal(store), Retention(logs_count=0), NOW)
    assert store.events("r") == before[:1]


def test_many_notes_are_forgotten_some_at_a_time(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.daemon.retention._EVENTS", 100)
    run(store, "r", RunStatus.SUCCESS, NOW)
    logged(store, "r", *range(250))
    logged(store, "r", *range(250))
    turns = 1
    while forget_old(store, Removal(store), Retention(logs_count=5), NOW):
        turns += 1
    assert (notes(store, "r"), turns) == (5, 4)


def test_plans_that_no_run_has_any_more(store: SqlStore) -> None:
    for name, plan in (("a", "p1"), ("b", "p2")):
        run(store, name, RunStatus.SUCCESS, NOW, plan)
    store.delete_run("a")
    forget_old(store, Removal(store), Retention(), NOW)
    assert (store.content("p2"), store.content("s")) == (b"plan", b"snapshot")
    with pytest.raises(KeyError):
        store.content("p1")


def test_much_is_forgotten_a_little_at_a_time(store: SqlStore) -> None:
    for number in range(60):
        run(store, f"{number:02}", RunStatus.SUCCESS, NOW)
    assert forget_old(store, Removal(store), Retention(runs_count=5), NOW)
    assert len(kept(store)) == 10
    assert not forget_old(store, Removal(store), Retention(runs_count=5), NOW)
    assert kept(store) == ["55", "56", "57", "58", "59"]


def test_ticks_by_age_and_number(store: SqlStore) -> None:
    done, skipped = TickStatus.SUCCESS, TickStatus.SKIPPED
    ticks(store, "a", (done, NOW - 31 * DAY), (skipped, NOW - 8 * DAY), (done, NOW - 8 * DAY), (skipped, NOW))
    forget_old(store, Removal(store), Retention(), NOW)
    assert [(each.status, each.at) for each in store.ticks("here", "a")] == [(skipped, NOW), (done, NOW - 8 * DAY)]
    ticks(store, "b", *((done, NOW + number) for number in range(10)))
    forget_old(store, Removal(store), Retention(ticks_count=2), NOW)
    assert [each.at for each in store.ticks("here", "b")] == [NOW + 9, NOW + 8]
    assert len(store.ticks("here", "a")) == 2


def test_it_is_told_which_runs_are_deleted(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may look at one of them."""
    monkeypatch.setattr("orchestrator.storage.sql.deletions._KEPT", 3)
    for name, end in (("a", 1.0), ("b", 2.0), ("c", NOW)):
        run(store, name, RunStatus.SUCCESS, end)
    before = store.pulse()
    forget_old(store, Removal(store), Retention(runs_days=1), NOW)
    after = store.pulse()
    assert store.deleted_runs(before.deleted) == ["a", "b"]
    assert (after.deleted > before.deleted, after.reports) == (True, before.reports)
    store.delete_run("a")
    assert store.pulse() == after
    store.delete_run("c")
    assert store.deleted_runs(after.deleted) == ["c"]
    assert store.deleted_runs(before.deleted) is None


@pytest.mark.postgres
def test_of_two_services_that_delete_the_first_runs_both_are_heard(postgres_url: str) -> None:
    with closing(SqlStore(postgres_url)) as store:
        for name in ("a", "b"):
            run(store, name, RunStatus.SUCCESS, NOW)
        other = threading.Thread(target=store.delete_run, args=("b",), daemon=True)
        with store._writing() as connection:
            note_deletion(connection, store._statements, "a")
            other.start()
            until(lambda: somebody_waits(store))
        other.join()
        assert store.deleted_runs(0.0) == ["a", "b"]
