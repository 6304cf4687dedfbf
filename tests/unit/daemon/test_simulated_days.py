"""Days of schedules and sensors on a virtual clock, with daemons that die at every moment, against an oracle that knows
nothing of our cron.
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from opgrid import (
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    DynamicPartitionsDefinition,
    RunRequest,
    ScheduleDefinition,
    SensorResult,
    SkipReason,
    daily_partitioned_config,
    job,
    op,
    schedule,
    sensor,
)
from opgrid.contracts.tasks import CodeTarget
from orchestrator.daemon.duties import Scheduler, Sensors
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import Instigator, TickStatus
from orchestrator.storage.sql import statements
from orchestrator.storage.sql.statements import tell
from orchestrator.storage.sql.store import SqlStore
from tests.unit.daemon.here import Here

RUNNING = DefaultScheduleStatus.RUNNING
NEW_YORK, BERLIN, LORD_HOWE = (ZoneInfo(name) for name in ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe"))


@op
def nothing() -> None: ...


@job
def plain() -> None:
    nothing()


@daily_partitioned_config(start_date="2024-03-01", timezone="America/New_York")
def of_a_day(start: datetime, end: datetime) -> dict[str, Any]:
    return {}


@job(config=of_a_day)
def daily() -> None:
    nothing()


@dataclass(frozen=True)
class Known:
    """A schedule, and in other words when it ticks: which times of its clock, each once, or as the clock shows them."""

    name: str
    cron: str | list[str]
    zone: ZoneInfo
    wanted: Callable[[datetime], bool]
    by_clock: bool = False


def at(*times: tuple[int, int]) -> Callable[[datetime], bool]:
    return lambda wall: (wall.hour, wall.minute) in times


KNOWN = [
    Known("in_the_gap", "30 2 * * *", NEW_YORK, at((2, 30))),
    Known("shown_twice", "30 1 * * *", NEW_YORK, at((1, 30))),
    Known("hourly", "0 * * * *", NEW_YORK, lambda wall: wall.minute == 0, by_clock=True),
    Known("midnight", "@daily", BERLIN, at((0, 0))),
    Known(
        "several",
        ["15 2 * * *", "45 2 * * 6,0"],
        BERLIN,
        lambda wall: at((2, 15))(wall) or (at((2, 45))(wall) and wall.weekday() in (5, 6)),
    ),
    Known("half_an_hour_less", "15 2 * * *", LORD_HOWE, at((2, 15))),
    Known("half_hours", "*/30 * * * *", LORD_HOWE, lambda wall: wall.minute in (0, 30), by_clock=True),
]


def launch(context: Any) -> RunRequest:
    return RunRequest(tags={"at": str(context.scheduled_execution_time.timestamp())})


def on_odd_hours(context: Any) -> bool:
    return bool(context.scheduled_execution_time.hour % 2)


@schedule("5 0 * * *", job=daily, execution_timezone="America/New_York", default_status=RUNNING)
def partitions(context: Any) -> RunRequest:
    day = context.scheduled_execution_time.date() - timedelta(days=1)
    return RunRequest(run_key=day.isoformat(), partition_key=day.isoformat())


@schedule("20 * * * *", job=plain, should_execute=on_odd_hours, default_status=RUNNING)
def odd_hours(context: Any) -> RunRequest:
    return launch(context)


places = DynamicPartitionsDefinition(name="places")


@sensor(job=plain, minimum_interval_seconds=600, default_status=DefaultSensorStatus.RUNNING)
def counts(context: Any) -> SensorResult | SkipReason:
    """Every third time nothing; otherwise two runs and a partition."""
    number = int(context.cursor or 0) + 1
    context.update_cursor(str(number))
    if number % 3 == 0:
        return SkipReason("nothing new")
    requests = [RunRequest(run_key=f"{number}{half}") for half in "ab"]
    return SensorResult(requests, dynamic_partitions_requests=[places.build_add_request([str(number)])])


CODE = CodeTarget(module=__name__)
DEFINITIONS = Definitions(
    jobs=[plain, daily],
    schedules=[
        partitions,
        odd_hours,
        *(
            ScheduleDefinition(
                name=each.name,
                job=plain,
                cron_schedule=each.cron,
                execution_timezone=each.zone.key,
                execution_fn=launch,
                default_status=RUNNING,
            )
            for each in KNOWN
        ),
    ],
    sensors=[counts],
)


class Killed(BaseException):
    """The daemon, at this very moment."""


class KilledInside(Exception):
    """The same in the middle of a transaction, in words that make the driver roll back at once, as a death does."""


def never() -> None: ...


class Deadly:
    """A store that may die right before and right after it has stored a tick, and before and after each statement in
    between.
    """

    def __init__(self, store: SqlStore, mortal: Callable[[], None]) -> None:
        self._store, self._mortal = store, mortal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit_tick(self, *given: Any, **more: Any) -> Any:
        self._mortal()
        with self._statement_by_statement():
            found = self._store.commit_tick(*given, **more)
        self._mortal()
        return found

    @contextmanager
    def _statement_by_statement(self) -> Iterator[None]:
        def hit(*_: object) -> None:
            try:
                self._mortal()
            except Killed:
                raise KilledInside from None

        def told(*given: Any, **more: Any) -> Any:
            cursor = tell(*given, **more)
            hit()
            return cursor

        points = [("after_cursor_execute", hit), ("commit", hit)]
        for point in points:
            event.listen(self._store._engine, *point)
        try:
            with patch.object(statements, "tell", told):
                yield
        finally:
            for point in points:
                event.remove(self._store._engine, *point)


def simulate(
    store: SqlStore,
    start: datetime,
    minutes: int,
    mortal: Callable[[], None],
    outages: Sequence[tuple[int, int]] = (),
    every: int = 2,
) -> int:
    """Turn by turn, in steps of some minutes; a daemon that dies is replaced at the next. Gives how many died."""
    now = [start.timestamp()]

    def daemon() -> tuple[Scheduler, Sensors]:
        locations: Any = [Here(store, CODE, mortal)]
        deadly: Any = Deadly(store, mortal)
        clock = lambda: now[0]  # noqa: E731
        return Scheduler(deadly, locations, clock), Sensors(deadly, locations, clock)

    duties, died = daemon(), 0
    for minute in range(0, minutes, every):
        now[0] = start.timestamp() + minute * 60
        if any(begin <= minute < end for begin, end in outages):
            continue
        try:
            for duty in duties:
                states: list[Instigator] = store.instigators()
                duty.turn(states)
        except (Killed, KilledInside):
            died += 1
            duties = daemon()
    return died


def by_hand(start: datetime, minutes: int, known: Known) -> list[float]:
    """Every minute of the days, looked at one by one; a wall time that comes twice counts once, one that is skipped
    counts where the clock goes on; or simply what the clock shows.
    """
    found: list[float] = []
    seen: set[datetime] = set()
    before: datetime | None = None
    for minute in range(minutes + 1):
        moment = start + timedelta(minutes=minute)
        wall = moment.astimezone(known.zone).replace(tzinfo=None, fold=0)
        if known.by_clock:
            hit = known.wanted(wall)
        else:
            walls = [wall]
            if before is not None and wall - before > timedelta(minutes=1):  # the clock was put forward
                skipped = int((wall - before).total_seconds() // 60)
                walls = [before + timedelta(minutes=number) for number in range(1, skipped + 1)]
            hit = any(known.wanted(each) and each not in seen for each in walls)
            seen.update(walls)
        if hit and minute:
            found.append(moment.timestamp())
        before = wall
    return found


def launched(store: ServiceStore, name: str) -> list[float]:
    runs = store.launched(f"schedule:{CODE.location}:{name}")
    times = []
    for run_id in runs.values():
        run = store.run(run_id)
        assert run is not None
        times.append(float(run.tags["at"]))
    return sorted(times)


def days_launched(store: ServiceStore) -> list[str]:
    """By the schedule ``partitions``, in the order of its ticks."""
    found = [store.run(run_id) for run_id in store.launched(f"schedule:{CODE.location}:partitions").values()]
    return [run.tags["opgrid/partition"] for run in found if run is not None]


def check(store: ServiceStore, start: datetime, minutes: int) -> None:
    """Every schedule and sensor against what must have come of it by now."""
    for known in KNOWN:
        assert launched(store, known.name) == by_hand(start, minutes, known), known.name
        told = [tick.at for tick in store.ticks(CODE.location, known.name, 1000)]
        assert sorted(told) == by_hand(start, minutes, known), known.name
    every = [start + timedelta(minutes=minute) for minute in range(1, minutes + 1)]
    assert launched(store, "odd_hours") == [each.timestamp() for each in every if each.minute == 20 and each.hour % 2]
    midnights = [each.astimezone(NEW_YORK) for each in every]
    days = [each.date() - timedelta(days=1) for each in midnights if (each.hour, each.minute) == (0, 5)]
    assert days_launched(store) == [day.isoformat() for day in days]
    (state,) = [each for each in store.instigators() if each.name == "counts"]
    last = int(state.cursor or 0)
    keys = [f"{number}{half}" for number in range(1, last + 1) for half in "ab" if number % 3]
    runs = store.launched(f"sensor:{CODE.location}:counts")
    assert sorted(runs) == sorted(keys)
    assert sorted(store.dynamic_partitions("places"), key=int) == [str(n) for n in range(1, last + 1) if n % 3]
    ticks = store.ticks(CODE.location, "counts", 1000)
    assert [tick.status is TickStatus.SKIPPED for tick in ticks] == [n % 3 == 0 for n in range(last, 0, -1)]
    assert sorted(itertools.chain.from_iterable(tick.run_ids for tick in ticks)) == sorted(runs.values())


DAYS = [
    pytest.param(datetime(2024, 3, 9, 12, 1, tzinfo=UTC), id="New York put forward"),
    pytest.param(datetime(2024, 11, 2, 12, 1, tzinfo=UTC), id="New York put back"),
    pytest.param(datetime(2024, 3, 30, 12, 1, tzinfo=UTC), id="Berlin put forward"),
    pytest.param(datetime(2024, 10, 26, 12, 1, tzinfo=UTC), id="Berlin put back"),
    pytest.param(datetime(2024, 10, 5, 0, 1, tzinfo=UTC), id="Lord Howe put forward, by half an hour"),
    pytest.param(datetime(2024, 4, 6, 0, 1, tzinfo=UTC), id="Lord Howe put back, by half an hour"),
]
HOUR = 60


@pytest.mark.parametrize("start", DAYS)
def test_no_tick_is_missing_and_none_is_doubled(tmp_path: Path, start: datetime) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    assert simulate(store, start, 26 * HOUR, never, every=3) == 0
    check(store, start, 26 * HOUR - 3)
    assert len(store.ticks(CODE.location, "counts", 1000)) == 26 * HOUR // 12  # ten minutes, in steps of three
    store.close()


@pytest.mark.parametrize("start", DAYS[:2])
def test_whoever_dies(tmp_path: Path, start: datetime) -> None:
    """Again and again, anywhere."""
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    chance = random.Random(start.month)

    def mortal() -> None:
        if chance.random() < 0.02:
            raise Killed

    assert simulate(store, start, 26 * HOUR, mortal) > 20
    simulate(store, start + timedelta(hours=26), 10, never)  # what the last one has left
    check(store, start, 26 * HOUR + 8)
    store.close()


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(datetime(2024, 3, 10, 6, 50, tzinfo=UTC), id="put forward"),
        pytest.param(datetime(2024, 11, 3, 5, 22, tzinfo=UTC), id="put back"),
    ],
)
def test_whoever_dies_at_each_point_in_turn(tmp_path: Path, start: datetime) -> None:
    """Before and after the user's code is asked, before and after a tick is stored, at each statement of that."""
    empty = tmp_path / "empty.db"
    SqlStore(f"sqlite:///{empty}").close()
    minutes = 32

    def run(dies_at: int | None) -> int:
        path = tmp_path / f"{dies_at}.db"
        shutil.copy(empty, path)
        store = SqlStore(f"sqlite:///{path}")
        calls = itertools.count()

        def mortal() -> None:
            if next(calls) == dies_at:
                raise Killed

        assert simulate(store, start, minutes, mortal, every=4) == (dies_at is not None)
        simulate(store, start + timedelta(minutes=minutes), 8, never, every=4)  # what the last turn has left
        check(store, start, minutes + 4)
        store.close()
        path.unlink()
        return next(calls)

    points = run(None)
    assert points > 60
    for point in range(points):
        run(point)


def test_what_was_missed_is_made_up_for(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    start = datetime(2024, 6, 1, 12, 1, tzinfo=UTC)
    simulate(store, start, 24 * HOUR * 9, never, outages=[(60, HOUR * 24 * 8)], every=5)
    hours = launched(store, "hourly")
    assert len(hours) == 1 + 23  # one for all that were missed, and those after it
    assert days_launched(store) == ["2024-06-04", "2024-06-05", "2024-06-06", "2024-06-07", "2024-06-08", "2024-06-09"]
    store.close()
