"""Schedules and sensors that the tests of the daemon run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from opgrid import (
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    RunRequest,
    SkipReason,
    in_process_executor,
    job,
    op,
    run_failure_sensor,
    run_status_sensor,
    schedule,
    sensor,
)
from opgrid.contracts.status import RunStatus

RUNNING = DefaultSensorStatus.RUNNING


@op
def nothing() -> None: ...


@op
def breaks() -> None:
    raise ValueError("on purpose")


@job
def plain() -> None:
    nothing()


@job
def broken() -> None:
    breaks()


@job
def report() -> None:
    nothing()


@job(tags={"opgrid/max_retries": "2", "opgrid/retry_strategy": "ALL_STEPS"})
def stubborn() -> None:
    breaks()


@schedule("* * * * *", job=plain, default_status=DefaultScheduleStatus.RUNNING)
def minutely(context: Any) -> RunRequest:
    context.log.info("asked")
    return RunRequest(tags={"at": str(context.scheduled_execution_time.timestamp())})


@sensor(job=plain, minimum_interval_seconds=0, default_status=RUNNING)
def numbers(context: Any) -> RunRequest | SkipReason:
    number = int(context.cursor or 0) + 1
    if number > 12:
        return SkipReason("enough")
    context.update_cursor(str(number))
    return RunRequest(run_key=str(number))


@sensor(job=plain, minimum_interval_seconds=1, default_status=RUNNING)
def hangs(context: Any) -> None:
    time.sleep(1000)


@sensor(job=plain, minimum_interval_seconds=1, default_status=RUNNING)
def raises(context: Any) -> None:
    context.log.warning("about to raise")
    raise KeyError("nothing there")


@sensor(job=plain, minimum_interval_seconds=1, default_status=RUNNING)
def exits(context: Any) -> None:
    os._exit(7)


@sensor(job=broken, minimum_interval_seconds=1, default_status=RUNNING)
def once(context: Any) -> Iterator[RunRequest]:
    yield RunRequest(run_key="only")


@run_failure_sensor(monitored_jobs=["broken"], request_job=report, minimum_interval_seconds=1, default_status=RUNNING)
def on_failure(context: Any) -> RunRequest:
    return RunRequest(run_key=context.run.run_id, tags={"of": context.run.run_id})


@run_status_sensor(RunStatus.SUCCESS, monitored_jobs=["report"], minimum_interval_seconds=1, default_status=RUNNING)
def on_success(context: Any) -> SkipReason:
    return SkipReason(f"saw {context.run.job_name}")


defs = Definitions(
    executor=in_process_executor,
    jobs=[stubborn],
    schedules=[minutely],
    sensors=[numbers, hangs, raises, exits, once, on_failure, on_success],
)
