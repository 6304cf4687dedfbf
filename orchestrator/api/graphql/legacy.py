"""What clients of Dagster ask for by names of their own, answered from what there is under ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from enum import Enum
from typing import Annotated, Any

import strawberry

from opgrid.errors import OpGridError, UnknownCursor
from opgrid.ids import RunId
from orchestrator.api.access import Role
from orchestrator.api.backend import REPOSITORY, Backend, NoSuchJob
from orchestrator.api.graphql.automation import InstigationState, schedules_of, sensors_of
from orchestrator.api.graphql.backfills import PartitionBackfill, backfills_of
from orchestrator.api.graphql.errors import (
    Error,
    GraphNotFoundError,
    InvalidSubsetError,
    PartitionSetNotFoundError,
    PipelineNotFoundError,
    PipelineSnapshotNotFoundError,
    PythonError,
    RepositoryNotFoundError,
    ResourceNotFoundError,
    RunNotFoundError,
)
from orchestrator.api.graphql.launching import ExecutionParams, JobOrPipelineSelector, PipelineSelector
from orchestrator.api.graphql.live import concerns
from orchestrator.api.graphql.mutating import mutate
from orchestrator.api.graphql.plans import Solid, solids_of
from orchestrator.api.graphql.run_queries import RunsFilterInput
from orchestrator.api.graphql.runs import (
    CapturedLogs,
    Info,
    PipelineTag,
    RepositorySelector,
    Run,
    page,
    printed,
    runs_of,
)
from orchestrator.api.graphql.scalars import RunConfigData
from orchestrator.api.graphql.workspace import (
    PipelineConfigValidationResult,
    Resource,
    checked,
    no_job,
)
from orchestrator.api.pulse import Topic
from orchestrator.locations.messages import JobInfo, Keys, PartitionKeys
from orchestrator.storage.records import BACKFILL_TAG, RunsFilter


@strawberry.type
class RunIds:
    results: list[str]
    count: int


@strawberry.type
class ResourceConnection:
    resources: list[Resource]


@strawberry.type
class Partition:
    name: str
    partition_set_name: str


@strawberry.type
class Partitions:
    results: list[Partition]


@strawberry.type
class PartitionSet:
    """The partitions of a job."""

    name: str
    pipeline_name: str
    repository_location_name: strawberry.Private[str]
    backend: strawberry.Private[Backend]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"{self.repository_location_name}:{self.name}")

    @strawberry.field
    def partitions_or_error(self, cursor: str | None = None, limit: int | None = None) -> PartitionsOrError:
        """In their order; those behind the key ``cursor``."""
        try:
            answer = self.backend.ask(
                self.backend.location(self.repository_location_name), PartitionKeys(self.pipeline_name)
            )
        except OpGridError as error:
            return PythonError(message=str(error))
        if not isinstance(answer, Keys):
            return PythonError(message=f"Job {self.pipeline_name!r} has no partitions.")
        keys = list(answer.keys)
        start = keys.index(cursor) + 1 if cursor in keys else 0
        shown = keys[start:] if limit is None else keys[start : start + page(limit)]
        return Partitions(results=[Partition(name=key, partition_set_name=self.name) for key in shown])


@strawberry.type
class PartitionSets:
    results: list[PartitionSet]


PartitionsOrError = Annotated[Partitions | PythonError, strawberry.union("PartitionsOrError")]
PartitionSetsOrError = Annotated[
    PartitionSets | PipelineNotFoundError | PythonError, strawberry.union("PartitionSetsOrError")
]
PartitionSetOrError = Annotated[
    PartitionSet | PartitionSetNotFoundError | PythonError, strawberry.union("PartitionSetOrError")
]
RunIdsOrError = Annotated[RunIds | PythonError, strawberry.union("RunIdsOrError")]
ResourcesOrError = Annotated[
    ResourceConnection | PipelineNotFoundError | InvalidSubsetError | PythonError, strawberry.union("ResourcesOrError")
]


@strawberry.enum
class RunsFeedView(Enum):
    RUNS = "RUNS"
    BACKFILLS = "BACKFILLS"
    ROOTS = "ROOTS"


RunsFeedEntry = Annotated[Run | PartitionBackfill, strawberry.union("RunsFeedEntry")]


@strawberry.type
class RunsFeedConnection:
    """Newest first. ROOTS are backfills, and runs of none."""

    results: list[RunsFeedEntry]
    cursor: str
    has_more: bool


@strawberry.type
class RunsFeedCount:
    count: int


RunsFeedConnectionOrError = Annotated[RunsFeedConnection | PythonError, strawberry.union("RunsFeedConnectionOrError")]
RunsFeedCountOrError = Annotated[RunsFeedCount | PythonError, strawberry.union("RunsFeedCountOrError")]


@strawberry.input
class InstigationSelector:
    repository_name: str = REPOSITORY
    repository_location_name: str
    name: str


@strawberry.type
class InstigationStateNotFoundError:
    message: str
    name: str


@strawberry.type
class InstigationStates:
    results: list[InstigationState]


InstigationStateOrError = Annotated[
    InstigationState | InstigationStateNotFoundError | PythonError, strawberry.union("InstigationStateOrError")
]
InstigationStatesOrError = Annotated[
    InstigationStates | RepositoryNotFoundError | PythonError, strawberry.union("InstigationStatesOrError")
]


@strawberry.type
class CapturedLogsMetadata:
    stdout_download_url: str | None = None
    stdout_location: str | None = None
    stderr_download_url: str | None = None
    stderr_location: str | None = None


@strawberry.input
class GraphSelector:
    graph_name: str
    repository_name: str = REPOSITORY
    repository_location_name: str


@strawberry.input
class ResourceSelector:
    repository_name: str = REPOSITORY
    repository_location_name: str
    resource_name: str


@strawberry.type
class Graph:
    id: strawberry.ID
    name: str
    description: str | None
    solids: list[Solid]


@strawberry.type
class PipelineSnapshot:
    """A job by its structure."""

    id: strawberry.ID
    pipeline_snapshot_id: str
    name: str
    description: str | None
    graph_name: str
    solids: list[Solid]
    tags: list[PipelineTag]


@strawberry.type
class JobWithOps:
    job_name: str


@strawberry.type
class ResourceDetails:
    name: str
    description: str | None
    place: strawberry.Private[str]
    jobs: strawberry.Private[list[str]]
    is_top_level: bool = True

    @strawberry.field
    def id(self) -> str:
        return f"{self.place}:{self.name}"

    @strawberry.field
    def jobs_ops_using(self) -> list[JobWithOps]:
        return [JobWithOps(job_name=name) for name in self.jobs]


@strawberry.type
class ResourceDetailsList:
    results: list[ResourceDetails]


@strawberry.type
class Scheduler:
    scheduler_class: str | None


@strawberry.type
class SchedulerNotDefinedError(Error):
    """Of Dagster's; there always is one here."""


