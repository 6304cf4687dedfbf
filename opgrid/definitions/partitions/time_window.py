"""Partitions in time: windows from one tick of a cron expression to the next, each named by its start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from opgrid.definitions.cron import Cron, zone_of
from opgrid.definitions.partitions.base import DynamicPartitionsStore, PartitionsDefinition, moment
from opgrid.definitions.partitions.partition import TimeWindow
from opgrid.errors import InvalidDefinitionError, UnknownPartitionError, nearest

DAY_FORMAT: Final = "%Y-%m-%d"
HOUR_FORMAT: Final = "%Y-%m-%d-%H:%M"


class ScheduleType(StrEnum):
    """How often a new partition begins."""

    HOURLY = "HOURLY"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"

    def cron(self, minute: int, hour: int, day: int) -> str:
        match self:
            case ScheduleType.HOURLY:
                return f"{minute} * * * *"
            case ScheduleType.DAILY:
                return f"{minute} {hour} * * *"
            case ScheduleType.WEEKLY:
                return f"{minute} {hour} * * {day}"
            case ScheduleType.MONTHLY:
                return f"{minute} {hour} {day} * *"


class TimeWindowPartitionsDefinition(PartitionsDefinition):
    """Windows of time. A window is a partition once it is over; ``end_offset`` adds as many later ones, or takes
    some away.

    ``start`` and ``end`` are in the format ``fmt`` of the keys, or datetimes; no window reaches beyond ``end``.
    Where the clock of the
    zone shows an hour twice, the key of the second ends with its offset from UTC: ``2024-11-03-01:00-0500``.

        TimeWindowPartitionsDefinition(cron_schedule="0 6,18 * * *", start="2024-01-01-06:00", fmt="%Y-%m-%d-%H:%M")
    """

    kind: ClassVar[str] = "TimeWindowPartitionsDefinition"

    def __init__(
        self,
        start: datetime | str,
        fmt: str,
        end: datetime | str | None = None,
        schedule_type: ScheduleType | None = None,
        timezone: str | None = None,
        end_offset: int = 0,
        minute_offset: int | None = None,
        hour_offset: int | None = None,
        day_offset: int | None = None,
        cron_schedule: str | None = None,
        exclusions: Sequence[str | datetime] | None = None,
    ) -> None:
        what = self.kind
        self.zone: ZoneInfo = zone_of(timezone, what)
        self.fmt = _format(fmt, what)
        self.schedule_type = schedule_type
        self.minute_offset = _offset("minute_offset", minute_offset, 0, 59, 0, what)
        self.hour_offset = _offset("hour_offset", hour_offset, 0, 23, 0, what)
        first_day, last_day = (1, 31) if schedule_type is ScheduleType.MONTHLY else (0, 6)
        self.day_offset = _offset("day_offset", day_offset, first_day, last_day, first_day, what)
        self.cron = Cron.of(
            self._cron(cron_schedule, schedule_type, (minute_offset, hour_offset, day_offset)), self.zone.key, what
        )
        if type(end_offset) is not int:
            raise InvalidDefinitionError(
                f"{what} has end_offset={end_offset!r}: it has to be a whole number of partitions."
            )
        self.end_offset = end_offset
        self.start = self._moment(start, "start date")
        self.end = None if end is None else self._moment(end, "end date")
        if self.end is not None and self.end.astimezone(UTC) < self.start.astimezone(UTC):
            raise InvalidDefinitionError(f"{what} ends at {end!r}, before it starts at {start!r}.")
        self.exclusions = tuple(exclusions or ())
        self._excluded_crons = tuple(
            Cron.of(each, self.zone.key, f"{what}, in its exclusions,")
            for each in self.exclusions
            if isinstance(each, str)
        )
        self._excluded_starts = frozenset(
            self._moment(each, "exclusion").astimezone(UTC) for each in self.exclusions if not isinstance(each, str)
        )
        #: Starts of windows from the first on, as far as somebody asked; replaced as a whole.
        self._starts: tuple[datetime, ...] = ()

    def _cron(self, cron: str | None, kind: ScheduleType | None, offsets: tuple[int | None, ...]) -> str:
        if (cron is None) == (kind is None):
            raise InvalidDefinitionError(f"{self.kind} takes either cron_schedule= or schedule_type=.")
        if kind is not None:
            return kind.cron(self.minute_offset, self.hour_offset, self.day_offset)
        if any(offset is not None for offset in offsets):
            raise InvalidDefinitionError(
                f"{self.kind} has cron_schedule={cron!r} and offsets, too: put these into the expression."
            )
        if not isinstance(cron, str):
            raise InvalidDefinitionError(f"{self.kind} has cron_schedule={cron!r}: it has to be one cron expression.")
        return cron

    def _moment(self, given: object, what: str) -> datetime:
        """In the zone of the partitions. Datetimes without a zone are in it already."""
        if isinstance(given, datetime):
            return given.replace(tzinfo=self.zone) if given.tzinfo is None else given.astimezone(self.zone)
        if isinstance(given, date):
            return datetime.combine(given, time(), self.zone)
        if isinstance(given, str):
            found = self._parsed(given)
            if found is not None:
                return found
        example = datetime(2024, 1, 31, 18, 0).strftime(self.fmt)
        raise InvalidDefinitionError(
            f"{self.kind} has the {what} {given!r}: it has to be a datetime, or a string in the format {self.fmt!r}, "
            f"such as {example!r}."
        )

    def _parsed(self, text: str) -> datetime | None:
        for fmt in (self.fmt,) if "%z" in self.fmt else (self.fmt, f"{self.fmt}%z"):
            try:
                found = datetime.strptime(text, fmt)
            except ValueError:
                continue
            return found.replace(tzinfo=self.zone) if found.tzinfo is None else found.astimezone(self.zone)
        return None

    @property
    def timezone(self) -> str:
        return self.zone.key

    @property
    def cron_schedule(self) -> str:
        return self.cron.expressions[0]

    # ---- keys ----

    def get_partition_keys(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> Sequence[str]:
        last = self._last_start(moment(current_time))
        if last is None:
            return []
        return [self._key(start) for start in self._starts_until(last) if not self._is_excluded(start)]

    def has_partition_key(
        self,
        partition_key: str,
        current_time: datetime | None = None,
        dynamic_partitions_store: DynamicPartitionsStore | None = None,
    ) -> bool:
        start = self._start_of(partition_key)
        if start is None:
            return False
        last = self._last_start(moment(current_time))
        return last is not None and start.astimezone(UTC) <= last.astimezone(UTC)

    def get_last_partition_key(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> str | None:
        last = self._last_start(moment(current_time))
        return None if last is None else self._key(last)

    def get_first_partition_key(
        self, current_time: datetime | None = None, dynamic_partitions_store: DynamicPartitionsStore | None = None
    ) -> str | None:
        last = self._last_start(moment(current_time))
        first = self._first_start()
        return None if last is None or first is None else self._key(first)

    def time_window_for_partition_key(self, partition_key: str) -> TimeWindow:
        """Of a key that names a window, though it may not be over yet. Raises UnknownPartitionError for others."""
        start = self._start_of(partition_key)
        if start is None:
            raise self._no_window(partition_key)
        return self._window(start)

    def get_partition_key_for_timestamp(self, moment: datetime) -> str | None:
        """The key of the window that ``moment`` is in."""
        start = self.cron.before(moment, inclusive=True)
        return None if start is None or not self._is_start(start) else self._key(start)

    def get_last_partition_window(self, current_time: datetime | None = None) -> TimeWindow | None:
        last = self._last_start(moment(current_time))
        return None if last is None else self._window(last)

    def get_cron_schedule(
        self,
        minute_of_hour: int | None = None,
        hour_of_day: int | None = None,
        day_of_week: int | None = None,
        day_of_month: int | None = None,
    ) -> str:
        """When to run for the window that has just ended: when it ends, or later by what is given."""
        given = {
            "minute_of_hour": minute_of_hour,
            "hour_of_day": hour_of_day,
            "day_of_week": day_of_week,
            "day_of_month": day_of_month,
        }
        allowed = _ALLOWED[self.schedule_type] if self.schedule_type else frozenset()
        for name, value in given.items():
            if value is not None and name not in allowed:
                kind = self.schedule_type.lower() if self.schedule_type else "custom"
                raise InvalidDefinitionError(
                    f"{name}={value!r} does not go with {kind} partitions. They take: "
                    f"{', '.join(sorted(allowed)) or 'none'}."
                )
        if self.schedule_type is None or all(value is None for value in given.values()):
            return self.cron_schedule
        minute = _offset("minute_of_hour", minute_of_hour, 0, 59, self.minute_offset, self.kind)
        hour = _offset("hour_of_day", hour_of_day, 0, 23, self.hour_offset, self.kind)
        if self.schedule_type is ScheduleType.MONTHLY:
            day = _offset("day_of_month", day_of_month, 1, 31, self.day_offset, self.kind)
        else:
            day = _offset("day_of_week", day_of_week, 0, 6, self.day_offset, self.kind)
        return self.schedule_type.cron(minute, hour, day)

    def unknown(
        self, key: str, current_time: datetime | None, store: DynamicPartitionsStore | None
    ) -> UnknownPartitionError:
        start, now = self._start_of(key), moment(current_time)
        if start is not None:
            window = self._window(start)
            return UnknownPartitionError(
                f"{self.describe()} has no partition {key!r} yet: its window ends at {window.end.isoformat()}, and "
                f"it is {now.astimezone(self.zone).isoformat(timespec='seconds')}. The last one is "
                f"{self.get_last_partition_key(now)!r}. end_offset= admits windows that are not over."
            )
        return self._no_window(key, now)

    def _no_window(self, key: str, now: datetime | None = None) -> UnknownPartitionError:
        hint = ""
        parsed = self._parsed(key)
        if parsed is None:
            hint = f" Keys are in the format {self.fmt!r}."
        elif parsed.astimezone(UTC) < self.start.astimezone(UTC):
            hint = f" The first one is {self._first_key()!r}."
        else:
            before = self.cron.before(parsed, inclusive=True)
            hint = nearest(key, [self._key(before)]) if before is not None and self._is_start(before) else ""
        last = self.get_last_partition_key(now) if now is not None else None
        span = f" There are {self._first_key()!r} to {last!r}." if last is not None else ""
        return UnknownPartitionError(f"{self.describe()} has no partition {key!r}.{hint}{span}")

    # ---- windows ----

    def _first_key(self) -> str | None:
        first = self._first_start()
        return None if first is None else self._key(first)

    def _first_start(self) -> datetime | None:
        for start in self.cron.after(self.start, inclusive=True):
            if not self._within(start):
                break
            if not self._is_excluded(start):
                return start
        return None

    def _last_start(self, now: datetime) -> datetime | None:
        """Of the last partition there is at ``now``."""
        closed_by = now.astimezone(UTC) if self.end is None else min(now.astimezone(UTC), self.end.astimezone(UTC))
        ended = self.cron.before(closed_by, inclusive=True)
        last = None if ended is None else self._at_or_before(self.cron.before(ended))
        if self.end_offset < 0:
            for _ in range(-self.end_offset):
                last = None if last is None else self._at_or_before(self.cron.before(last))
            return last
        ahead = self._ahead(ended or self.start) if self.end_offset > 0 else iter(())
        for _, start in zip(range(self.end_offset), ahead, strict=False):
            if self._is_start(start):
                last = start
        return last

    def _ahead(self, start: datetime) -> Iterator[datetime]:
        """Of windows that are not over, those that count; they may lie before the first partition."""
        for each in self.cron.after(start, inclusive=True):
            if not self._within(each):
                return
            if not self._is_excluded(each):
                yield each

    def _at_or_before(self, start: datetime | None) -> datetime | None:
        """The last start of a partition that is not later."""
        while start is not None and start.astimezone(UTC) >= self.start.astimezone(UTC):
            if not self._is_excluded(start):
                return start
            start = self.cron.before(start)
        return None

    def _starts_until(self, last: datetime) -> Iterator[datetime]:
        limit = last.astimezone(UTC)
        known = self._starts
        if not known or known[-1].astimezone(UTC) < limit:
            more = list(known)
            begin = known[-1] if known else self.start
            for start in self.cron.after(begin, inclusive=not known):
                if start.astimezone(UTC) > limit:
                    break
                more.append(start)
            known = self._starts = tuple(more)
        for start in known:
            if start.astimezone(UTC) > limit:
                return
            yield start

    def _start_of(self, key: str) -> datetime | None:
        """The start of the window that ``key`` names, over or not."""
        parsed = self._parsed(key)
        if parsed is None:
            return None
        start = next(self.cron.after(parsed, inclusive=True), None)
        return start if start is not None and self._key(start) == key and self._is_start(start) else None

    def _is_start(self, start: datetime) -> bool:
        return (
            start.astimezone(UTC) >= self.start.astimezone(UTC) and self._within(start) and not self._is_excluded(start)
        )

    def _within(self, start: datetime) -> bool:
        """Does its window end before the definition does?"""
        if self.end is None:
            return True
        if start.astimezone(UTC) >= self.end.astimezone(UTC):
            return False
        return self._window(start).end.astimezone(UTC) <= self.end.astimezone(UTC)

    def _is_excluded(self, start: datetime) -> bool:
        if not self.exclusions:
            return False
        return start.astimezone(UTC) in self._excluded_starts or any(
            cron.ticks_at(start) for cron in self._excluded_crons
        )

    def _window(self, start: datetime) -> TimeWindow:
        return TimeWindow(start, next(self.cron.after(start)))

    def _key(self, start: datetime) -> str:
        key = start.strftime(self.fmt)
        if "%z" not in self.fmt and start.fold and start.utcoffset() != start.replace(fold=0).utcoffset():
            return f"{key}{start.strftime('%z')}"
        return key

    # ---- as a value ----

    def describe(self) -> str:
        if self.schedule_type is not None:
            return f"{self.schedule_type.capitalize()}PartitionsDefinition from {self.start.strftime(self.fmt)!r}"
        return f"{self.kind} {self.cron_schedule!r} from {self.start.strftime(self.fmt)!r}"

    def _identity(self) -> tuple[object, ...]:
        start, end = self.start.astimezone(UTC), self.end and self.end.astimezone(UTC)
        return self.cron, start, end, self.fmt, self.end_offset, self.exclusions

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeWindowPartitionsDefinition) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_starts": ()}

    __repr__ = PartitionsDefinition.__str__


class HourlyPartitionsDefinition(TimeWindowPartitionsDefinition):
    """An hour each, keys such as ``2024-01-01-00:00``.

    HourlyPartitionsDefinition(start_date="2024-01-01-00:00", minute_offset=15)
    """

    kind = "HourlyPartitionsDefinition"

    def __init__(
        self,
        start_date: datetime | str,
        end_date: datetime | str | None = None,
        minute_offset: int = 0,
        timezone: str | None = None,
        fmt: str | None = None,
        end_offset: int = 0,
        exclusions: Sequence[str | datetime] | None = None,
    ) -> None:
        super().__init__(
            start_date,
            fmt or HOUR_FORMAT,
            end_date,
            ScheduleType.HOURLY,
            timezone,
            end_offset,
            minute_offset,
            exclusions=exclusions,
        )


class DailyPartitionsDefinition(TimeWindowPartitionsDefinition):
    """A day each, keys such as ``2024-01-01``; with an offset, days begin later than at midnight.

    DailyPartitionsDefinition(start_date="2024-01-01", timezone="Europe/Berlin")
    """

    kind = "DailyPartitionsDefinition"

    def __init__(
        self,
        start_date: datetime | str,
        end_date: datetime | str | None = None,
        minute_offset: int = 0,
        hour_offset: int = 0,
        timezone: str | None = None,
        fmt: str | None = None,
        end_offset: int = 0,
        exclusions: Sequence[str | datetime] | None = None,
    ) -> None:
        super().__init__(
            start_date,
            fmt or DAY_FORMAT,
            end_date,
            ScheduleType.DAILY,
            timezone,
            end_offset,
            minute_offset,
            hour_offset,
            exclusions=exclusions,
        )


class WeeklyPartitionsDefinition(TimeWindowPartitionsDefinition):
    """A week each, named by the day it starts with: Sunday, or that of ``day_offset`` (0 is Sunday, 6 Saturday).

    WeeklyPartitionsDefinition(start_date="2024-01-07")
    """

    kind = "WeeklyPartitionsDefinition"

    def __init__(
        self,
        start_date: datetime | str,
        end_date: datetime | str | None = None,
        minute_offset: int = 0,
        hour_offset: int = 0,
        day_offset: int = 0,
        timezone: str | None = None,
        fmt: str | None = None,
        end_offset: int = 0,
        exclusions: Sequence[str | datetime] | None = None,
    ) -> None:
        super().__init__(
            start_date,
            fmt or DAY_FORMAT,
            end_date,
            ScheduleType.WEEKLY,
            timezone,
            end_offset,
            minute_offset,
            hour_offset,
            day_offset,
            exclusions=exclusions,
        )


class MonthlyPartitionsDefinition(TimeWindowPartitionsDefinition):
    """A month each, named by the day it starts with: the first, or ``day_offset``.

    MonthlyPartitionsDefinition(start_date="2024-01-01")
    """

    kind = "MonthlyPartitionsDefinition"

    def __init__(
        self,
        start_date: datetime | str,
        end_date: datetime | str | None = None,
        minute_offset: int = 0,
        hour_offset: int = 0,
        day_offset: int = 1,
        timezone: str | None = None,
        fmt: str | None = None,
        end_offset: int = 0,
        exclusions: Sequence[str | datetime] | None = None,
    ) -> None:
        super().__init__(
            start_date,
            fmt or DAY_FORMAT,
            end_date,
            ScheduleType.MONTHLY,
            timezone,
            end_offset,
            minute_offset,
            hour_offset,
            day_offset,
            exclusions=exclusions,
        )


_ALLOWED: Final = {
    ScheduleType.HOURLY: frozenset({"minute_of_hour"}),
    ScheduleType.DAILY: frozenset({"minute_of_hour", "hour_of_day"}),
    ScheduleType.WEEKLY: frozenset({"minute_of_hour", "hour_of_day", "day_of_week"}),
    ScheduleType.MONTHLY: frozenset({"minute_of_hour", "hour_of_day", "day_of_month"}),
}


def _offset(name: str, given: object, low: int, high: int, default: int, what: str) -> int:
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
        raise InvalidDefinitionError(f"{what} has {name}={given!r}: it has to be a whole number from {low} to {high}.")
    return given


def _format(fmt: object, what: str) -> str:
    if not isinstance(fmt, str) or "%" not in fmt:
        raise InvalidDefinitionError(
            f"{what} has the format {fmt!r}: it has to be one of strftime's, such as '%Y-%m-%d'."
        )
    return fmt
