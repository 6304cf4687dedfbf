"""What schedules and sensors have in common: the jobs they target, their functions, what these are given and may
return.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from opgrid.definitions.annotations import signature_of
from opgrid.definitions.graph import GraphDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.names import place_of
from opgrid.definitions.partitioned_config import run_request_for_partition
from opgrid.definitions.partitions.base import moment
from opgrid.definitions.ports import ABSENT
from opgrid.definitions.run_request import RunRequest
from opgrid.definitions.signature import is_resource, parameters_of
from opgrid.errors import (
    InvalidDefinitionError,
    InvalidInvocationError,
    InvariantViolationError,
    UnknownJob,
    UnknownResourceError,
    listed,
    nearest,
)

if TYPE_CHECKING:
    from opgrid.definitions.definitions import Definitions


RUN_KEY_TAG: Final = "opgrid/run_key"

# ---- targets ----


@dataclass(frozen=True, slots=True)
class Target:
    """A job to launch runs of, by its name alone where the definition of it was not given."""

    name: str
    job: JobDefinition | None = None


def targets_of(
    what: str, job_name: str | None = None, job: Any = None, jobs: Iterable[Any] | None = None, target: Any = None
) -> tuple[Target, ...]:
    """From the four ways of saying it, of which one may be used."""
    ways = {"job_name": job_name, "job": job, "jobs": jobs, "target": target}
    used = [name for name, given in ways.items() if given is not None]
    if len(used) > 1:
        raise InvalidDefinitionError(f"{what} has {' and '.join(f'{name}=' for name in used)}: give one of them.")
    if not used:
        return ()
    given = ways[used[0]]
    if used[0] == "jobs" and isinstance(given, str):
        raise InvalidDefinitionError(f"{what} has jobs={given!r}: it has to be a list.")
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    found = tuple(_target(each, what, used[0]) for each in several)
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidDefinitionError(f"{what} targets two jobs named {name!r}: keep one.")
    return found


def _target(given: Any, what: str, way: str) -> Target:
    if isinstance(given, str):
        return Target(given)
    if isinstance(given, JobDefinition):
        return Target(given.name, given)
    if isinstance(given, GraphDefinition):
        made = given.to_job()
        return Target(made.name, made)
    hint = " Decorate it with @job." if callable(given) else ""
    raise InvalidDefinitionError(
        f"{what} has {given!r} as its {way}: it has to be a job, a graph or a job's name.{hint}"
    )


def complete(
    request: RunRequest,
    targets: Sequence[Target],
    what: str,
    tags: Mapping[str, str],
    system_tags: Mapping[str, str],
    context: EvaluationContext,
) -> RunRequest:
    """With the job's name, with ``tags`` below its own and opgrid's above, and for a partition with what belongs to
    it.
    """
    target = _chosen(request, targets, what)
    job = target.job
    if job is None and context.repository_def is not None and context.repository_def.has_job(target.name):
        job = context.repository_def.get_job_def(target.name)
    key = {} if request.run_key is None else {RUN_KEY_TAG: request.run_key}
    own = {**tags, **(request.tags or {}), **system_tags, **key}
    if request.partition_key is None or job is None:
        return request.with_replaced_attrs(job_name=target.name, tags=own)
    return run_request_for_partition(
        job,
        request.partition_key,
        request.run_key,
        own,
        request.run_config or None,
        context.current_time,
        context.optional_instance,
    )


def _chosen(request: RunRequest, targets: Sequence[Target], what: str) -> Target:
    names = [each.name for each in targets]
    if request.job_name is not None:
        for each in targets:
            if each.name == request.job_name:
                return each
        hint = "Let the definition target it, with jobs=[...]." if targets else "Give the definition a job, with job=."
        raise UnknownJob("job", request.job_name, names, f"the targets of {what}", hint)
    if len(targets) == 1:
        return targets[0]
    if not targets:
        raise InvariantViolationError(f"{what} asked for a run but targets no job: give it job=.")
    raise InvariantViolationError(
        f"{what} targets several jobs, and a RunRequest of it does not say which. Give job_name=, one of "
        f"{listed(names)}."
    )


# ---- functions ----


class EvaluationFunction:
    """A function of the user's: with or without a context, and with resources as annotated parameters."""

    __slots__ = ("context", "extra", "fn", "location", "resources")

    def __init__(self, fn: Any, what: str, extra: int = 0) -> None:
        """``extra`` says how many parameters, after the context, are filled by place."""
        if not callable(fn) or isinstance(fn, type):
            raise InvalidDefinitionError(f"{what} has to be made of a function, not of {fn!r}.")
        if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
            raise InvalidDefinitionError(
                f"{what} is made of an async function; it has to be a plain one. Use asyncio.run() inside."
            )
        parameters, _ = parameters_of(fn, what)
        self.fn = fn
        self.location = place_of(fn)
        self.resources: tuple[str, ...] = tuple(
            name for name, each in parameters.items() if is_resource(each.annotation)
        )
        places = [name for name, each in parameters.items() if name not in self.resources and not name.startswith("*")]
        needed = [name for name in places if parameters[name].default is ABSENT]
        if len(needed) > extra + 1:
            raise InvalidDefinitionError(
                f"{what} ({self.location}) takes {', '.join(needed)}: there is one context"
                f"{f' and {extra} more' if extra else ''}, and all else has to be a resource, annotated with its class."
            )
        self.context = places[0] if len(places) > extra else None
        self.extra = places[1 : extra + 1] if self.context is not None else places[:extra]

    def __call__(self, context: EvaluationContext, *extra: Any) -> Any:
        named = {name: getattr(context.resources, name) for name in self.resources}
        named |= dict(zip(self.extra, extra, strict=False))
        if self.context is not None:
            named[self.context] = context
        return self.fn(**named)

    def invoke(self, what: str, kind: type[EvaluationContext], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Called by a user, in a test: as the function is written; resources come from the context where they are not
        given.
        """
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, EvaluationContext)]
        if self.context is not None and not given:
            raise InvalidInvocationError(
                f"{what} takes a context, and was called without one. Make one with {kind.builder}(), and pass it as "
                f"{self.context!r}."
            )
        if given and self.context is None:
            args = tuple(each for each in args if each is not given[0])
            kwargs = {name: each for name, each in kwargs.items() if each is not given[0]}
        bound = signature_of(self.fn).bind_partial(*args, **kwargs).arguments
        for name in self.resources:
            if name not in bound:
                if not given:
                    raise InvalidInvocationError(
                        f"{what} takes the resource {name!r}: pass it, or a context that holds it."
                    )
                kwargs[name] = getattr(given[0].resources, name)
        return self.fn(*args, **kwargs)


def given_by(returned: Any) -> list[Any]:
    """All that a function has returned or yielded; one that yields may return something, too."""
    if inspect.isgenerator(returned):
        return list(_with_return(returned))
    if isinstance(returned, list | tuple):
        return list(returned)
    return [] if returned is None else [returned]


def _with_return(yields: Generator[object, Any, object]) -> Iterator[object]:
    returned = yield from yields
    if returned is not None:
        yield returned


# ---- contexts ----


class EvaluationContext:
    """What the functions of schedules and sensors are given.

    It opens resources when they are first used: close it, or use ``with``.
    """

    builder = "build_schedule_context"
    kind = "schedule"

    def __init__(
        self,
        name: str | None = None,
        instance: Any = None,
        resources: Mapping[str, Any] | None = None,
        repository_def: Definitions | None = None,
        current_time: datetime | None = None,
    ) -> None:
        self.name = name
        self.current_time = moment(current_time)
        self.repository_def = repository_def
        self.optional_instance = instance
        self._given = dict(resources or {})
        self._resources: Any = None
        self._stack = ExitStack()
        self.log = logging.getLogger(f"opgrid.{self.kind}.{name}" if name else f"opgrid.{self.kind}")

    @property
    def instance(self) -> Any:
        if self.optional_instance is None:
            raise InvariantViolationError(
                f"This context of a {self.kind} has no instance: pass one, "
                f"{self.builder}(instance=Instance.ephemeral())."
            )
        return self.optional_instance

    @property
    def repository_name(self) -> str | None:
        return None if self.repository_def is None else self.repository_def.name

    @property
    def resources(self) -> Any:
        """Resources as attributes, opened."""
        if self._resources is None:
            self._resources = _opened(self._given, self.optional_instance, self._stack, self)
        return self._resources

    def close(self) -> None:
        self._resources = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Plain:
    """Resources that need no opening."""

    def __init__(self, values: Mapping[str, Any], builder: str) -> None:
        self.__dict__.update(values)
        self._builder = builder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = [each for each in vars(self) if each != "_builder"]
        raise UnknownResourceError(
            f"This context has no resource {name!r}.{nearest(name, known)} It has: {listed(known)}. Name it in "
            f"required_resource_keys, or in a test pass it: {self._builder}(resources={{{name!r}: ...}})."
        )


def _opened(given: Mapping[str, Any], instance: Any, stack: ExitStack, context: EvaluationContext) -> Any:
    """Where no resource class was ever imported, none of them can be one."""
    module = sys.modules.get("opgrid.definitions.resource")
    if module is None or not given:
        return _Plain(given, context.builder)
    opened = stack.enter_context(module.build_resources(resources=given, instance=instance))
    return _Plain({key: getattr(opened, key) for key in given}, context.builder)


Status = TypeVar("Status", bound=StrEnum)


def status_of(given: object, kind: type[Status], what: str) -> Status:
    if isinstance(given, kind):
        return given
    raise InvalidDefinitionError(f"{what} has default_status={given!r}: use {kind.__name__}.RUNNING or .STOPPED.")


def where(kind: str, name: str, location: str) -> str:
    return f"{kind} {name!r} ({location})" if location else f"{kind} {name!r}"
