"""Who has lost its lease writes nothing more, whoever has it now."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import RunStarted
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.ids import RunId
from orchestrator.coordinator.ownership import FencedLog, ShardLog, end_canceled
from orchestrator.storage.records import LeaseLost, RunRecord, RunsHaveEnded
from orchestrator.storage.sql.store import SqlStore

RUN, SHARD = RunId("run"), "shard-0"


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    made = SqlStore(database_url)
    brief = RunBrief(RUN, JobRef("job", "h"), ExecutorChoice("celery"), stream=SHARD)
    made.create_run(RunRecord(RUN, "job", RunStatus.QUEUED, brief, "p", "s", created=1.0), b"plan", b"snapshot")
    yield made
    made.close()


def write(log: FencedLog | ShardLog) -> None:
    with log.turn() as turn:
        turn.append(RUN, [RunStarted(run_id=RUN, at=1.0)])


def test_who_drives_a_run_writes_until_another_does(store: SqlStore) -> None:
    lease = store.take_lease(RUN, "one", 60.0)
    assert lease is not None
    log = FencedLog(store, RUN, lease.epoch)
    write(log)
    store.drop_lease(RUN, "one")
    assert store.take_lease(RUN, "two", 60.0) is not None
    with pytest.raises(LeaseLost, match="Run run is driven by another process now"), log.turn() as turn:
        turn.set_status(RUN, RunStatus.SUCCESS, 2.0)
    assert not log.is_closed
    assert len(list(store.read(RUN))) == 1


def test_its_log_is_closed_once_the_run_has_ended(store: SqlStore) -> None:
    lease = store.take_lease(RUN, "one", 60.0)
    assert lease is not None
    log = FencedLog(store, RUN, lease.epoch)
    with log.turn() as turn:
        turn.set_status(RUN, RunStatus.SUCCESS, 2.0)
    assert log.is_closed


def test_who_holds_a_shard_writes_until_another_does(store: SqlStore) -> None:
    lease = store.hold(SHARD, "one", 60.0)
    assert lease is not None
    log = ShardLog(store, SHARD, lease.epoch)
    write(log)
    store.let_go(SHARD, "one")
    assert store.hold(SHARD, "two", 60.0) is not None
    with pytest.raises(LeaseLost, match="shard-0 is driven by another process now"):
        write(log)
    assert len(list(store.read(RUN))) == 1


@pytest.mark.parametrize("events", [1, 5000])
def test_who_holds_a_shard_writes_nothing_for_a_run_that_somebody_has_ended(store: SqlStore, events: int) -> None:
    lease = store.hold(SHARD, "one", 60.0)
    assert lease is not None
    log, told = ShardLog(store, SHARD, lease.epoch), [RunStarted(run_id=RUN, at=1.0)] * events
    with log.turn() as turn:
        turn.append(RUN, [RunStarted(run_id=RUN, at=1.0)])
        turn.set_status(RUN, RunStatus.STARTED, 1.0)
    end_canceled(store, RUN, "enough")
    before = list(store.read(RUN))
    with pytest.raises(RunsHaveEnded, match="'run'") as refused, log.turn() as turn:
        turn.append(RUN, told)
        turn.append(RunId("other"), told)
        turn.set_status(RUN, RunStatus.SUCCESS, 2.0)
        turn.set_position(SHARD, "5")
    assert refused.value.runs == [RUN]
    assert list(store.read(RUN)) == before
    assert list(store.read(RunId("other"))) == []
    with log.turn() as turn:
        turn.append(RunId("other"), told)
        turn.set_position(SHARD, "5")
    store.let_go(SHARD, "one")
    assert store.hold(SHARD, "two", 60.0) is not None
    with pytest.raises(LeaseLost), log.turn() as turn:
        turn.append(RUN, told)
