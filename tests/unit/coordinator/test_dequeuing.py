"""The queue goes on, whatever happened before."""

from __future__ import annotations

import dataclasses
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from opgrid import job, op
from opgrid.contracts.events import EngineNote, RunCanceled, RunCanceling, RunFailed, RunStarted
from opgrid.contracts.executor import Executor, Polled
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget, RunBrief, StepTask
from opgrid.errors import BrokerUnreachable, DatabaseUnreachable, SettingsError, ValueRefused
from opgrid.ids import RunId
from orchestrator.coordinator.coordinator import _HEARING, _IDLE, Coordinator
from orchestrator.coordinator.ownership import LEASE, end_canceled
from orchestrator.coordinator.queue import QueueLimits, RunTagLimit
from orchestrator.coordinator.shard_names import SHARDS, all_shards, shard_of
from orchestrator.coordinator.shards import Shard
from orchestrator.coordinator.shards import _plans as plans
from orchestrator.engine.pools import PoolSettings
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.storage.protocols import Fence
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.tables import contents
from orchestrator.storage.sql.turn import SqlTurn
from tests.waiting import eventually


@op(pool="db")
def nothing() -> None: ...


@job
def plain() -> None:
    nothing()


@op
def unpooled() -> None: ...


@job
def simple() -> None:
    unpooled()


class Started:
    """In place of processes: which runs were to be started."""

    def __init__(self) -> None:
        self.runs: list[RunId] = []

    def __contains__(self, run_id: object) -> bool:
        return False

    def start(self, run_id: RunId, python: str | None = None) -> None:
        self.runs.append(run_id)

    def look(self) -> None: ...

    def stop(self) -> None: ...


class GoingOn(Started):
    """The same, of processes that do not end."""

    def __contains__(self, run_id: object) -> bool:
        return run_id in self.runs


class Flaky:
    """A store that cannot be reached at first, or breaks, where something is dequeued."""

    def __init__(self, store: SqlStore, *errors: Exception) -> None:
        self._store, self._errors = store, list(errors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def dequeue(self, run_ids: Sequence[RunId], at: float, only: Fence) -> list[RunId]:
        if self._errors:
            raise self._errors.pop(0)
        return self._store.dequeue(run_ids, at, only)


class Overtaken:
    """A store whose process is frozen as it is about to dequeue for the first time: another one has taken its place
    when it goes on.
    """

    def __init__(self, store: SqlStore, instead: RunId) -> None:
        self._store, self._instead, self.is_over = store, instead, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def dequeue(self, run_ids: Sequence[RunId], at: float, only: Fence) -> list[RunId]:
        if not self.is_over:
            self.is_over = True
            self._store.let_go("queue", self._store.held()["queue"].owner)
            assert self._store.hold("queue", "elsewhere:1:1", LEASE)
            self._store.dequeue([self._instead], at)
        return self._store.dequeue(run_ids, at, only)


class Deaf:
    """A store whose bell rings, and is not heard."""

    def __init__(self, store: SqlStore) -> None:
        self._store, self.waited = store, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def wait_for_bell(self, timeout: float) -> bool:
        time.sleep(min(timeout, 0.02))
        self.waited += 1
        return False


class Refusing:
    """A store that takes nothing that is said of a run, but its end."""

    def __init__(self, store: SqlStore, run_id: RunId) -> None:
        self._store, self._run_id = store, run_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @contextmanager
    def turn(self) -> Iterator[SqlTurn]:
        with self._store.turn() as turn:
            yield turn
            if self._run_id in turn.told:
                raise ValueRefused("sqlite://", "it is too long", [self._run_id])


class Counted:
    """A store, and how often each of its methods was called."""

    def __init__(self, store: SqlStore) -> None:
        self._store, self.calls = store, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def counted(*args: Any, **more: Any) -> Any:
            self.calls[name] += 1
            return found(*args, **more)

        return counted


class Nowhere(Executor):
    """Takes steps, and never tells of them."""

    crosses_processes = True

    def __init__(self, taken: list[RunId]) -> None:
        self._taken, self._rung = taken, threading.Event()
        self.is_asked = False  #: its shard has found what it takes over

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        self._taken.append(run.run_id)

    def poll(self, timeout: float) -> Polled:
        self.is_asked = True
        self._rung.wait(timeout)
        self._rung.clear()
        return Polled((), "")

    def wake(self) -> None:
        self._rung.set()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}", PoolSettings(granularity="run"))
    yield made
    made.close()


def launch(store: SqlStore) -> RunId:
    code = CodeTarget(module=__name__)
    (run_id,) = store.launch([queued(prepare(Request(plain, executor="in_process", code=code)))])
    return run_id


@contextmanager
def running(store: Any, limits: QueueLimits | None = None) -> Iterator[Started]:
    started: Any = Started()
    with going_on(Coordinator(store, started, limits or QueueLimits(), None)):
        yield started


