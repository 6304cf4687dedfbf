"""Who reads the log behind a cursor while others write: PostgreSQL shows events in the order of their transactions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import AnyEvent, AssetMaterialized, EventType, RunFailed, RunStarted, StepStarted
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.ids import RunId, StepKey
from orchestrator.storage.records import EventRecordsFilter, RunRecord
from orchestrator.storage.service_records import NewRun
from orchestrator.storage.sql import log as log_module
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.turn import SqlTurn
from tests.integration.service import until
from tests.unit.storage.locks import somebody_waits

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    made = SqlStore(postgres_url)
    made.launch([new(name) for name in ("first", "second", "third")])
    yield made
    made.close()


def new(name: str, shard: str = "shard-0") -> NewRun:
    run_id = RunId(name)
    brief = RunBrief(run_id, JobRef("job", "h"), ExecutorChoice("celery"), stream=shard)
    return NewRun(RunRecord(run_id, "job", RunStatus.QUEUED, brief, "p", "s", created=1.0), b"plan", b"snapshot", [])


@contextmanager
def being_written(store: SqlStore, told: dict[str, Sequence[AnyEvent]]) -> Iterator[None]:
    """The events have their numbers, and the transaction ends behind the block."""
    with store._writing() as connection:
        turn = SqlTurn(connection, store._statements)
        for run_id, events in told.items():
            turn.append(RunId(run_id), events)
        turn.write()
        yield


def failed(*names: str) -> dict[str, Sequence[AnyEvent]]:
    return {name: [RunFailed(run_id=RunId(name), at=1.0, reason="on purpose")] for name in names}


def write(store: SqlStore, told: dict[str, Sequence[AnyEvent]]) -> None:
    with being_written(store, told):
        pass


@pytest.mark.parametrize("others", [0, 100], ids=["a row", "many rows"])
def test_who_goes_on_behind_the_last_failure_of_a_run_misses_none(store: SqlStore, others: int) -> None:
    started = {"first": [RunStarted(run_id=RunId("first"), at=1.0) for _ in range(others)], **failed("third")}
    with being_written(store, started):
        write(store, failed("second"))
        assert store.run_events("PIPELINE_FAILURE", 0, 10) == []
        assert store.behind("PIPELINE_FAILURE", 0, [RunId("second")]) == {"second"}
        before = store.last_event()
    found = store.run_events("PIPELINE_FAILURE", before, 10)
    assert [run_id for _, run_id in found] == ["third", "second"]
    assert store.run_events("PIPELINE_FAILURE", found[0][0], 10) == found[1:]
    assert store.last_event() == found[-1][0]


def test_what_is_being_written_behind_it_hides_nothing(store: SqlStore) -> None:
    write(store, failed("first"))
    with being_written(store, failed("second")):
        assert [run_id for _, run_id in store.run_events("PIPELINE_FAILURE", 0, 10)] == ["first"]


def test_who_watches_sees_each_run_that_has_changed(store: SqlStore) -> None:
    write(store, failed("first"))
    before = store.pulse().event
    with being_written(store, failed("second")):
        write(store, failed("third"))
        assert store.pulse().event == before
    assert store.pulse().event > before
    assert set(store.changed_runs(before)) == {"second", "third"}


def test_materializations_that_are_being_written_are_waited_for(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "_PATIENCE", 60.0)

    def made(name: str) -> dict[str, Sequence[AnyEvent]]:
        step = StepKey("step")
        return {name: [AssetMaterialized(run_id=RunId(name), at=1.0, step=step, attempt=1, asset=("a",))]}

    found: list[str] = []

    def read() -> None:
        wanted = EventRecordsFilter(EventType.ASSET_MATERIALIZATION)
        found.extend(each.run_id for each in store.event_records(wanted, limit=2))

    with being_written(store, made("first")):
        write(store, made("second"))
        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.05)
        assert not found
    reader.join()
    assert found == ["second", "first"]


def test_who_waits_for_what_is_being_written_keeps_no_connection(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use: list[int] = []
    pool: Any = store._engine.pool
    monkeypatch.setattr(log_module.time, "sleep", lambda seconds: in_use.append(pool.checkedout()))
    kind = EventType.ASSET_MATERIALIZATION
    with being_written(store, failed("first")):
        write(store, failed("second"))
        store.event_records(EventRecordsFilter(kind, after_cursor=10_000))
        assert not in_use, "nothing is waited for that could not be found"
        monkeypatch.setattr(log_module, "_PATIENCE", 0.1)
        store.event_records(EventRecordsFilter(kind))
        assert set(in_use) == {1}, "only who writes has one"


def test_schemas_of_one_database_do_not_hide_each_others_events(store: SqlStore, postgres_url: str) -> None:
    write(store, failed("first", "second"))
    last = store.last_event()
    with store._writing() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
    other = SqlStore(f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-csearch_path%3Dother")
    other.launch([new("first")])
    with being_written(other, failed("first")):
        write(other, failed("first"))
        assert other.last_event() == 0
        assert store.last_event() == last
    assert other.last_event() > 0
    other.close()


def test_who_ends_a_run_over_the_head_of_its_driver_writes_behind_it(store: SqlStore) -> None:
    lease = store.hold("shard-0", "somebody", 10.0)
    assert lease is not None
    ended = threading.Thread(
        target=store.end_run, args=("first", RunStatus.FAILURE, failed("first")["first"], 2.0), daemon=True
    )
    with store._writing() as connection:
        turn = SqlTurn(connection, store._statements)
        turn.only_of_holder("shard-0", lease.epoch)
        turn.append(RunId("first"), [StepStarted(run_id=RunId("first"), at=1.0, step=StepKey("step"), attempt=1)])
        turn.write()
        ended.start()
        until(lambda: somebody_waits(store))
    ended.join()
    assert [type(event) for event in store.read(RunId("first"))] == [StepStarted, RunFailed]
