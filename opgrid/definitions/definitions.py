"""The bundle that a code location loads: jobs and what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from opgrid.contracts.metadata import check_metadata
from opgrid.definitions.executor import ExecutorDefinition, check_executor
from opgrid.definitions.graph import GraphDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.logger import checked_loggers
from opgrid.definitions.names import by_key, check_name
from opgrid.errors import InvalidDefinitionError, InvariantViolationError, UnknownJob, UnknownName


class Definitions:
    """Everything that a module offers. Put exactly one at its top level.

    defs = Definitions(jobs=[do_stuff], resources={"server": Server(url="http://localhost")})

    Jobs that schedules and sensors target are included. ``resources``, ``executor`` and ``loggers`` are for the jobs
    that have none of their own under the same key.
    """

    def __init__(
        self,
        assets: Iterable[Any] | None = None,
        schedules: Iterable[Any] | None = None,
        sensors: Iterable[Any] | None = None,
        jobs: Iterable[Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        executor: ExecutorDefinition | None = None,
        loggers: Mapping[str, Any] | None = None,
        asset_checks: Iterable[Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        component_tree: Any = None,
        *,
        name: str = "__repository__",
    ) -> None:
        for kind, given in (("assets", assets), ("asset_checks", asset_checks), ("component_tree", component_tree)):
            if given:
                raise InvalidDefinitionError(f"Definitions({kind}=...): opgrid runs op jobs; there are no {kind}.")
        self.name = name
        self.schedules = _several(schedules, "schedules")
        self.sensors = _several(sensors, "sensors")
        self.resources = by_key(resources, "Definitions(resources=...)")
        for key in self.resources:
            check_name(key, "a resource of Definitions")
        self.executor = check_executor(executor, "Definitions")
        self.loggers = checked_loggers(loggers, "Definitions(loggers=...)")
        self.metadata = check_metadata(metadata, "Definitions")
        self._given = [each if isinstance(each, _LazyJob) else _job(each) for each in _several(jobs, "jobs")]
        self._jobs = self._by_name()
        self._bound: dict[str, JobDefinition] = {}
        _no_duplicates(self.schedules, "schedules")
        _no_duplicates(self.sensors, "sensors")

    def _by_name(self) -> dict[str, JobDefinition | _LazyJob]:
        found: dict[str, JobDefinition | _LazyJob] = {}
        targets = [_job(job) for each in (*self.schedules, *self.sensors) for job in getattr(each, "target_jobs", ())]
        for each in (*self._given, *targets):
            known = found.setdefault(each.name, each)
            if known is not each and not _same_target(one := _made(known), other := _made(each)):
                raise InvalidDefinitionError(
                    f"Definitions holds two different jobs named {each.name!r}: {one.location} and {other.location}. "
                    f"Give one of them another name with name=."
                )
        return found

    # ---- looking up ---------------------------------------------------------------------------------------

    @property
    def jobs(self) -> list[JobDefinition]:
        """As they were given, together with those that schedules and sensors target."""
        return [_made(each) for each in self._jobs.values()]

    @property
    def job_names(self) -> list[str]:
        return list(self._jobs)

    def has_job(self, name: str) -> bool:
        return name in self._jobs

    def get_job_def(self, name: str) -> JobDefinition:
        """The job, with what it left open filled in from here.

        UnknownJob names the nearest; missing resources are an error now.
        """
        bound = self._bound.get(name)
        if bound is None:
            if name not in self._jobs:
                raise UnknownJob(
                    "job", name, list(self._jobs), hint="" if self._jobs else "Add it: Definitions(jobs=[...])."
                )
            bound = _made(self._jobs[name]).bound(self.resources, self.executor, self.loggers)
            bound.check_resources()
            self._bound[name] = bound
        return bound

    def resolve_job_def(self, name: str) -> JobDefinition:
        return self.get_job_def(name)

    def resolve_all_job_defs(self) -> list[JobDefinition]:
        return [self.get_job_def(name) for name in self._jobs]

    def get_all_job_defs(self) -> list[JobDefinition]:
        return self.resolve_all_job_defs()

    def get_schedule_def(self, name: str) -> Any:
        return _named(self.schedules, "schedule", name)

    def get_sensor_def(self, name: str) -> Any:
        return _named(self.sensors, "sensor", name)

    def get_repository_def(self) -> Definitions:
        return self

    # a repository's words for the same
    get_job = get_job_def
    get_all_jobs = resolve_all_job_defs

    @property
    def schedule_defs(self) -> list[Any]:
        return self.schedules

    @property
    def sensor_defs(self) -> list[Any]:
        return self.sensors

    def has_schedule_def(self, name: str) -> bool:
        return any(each.name == name for each in self.schedules)

    def has_sensor_def(self, name: str) -> bool:
        return any(each.name == name for each in self.sensors)

    # ---- as a whole ---------------------------------------------------------------------------------------

    @staticmethod
    def validate_loadable(defs: Definitions) -> None:
        """Raises what would go wrong when the jobs are loaded to be run."""
        for each in defs.resolve_all_job_defs():
            _ = each.structure

    @staticmethod
    def merge(*def_sets: Definitions) -> Definitions:
        """One bundle of several.

        A key that two of them bind to different things is an error, as are two different executors.
        """
        for each in def_sets:
            if not isinstance(each, Definitions):
                raise InvalidDefinitionError(f"Definitions.merge takes Definitions, not {each!r}.")
        executors = [each.executor for each in def_sets if each.executor is not None]
        if any(each != executors[0] for each in executors):
            raise InvariantViolationError(
                "Definitions.merge: two of the Definitions have different executors. Leave one out."
            )
        return Definitions(
            schedules=[each for defs in def_sets for each in defs.schedules],
            sensors=[each for defs in def_sets for each in defs.sensors],
            jobs=[each for defs in def_sets for each in defs._given],
            resources=_merged([defs.resources for defs in def_sets], "resource"),
            executor=executors[0] if executors else None,
            loggers=_merged([defs.loggers for defs in def_sets], "logger"),
            metadata=_merged([defs.metadata for defs in def_sets], "metadata"),
        )

    def __repr__(self) -> str:
        return f"Definitions(jobs={list(self._jobs)!r})"


def _several(given: Iterable[Any] | None, kind: str) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise InvalidDefinitionError(f"Definitions({kind}=...) takes a list, not {given!r}.")
    found: list[Any] = []
    for each in given:
        if not any(each is known for known in found):
            found.append(each)
    return found


def _job(given: Any) -> JobDefinition:
    if isinstance(given, JobDefinition):
        return given
    if isinstance(given, GraphDefinition):
        return given.to_job()
    hint = " Decorate it with @job." if callable(given) else ""
    raise InvalidDefinitionError(f"Definitions(jobs=...) holds {given!r}, which is no job.{hint}")


class _LazyJob:
    """A function of a repository that gives a job, called when that job is asked for the first time."""

    def __init__(self, name: str, make: Callable[[], Any], repository: str) -> None:
        self.name, self._make, self._repository = name, make, repository

    @cached_property
    def job(self) -> JobDefinition:
        return _of_that_name(_job(self._make()), self.name, self._repository)


def _made(given: JobDefinition | _LazyJob) -> JobDefinition:
    return given.job if isinstance(given, _LazyJob) else given


def _same_target(one: JobDefinition, other: JobDefinition) -> bool:
    """A graph that is listed and targeted gives a new job each time."""
    plain = one.config is None and other.config is None and not one.resource_defs and not other.resource_defs
    return one.graph is other.graph and plain and one.own_executor == other.own_executor and one.tags == other.tags


def _no_duplicates(given: Sequence[Any], kind: str) -> None:
    seen: set[str] = set()
    for each in given:
        name = getattr(each, "name", None)
        if not isinstance(name, str):
            raise InvalidDefinitionError(f"Definitions({kind}=...) holds {each!r}, which has no name.")
        if name in seen:
            raise InvalidDefinitionError(
                f"Definitions holds two {kind} named {name!r}. Give one of them another name with name=."
            )
        seen.add(name)


def _named(given: Sequence[Any], kind: str, name: str) -> Any:
    for each in given:
        if each.name == name:
            return each
    raise UnknownName(kind, name, [each.name for each in given])


def _merged(parts: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            known = found.setdefault(key, value)
            if known is not value and known != value:
                raise InvariantViolationError(
                    f"Definitions.merge: two of the Definitions bind the {kind} {key!r} to different things. Keep one "
                    "of them."
                )
    return found


# ---- the older way ---------------------------------------------------------------------------------------


@overload
def repository(definitions_fn: Callable[[], Any]) -> Definitions: ...
@overload
def repository(
    definitions_fn: None = None,
    *,
    name: str | None = ...,
    description: str | None = ...,
    metadata: Mapping[str, Any] | None = ...,
    default_executor_def: ExecutorDefinition | None = ...,
    default_logger_defs: Mapping[str, Any] | None = ...,
) -> Callable[[Callable[[], Any]], Definitions]: ...
def repository(
    definitions_fn: Callable[[], Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    default_executor_def: ExecutorDefinition | None = None,
    default_logger_defs: Mapping[str, Any] | None = None,
) -> Any:
    """A function that returns a list of jobs, graphs, schedules and sensors, as a bundle.

    Or a dict: ``{"jobs": {"nightly": make_nightly}, "schedules": ..., "sensors": ...}``. A function in the place of a
    job is called when that job is asked for the first time, so that running one job does not build the others.
    New code uses :class:`Definitions`.
    """

    def decorated(function: Callable[[], Any]) -> Definitions:
        called = check_name(name if name is not None else function.__name__, "a repository")
        sorted_out = _sorted_out(function(), called)
        return Definitions(
            jobs=sorted_out["jobs"],
            schedules=sorted_out["schedules"],
            sensors=sorted_out["sensors"],
            executor=default_executor_def,
            loggers=default_logger_defs,
            metadata=metadata,
            name=called,
        )

    return decorated if definitions_fn is None else decorated(definitions_fn)


def _sorted_out(given: Any, name: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"jobs": [], "schedules": [], "sensors": []}
    if isinstance(given, Mapping):
        for kind, several in given.items():
            if kind not in found:
                raise InvalidDefinitionError(
                    f"Repository {name!r} returned the key {kind!r}; it may have jobs, schedules and sensors."
                )
            named = several.items() if isinstance(several, Mapping) else ((None, each) for each in several)
            found[kind] += [_entry(kind, key, each, name) for key, each in named]
        return found
    if not isinstance(given, Iterable):
        raise InvalidDefinitionError(f"Repository {name!r} has to return a list, not {given!r}.")
    for each in _flat(given):
        kind = _kind_of(each)
        if kind is None:
            raise InvalidDefinitionError(
                f"Repository {name!r} holds {each!r}, which is no job, graph, schedule or sensor."
            )
        found[kind].append(each)
    return found


def _flat(given: Iterable[Any]) -> Iterator[Any]:
    for each in given:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def _entry(kind: str, key: str | None, given: Any, repository: str) -> Any:
    lazy = callable(given) and _kind_of(given) is None
    if kind != "jobs" or key is None:
        return given() if lazy else given
    return _LazyJob(key, given, repository) if lazy else _of_that_name(_job(given), key, repository)


def _of_that_name(job: JobDefinition, name: str, repository: str) -> JobDefinition:
    if job.name != name:
        raise InvalidDefinitionError(
            f"Repository {repository!r} has under the key {name!r} a job of another name, {job.name!r} "
            f"({job.location}): make the key and the name the same."
        )
    return job


def _kind_of(given: Any) -> str | None:
    if isinstance(given, JobDefinition | GraphDefinition):
        return "jobs"
    names = [each.__name__ for each in type(given).__mro__]
    if "ScheduleDefinition" in names:
        return "schedules"
    return "sensors" if "SensorDefinition" in names else None
