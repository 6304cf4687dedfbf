"""Schedules: runs at the ticks of a cron expression."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from opgrid.definitions.cron import Cron
from opgrid.definitions.names import check_name, check_owners, place_of, place_of_caller
from opgrid.definitions.partitions.base import moment
from opgrid.definitions.run_request import Evaluation, RunRequest, SkipReason, plain_config
from opgrid.errors import InvalidDefinitionError, InvalidInvocationError, InvariantViolationError

if TYPE_CHECKING:
    from opgrid.definitions.definitions import Definitions
    from opgrid.definitions.job import JobDefinition

SCHEDULE_TAG: Final = "opgrid/schedule_name"


class DefaultScheduleStatus(StrEnum):
    """Whether a schedule runs where nobody has started or stopped it."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


class ScheduleEvaluationContext(EvaluationContext):
    """What the function of a schedule is given: when the tick is, and resources."""

    builder = "build_schedule_context"
    kind = "schedule"

    def __init__(
        self,
        name: str | None = None,
        instance: Any = None,
        resources: Mapping[str, Any] | None = None,
        repository_def: Definitions | None = None,
        current_time: datetime | None = None,
        scheduled_execution_time: datetime | None = None,
    ) -> None:
        super().__init__(name, instance, resources, repository_def, current_time or scheduled_execution_time)
        self._scheduled = None if scheduled_execution_time is None else moment(scheduled_execution_time)

    @property
    def has_scheduled_execution_time(self) -> bool:
        return self._scheduled is not None

    @property
    def scheduled_execution_time(self) -> datetime:
        """The time of the tick, which may be earlier than now."""
        if self._scheduled is None:
            raise InvariantViolationError(
                "This context has no time of a tick: pass one, build_schedule_context(scheduled_execution_time=...)."
            )
        return self._scheduled


def build_schedule_context(
    instance: Any = None,
    scheduled_execution_time: datetime | None = None,
    resources: Mapping[str, Any] | None = None,
    repository_def: Definitions | None = None,
    instance_ref: Any = None,
    *,
    current_time: datetime | None = None,
    name: str | None = None,
) -> ScheduleEvaluationContext:
    """To call a schedule in a test.

    nightly(build_schedule_context(scheduled_execution_time=datetime(2024, 1, 1)))
    """
    return ScheduleEvaluationContext(
        name,
        instance if instance is not None else instance_ref,
        resources,
        repository_def,
        current_time,
        scheduled_execution_time,
    )


ScheduleFn = Callable[..., Any]


