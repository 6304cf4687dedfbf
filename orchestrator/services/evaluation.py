"""What the process of a code location does for the service: it alone has the user's code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from opgrid.contracts.tasks import CodeTarget
from opgrid.definitions.definitions import Definitions
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.run_request import AddDynamicPartitionsRequest, Evaluation, RunRequest
from opgrid.definitions.run_status_sensor import RunStatusSensorContext, RunStatusSensorDefinition
from opgrid.definitions.schedule import DefaultScheduleStatus, ScheduleDefinition, ScheduleEvaluationContext
from opgrid.definitions.sensor import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext
from opgrid.errors import InvariantViolationError
from opgrid.loading import load
from orchestrator.instance import Instance
from orchestrator.locations.messages import (
    Answer,
    Asked,
    Describe,
    Described,
    DescribeJob,
    Evaluated,
    JobDetails,
    JobInfo,
    Keys,
    LocationInfo,
    PartitionChange,
    PartitionKeys,
    Prepare,
    ReadyRun,
    ScheduleInfo,
    SensorInfo,
    TickRunStatus,
    TickSchedule,
    TickSensor,
)
from orchestrator.services.environment import uses_of
from orchestrator.services.launching import Request, prepare
from orchestrator.services.reexecution import ReexecutionOptions, reexecution
from orchestrator.services.scaffold import scaffold
from orchestrator.storage.records import LOCATION_TAG


class Evaluator:
    """Loads the code when it is first asked. ``instance`` opens the installation that contexts are given."""

    def __init__(self, name: str, code: CodeTarget, instance: Callable[[], Instance]) -> None:
        self.name = name
        self._code = code
        self._instance = instance
        self._tags = location_tags(name, code)

    def __call__(self, asked: Asked) -> Answer:
        """Raises what user code raises."""
        definitions = load(self._code)
        match asked:
            case Describe():
                Definitions.validate_loadable(definitions)
                return Described(self._info(definitions))
            case TickSchedule(name, at):
                return self._schedule(definitions.get_schedule_def(name), definitions, at)
            case TickSensor():
                return self._sensor(definitions.get_sensor_def(asked.name), definitions, asked)
            case TickRunStatus():
                return self._run_status(definitions.get_sensor_def(asked.name), definitions, asked)
            case Prepare():
                return Evaluated((self._prepared(definitions, asked),))
            case DescribeJob(name):
                return _details(definitions.get_job_def(name))
            case PartitionKeys(job):
                return Keys(tuple(self._partition_keys(definitions, job)))

    def _info(self, definitions: Definitions) -> LocationInfo:
        jobs = definitions.resolve_all_job_defs()
        info = LocationInfo(
            self.name,
            tuple(_job_info(job) for job in jobs),
            tuple(self._schedule_info(each, definitions) for each in definitions.schedules),
            tuple(_sensor_info(each) for each in definitions.sensors),
            uses_of(definitions.resources, jobs),
        )
        return msgspec.structs.replace(info, version=hashlib.sha256(msgspec.json.encode(info)).hexdigest()[:12])

    def _schedule_info(self, schedule: ScheduleDefinition, definitions: Definitions) -> ScheduleInfo:
        crons = schedule.cron_schedule
        jobs = [definitions.get_job_def(name) for name in schedule.target_names if definitions.has_job(name)]
        return ScheduleInfo(
            schedule.name,
            (crons,) if isinstance(crons, str) else tuple(crons),
            schedule.execution_timezone,
            schedule.target_names,
            schedule.description,
            schedule.default_status is DefaultScheduleStatus.RUNNING,
            any(job.partitions_def is not None for job in jobs),
        )

    # ---- ticks -----------------------------------------------------------------------------------------------------

    def _schedule(self, schedule: ScheduleDefinition, definitions: Definitions, at: float) -> Evaluated:
        context = ScheduleEvaluationContext(
            schedule.name,
            self._instance(),
            definitions.resources,
            definitions,
            scheduled_execution_time=_moment(at, schedule),
        )
        with context:
            return self._evaluated(schedule.evaluate_tick(context), definitions)

    def _sensor(self, sensor: SensorDefinition, definitions: Definitions, asked: TickSensor) -> Evaluated:
        context = SensorEvaluationContext(
            sensor.name,
            self._instance(),
            definitions.resources,
            definitions,
            cursor=asked.cursor,
            last_run_key=asked.last_run_key,
            last_tick_completion_time=asked.completed,
            last_sensor_start_time=asked.since,
        )
        with context:
            return self._evaluated(sensor.evaluate_tick(context), definitions)

    def _run_status(self, sensor: Any, definitions: Definitions, asked: TickRunStatus) -> Evaluated:
        if not isinstance(sensor, RunStatusSensorDefinition):
            raise InvariantViolationError(f"Sensor {asked.name!r} is none on the status of runs.")
        instance = self._instance()
        run = instance.record(asked.run_id)
        # What was launched by the name of the file has no other name on it.
        location = self.name if run.location == self._code.location else run.location
        if not sensor.monitors(run.job, location, self.name):
            return Evaluated()
        ((_, event),) = instance.store.events(asked.run_id, asked.number - 1, 1)
        context = RunStatusSensorContext(
            sensor.name, instance, definitions.resources, definitions, run=run, event=event.of_job(run.job)
        )
        with context:
            return self._evaluated(sensor.evaluate_run(context), definitions)

    def _evaluated(self, found: Evaluation, definitions: Definitions) -> Evaluated:
        changes = tuple(
            PartitionChange(
                each.partitions_def_name, tuple(each.partition_keys), isinstance(each, AddDynamicPartitionsRequest)
            )
            for each in found.dynamic_partitions_requests
        )
        runs = tuple(self._ready(request, definitions) for request in found.run_requests)
        return Evaluated(runs, found.skip_message, found.cursor, changes)

    # ---- runs ------------------------------------------------------------------------------------------------------

    def _ready(self, request: RunRequest, definitions: Definitions) -> ReadyRun:
        """The partition's config and tags are in the request already."""
        made = Prepare(request.job_name or "", request.run_config or None, dict(request.tags or {}))
        return msgspec.structs.replace(self._prepared(definitions, made), run_key=request.run_key)

    def _prepared(self, definitions: Definitions, asked: Prepare) -> ReadyRun:
        instance = self._instance()
        if asked.parent_run_id is not None:
            return self._ready_run(self._reexecution(definitions, asked, asked.parent_run_id))
        request = Request(
            definitions.get_job_def(asked.job),
            asked.run_config,
            asked.executor,
            asked.op_selection or None,
            tags={**asked.tags, **self._tags},
            partition_key=asked.partition_key,
            code=self._code,
            python_logs=instance.python_logs,
            partitions=instance,
        )
        return self._ready_run(request)

    def _reexecution(self, definitions: Definitions, asked: Prepare, parent_run_id: str) -> Request:
        options = ReexecutionOptions(parent_run_id, asked.step_selection, asked.from_failure)
        return reexecution(
            self._instance(),
            options,
            definitions.get_job_def(asked.job),
            run_config=asked.run_config,
            executor=asked.executor,
            op_selection=asked.op_selection or None,
            tags={**asked.tags, **self._tags},
            code=self._code,
        )

    def _ready_run(self, request: Request) -> ReadyRun:
        prepared = prepare(request)
        return ReadyRun(
            prepared.brief,
            self._code,
            msgspec.Raw(prepared.plan_json),
            msgspec.Raw(prepared.snapshot_json),
        )

    def _partition_keys(self, definitions: Definitions, name: str) -> list[str]:
        job = definitions.get_job_def(name)
        if job.partitions_def is None:
            raise InvariantViolationError(f"Job {name!r} has no partitions.")
        return [str(key) for key in job.partitions_def.get_partition_keys(None, self._instance())]