@contextmanager
def going_on(coordinator: Coordinator) -> Iterator[None]:
    thread = threading.Thread(target=coordinator.run)
    thread.start()
    try:
        yield
    finally:
        coordinator.stop()
        thread.join()


@pytest.mark.parametrize("error", [DatabaseUnreachable("It is away."), RuntimeError("a bug")])
def test_it_is_tried_again_after_a_failure(store: SqlStore, error: Exception) -> None:
    run_id = launch(store)
    with running(Flaky(store, error)) as started:
        eventually(lambda: started.runs == [run_id])


def test_who_dequeues_no_more_starts_nothing_beside_what_the_next_one_starts(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqlStore(database_url)
    first, second = launch(store), launch(store)
    overtaken = Overtaken(store, instead=second)
    with running(overtaken, QueueLimits(1)) as started:
        eventually(lambda: "queue is driven by another process now; this one stops." in caplog.messages)
        assert store.statuses([first, second]) == {first: RunStatus.QUEUED, second: RunStatus.STARTING}
        store.end_run(second, RunStatus.SUCCESS, [], time.time())
        store.let_go("queue", "elsewhere:1:1")
        eventually(lambda: first in started.runs)  # it stands by, and takes over again
    store.close()


def test_runs_that_are_started_together_cost_each_shard_one_transaction(store: SqlStore) -> None:
    code = CodeTarget(module=__name__)
    new = [queued(prepare(Request(simple, executor="celery", code=code))) for _ in range(30)]
    counted, taken, made = Counted(store), list[RunId](), list[Nowhere]()
    children: Any = Started()

    def make(name: str) -> Executor:
        made.append(Nowhere(taken))
        return made[-1]

    with going_on(Coordinator(counted, children, QueueLimits(-1), make)):  # type: ignore[arg-type]
        eventually(lambda: len(made) == SHARDS and all(each.is_asked for each in made))  # what was there is found
        runs = store.launch(new)
        eventually(lambda: len(taken) == 30)
    assert sorted(taken) == sorted(runs)
    assert counted.calls["dequeue"] == 1
    assert counted.calls["turn"] <= SHARDS
    assert counted.calls["content"] <= 1  # their plan is the same
    assert counted.calls["read"] == counted.calls["events"] == 0  # they have just been started


def test_a_pool_that_gets_a_limit_lets_runs_go(store: SqlStore) -> None:
    store.set_pool("db", 0)
    run_id = launch(store)
    with running(store) as started:
        eventually(lambda: "queue" in store.held())
        time.sleep(0.6)  # it has looked
        assert started.runs == []
        store.set_pool("db", 1)
        eventually(lambda: started.runs == [run_id])


def test_a_tag_that_is_changed_while_its_run_waits(store: SqlStore) -> None:
    run_id = launch(store)
    store.add_tags(run_id, {"held": "yes"})
    with running(store, QueueLimits(10, (RunTagLimit("held", 0, "yes"),))) as started:
        eventually(lambda: "queue" in store.held())
        time.sleep(0.6)  # it has looked
        assert started.runs == []
        store.add_tags(run_id, {"held": "no"})
        eventually(lambda: started.runs == [run_id])


def test_a_run_that_is_made_more_urgent_while_it_waits(store: SqlStore) -> None:
    first, second, third = (launch(store) for _ in range(3))
    with running(store, QueueLimits(1)) as started:
        eventually(lambda: started.runs == [first])
        time.sleep(0.6)  # it has looked
        store.add_tags(third, {"opgrid/priority": "5"})
        store.end_run(first, RunStatus.SUCCESS, [], time.time())
        eventually(lambda: len(started.runs) == 2)
        store.end_run(third, RunStatus.SUCCESS, [], time.time())
        eventually(lambda: len(started.runs) == 3)
    assert started.runs == [first, third, second]


def test_a_process_that_cannot_be_started_fails_its_run(store: SqlStore, tmp_path: Path) -> None:
    from orchestrator.coordinator.children import Children

    prepared = prepare(Request(plain, executor="in_process", code=CodeTarget(module=__name__)))
    lost = dataclasses.replace(prepared, code=CodeTarget(module=__name__, python="/nowhere/python"))
    (run_id,) = store.launch([queued(lost)])
    coordinator = Coordinator(store, Children(store, tmp_path, {}), QueueLimits(), None)
    thread = threading.Thread(target=coordinator.run)
    thread.start()
    try:
        eventually(lambda: store.statuses([run_id])[run_id] is RunStatus.FAILURE)
    finally:
        coordinator.stop()
        thread.join()
    *_, last = store.read(run_id)
    assert "/nowhere/python cannot be started" in str(last)


def test_how_processes_start_is_refused_where_it_is_neither_on_nor_off(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.coordinator.children import Children

    monkeypatch.setenv("OPGRID_ZYGOTE", "no")
    with pytest.raises(SettingsError, match="OPGRID_ZYGOTE is 'no': it has to be 'on' or 'off'"):
        Children(store, tmp_path, {})


def test_a_run_fails_for_which_no_file_can_be_opened(store: SqlStore, tmp_path: Path) -> None:
    from orchestrator.coordinator.children import CannotStart, Children

    most, hardest = resource.getrlimit(resource.RLIMIT_NOFILE)
    children = Children(store, tmp_path, {})
    next_file = os.open(os.devnull, os.O_RDONLY)
    os.close(next_file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next_file, hardest))
    try:
        with pytest.raises(CannotStart, match="Too many open files"):
            children.start(RunId("run"), CodeTarget(module=__name__))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hardest))
    assert "run" not in children


