"""Cron expressions in a time zone: which moments they name, clock changes included."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from opgrid.errors import InvalidDefinitionError, nearest

NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
#: The first and last number of each field, and its numbers by name.
_FIELDS: Final[tuple[tuple[int, int, dict[str, int]], ...]] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)

_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
#: Nothing in this time means that there is nothing at all; cronsim has the same limit.
_HORIZON: Final = timedelta(days=50 * 366)


@dataclass(frozen=True, slots=True)
class Cron:
    """One or several cron expressions that tick by the clock of one zone.

    Where the clock changes, the rules are those of cron itself. An expression with a wildcard for its minutes or hours
    follows the clock: what the clock leaves out does not happen, what it shows twice happens twice, so that
    ``0 * * * *`` ticks once an hour whatever the clock does. All others tick once for each time that they name: at the
    first moment after the gap for a time that the clock leaves out, and the first time for one that it shows twice.
    """

    expressions: tuple[str, ...]
    zone: str = "UTC"

    @classmethod
    def of(cls, given: str | Sequence[str], zone: str | None, what: str) -> Cron:
        """Checked; ``what`` is whose, for the error."""
        several = (given,) if isinstance(given, str) else tuple(given)
        if not several:
            raise InvalidDefinitionError(
                f"{what} has an empty list of cron expressions: give one, such as '0 6 * * *'."
            )
        name = zone_of(zone, what).key
        return cls(tuple(_checked(each, what) for each in several), name)

    @property
    def schedule(self) -> str | list[str]:
        """As users write it."""
        return self.expressions[0] if len(self.expressions) == 1 else list(self.expressions)

    def after(self, start: datetime, inclusive: bool = False) -> Iterator[datetime]:
        """Ticks later than ``start``, or from it on, in this zone and without end."""
        zone = ZoneInfo(self.zone)
        first = _floor(start)
        if first < start.astimezone(UTC) or not inclusive:
            first += _MINUTE
        streams = [_ticks(each, first, zone) for each in self.expressions]
        before: datetime | None = None
        for moment in heapq.merge(*streams) if len(streams) > 1 else streams[0]:
            if moment != before:
                yield moment.astimezone(zone)
            before = moment

    def before(self, end: datetime, inclusive: bool = False) -> datetime | None:
        """The last tick earlier than ``end``, or at it; None when there is none in fifty years."""
        limit = end.astimezone(UTC)
        span = timedelta(hours=1)
        while span < _HORIZON:
            found = self._last(limit - span, limit, inclusive)
            if found is not None:
                return found
            span *= 6
        return None

    def ticks_at(self, moment: datetime) -> bool:
        return next(self.after(moment.astimezone(UTC), inclusive=True), None) == moment.astimezone(UTC)

    def _last(self, start: datetime, end: datetime, inclusive: bool) -> datetime | None:
        last = None
        for moment in self.after(start, inclusive=True):
            if moment.astimezone(UTC) > end or (moment.astimezone(UTC) == end and not inclusive):
                break
            last = moment
        return last


def zone_of(name: str | None, what: str) -> ZoneInfo:
    """UTC for None. Raises InvalidDefinitionError, naming the nearest."""
    if name is None:
        return ZoneInfo("UTC")
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):  # what is no name at all raises one of the others
        raise _no_zone(name, what) from None


def _no_zone(name: object, what: str) -> InvalidDefinitionError:
    known = available_timezones()
    near = nearest(str(name), known) or nearest(str(name).replace(" ", "_").title(), known)
    return InvalidDefinitionError(
        f"{what} has the time zone {name!r}, which does not exist.{near} Zones have names such as 'Europe/Berlin'."
    )


def _checked(expression: object, what: str) -> str:
    if not isinstance(expression, str):
        raise InvalidDefinitionError(
            f"{what} has the cron expression {expression!r}: it has to be a string, such as '0 6 * * *'."
        )
    text = expression.strip()
    if text.startswith("@"):
        found = NICKNAMES.get(text.lower())
        if found is None:
            names = ", ".join(NICKNAMES)
            raise InvalidDefinitionError(
                f"{what} has the cron expression {expression!r}, which is not known.{nearest(text, NICKNAMES)} There "
                f"are: {names}."
            )
        return found
    fields = len(text.split())
    if fields != 5:
        raise InvalidDefinitionError(
            f"{what} has the cron expression {expression!r} with {fields} fields; there have to be five: minute, "
            "hour, day of the "
            f"month, month, day of the week. For example '0 6 * * 1-5'."
        )
    _check_ticks(text, what)
    return text


def _check_ticks(text: str, what: str) -> None:
    try:
        first = next(_parsed(text, datetime(2000, 1, 1)), None)
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ")
        raise InvalidDefinitionError(
            f"{what} has the cron expression {text!r}: the {wrong} is not valid. The fields are minute (0-59), hour "
            "(0-23), day of the month (1-31), month (1-12), day of the week (0-7, Sunday is 0 and 7)."
        ) from error
    if first is None:
        raise InvalidDefinitionError(f"{what} has the cron expression {text!r}, which names no date that exists.")


# ---- ticks: all moments below are in UTC ----


def _ticks(expression: str, first: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """From ``first`` on, ``first`` included when it is one; ascending, each once."""
    if zone.key == "UTC":
        for wall in _walls(expression, first.replace(tzinfo=None)):
            yield wall.replace(tzinfo=UTC)
    elif _follows_clock(expression):
        yield from _by_clock(expression, first, zone)
    else:
        yield from _by_day(expression, first, zone)


@lru_cache(256)
def _follows_clock(expression: str) -> bool:
    parsed = _parsed(expression, datetime(2000, 1, 1))
    return any(field.startswith("*") for field in expression.split()[:2]) or len(parsed.hours) == 24


def _by_day(expression: str, first: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    before = first - _MINUTE
    # A time in the gap has its tick after the gap: begin early enough to see it.
    for wall in _walls(expression, first.astimezone(zone).replace(tzinfo=None) - _DAY):
        moment = _first_moment(wall, zone)
        if moment > before:
            yield moment
            before = moment


def _by_clock(expression: str, first: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Between two clock changes the clock runs straight; there, wall times are moments shifted."""
    begin = first
    while True:
        offset = _offset(begin, zone)
        change = None
        at = begin
        for wall in _walls(expression, begin.replace(tzinfo=None) + offset):
            moment = wall.replace(tzinfo=UTC) - offset
            change = _change(at, moment, zone)
            if change is not None:
                break
            yield moment
            at = moment
        if change is None:
            return
        begin = change


