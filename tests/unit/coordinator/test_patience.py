"""Who drives one run waits for the database, and writes each turn once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from opgrid import Instance, job, op
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import AnyEvent, EngineNote, RunFailed, RunStarted, RunSucceeded, StepSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.contracts.told import unfolded
from opgrid.errors import DatabaseUnreachable, DatabaseUnusable, ValueRefused
from opgrid.ids import RunId
from orchestrator.coordinator.ownership import FencedLog
from orchestrator.coordinator.patience import PatientLog, patiently
from orchestrator.engine.log import Turn
from orchestrator.storage.records import LeaseLost, RunRecord
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.turn import SqlTurn

RUN = RunId("run")


@op
def nothing_op() -> int:
    return 1


@job
def nothing() -> None:
    nothing_op()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.coordinator.patience._REST", 0.0)


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    made = SqlStore(database_url)
    brief = RunBrief(RUN, JobRef("job", "h"), ExecutorChoice("in_process"))
    made.create_run(RunRecord(RUN, "job", RunStatus.QUEUED, brief, "p", "s", created=1.0), b"plan", b"snapshot")
    yield made
    made.close()


class Away:
    """A log whose turns fail: before they are stored, or ``after``."""

    def __init__(self, log: FencedLog, times: int, after: bool) -> None:
        self._log, self.times, self._after = log, times, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        self.times -= 1
        with self._log.turn() as turn:
            yield turn
            if self.times >= 0 and not self._after:
                raise DatabaseUnreachable("It is away.")
        if self.times >= 0:
            raise DatabaseUnreachable("It is away.")


def owned(store: SqlStore) -> FencedLog:
    lease = store.take_lease(RUN, "one", 60.0)
    assert lease is not None
    return FencedLog(store, RUN, lease.epoch)


@pytest.mark.parametrize("after", [False, True])
def test_a_turn_is_stored_once_when_the_database_is_back(
    store: SqlStore, after: bool, caplog: pytest.LogCaptureFixture
) -> None:
    away = Away(owned(store), times=3, after=after)
    log = PatientLog(away)
    events: list[AnyEvent] = [
        RunStarted(run_id=RUN, at=1.0),
        *(EngineNote(run_id=RUN, at=1.5, message="\udcff") for _ in range(2)),
    ]
    with log.turn() as turn:
        turn.append(RUN, events)
        turn.set_status(RUN, RunStatus.STARTED, 1.0)
        turn.set_position("stream", "5")
    assert [event.TYPE for event in store.read(RUN)] == [event.TYPE for event in events]
    assert store.run(RUN).status is RunStatus.STARTED  # type: ignore[union-attr]
    assert log.position("stream") == "5"
    assert caplog.messages == ["It is away. Waiting for it.", "The database is back."]


def test_what_says_nothing_to_the_log_is_said_again(store: SqlStore) -> None:
    log = PatientLog(Away(owned(store), times=2, after=False))
    with log.turn() as turn:
        turn.append(RUN, [])
        turn.set_position("stream", "5")
    assert log.position("stream") == "5"


def test_who_has_lost_the_run_meanwhile_writes_nothing(store: SqlStore) -> None:
    away = Away(owned(store), times=1, after=False)
    with pytest.raises(LeaseLost), PatientLog(away).turn() as turn:
        store.drop_lease(RUN, "one")
        assert store.take_lease(RUN, "two", 60.0) is not None
        turn.append(RUN, [RunSucceeded(run_id=RUN, at=2.0)])
    assert list(store.read(RUN)) == []


def test_a_database_that_will_not_do_is_not_waited_for() -> None:
    def ask() -> None:
        raise DatabaseUnusable("It lacks a table.")

    with pytest.raises(DatabaseUnusable):
        patiently(ask)


def test_what_a_database_does_not_take_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    write = SqlTurn.write

    def writes(turn: SqlTurn, commits: bool = False) -> int:
        if any(isinstance(event, StepSucceeded) for told in turn.told.values() for event in unfolded(told)):
            raise ValueRefused("sqlite://", "it is too long")
        return write(turn, commits)

    monkeypatch.setattr(SqlTurn, "write", writes)
    with Instance.local_temp() as instance:
        result = nothing.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.status is RunStatus.FAILURE
        (failed,) = (event for event in instance.store.read(run.run_id) if isinstance(event, RunFailed))
        assert "it is too long" in failed.reason


def test_what_else_is_wrong_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 / 0)
