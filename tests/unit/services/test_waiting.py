"""Why steps wait, in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from opgrid import celery_executor, job, op
from opgrid.broker.presence import Presence
from opgrid.contracts.events import StepDispatched, StepStarted
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.wire import VERSION
from opgrid.ids import StepKey
from orchestrator.coordinator.fleet import REPORT, FleetReport
from orchestrator.engine.gates import Gate
from orchestrator.engine.pools import Slot
from orchestrator.planner.plan import Plan
from orchestrator.services.launching import Request, prepare
from orchestrator.services.waiting import why_steps_wait
from orchestrator.storage.records import RunRecord
from orchestrator.storage.sql.store import SqlStore


@op
def plain() -> None: ...


@op(tags={"opgrid/queue": "gpu"})
def learn() -> None: ...


@op(pool="db")
def write() -> None: ...


@job(executor_def=celery_executor)
def mixed() -> None:
    plain()
    learn()
    write.alias("write_1")()
    write.alias("write_2")()


@op(tags={"db": "small"})
def query() -> None: ...


@job
def limited() -> None:
    for number in range(4):
        query.alias(f"query_{number}")()


@op(tags={"db": "small", "opgrid/executor": "celery"})
def ask() -> None: ...


@job
def far() -> None:
    for number in range(4):
        ask.alias(f"ask_{number}")()


@op(pool="db", tags={"db": "large"})
def read() -> None: ...


@job
def pooled() -> None:
    for number in range(3):
        read.alias(f"read_{number}")()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    yield made
    made.close()


@pytest.fixture
def run(store: SqlStore) -> RunRecord:
    return going(store, Request(mixed))


def going(store: SqlStore, request: Request) -> RunRecord:
    """It goes on, and none of its steps has started."""
    prepared = prepare(request)
    store.create_run(prepared.record, prepared.plan.to_json(), prepared.snapshot.to_json())
    run_id = prepared.record.run_id
    with store.turn() as turn:
        events = [StepDispatched(run_id=run_id, at=1.0, step=StepKey(key), attempt=1) for key in prepared.plan.keys]
        turn.append(run_id, events)
        turn.set_status(run_id, RunStatus.STARTED, 1.0)
    found = store.run(run_id)
    assert found is not None
    return found


def starts(store: SqlStore, run: RunRecord, step: StepKey) -> None:
    with store.turn() as turn:
        turn.append(run.run_id, [StepStarted(run_id=run.run_id, at=2.0, step=step, attempt=1, worker="w1@here", pid=1)])


def why(store: SqlStore, run: RunRecord) -> list[str]:
    waiting = [step.step for step in store.steps_of([run.run_id], StepStatus.DISPATCHED).get(run.run_id, ())]
    return why_steps_wait(store, run, Plan.from_json(store.content(run.plan)), waiting)


def report(store: SqlStore, *workers: Presence, error: str | None = None) -> None:
    now = time.time()
    store.put_report(REPORT, msgspec.json.encode(FleetReport(now, workers, error=error)), now)


def test_nobody_has_looked_for_workers(store: SqlStore, run: RunRecord) -> None:
    assert why(store, run) == [
        "1 step waits for a worker; no orchestrator has looked for workers yet.",
        "3 steps wait for a worker; no orchestrator has looked for workers yet.",
    ]


def test_a_queue_that_nobody_serves_and_one_that_is_busy(store: SqlStore, run: RunRecord) -> None:
    report(store, Presence("w1@here", ("opgrid",), 2, speaks=VERSION))
    starts(store, run, StepKey("plain"))
    assert why(store, run) == [
        "1 step waits in the queue 'gpu', which no worker serves. Start one with: opgrid worker start -q gpu",
        "2 steps wait in the queue 'opgrid': 1 of 2 processes of its workers are busy.",
    ]


def test_workers_of_another_version_serve_nothing(store: SqlStore, run: RunRecord) -> None:
    old = Presence("w1@here", ("opgrid", "gpu"), 2, release="0.0.9", speaks=VERSION - 1)
    mute = msgspec.json.decode(b'{"name": "w0@here", "queues": ["gpu"], "concurrency": 2}', type=Presence)
    report(store, old, mute, Presence("w2@here", ("opgrid",), 1, speaks=VERSION))
    told = (
        " Workers of another version of opgrid do, and get nothing of this one: 'w0@here (an older one)', "
        "'w1@here (0.0.9)'."
    )
    assert why(store, run) == [
        f"1 step waits in the queue 'gpu', which no worker serves.{told} Start one with: opgrid worker start -q gpu",
        "3 steps wait in the queue 'opgrid': 0 of 1 processes of its workers are busy.",
    ]


def test_a_pool_that_is_full(store: SqlStore, run: RunRecord) -> None:
    report(store, error="The broker does not answer: nobody is there")
    store.set_pool("db", 1)
    assert store.take_slots(dict.fromkeys([Slot("db", run.run_id, StepKey("write_1"))], 0))
    said = why(store, run)
    assert said[0] == "1 step waits for the pool 'db': 1 of its slots are in use."
    assert said[1].endswith("The broker does not answer: nobody is there")


def test_what_waits_for_an_approval_is_told_elsewhere(store: SqlStore, run: RunRecord) -> None:
    steps = [StepKey(key) for key in ("plain", "learn", "write_1", "write_2")]
    store.open_gates([Gate(run.run_id, step, "?", 1.0) for step in steps])
    assert why(store, run) == []


def test_a_run_that_has_ended_waits_for_nothing(store: SqlStore, run: RunRecord) -> None:
    with store.turn() as turn:
        turn.set_status(run.run_id, RunStatus.CANCELED, 3.0)
    ended = store.run(run.run_id)
    assert ended is not None and why(store, ended) == []


def test_others_with_the_same_tag(store: SqlStore) -> None:
    limit = {"key": "db", "value": "small", "limit": 2}
    config = {"execution": {"config": {"tag_concurrency_limits": [limit]}}}
    run = going(store, Request(limited, config, "multiprocess"))
    told = ["2 steps wait for others with the tag 'db=small': at most 2 of them run at once."]
    for number in range(2):
        assert why(store, run) == told, "two are on their way, or run"
        starts(store, run, StepKey(f"query_{number}"))
    assert why(store, run) == told


def test_what_is_in_a_queue_counts_as_the_limiter_counts_it(store: SqlStore) -> None:
    config = {"execution": {"config": {"tag_concurrency_limits": [{"key": "db", "limit": 3}]}}}
    run = going(store, Request(far, config, "multiprocess"))
    report(store, Presence("w1@here", ("opgrid",), 2, speaks=VERSION))
    starts(store, run, StepKey("ask_0"))
    assert why(store, run) == [
        "1 step waits for others with the tag 'db': at most 3 of them run at once.",
        "2 steps wait in the queue 'opgrid': 1 of 2 processes of its workers are busy.",
    ]


@pytest.mark.parametrize(
    ("limit", "size", "begun", "told"),
    [
        pytest.param(
            2,
            1,
            False,
            [
                "1 step waits for the pool 'db': 1 of its slots are in use.",
                "1 step waits for others with the tag 'db': at most 2 of them run at once.",
            ],
            id="it is out, however it is called",
        ),
        pytest.param(
            1,
            5,
            True,
            ["2 steps wait for others with the tag 'db': at most 1 of them run at once."],
            id="others, which it holds back, do not wait for the pool yet",
        ),
    ],
)
def test_what_has_a_slot_of_a_pool(store: SqlStore, limit: int, size: int, begun: bool, told: list[str]) -> None:
    config = {"execution": {"config": {"tag_concurrency_limits": [{"key": "db", "limit": limit}]}}}
    run = going(store, Request(pooled, config, "multiprocess"))
    store.set_pool("db", size)
    step = StepKey("read_2")
    assert store.take_slots({Slot("db", run.run_id, step): 0})
    if begun:
        starts(store, run, step)
    assert why(store, run) == told