GraphOrError = Annotated[Graph | GraphNotFoundError | PythonError, strawberry.union("GraphOrError")]
PipelineSnapshotOrError = Annotated[
    PipelineSnapshot | PipelineNotFoundError | PipelineSnapshotNotFoundError | PythonError,
    strawberry.union("PipelineSnapshotOrError"),
]
ResourceDetailsOrError = Annotated[
    ResourceDetails | ResourceNotFoundError | PythonError, strawberry.union("ResourceDetailsOrError")
]
ResourceDetailsListOrError = Annotated[
    ResourceDetailsList | RepositoryNotFoundError | PythonError, strawberry.union("ResourceDetailsListOrError")
]
SchedulerOrError = Annotated[Scheduler | SchedulerNotDefinedError | PythonError, strawberry.union("SchedulerOrError")]


@strawberry.enum
class LocationStateChangeEventType(Enum):
    LOCATION_UPDATED = "LOCATION_UPDATED"
    LOCATION_ERROR = "LOCATION_ERROR"


@strawberry.type
class LocationStateChangeEvent:
    event_type: LocationStateChangeEventType
    location_name: str
    message: str


@strawberry.type
class LocationStateChangeSubscription:
    event: LocationStateChangeEvent


def _states(backend: Backend) -> list[InstigationState]:
    places = backend.loader.locations
    schedules = schedules_of(backend, [(place, each) for place in places for each in place.info.schedules])
    sensors = sensors_of(backend, [(place, each) for place in places for each in place.info.sensors])
    return [*(each.schedule_state for each in schedules), *(each.sensor_state for each in sensors)]


