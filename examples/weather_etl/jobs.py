"""Weather, a partition a day: extract, check, load; records after each load; an alert when a load fails.

opgrid dev -m examples.weather_etl.jobs
"""

from __future__ import annotations

from datetime import timedelta

from examples.weather_etl.station import Measurement, Station
from examples.weather_etl.warehouse import Warehouse
from opgrid import (
    DailyPartitionsDefinition,
    DefaultSensorStatus,
    Definitions,
    Failure,
    OpExecutionContext,
    RetryPolicy,
    RunFailureSensorContext,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    job,
    multiprocess_executor,
    op,
    run_after,
    run_failure_sensor,
    schedule,
)

DAYS = DailyPartitionsDefinition("2012-01-01", end_date="2016-01-01", timezone="America/Los_Angeles")


@op(retry_policy=RetryPolicy(max_retries=2, delay=1))
def extract(context: OpExecutionContext, station: Station) -> list[Measurement]:
    """Of the day of the run, or of all its days."""
    window = context.partition_time_window
    found = list(station.days(window.start.date(), window.end.date()))
    missing = sorted(set(context.partition_keys) - {each.day for each in found})
    if missing:
        raise Failure(f"The station has nothing of {', '.join(missing[:5])}.", allow_retries=False)
    return found


@op
def check(context: OpExecutionContext, days: list[Measurement]) -> list[Measurement]:
    """Fails for what no weather is."""
    problems = [problem for each in days if (problem := each.problem) is not None]
    if problems:
        raise Failure("; ".join(problems[:5]), metadata={"problems": len(problems)})
    context.add_output_metadata({"days": len(days), "rain, mm": round(sum(each.rain for each in days), 1)})
    return days


@op
def load(days: list[Measurement], warehouse: Warehouse) -> None:
    warehouse.put(days)


@job(partitions_def=DAYS)
def weather() -> None:
    """The weather of a day, or of several, from the station into the warehouse."""
    load(check(extract()))


@op
def find_records(context: OpExecutionContext, warehouse: Warehouse) -> dict[str, str]:
    """The extremes of all days that are there."""
    found: dict[str, str] = {}
    with warehouse.opened() as connection:
        for what, column, order in (
            ("wettest", "rain", "desc"),
            ("hottest", "high", "desc"),
            ("coldest", "low", "asc"),
            ("windiest", "wind", "desc"),
        ):
            row = connection.execute(
                f"select day, {column} from days order by {column} {order}, day limit 1"
            ).fetchone()
            if row is not None:
                connection.execute("insert or replace into records values (?, ?, ?)", (what, *row))
                found[what] = f"{row[0]}: {row[1]}"
    context.add_output_metadata(found)
    return found


@job
def records() -> None:
    find_records()


@op(config_schema={"run_id": str, "partition": str, "reason": str})
def write_alert(context: OpExecutionContext, warehouse: Warehouse) -> None:
    told = context.op_config
    context.log.error("The load of %s failed: %s", told["partition"], told["reason"])
    with warehouse.opened() as connection:
        row = (told["run_id"], told["partition"], told["reason"])
        connection.execute("insert or replace into alerts values (?, ?, ?)", row)


@job
def alert() -> None:
    write_alert()


@schedule("0 6 * * *", job=weather, execution_timezone="America/Los_Angeles")
def every_morning(context: ScheduleEvaluationContext) -> RunRequest:
    """Yesterday's weather. The data ends in 2015, so that the same day of those years stands for it."""
    yesterday = context.scheduled_execution_time.date() - timedelta(days=1)
    day = yesterday.replace(year=2012 + yesterday.year % 4)
    return RunRequest(yesterday.isoformat(), partition_key=day.isoformat())


@run_failure_sensor(monitored_jobs=[weather], request_job=alert, default_status=DefaultSensorStatus.RUNNING)
def when_a_load_fails(context: RunFailureSensorContext) -> RunRequest | SkipReason:
    steps = context.get_step_failure_events()
    if not steps:
        return SkipReason("No step failed.")
    told = {
        "run_id": context.run.run_id,
        "partition": context.partition_key or "several days",
        "reason": steps[0].error.message,
    }
    return RunRequest(context.run.run_id, {"ops": {"write_alert": {"config": told}}})


defs = Definitions(
    jobs=[weather, records, alert],
    schedules=[every_morning],
    sensors=[when_a_load_fails, run_after(records, weather)],
    resources={"station": Station(), "warehouse": Warehouse(path="weather.db")},
    executor=multiprocess_executor,
)
