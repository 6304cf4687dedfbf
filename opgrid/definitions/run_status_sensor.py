"""Sensors on runs: a function that is called for each run that has come to a status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, overload

from opgrid.contracts.events import AnyEvent, RunFailed, StepFailed
from opgrid.contracts.status import RunStatus
from opgrid.definitions.automation import EvaluationContext
from opgrid.definitions.graph import GraphDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.run_request import Evaluation
from opgrid.definitions.sensor import DefaultSensorStatus, SensorDefinition, SensorFn
from opgrid.errors import InvalidDefinitionError, InvariantViolationError

if TYPE_CHECKING:
    from opgrid.definitions.definitions import Definitions

#: What a sensor may wait for.
_STATUSES = tuple(RunStatus)


@dataclass(frozen=True, slots=True)
class JobSelector:
    """A job of another code location: ``JobSelector(location_name="shop.py", job_name="orders")``."""

    location_name: str | None = None
    repository_name: str | None = None
    job_name: str = ""

    def __post_init__(self) -> None:
        if not self.job_name:
            raise InvalidDefinitionError(
                f"{self!r} names no job: give job_name=, or use CodeLocationSelector for all jobs of a location."
            )

    def selects(self, job_name: str, location: str | None) -> bool:
        return self.job_name == job_name and self.location_name in (None, location)


@dataclass(frozen=True, slots=True)
class CodeLocationSelector:
    """All jobs of a code location."""

    location_name: str

    def selects(self, job_name: str, location: str | None) -> bool:
        return self.location_name == location


@dataclass(frozen=True, slots=True)
class RepositorySelector:
    """All jobs of a code location, by its older name."""

    location_name: str
    repository_name: str = "__repository__"

    def selects(self, job_name: str, location: str | None) -> bool:
        return self.location_name == location


class RunStatusSensorContext(EvaluationContext):
    """What the function of such a sensor is given: the run, and the event that brought it to the status."""

    builder = "build_run_status_sensor_context"
    kind = "sensor"

    def __init__(
        self,
        name: str | None = None,
        instance: Any = None,
        resources: Mapping[str, Any] | None = None,
        repository_def: Definitions | None = None,
        current_time: datetime | None = None,
        *,
        run: Any = None,
        event: AnyEvent | None = None,
        partition_key: str | None = None,
    ) -> None:
        super().__init__(name, instance, resources, repository_def, current_time)
        self._run, self._event, self._partition_key = run, event, partition_key

    @property
    def sensor_name(self) -> str | None:
        return self.name

    @property
    def run(self) -> Any:
        """The :class:`~opgrid.RunRecord`."""
        if self._run is None:
            raise InvariantViolationError(f"This context has no run: pass one, {self.builder}(run=...).")
        return self._run

    @property
    def event(self) -> AnyEvent:
        if self._event is None:
            raise InvariantViolationError(f"This context has no event: pass one, {self.builder}(event=...).")
        return self._event

    @property
    def partition_key(self) -> str | None:
        if self._partition_key is not None or self._run is None:
            return self._partition_key
        found: str | None = self._run.brief.tags.get("opgrid/partition")
        return found

    def for_run_failure(self) -> RunFailureSensorContext:
        """The same, with what tells more about a failure."""
        return RunFailureSensorContext(
            self.name,
            self.optional_instance,
            self._given,
            self.repository_def,
            self.current_time,
            run=self._run,
            event=self._event,
            partition_key=self._partition_key,
        )


class RunFailureSensorContext(RunStatusSensorContext):
    """For sensors on failed runs."""

    @property
    def failure_event(self) -> RunFailed:
        event = self.event
        if not isinstance(event, RunFailed):
            raise InvariantViolationError(f"The event of this context is a {type(event).__name__}, not a failure.")
        return event

    def get_step_failure_events(self) -> list[StepFailed]:
        """Those after which no retry came."""
        events = self.instance.all_logs(self.run.run_id)
        last = {event.step: event for event in events if isinstance(event, StepFailed)}
        later = {
            event.step: event.attempt
            for event in events
            if event.TYPE.value == "STEP_START" and event.step in last and event.attempt > last[event.step].attempt
        }
        return [event for step, event in last.items() if step not in later]


def build_run_status_sensor_context(
    sensor_name: str,
    event: AnyEvent | None = None,
    instance: Any = None,
    run: Any = None,
    context: Any = None,
    resources: Mapping[str, Any] | None = None,
    partition_key: str | None = None,
    *,
    repository_def: Definitions | None = None,
) -> RunStatusSensorContext:
    """To call a run status sensor in a test; ``run`` and ``event`` come from an executed job: ``result.run``,
    ``result.get_run_success_event()``.
    """
    given = context if context is not None else EvaluationContext()
    return RunStatusSensorContext(
        sensor_name,
        instance if instance is not None else given.optional_instance,
        resources,
        repository_def if repository_def is not None else given.repository_def,
        run=run,
        event=event,
        partition_key=partition_key,
    )


class RunStatusSensorDefinition(SensorDefinition):
    """Which runs to watch for which status. Made by :func:`run_status_sensor`."""

    context_type = RunStatusSensorContext

    def __init__(
        self,
        name: str | None,
        run_status: RunStatus,
        run_status_sensor_fn: SensorFn,
        minimum_interval_seconds: int | None = None,
        description: str | None = None,
        monitored_jobs: Iterable[Any] | None = None,
        monitor_all_code_locations: bool = False,
        default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
        request_job: Any = None,
        request_jobs: Iterable[Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        required_resource_keys: Iterable[str] | None = None,
        owners: Sequence[str] | None = None,
    ) -> None:
        super().__init__(
            name,
            evaluation_fn=run_status_sensor_fn,
            minimum_interval_seconds=minimum_interval_seconds,
            description=description,
            job=request_job,
            jobs=request_jobs,
            default_status=default_status,
            required_resource_keys=required_resource_keys,
            tags=tags,
            metadata=metadata,
            owners=owners,
        )
        if not isinstance(run_status, RunStatus):
            raise InvalidDefinitionError(
                f"{self._what} has run_status={run_status!r}: use RunStatus.SUCCESS, RunStatus.FAILURE or another."
            )
        self.run_status = run_status
        self.monitored_jobs = tuple(_monitored(each, self._what) for each in monitored_jobs or ())
        self.monitor_all_code_locations = monitor_all_code_locations
        if monitor_all_code_locations and self.monitored_jobs:
            raise InvalidDefinitionError(
                f"{self._what} has monitored_jobs= and monitor_all_code_locations=: keep one of them."
            )

    def monitors(self, job_name: str, location: str | None = None, own_location: str | None = None) -> bool:
        """Whether a run of this job is one to call the function for. Without ``monitored_jobs``: those of its own
        location.
        """
        if self.monitor_all_code_locations:
            return True
        if not self.monitored_jobs:
            return location == own_location
        return any(
            each == job_name and location == own_location if isinstance(each, str) else each.selects(job_name, location)
            for each in self.monitored_jobs
        )

    def evaluate_run(self, context: RunStatusSensorContext) -> Evaluation:
        """What to launch for the run of the context. What the user's function raises goes through."""
        if self.run_status is RunStatus.FAILURE:
            context = context.for_run_failure()
        return self._evaluated(self._function(context), context)

    def evaluate_tick(self, context: Any) -> Evaluation:
        """Raises InvariantViolationError: it is evaluated for a run, not for a tick."""
        raise InvariantViolationError(f"{self._what} is asked about runs: use evaluate_run(context).")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.run_status is RunStatus.FAILURE:
            args = tuple(each.for_run_failure() if _plain(each) else each for each in args)
            kwargs = {key: each.for_run_failure() if _plain(each) else each for key, each in kwargs.items()}
        return super().__call__(*args, **kwargs)


