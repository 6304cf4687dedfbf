"""Schedules and sensors: where they stand, what they did, and what a tick would do."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Annotated, TypeVar

import msgspec
import strawberry

from opgrid.errors import OpGridError, UnknownName
from orchestrator.api.access import Role
from orchestrator.api.backend import REPOSITORY, Backend, NoSuchJob
from orchestrator.api.graphql.errors import (
    PythonError,
    RepositoryNotFoundError,
    ScheduleNotFoundError,
    SensorNotFoundError,
    UnauthorizedError,
)
from orchestrator.api.graphql.mutating import mutate
from orchestrator.api.graphql.runs import Info, PipelineTag, RepositorySelector, Run, page, runs_of
from orchestrator.api.graphql.scalars import yaml_of
from orchestrator.locations.location import Location
from orchestrator.locations.messages import (
    Answer,
    Evaluated,
    Failed,
    LocationInfo,
    ScheduleInfo,
    SensorInfo,
    TickSchedule,
    TickSensor,
)
from orchestrator.services import automation
from orchestrator.services.ticks import cron_of, next_tick
from orchestrator.storage.records import RunsFilter
from orchestrator.storage.service_records import Instigator, InstigatorKind, Tick

T = TypeVar("T")

_LOOKED_AT = 50  #: ticks, for the runs that they launched


@strawberry.enum
class InstigationStatus(Enum):
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"


@strawberry.enum
class InstigationTickStatus(Enum):
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    SKIPPED = "SKIPPED"
    FAILURE = "FAILURE"


@strawberry.input
class ScheduleSelector:
    repository_name: str = REPOSITORY
    repository_location_name: str
    schedule_name: str


@strawberry.input
class SensorSelector:
    repository_name: str = REPOSITORY
    repository_location_name: str
    sensor_name: str


@strawberry.type
class InstigationTick:
    """Times are Unix seconds."""

    id: strawberry.ID
    tick_id: str
    status: InstigationTickStatus
    timestamp: float = strawberry.field(description="Of a schedule: the scheduled time.")
    end_timestamp: float
    run_ids: list[str]
    skip_reason: str | None
    error: PythonError | None
    log: list[str]

    @classmethod
    def of(cls, tick: Tick) -> InstigationTick:
        return cls(
            id=strawberry.ID(str(tick.number)),
            tick_id=str(tick.number),
            status=InstigationTickStatus(tick.status.value),
            timestamp=tick.at,
            end_timestamp=tick.ended,
            run_ids=list(tick.run_ids),
            skip_reason=tick.reason,
            error=None if tick.error is None else PythonError.of(tick.error),
            log=list(tick.log),
        )


@strawberry.type
class DryRunInstigationTick:
    """What a tick would come to; nothing is launched."""

    timestamp: float
    evaluation_result: TickEvaluation


@strawberry.type
class TickEvaluation:
    run_requests: list[RunRequest]
    skip_reason: str | None
    cursor: str | None
    error: PythonError | None
    log: list[str]


@strawberry.type
class RunRequest:
    run_key: str | None
    job_name: str
    run_config_yaml: str
    tags: list[PipelineTag]


class Standings:
    """Where schedules and sensors that are shown together stand, read for all of them at once."""

    def __init__(self, backend: Backend, of: Sequence[tuple[str, str]]) -> None:
        self.backend, self._of = backend, of
        self._ticks: dict[int, dict[tuple[str, str], list[Tick]]] = {}

    @functools.cached_property
    def stored(self) -> dict[tuple[str, str], Instigator]:
        return {(state.location, state.name): state for state in self.backend.store.instigators()}

    def ticks(self, location: str, name: str, limit: int) -> list[Tick]:
        if limit not in self._ticks:
            self._ticks[limit] = self.backend.store.last_ticks(self._of, limit)
        return self._ticks[limit].get((location, name), [])

    @functools.cached_property
    def _launched(self) -> dict[str, Run]:
        ids = {run for each in self._of for tick in self.ticks(*each, _LOOKED_AT) for run in tick.run_ids}
        found = self.backend.store.runs(RunsFilter(run_ids=tuple(sorted(ids)))) if ids else []
        return {run.record.run_id: run for run in runs_of(self.backend, found)}

    def runs(self, location: str, name: str) -> list[Run]:
        """Of the last ticks, newest first."""
        ids = [run_id for tick in self.ticks(location, name, _LOOKED_AT) for run_id in tick.run_ids]
        return [self._launched[run_id] for run_id in ids if run_id in self._launched]


@strawberry.type
class InstigationState:
    state: strawberry.Private[Instigator]
    standings: strawberry.Private[Standings]
    status: InstigationStatus
    name: str
    instigation_type: str
    repository_location_name: str

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"{self.repository_location_name}:{self.name}")

    @strawberry.field
    def ticks(self, limit: int | None = None) -> list[InstigationTick]:
        """Newest first."""
        found = self.standings.ticks(self.repository_location_name, self.name, page(limit))
        return [InstigationTick.of(tick) for tick in found]

    @strawberry.field(description="The last that it launched.")
    def runs(self, limit: int | None = None) -> list[Run]:
        return self.standings.runs(self.repository_location_name, self.name)[: page(limit, 10)]

    @strawberry.field
    def cursor(self) -> str | None:
        return self.state.cursor

    @strawberry.field
    def last_run_key(self) -> str | None:
        return self.state.last_run_key


@strawberry.type
class Schedule:
    schedule_: strawberry.Private[ScheduleInfo]
    name: str
    repository_location_name: str
    cron_schedule: str = strawberry.field(description="Several are joined by ` | `.")
    execution_timezone: str
    description: str | None
    job_names: list[str]
    schedule_state: InstigationState
    is_partitioned: bool

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"{self.repository_location_name}:{self.name}")

    @strawberry.field
    def pipeline_name(self) -> str:
        return self.job_names[0] if self.job_names else ""

    @strawberry.field(description="Unix seconds, in their order.")
    def future_ticks(self, limit: int | None = None, until: float | None = None) -> list[float]:
        return list(itertools.islice(_future(self.schedule_, until), page(limit, 10)))


@strawberry.type
class Sensor:
    name: str
    repository_location_name: str
    description: str | None
    min_interval_seconds: float
    job_names: list[str]
    run_status: str | None = strawberry.field(description="It is asked about runs that came to this status.")
    sensor_state: InstigationState

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"{self.repository_location_name}:{self.name}")


@strawberry.type
class Schedules:
    results: list[Schedule]


@strawberry.type
class Sensors:
    results: list[Sensor]


@strawberry.type
class StopSensorMutationResult:
    instigation_state: InstigationState


@strawberry.type
class ScheduleStateResult:
    schedule_state: InstigationState


SchedulesOrError = Annotated[Schedules | RepositoryNotFoundError | PythonError, strawberry.union("SchedulesOrError")]
SensorsOrError = Annotated[Sensors | RepositoryNotFoundError | PythonError, strawberry.union("SensorsOrError")]
StopSensorMutationResultOrError = Annotated[
    StopSensorMutationResult | SensorNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("StopSensorMutationResultOrError"),
]
ScheduleOrError = Annotated[Schedule | ScheduleNotFoundError | PythonError, strawberry.union("ScheduleOrError")]
SensorOrError = Annotated[Sensor | SensorNotFoundError | PythonError, strawberry.union("SensorOrError")]
ScheduleMutationResult = Annotated[
    ScheduleStateResult | ScheduleNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("ScheduleMutationResult"),
]
SensorMutationResult = Annotated[
    Sensor | SensorNotFoundError | UnauthorizedError | PythonError, strawberry.union("SensorMutationResult")
]
ScheduleDryRunResult = Annotated[
    DryRunInstigationTick | ScheduleNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("ScheduleDryRunResult"),
]
SensorDryRunResult = Annotated[
    DryRunInstigationTick | SensorNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("SensorDryRunResult"),
]


def _places(backend: Backend, wanted: RepositorySelector | None) -> Sequence[Location] | RepositoryNotFoundError:
    """The code locations that are meant: all where none is named."""
    if wanted is None:
        return backend.loader.locations
    found = backend.loader.named(wanted.repository_location_name)
    return RepositoryNotFoundError.of(wanted.repository_location_name) if found is None else [found]


def _future(schedule: ScheduleInfo, until: float | None) -> Iterator[float]:
    cron, at = cron_of(schedule), time.time()
    while (following := next_tick(cron, at)) is not None and (until is None or following < until):
        yield following
        at = following


def _state(standings: Standings, location: Location, info: ScheduleInfo | SensorInfo) -> InstigationState:
    state = standings.stored.get((location.name, info.name)) or automation.new_state(location.name, info)
    running = automation.is_running(info, state)
    return InstigationState(
        state=state,
        standings=standings,
        status=InstigationStatus.RUNNING if running else InstigationStatus.STOPPED,
        name=info.name,
        instigation_type=state.kind.value.upper(),
        repository_location_name=location.name,
    )


def schedules_of(backend: Backend, of: Sequence[tuple[Location, ScheduleInfo]]) -> list[Schedule]:
    standings = Standings(backend, [(location.name, info.name) for location, info in of])
    return [_schedule(standings, *each) for each in of]


def sensors_of(backend: Backend, of: Sequence[tuple[Location, SensorInfo]]) -> list[Sensor]:
    standings = Standings(backend, [(location.name, info.name) for location, info in of])
    return [_sensor(standings, *each) for each in of]


def _schedule(standings: Standings, location: Location, info: ScheduleInfo) -> Schedule:
    return Schedule(
        schedule_=info,
        name=info.name,
        repository_location_name=location.name,
        cron_schedule=" | ".join(info.cron),
        execution_timezone=info.zone,
        description=info.description,
        job_names=list(info.jobs),
        schedule_state=_state(standings, location, info),
        is_partitioned=info.catches_up,
    )


def _sensor(standings: Standings, location: Location, info: SensorInfo) -> Sensor:
    return Sensor(
        name=info.name,
        repository_location_name=location.name,
        description=info.description,
        min_interval_seconds=info.interval,
        job_names=list(info.jobs),
        run_status=info.run_status,
        sensor_state=_state(standings, location, info),
    )


def _named(
    backend: Backend, location: str, kind: InstigatorKind, name: str
) -> tuple[Location, ScheduleInfo | SensorInfo]:
    """Raises NoSuchJob, UnknownName."""
    found = backend.location(location)
    info: LocationInfo = found.info
    return found, automation.named(info, kind, name)


def _with_schedule(
    backend: Backend, selector: ScheduleSelector, answer: Callable[[Location, ScheduleInfo], T]
) -> T | ScheduleNotFoundError:
    try:
        kind = InstigatorKind.SCHEDULE
        location, info = _named(backend, selector.repository_location_name, kind, selector.schedule_name)
    except (NoSuchJob, UnknownName) as error:
        return ScheduleNotFoundError(message=str(error), schedule_name=selector.schedule_name)
    assert isinstance(info, ScheduleInfo)
    return answer(location, info)


def _with_sensor(
    backend: Backend, selector: SensorSelector, answer: Callable[[Location, SensorInfo], T]
) -> T | SensorNotFoundError:
    try:
        kind = InstigatorKind.SENSOR
        location, info = _named(backend, selector.repository_location_name, kind, selector.sensor_name)
    except (NoSuchJob, UnknownName) as error:
        return SensorNotFoundError(message=str(error), sensor_name=selector.sensor_name)
    assert isinstance(info, SensorInfo)
    return answer(location, info)


@strawberry.type
class AutomationQueries:
    @strawberry.field(description="Of all code locations, or of one.")
    def schedules_or_error(
        self,
        info: Info,
        repository_selector: RepositorySelector | None = None,
        schedule_status: InstigationStatus | None = None,
    ) -> SchedulesOrError:
        backend = info.context.backend
        places = _places(backend, repository_selector)
        if isinstance(places, RepositoryNotFoundError):
            return places
        found = schedules_of(backend, [(place, each) for place in places for each in place.info.schedules])
        return Schedules(results=[each for each in found if schedule_status in (None, each.schedule_state.status)])

    @strawberry.field(description="Of all code locations, or of one.")
    def sensors_or_error(
        self,
        info: Info,
        repository_selector: RepositorySelector | None = None,
        sensor_status: InstigationStatus | None = None,
    ) -> SensorsOrError:
        backend = info.context.backend
        places = _places(backend, repository_selector)
        if isinstance(places, RepositoryNotFoundError):
            return places
        found = sensors_of(backend, [(place, each) for place in places for each in place.info.sensors])
        return Sensors(results=[each for each in found if sensor_status in (None, each.sensor_state.status)])

    @strawberry.field
    def schedule_or_error(self, info: Info, schedule_selector: ScheduleSelector) -> ScheduleOrError:
        backend = info.context.backend
        return _with_schedule(backend, schedule_selector, lambda *found: schedules_of(backend, [found])[0])

    @strawberry.field
    def sensor_or_error(self, info: Info, sensor_selector: SensorSelector) -> SensorOrError:
        backend = info.context.backend
        return _with_sensor(backend, sensor_selector, lambda *found: sensors_of(backend, [found])[0])


@strawberry.type
class AutomationMutations:
    @strawberry.mutation
    def start_schedule(self, info: Info, schedule_selector: ScheduleSelector) -> ScheduleMutationResult:
        return _change_schedule(info, schedule_selector, automation.start)

    @strawberry.mutation
    def stop_schedule(self, info: Info, schedule_selector: ScheduleSelector) -> ScheduleMutationResult:
        return _change_schedule(info, schedule_selector, automation.stop)

    @strawberry.mutation
    def reset_schedule(self, info: Info, schedule_selector: ScheduleSelector) -> ScheduleMutationResult:
        return _change_schedule(info, schedule_selector, automation.reset)

    @strawberry.mutation(description="By the id that a schedule has, `location:name`.")
    def stop_running_schedule(
        self,
        info: Info,
        id: str | None = None,
        schedule_origin_id: str | None = None,
        schedule_selector_id: str | None = None,
    ) -> ScheduleMutationResult:
        location, _, name = (id or schedule_origin_id or schedule_selector_id or "").partition(":")
        selector = ScheduleSelector(repository_location_name=location, schedule_name=name)
        return _change_schedule(info, selector, automation.stop)

    @strawberry.mutation
    def start_sensor(self, info: Info, sensor_selector: SensorSelector) -> SensorMutationResult:
        return _change_sensor(info, sensor_selector, automation.start)

    @strawberry.mutation(description="By the id that a sensor has, `location:name`.")
    def stop_sensor(
        self, info: Info, id: str | None = None, job_origin_id: str | None = None, job_selector_id: str | None = None
    ) -> StopSensorMutationResultOrError:
        location, _, name = (id or job_origin_id or job_selector_id or "").partition(":")
        selector = SensorSelector(repository_location_name=location, sensor_name=name)
        done = _change_sensor(info, selector, automation.stop)
        return StopSensorMutationResult(instigation_state=done.sensor_state) if isinstance(done, Sensor) else done

    @strawberry.mutation
    def reset_sensor(self, info: Info, sensor_selector: SensorSelector) -> SensorMutationResult:
        return _change_sensor(info, sensor_selector, automation.reset)

    @strawberry.mutation
    def set_sensor_cursor(
        self, info: Info, sensor_selector: SensorSelector, cursor: str | None = None
    ) -> SensorMutationResult:
        def change(store: object, location: str, found: SensorInfo) -> None:
            automation.set_cursor(info.context.store, location, found, cursor)

        return _change_sensor(info, sensor_selector, change)

    @strawberry.mutation(description="What a tick would launch at a time in Unix seconds, or at the next one.")
    def schedule_dry_run(
        self, info: Info, selector_data: ScheduleSelector, timestamp: float | None = None
    ) -> ScheduleDryRunResult:
        backend = info.context.backend

        def answer(location: Location, schedule: ScheduleInfo) -> DryRunInstigationTick | PythonError:
            at = timestamp or next_tick(cron_of(schedule), time.time())
            if at is None:
                return PythonError(message=f"Schedule {schedule.name!r} never ticks again.")
            return _dry(backend.ask(location, TickSchedule(schedule.name, at)), at)

        about = selector_data.schedule_name
        return mutate(info, Role.LAUNCHER, about, lambda: _with_schedule(backend, selector_data, answer))

    @strawberry.mutation(description="What a tick would launch; the cursor stays.")
    def sensor_dry_run(
        self, info: Info, selector_data: SensorSelector, cursor: str | None = None
    ) -> SensorDryRunResult:
        backend = info.context.backend

        def answer(location: Location, sensor: SensorInfo) -> DryRunInstigationTick:
            if sensor.run_status is not None:
                raise OpGridError("A sensor on the status of runs is asked about runs only, and has no dry run.")
            state = automation.state_of(backend.store, location.name, sensor)
            asked = TickSensor(
                sensor.name,
                state.cursor if cursor is None else cursor,
                state.last_run_key,
                state.completed,
                state.since,
            )
            return _dry(backend.ask(location, asked), time.time())

        about = selector_data.sensor_name
        return mutate(info, Role.LAUNCHER, about, lambda: _with_sensor(backend, selector_data, answer))


def _change_schedule(
    info: Info, selector: ScheduleSelector, verb: Callable[..., None]
) -> ScheduleStateResult | ScheduleNotFoundError | UnauthorizedError | PythonError:
    backend = info.context.backend

    def answer(location: Location, schedule: ScheduleInfo) -> ScheduleStateResult:
        verb(backend.store, location.name, schedule)
        return ScheduleStateResult(schedule_state=schedules_of(backend, [(location, schedule)])[0].schedule_state)

    return mutate(info, Role.LAUNCHER, selector.schedule_name, lambda: _with_schedule(backend, selector, answer))


def _change_sensor(
    info: Info, selector: SensorSelector, verb: Callable[..., None]
) -> Sensor | SensorNotFoundError | UnauthorizedError | PythonError:
    backend = info.context.backend

    def answer(location: Location, sensor: SensorInfo) -> Sensor:
        verb(backend.store, location.name, sensor)
        return sensors_of(backend, [(location, sensor)])[0]

    return mutate(info, Role.LAUNCHER, selector.sensor_name, lambda: _with_sensor(backend, selector, answer))


def _dry(answer: Answer, at: float) -> DryRunInstigationTick:
    found = answer if isinstance(answer, Evaluated) else Evaluated()
    error = PythonError.of(answer.error) if isinstance(answer, Failed) else None
    requests = [
        RunRequest(
            run_key=run.run_key,
            job_name=run.brief.job.name,
            run_config_yaml=yaml_of(msgspec.to_builtins(run.brief.run_config)),
            tags=[PipelineTag(key=key, value=value) for key, value in sorted(run.brief.tags.items())],
        )
        for run in found.runs
    ]
    log = list(answer.log) if isinstance(answer, Evaluated | Failed) else []
    evaluated = TickEvaluation(
        run_requests=requests, skip_reason=found.skipped, cursor=found.cursor, error=error, log=log
    )
    return DryRunInstigationTick(timestamp=at, evaluation_result=evaluated)
