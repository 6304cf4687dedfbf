"""Jobs, schedules and sensors that the tests of the API ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opgrid import (
    Config,
    ConfigurableResource,
    DailyPartitionsDefinition,
    Definitions,
    DynamicOut,
    DynamicOutput,
    EnvVar,
    Out,
    RunRequest,
    ScheduleDefinition,
    graph,
    in_process_executor,
    job,
    op,
    sensor,
)


class Settings(Config):
    n: int = 3
    fail: bool = False


@op(description="Gives numbers.", out=DynamicOut(int))
def numbers(config: Settings) -> Iterator[DynamicOutput[int]]:
    for number in range(config.n):
        yield DynamicOutput(number, str(number))


class Greeting(ConfigurableResource):
    """Words."""

    word: str = "hello"
    secret: str = ""


@op
def check(config: Settings, number: int) -> int:
    if config.fail and number == 1:
        raise ValueError("<img src=x onerror=alert(1)>")
    return number


@op(out=Out(int))
def total(greeting: Greeting, numbers: list[int]) -> int:
    return sum(numbers)


@graph
def adding_up() -> None:
    total(numbers().map(check).collect())


adding = adding_up.to_job(
    "adding",
    description="Adds numbers.",
    tags={"team": "sums"},
    executor_def=in_process_executor,
    resource_defs={"greeting": Greeting(secret=EnvVar("GREETING_SECRET"))},
)


@op
def day(context: Any) -> str:
    return str(context.partition_key)


@job(partitions_def=DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11"), executor_def=in_process_executor)
def daily() -> None:
    day()


@sensor(job=adding, minimum_interval_seconds=30)
def watching(context: Any) -> RunRequest:
    context.update_cursor("seen")
    return RunRequest(run_key="first", run_config={"ops": {"numbers": {"config": {"n": 1}}}})


defs = Definitions(
    jobs=[adding, daily],
    schedules=[
        ScheduleDefinition(name="hourly", job=adding, cron_schedule="0 * * * *", execution_timezone="Europe/Berlin")
    ],
    sensors=[watching],
)