def _plain(given: object) -> bool:
    return isinstance(given, RunStatusSensorContext) and not isinstance(given, RunFailureSensorContext)


def _monitored(given: Any, what: str) -> str | JobSelector | CodeLocationSelector | RepositorySelector:
    if isinstance(given, JobDefinition | GraphDefinition):
        return given.name
    if isinstance(given, str | JobSelector | CodeLocationSelector | RepositorySelector):
        return given
    raise InvalidDefinitionError(
        f"{what} has {given!r} among its monitored_jobs: it has to be a job, a JobSelector or a CodeLocationSelector."
    )


def run_status_sensor(
    run_status: RunStatus,
    name: str | None = None,
    minimum_interval_seconds: int | None = None,
    description: str | None = None,
    monitored_jobs: Iterable[Any] | None = None,
    job_selection: Iterable[Any] | None = None,
    monitor_all_code_locations: bool = False,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    request_job: Any = None,
    request_jobs: Iterable[Any] | None = None,
    monitor_all_repositories: bool = False,
    tags: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Sequence[str] | None = None,
) -> Callable[[SensorFn], RunStatusSensorDefinition]:
    """Makes a sensor of a function that is called for each run that comes to ``run_status``.

    @run_status_sensor(RunStatus.SUCCESS, monitored_jobs=[load], request_job=report)
    def report_after_load(context):
        return RunRequest(run_key=context.run.run_id)
    """

    def decorated(fn: SensorFn) -> RunStatusSensorDefinition:
        made = RunStatusSensorDefinition(
            name,
            run_status,
            fn,
            minimum_interval_seconds,
            description,
            monitored_jobs if monitored_jobs is not None else job_selection,
            monitor_all_code_locations or monitor_all_repositories,
            default_status,
            request_job,
            request_jobs,
            tags,
            metadata,
            owners=owners,
        )
        update_wrapper(made, fn, updated=())
        return made

    return decorated


@overload
def run_failure_sensor(name: SensorFn, /) -> RunStatusSensorDefinition: ...


@overload
def run_failure_sensor(
    name: str | None = None,
    minimum_interval_seconds: int | None = None,
    description: str | None = None,
    monitored_jobs: Iterable[Any] | None = None,
    job_selection: Iterable[Any] | None = None,
    monitor_all_code_locations: bool = False,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    request_job: Any = None,
    request_jobs: Iterable[Any] | None = None,
    monitor_all_repositories: bool = False,
    tags: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Sequence[str] | None = None,
) -> Callable[[SensorFn], RunStatusSensorDefinition]: ...


def run_failure_sensor(
    name: Any = None,
    minimum_interval_seconds: int | None = None,
    description: str | None = None,
    monitored_jobs: Iterable[Any] | None = None,
    job_selection: Iterable[Any] | None = None,
    monitor_all_code_locations: bool = False,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    request_job: Any = None,
    request_jobs: Iterable[Any] | None = None,
    monitor_all_repositories: bool = False,
    tags: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Sequence[str] | None = None,
) -> Any:
    """As :func:`run_status_sensor`, for runs that failed; with or without parentheses.

    @run_failure_sensor
    def tell_somebody(context):
        send(f"{context.run.job} failed: {context.failure_event.reason}")
    """

    def decorated(fn: SensorFn) -> RunStatusSensorDefinition:
        return run_status_sensor(
            RunStatus.FAILURE,
            None if callable(name) else name,
            minimum_interval_seconds,
            description,
            monitored_jobs,
            job_selection,
            monitor_all_code_locations,
            default_status,
            request_job,
            request_jobs,
            monitor_all_repositories,
            tags,
            metadata,
            owners,
        )(fn)

    return decorated(name) if callable(name) else decorated