def location_tags(name: str, code: CodeTarget) -> dict[str, str]:
    """On runs of a code location of this name."""
    return {} if name == code.location else {LOCATION_TAG: name}


def _job_info(job: JobDefinition) -> JobInfo:
    executor = "" if job.own_executor is None else job.own_executor.name
    return JobInfo(job.name, job.structure_hash, job.description, job.partitions_def is not None, executor)


def _details(job: JobDefinition) -> JobDetails:
    return JobDetails(
        msgspec.Raw(msgspec.json.encode(job.structure)),
        msgspec.Raw(json.dumps(job.run_config_schema, default=str).encode()),
        _plain(scaffold(job)),
        _plain(scaffold(job, required_only=True)),
        _plain(job.run_config or {}),
        dict(job.tags),
        {key: resource.description for key, resource in job.resource_defs.items()},
    )


def _plain(config: Any) -> dict[str, object]:
    """As JSON has it."""
    found: dict[str, object] = json.loads(json.dumps(config, default=str))
    return found


def _sensor_info(sensor: SensorDefinition) -> SensorInfo:
    status = sensor.run_status.value if isinstance(sensor, RunStatusSensorDefinition) else None
    return SensorInfo(
        sensor.name,
        sensor.minimum_interval_seconds,
        sensor.target_names,
        sensor.description,
        sensor.default_status is DefaultSensorStatus.RUNNING,
        status,
    )


def _moment(at: float, schedule: ScheduleDefinition) -> datetime:
    from zoneinfo import ZoneInfo

    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(schedule.execution_timezone))
