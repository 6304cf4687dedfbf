"""When a schedule is due. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from opgrid.definitions.cron import Cron
from orchestrator.locations.messages import ScheduleInfo


def cron_of(schedule: ScheduleInfo) -> Cron:
    return Cron.of(list(schedule.cron), schedule.zone, f"Schedule {schedule.name!r}")


def missed(cron: Cron, after: float, now: float, most: int) -> list[float]:
    """The ticks behind ``after`` and until ``now``, oldest first: the last ``most`` of them."""
    found: list[float] = []
    end, inclusive = datetime.fromtimestamp(now, UTC), True
    while len(found) < most:
        tick = cron.before(end, inclusive)
        if tick is None or tick.timestamp() <= after:
            break
        found.append(tick.timestamp())
        end, inclusive = tick, False
    return found[::-1]


def next_tick(cron: Cron, after: float) -> float | None:
    """The first one later than ``after``."""
    for tick in cron.after(datetime.fromtimestamp(after, UTC)):
        return tick.timestamp()
    return None
