"""Jobs that follow one another: when a run of one has ended well, the next is launched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opgrid.contracts.status import RunStatus
from opgrid.definitions.graph import GraphDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.partitions.base import PARTITION_RANGE_TAG
from opgrid.definitions.run_request import RunRequest
from opgrid.definitions.run_status_sensor import (
    CodeLocationSelector,
    JobSelector,
    RunStatusSensorContext,
    RunStatusSensorDefinition,
)
from opgrid.definitions.sensor import DefaultSensorStatus
from opgrid.errors import InvalidDefinitionError

__all__ = ["UPSTREAM_RUN_TAG", "run_after"]

#: On a run that was launched by the end of another: the id of that run.
UPSTREAM_RUN_TAG = "opgrid/upstream_run_id"
_INTERVAL = 1  #: seconds


def run_after(
    job: JobDefinition,
    *upstream: JobDefinition | JobSelector | CodeLocationSelector | str,
    status: RunStatus = RunStatus.SUCCESS,
    run_config: Mapping[str, Any] | Callable[[Any], Any] | None = None,
    tags: Mapping[str, str] | None = None,
    name: str | None = None,
    description: str | None = None,
    default_status: DefaultSensorStatus = DefaultSensorStatus.RUNNING,
) -> RunStatusSensorDefinition:
    """Launch ``job`` whenever a run of one of the ``upstream`` jobs comes to ``status``, once for each such run.

        Definitions(jobs=[load, report], sensors=[run_after(report, load)])

    It is a run status sensor that runs from the start, named ``report_after_load``. An upstream job of another code
    location is a :class:`JobSelector`. Where both jobs are partitioned, the run is for the same partition; its run
    config is ``run_config``, or what that function makes of the upstream run, a :class:`Run`. Its tag
    ``opgrid/upstream_run_id`` names the upstream run. Raises InvalidDefinitionError.
    """
    if not isinstance(job, JobDefinition):
        raise InvalidDefinitionError(f"run_after({job!r}, ...): the first is the job to launch; it has to be a job.")
    if not upstream:
        raise InvalidDefinitionError(f"run_after({job.name}): name the jobs that it comes after.")
    if any(_name(each) == job.name and not isinstance(each, JobSelector) for each in upstream):
        raise InvalidDefinitionError(f"run_after({job.name}, {job.name}): a job that follows itself would never end.")

    def follow(context: RunStatusSensorContext) -> RunRequest:
        run = context.run
        config = run_config(run) if callable(run_config) else run_config
        key = context.partition_key or run.tags.get(PARTITION_RANGE_TAG)
        return RunRequest(
            run.run_id,
            config,
            {**(tags or {}), UPSTREAM_RUN_TAG: run.run_id},
            partition_key=key if job.partitions_def is not None else None,
        )

    return RunStatusSensorDefinition(
        name or f"{job.name}_after_{'_and_'.join(map(_name, upstream))}",
        status,
        follow,
        _INTERVAL,
        description or f"Launches {job.name} after {', '.join(map(_name, upstream))}.",
        upstream,
        default_status=default_status,
        request_job=job,
    )


def _name(job: Any) -> str:
    if isinstance(job, JobSelector):
        return job.job_name
    if isinstance(job, CodeLocationSelector):
        return job.location_name
    return job.name if isinstance(job, JobDefinition | GraphDefinition) else str(job)
