"""Days of schedules and sensors on a virtual clock, with daemons that die at every moment, against an oracle that knows
nothing of our cron.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from opgrid import (
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    RunRequest,
    SensorResult,
    daily_partitioned_config,
    job,
    op,
    schedule,
    sensor,
)
from opgrid.contracts.tasks import CodeTarget
from orchestrator.daemon.duties import Scheduler, Sensors
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import Instigator
from orchestrator.storage.sql.store import SqlStore
from tests.unit.daemon.here import Here

RUNNING = DefaultScheduleStatus.RUNNING


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


@schedule("30 2 * * *", job=plain, execution_timezone="America/New_York", default_status=RUNNING)
def at_night(context: Any) -> RunRequest:
    return RunRequest(tags={"at": str(context.scheduled_execution_time.timestamp())})


@schedule(["0 * * * *", "15 12 * * *"], job=plain, execution_timezone="America/New_York", default_status=RUNNING)
def hourly(context: Any) -> RunRequest:
    return RunRequest(tags={"at": str(context.scheduled_execution_time.timestamp())})


@schedule("5 0 * * *", job=daily, execution_timezone="America/New_York", default_status=RUNNING)
def partitions(context: Any) -> RunRequest:
    day = context.scheduled_execution_time.date() - timedelta(days=1)
    return RunRequest(run_key=day.isoformat(), partition_key=day.isoformat())


@sensor(job=plain, minimum_interval_seconds=600, default_status=DefaultSensorStatus.RUNNING)
def counts(context: Any) -> SensorResult:
    number = int(context.cursor or 0) + 1
    return SensorResult([RunRequest(run_key=str(number))], cursor=str(number))


CODE = CodeTarget(module=__name__)
DEFINITIONS = Definitions(jobs=[plain, daily], schedules=[at_night, hourly, partitions], sensors=[counts])


class Killed(BaseException):
    """The daemon, at this very moment."""


class Deadly:
    """A store that may die right before and right after it has stored a tick."""

    def __init__(self, store: ServiceStore, mortal: Callable[[], None]) -> None:
        self._store, self._mortal = store, mortal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit_tick(self, *given: Any, **more: Any) -> Any:
        self._mortal()
        found = self._store.commit_tick(*given, **more)
        self._mortal()
        return found


def simulate(
    store: ServiceStore,
    start: datetime,
    hours: int,
    mortal: Callable[[], None],
    outages: Sequence[tuple[int, int]] = (),
) -> int:
    """Turn by turn, in steps of two minutes; a daemon that dies is replaced at the next. Gives how many died."""
    now = [start.timestamp()]

    def daemon() -> tuple[Scheduler, Sensors]:
        locations: Any = [Here(store, CODE, mortal)]
        deadly: Any = Deadly(store, mortal)
        clock = lambda: now[0]  # noqa: E731
        return Scheduler(deadly, locations, clock), Sensors(deadly, locations, clock)

    duties, died = daemon(), 0
    for minute in range(0, hours * 60, 2):
        now[0] = start.timestamp() + minute * 60
        if any(begin <= minute < end for begin, end in outages):
            continue
        try:
            for duty in duties:
                states: list[Instigator] = store.instigators()
                duty.turn(states)
        except Killed:
            died += 1
            duties = daemon()
    return died


def never() -> None: ...


def by_hand(start: datetime, hours: int, zone: ZoneInfo, wanted: Callable[[datetime], bool]) -> list[float]:
    """Every minute of the days, looked at one by one; a wall time that comes twice counts once, one that is skipped
    counts where the clock goes on.
    """
    found: list[float] = []
    seen: set[datetime] = set()
    moment = start
    before: datetime | None = None
    while moment <= start + timedelta(hours=hours):
        wall = moment.astimezone(zone).replace(tzinfo=None, fold=0)
        walls = [wall]
        if before is not None and wall - before > timedelta(minutes=1):  # the clock was put forward
            skipped = int((wall - before).total_seconds() // 60)
            walls = [before + timedelta(minutes=number) for number in range(1, skipped + 1)]
        if any(wanted(each) and each not in seen for each in walls):
            found.append(moment.timestamp())
        seen.update(walls)
        before = wall
        moment += timedelta(minutes=1)
    return found


def launched(store: ServiceStore, name: str) -> list[float]:
    runs = store.launched(f"schedule:{CODE.location}:{name}")
    times = []
    for run_id in runs.values():
        run = store.run(run_id)
        assert run is not None
        times.append(float(run.tags["at"]))
    return sorted(times)


NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(datetime(2024, 3, 9, 12, 1, tzinfo=UTC), id="clock put forward"),
        pytest.param(datetime(2024, 11, 2, 12, 1, tzinfo=UTC), id="clock put back"),
        pytest.param(datetime(2024, 6, 1, 12, 1, tzinfo=UTC), id="neither"),
    ],
)
def test_no_tick_is_missing_and_none_is_doubled(tmp_path: Path, start: datetime) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    chance = random.Random(start.month)
    calls = [0]

    def mortal() -> None:
        calls[0] += 1
        if chance.random() < 0.15:
            raise Killed

    died = simulate(store, start, 48, mortal)
    assert died > 20
    night = by_hand(start, 48, NEW_YORK, lambda wall: (wall.hour, wall.minute) == (2, 30))
    # A tick waits for the next turn: the last one of the simulation may be out.
    assert [at for at in night if at <= start.timestamp() + 47.5 * 3600] == launched(store, "at_night")
    every = {start.timestamp() // 3600 * 3600 + 3600 * number for number in range(1, 49)}
    noon = by_hand(start, 48, NEW_YORK, lambda wall: (wall.hour, wall.minute) == (12, 15))
    found = launched(store, "hourly")
    assert len(found) == len(set(found))
    expected = sorted(at for at in every | set(noon) if start.timestamp() < at <= start.timestamp() + 47.5 * 3600)
    assert set(expected) >= set(found)
    assert len(expected) - len(found) <= died  # a later tick of the same schedule may overtake one whose daemon died
    keys = list(store.launched(f"schedule:{CODE.location}:partitions"))
    assert keys == sorted(set(keys))
    first = (start.astimezone(NEW_YORK)).date()
    assert keys[:2] == [first.isoformat(), (first + timedelta(days=1)).isoformat()]
    numbers = [int(key) for key in store.launched(f"sensor:{CODE.location}:counts")]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    store.close()


def test_what_was_missed_is_made_up_for(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    start = datetime(2024, 6, 1, 12, 1, tzinfo=UTC)
    simulate(store, start, 24 * 9, never, outages=[(60, 60 * 24 * 8)])
    hours = [datetime.fromtimestamp(at, UTC).hour for at in launched(store, "hourly")]
    assert len(hours) == 1 + 23 + 1  # one for all that were missed, those after it, and 12:15 in New York
    days = list(store.launched(f"schedule:{CODE.location}:partitions"))
    assert days == ["2024-06-04", "2024-06-05", "2024-06-06", "2024-06-07", "2024-06-08", "2024-06-09"]
    store.close()
