"""Sensors: runs when a function, called every so often, sees a reason for them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Self

from opgrid.contracts.metadata import check_metadata
from opgrid.contracts.tags import tags_of
from opgrid.definitions.automation import (
    EvaluationContext,
    EvaluationFunction,
    complete,
    given_by,
    status_of,
    targets_of,
    where,
)
from opgrid.definitions.names import check_name, check_owners, check_storable, place_of
from opgrid.definitions.run_request import (
    DeleteDynamicPartitionsRequest,
    DynamicPartitionsRequest,
    Evaluation,
    RunRequest,
    SensorResult,
    SkipReason,
)
from opgrid.errors import InvalidDefinitionError, InvariantViolationError

if TYPE_CHECKING:
    from opgrid.definitions.definitions import Definitions
    from opgrid.definitions.job import JobDefinition

SENSOR_TAG: Final = "opgrid/sensor_name"
DEFAULT_INTERVAL: Final = 30  #: seconds
_EMPTY: Final = "Sensor function returned an empty result"

SensorFn = Callable[..., Any]


class DefaultSensorStatus(StrEnum):
    """Whether a sensor runs where nobody has started or stopped it."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class SensorEvaluationContext(EvaluationContext):
    """What the function of a sensor is given: its cursor, what it did last, and resources."""

    builder = "build_sensor_context"
    kind = "sensor"

    def __init__(
        self,
        name: str | None = None,
        instance: Any = None,
        resources: Mapping[str, Any] | None = None,
        repository_def: Definitions | None = None,
        current_time: datetime | None = None,
        *,
        cursor: str | None = None,
        last_run_key: str | None = None,
        last_tick_completion_time: float | None = None,
        last_sensor_start_time: float | None = None,
    ) -> None:
        super().__init__(name, instance, resources, repository_def, current_time)
        self._cursor = cursor
        self._cursor_was_updated = False
        self.last_run_key = last_run_key
        self.last_tick_completion_time = last_tick_completion_time  #: Unix seconds
        self.last_sensor_start_time = last_sensor_start_time  #: Unix seconds

    @property
    def sensor_name(self) -> str | None:
        return self.name

    @property
    def cursor(self) -> str | None:
        """What the last tick that succeeded left, or this one has set."""
        return self._cursor

    @property
    def cursor_was_updated(self) -> bool:
        return self._cursor_was_updated

    def update_cursor(self, cursor: str | None) -> None:
        """Kept when this tick succeeds."""
        if cursor is not None and not isinstance(cursor, str):
            raise InvariantViolationError(
                f"update_cursor was given {cursor!r}: a cursor has to be a string. Use str() or json.dumps()."
            )
        if cursor is not None:
            check_storable(cursor, "The cursor that update_cursor was given")
        self._cursor, self._cursor_was_updated = cursor, True

    @property
    def is_first_tick_since_sensor_start(self) -> bool:
        """Also where it never was started."""
        started, last = self.last_sensor_start_time, self.last_tick_completion_time
        return last is None or (started is not None and last < started)


def build_sensor_context(
    instance: Any = None,
    cursor: str | None = None,
    repository_name: str | None = None,
    repository_def: Definitions | None = None,
    sensor_name: str | None = None,
    resources: Mapping[str, Any] | None = None,
    definitions: Definitions | None = None,
    instance_ref: Any = None,
    last_sensor_start_time: float | None = None,
    *,
    last_tick_completion_time: float | None = None,
    last_run_key: str | None = None,
    current_time: datetime | None = None,
) -> SensorEvaluationContext:
    """To call a sensor in a test.

    new_files(build_sensor_context(cursor="2024-01-01"))
    """
    return SensorEvaluationContext(
        sensor_name,
        instance if instance is not None else instance_ref,
        resources,
        definitions if definitions is not None else repository_def,
        current_time,
        cursor=cursor,
        last_run_key=last_run_key,
        last_tick_completion_time=last_tick_completion_time,
        last_sensor_start_time=last_sensor_start_time,
    )