def test_who_hears_the_bell_looks_seldom_and_who_does_not_more_often(store: SqlStore) -> None:
    started: Any = Started()
    hearing = Coordinator(store, started, QueueLimits(), None)
    with going_on(hearing):
        eventually(lambda: hearing._rest() == _HEARING)
    deaf = Deaf(store)
    other = Coordinator(deaf, started, QueueLimits(), None)  # type: ignore[arg-type]
    with going_on(other):
        eventually(lambda: "queue" in store.held() and deaf.waited > 20)
        assert other._rest() == _IDLE


def test_one_that_stands_by_says_so_once(store: SqlStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "opgrid.orchestrator")
    for name in [*all_shards(), "queue"]:
        assert store.hold(name, "elsewhere:1:1", LEASE)
    waiting = Coordinator(store, Started(), QueueLimits(), None)  # type: ignore[arg-type]
    for _ in range(3):
        waiting._hold(time.monotonic())
    assert caplog.messages == ["Others drive all runs: this process stands by."]
    store.let_go("queue", "elsewhere:1:1")
    waiting._hold(time.monotonic())
    assert caplog.messages[1:] == ["queue is ours."]


def test_a_run_of_which_the_database_takes_nothing_holds_up_no_other_of_its_shard(store: SqlStore) -> None:
    code = CodeTarget(module=__name__)
    ids = [run_id for run_id in map(str, range(30)) if shard_of(run_id) == shard_of("0")]
    new = [queued(prepare(Request(simple, executor="celery", code=code, run_id=run_id))) for run_id in ids]
    bad, *good = store.launch(new)
    refusing, taken, children = Refusing(store, bad), list[RunId](), Started()
    limits = QueueLimits(-1)
    with going_on(Coordinator(refusing, children, limits, lambda shard: Nowhere(taken))):  # type: ignore[arg-type]
        eventually(lambda: set(taken) == set(good))
        eventually(lambda: store.statuses([bad])[bad] is RunStatus.FAILURE)
    (failed,) = [event for event in store.read(bad) if isinstance(event, RunFailed)]
    assert "refuses a value: it is too long" in (failed.reason or "")


def test_a_process_that_goes_on_is_the_only_one_of_its_run_when_its_shard_comes_back(store: SqlStore) -> None:
    run_id, taken = launch(store), list[RunId]()
    shard, children = shard_of(run_id), GoingOn()
    coordinator = Coordinator(store, children, QueueLimits(), lambda name: Nowhere(taken))  # type: ignore[arg-type]

    def turn() -> bool:
        """Whether it has the shard then."""
        coordinator._renew_at = 0.0
        coordinator._turn()
        return shard in coordinator._shards

    try:
        assert turn()
        store.let_go(shard, store.held()[shard].owner)
        assert store.hold(shard, "elsewhere:1:1", LEASE)
        assert not turn()
        store.let_go(shard, "elsewhere:1:1")
        assert turn()
    finally:
        coordinator._close()
    assert children.runs == [run_id]


def test_a_run_whose_plan_cannot_be_read_holds_up_no_other_of_its_shard(store: SqlStore) -> None:
    code = CodeTarget(module=__name__)
    ids = [RunId(f"run-{number}") for number in range(2 * SHARDS)]
    jobs = [plain, *[simple] * (len(ids) - 1)]
    new = [
        queued(prepare(Request(each, executor="celery", code=code, run_id=run_id)))
        for run_id, each in zip(ids, jobs, strict=True)
    ]
    store.launch(new)
    store.dequeue(ids, 1.0)
    with store.turn() as turn:
        for run_id in ids:
            turn.append(run_id, [RunStarted(run_id=run_id, at=2.0)])
            turn.set_status(run_id, RunStatus.STARTED, 2.0)
    with store._writing() as connection:
        broken = contents.c.hash == new[0].record.plan
        connection.execute(update(contents).where(broken).values(body=b"no plan"))
    taken: list[RunId] = []
    plans.clear()
    with going_on(Coordinator(store, Started(), QueueLimits(), lambda shard: Nowhere(taken))):  # type: ignore[arg-type]
        eventually(lambda: set(taken) == set(ids[1:]))
        eventually(lambda: store.run(ids[0]).status is RunStatus.FAILURE)  # type: ignore[union-attr]
    (failed,) = [event for event in store.read(ids[0]) if isinstance(event, RunFailed)]
    assert "plan" in (failed.reason or "")


