"""Jobs that follow one another, without a sensor that somebody writes."""

from __future__ import annotations

from typing import Any

import pytest

from opgrid import (
    DefaultSensorStatus,
    InvalidDefinitionError,
    JobSelector,
    OpExecutionContext,
    RunStatus,
    build_run_status_sensor_context,
    daily_partitioned_config,
    instance_for_test,
    job,
    op,
    run_after,
)


@op
def nothing() -> None: ...


@op
def key(context: OpExecutionContext) -> str:
    return context.partition_key


@job
def load() -> None:
    nothing()


@job
def report() -> None:
    nothing()


@daily_partitioned_config(start_date="2024-01-01")
def by_day(start: Any, end: Any) -> dict[str, Any]:
    return {}


@job(config=by_day)
def load_day() -> None:
    key()


@job(config=by_day)
def report_day() -> None:
    key()


def asked(sensor: Any, upstream: Any, **given: Any) -> Any:
    with instance_for_test() as instance:
        result = upstream.execute_in_process(instance=instance, **given)
        context = build_run_status_sensor_context(sensor.name, result.get_run_success_event(), instance, result.run)
        (request,) = sensor.evaluate_run(context).run_requests
        return request, result.run_id


def test_it_launches_once_for_each_run() -> None:
    sensor = run_after(report, load, tags={"why": "chain"}, run_config=lambda run: {"ops": {}})
    assert sensor.name == "report_after_load"
    assert sensor.default_status is DefaultSensorStatus.RUNNING
    assert sensor.target_names == ("report",)
    assert sensor.monitors("load", "here", "here")
    assert not sensor.monitors("report", "here", "here")
    request, run_id = asked(sensor, load)
    assert (request.run_key, request.job_name) == (run_id, "report")
    assert request.tags["opgrid/upstream_run_id"] == run_id
    assert request.tags["why"] == "chain"


def test_the_partition_goes_along() -> None:
    request, _ = asked(run_after(report_day, load_day), load_day, partition_key="2024-01-05")
    assert request.partition_key == "2024-01-05"
    assert request.tags["opgrid/partition"] == "2024-01-05"
    plain, _ = asked(run_after(report, load_day), load_day, partition_key="2024-01-05")
    assert plain.partition_key is None


def test_several_and_from_elsewhere() -> None:
    sensor = run_after(report, load, JobSelector("there", job_name="other"), status=RunStatus.FAILURE)
    assert sensor.name == "report_after_load_and_other"
    assert sensor.run_status is RunStatus.FAILURE
    assert sensor.monitors("other", "there", "here")


def test_what_makes_no_sense() -> None:
    with pytest.raises(InvalidDefinitionError, match="never end"):
        run_after(report, report)
    with pytest.raises(InvalidDefinitionError, match="name the jobs"):
        run_after(report)
    with pytest.raises(InvalidDefinitionError, match="has to be a job"):
        run_after(nothing, load)  # type: ignore[arg-type]
