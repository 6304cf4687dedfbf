"""What an instance tells about runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from opgrid import AssetMaterialization, Instance, OpExecutionContext, RunsFilter, RunStatus, job, op
from opgrid.contracts.status import StepStatus
from opgrid.errors import RunNotFoundError


@op
def load(context: OpExecutionContext) -> int:
    context.log_event(AssetMaterialization("table"))
    return 1


@op
def fail(value: int) -> int:
    raise ValueError(value)


@job
def nightly() -> None:
    fail(load())


def test_a_run_in_numbers() -> None:
    with Instance.ephemeral() as instance:
        result = nightly.execute_in_process(instance=instance, raise_on_error=False)
        stats = instance.get_run_stats(result.run_id)
        assert (stats.steps_succeeded, stats.steps_failed, stats.materializations) == (1, 1, 1)
        assert stats.start_time is not None
        assert stats.end_time is not None
        assert stats.launch_time <= stats.start_time <= stats.end_time
        steps = instance.get_run_step_stats(result.run_id)
        assert [(step.step, step.status) for step in steps] == [
            ("load", StepStatus.SUCCESS),
            ("fail", StepStatus.FAILURE),
        ]
        assert instance.get_run_step_stats(result.run_id, ["fail"]) == steps[1:]
        with pytest.raises(RunNotFoundError, match="other"):
            instance.get_run_stats("other")


def test_a_wiped_instance_has_no_runs() -> None:
    with Instance.ephemeral() as instance:
        for _ in range(3):
            nightly.execute_in_process(instance=instance, raise_on_error=False)
        assert instance.get_runs_count(RunsFilter(statuses=(RunStatus.FAILURE,))) == 3
        instance.wipe()
        assert instance.get_runs_count() == 0


def test_an_instance_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "opgrid.yaml").write_text("broker_url: redis://somewhere:6379/0")
    with Instance.from_config(tmp_path) as instance:
        assert instance.home == tmp_path
        assert instance.broker_url == "redis://somewhere:6379/0"
