"""What every store promises, whatever it stands on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    AssetMaterialized,
    ErrorInfo,
    EventType,
    LogMessage,
    LossCause,
    RetryDue,
    RunStarted,
    RunSucceeded,
    StepDispatched,
    StepFailed,
    StepLost,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.facts import AssetKey
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import CodeTarget, JobRef, OutputRef, RunBrief
from opgrid.contracts.told import decode_reports, encode_reports
from opgrid.errors import RunAlreadyExists, UnknownCursor
from opgrid.ids import RunId, StepKey
from orchestrator.storage.memory import MemoryStore
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import (
    LOCATION_TAG,
    EventRecordsFilter,
    EventsFilter,
    Lease,
    LeaseLost,
    RunRecord,
    RunsFilter,
    StepRecord,
)
from orchestrator.storage.sql.store import SqlStore

RUN = RunId("5b7c0a4e-1")
OTHER = RunId("5b7d-2")


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    match request.param:
        case "memory":
            made = MemoryStore()
        case "sqlite":
            made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
        case _:
            made = SqlStore(request.getfixturevalue("postgres_url"))
    yield made
    made.close()


def record(run_id: str = RUN, job: str = "nightly", created: float = 100.0, **tags: str) -> RunRecord:
    brief = RunBrief(
        run_id=RunId(run_id),
        job=JobRef(job, "structure-hash"),
        executor=ExecutorChoice("in_process"),
        run_config={"ops": {"a": {"config": {"x": [1, None, "ü\x00"]}}}},
        tags=tags,
    )
    code = CodeTarget(file="jobs.py")
    return RunRecord(RunId(run_id), job, RunStatus.NOT_STARTED, brief, "plan-hash", "snapshot-hash", code, created)


def create(store: Store, made: RunRecord | None = None, *first: AnyEvent) -> RunRecord:
    made = made or record()
    store.create_run(made, b"a plan \x00\xff", b"a snapshot", first)
    return made


def append(store: Store, *events: AnyEvent, run_id: RunId = RUN) -> None:
    with store.turn() as turn:
        turn.append(run_id, events)


def log(text: str, at: float = 1.0) -> LogMessage:
    return LogMessage(run_id=RUN, at=at, message=text)


def started(step: str, attempt: int = 1, at: float = 1.0) -> StepStarted:
    return StepStarted(run_id=RUN, at=at, step=StepKey(step), attempt=attempt, claim="c", worker="w", pid=7)


def succeeded(step: str) -> StepSucceeded:
    return StepSucceeded(run_id=RUN, at=2.0, step=StepKey(step), attempt=1)


# ---- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_is_read_back_as_it_was_created(store: Store) -> None:
    made = create(store, record(team="data"))
    assert store.run(RUN) == made
    assert store.content(made.plan) == b"a plan \x00\xff"
    assert store.content(made.snapshot) == b"a snapshot"


def test_what_is_not_there_is_told_apart(store: Store) -> None:
    assert store.run("none") is None
    assert store.events("none") == []
    assert list(store.read(RunId("none"))) == []
    assert store.steps("none") == []
    assert store.position("none") == ""
    with pytest.raises(KeyError):
        store.content("none")


def test_a_run_id_is_used_once(store: Store) -> None:
    create(store, record(), log("first"))
    with pytest.raises(RunAlreadyExists, match=RUN):
        create(store, record(job="another"), log("second"))
    assert [event for _, event in store.events(RUN)] == [log("first")]
    kept = store.run(RUN)
    assert kept is not None and kept.job == "nightly"


def test_runs_of_one_job_share_their_plan(store: Store) -> None:
    create(store, record(RUN))
    create(store, record(OTHER))
    assert store.content("plan-hash") == b"a plan \x00\xff"


def test_runs_are_listed_newest_first_by_what_is_asked(store: Store) -> None:
    create(store, record("r1", "nightly", 1.0, team="a"))
    create(store, record("r2", "hourly", 2.0, team="a", prio="1"))
    create(store, record("r3", "nightly", 3.0, team="b"))
    with store.turn() as turn:
        turn.set_status(RunId("r3"), RunStatus.STARTED, 4.0)

    def listed(wanted: RunsFilter | None = None, limit: int | None = None, cursor: str | None = None) -> list[str]:
        return [run.run_id for run in store.runs(wanted, limit, cursor)]

    assert listed() == ["r3", "r2", "r1"]
    assert listed(cursor="r2") == ["r1"]
    assert listed(cursor="r1") == []
    with pytest.raises(UnknownCursor):
        listed(cursor="r0")
    assert listed(limit=2) == ["r3", "r2"]
    assert listed(RunsFilter(job_name="nightly")) == ["r3", "r1"]
    assert listed(RunsFilter(statuses=(RunStatus.STARTED,))) == ["r3"]
    assert listed(RunsFilter(statuses=(RunStatus.STARTED, RunStatus.NOT_STARTED)), limit=2) == ["r3", "r2"]
    assert listed(RunsFilter(tags={"team": "a"})) == ["r2", "r1"]
    assert listed(RunsFilter(tags={"team": "a"}), limit=1) == ["r2"]
    assert listed(RunsFilter(tags={"team": "a", "prio": "1"})) == ["r2"]
    assert listed(RunsFilter(tags={"team": ["a", "b", "c"]})) == ["r3", "r2", "r1"]
    assert listed(RunsFilter(tags={"team": ("c", "a"), "prio": ["1"]})) == ["r2"]
    assert listed(RunsFilter(tags={"team": []})) == []
    assert listed(RunsFilter(run_ids=("r1", "r3"))) == ["r3", "r1"]
    assert listed(RunsFilter(run_ids=("r1", "r2"), job_name="hourly")) == ["r2"]


def test_runs_are_of_a_code_location_by_its_name_in_the_service(store: Store) -> None:
    for run_id, place in ("plain", "jobs.py"), ("unnamed", ""), ("other", "others.py"):
        made = record(run_id)
        brief = msgspec.structs.replace(made.brief, job=JobRef("nightly", "structure-hash", place))
        create(store, dataclasses.replace(made, brief=brief))
    create(store, record("renamed", **{LOCATION_TAG: "others.py"}))

    def of(location: str | None) -> list[str]:
        return [run.run_id for run in store.runs(RunsFilter(job_name="nightly", location=location))]

    assert of("jobs.py") == ["unnamed", "plain"]  # which location it is of is not known
    assert of("others.py") == ["renamed", "other", "unnamed"]
    assert of(None) == ["renamed", "other", "unnamed", "plain"]
    if isinstance(store, SqlStore):
        found = store.last_runs("others.py", ["nightly", "never"], 2)
        assert {job: [run.run_id for run in runs] for job, runs in found.items()} == {"nightly": ["renamed", "other"]}


def test_runs_are_found_by_their_times(store: Store) -> None:
    for number, created in enumerate((100.0, 200.0, 300.0)):
        create(store, record(f"r{number}", created=created))
    with store.turn() as turn:
        turn.set_status(RunId("r0"), RunStatus.STARTED, 350.0)
        turn.set_status(RunId("r1"), RunStatus.SUCCESS, 250.0)

    def listed(**times: float | datetime) -> list[str]:
        return [run.run_id for run in store.runs(RunsFilter(**times))]  # type: ignore[arg-type]

    assert listed(created_after=100.0) == ["r2", "r1"]
    assert listed(created_before=300.0) == ["r1", "r0"]
    assert listed(created_after=datetime.fromtimestamp(150), created_before=datetime.fromtimestamp(250, UTC)) == ["r1"]
    assert listed(updated_after=300.0) == ["r0"]
    assert listed(updated_before=300.0) == ["r1"]
    assert len(store.runs(RunsFilter(snapshot_id=record().snapshot))) == 3
    assert store.runs(RunsFilter(snapshot_id="another")) == []


def test_a_run_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    for run_id in ("5b7c", "5b7d", "5_7e"):
        create(store, record(run_id))
    assert store.find("5b7") == ["5b7d", "5b7c"]
    assert store.find("5b7", limit=1) == ["5b7d"]
    assert store.find("5_") == ["5_7e"], "_ is a character here, not a pattern"
    assert store.find("%") == []


def test_a_deleted_run_leaves_nothing(store: Store) -> None:
    create(store, record(RUN), log("mine"))
    create(store, record(OTHER), log("kept"))
    append(store, started("a"))
    with store.turn() as turn:
        for stream in (RUN, OTHER):
            turn.set_position(f"{stream}/celery", "7-0")
    store.delete_run(RUN)
    store.delete_run(RUN)
    assert (store.position(f"{RUN}/celery"), store.position(f"{OTHER}/celery")) == ("", "7-0")
    assert store.run(RUN) is None
    assert store.events(RUN) == []
    assert store.steps(RUN) == []
    assert store.run(OTHER) is not None
    assert len(store.events(OTHER)) == 1
    create(store, record(RUN))


# ---- logs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [15, 16, 31, 33, 128, 145, 300])
def test_many_events_of_a_turn_keep_their_order_and_the_last_word_on_each_step_counts(store: Store, count: int) -> None:
    keys = [f"step[{number}\t\\N\n\\.\n'ü\"]" for number in range(count)]
    said: list[AnyEvent] = [*map(started, keys), *(succeeded(key) for key in keys[::2])]
    create(store)
    append(store, *said)
    assert list(store.read(RUN)) == said
    numbers = [number for number, _ in store.events(RUN)]
    assert numbers == sorted(numbers)
    done = {each.step for each in store.steps(RUN) if each.status is StepStatus.SUCCESS}
    assert done == set(keys[::2])
    append(store, *(succeeded(key) for key in keys))
    assert all(each.status is StepStatus.SUCCESS and each.started == 1.0 for each in store.steps(RUN))


def test_events_come_back_equal_and_in_order(store: Store) -> None:
    said: list[AnyEvent] = [
        RunStarted(run_id=RUN, at=1.5),
        started("a[x/y 'ü']", at=2.0),
        LogMessage(run_id=RUN, at=2.1, message="NUL \x00 and \ud7ff 🜁", step=StepKey("a"), attempt=1),
        StepFailed(
            run_id=RUN,
            at=3.0,
            step=StepKey("a"),
            attempt=1,
            error=ErrorInfo("ValueError", "no", "trace", ErrorInfo("KeyError", "why"), {"rows": [1, 2.5, None]}),
        ),
        StepSucceeded(
            run_id=RUN,
            at=4.0,
            step=StepKey("a"),
            attempt=2,
            outputs=(OutputRef(RUN, StepKey("a"), "result", "k", 2, "c2", {"bytes": 12}),),
            seconds=0.25,
        ),
        RunSucceeded(run_id=RUN, at=5.0),
    ]
    create(store, None, *said[:1])
    append(store, *said[1:3])
    append(store, *said[3:])
    assert list(store.read(RUN)) == said
    assert [event for _, event in store.events(RUN)] == said


def test_events_are_read_from_where_one_stopped(store: Store) -> None:
    create(store)
    append(store, *(log(str(number)) for number in range(5)))
    numbers = [number for number, _ in store.events(RUN)]
    assert numbers == sorted(set(numbers))
    assert [event.message for _, event in store.events(RUN, after=numbers[1], limit=2)] == ["2", "3"]  # type: ignore[union-attr]
    assert store.events(RUN, after=numbers[-1]) == []


def told_by_steps(count: int) -> list[AnyEvent]:
    """What short steps tell, and amid it what failed, was made, or is long."""
    said: list[AnyEvent] = [RunStarted(run_id=RUN, at=0.5)]
    for number in range(count):
        step, at = f"step[{number}]", float(number)
        words = "X" * 40_000 if number % 50 == 20 else f"line {number}"
        said += [started(step, at=at), LogMessage(run_id=RUN, at=at, message=words, step=StepKey(step), attempt=1)]
        if number % 7 == 3:
            said.append(AssetMaterialized(run_id=RUN, at=at, step=StepKey(step), attempt=1, asset=("table",)))
        if number % 11 == 5:
            error = ErrorInfo("ValueError", "no")
            said.append(StepFailed(run_id=RUN, at=at, step=StepKey(step), attempt=1, error=error))
        else:
            said.append(succeeded(step))
    return [*said, RunSucceeded(run_id=RUN, at=99.0)]


def test_a_log_is_read_from_anywhere_by_pages_of_any_size(store: Store) -> None:
    create(store)
    said = told_by_steps(100)
    for start, end in ((0, 1), (1, 2), (2, 9), (9, 250), (250, len(said))):
        append(store, *said[start:end])
    everything = store.events(RUN)
    assert [event for _, event in everything] == said
    numbers = [number for number, _ in everything]
    assert numbers == sorted(set(numbers)) and numbers[0] > 0
    for place, number in enumerate(numbers):
        assert store.events(RUN, number, 3) == everything[place + 1 : place + 4]
        assert store.events(RUN, number - 1, 1) == everything[place : place + 1]
    for size in (1, 17, 64, 1000):
        read: list[tuple[int, AnyEvent]] = []
        while page := store.events(RUN, read[-1][0] if read else 0, size):
            read += page
            assert len(page) == size or len(read) == len(said)
        assert read == everything


@pytest.mark.parametrize("words", [5, 5000])
def test_what_was_told_by_the_way_is_read_as_if_each_event_had_come_alone(store: Store, words: int) -> None:
    create(store)
    said: list[AnyEvent] = []
    for number in range(20):
        step = StepKey(f"step[{number}]")
        lines = [LogMessage(run_id=RUN, at=1.0, message="X" * words, step=step, attempt=1) for _ in range(number)]
        said += [started(step), *lines, succeeded(step)]
    with store.turn() as turn:
        turn.append(RUN, decode_reports(encode_reports(said)))
    everything = store.events(RUN)
    assert [event for _, event in everything] == said
    numbers = [number for number, _ in everything]
    assert numbers == sorted(set(numbers)) and numbers[0] > 0
    wanted = EventsFilter((EventType.LOG_MESSAGE,), "step[7]")
    assert len(store.events(RUN, wanted=wanted)) == 7
    assert len(store.events(RUN, wanted=EventsFilter(text='"step[7]"'))) == 9
    assert store.events(RUN, numbers[100], 5) == everything[101:106]
    assert all(each.status is StepStatus.SUCCESS for each in store.steps(RUN))


@pytest.mark.parametrize(
    "wanted",
    [
        EventsFilter((EventType.STEP_START,)),
        EventsFilter((EventType.STEP_START, EventType.STEP_FAILURE)),
        EventsFilter((EventType.ASSET_MATERIALIZATION, EventType.RUN_SUCCESS)),
        EventsFilter(step="step[5]"),
        EventsFilter(step="step[1"),
        EventsFilter((EventType.LOG_MESSAGE,), "step[24]"),
        EventsFilter(text="LINE 7"),
        EventsFilter(text="xxxx"),
        EventsFilter(text="step_success"),
        EventsFilter((EventType.STEP_SUCCESS,), "step[7]", "step[7]"),
        EventsFilter(level=10),
        EventsFilter(level=20),
        EventsFilter(level=30),
        EventsFilter(step="step[4]", level=40),
    ],
    ids=str,
)
def test_of_a_log_one_reads_what_one_asks_for(store: Store, wanted: EventsFilter) -> None:
    create(store)
    append(store, *told_by_steps(60))
    everything = store.events(RUN)
    asked = [(number, event) for number, event in everything if wanted.fits(event)]
    assert store.events(RUN, wanted=wanted) == asked
    assert store.events(RUN, limit=3, wanted=wanted) == asked[:3]
    for number, _ in everything[::10]:
        assert store.events(RUN, number, 2, wanted) == [each for each in asked if each[0] > number][:2]
        assert store.events_before(RUN, number, 2, wanted) == [each for each in asked[::-1] if each[0] < number][:2]


@pytest.mark.parametrize("level", [0, 5, 10, 20, 25, 30, 40, 50, 100])
def test_what_has_a_level_at_least_is_found_wherever_it_lies(store: Store, level: int) -> None:
    create(store)
    levels = [20] * 70 + [5, 10, 30, 20, 25, 40, 50, 60] + [10] * 70 + [35]
    said: list[AnyEvent] = [
        LogMessage(run_id=RUN, at=1.0, message=f'"level":{n}', level=each) for n, each in enumerate(levels)
    ]
    lost = StepLost(run_id=RUN, at=1.0, step=StepKey("a"), attempt=1, cause=LossCause("gone"))
    said[100:100] = [lost, started("a"), StepUpForRetry(run_id=RUN, at=1.0, step=StepKey("a"), attempt=1)]
    append(store, *said)
    wanted = EventsFilter(level=level)
    assert [event for _, event in store.events(RUN, wanted=wanted)] == [event for event in said if wanted.fits(event)]


def test_each_run_has_its_own_log(store: Store) -> None:
    create(store, record(RUN))
    create(store, record(OTHER))
    with store.turn() as turn:
        turn.append(RUN, [log("one")])
        turn.append(OTHER, [log("two")])
        turn.append(RUN, [log("three")])
    assert [event.message for event in store.read(RUN)] == ["one", "three"]  # type: ignore[union-attr]
    assert [event.message for event in store.read(OTHER)] == ["two"]  # type: ignore[union-attr]


# ---- turns ---------------------------------------------------------------------------------------------------------


def test_a_turn_is_all_or_nothing(store: Store) -> None:
    create(store)
    with pytest.raises(RuntimeError, match="midway"), store.turn() as turn:
        turn.append(RUN, [started("a")])
        turn.set_status(RUN, RunStatus.STARTED, 1.0)
        turn.set_position("celery", "7-0")
        raise RuntimeError("midway")
    assert store.events(RUN) == []
    assert store.steps(RUN) == []
    assert store.position("celery") == ""
    kept = store.run(RUN)
    assert kept is not None and kept.status is RunStatus.NOT_STARTED


def test_statuses_carry_their_times(store: Store) -> None:
    create(store)
    for status, at in ((RunStatus.STARTING, 1.0), (RunStatus.STARTED, 2.0), (RunStatus.FAILURE, 3.0)):
        with store.turn() as turn:
            turn.set_status(RUN, status, at)
    ended = store.run(RUN)
    assert ended is not None
    assert (ended.status, ended.started, ended.ended) == (RunStatus.FAILURE, 2.0, 3.0)


def test_positions_move_on(store: Store) -> None:
    for position in ("1-0", "1-1"):
        with store.turn() as turn:
            turn.set_position("celery", position)
            turn.set_position("other", f"o{position}")
    assert (store.position("celery"), store.position("other")) == ("1-1", "o1-1")


# ---- steps ---------------------------------------------------------------------------------------------------------


def test_steps_stand_where_their_last_event_left_them(store: Store) -> None:
    create(store)
    append(store, *(StepDispatched(run_id=RUN, at=1.0, step=StepKey(key), attempt=1) for key in "abcd"))
    append(store, started("b", at=2.0), started("a", at=3.0))
    append(store, StepSucceeded(run_id=RUN, at=4.0, step=StepKey("a"), attempt=1))
    append(store, StepLost(run_id=RUN, at=5.0, step=StepKey("b"), attempt=1, cause=LossCause("killed")))
    append(store, StepSkipped(run_id=RUN, at=6.0, step=StepKey("z"), attempt=1))
    assert store.steps(RUN) == [
        StepRecord(StepKey("b"), StepStatus.DISPATCHED, 1, 2.0, None, "w"),
        StepRecord(StepKey("a"), StepStatus.SUCCESS, 1, 3.0, 4.0, "w"),
        StepRecord(StepKey("c"), StepStatus.DISPATCHED, 1),
        StepRecord(StepKey("d"), StepStatus.DISPATCHED, 1),
        StepRecord(StepKey("z"), StepStatus.SKIPPED, 1, None, 6.0),
    ]


def test_a_retried_step_shows_its_last_attempt(store: Store) -> None:
    create(store)
    append(store, started("a", at=1.0))
    append(store, StepUpForRetry(run_id=RUN, at=2.0, step=StepKey("a"), attempt=1, delay=1.0))
    assert store.steps(RUN) == [StepRecord(StepKey("a"), StepStatus.WAITING, 1, 1.0, None, "w")]
    append(store, RetryDue(run_id=RUN, at=3.0, step=StepKey("a"), attempt=2), started("a", 2, at=4.0))
    assert store.steps(RUN) == [StepRecord(StepKey("a"), StepStatus.RUNNING, 2, 4.0, None, "w")]
    failure = StepFailed(run_id=RUN, at=5.0, step=StepKey("a"), attempt=2, error=ErrorInfo("E", "no"))
    append(store, failure)
    assert store.steps(RUN) == [StepRecord(StepKey("a"), StepStatus.FAILURE, 2, 4.0, 5.0, "w")]


# ---- leases --------------------------------------------------------------------------------------------------------


def held_by(lease: Lease | None) -> tuple[str, int] | None:
    return None if lease is None else (lease.owner, lease.epoch)


def test_one_owner_at_a_time_and_each_its_own_epoch(store: Store) -> None:
    create(store)
    assert store.lease(RUN) is None
    assert held_by(store.take_lease(RUN, "one", 5.0)) == ("one", 1)
    assert store.take_lease(RUN, "two", 5.0) is None
    assert held_by(store.take_lease(RUN, "one", 0.1)) == ("one", 1), "renewed, not another epoch"
    assert held_by(store.lease(RUN)) == ("one", 1)
    time.sleep(0.11)
    assert held_by(store.take_lease(RUN, "two", 5.0)) == ("two", 2), "the first had expired"
    assert store.take_lease(RUN, "one", 5.0) is None


def test_a_clock_that_is_set_ends_no_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    create(store)
    store.take_lease(RUN, "one", 5.0)
    now = time.time
    for jump in (7200.0, -7200.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: now() + jump)
        assert store.take_lease(RUN, "two", 5.0) is None
        lease = store.lease(RUN)
        assert lease is not None
        assert 0 < lease.expires - time.time() <= 5, "by the clock of who asks"


def test_a_dropped_lease_is_free_and_the_next_has_another_epoch(store: Store) -> None:
    create(store)
    store.take_lease(RUN, "one", 5.0)
    store.drop_lease(RUN, "two")
    assert held_by(store.lease(RUN)) == ("one", 1), "only its owner drops it"
    store.drop_lease(RUN, "one")
    assert store.lease(RUN) is None
    assert held_by(store.take_lease(RUN, "one", 5.0)) == ("one", 2)


def test_a_run_is_stored_with_the_lease_of_who_drives_it(store: Store) -> None:
    made = record()
    lease = store.create_own_run(made, b"a plan", b"a snapshot", "one", 60.0)
    assert held_by(lease) == held_by(store.lease(RUN)) == ("one", 1)
    assert abs(lease.expires - time.time()) <= 60
    assert store.run(RUN) == made
    assert (store.content(made.plan), store.content(made.snapshot)) == (b"a plan", b"a snapshot")
    assert store.take_lease(RUN, "two", 60.0) is None
    with store.turn() as turn:
        turn.only_of_owner(RUN, 1)
    with pytest.raises(RunAlreadyExists):
        store.create_own_run(made, b"a plan", b"a snapshot", "two", 60.0)
    assert held_by(store.lease(RUN)) == ("one", 1)


def test_a_lease_is_kept_by_its_owner_only(store: Store) -> None:
    create(store)
    store.keep_lease(RUN, "one", 60.0)
    assert store.lease(RUN) is None, "none was taken"
    store.take_lease(RUN, "one", 0.01)
    time.sleep(0.02)
    store.keep_lease(RUN, "two", 60.0)
    store.keep_lease(RUN, "one", 60.0)
    assert held_by(store.lease(RUN)) == ("one", 1)
    assert store.take_lease(RUN, "two", 60.0) is None, "it goes on"
    store.keep_lease(RunId("none"), "one", 60.0)


@pytest.mark.parametrize("status", [status for status in RunStatus if status.is_final])
def test_the_lease_of_a_run_goes_when_the_run_ends(store: Store, status: RunStatus) -> None:
    create(store)
    store.take_lease(RUN, "one", 60.0)
    with store.turn() as turn:
        turn.set_status(RUN, RunStatus.STARTED, 1.0)
        assert not turn.ends(RUN)
    assert held_by(store.lease(RUN)) == ("one", 1)
    with store.turn() as turn:
        turn.set_status(RUN, status, 2.0)
        assert turn.ends(RUN)
        assert not turn.ends(RunId("none"))
    assert store.lease(RUN) is None
    store.keep_lease(RUN, "one", 60.0)
    assert store.lease(RUN) is None, "who renews it at the same moment does not take it again"
    with store.turn() as turn:
        turn.only_of_owner(RUN, 1)  # nobody else has driven it


def test_nobody_drives_a_run_that_is_not_there(store: Store) -> None:
    assert store.take_lease(RunId("none"), "one", 5.0) is None
    store.drop_lease(RunId("none"), "one")


@pytest.mark.parametrize("events", [1, 5000])
def test_a_turn_is_refused_whole_where_the_lease_is_of_another_epoch(store: Store, events: int) -> None:
    create(store)
    store.take_lease(RUN, "one", 0.01)
    time.sleep(0.02)
    store.take_lease(RUN, "two", 5.0)
    before = list(store.read(RUN))

    def tell(of: RunId, epoch: int) -> None:
        told = [StepStarted(run_id=RUN, at=1.0, step=StepKey(f"step_{number}"), attempt=1) for number in range(events)]
        with store.turn() as turn:
            turn.only_of_owner(of, epoch)
            turn.append(RUN, told)
            turn.set_status(RUN, RunStatus.STARTED, 1.0)
            turn.set_position("stream", "1-1")

    for of, epoch in [(RUN, 0), (RUN, 1), (RUN, 3), (RunId("none"), 1)]:
        with pytest.raises(LeaseLost, match=of):
            tell(of, epoch)
    assert list(store.read(RUN)) == before
    assert store.position("stream") == ""
    run = store.run(RUN)
    assert run is not None
    assert run.status is not RunStatus.STARTED
    tell(RUN, 2)
    assert len(list(store.read(RUN))) == len(before) + events
    assert store.position("stream") == "1-1"


def test_a_turn_that_says_nothing_is_refused_too(store: Store) -> None:
    create(store)
    store.take_lease(RUN, "one", 5.0)
    with pytest.raises(LeaseLost), store.turn() as turn:
        turn.only_of_owner(RUN, 2)
    with store.turn() as turn:
        turn.only_of_owner(RUN, 1)


# ---- assets and partitions -----------------------------------------------------------------------------------------


def test_what_a_turn_of_a_shard_costs_does_not_grow_with_the_runs_that_have_ended(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    worked = 0

    def count() -> int:
        nonlocal worked
        worked += 1
        return 0

    @sqlalchemy.event.listens_for(store._engine, "checkout")
    def _watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(count, 1)

    def cost_of_a_turn() -> int:
        before = worked
        with store.turn() as turn:
            turn.only_of_holder("shard-0", lease.epoch)
            turn.append(RUN, [log("said")])
        return worked - before

    lease = store.hold("shard-0", "one", 60.0)
    assert lease is not None
    create(store)
    cost = cost_of_a_turn()
    with store.turn() as turn:
        for number in range(100):
            ended = record(f"ended-{number}")
            turn.insert_run(ended, b"a plan", b"a snapshot", ())
            turn.set_status(ended.run_id, RunStatus.SUCCESS, 2.0)
    assert cost_of_a_turn() < cost + 100
    store.close()


def test_what_ops_materialized_is_found_by_its_key(store: Store) -> None:
    create(store)

    def made(*key: str) -> AssetMaterialized:
        return AssetMaterialized(run_id=RUN, at=1.0, step=StepKey("a"), attempt=1, asset=key)

    append(store, made("orders"), log("between"), made("others"))
    append(store, made("orders"))
    (first, event), (second, _) = store.materializations(("orders",))
    assert (event, first < second) == (made("orders"), True)
    assert [number for number, _ in store.materializations(("orders",), after=first)] == [second]
    assert store.materializations(("orders", "deep")) == []


def test_keys_of_dynamic_partitions_come_and_go(store: Store) -> None:
    store.add_dynamic_partitions("customers", ["b", "a", "b"])
    store.add_dynamic_partitions("customers", ["c", "a"])
    store.add_dynamic_partitions("others", ["x"])
    assert store.dynamic_partitions("customers") == ["b", "a", "c"]
    store.delete_dynamic_partitions("customers", ["a", "none"])
    assert store.dynamic_partitions("customers") == ["b", "c"]
    assert store.dynamic_partitions("others") == ["x"]
    assert store.dynamic_partitions("none") == []


def test_more_partitions_are_deleted_than_a_statement_can_name(store: Store) -> None:
    store.add_dynamic_partitions("customers", ["a"])
    store.delete_dynamic_partitions("customers", [f"gone {number}" for number in range(70_000)] + ["a"])
    assert store.dynamic_partitions("customers") == []


# ---- after a restart -----------------------------------------------------------------------------------------------


def test_what_was_stored_is_there_after_a_restart(database_url: str) -> None:
    first = SqlStore(database_url)
    made = create(first, None, log("before"))
    append(first, started("a"))
    with first.turn() as turn:
        turn.set_position("celery", "9-9")
    first.take_lease(RUN, "one", 5.0)
    first.close()
    again = SqlStore(database_url)
    try:
        assert again.run(RUN) == made
        assert list(again.read(RUN)) == [log("before"), started("a")]
        assert again.steps(RUN) == [StepRecord(StepKey("a"), StepStatus.RUNNING, 1, 1.0, None, "w")]
        assert again.position("celery") == "9-9"
        assert held_by(again.lease(RUN)) == ("one", 1)
    finally:
        again.close()


def test_two_stores_write_one_database(database_url: str) -> None:
    """Many threads over two connection pools: every turn lands, and one taker of a lease wins."""
    stores = [SqlStore(database_url), SqlStore(database_url)]
    create(stores[0])

    def write(number: int) -> None:
        with stores[number % 2].turn() as turn:
            turn.append(RUN, [log(str(number))])
            turn.set_position("celery", str(number))

    def take(number: int) -> Lease | None:
        return stores[number % 2].take_lease(RUN, f"owner-{number}", 5.0)

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(100)))
            taken = list(pool.map(take, range(16)))
        logged = [event.message for event in stores[1].read(RUN)]  # type: ignore[union-attr]
        assert sorted(map(int, logged)) == list(range(100))
        assert len([lease for lease in taken if lease is not None]) == 1
    finally:
        for each in stores:
            each.close()


def test_events_of_all_runs_are_found_by_kind_cursor_time_and_asset(store: Store) -> None:
    create(store)
    create(store, record(OTHER))
    made = [
        AssetMaterialized(run_id=run, at=at, step=StepKey("a"), attempt=1, asset=(name,))
        for run, at, name in ((RUN, 1.0, "x"), (OTHER, 2.0, "y"), (RUN, 3.0, "x"))
    ]
    for event in made:
        append(store, log("between"), event, run_id=event.run_id)
    kind = EventType.ASSET_MATERIALIZATION

    def found(limit: int | None = None, ascending: bool = True, **more: Any) -> list[AnyEvent]:
        records = store.event_records(EventRecordsFilter(kind, **more), limit, ascending)
        return [each.event_log_entry for each in records]

    assert found() == made
    assert found(ascending=False, limit=2) == made[:0:-1]
    assert found(asset_key=AssetKey("x"), limit=1, ascending=False) == [made[2]]
    assert found(after_timestamp=1.0, before_timestamp=3.0) == [made[1]]
    first = store.event_records(EventRecordsFilter(kind), 1, ascending=True)[0].storage_id
    assert found(after_cursor=first) == made[1:]
    assert found(storage_ids=[first]) == made[:1]
    assert store.event_records(EventRecordsFilter(EventType.STEP_START)) == []


@pytest.mark.parametrize("kind", [EventType.STEP_SUCCESS, EventType.STEP_FAILURE, EventType.RUN_START])
def test_events_of_all_runs_are_found_wherever_they_lie(store: Store, kind: EventType) -> None:
    for name in (RUN, OTHER):
        create(store, record(name))
        append(store, *(msgspec.structs.replace(event, run_id=name) for event in told_by_steps(60)), run_id=name)
    sized = len([event for event in told_by_steps(60) if kind is event.TYPE])
    every = store.event_records(EventRecordsFilter(kind), ascending=True)
    assert [each.run_id for each in every] == [RUN] * sized + [OTHER] * sized
    assert [each.storage_id for each in every] == sorted({each.storage_id for each in every})
    assert store.event_records(EventRecordsFilter(kind)) == every[::-1]
    assert store.event_records(EventRecordsFilter(kind), limit=3) == every[:-4:-1]
    for place in range(0, len(every), 5):
        number = every[place].storage_id
        after, before = EventRecordsFilter(kind, after_cursor=number), EventRecordsFilter(kind, before_cursor=number)
        assert store.event_records(after, 2, ascending=True) == every[place + 1 : place + 3]
        assert store.event_records(before, ascending=True) == every[:place]
        assert store.event_records(EventRecordsFilter(kind, storage_ids=[number])) == [every[place]]
    late = EventRecordsFilter(kind, after_timestamp=3.0, before_timestamp=20.0)
    assert store.event_records(late, ascending=True) == [each for each in every if 3.0 < each.timestamp < 20.0]
