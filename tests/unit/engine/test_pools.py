"""Pools: limits that hold over all runs of a database."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opgrid import DynamicOut, DynamicOutput, OpExecutionContext, execute_job, in_process_executor, job, op
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import EngineNote, StepCanceled
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.ids import RunId, StepKey
from orchestrator.coordinator.ownership import FencedHolding, FencedLog, ShardLog, this_process
from orchestrator.engine import loop
from orchestrator.engine.pools import Slot
from orchestrator.instance import Instance
from orchestrator.services.submission import cancel
from orchestrator.storage.protocols import Taker
from orchestrator.storage.records import LeaseLost, RunRecord
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.sql.store import SqlStore


def slot(step: str, run: str = "r", pool: str = "db") -> Slot:
    return Slot(pool, RunId(run), StepKey(step))


@pytest.fixture
def store(database_url: str) -> Iterator[ServiceStore]:
    made = SqlStore(database_url)
    for run in ("r", "other"):
        brief = RunBrief(RunId(run), JobRef("job", "h"), ExecutorChoice("celery"))
        made.create_run(RunRecord(RunId(run), "job", RunStatus.STARTED, brief, "p", "s"), b"p", b"s")
    yield made
    made.close()


def test_slots_are_taken_kept_and_freed(store: ServiceStore) -> None:
    store.set_pool("db", 2)
    assert store.take_slots(dict.fromkeys([slot("a"), slot("b"), slot("c")], 0)) == {slot("a"), slot("b")}
    assert store.take_slots(dict.fromkeys([slot("c"), slot("a")], 0)) == {slot("a")}
    assert store.take_slots(dict.fromkeys([slot("x", "other"), slot("y", pool="free")], 0)) == {slot("y", pool="free")}
    store.free_slots([slot("a")])
    assert store.take_slots(dict.fromkeys([slot("x", "other"), slot("c")], 0)) == {slot("x", "other")}
    assert store.used_slots() == {"db": [slot("b"), slot("x", "other")], "free": [slot("y", pool="free")]}
    store.keep_slots(RunId("r"), [StepKey("y")])
    assert store.used_slots()["db"] == [slot("x", "other")]
    store.set_pool("db", 0)
    assert store.take_slots(dict.fromkeys([slot("d")], 0)) == set()


def test_slots_of_a_run_that_has_ended_are_free(store: ServiceStore) -> None:
    store.set_pool("db", 1)
    store.take_slots(dict.fromkeys([slot("a")], 0))
    with store.turn() as turn:
        turn.set_status(RunId("r"), RunStatus.FAILURE, 1.0)
    assert store.take_slots(dict.fromkeys([slot("x", "other")], 0)) == {slot("x", "other")}


def test_who_drives_a_run_no_more_frees_none_of_its_slots(store: ServiceStore) -> None:
    store.set_pool("db", 1)
    store.take_slots(dict.fromkeys([slot("a")], 0))
    epochs = []
    for owner in ("frozen", "next"):
        lease = store.hold("shard", owner, 10.0)
        assert lease is not None
        epochs.append(lease.epoch)
        store.let_go("shard", owner)
    before, now = (ShardLog(store, "shard", epoch) for epoch in epochs)
    with pytest.raises(LeaseLost), before.turn() as turn:
        turn.free_slots([slot("a")])
    assert store.used_slots() == {"db": [slot("a")]}
    with now.turn() as turn:
        turn.free_slots([slot("a"), slot("b")])
    assert store.used_slots() == {}


def test_who_drives_a_run_no_more_takes_none_for_it_and_keeps_none(store: ServiceStore) -> None:
    store.set_pool("db", 2)
    lease, run_lease = store.hold("shard", "frozen", 10.0), store.take_lease(RunId("r"), "frozen", 10.0)
    assert lease is not None and run_lease is not None
    logs = ShardLog(store, "shard", lease.epoch), FencedLog(store, RunId("r"), run_lease.epoch)
    of_shard, of_run = (FencedHolding(store, log.taker) for log in logs)
    assert of_shard.take_slots(dict.fromkeys([slot("a")], 0)) == {slot("a")}
    assert of_run.take_slots(dict.fromkeys([slot("b")], 0)) == {slot("b")}
    of_run.keep_slots(RunId("r"), [StepKey("b")])
    store.let_go("shard", "frozen")
    store.drop_lease(RunId("r"), "frozen")
    assert store.hold("shard", "next", 10.0)
    assert store.take_lease(RunId("r"), "next", 10.0)
    for late in (of_shard, of_run):
        with pytest.raises(LeaseLost):
            late.take_slots(dict.fromkeys([slot("c")], 0))
        with pytest.raises(LeaseLost):
            late.keep_slots(RunId("r"), [])
    assert store.used_slots() == {"db": [slot("b")]}


class Drivers:
    """Who drive runs beside each other, and ask for slots of one pool; ``now`` is their clock."""

    def __init__(self, database_url: str, slots: int) -> None:
        self.now = 1000.0
        self.store = SqlStore(database_url, clock_of_leases=lambda connection: self.now)
        brief = RunBrief(RunId("r"), JobRef("job", "h"), ExecutorChoice("celery"))
        self.store.create_run(RunRecord(RunId("r"), "job", RunStatus.STARTED, brief, "p", "s"), b"p", b"s")
        self.store.set_pool("db", slots)

    def ask(self, who: str, *steps: str, priority: int = 0) -> str:
        """The names of steps that got one."""
        wanted = {slot(step): priority for step in steps}
        granted = self.store.take_slots(wanted, Taker(who, lambda turn: None))
        return " ".join(each.step for each in wanted if each in granted)

    def free(self, *steps: str) -> None:
        self.store.free_slots([slot(step) for step in steps])


@pytest.fixture
def drivers(database_url: str) -> Iterator[Drivers]:
    made = Drivers(database_url, slots=1)
    yield made
    made.store.close()


def test_who_waits_with_a_higher_priority_comes_first_whoever_drives_its_run(drivers: Drivers) -> None:
    assert drivers.ask("one", "a1", "a2") == "a1"
    assert drivers.ask("two", "b", priority=5) == ""
    drivers.free("a1")
    assert drivers.ask("one", "a2") == ""
    assert drivers.ask("two", "b", priority=5) == "b"
    drivers.free("b")
    assert drivers.ask("one", "a2") == "a2"


def test_priorities_may_be_of_any_size(drivers: Drivers) -> None:
    assert drivers.ask("one", "a1", priority=10**9) == "a1"
    assert drivers.ask("two", "b", priority=10**20) == ""
    assert drivers.ask("three", "c", priority=-(10**20)) == ""
    drivers.free("a1")
    assert drivers.ask("one", "a2", priority=10**9) == ""
    assert drivers.ask("two", "b", priority=10**20) == "b"
    drivers.free("b")
    assert drivers.ask("three", "c", priority=-(10**20)) == ""
    assert drivers.ask("one", "a2", priority=10**9) == "a2"


def test_slots_are_left_for_as_many_steps_as_wait_before_others(drivers: Drivers) -> None:
    drivers.store.set_pool("db", 0)
    assert drivers.ask("two", "b1", "b2", priority=5) == ""
    drivers.store.set_pool("db", 3)
    assert drivers.ask("one", "a1", "a2") == "a1"
    assert drivers.ask("three", "c", priority=6) == "c"
    assert drivers.ask("two", "b1", "b2", priority=5) == "b1"


def test_with_the_same_priority_they_take_turns(drivers: Drivers) -> None:
    """Not at each step: that leaves the slot free until the other looks."""
    got: list[str] = []
    for number in range(33):
        for who in ("one", "two") if got[-1:] != ["two"] else ("two", "one"):  # who had it asks first
            if drivers.ask(who, f"{who} {number}"):
                got.append(who)
        drivers.free(f"one {number}", f"two {number}")
        drivers.now += 0.5
    turns = [(who, len(list(steps))) for who, steps in itertools.groupby(got)]
    assert turns == [("one", 11), ("two", 11), ("one", 11)]


@pytest.mark.parametrize("later", [3.0, 100.0, -100.0])
def test_who_does_not_look_any_more_holds_up_nobody(drivers: Drivers, later: float) -> None:
    assert drivers.ask("one", "a1") == "a1"
    assert drivers.ask("two", "b", priority=5) == ""
    drivers.free("a1")
    assert drivers.ask("one", "a2") == ""
    drivers.now += later  # less where the machine, and its clock with it, were started again
    assert drivers.ask("one", "a2") == "a2"


def test_who_wants_nothing_more_holds_up_nobody(drivers: Drivers) -> None:
    assert drivers.ask("one", "a1") == "a1"
    assert drivers.ask("two", "b1", "b2", priority=5) == ""
    drivers.store.set_pool("db", 2)
    assert drivers.ask("two", "b1", priority=5) == "b1"  # b2 was canceled
    drivers.free("a1")
    assert drivers.ask("one", "a2") == "a2"


INSIDE: list[str] = []
MOST: list[int] = []
LOCK = threading.Lock()


@op(out=DynamicOut())
def parts():  # type: ignore[no-untyped-def]
    for number in range(4):
        yield DynamicOutput(number, mapping_key=str(number))


@op(pool="db")
async def uses(context: OpExecutionContext, part: int) -> int:
    import asyncio

    with LOCK:
        INSIDE.append(context.step_key)
        MOST.append(len(INSIDE))
    await asyncio.sleep(0.05)
    with LOCK:
        INSIDE.remove(context.step_key)
    return part


@job(executor_def=in_process_executor)
def fan() -> None:
    parts().map(uses)


def test_no_more_steps_than_slots_in_one_run_and_in_several(tmp_path: Path) -> None:
    with Instance.local_temp() as instance:
        instance.store.set_pool("db", 2)  # type: ignore[attr-defined]
        MOST.clear()
        with execute_job(fan, instance) as result:
            assert result.success
            notes = [event for event in result.all_events if isinstance(event, EngineNote)]
            assert [note.message for note in notes] == [
                "Steps wait for the pool 'db': all of its slots are in use, or for others."
            ]
        assert max(MOST) == 2
        instance.store.set_pool("db", 1)  # type: ignore[attr-defined]
        MOST.clear()
        results: list[bool] = []

        def run() -> None:
            with execute_job(fan, instance) as ended:
                results.append(ended.success)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 3
        assert max(MOST) == 1
        assert instance.store.used_slots() == {}  # type: ignore[attr-defined]


def test_a_loop_keeps_nothing_of_runs_that_waited_for_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a shard goes on for ever."""
    drivers: list[loop._Driver] = []

    class Kept(loop._Driver):
        def close(self) -> None:
            drivers.append(self)
            super().close()

    monkeypatch.setattr(loop, "_Driver", Kept)
    with Instance.local_temp() as instance:
        instance.store.set_pool("db", 1)  # type: ignore[attr-defined]
        with execute_job(fan, instance) as result:
            assert any(isinstance(event, EngineNote) for event in result.all_events)
    (driver,) = drivers
    assert not driver._said
    assert not driver._pooled


