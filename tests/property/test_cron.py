"""Ticks around clock changes, against an oracle that looks at every minute of the days around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opgrid.definitions.cron import Cron

#: A day of a change, in zones that change at night, at midnight, by half an hour, and across the date.
CHANGES = [
    ("Europe/Berlin", datetime(2024, 3, 31)),
    ("Europe/Berlin", datetime(2024, 10, 27)),
    ("America/New_York", datetime(2024, 3, 10)),
    ("America/New_York", datetime(2024, 11, 3)),
    ("America/Havana", datetime(2024, 3, 10)),  # midnight does not exist
    ("America/Havana", datetime(2024, 11, 3)),  # midnight exists twice
    ("America/Santiago", datetime(2024, 9, 8)),
    ("America/Santiago", datetime(2024, 4, 6)),  # 24:00 becomes 23:00
    ("Australia/Lord_Howe", datetime(2024, 10, 6)),  # half an hour
    ("Australia/Lord_Howe", datetime(2024, 4, 7)),
    ("Pacific/Apia", datetime(2011, 12, 30)),  # a day that did not exist
    ("UTC", datetime(2024, 3, 31)),
]

minutes = st.sets(st.sampled_from([0, 1, 15, 29, 30, 31, 45, 59]), min_size=1, max_size=3)
hours = st.sets(st.sampled_from([0, 1, 2, 3, 4, 12, 22, 23]), min_size=1, max_size=3)
weekdays = st.sampled_from([None, {0}, {1, 2, 3, 4, 5}, {6, 0}])


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.one_of(st.none(), minutes),
    st.one_of(st.none(), hours),
    weekdays,
    st.integers(-1500, 1500),
    st.booleans(),
)
def test_ticks_are_those_of_the_clock(
    change: tuple[str, datetime],
    at_minutes: set[int] | None,
    at_hours: set[int] | None,
    on_days: set[int] | None,
    shift: int,
    inclusive: bool,
) -> None:
    name, day = change
    zone = ZoneInfo(name)
    start = day.replace(tzinfo=zone).astimezone(UTC) + timedelta(minutes=shift)
    end = day.replace(tzinfo=zone).astimezone(UTC) + timedelta(days=3)
    expression = f"{_field(at_minutes)} {_field(at_hours)} * * {_field(on_days)}"

    found = []
    for tick in Cron((expression,), name).after(start, inclusive):
        if tick.astimezone(UTC) > end:
            break
        assert tick.tzinfo == zone
        found.append(tick.astimezone(UTC))

    wanted = [
        moment
        for moment in _oracle(zone, day, at_minutes, at_hours, on_days)
        if start < moment <= end or (inclusive and moment == start)
    ]
    assert found == wanted


def _field(values: set[int] | None) -> str:
    return "*" if values is None else ",".join(map(str, sorted(values)))


def _oracle(
    zone: ZoneInfo, day: datetime, at_minutes: set[int] | None, at_hours: set[int] | None, on_days: set[int] | None
) -> list[datetime]:
    begin = day.replace(tzinfo=zone).astimezone(UTC) - timedelta(days=4)
    every = [begin + timedelta(minutes=number) for number in range(9 * 24 * 60)]
    walls = [moment.astimezone(zone).replace(tzinfo=None) for moment in every]

    def named(wall: datetime) -> bool:
        return (
            (at_minutes is None or wall.minute in at_minutes)
            and (at_hours is None or wall.hour in at_hours)
            and (on_days is None or wall.isoweekday() % 7 in on_days)
        )

    if at_minutes is None or at_hours is None:
        return [moment for moment, wall in zip(every, walls, strict=True) if named(wall)]
    shown: dict[datetime, datetime] = {}
    for moment, wall in zip(every, walls, strict=True):
        shown.setdefault(wall, moment)
    found = set()
    for number in range(9 * 24 * 60):
        wall = walls[0] + timedelta(minutes=number)
        if wall > walls[-1] or not named(wall):
            continue
        found.add(shown[wall] if wall in shown else min(m for m, w in zip(every, walls, strict=True) if w > wall))
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHANGES), hours, st.integers(-3000, 3000), st.booleans())
def test_the_tick_before_is_the_last_of_those_after(
    change: tuple[str, datetime], at_hours: set[int], shift: int, inclusive: bool
) -> None:
    name, day = change
    cron = Cron((f"30 {_field(at_hours)} * * *", "0 * * * *"), name)
    end = day.replace(tzinfo=ZoneInfo(name)).astimezone(UTC) + timedelta(minutes=shift)
    ticks = []
    for tick in cron.after(end - timedelta(days=3)):
        if tick.astimezone(UTC) > end or (tick.astimezone(UTC) == end and not inclusive):
            break
        ticks.append(tick)
    assert cron.before(end, inclusive) == ticks[-1]


@pytest.mark.parametrize(
    ("expression", "count"), [("0 * * * *", 24 * 366), ("*/15 * * * *", 4 * 24 * 366), ("0 2 * * *", 366)]
)
def test_a_year_has_all_its_hours(expression: str, count: int) -> None:
    start = datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    end = datetime(2025, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    ticks = 0
    for tick in Cron((expression,), "Europe/Berlin").after(start, inclusive=True):
        if tick >= end:
            break
        ticks += 1
    assert ticks == count
