"""What the service stores: launches, leases, ticks, pools."""

from __future__ import annotations

import dataclasses
import glob
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from sqlalchemy import event

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import ErrorInfo, RunCanceling, RunEnqueued, RunFailed
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.definitions.run_request import AddDynamicPartitionsRequest, DeleteDynamicPartitionsRequest
from opgrid.errors import RunAlreadyExists
from opgrid.ids import RunId, StepKey
from orchestrator.engine.pools import PoolSettings, Slot
from orchestrator.storage.records import LeaseLost, RunRecord, RunsFilter
from orchestrator.storage.service_records import Instigator, InstigatorKind, NewRun, Tick, TickStatus, retry_origin
from orchestrator.storage.sql import statements as prepared
from orchestrator.storage.sql.statements import tell
from orchestrator.storage.sql.store import SqlStore


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    made = SqlStore(database_url)
    yield made
    made.close()


def new(name: str, origin: str = "", key: str = "", shard: str = "shard-0", created: float = 1.0) -> NewRun:
    run_id = RunId(name)
    brief = RunBrief(run_id, JobRef("job", "h"), ExecutorChoice("celery"), stream=shard)
    record = RunRecord(run_id, "job", RunStatus.QUEUED, brief, "p", "s", created=created)
    return NewRun(record, b"plan", b"snapshot", [RunEnqueued(run_id=run_id, at=created)], origin, key)


STATE = Instigator("here", "sensor", InstigatorKind.SENSOR)


def tick(**more: object) -> Tick:
    return Tick("here", "sensor", InstigatorKind.SENSOR, 1.0, TickStatus.SUCCESS, 2.0, **more)  # type: ignore[arg-type]


@contextmanager
def statements(store: SqlStore) -> Iterator[list[str]]:
    """What the database is told; one that is told of many rows at once counts as one."""
    said: list[str] = []

    def note(connection: object, cursor: object, statement: str, *more: object) -> None:
        said.append(statement)

    def told(connection: Any, sql: str, *parameters: Any, **more: Any) -> Any:
        said.append(sql)
        return tell(connection, sql, *parameters, **more)

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        with patch.object(prepared, "tell", told):
            yield said
    finally:
        event.remove(store._engine, "before_cursor_execute", note)


def test_many_runs_are_launched_and_started_in_a_few_statements(store: SqlStore) -> None:
    runs = [new(f"r{number}") for number in range(50)]
    with statements(store) as said:
        store.launch(runs)
    assert len(said) < 8
    with statements(store) as said:
        assert len(store.dequeue([each.record.run_id for each in runs], 2.0)) == 50
    assert len(said) < 8
    assert [row.status for row in store.open_runs()] == [RunStatus.STARTING] * 50


def test_tags_of_runs_that_are_launched_together_are_theirs(store: SqlStore) -> None:
    tagged = []
    for number, each in enumerate((new("a"), new("b"), new("c"))):
        brief = msgspec.structs.replace(each.record.brief, tags={"n": str(number)} if number else {})
        tagged.append(dataclasses.replace(each, record=dataclasses.replace(each.record, brief=brief)))
    store.launch(tagged)
    assert [run.run_id for run in store.runs(RunsFilter(tags={"n": "2"}))] == ["c"]
    store.add_tags("a", {"n": "2"})
    store.add_tags("b", {"n": "3"})
    assert {run.run_id for run in store.runs(RunsFilter(tags={"n": "2"}))} == {"a", "c"}
    assert not store.runs(RunsFilter(tags={"n": "1"}))


def test_a_key_launches_once(store: SqlStore) -> None:
    assert store.launch([new("a", "o", "k"), new("b", "o", "l")]) == ["a", "b"]
    assert store.launch([new("c", "o", "k"), new("d", "other", "k"), new("e"), new("f")]) == ["d", "e", "f"]
    assert store.launched("o") == {"k": "a", "l": "b"}
    assert store.run("c") is None


def test_launching_is_all_or_nothing(store: SqlStore) -> None:
    store.launch([new("a")])
    with pytest.raises(RunAlreadyExists):
        store.launch([new("b", "o", "k"), new("a")])
    assert store.run("b") is None
    assert store.launched("o") == {}