def test_a_run_that_waits_for_a_pool_can_be_canceled() -> None:
    with Instance.local_temp() as instance:
        store: ServiceStore = instance.store  # type: ignore[assignment]
        store.set_pool("db", 0)
        statuses: list[RunStatus] = []

        def run() -> None:
            with execute_job(fan, instance, run_id="11111111-1111-4111-8111-111111111111") as ended:
                statuses.append(ended.run.status)
                assert len([event for event in ended.all_events if isinstance(event, StepCanceled)]) == 4

        thread = threading.Thread(target=run)
        thread.start()
        until = time.monotonic() + 20
        while not (found := store.run("11111111-1111-4111-8111-111111111111")) or found.status is not RunStatus.STARTED:
            assert time.monotonic() < until
            time.sleep(0.02)
        cancel(store, found, "enough")
        thread.join(20)
        assert statuses == [RunStatus.CANCELED]


def test_who_has_lost_a_run_that_waits_for_a_pool_takes_no_slot_for_it() -> None:
    run_id = RunId("22222222-2222-4222-8222-222222222222")
    with Instance.local_temp() as instance:
        store: ServiceStore = instance.store  # type: ignore[assignment]
        store.set_pool("db", 0)
        stopped: list[str] = []

        def run() -> None:
            with pytest.raises(LeaseLost) as lost:
                execute_job(fan, instance, run_id=run_id)
            stopped.append(str(lost.value))

        thread = threading.Thread(target=run)
        thread.start()
        until = time.monotonic() + 20
        while not any(isinstance(event, EngineNote) for event in store.read(run_id)):
            assert time.monotonic() < until
            time.sleep(0.02)
        store.drop_lease(run_id, this_process())
        assert store.take_lease(run_id, "next", 10.0)
        store.set_pool("db", 1)
        thread.join(20)
        assert stopped == [f"Run {run_id} is driven by another process now; this one stops."]
        assert store.used_slots() == {}