def test_a_shard_that_another_holds_by_now_takes_no_slot_for_a_step_that_waits(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    store.set_pool("db", 0)
    code = CodeTarget(module=__name__)
    (run_id,) = store.launch([queued(prepare(Request(plain, executor="celery", code=code)))])
    store.dequeue([run_id], 1.0)
    name, taken = shard_of(run_id), list[RunId]()
    lease = store.hold(name, "frozen", LEASE)
    assert lease is not None
    shard = Shard(name, store, lease, lambda shard: Nowhere(taken))
    try:
        eventually(lambda: any(isinstance(event, EngineNote) for event in store.read(run_id)))
        store.let_go(name, "frozen")
        assert store.hold(name, "next", LEASE)
        store.set_pool("db", 1)
        eventually(lambda: not shard.alive)
    finally:
        shard.stop()
        shard.join()
    assert store.used_slots() == {}
    assert taken == []
    store.close()


def test_a_shard_says_once_that_the_broker_is_away_and_that_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    lease = store.hold("shard-0", "one", LEASE)
    assert lease is not None
    failures, made = [1, 2], threading.Event()

    def make(shard: str) -> Executor:
        if failures:
            failures.pop()
            raise BrokerUnreachable("redis://host", "it is away")
        made.set()
        return Nowhere([])

    shard = Shard("shard-0", store, lease, make)
    try:
        assert made.wait(30)
    finally:
        shard.stop()
        shard.join()
    assert [message.partition(" after ")[0] for message in caplog.messages] == [
        f"shard-0: {BrokerUnreachable('redis://host', 'it is away')} Trying again.",
        "shard-0: The broker is there",
    ]
    store.close()


def test_a_shard_waits_for_a_broker_that_somebody_has_set_up_otherwise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    code = CodeTarget(module=__name__)
    (run_id,) = store.launch([queued(prepare(Request(simple, executor="celery", code=code)))])
    store.dequeue([run_id], 1.0)
    name = shard_of(run_id)
    lease = store.hold(name, "one", LEASE)
    assert lease is not None
    made = threading.Event()

    class Broken(Nowhere):
        def poll(self, timeout: float) -> Polled:
            raise ValueError("a bug, after which the shard is taken up again")

    outcomes: list[Executor | SettingsError] = [SettingsError("It evicts keys."), Broken([])]

    def make(shard: str) -> Executor:
        if outcomes:
            found = outcomes.pop()
            if isinstance(found, SettingsError):
                raise found
            return found
        made.set()
        return Nowhere([])

    shard = Shard(name, store, lease, make)
    try:
        assert made.wait(30)
    finally:
        shard.stop()
        shard.join()
    assert shard.fault is None
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "WARNING"]
    assert "It evicts keys." in caplog.messages[1]
    assert "The broker is there" in caplog.messages[2]
    store.close()


def test_a_shard_goes_on_without_a_run_that_somebody_has_ended(tmp_path: Path) -> None:
    """Before its coordinator sees it, and tells it so."""
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    code = CodeTarget(module=__name__)
    ids = [RunId(run_id) for run_id in map(str, range(30)) if shard_of(run_id) == shard_of("0")][:2]
    store.launch([queued(prepare(Request(simple, executor="celery", code=code, run_id=run_id))) for run_id in ids])
    store.dequeue(ids, 1.0)
    taken, stopped, (bad, good) = list[RunId](), list[RunId](), ids
    lease = store.hold(shard_of(bad), "one", LEASE)
    assert lease is not None

    class Releasing(Nowhere):
        def release(self, run_id: RunId) -> None:
            stopped.append(run_id)

    shard = Shard(shard_of(bad), store, lease, lambda shard: Releasing(taken))
    try:
        eventually(lambda: set(taken) == set(ids))
        end_canceled(store, bad, "by force")
        shard.cancel(bad, "enough")
        eventually(lambda: stopped == [bad])
        shard.cancel(good, "enough")
        eventually(lambda: any(isinstance(event, RunCanceling) for event in store.read(good)))
    finally:
        shard.stop()
        shard.join()
    assert [type(event) for event in store.read(bad)][-2:] == [RunCanceling, RunCanceled]
    assert sum(isinstance(event, RunCanceling) for event in store.read(bad)) == 1
    store.close()