def test_of_two_that_launch_the_same_key_one_does(store: SqlStore) -> None:
    found: list[RunId] = []
    threads = [
        threading.Thread(target=lambda n=number: found.extend(store.launch([new(f"r{n}", "o", "k")])))  # type: ignore[misc]
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1
    assert list(store.launched("o").values()) == found


def test_from_the_queue_to_the_start(store: SqlStore) -> None:
    store.launch([new("a"), new("b", shard="shard-1")])
    assert [(row.run_id, row.status, row.shard) for row in store.open_runs()] == [
        ("a", RunStatus.QUEUED, "shard-0"),
        ("b", RunStatus.QUEUED, "shard-1"),
    ]
    assert store.dequeue([RunId("a")], 2.0) == ["a"]
    assert store.dequeue([RunId("a"), RunId("none")], 3.0) == []
    assert [run.run_id for run in store.with_status((RunStatus.STARTING,), "shard-0")] == ["a"]
    assert [run.run_id for run in store.with_status((RunStatus.QUEUED, RunStatus.STARTING))] == ["a", "b"]
    assert [event.TYPE.name for event in store.read(RunId("a"))] == ["RUN_ENQUEUED", "RUN_DEQUEUED", "RUN_STARTING"]


def test_a_run_that_nobody_drives_ends_at_once(store: SqlStore) -> None:
    store.launch([new("a"), new("b")])
    store.dequeue([RunId("b")], 2.0)
    assert store.cancel_unstarted(RunId("a"), "no", 3.0)
    assert not store.cancel_unstarted(RunId("b"), "no", 3.0)
    assert store.fail_unstarted(RunId("b"), "broken", 4.0)
    assert not store.fail_unstarted(RunId("b"), "broken", 5.0)
    assert [(run.run_id, run.status, run.ended) for run in store.runs()] == [
        ("b", RunStatus.FAILURE, 4.0),
        ("a", RunStatus.CANCELED, 3.0),
    ]
    last = list(store.read(RunId("b")))[-1]
    assert isinstance(last, RunFailed)
    assert store.open_runs() == []


def test_many_are_canceled_in_one_transaction(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.launch([new(name) for name in ("queued", "starts", "asked", "ended", "other")])
    store.dequeue([RunId("starts"), RunId("asked"), RunId("ended")], 2.0)
    store.request_cancel(RunId("asked"), "before")
    store.fail_unstarted(RunId("ended"), "broken", 2.5)
    began: list[object] = []
    writing = store._writing
    monkeypatch.setattr(store, "_writing", lambda **how: (began.append(how), writing(**how))[1])
    store.cancel_runs([RunId(name) for name in ("queued", "starts", "asked", "ended", "nowhere")], "no", 3.0)
    assert began == [{"rings": True}]
    states = {run.run_id: (run.status, run.cancel) for run in store.runs()}
    assert states == {
        "queued": (RunStatus.CANCELED, None),
        "starts": (RunStatus.STARTING, "no"),
        "asked": (RunStatus.STARTING, "before"),
        "ended": (RunStatus.FAILURE, None),
        "other": (RunStatus.QUEUED, None),
    }
    said = [event for event in store.read("queued") if isinstance(event, RunCanceling)]
    assert [event.reason for event in said] == ["no"]
    monkeypatch.setattr("orchestrator.storage.sql.service._AT_ONCE", 1)
    store.cancel_runs([RunId("starts"), RunId("other")], "again", 4.0)
    assert store.statuses([RunId("other"), RunId("starts")]) == {
        "other": RunStatus.CANCELED,
        "starts": RunStatus.STARTING,
    }


def test_how_many_runs_of_an_origin_stand_where(store: SqlStore) -> None:
    store.launch([new("a", "o", "k"), new("b", "o", "l"), new("c", "o", "m"), new("d", "p", "k"), new("e")])
    store.dequeue([RunId("b")], 2.0)
    store.delete_run("c")
    assert store.launch_counts(["o", "p", "nowhere"]) == {
        "o": {RunStatus.QUEUED: 1, RunStatus.STARTING: 1, None: 1},
        "p": {RunStatus.QUEUED: 1},
    }


def test_where_a_run_was_run_again_its_last_retry_counts(store: SqlStore) -> None:
    store.launch([new("a", "o", "k"), new("b", "o", "l"), new("c", "p", "k")])
    store.launch([new("a2", retry_origin(RunId("a")), "1"), new("c2", retry_origin(RunId("c")), "1")])
    store.launch([new("a3", retry_origin(RunId("a2")), "2")])
    store.fail_unstarted(RunId("a"), "x", 2.0)
    assert store.launched_by(["o"]) == {"o": {"k": "a", "l": "b"}}
    assert store.latest_by(["o", "p", "nowhere"]) == {"o": {"k": "a3", "l": "b"}, "p": {"k": "c2"}}
    assert store.launch_counts(["o", "p"]) == {"o": {RunStatus.QUEUED: 2}, "p": {RunStatus.QUEUED: 1}}


def test_a_request_to_cancel_is_kept(store: SqlStore) -> None:
    store.launch([new("a")])
    store.request_cancel(RunId("a"), "enough")
    assert [row.cancel for row in store.open_runs()] == ["enough"]
    run = store.run("a")
    assert run is not None
    assert run.cancel == "enough"


def test_leases(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(store, "_clock_of_leases", lambda _: now[0])
    first = store.hold("queue", "me", 10.0)
    assert first is not None
    now[0] = 105.0
    assert store.hold("queue", "you", 10.0) is None
    now[0] = 108.0
    kept = store.hold("queue", "me", 10.0)
    assert kept is not None
    assert kept.epoch == first.epoch
    now[0] = 117.5
    assert store.hold("queue", "you", 10.0) is None
    now[0] = 118.5
    taken = store.hold("queue", "you", 10.0)
    assert taken is not None
    assert taken.epoch == first.epoch + 1
    with store.turn() as turn:
        turn.only_of_holder("queue", taken.epoch)
    for name, epoch in [("queue", first.epoch), ("nothing", 1)]:
        with pytest.raises(LeaseLost, match=name), store.turn() as turn:
            turn.only_of_holder(name, epoch)
    store.let_go("queue", "me")
    assert store.held()["queue"].owner == "you"
    store.let_go("queue", "you")
    assert store.held() == {}
    again = store.hold("queue", "me", 10.0)
    assert again is not None
    assert again.epoch == taken.epoch + 1
    now[0] = 3.0  # the machine was started anew, and its clock with it
    after = store.hold("queue", "you", 10.0)
    assert after is not None
    assert after.epoch == again.epoch + 1


def test_a_tick_is_stored_with_all_that_it_led_to(store: SqlStore) -> None:
    after = dataclasses.replace(STATE, completed=2.0, cursor="c", since=1.0, running=True, last_run_key="k")
    add = AddDynamicPartitionsRequest("days", ["a", "b"])
    assert store.commit_tick(tick(log=("hello",)), STATE, after, [new("a", "o", "k")], [add]) == ["a"]
    assert store.instigators() == [after]
    (stored,) = store.ticks("here", "sensor")
    assert (stored.run_ids, stored.log, stored.status) == (("a",), ("hello",), TickStatus.SUCCESS)
    assert store.dynamic_partitions("days") == ["a", "b"]
    gone = DeleteDynamicPartitionsRequest("days", ["a", *map(str, range(70_000))])
    later = dataclasses.replace(after, completed=3.0)
    assert store.commit_tick(tick(), after, later, [new("b", "o", "k")], [gone]) == []
    assert store.dynamic_partitions("days") == ["b"]
    assert store.ticks("here", "sensor", 1)[0].status is TickStatus.SKIPPED


def test_a_tick_that_another_has_overtaken_leaves_nothing(store: SqlStore) -> None:
    after = dataclasses.replace(STATE, completed=2.0)
    store.commit_tick(tick(), STATE, after)
    add = AddDynamicPartitionsRequest("days", ["a"])
    assert store.commit_tick(tick(), STATE, after, [new("late")], [add]) is None
    assert store.run("late") is None
    assert len(store.ticks("here", "sensor")) == 1
    assert store.dynamic_partitions("days") == []


def test_whoever_stops_a_sensor_in_the_middle_of_a_tick_has_the_last_word(store: SqlStore) -> None:
    running = dataclasses.replace(STATE, running=True, since=1.0)
    store.set_instigator(running)
    store.set_instigator(dataclasses.replace(running, running=False, since=None), ("running", "since"))
    after = dataclasses.replace(running, ticked=2.0, completed=2.0, cursor="c")
    assert store.commit_tick(tick(), running, after, [new("a", "o", "k")]) == ["a"]
    assert store.instigators() == [dataclasses.replace(after, running=False, since=None)]


def test_a_cursor_that_is_set_in_the_middle_of_a_tick_stays(store: SqlStore) -> None:
    before = dataclasses.replace(STATE, cursor="7", ticked=1.0, completed=1.0)
    store.set_instigator(before)
    store.set_instigator(dataclasses.replace(before, cursor="3"), ("cursor",))
    after = dataclasses.replace(before, cursor="8", ticked=2.0, completed=2.0)
    assert store.commit_tick(tick(), before, after, [new("a", "o", "k")]) is None
    assert store.instigators() == [dataclasses.replace(before, cursor="3")]
    assert store.run("a") is None


def test_a_tick_in_between_outlives_a_change_of_the_rest(store: SqlStore) -> None:
    store.set_instigator(STATE)
    store.commit_tick(tick(), STATE, dataclasses.replace(STATE, cursor="1", ticked=1.0, completed=1.0))
    store.set_instigator(dataclasses.replace(STATE, running=False), ("running", "since"))
    (found,) = store.instigators()
    assert (found.running, found.cursor, found.ticked) == (False, "1", 1.0)


def test_errors_of_ticks_and_their_end(store: SqlStore) -> None:
    failed = tick(error=ErrorInfo("KeyError", "x"), reason=None)
    store.commit_tick(dataclasses.replace(failed, status=TickStatus.FAILURE), STATE, STATE)
    store.commit_tick(dataclasses.replace(tick(), status=TickStatus.SKIPPED, ended=9.0), STATE, STATE)
    assert [each.error.kind if each.error else None for each in store.ticks("here", "sensor")] == [None, "KeyError"]
    assert store.purge_ticks(5.0, [TickStatus.SKIPPED]) == 0
    assert store.purge_ticks(5.0, TickStatus) == 1
    assert len(store.ticks("here", "sensor")) == 1


def test_events_of_runs_in_their_order(store: SqlStore) -> None:
    store.launch([new("a"), new("b")])
    store.fail_unstarted(RunId("b"), "x", 2.0)
    store.fail_unstarted(RunId("a"), "x", 3.0)
    found = store.run_events("PIPELINE_FAILURE", 0, 10)
    assert [run_id for _, run_id in found] == ["b", "a"]
    assert store.run_events("PIPELINE_FAILURE", found[0][0], 10) == found[1:]
    assert store.run_events("PIPELINE_SUCCESS", 0, 10) == []
    assert store.last_event() == found[-1][0]
    both = [RunId("a"), RunId("b")]
    assert store.behind("PIPELINE_FAILURE", 0, both) == {"a", "b"}
    assert store.behind("PIPELINE_FAILURE", found[0][0], both) == {"a"}
    assert store.behind("PIPELINE_FAILURE", found[1][0], both) == set()


def test_the_number_of_an_event_that_is_gone_is_given_to_no_other(store: SqlStore) -> None:
    """Sensors remember how far they have looked."""
    store.launch([new("a"), new("b")])
    store.fail_unstarted(RunId("b"), "x", 2.0)
    last = store.last_event()
    store.delete_run("b")
    assert store.last_event() == last
    store.fail_unstarted(RunId("a"), "x", 3.0)
    ((number, run_id),) = store.run_events("PIPELINE_FAILURE", last, 10)
    assert (number > last, run_id) == (True, "a")
    store.delete_run("a")
    newest = store.last_event()
    store.launch([new("c")])
    assert store.changed_runs(0) == store.changed_runs(newest) == ["c"]
    assert store.last_event() > newest
    store.delete_run("c")
    assert store.changed_runs(0) == []


def test_pools(store: SqlStore) -> None:
    store.set_pool("db", 3)
    store.set_pool("db", 2)
    store.set_pool("api", 1)
    assert store.pools() == {"api": 1, "db": 2}
    store.set_pool("db", None)
    assert store.pools() == {"api": 1}


def test_many_who_take_the_last_slot_of_a_pool_at_once(store: SqlStore, database_url: str) -> None:
    store.launch([new(str(number)) for number in range(5)])
    slots = [Slot("db", RunId(str(number)), StepKey("x")) for number in range(5)]
    stores = [SqlStore(database_url, PoolSettings(default_limit=1)) for _ in slots]
    together = threading.Barrier(len(stores))

    def take(of: SqlStore, slot: Slot) -> set[Slot]:
        together.wait(20)
        return of.take_slots(dict.fromkeys([slot, Slot("other", slot.run_id, StepKey("y"))], 0))

    with ThreadPoolExecutor(len(stores)) as threads:
        for _ in range(20):
            granted = list(threads.map(take, stores, slots))
            assert [sum(slot.pool == pool for taken in granted for slot in taken) for pool in ("db", "other")] == [1, 1]
            store.free_slots([slot for taken in granted for slot in taken])
    for each in stores:
        each.close()


def test_who_copies_the_files_of_a_database_does_not_meet_the_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "opgrid.db-bell")  # of a version that had it under this name
    with closing(SqlStore(f"sqlite:///{tmp_path}/opgrid.db")) as store:
        store.wait_for_bell(0.0)
        assert not [each for each in glob.glob(f"{tmp_path}/*") if not os.path.isfile(each)]
        assert any(each.is_fifo() for each in tmp_path.iterdir())


def test_who_waits_for_runs_is_told_by_other_processes(store: SqlStore, database_url: str) -> None:
    assert not store.wait_for_bell(0.05)
    other = SqlStore(database_url)
    heard: list[bool] = []
    waiting = threading.Thread(target=lambda: heard.append(store.wait_for_bell(30.0)))
    waiting.start()
    other.launch([new("a")])
    waiting.join(20.0)
    assert heard == [True]
    store.wait_for_bell(0.05)  # it may have rung twice
    other.request_cancel(RunId("a"), "enough")
    assert store.wait_for_bell(20.0)
    other.dequeue([RunId("a")], 2.0)
    assert not store.wait_for_bell(0.05)
    store.ring_bell()  # one may ring for oneself
    assert store.wait_for_bell(20.0)
    other.close()
