"""Schedules for partitioned jobs: a run for each partition that has just become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from opgrid.definitions.cron import Cron
from opgrid.definitions.partitioned_config import partitioned_config_of
from opgrid.definitions.partitions import (
    MultiPartitionKey,
    MultiPartitionsDefinition,
    PartitionsDefinition,
    TimeWindowPartitionsDefinition,
)
from opgrid.definitions.run_request import RunRequest, SkipReason
from opgrid.definitions.schedule import DefaultScheduleStatus, ScheduleDefinition, ScheduleEvaluationContext
from opgrid.errors import InvalidDefinitionError


def build_schedule_from_partitioned_job(
    job: Any,
    description: str | None = None,
    name: str | None = None,
    minute_of_hour: int | None = None,
    hour_of_day: int | None = None,
    day_of_week: int | None = None,
    day_of_month: int | None = None,
    default_status: DefaultScheduleStatus = DefaultScheduleStatus.STOPPED,
    tags: Mapping[str, str] | None = None,
    cron_schedule: str | Sequence[str] | None = None,
    execution_timezone: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Sequence[str] | None = None,
) -> ScheduleDefinition:
    """Ticks when a window ends, or later by what is given, and runs the last partition there is then; its key is the
    run key. A tick at which there is no other last partition than at the tick before is skipped: the window that has
    ended is excluded, or after the end.

    Partitions that are not in time need ``cron_schedule``, and are all run at each tick.

        daily = build_schedule_from_partitioned_job(do_stuff, hour_of_day=5)
    """
    what = f"build_schedule_from_partitioned_job({getattr(job, 'name', job)!r})"
    partitions = partitioned_config_of(job).partitions_def
    timed = _in_time(partitions)
    offsets = (minute_of_hour, hour_of_day, day_of_week, day_of_month)
    if cron_schedule is not None:
        if any(each is not None for each in offsets):
            raise InvalidDefinitionError(
                f"{what} has cron_schedule= and times, too: put these into the cron expression."
            )
    elif timed is None:
        raise InvalidDefinitionError(
            f"{what}: {partitions.describe()} is not in time. Say when to run: cron_schedule='0 6 * * *'."
        )
    if timed is not None and execution_timezone not in (None, timed.timezone):
        raise InvalidDefinitionError(
            f"{what} has execution_timezone={execution_timezone!r}, but its partitions are in {timed.timezone!r}. "
            "Leave it out."
        )

    def asked(context: ScheduleEvaluationContext) -> list[RunRequest] | SkipReason:
        now = context.scheduled_execution_time
        last = None if timed is None else timed.get_last_partition_key(now)
        keys = _due(partitions, context, last)
        if not keys:
            return SkipReason(f"{partitions.describe()} has no partition yet")
        before = None if timed is None else _tick_before(timed.cron if cron_schedule is None else made.cron, now)
        if timed is not None and before is not None and timed.get_last_partition_key(before) == last:
            return SkipReason(f"No partition has come since the tick before: the last one is still {last!r}")
        return [RunRequest(run_key=key, partition_key=key) for key in keys]

    made = ScheduleDefinition(
        name if name is not None else f"{job.name}_schedule",
        cron_schedule=cron_schedule
        if cron_schedule is not None
        else timed.get_cron_schedule(*offsets)
        if timed
        else None,
        execution_timezone=timed.timezone if timed is not None else execution_timezone,
        execution_fn=asked,
        job=job,
        description=description if description is not None else f"Runs {job.name} for each of its partitions.",
        default_status=default_status,
        tags=tags,
        metadata=metadata,
        owners=owners,
    )
    return made


def _in_time(partitions: PartitionsDefinition) -> TimeWindowPartitionsDefinition | None:
    if isinstance(partitions, TimeWindowPartitionsDefinition):
        return partitions
    if isinstance(partitions, MultiPartitionsDefinition):
        timed = [
            each for each in partitions.partitions_defs.values() if isinstance(each, TimeWindowPartitionsDefinition)
        ]
        if len(timed) == 1:
            return timed[0]
    return None


def _tick_before(cron: Cron, now: datetime) -> datetime | None:
    """Before that of ``now``, or before the last one where there is none now."""
    tick = cron.before(now, inclusive=True)
    return None if tick is None else cron.before(tick)


def _due(partitions: PartitionsDefinition, context: ScheduleEvaluationContext, last: str | None) -> Sequence[str]:
    """As of the time of the tick: a tick that comes late runs what it would have run in time. ``last``: the last window
    there is then.
    """
    now, store = context.scheduled_execution_time, context.optional_instance
    timed = _in_time(partitions)
    if timed is None:
        return partitions.get_partition_keys(now, store)
    if last is None or partitions is timed:
        return [] if last is None else [last]
    assert isinstance(partitions, MultiPartitionsDefinition)
    names = list(partitions.partitions_defs)
    found: list[dict[str, str]] = [{}]
    for each in names:
        definition = partitions.partitions_defs[each]
        keys = [last] if definition is timed else definition.get_partition_keys(now, store)
        found = [{**before, each: key} for before in found for key in keys]
    return [MultiPartitionKey(each) for each in found]
