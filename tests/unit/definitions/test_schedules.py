"""Schedules: when they tick, and what they then ask for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from opgrid import (
    ConfigurableResource,
    DailyPartitionsDefinition,
    DefaultScheduleStatus,
    Definitions,
    DynamicPartitionsDefinition,
    InvalidDefinitionError,
    InvalidInvocationError,
    InvariantViolationError,
    MetadataValue,
    MultiPartitionsDefinition,
    RunConfig,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    StaticPartitionsDefinition,
    build_schedule_context,
    build_schedule_from_partitioned_job,
    daily_partitioned_config,
    hourly_partitioned_config,
    instance_for_test,
    job,
    monthly_partitioned_config,
    op,
    schedule,
    static_partitioned_config,
    weekly_partitioned_config,
)

NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)


@op
def work() -> None: ...


@job
def nightly() -> None:
    work()


@job
def hourly() -> None:
    work()


def evaluated(made: ScheduleDefinition, at: datetime = NOON, **more: Any) -> Any:
    return made.evaluate_tick(build_schedule_context(scheduled_execution_time=at, **more))


def ticks(made: ScheduleDefinition, count: int, after: datetime = NOON) -> list[str]:
    return [tick.isoformat() for tick in islice(made.next_ticks(after), count)]


# ---- definitions ---------------------------------------------------------------------------------------------------


def test_what_a_schedule_is_made_of() -> None:
    made = ScheduleDefinition(job=nightly, cron_schedule="0 6 * * *", tags={"team": "data"}, owners=["a@b.example"])
    assert (made.name, made.job_name, made.job) == ("nightly_schedule", "nightly", nightly)
    assert (made.cron_schedule, made.execution_timezone) == ("0 6 * * *", "UTC")
    assert made.default_status is DefaultScheduleStatus.STOPPED
    assert Definitions(schedules=[made]).job_names == ["nightly"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"cron_schedule": "61 * * * *"}, "61"),
        ({"cron_schedule": "* * * *"}, "five|5"),
        ({"cron_schedule": "0 22-2/0 * * *"}, "the hour is not valid"),
        ({"cron_schedule": "nonsense"}, "nonsense"),
        ({"cron_schedule": []}, "cron"),
        ({"cron_schedule": "0 6 * * *", "execution_timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"cron_schedule": None}, "no cron_schedule"),
        ({"cron_schedule": "@daily", "run_config": {}, "run_config_fn": lambda _: {}}, "keep one"),
        ({"cron_schedule": "@daily", "tags": {}, "tags_fn": lambda _: {}}, "keep one"),
        ({"cron_schedule": "@daily", "default_status": "RUNNING"}, "DefaultScheduleStatus.RUNNING"),
        ({"cron_schedule": "@daily", "job_name": "x"}, "job_name= and job="),
        ({"cron_schedule": "@daily", "owners": ["nobody"]}, "nobody"),
    ],
)
def test_what_no_schedule_can_be_made_of(more: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=said):
        ScheduleDefinition(**{"job": nightly, **more})
    with pytest.raises(InvalidDefinitionError, match="job="):
        ScheduleDefinition("no_job", cron_schedule="@daily")


# ---- ticks ---------------------------------------------------------------------------------------------------------


def test_ticks_follow_the_expression_in_their_zone() -> None:
    made = ScheduleDefinition(job=nightly, cron_schedule="30 6 * * 1-5", execution_timezone="Europe/Berlin")
    assert ticks(made, 4) == [
        "2024-03-06T06:30:00+01:00",
        "2024-03-07T06:30:00+01:00",
        "2024-03-08T06:30:00+01:00",
        "2024-03-11T06:30:00+01:00",
    ]
    last = made.previous_tick(NOON)
    assert last is not None
    assert last.isoformat() == "2024-03-05T06:30:00+01:00"


def test_several_expressions_tick_together() -> None:
    made = ScheduleDefinition(job=nightly, cron_schedule=["0 6 * * *", "0 18 * * *", "0 6 * * 3"])
    assert ticks(made, 3) == ["2024-03-05T18:00:00+00:00", "2024-03-06T06:00:00+00:00", "2024-03-06T18:00:00+00:00"]


def test_clocks_that_change_lose_and_double_no_day() -> None:
    """In Berlin, 02:30 is not there on 31 March 2024, and is there twice on 27 October."""
    made = ScheduleDefinition(job=nightly, cron_schedule="30 2 * * *", execution_timezone="Europe/Berlin")
    berlin = ZoneInfo("Europe/Berlin")
    spring = [tick.day for tick in islice(made.next_ticks(datetime(2024, 3, 29, 12, tzinfo=berlin)), 4)]
    assert spring == [30, 31, 1, 2]
    autumn = [tick.day for tick in islice(made.next_ticks(datetime(2024, 10, 25, 12, tzinfo=berlin)), 4)]
    assert autumn == [26, 27, 28, 29]


# ---- evaluation ----------------------------------------------------------------------------------------------------


def test_a_plain_schedule_asks_for_its_run() -> None:
    made = ScheduleDefinition(
        job=nightly, cron_schedule="@daily", run_config={"ops": {"work": {}}}, tags={"team": "data"}
    )
    (request,) = evaluated(made).run_requests
    assert (request.job_name, request.run_config) == ("nightly", {"ops": {"work": {}}})
    assert request.tags == {"team": "data", "opgrid/schedule_name": "nightly_schedule"}


def test_a_run_config_asks_for_what_it_holds() -> None:
    """Nothing else: an empty section is more than a job with a config mapping takes."""
    given = RunConfig(ops={"work": 1})
    plain = {"ops": {"work": {"config": 1}}}
    made = ScheduleDefinition(job=nightly, cron_schedule="@daily", run_config_fn=lambda _: given)
    assert [request.run_config for request in evaluated(made).run_requests] == [plain]
    assert RunRequest(run_config=RunConfig()).run_config == {}
    assert nightly.graph.to_job(config=RunConfig()).run_config == {}


def test_functions_decide_at_each_tick() -> None:
    made = ScheduleDefinition(
        job=nightly,
        cron_schedule="@daily",
        run_config_fn=lambda context: {"ops": {"day": str(context.scheduled_execution_time.date())}},
        tags_fn=lambda context: {"day": context.scheduled_execution_time.day},
        should_execute=lambda context: context.scheduled_execution_time.day != 6,
    )
    (request,) = evaluated(made).run_requests
    assert request.run_config == {"ops": {"day": "2024-03-05"}}
    assert request.tags is not None
    assert request.tags["day"] == "5"
    assert "should_execute" in evaluated(made, NOON.replace(day=6)).skip_message


@pytest.mark.parametrize(
    ("returned", "keys", "skipped"),
    [
        ({"ops": {}}, [None], None),
        (RunConfig(), [None], None),
        (RunRequest("a"), ["a"], None),
        ([RunRequest("a"), RunRequest("b")], ["a", "b"], None),
        (SkipReason("holiday"), [], "holiday"),
        (None, [], "Schedule function returned an empty result"),
        ([], [], "Schedule function returned an empty result"),
    ],
)
def test_what_a_function_may_give(returned: Any, keys: list[str | None], skipped: str | None) -> None:
    @schedule("@daily", job=nightly)
    def decides(context: ScheduleEvaluationContext) -> Any:
        return returned

    found = evaluated(decides)
    assert ([each.run_key for each in found.run_requests], found.skip_message) == (keys, skipped)


def test_a_function_may_yield() -> None:
    @schedule("@daily", job=nightly)
    def yields(context: ScheduleEvaluationContext) -> Iterator[RunRequest]:
        yield RunRequest("a")
        yield RunRequest("b")

    assert [each.run_key for each in evaluated(yields).run_requests] == ["a", "b"]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (3, "gave 3"),
        ([RunRequest("a"), SkipReason("b")], "SkipReason together"),
        ([RunRequest(), RunRequest()], "run_key"),
    ],
)
def test_what_a_function_may_not_give(returned: Any, said: str) -> None:
    @schedule("@daily", job=nightly)
    def wrong(context: ScheduleEvaluationContext) -> Any:
        return returned

    with pytest.raises(InvariantViolationError, match=said):
        evaluated(wrong)


def test_a_schedule_that_yields_may_return_a_reason() -> None:
    @schedule("0 6 * * *", job=nightly)
    def on_weekends(context: ScheduleEvaluationContext) -> Any:
        if context.scheduled_execution_time.weekday() < 5:
            return SkipReason("a weekday")
        yield RunRequest()

    assert evaluated(on_weekends).skip_message == "a weekday"
    assert len(evaluated(on_weekends, datetime(2024, 3, 3, tzinfo=UTC)).run_requests) == 1


def test_a_schedule_is_copied_with_another_job_and_metadata() -> None:
    made = ScheduleDefinition(job=nightly, cron_schedule="0 6 * * *", tags={"team": "a"}, metadata={"level": 1})
    other = made.with_updated_job(hourly)
    (asked,) = evaluated(other).run_requests
    assert (asked.job_name, asked.tags["team"]) == ("hourly", "a")
    assert (other.name, other.metadata, other.cron_schedule) == ("nightly_schedule", made.metadata, "0 6 * * *")
    told = made.with_attributes(metadata={"level": 2})
    assert (told.job, told.metadata) == (nightly, {"level": MetadataValue.int(2)})
    assert made.job is nightly


def test_resources_come_by_parameter() -> None:
    class Calendar(ConfigurableResource):
        holidays: list[int]

    @schedule("@daily", job=nightly)
    def workdays(context: ScheduleEvaluationContext, calendar: Calendar) -> Any:
        if context.scheduled_execution_time.day in calendar.holidays:
            return SkipReason("holiday")
        return RunRequest()

    assert workdays.required_resource_keys == {"calendar"}
    assert evaluated(workdays, resources={"calendar": Calendar(holidays=[5])}).skip_message == "holiday"
    assert evaluated(workdays, resources={"calendar": Calendar(holidays=[])}).run_requests


def test_a_schedule_is_called_as_the_function_that_it_is() -> None:
    @schedule("@daily", job=nightly)
    def direct(context: ScheduleEvaluationContext) -> dict[str, str]:
        return {"day": str(context.scheduled_execution_time.date())}

    assert direct(build_schedule_context(scheduled_execution_time=NOON)) == {"day": "2024-03-05"}
    with pytest.raises(InvalidInvocationError, match=r"build_schedule_context\(\)"):
        direct()
    with pytest.raises(InvariantViolationError, match="scheduled_execution_time"):
        direct(build_schedule_context())
    with pytest.raises(InvalidInvocationError, match="evaluate_tick"):
        ScheduleDefinition(job=nightly, cron_schedule="@daily")()


@pytest.mark.parametrize(
    ("cron", "same"),
    [
        ("0 0 * * sat-sun", "0 0 * * 0,6"),
        ("0 0 * * FRI-MON/2", "0 0 * * 5,0"),
        ("15 22-2,12 * * *", "15 0-2,12,22,23 * * *"),
        ("0 0 ? nov-feb ?", "0 0 * 11,12,1,2 *"),
        ("0 0 28-3 * 1-5", "0 0 28-31,1-3 * 1-5"),
        ("0 0 * * 7-2", "0 0 * * 0-2"),
        ("0 0 * * 7-WED/2,6", "0 0 * * 0,2,6"),
    ],
)
def test_ranges_may_go_on_at_the_beginning(cron: str, same: str) -> None:
    made = ScheduleDefinition(job=nightly, cron_schedule=cron)
    assert made.cron_schedule == cron
    assert ticks(made, 40) == ticks(ScheduleDefinition(job=nightly, cron_schedule=same), 40)


# ---- of partitioned jobs -------------------------------------------------------------------------------------------


def _partitioned(config: Any) -> Any:
    @job(config=config)
    def by_window() -> None:
        work()

    return by_window


@pytest.mark.parametrize(
    ("decorator", "start", "cron", "key"),
    [
        (hourly_partitioned_config, "2024-01-01-00:00", "0 * * * *", "2024-03-05-11:00"),
        (daily_partitioned_config, "2024-01-01", "0 0 * * *", "2024-03-04"),
        (weekly_partitioned_config, "2024-01-01", "0 0 * * 0", "2024-02-25"),
        (monthly_partitioned_config, "2024-01-01", "0 0 1 * *", "2024-02-01"),
    ],
)
def test_the_schedule_of_a_partitioned_job_runs_the_window_that_closed(
    decorator: Any, start: str, cron: str, key: str
) -> None:
    @decorator(start_date=start)
    def config(start: datetime, end: datetime) -> dict[str, Any]:
        return {"ops": {"work": {}}}

    made = build_schedule_from_partitioned_job(_partitioned(config))
    assert (made.name, made.cron_schedule) == ("by_window_schedule", cron)
    tick = made.previous_tick(NOON)
    assert tick is not None
    (request,) = evaluated(made, tick).run_requests
    assert (request.partition_key, request.run_key) == (key, key)
    assert request.tags is not None
    assert request.tags["opgrid/partition"] == key


def test_partitions_that_are_no_windows_take_an_expression() -> None:
    @static_partitioned_config(["a", "b"])
    def config(key: str) -> dict[str, Any]:
        return {"ops": {"work": {}}}

    with pytest.raises(InvalidDefinitionError, match="cron_schedule"):
        build_schedule_from_partitioned_job(_partitioned(config))
    made = build_schedule_from_partitioned_job(_partitioned(config), cron_schedule="0 0 * * *")
    assert [each.partition_key for each in evaluated(made).run_requests] == ["a", "b"]


def test_a_window_is_run_once_also_where_none_ends_at_a_tick() -> None:
    workdays = DailyPartitionsDefinition("2024-03-01", end_date="2024-03-07", exclusions=["0 0 * * 0,6"])
    for partitions, keys in (
        (workdays, [["2024-03-01"], [], [], ["2024-03-04"], ["2024-03-05"], ["2024-03-06"], [], []]),
        (
            MultiPartitionsDefinition({"day": workdays, "place": StaticPartitionsDefinition(["a"])}),
            [["2024-03-01|a"], [], [], ["2024-03-04|a"], ["2024-03-05|a"], ["2024-03-06|a"], [], []],
        ),
    ):

        @job(partitions_def=partitions)
        def by_window() -> None:
            work()

        made = build_schedule_from_partitioned_job(by_window)
        ticks = [evaluated(made, datetime(2024, 3, day, tzinfo=UTC)) for day in range(2, 10)]
        assert [[each.partition_key for each in tick.run_requests] for tick in ticks] == keys
        at_noon = [evaluated(made, datetime(2024, 3, day, 12, tzinfo=UTC)) for day in range(2, 10)]
        assert at_noon == ticks  # as a test may ask it, or a preview
        assert "still '2024-03-01'" in str(ticks[1].skip_message)


def test_a_window_is_run_for_each_key_that_the_instance_knows_then() -> None:
    days, places = DailyPartitionsDefinition("2024-03-01"), DynamicPartitionsDefinition(name="places")

    @job(partitions_def=MultiPartitionsDefinition({"day": days, "place": places}))
    def by_window() -> None:
        work()

    made = build_schedule_from_partitioned_job(by_window, hour_of_day=12)
    assert made.cron_schedule == "0 12 * * *"
    with instance_for_test() as instance:
        assert "no partition yet" in str(evaluated(made, instance=instance).skip_message)
        instance.add_dynamic_partitions("places", ["a", "b"])
        keys = [each.partition_key for each in evaluated(made, instance=instance).run_requests]
    assert keys == ["2024-03-04|a", "2024-03-04|b"]


def test_tags_of_a_schedule_are_of_runs_that_its_function_does_not_ask_for_itself() -> None:
    @schedule(job=nightly, cron_schedule="@daily", tags={"team": "data"})
    def by_config(_: ScheduleEvaluationContext) -> dict[str, object]:
        return {}

    @schedule(job=nightly, cron_schedule="@daily", tags={"team": "data"})
    def request(_: ScheduleEvaluationContext) -> RunRequest:
        return RunRequest(tags={"kind": "own"})

    assert [each.tags for each in evaluated(by_config).run_requests] == [
        {"team": "data", "opgrid/schedule_name": "by_config"}
    ]
    assert [each.tags for each in evaluated(request).run_requests] == [
        {"kind": "own", "opgrid/schedule_name": "request"}
    ]