def _feed(backend: Backend, wanted: RunsFilter, view: RunsFeedView) -> list[Run | PartitionBackfill]:
    """The newest of all that there is, more than a page at least."""
    most = 2000
    entries: list[tuple[float, Run | PartitionBackfill]] = []
    if view is not RunsFeedView.BACKFILLS:
        records = backend.store.runs(wanted, most)
        if view is RunsFeedView.ROOTS:
            records = [record for record in records if BACKFILL_TAG not in record.tags]
        entries += zip((record.created for record in records), runs_of(backend, records), strict=True)
    if view is not RunsFeedView.RUNS:
        found = backend.store.backfills(limit=most)
        entries += zip((each.created for each in found), backfills_of(backend, found), strict=True)
    return [entry for _, entry in sorted(entries, key=lambda each: -each[0])]


@strawberry.type
class LegacyQueries:
    @strawberry.field
    def run_ids_or_error(
        self,
        info: Info,
        wanted: Annotated[RunsFilterInput | None, strawberry.argument(name="filter")] = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> RunIdsOrError:
        chosen = wanted.record() if wanted is not None else RunsFilter()
        try:
            records = info.context.store.runs(chosen, page(limit, 1000), cursor)
        except UnknownCursor as error:
            return PythonError(message=str(error))
        return RunIds(results=[record.run_id for record in records], count=info.context.store.count(chosen))

    @strawberry.field(description="`cursor` is that of the page before.")
    def runs_feed_or_error(
        self,
        info: Info,
        limit: int,
        view: RunsFeedView,
        cursor: str | None = None,
        wanted: Annotated[RunsFilterInput | None, strawberry.argument(name="filter")] = None,
    ) -> RunsFeedConnectionOrError:
        entries = _feed(info.context.backend, wanted.record() if wanted is not None else RunsFilter(), view)
        start = int(cursor) if cursor is not None and cursor.isdecimal() and len(cursor) < 9 else 0
        end = start + page(limit)
        return RunsFeedConnection(results=entries[start:end], cursor=str(end), has_more=start < end < len(entries))

    @strawberry.field
    def runs_feed_count_or_error(
        self,
        info: Info,
        view: RunsFeedView,
        wanted: Annotated[RunsFilterInput | None, strawberry.argument(name="filter")] = None,
    ) -> RunsFeedCountOrError:
        chosen = wanted.record() if wanted is not None else RunsFilter()
        if view is RunsFeedView.RUNS:
            return RunsFeedCount(count=info.context.store.count(chosen))
        return RunsFeedCount(count=len(_feed(info.context.backend, chosen, view)))

    @strawberry.field
    def is_pipeline_config_valid(
        self,
        info: Info,
        pipeline: PipelineSelector,
        mode: str,
        run_config_data: RunConfigData | None = None,
    ) -> PipelineConfigValidationResult:
        return checked(info.context.backend, ExecutionParams(selector=pipeline, run_config_data=run_config_data))

    @strawberry.field
    def resources_or_error(self, info: Info, pipeline_selector: PipelineSelector) -> ResourcesOrError:
        selector = pipeline_selector
        try:
            found = info.context.backend.details(selector.repository_location_name, selector.name).resources
        except NoSuchJob as error:
            return no_job(selector, error)
        except OpGridError as error:
            return PythonError(message=str(error))
        return ResourceConnection(
            resources=[Resource(name=name, description=text) for name, text in sorted(found.items())]
        )

    @strawberry.field
    def partition_sets_or_error(
        self, info: Info, repository_selector: RepositorySelector, pipeline_name: str
    ) -> PartitionSetsOrError:
        backend, place = info.context.backend, repository_selector.repository_location_name
        try:
            _, job = backend.job(place, pipeline_name)
        except NoSuchJob as error:
            selector = JobOrPipelineSelector(repository_location_name=place, pipeline_name=pipeline_name)
            return no_job(selector, error)
        sets = [_set(backend, place, job.name)] if job.partitioned else []
        return PartitionSets(results=sets)

    @strawberry.field
    def partition_set_or_error(
        self, info: Info, repository_selector: RepositorySelector, partition_set_name: str | None = None
    ) -> PartitionSetOrError:
        backend, place = info.context.backend, repository_selector.repository_location_name
        name = (partition_set_name or "").removesuffix("_partition_set")
        try:
            _, job = backend.job(place, name)
        except NoSuchJob as error:
            return PartitionSetNotFoundError(message=str(error), partition_set_name=partition_set_name or "")
        if not job.partitioned:
            message = f"Job {name!r} has no partitions."
            return PartitionSetNotFoundError(message=message, partition_set_name=partition_set_name or "")
        return _set(backend, place, name)

    @strawberry.field
    def instigation_state_or_error(
        self, info: Info, instigation_selector: InstigationSelector
    ) -> InstigationStateOrError:
        wanted = instigation_selector.repository_location_name, instigation_selector.name
        for state in _states(info.context.backend):
            if (state.repository_location_name, state.name) == wanted:
                return state
        message = f"Code location {wanted[0]!r} has no schedule or sensor {wanted[1]!r}."
        return InstigationStateNotFoundError(message=message, name=wanted[1])

    @strawberry.field(
        name="instigationStatesOrError", description="Of a repository by its id, `location:__repository__`."
    )
    def instigation_states_or_error(
        self, info: Info, repository_id: Annotated[str, strawberry.argument(name="repositoryID")]
    ) -> InstigationStatesOrError:
        place = repository_id.removesuffix(f":{REPOSITORY}")
        if info.context.backend.loader.named(place) is None:
            return RepositoryNotFoundError.of(place)
        found = [state for state in _states(info.context.backend) if state.repository_location_name == place]
        return InstigationStates(results=found)

    @strawberry.field
    def can_bulk_terminate(self, info: Info) -> bool:
        return info.context.viewer.may(Role.LAUNCHER)

    @strawberry.field(description="`logKey` is [run id, step key]; `cursor` that of an earlier answer.")
    def captured_logs(
        self, info: Info, log_key: list[str], cursor: str | None = None, limit: int | None = None
    ) -> CapturedLogs:
        return printed(info.context.backend, log_key, cursor, limit)

    @strawberry.field(description="Where what a step printed is kept.")
    def captured_logs_metadata(self, log_key: list[str]) -> CapturedLogsMetadata:
        place = "the events of its run"
        return CapturedLogsMetadata(stdout_location=place, stderr_location=place)

    @strawberry.field(description="A graph, as jobs of a code location use it.")
    def graph_or_error(self, info: Info, selector: GraphSelector | None = None) -> GraphOrError:
        name, place = (selector.graph_name, selector.repository_location_name) if selector is not None else ("", "")
        try:
            for job, structure in _structures(info.context.backend, place):
                found = structure.get("graphs", {}).get(name)
                if found is not None:
                    return Graph(
                        id=strawberry.ID(f"{place}:{name}"),
                        name=name,
                        description=found.get("description") or job.description,
                        solids=solids_of(structure, name),
                    )
        except NoSuchJob:
            pass
        except OpGridError as error:
            return PythonError(message=str(error))
        message = f"No job of code location {place!r} has a graph {name!r}."
        return GraphNotFoundError(message=message, graph_name=name, repository_location_name=place)

    @strawberry.field(description="A job by the hash of its structure, or as it is now.")
    def pipeline_snapshot_or_error(
        self, info: Info, snapshot_id: str | None = None, active_pipeline_selector: PipelineSelector | None = None
    ) -> PipelineSnapshotOrError:
        backend, selector = info.context.backend, active_pipeline_selector
        try:
            if selector is not None:
                place, job = backend.job(selector.repository_location_name, selector.name)
                return _snapshot(backend, place.name, job)
            for location in backend.loader.locations:
                for job in location.info.jobs:
                    if job.structure_hash == snapshot_id:
                        return _snapshot(backend, location.name, job)
        except NoSuchJob as error:
            assert selector is not None
            return no_job(selector, error)
        except OpGridError as error:
            return PythonError(message=str(error))
        message = f"No code that is loaded has a job with the structure {snapshot_id!r}."
        return PipelineSnapshotNotFoundError(message=message, snapshot_id=snapshot_id or "")

    @strawberry.field(description="The resources that jobs of a code location need, and which.")
    def all_top_level_resource_details_or_error(
        self, info: Info, repository_selector: RepositorySelector
    ) -> ResourceDetailsListOrError:
        place = repository_selector.repository_location_name
        try:
            return ResourceDetailsList(results=_resources(info.context.backend, place))
        except NoSuchJob:
            return RepositoryNotFoundError.of(place)
        except OpGridError as error:
            return PythonError(message=str(error))

    @strawberry.field
    def top_level_resource_details_or_error(
        self, info: Info, resource_selector: ResourceSelector
    ) -> ResourceDetailsOrError:
        name, place = resource_selector.resource_name, resource_selector.repository_location_name
        try:
            for each in _resources(info.context.backend, place):
                if each.name == name:
                    return each
        except NoSuchJob:
            pass
        except OpGridError as error:
            return PythonError(message=str(error))
        message = f"No job of code location {place!r} needs a resource {name!r}."
        return ResourceNotFoundError(message=message, resource_name=name)

    @strawberry.field
    def scheduler(self) -> SchedulerOrError:
        return Scheduler(scheduler_class="opgrid daemon")


def _structures(backend: Backend, place: str) -> Iterator[tuple[JobInfo, Any]]:
    """Of the jobs of a code location. Raises NoSuchJob, LocationBroken."""
    for job in backend.location(place).info.jobs:
        yield job, json.loads(bytes(backend.details(place, job.name).structure))


def _snapshot(backend: Backend, place: str, job: JobInfo) -> PipelineSnapshot:
    details = backend.details(place, job.name)
    structure = json.loads(bytes(details.structure))
    return PipelineSnapshot(
        id=strawberry.ID(job.structure_hash),
        pipeline_snapshot_id=job.structure_hash,
        name=job.name,
        description=job.description,
        graph_name=structure["graph"],
        solids=solids_of(structure),
        tags=[PipelineTag(key=key, value=value) for key, value in sorted(details.tags.items())],
    )


def _resources(backend: Backend, place: str) -> list[ResourceDetails]:
    """Raises NoSuchJob, LocationBroken."""
    found: dict[str, ResourceDetails] = {}
    for job in backend.location(place).info.jobs:
        for name, description in backend.details(place, job.name).resources.items():
            made = found.setdefault(name, ResourceDetails(name=name, description=description, place=place, jobs=[]))
            made.jobs.append(job.name)
    return [found[name] for name in sorted(found)]


def _set(backend: Backend, place: str, job: str) -> PartitionSet:
    return PartitionSet(name=f"{job}_partition_set", pipeline_name=job, repository_location_name=place, backend=backend)


@strawberry.type
class LegacyMutations:
    @strawberry.mutation
    def free_concurrency_slots_for_run(self, info: Info, run_id: str) -> bool:
        def work() -> bool | RunNotFoundError:
            store = info.context.store
            used = [slot for slots in store.used_slots().values() for slot in slots if slot.run_id == run_id]
            store.free_slots(used)
            return True

        return mutate(info, Role.ADMIN, run_id, work) is True


@strawberry.type
class LegacySubscriptions:
    @strawberry.subscription(description="What a step prints, from the cursor on; it ends with the run.")
    async def captured_logs(
        self, info: Info, log_key: list[str], cursor: str | None = None
    ) -> AsyncGenerator[CapturedLogs, None]:
        backend, last = info.context.backend, cursor
        run_id = RunId(log_key[0] if log_key else "")
        with backend.heart.watching() as watcher:
            while True:
                async with info.context.telling:
                    record = await asyncio.to_thread(backend.store.run, run_id)
                    found = await asyncio.to_thread(printed, backend, log_key, last, None)
                    if found.stdout or found.stderr or last is None:
                        yield found
                if found.cursor != last:
                    last = found.cursor
                    continue
                if record is None or record.status.is_final or not await concerns(watcher, run_id):
                    return

    @strawberry.subscription(description="Code that was loaded, or did not load.")
    async def location_state_change_events(self, info: Info) -> AsyncGenerator[LocationStateChangeSubscription, None]:
        backend = info.context.backend
        with backend.heart.watching() as watcher:
            while (change := await watcher.get()) is not None:
                if Topic.LOCATIONS not in change.topics:
                    continue
                for location in backend.loader.locations:
                    failed = location.error is not None
                    kind = "LOCATION_ERROR" if failed else "LOCATION_UPDATED"
                    message = location.error.message if location.error is not None else "Its code is loaded."
                    event = LocationStateChangeEvent(
                        event_type=LocationStateChangeEventType(kind), location_name=location.name, message=message
                    )
                    yield LocationStateChangeSubscription(event=event)