class ScheduleDefinition:
    """When to run which job, and with what.

    ScheduleDefinition(job=do_stuff, cron_schedule="0 6 * * 1-5", execution_timezone="Europe/Berlin")

    ``run_config_fn``, ``tags_fn`` and ``should_execute`` are called with a ScheduleEvaluationContext for each tick;
    ``execution_fn``, which :func:`schedule` makes of a function, replaces all three.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        cron_schedule: str | Sequence[str] | None = None,
        job_name: str | None = None,
        run_config: Any = None,
        run_config_fn: ScheduleFn | None = None,
        tags: Mapping[str, Any] | None = None,
        tags_fn: ScheduleFn | None = None,
        metadata: Mapping[str, Any] | None = None,
        should_execute: ScheduleFn | None = None,
        environment_vars: Mapping[str, str] | None = None,
        execution_timezone: str | None = None,
        execution_fn: ScheduleFn | None = None,
        description: str | None = None,
        job: Any = None,
        default_status: DefaultScheduleStatus = DefaultScheduleStatus.STOPPED,
        required_resource_keys: Iterable[str] | None = None,
        target: Any = None,
        owners: Sequence[str] | None = None,
    ) -> None:
        self.location = place_of_caller() if execution_fn is None else place_of(execution_fn)
        self.targets = targets_of(
            where("Schedule", str(name), self.location) if name else "A schedule", job_name, job, None, target
        )
        if len(self.targets) > 1:
            raise InvalidDefinitionError(
                f"Schedule {name!r} targets {len(self.targets)} jobs; it takes one. Make a schedule for each."
            )
        self.name = check_name(self._name(name, execution_fn), "a schedule")
        what = self._what
        if cron_schedule is None:
            raise InvalidDefinitionError(f"{what} has no cron_schedule: give one, such as '0 6 * * *'.")
        self.cron = Cron.of(cron_schedule, execution_timezone, what)
        self.metadata = check_metadata(metadata, what)
        self.tags = tags_of(tags, what)
        self.owners = check_owners(owners, what)
        self.environment_vars = dict(environment_vars or {})
        self.description = (
            description if description is not None else inspect.getdoc(execution_fn) if execution_fn else None
        )
        self.default_status = status_of(default_status, DefaultScheduleStatus, what)
        self.run_config = plain_config(run_config, what)
        self._functions = self._checked(run_config, run_config_fn, tags, tags_fn, should_execute, execution_fn)
        keys = {key for function in self._functions.values() for key in function.resources}
        self.required_resource_keys = frozenset(required_resource_keys or ()) | keys

    def _name(self, name: str | None, execution_fn: ScheduleFn | None) -> str:
        if name is not None:
            return name
        if self.targets:
            return f"{self.targets[0].name}_schedule"
        called = getattr(execution_fn, "__name__", None)
        if called is None:
            raise InvalidDefinitionError("A schedule has neither a name nor a job: give it job=.")
        return str(called)

    def _checked(
        self,
        run_config: Any,
        run_config_fn: ScheduleFn | None,
        tags: Any,
        tags_fn: ScheduleFn | None,
        should_execute: ScheduleFn | None,
        execution_fn: ScheduleFn | None,
    ) -> dict[str, EvaluationFunction]:
        given = {"run_config_fn": run_config_fn, "tags_fn": tags_fn, "should_execute": should_execute}
        if execution_fn is not None:
            for name, value in {"run_config": run_config, "run_config_fn": run_config_fn}.items():
                if value is not None:
                    raise InvalidDefinitionError(
                        f"{self._what} has a function of its own and {name}=: put it into what the function returns."
                    )
        elif not self.targets:
            raise InvalidDefinitionError(f"{self._what} has no job to run: give it job=.")
        if run_config is not None and run_config_fn is not None:
            raise InvalidDefinitionError(f"{self._what} has run_config= and run_config_fn=: keep one of them.")
        if tags is not None and tags_fn is not None:
            raise InvalidDefinitionError(f"{self._what} has tags= and tags_fn=: keep one of them.")
        functions = {**given, "execution_fn": execution_fn}
        return {
            name: EvaluationFunction(fn, f"{self._what}, {name}") for name, fn in functions.items() if fn is not None
        }

    @property
    def _what(self) -> str:
        return where("Schedule", self.name, self.location)

    @property
    def cron_schedule(self) -> str | list[str]:
        return self.cron.schedule

    @property
    def execution_timezone(self) -> str:
        return self.cron.zone

    @property
    def target_jobs(self) -> tuple[JobDefinition, ...]:
        return tuple(each.job for each in self.targets if each.job is not None)

    @property
    def target_names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.targets)

    @property
    def job(self) -> JobDefinition:
        if not self.target_jobs:
            raise InvalidDefinitionError(
                f"{self._what} was not given a job definition: it knows its job's name at most."
            )
        return self.target_jobs[0]

    @property
    def job_name(self) -> str | None:
        return self.targets[0].name if self.targets else None

    def with_attributes(self, *, job: Any = None, metadata: Mapping[str, Any] | None = None) -> Self:
        """The same with another job or metadata, where they are given."""
        found = copy.copy(self)
        if job is not None:
            found.targets = targets_of(self._what, job=job)
        if metadata is not None:
            found.metadata = check_metadata(metadata, self._what)
        return found

    def with_updated_job(self, new_job: Any) -> Self:
        return self.with_attributes(job=new_job)

    def next_ticks(self, start: datetime, inclusive: bool = False) -> Iterator[datetime]:
        """Later than ``start``, or from it on, in the schedule's zone and without end; see
        :class:`~opgrid.definitions.cron.Cron`.
        """
        return self.cron.after(moment(start), inclusive)

    def previous_tick(self, end: datetime, inclusive: bool = True) -> datetime | None:
        """The last one until ``end``."""
        return self.cron.before(moment(end), inclusive)

    def evaluate_tick(self, context: ScheduleEvaluationContext) -> Evaluation:
        """What to launch for the tick of the context. What the user's functions raise goes through."""
        should = self._functions.get("should_execute")
        if should is not None and not should(context):
            return Evaluation(skip_message=f"should_execute of schedule {self.name!r} returned a false value")
        given = self._asked(context)
        if isinstance(given, SkipReason):
            return Evaluation(skip_message=given.skip_message or f"Schedule {self.name!r} gave no reason")
        if len(given) > 1 and any(each.run_key is None for each in given):
            raise InvariantViolationError(
                f"{self._what} asked for {len(given)} runs at once, and not all have a run_key. Give each RunRequest "
                "a run_key, so that "
                f"a repeated tick launches none twice."
            )
        tags_fn = self._functions.get("tags_fn")
        tags = {} if tags_fn is None else tags_of(tags_fn(context), f"{self._what}, from tags_fn,")
        own = {SCHEDULE_TAG: self.name}
        return Evaluation(tuple(complete(each, self.targets, self._what, tags, own, context) for each in given))

    def _asked(self, context: ScheduleEvaluationContext) -> list[RunRequest] | SkipReason:
        execute = self._functions.get("execution_fn")
        if execute is not None:
            return self._normal(execute(context))
        config = self._functions.get("run_config_fn")
        return [RunRequest(run_config=self.run_config if config is None else config(context), tags=self.tags)]

    def _normal(self, returned: Any) -> list[RunRequest] | SkipReason:
        if isinstance(returned, Mapping) or hasattr(returned, "to_config_dict"):
            several = [RunRequest(run_config=returned, tags=self.tags)]
        else:
            several = given_by(returned)
        for each in several:
            if not isinstance(each, RunRequest | SkipReason):
                raise InvariantViolationError(
                    f"{self._what} gave {each!r}. Return or yield RunRequest(...), SkipReason(...), or return run "
                    "config as a dict."
                )
        skips = [each for each in several if isinstance(each, SkipReason)]
        if skips and len(several) > 1:
            raise InvariantViolationError(
                f"{self._what} gave a SkipReason together with something else: give it alone."
            )
        if skips:
            return skips[0]
        if not several:
            return SkipReason("Schedule function returned an empty result")
        return several

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function itself gives, for tests of it."""
        execute = self._functions.get("execution_fn")
        if execute is None:
            raise InvalidInvocationError(
                f"{self._what} was not made of a function with @schedule: use evaluate_tick(context)."
            )
        return execute.invoke(self._what, ScheduleEvaluationContext, args, kwargs)

    def __repr__(self) -> str:
        return f"ScheduleDefinition({self.name!r}, {self.cron_schedule!r})"


def schedule(
    cron_schedule: str | Sequence[str],
    *,
    job_name: str | None = None,
    name: str | None = None,
    tags: Mapping[str, Any] | None = None,
    tags_fn: ScheduleFn | None = None,
    metadata: Mapping[str, Any] | None = None,
    should_execute: ScheduleFn | None = None,
    environment_vars: Mapping[str, str] | None = None,
    execution_timezone: str | None = None,
    description: str | None = None,
    job: Any = None,
    default_status: DefaultScheduleStatus = DefaultScheduleStatus.STOPPED,
    required_resource_keys: Iterable[str] | None = None,
    target: Any = None,
    owners: Sequence[str] | None = None,
) -> Callable[[ScheduleFn], ScheduleDefinition]:
    """Makes a schedule of a function that says for each tick what to run: run config, RunRequests or a SkipReason.

    @schedule("0 6 * * *", job=do_stuff)
    def every_morning(context):
        return {"ops": {"load": {"config": {"date": context.scheduled_execution_time.strftime("%Y-%m-%d")}}}}
    """
    if callable(cron_schedule):
        raise InvalidDefinitionError("@schedule needs a cron expression: write @schedule('0 6 * * *', job=...).")

    def decorated(fn: ScheduleFn) -> ScheduleDefinition:
        called = name if name is not None else getattr(fn, "__name__", None)
        made = ScheduleDefinition(
            called,
            cron_schedule=cron_schedule,
            job_name=job_name,
            tags=tags,
            tags_fn=tags_fn,
            metadata=metadata,
            should_execute=should_execute,
            environment_vars=environment_vars,
            execution_timezone=execution_timezone,
            execution_fn=fn,
            description=description,
            job=job,
            default_status=default_status,
            required_resource_keys=required_resource_keys,
            target=target,
            owners=owners,
        )
        update_wrapper(made, fn, updated=())
        return made

    return decorated
