"""Schedules and sensors that hang, beside those that do not."""

from __future__ import annotations

import random
import string
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opgrid import (
    DailyPartitionsDefinition,
    DefaultScheduleStatus,
    Definitions,
    MultiPartitionsDefinition,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    StaticPartitionsDefinition,
    build_schedule_from_partitioned_job,
    job,
    op,
    sensor,
)
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget, JobRef, RunBrief
from opgrid.ids import RunId
from orchestrator.daemon.duties import Scheduler, Sensors
from orchestrator.locations.location import PROCESSES
from orchestrator.locations.messages import (
    Answer,
    Asked,
    Evaluated,
    LocationInfo,
    ScheduleInfo,
    SensorInfo,
    TickRunStatus,
)
from orchestrator.locations.process import LocationAway, LocationBroken
from orchestrator.services import automation
from orchestrator.storage.records import RunRecord
from orchestrator.storage.service_records import Instigator, InstigatorKind, NewRun, Tick, TickStatus
from orchestrator.storage.sql.store import SqlStore
from tests.unit.daemon.here import Here

HANGING = [f"hangs_{number}" for number in range(6)]


class Hanging:
    """A location with the threads of a real one, in which some hang until their time is over."""

    name, loaded, error = "here", 1.0, None

    def __init__(self) -> None:
        several = [*HANGING, "good"]
        self.info = LocationInfo(
            self.name,
            schedules=tuple(ScheduleInfo(f"at_{name}", ("* * * * *",), "UTC", running=True) for name in several),
            sensors=tuple(SensorInfo(name, 0.0, running=True) for name in several),
        )
        self.lanes: dict[str, ThreadPoolExecutor] = {}
        self.hang = threading.Event()
        self.hanging = 0
        self.most = 0
        self.tried: list[str] = []
        self.answered: list[str] = []
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None], lane: str) -> Future[None]:
        return self.lanes.setdefault(lane, ThreadPoolExecutor(PROCESSES)).submit(work)

    def ask(self, asked: Asked, timeout: float, apart: bool = False) -> Answer:
        name: str = getattr(asked, "name", "")
        if "hangs" not in name:
            assert not apart
            self.answered.append(name)
            return Evaluated(skipped="nothing")
        with self._lock:
            assert apart is (name in self.tried)  # it leaves others their process
            self.tried.append(name)
            self.hanging += 1
            self.most = max(self.most, self.hanging)
        self.hang.wait(timeout)
        with self._lock:
            self.hanging -= 1
        raise LocationBroken(f"It took longer than {timeout:g} s, and its process was ended.")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    yield made
    made.close()


@pytest.mark.parametrize("duty", [Scheduler, Sensors])
def test_those_that_hang_hold_up_nobody_else(store: SqlStore, duty: type[Scheduler | Sensors]) -> None:
    location = Hanging()
    several: Any = [location]
    now = [0.0]
    made = duty(store, several, lambda: now[0], 0.3)
    good = "at_good" if duty is Scheduler else "good"

    def turn() -> None:
        now[0] += 61.0
        made.turn(store.instigators())
        time.sleep(0.01)

    until = time.monotonic() + 20
    while len(set(location.tried)) < len(HANGING):  # each has hung once: until then they look like any other
        assert time.monotonic() < until
        turn()
    made.wait()
    location.most = 0
    before = len(location.answered)
    tried = len(location.tried)
    while len(location.tried) < tried + 2 * len(HANGING):
        assert time.monotonic() < until
        turn()
    assert location.most == 1
    last = location.tried[-len(HANGING) :]
    assert sorted(last) == sorted(set(location.tried))  # and they take turns
    assert location.answered[before:].count(good) > 4 * len(HANGING)
    location.hang.set()
    made.wait()
    for threads in location.lanes.values():
        threads.shutdown()


def test_a_clock_that_is_set_back_keeps_no_sensor_waiting(store: SqlStore) -> None:
    location = Hanging()
    location.hang.set()
    several: Any = [location]
    now = [10_000.0]
    sensors = Sensors(store, several, lambda: now[0], 0.3)

    def answers() -> int:
        for _ in range(3):
            sensors.turn(store.instigators())
            sensors.wait()
        return location.answered.count("good")

    before = answers()
    now[0] -= 7200.0
    assert answers() > before
    for threads in location.lanes.values():
        threads.shutdown()