class SensorDefinition:
    """Which function to ask, how often, and the jobs that it asks for runs of. Made by :func:`sensor`."""

    context_type: type[EvaluationContext] = SensorEvaluationContext
    parameters: int = 0  #: that its function takes after the context

    def __init__(
        self,
        name: str | None = None,
        *,
        evaluation_fn: SensorFn | None = None,
        job_name: str | None = None,
        minimum_interval_seconds: int | None = None,
        description: str | None = None,
        job: Any = None,
        jobs: Iterable[Any] | None = None,
        default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
        asset_selection: Any = None,
        required_resource_keys: Iterable[str] | None = None,
        tags: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        target: Any = None,
        owners: Sequence[str] | None = None,
    ) -> None:
        if evaluation_fn is None:
            raise InvalidDefinitionError("A sensor has no function: decorate one with @sensor.")
        self.location = place_of(evaluation_fn)
        self.name = check_name(self._name(name, evaluation_fn), "a sensor", self.location)
        what = self._what
        if asset_selection is not None:
            raise InvalidDefinitionError(f"{what} selects assets; opgrid runs jobs of ops. Give it job=.")
        self.targets = targets_of(what, job_name, job, jobs, target)
        interval: object = DEFAULT_INTERVAL if minimum_interval_seconds is None else minimum_interval_seconds
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 0:
            raise InvalidDefinitionError(
                f"{what} has minimum_interval_seconds={minimum_interval_seconds!r}: it has to be a whole number of "
                "seconds from 0 on."
            )
        self.minimum_interval_seconds = interval
        self.description = description if description is not None else inspect.getdoc(evaluation_fn)
        self.default_status = status_of(default_status, DefaultSensorStatus, what)
        self.tags = tags_of(tags, what)
        self.metadata = check_metadata(metadata, what)
        self.owners = check_owners(owners, what)
        self._function = EvaluationFunction(evaluation_fn, what, self.parameters)
        self.required_resource_keys = frozenset(required_resource_keys or ()) | set(self._function.resources)

    @staticmethod
    def _name(name: str | None, function: Any) -> str:
        called = name if name is not None else getattr(function, "__name__", None)
        if called is None:
            raise InvalidDefinitionError("A sensor has neither a name nor a function that has one: give it name=.")
        return str(called)

    @property
    def _what(self) -> str:
        return where("Sensor", self.name, self.location)

    @property
    def target_jobs(self) -> tuple[JobDefinition, ...]:
        return tuple(each.job for each in self.targets if each.job is not None)

    @property
    def target_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.targets)

    @property
    def jobs(self) -> list[JobDefinition]:
        return list(self.target_jobs)

    @property
    def job(self) -> JobDefinition:
        if len(self.target_jobs) != 1:
            raise InvalidDefinitionError(f"{self._what} has {len(self.target_jobs)} job definitions, not one.")
        return self.target_jobs[0]

    @property
    def job_name(self) -> str | None:
        return self.targets[0].name if len(self.targets) == 1 else None

    # ---- copies ----------------------------------------------------------------------------------------------------

    def with_attributes(self, *, jobs: Iterable[Any] | None = None, metadata: Mapping[str, Any] | None = None) -> Self:
        """The same with other jobs or metadata, where they are given."""
        found = copy.copy(self)
        if jobs is not None:
            found.targets = targets_of(self._what, jobs=jobs)
        if metadata is not None:
            found.metadata = check_metadata(metadata, self._what)
        return found

    def with_updated_jobs(self, new_jobs: Iterable[Any]) -> Self:
        return self.with_attributes(jobs=new_jobs)

    def with_updated_job(self, new_job: Any) -> Self:
        return self.with_updated_jobs([new_job])

    # ---- evaluating ------------------------------------------------------------------------------------------------

    def evaluate_tick(self, context: SensorEvaluationContext) -> Evaluation:
        """What to launch now. What the user's function raises goes through, and then no cursor is to be kept."""
        return self._evaluated(self._function(context), context)

    def _evaluated(self, returned: Any, context: EvaluationContext) -> Evaluation:
        result = self._result(returned)
        cursor = self._cursor_of(result, context)
        partitions = tuple(result.dynamic_partitions_requests or ())
        requests = list(result.run_requests or ())
        store = _WithRequests(context.optional_instance, partitions) if partitions else context.optional_instance
        before, context.optional_instance = context.optional_instance, store
        try:
            own = {SENSOR_TAG: self.name}
            complete_ones = tuple(complete(each, self.targets, self._what, {}, own, context) for each in requests)
        finally:
            context.optional_instance = before
        reason = None
        if not complete_ones:
            reason = result.skip_reason.skip_message if isinstance(result.skip_reason, SkipReason) else None
            reason = reason or _EMPTY
        return Evaluation(complete_ones, reason, cursor, partitions, tuple(result.asset_events))

    def _result(self, returned: Any) -> SensorResult:
        several = given_by(returned)
        for each in several:
            if not isinstance(each, RunRequest | SkipReason | SensorResult):
                raise InvariantViolationError(
                    f"{self._what} gave {each!r}. Return or yield RunRequest(...), SkipReason(...) or "
                    "SensorResult(...)."
                )
        alone = [each for each in several if isinstance(each, SkipReason | SensorResult)]
        if alone and len(several) > 1:
            raise InvariantViolationError(
                f"{self._what} gave a {type(alone[0]).__name__} together with something else: give it alone."
            )
        if alone:
            (only,) = alone
            return only if isinstance(only, SensorResult) else SensorResult(skip_reason=only)
        return SensorResult(run_requests=several)

    def _cursor_of(self, result: SensorResult, context: EvaluationContext) -> str | None:
        updated = isinstance(context, SensorEvaluationContext) and context.cursor_was_updated
        if updated and result.cursor is not None:
            raise InvariantViolationError(
                f"{self._what} set its cursor with update_cursor() and in its SensorResult: do it in one of them."
            )
        if result.cursor is not None:
            return result.cursor
        return context.cursor if isinstance(context, SensorEvaluationContext) else None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function itself gives, for tests of it."""
        return self._function.invoke(self._what, self.context_type, args, kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class _WithRequests:
    """Dynamic partitions as they will be once the requests of a tick are carried out."""

    def __init__(self, store: Any, requests: Sequence[DynamicPartitionsRequest]) -> None:
        self._store, self._requests = store, requests

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]:
        keys = list(self._store.get_dynamic_partitions(partitions_def_name)) if self._store is not None else []
        for request in self._requests:
            if request.partitions_def_name != partitions_def_name:
                continue
            if isinstance(request, DeleteDynamicPartitionsRequest):
                keys = [key for key in keys if key not in request.partition_keys]
            else:
                keys += [key for key in request.partition_keys if key not in keys]
        return keys


def sensor(
    job_name: str | None = None,
    *,
    name: str | None = None,
    minimum_interval_seconds: int | None = None,
    description: str | None = None,
    job: Any = None,
    jobs: Iterable[Any] | None = None,
    default_status: DefaultSensorStatus = DefaultSensorStatus.STOPPED,
    asset_selection: Any = None,
    required_resource_keys: Iterable[str] | None = None,
    tags: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    target: Any = None,
    owners: Sequence[str] | None = None,
) -> Callable[[SensorFn], SensorDefinition]:
    """Makes a sensor of a function that gives RunRequests, a SkipReason or a SensorResult.

    @sensor(job=load_file, minimum_interval_seconds=60)
    def new_files(context):
        for name in sorted(os.listdir("inbox")):
            yield RunRequest(run_key=name, run_config={"ops": {"load": {"config": {"file": name}}}})
    """
    if callable(job_name):
        raise InvalidDefinitionError("@sensor needs parentheses: write @sensor(job=...).")

    def decorated(fn: SensorFn) -> SensorDefinition:
        made = SensorDefinition(
            name,
            evaluation_fn=fn,
            job_name=job_name,
            minimum_interval_seconds=minimum_interval_seconds,
            description=description,
            job=job,
            jobs=jobs,
            default_status=default_status,
            asset_selection=asset_selection,
            required_resource_keys=required_resource_keys,
            tags=tags,
            metadata=metadata,
            target=target,
            owners=owners,
        )
        update_wrapper(made, fn, updated=())
        return made

    return decorated
