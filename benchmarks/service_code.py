"""200 schedules and 50 sensors that have nothing to do, and a job of one op."""

from __future__ import annotations

from opgrid import (
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
    RunRequest,
    ScheduleDefinition,
    SensorDefinition,
    SkipReason,
    job,
    op,
)


@op
def nothing() -> int:
    return 1


@job
def one() -> None:
    nothing()


def _idle(context: object) -> SkipReason:
    return SkipReason("Nothing new.")


def _launch(context: object) -> RunRequest:
    return RunRequest()


defs = Definitions(
    jobs=[one],
    schedules=[
        ScheduleDefinition(
            name=f"schedule_{number}",
            job=one,
            cron_schedule=f"{number % 60} {number % 24} 1 1 *",
            default_status=DefaultScheduleStatus.RUNNING,
        )
        for number in range(200)
    ],
    sensors=[
        SensorDefinition(
            name=f"sensor_{number}", job=one, evaluation_fn=_idle, default_status=DefaultSensorStatus.RUNNING
        )
        for number in range(50)
    ],
)