def _walls(expression: str, first: datetime) -> Iterator[datetime]:
    """What a clock without changes would show at the ticks."""
    return iter(_parsed(expression, first - timedelta(seconds=1)))


def _parsed(expression: str, start: datetime) -> CronSim:
    return CronSim(_written_out(expression), start)


@lru_cache(256)
def _written_out(expression: str) -> str:
    """Ranges that go on at the beginning, such as ``22-2`` and ``SAT-SUN``, as lists, those from the Sunday ``7`` from
    ``0``, and ``?`` as ``*``: cronsim knows none of these.
    """
    fields = expression.upper().split()
    for day in (2, 4):
        fields[day] = "*" if fields[day] == "?" else fields[day]
    terms = ([_term(each, *of) for each in text.split(",")] for text, of in zip(fields, _FIELDS, strict=True))
    return " ".join(",".join(each) for each in terms)


def _term(term: str, low: int, high: int, names: dict[str, int]) -> str:
    span, _, step = term.partition("/")
    start, _, end = (int(each) if each.isdecimal() else names.get(each) for each in span.partition("-"))
    if high == 6 and start == 7 and end not in (None, 7):
        return f"0{term.removeprefix('7')}"
    every = int(step) if step.isdecimal() else 0 if step else 1
    if start is None or end is None or not low <= end < start <= high or not every:
        return term
    return ",".join(str(each) for each in [*range(start, high + 1), *range(low, end + 1)][::every])


def _first_moment(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock shows ``wall`` for the first time; where it never does, when it first shows more."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # In a gap, fold=0 reads the wall by the offset before the gap: the moment lies behind the change.
    return _change(moment - _DAY, moment, zone) or moment


def _change(start: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """The first moment in (start, end] at which the clock runs by another offset than at ``start``."""
    offset = _offset(start, zone)
    low = start
    while low < end:
        high = min(low + _DAY, end)
        if _offset(high, zone) != offset:
            break
        low = high
    else:
        return None
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if _offset(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
