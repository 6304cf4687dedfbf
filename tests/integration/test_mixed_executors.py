"""Ops of one job on executors of their own, by tag."""

from __future__ import annotations

import os

import pytest

from opgrid import DynamicOut, DynamicOutput, Run, execute_job, fleet_for_test, in_process_executor, job, op
from opgrid.contracts.events import StepSucceeded

pytestmark = pytest.mark.celery


@op(out=DynamicOut(), tags={"opgrid/executor": "in_process"})
def here():  # type: ignore[no-untyped-def]
    for number in range(4):
        yield DynamicOutput((os.getpid(), number), mapping_key=str(number))


@op(tags={"opgrid/executor": "celery"})
def on_the_fleet(given):  # type: ignore[no-untyped-def]
    return (os.getpid(), given[1] * 2)


@op(tags={"opgrid/executor": "multiprocess"})
def beside(given):  # type: ignore[no-untyped-def]
    return (os.getpid(), sum(number for _, number in given))


@op
def wherever(given):  # type: ignore[no-untyped-def]
    return (os.getpid(), given[1] + 1)


@job(tags={"team": "data"})
def mixed() -> None:
    wherever(beside(here().map(on_the_fleet).collect()))


@pytest.mark.parametrize("executor", ["celery", "multiprocess"])
def test_each_op_runs_where_its_tag_says(executor: str) -> None:
    with fleet_for_test(concurrency=2) as fleet, execute_job(mixed, fleet.instance, executor=executor) as result:
        assert result.success
        places = {step: result.output_for_node(step) for step in ("beside", "wherever")}
        made = result.output_for_node("here")
        fleets = result.output_for_node("on_the_fleet")
        ended = [event.step for event in result.filter_events(lambda event: isinstance(event, StepSucceeded))]
        run = fleet.instance.get_run_by_id(result.run_id)
    assert {pid for pid, _ in made.values()} == {os.getpid()}
    assert os.getpid() not in {pid for pid, _ in fleets.values()}
    assert places["beside"][0] not in {os.getpid(), *(pid for pid, _ in fleets.values())}
    assert places["wherever"][1] == 2 * (0 + 1 + 2 + 3) + 1
    on_fleet = places["wherever"][0] in {pid for pid, _ in fleets.values()}
    assert on_fleet or places["wherever"][0] != os.getpid()
    assert len(ended) == len(set(ended)) == 7
    assert isinstance(run, Run)
    assert (run.job_name, run.is_finished, run.is_success, run.tags["team"]) == ("mixed", True, True, "data")


def test_a_tag_works_in_a_job_that_runs_here() -> None:
    local = mixed.with_executor_def(in_process_executor)
    with fleet_for_test() as fleet, execute_job(local, fleet.instance) as result:
        assert result.success
        assert result.output_for_node("wherever")[0] == os.getpid()
        assert result.output_for_node("on_the_fleet")["3"][0] != os.getpid()