def test_a_schedule_goes_on_when_a_clock_that_was_ahead_is_set_back(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    location = Hanging()
    location.hang.set()
    several: Any = [location]
    now = [1_000_000.0]
    scheduler = Scheduler(store, several, lambda: now[0], 0.3)

    def answers() -> int:
        for _ in range(3):
            now[0] += 60.0
            scheduler.turn(store.instigators())
            scheduler.wait()
        return location.answered.count("at_good")

    answers()
    now[0] += 86400.0
    ahead = answers()
    now[0] -= 86400.0
    assert answers() > ahead
    (told,) = [tick for tick in store.ticks(location.name, "at_good", 99) if tick.reason != "nothing"]
    assert told.reason is not None and "The clock was ahead" in told.reason
    assert sum("Schedule at_good" in record.getMessage() for record in caplog.records) == 1
    for threads in location.lanes.values():
        threads.shutdown()


def test_schedules_do_not_wait_for_sensors(store: SqlStore) -> None:
    location = Hanging()
    several: Any = [location]
    now = [0.0]
    sensors = Sensors(store, several, lambda: now[0], 600.0)
    scheduler = Scheduler(store, several, lambda: now[0], 0.05)
    sensors.turn([])
    until = time.monotonic() + 60
    while "at_good" not in location.answered:
        assert time.monotonic() < until
        now[0] += 61.0
        scheduler.turn(store.instigators())
        time.sleep(0.02)
    assert "good" not in location.answered  # all threads of sensors are taken
    location.hang.set()
    sensors.wait()
    scheduler.wait()
    for threads in location.lanes.values():
        threads.shutdown()


class Breaking:
    """A location whose process breaks some times over each run that it is asked about."""

    name, loaded, error = "here", 1.0, None

    def __init__(self, times: int) -> None:
        self.info = LocationInfo(self.name, sensors=(SensorInfo("alert", 0.0, running=True, run_status="FAILURE"),))
        self.times = times
        self.asked: list[str] = []

    def submit(self, work: Callable[[], None], lane: str) -> Future[None]:
        done: Future[None] = Future()
        work()
        done.set_result(None)
        return done

    def ask(self, asked: Asked, timeout: float, apart: bool = False) -> Answer:
        assert isinstance(asked, TickRunStatus)
        self.asked.append(asked.run_id)
        if self.asked.count(asked.run_id) <= self.times:
            raise LocationBroken("It took longer than 5 s, and its process was ended.")
        return Evaluated(skipped=f"saw {asked.run_id}")


def failed(store: SqlStore, name: str) -> None:
    run_id = RunId(name)
    brief = RunBrief(run_id, JobRef("job", "h"), ExecutorChoice("celery"))
    store.launch([NewRun(RunRecord(run_id, "job", RunStatus.QUEUED, brief, "p", "s"), b"plan", b"snapshot")])
    store.fail_unstarted(run_id, "on purpose", 1.0)


@pytest.mark.parametrize(
    ("times", "asked", "seen"),
    [
        (0, ["a", "b"], ["a", "b"]),
        (2, ["a", "a", "a", "b", "b", "b"], ["a", "b"]),
        (9, ["a", "a", "a", "b", "b", "b"], []),
    ],
)
def test_a_run_is_not_forgotten_where_the_process_broke_that_was_asked_about_it(
    store: SqlStore, times: int, asked: list[str], seen: list[str]
) -> None:
    location = Breaking(times)
    several: Any = [location]
    now = [0.0]
    made = Sensors(store, several, lambda: now[0], 5.0)
    made.turn([])
    for name in ("a", "b"):
        failed(store, name)
    for _ in range(12):
        now[0] += 61.0
        made.turn(store.instigators())
    assert location.asked == asked
    assert [tick.reason for tick in reversed(store.ticks("here", "alert", 100)) if tick.reason] == [
        f"saw {name}" for name in seen
    ]


class Away:
    """A location whose code server is away, until ``there``."""

    name, loaded, error = "here", 1.0, None
    submit = Breaking.submit

    def __init__(self) -> None:
        self.info = LocationInfo(
            self.name,
            schedules=(ScheduleInfo("hourly", ("0 * * * *",), "UTC", running=True),),
            sensors=(SensorInfo("alert", 0.0, running=True, run_status="FAILURE"),),
        )
        self.there = False
        self.asked: list[object] = []

    def ask(self, asked: Asked, timeout: float, apart: bool = False) -> Answer:
        assert not apart  # nothing is wrong with who was asked
        self.asked.append(getattr(asked, "at", None) or getattr(asked, "run_id", None))
        if not self.there:
            raise LocationAway("The code server at 10.0.0.7:4000 cannot be reached: refused.")
        return Evaluated(skipped="seen")


def test_a_schedule_waits_for_a_code_server_that_is_away(store: SqlStore) -> None:
    location = Away()
    several: Any = [location]
    now = [1800.0]
    made = Scheduler(store, several, lambda: now[0], 5.0)
    made.turn([])
    now[0] = 3600.0
    for _ in range(3):
        made.turn(store.instigators())
        now[0] += 6.0
    made.turn(store.instigators())
    made.turn(store.instigators())  # and is not asked all the time
    assert location.asked == [3600.0] * 4
    assert made.next_at == now[0] + 5.0
    assert store.ticks("here", "hourly", 10) == []
    location.there = True
    now[0] -= 15.0  # the clock is set back, which keeps it waiting no longer
    made.turn(store.instigators())
    (tick,) = store.ticks("here", "hourly", 10)
    assert (tick.at, tick.status, tick.reason) == (3600.0, TickStatus.SKIPPED, "seen")


def test_a_run_is_not_forgotten_where_a_code_server_is_away(store: SqlStore) -> None:
    location = Away()
    several: Any = [location]
    now = [0.0]
    made = Sensors(store, several, lambda: now[0], 5.0)
    made.turn([])
    for name in ("a", "b"):
        failed(store, name)
    for _ in range(9):
        now[0] += 61.0
        made.turn(store.instigators())
    assert location.asked == ["a"] * 9
    location.there = True
    now[0] += 61.0
    made.turn(store.instigators())
    assert location.asked[9:] == ["a", "b"]


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("begin", [automation.start, automation.reset])
def test_a_sensor_on_runs_that_is_started_leaves_out_what_was_before(
    store: SqlStore, is_running: bool, begin: Callable[[SqlStore, str, SensorInfo], None]
) -> None:
    location = Breaking(0)
    info = SensorInfo("alert", 0.0, running=is_running, run_status="FAILURE")
    location.info = LocationInfo(location.name, sensors=(info,))
    several: Any = [location]
    now = [time.time()]
    made = Sensors(store, several, lambda: now[0], 5.0)

    def turns() -> None:
        for _ in range(3):
            now[0] += 61.0
            made.turn(store.instigators())

    for times in range(2):
        automation.stop(store, location.name, info)
        failed(store, f"while stopped {times}")
        turns()
        begin(store, location.name, info)
        failed(store, f"while running {times}")
        turns()
    runs_again = is_running or begin is automation.start
    assert location.asked == (["while running 0", "while running 1"] if runs_again else [])


def test_a_cursor_that_is_set_on_a_running_sensor_stays_when_it_is_started_again(store: SqlStore) -> None:
    info = SensorInfo("alert", 0.0, running=False, run_status="FAILURE")
    failed(store, "a")
    automation.start(store, "here", info)
    automation.set_cursor(store, "here", info, "0")
    automation.start(store, "here", info)
    assert automation.state_of(store, "here", info).cursor == "0"


def test_duties_know_when_the_next_tick_is_due(store: SqlStore) -> None:
    """The daemon sleeps until then."""
    location = Hanging()
    several: Any = [location]
    location.info = LocationInfo(
        location.name,
        schedules=(
            ScheduleInfo("hourly", ("0 * * * *",), "UTC", running=True),
            ScheduleInfo("soon", ("20 * * * *",), "UTC", running=True),
            ScheduleInfo("stopped", ("11 * * * *",), "UTC", running=False),
        ),
        sensors=(SensorInfo("good", 30.0, running=True), SensorInfo("off", 5.0, running=False)),
    )
    ten_past = 1_700_000_000 // 3600 * 3600 + 600.0
    now = [ten_past]
    scheduler, sensors = Scheduler(store, several, lambda: now[0]), Sensors(store, several, lambda: now[0])
    for duty in (scheduler, sensors):
        duty.turn(store.instigators())
    assert scheduler.next_at == ten_past + 600
    assert not scheduler.is_busy
    assert sensors.is_busy
    sensors.wait()
    now[0] += 10
    sensors.turn(store.instigators())
    assert sensors.next_at == ten_past + 30
    assert not sensors.is_busy
    now[0] = ten_past + 600
    scheduler.turn(store.instigators())
    assert scheduler.is_busy
    assert scheduler.next_at == ten_past + 3000
    scheduler.wait()
    for threads in location.lanes.values():
        threads.shutdown()


@op
def loads() -> None: ...


@job
def loading() -> None:
    loads()


KEYS = [name * 300 for name in "ab"]


@sensor(job=loading)
def long_keys(context: SensorEvaluationContext) -> SensorResult:
    return SensorResult([RunRequest(key) for key in KEYS], cursor="done")


@sensor(job=loading)
def long_tag(context: SensorEvaluationContext) -> SensorResult:
    letters = "".join(random.Random(1).choices(string.ascii_letters, k=9000))  # PostgreSQL compresses what is alike
    return SensorResult([RunRequest(tags={"tag": letters})], cursor="done")


@sensor(job=loading)
def nul_cursor(context: SensorEvaluationContext) -> SensorResult:
    return SensorResult([RunRequest()], cursor="a\0b")


@job(partitions_def=StaticPartitionsDefinition(["eu", "us"]))
def by_region() -> None:
    loads()


@job(
    partitions_def=MultiPartitionsDefinition(
        {"day": DailyPartitionsDefinition("2024-03-01"), "region": StaticPartitionsDefinition(["eu", "us"])}
    )
)
def by_day_and_region() -> None:
    loads()


every_day = build_schedule_from_partitioned_job(by_day_and_region, default_status=DefaultScheduleStatus.RUNNING)
every_region = build_schedule_from_partitioned_job(
    by_region, cron_schedule="@hourly", default_status=DefaultScheduleStatus.RUNNING
)

defs = Definitions(jobs=[loading], sensors=[long_keys, long_tag, nul_cursor], schedules=[every_day, every_region])


def ticked(store: SqlStore, name: str, times: int = 2) -> list[Tick]:
    location: Any = Here(store, CodeTarget(module=__name__))
    location.info = msgspec.structs.replace(
        location.info,
        sensors=[msgspec.structs.replace(each, running=True) for each in location.info.sensors if each.name == name],
    )
    now = [time.time()]
    sensors = Sensors(store, [location], lambda: now[0])
    for _ in range(times):
        now[0] += 61.0
        sensors.turn(store.instigators())
    return store.ticks(location.name, name)


def test_a_schedule_launches_its_keys_at_each_tick(store: SqlStore) -> None:
    several: Any = [Here(store, CodeTarget(module=__name__))]
    now = [1_709_640_000.0]
    scheduler = Scheduler(store, several, lambda: now[0])
    for _ in range(3):
        scheduler.turn(store.instigators())
        now[0] += 3600.0
    ticks = store.ticks(several[0].name, every_region.name)
    assert [(tick.status, len(tick.run_ids)) for tick in ticks] == [(TickStatus.SUCCESS, 2)] * 2
    assert sorted(run.tags["opgrid/run_key"] for run in store.runs()) == ["eu", "eu", "us", "us"]
    now[0] += 12 * 3600.0
    scheduler.turn(store.instigators())
    (tick,) = store.ticks(several[0].name, every_day.name)
    runs = [run for run in store.runs() if run.run_id in tick.run_ids]
    assert sorted(run.tags["opgrid/run_key"] for run in runs) == ["2024-03-05|eu", "2024-03-05|us"]


def test_a_long_key_launches_once(database_url: str) -> None:
    store = SqlStore(database_url)
    second, first = ticked(store, "long_keys")
    assert (first.status, len(first.run_ids)) == (TickStatus.SUCCESS, 2)
    assert (second.status, second.run_ids) == (TickStatus.SKIPPED, ())
    assert sorted(run.tags["opgrid/run_key"] for run in store.runs()) == KEYS
    store.close()


def test_a_long_key_that_an_older_version_has_launched_launches_no_more(store: SqlStore) -> None:
    origin = Instigator(Here(store, CodeTarget(module=__name__)).name, "long_keys", InstigatorKind.SENSOR).origin
    brief = RunBrief(RunId("r"), JobRef("loading", "h"), ExecutorChoice("celery"))
    record = RunRecord(RunId("r"), "loading", RunStatus.QUEUED, brief, "p", "s")
    store.launch([NewRun(record, b"p", b"s", origin=origin, key=KEYS[0])])
    (tick,) = ticked(store, "long_keys", times=1)
    assert len(tick.run_ids) == 1


@pytest.mark.postgres
def test_a_tick_that_the_database_refuses_fails_with_its_words(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    for tick in ticked(store, "long_tag"):
        assert tick.status is TickStatus.FAILURE
        assert tick.error is not None and tick.error.kind == "ValueRefused"
        assert "refuses a value: index row" in tick.error.message
    assert [state.cursor for state in store.instigators()] == [None]
    assert store.runs() == []
    store.close()


def test_a_tick_with_a_cursor_that_cannot_be_stored_fails(database_url: str) -> None:
    store = SqlStore(database_url)
    (tick,) = ticked(store, "nul_cursor", times=1)
    assert tick.error is not None and "NUL" in tick.error.message
    store.close()
