"""Code locations and their jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from typing import Annotated, cast

import strawberry

from opgrid.contracts.events import ErrorInfo
from opgrid.errors import OpGridError
from orchestrator.api.access import Role
from orchestrator.api.backend import REPOSITORY, Backend, NoSuchJob
from orchestrator.api.graphql.automation import Schedule, Sensor, schedules_of, sensors_of
from orchestrator.api.graphql.errors import (
    InvalidSubsetError,
    PipelineNotFoundError,
    PythonError,
    ReloadNotSupported,
    RepositoryLocationNotFound,
    RepositoryNotFoundError,
    RunConfigValidationInvalid,
    UnauthorizedError,
)
from orchestrator.api.graphql.launching import (
    ExecutionParams,
    JobOrPipelineSelector,
    PipelineSelector,
    Refused,
    prepare_of,
    prepared,
)
from orchestrator.api.graphql.mutating import mutate
from orchestrator.api.graphql.plans import ExecutionPlan, Solid, solids_of
from orchestrator.api.graphql.runs import Info, PipelineTag, RepositorySelector, Run, page, runs_of
from orchestrator.api.graphql.scalars import Json, RunConfigData, yaml_of
from orchestrator.locations.location import Location
from orchestrator.locations.messages import JobDetails, JobInfo, Keys, PartitionKeys
from orchestrator.planner.plan import Plan
from orchestrator.services.backfills import last_runs
from orchestrator.storage.records import RunsFilter


@strawberry.type
class Resource:
    name: str
    description: str | None


@strawberry.type
class Mode:
    """There is one; where Dagster's clients look for resources."""

    name: str
    resources: list[Resource]


class LastRuns:
    """The latest runs of jobs that are shown together, read for all of them at once."""

    def __init__(self, backend: Backend, location: str, jobs: Sequence[str]) -> None:
        self._backend, self._location, self._jobs = backend, location, jobs
        self._read: dict[int, dict[str, list[Run]]] = {}

    def of(self, job: str, limit: int) -> list[Run]:
        if limit not in self._read:
            found = self._backend.store.last_runs(self._location, self._jobs, limit)
            runs = iter(runs_of(self._backend, [record for records in found.values() for record in records]))
            self._read[limit] = {name: [next(runs) for _ in records] for name, records in found.items()}
        return self._read[limit].get(job, [])


@strawberry.interface
class Pipeline:
    """Where older clients look for Job."""

    location: strawberry.Private[Location]
    info_: strawberry.Private[JobInfo]
    backend: strawberry.Private[Backend]
    latest: strawberry.Private[LastRuns]

    @property
    def details(self) -> JobDetails:
        return self.backend.details(self.location.name, self.info_.name)

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"{self.location.name}:{self.info_.name}")

    @strawberry.field
    def name(self) -> str:
        return self.info_.name

    @strawberry.field
    def description(self) -> str | None:
        return self.info_.description

    @strawberry.field
    def is_job(self) -> bool:
        return True

    @strawberry.field
    def pipeline_snapshot_id(self) -> str:
        return self.info_.structure_hash

    @strawberry.field
    def runs(self, cursor: str | None = None, limit: int | None = None) -> list[Run]:
        if cursor is None:
            return self.latest.of(self.info_.name, page(limit))
        wanted = RunsFilter(job_name=self.info_.name, location=self.location.name)
        return runs_of(self.backend, self.backend.store.runs(wanted, page(limit), cursor))

    @strawberry.field
    def tags(self) -> list[PipelineTag]:
        found = self.details.tags
        return [PipelineTag(key=key, value=value) for key, value in sorted(found.items())]

    @strawberry.field
    def modes(self) -> list[Mode]:
        found = self.details.resources
        return [
            Mode(
                name="default", resources=[Resource(name=key, description=text) for key, text in sorted(found.items())]
            )
        ]


@strawberry.type
class Job(Pipeline):
    @strawberry.field
    def solids(self) -> list[Solid]:
        return solids_of(json.loads(bytes(self.details.structure)))

    @strawberry.field
    def graph_name(self) -> str:
        return str(json.loads(bytes(self.details.structure))["graph"])

    @strawberry.field(description="Of Dagster's; here definitions and runs have the same.")
    def run_tags(self) -> list[PipelineTag]:
        return [PipelineTag(key=key, value=value) for key, value in sorted(self.details.tags.items())]

    @strawberry.field
    def repository_location_name(self) -> str:
        return self.location.name

    @strawberry.field(description="Hash of its structure: which ops it has, and how they are wired.")
    def structure_hash(self) -> str:
        return self.info_.structure_hash

    @strawberry.field(description="That its runs take where none is given.")
    def executor(self) -> str | None:
        return self.info_.executor or None

    @strawberry.field
    def is_partitioned(self) -> bool:
        return self.info_.partitioned

    @strawberry.field(
        description="Its graph: {name, graph, ops: {name: {inputs, outputs, ...}}, graphs: {name: {nodes: [{name, "
        "definition, is_graph, wires}], ...}}}."
    )
    def structure(self) -> Json:
        return Json(json.loads(bytes(self.details.structure)))

    @strawberry.field(description="JSON Schema of its run config.")
    def run_config_json_schema(self) -> Json:
        return Json(json.loads(bytes(self.details.config_schema)))

    @strawberry.field(description="The run config that it brings along, as YAML.")
    def own_run_config_yaml(self) -> str:
        return yaml_of(self.details.run_config)

    @strawberry.field(description="A run config to fill in, as YAML: with everything, or with what has to be given.")
    def scaffold_yaml(self, required_only: bool = False) -> str:
        found = self.details
        return yaml_of(found.required if required_only else found.scaffold)

    @strawberry.field
    def schedules(self) -> list[Schedule]:
        mine = [each for each in self.location.info.schedules if self.info_.name in each.jobs]
        return schedules_of(self.backend, [(self.location, each) for each in mine])

    @strawberry.field
    def sensors(self) -> list[Sensor]:
        mine = [each for each in self.location.info.sensors if self.info_.name in each.jobs]
        return sensors_of(self.backend, [(self.location, each) for each in mine])


@strawberry.type
class RunConfigSchema:
    json_schema: Json
    root_default_yaml: str


@strawberry.type
class PipelineConfigValidationValid:
    pipeline_name: str


@strawberry.type
class Repository:
    location_: strawberry.Private[Location]
    backend: strawberry.Private[Backend]
    name: str = REPOSITORY

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(f"{self.location_.name}:{self.name}")

    @strawberry.field
    def location(self) -> RepositoryLocation:
        return location_of(self.backend, self.location_)

    @strawberry.field
    def jobs(self) -> list[Job]:
        return jobs_of(self.backend, self.location_)

    @strawberry.field
    def pipelines(self) -> list[Job]:
        return jobs_of(self.backend, self.location_)

    @strawberry.field
    def schedules(self) -> list[Schedule]:
        return schedules_of(self.backend, [(self.location_, each) for each in self.location_.info.schedules])

    @strawberry.field
    def sensors(self) -> list[Sensor]:
        return sensors_of(self.backend, [(self.location_, each) for each in self.location_.info.sensors])


@strawberry.type
class RepositoryLocation:
    name: str
    repositories: list[Repository]
    is_reload_supported: bool = True

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(self.name)


@strawberry.enum
class RepositoryLocationLoadStatus(Enum):
    LOADING = "LOADING"
    LOADED = "LOADED"


RepositoryLocationOrLoadError = Annotated[
    RepositoryLocation | PythonError, strawberry.union("RepositoryLocationOrLoadError")
]


@strawberry.enum
class EnvVarConsumerType(Enum):
    RESOURCE = "RESOURCE"
    OP = "OP"


@strawberry.type
class EnvVarConsumer:
    type: EnvVarConsumerType
    name: str


@strawberry.type
class EnvVarWithConsumers:
    """The name of a variable; its value is told to nobody."""

    env_var_name: str
    env_var_consumers: list[EnvVarConsumer]


@strawberry.type
class EnvVarWithConsumersList:
    results: list[EnvVarWithConsumers]


EnvVarWithConsumersOrError = Annotated[
    EnvVarWithConsumersList | PythonError, strawberry.union("EnvVarWithConsumersOrError")
]


@strawberry.type
class WorkspaceLocationEntry:
    location: strawberry.Private[Location]
    backend: strawberry.Private[Backend]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(self.location.name)

    @strawberry.field
    def name(self) -> str:
        return self.location.name

    @strawberry.field
    def load_status(self) -> RepositoryLocationLoadStatus:
        known = self.location.loaded is not None or self.location.error is not None
        return RepositoryLocationLoadStatus.LOADED if known else RepositoryLocationLoadStatus.LOADING

    @strawberry.field(description="When the version in use was loaded, Unix seconds; null for none.")
    def updated_timestamp(self) -> float | None:
        return self.location.loaded

    @strawberry.field(description="A hash of its definitions: it changes with them, and with nothing else.")
    def version_key(self) -> str:
        return self.location.info.version

    @strawberry.field(description="Where its code comes from.")
    def source(self) -> str:
        code, server = self.location.source.code, self.location.source.server
        if server is not None:
            return f"code server at {server}"
        return code.file or code.module or code.package or ""

    @strawberry.field(description="The interpreter of its process; null for that of this service.")
    def python(self) -> str | None:
        return self.location.source.code.python

    @strawberry.field(description="Environment variables that config in its code takes values from.")
    def env_vars(self) -> list[EnvVarWithConsumers]:
        return env_vars_of(self.location)

    @strawberry.field(description="The error of the last load, or what is loaded.")
    def location_or_load_error(self) -> RepositoryLocationOrLoadError | None:
        if self.location.error is not None:
            return PythonError.of(self.location.error)
        return None if self.location.loaded is None else location_of(self.backend, self.location)

    @strawberry.field(description="The last version that loaded, which stays in use.")
    def repositories(self) -> list[Repository]:
        return [Repository(location_=self.location, backend=self.backend)]


@strawberry.type
class Workspace:
    location_entries: list[WorkspaceLocationEntry]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID("workspace")


@strawberry.type
class RepositoryConnection:
    nodes: list[Repository]


@strawberry.type
class WorkspaceLocationStatusEntry:
    name: str
    load_status: RepositoryLocationLoadStatus
    update_timestamp: float | None


@strawberry.type
class WorkspaceLocationStatusEntries:
    entries: list[WorkspaceLocationStatusEntry]


@strawberry.type
class JobPartitions:
    """The partitions of a job, in their order, and the latest run of each."""

    keys: list[str]
    states: Json = strawberry.field(description="By key: [run id, run status]; those that never ran are missing.")


@strawberry.type
class ShutdownRepositoryLocationSuccess:
    repository_location_name: str


WorkspaceOrError = Annotated[Workspace | PythonError, strawberry.union("WorkspaceOrError")]
WorkspaceLocationEntryOrError = Annotated[
    WorkspaceLocationEntry | PythonError, strawberry.union("WorkspaceLocationEntryOrError")
]
RepositoriesOrError = Annotated[
    RepositoryConnection | RepositoryNotFoundError | PythonError, strawberry.union("RepositoriesOrError")
]
RepositoryOrError = Annotated[Repository | RepositoryNotFoundError | PythonError, strawberry.union("RepositoryOrError")]
LocationStatusesOrError = Annotated[
    WorkspaceLocationStatusEntries | PythonError, strawberry.union("WorkspaceLocationStatusEntriesOrError")
]
PipelineOrError = Annotated[
    Job | PipelineNotFoundError | InvalidSubsetError | PythonError, strawberry.union("PipelineOrError")
]
RunConfigSchemaOrError = Annotated[
    RunConfigSchema | PipelineNotFoundError | InvalidSubsetError | PythonError,
    strawberry.union("RunConfigSchemaOrError"),
]
PipelineConfigValidationResult = Annotated[
    PipelineConfigValidationValid
    | RunConfigValidationInvalid
    | PipelineNotFoundError
    | InvalidSubsetError
    | PythonError,
    strawberry.union("PipelineConfigValidationResult"),
]
ExecutionPlanOrError = Annotated[
    ExecutionPlan | RunConfigValidationInvalid | PipelineNotFoundError | InvalidSubsetError | PythonError,
    strawberry.union("ExecutionPlanOrError"),
]
JobPartitionsOrError = Annotated[
    JobPartitions | PipelineNotFoundError | PythonError, strawberry.union("JobPartitionsOrError")
]
ReloadRepositoryLocationMutationResult = Annotated[
    WorkspaceLocationEntry | ReloadNotSupported | RepositoryLocationNotFound | UnauthorizedError | PythonError,
    strawberry.union("ReloadRepositoryLocationMutationResult"),
]
ReloadWorkspaceMutationResult = Annotated[
    Workspace | UnauthorizedError | PythonError, strawberry.union("ReloadWorkspaceMutationResult")
]
ShutdownRepositoryLocationMutationResult = Annotated[
    ShutdownRepositoryLocationSuccess | RepositoryLocationNotFound | UnauthorizedError | PythonError,
    strawberry.union("ShutdownRepositoryLocationMutationResult"),
]


def jobs_of(backend: Backend, location: Location) -> list[Job]:
    jobs = sorted(location.info.jobs, key=lambda each: each.name)
    latest = LastRuns(backend, location.name, [job.name for job in jobs])
    return [Job(location=location, info_=job, backend=backend, latest=latest) for job in jobs]


def location_of(backend: Backend, location: Location) -> RepositoryLocation:
    return RepositoryLocation(name=location.name, repositories=[Repository(location_=location, backend=backend)])


def env_vars_of(location: Location) -> list[EnvVarWithConsumers]:
    consumers: dict[str, list[EnvVarConsumer]] = {}
    for use in location.info.variables:
        consumer = EnvVarConsumer(type=EnvVarConsumerType(use.kind.upper()), name=use.name)
        consumers.setdefault(use.variable, []).append(consumer)
    return [EnvVarWithConsumers(env_var_name=name, env_var_consumers=each) for name, each in consumers.items()]


def _entry(backend: Backend, location: Location) -> WorkspaceLocationEntry:
    return WorkspaceLocationEntry(location=location, backend=backend)


def workspace_of(backend: Backend) -> Workspace:
    return Workspace(location_entries=[_entry(backend, each) for each in backend.loader.locations])


def no_job(selector: JobOrPipelineSelector, error: NoSuchJob) -> PipelineNotFoundError:
    return PipelineNotFoundError(
        message=str(error),
        pipeline_name=selector.name,
        repository_location_name=selector.repository_location_name,
    )


def checked(backend: Backend, params: ExecutionParams) -> PipelineConfigValidationValid | RunConfigValidationInvalid:
    """Whether a run could be launched so; errors of other types, too, are what it returns."""
    try:
        prepared(backend, params.selector, prepare_of(params))
    except Refused as refused:
        return cast(RunConfigValidationInvalid, refused.result)
    except OpGridError as error:
        return cast(RunConfigValidationInvalid, PythonError.of(ErrorInfo.of(error)))
    return PipelineConfigValidationValid(pipeline_name=params.selector.name)


@strawberry.type
class WorkspaceQueries:
    @strawberry.field
    def workspace_or_error(self, info: Info) -> WorkspaceOrError:
        return workspace_of(info.context.backend)

    @strawberry.field
    def workspace_location_entry_or_error(self, info: Info, name: str) -> WorkspaceLocationEntryOrError | None:
        found = info.context.backend.loader.named(name)
        return None if found is None else _entry(info.context.backend, found)

    @strawberry.field
    def location_statuses_or_error(self, info: Info) -> LocationStatusesOrError:
        entries = workspace_of(info.context.backend).location_entries
        return WorkspaceLocationStatusEntries(
            entries=[
                WorkspaceLocationStatusEntry(
                    name=each.location.name,
                    load_status=RepositoryLocationLoadStatus.LOADED
                    if each.location.loaded is not None or each.location.error is not None
                    else RepositoryLocationLoadStatus.LOADING,
                    update_timestamp=each.location.loaded,
                )
                for each in entries
            ]
        )

    @strawberry.field
    def utilized_env_vars_or_error(
        self, info: Info, repository_selector: RepositorySelector
    ) -> EnvVarWithConsumersOrError:
        try:
            location = info.context.backend.location(repository_selector.repository_location_name)
        except NoSuchJob as error:
            return PythonError.of(ErrorInfo.of(error))
        return EnvVarWithConsumersList(results=env_vars_of(location))

    @strawberry.field
    def repositories_or_error(
        self, info: Info, repository_selector: RepositorySelector | None = None
    ) -> RepositoriesOrError:
        backend = info.context.backend
        wanted = repository_selector.repository_location_name if repository_selector is not None else None
        found = [each for each in backend.loader.locations if wanted in (None, each.name)]
        if wanted is not None and not found:
            return RepositoryNotFoundError.of(wanted)
        return RepositoryConnection(nodes=[Repository(location_=each, backend=backend) for each in found])

    @strawberry.field
    def repository_or_error(self, info: Info, repository_selector: RepositorySelector) -> RepositoryOrError:
        name = repository_selector.repository_location_name
        found = info.context.backend.loader.named(name)
        if found is None:
            return RepositoryNotFoundError.of(name)
        return Repository(location_=found, backend=info.context.backend)

    @strawberry.field
    def pipeline_or_error(self, info: Info, params: PipelineSelector) -> PipelineOrError:
        backend = info.context.backend
        try:
            location, job = backend.job(params.repository_location_name, params.name)
        except NoSuchJob as error:
            return no_job(params, error)
        return Job(location=location, info_=job, backend=backend, latest=LastRuns(backend, location.name, [job.name]))

    @strawberry.field
    def run_config_schema_or_error(
        self, info: Info, selector: PipelineSelector, mode: str | None = None
    ) -> RunConfigSchemaOrError:
        try:
            found = info.context.backend.details(selector.repository_location_name, selector.name)
        except NoSuchJob as error:
            return no_job(selector, error)
        except OpGridError as error:
            return PythonError.of(ErrorInfo.of(error))
        return RunConfigSchema(
            json_schema=Json(json.loads(bytes(found.config_schema))), root_default_yaml=yaml_of(found.run_config)
        )

    @strawberry.field(description="Whether a run could be launched with this; nothing is launched.")
    def is_run_config_valid(self, info: Info, execution_params: ExecutionParams) -> PipelineConfigValidationResult:
        return checked(info.context.backend, execution_params)

    @strawberry.field(
        description="The steps that a run launched with this would have; nothing is launched. `executionParams`, or "
        "what Dagster's clients give."
    )
    def execution_plan_or_error(
        self,
        info: Info,
        execution_params: ExecutionParams | None = None,
        pipeline: PipelineSelector | None = None,
        mode: str | None = None,
        run_config_data: RunConfigData | None = None,
    ) -> ExecutionPlanOrError:
        if execution_params is None:
            if pipeline is None:
                return PythonError(message="Say of which job: executionParams, or pipeline.")
            execution_params = ExecutionParams(selector=pipeline, run_config_data=run_config_data)
        try:
            ready = prepared(info.context.backend, execution_params.selector, prepare_of(execution_params))
        except Refused as refused:
            return cast(ExecutionPlan, refused.result)
        except OpGridError as error:
            return cast(ExecutionPlan, PythonError.of(ErrorInfo.of(error)))
        return ExecutionPlan.of(Plan.from_json(bytes(ready.plan)))

    @strawberry.field(description="Of a partitioned job.")
    def job_partitions_or_error(self, info: Info, selector: JobOrPipelineSelector) -> JobPartitionsOrError:
        backend = info.context.backend
        try:
            location, job = backend.job(selector.repository_location_name, selector.name)
            answer = backend.ask(location, PartitionKeys(job.name))
        except NoSuchJob as error:
            return no_job(selector, error)
        except OpGridError as error:
            return PythonError.of(ErrorInfo.of(error))
        if not isinstance(answer, Keys):
            return PythonError(message=getattr(getattr(answer, "error", None), "message", "It gave no partitions."))
        states = last_runs(backend.store, location.name, job.name, answer.keys)
        return JobPartitions(
            keys=list(answer.keys), states=Json({key: [run.run_id, run.status.value] for key, run in states.items()})
        )


@strawberry.type
class WorkspaceMutations:
    @strawberry.mutation
    def reload_repository_location(
        self, info: Info, repository_location_name: str
    ) -> ReloadRepositoryLocationMutationResult:
        backend = info.context.backend

        def work() -> WorkspaceLocationEntry | RepositoryLocationNotFound:
            found = backend.loader.named(repository_location_name)
            if found is None:
                return RepositoryLocationNotFound(message=f"There is no code location {repository_location_name!r}.")
            backend.loader.load(found)
            return _entry(backend, found)

        return mutate(info, Role.LAUNCHER, repository_location_name, work)

    @strawberry.mutation
    def reload_workspace(self, info: Info) -> ReloadWorkspaceMutationResult:
        backend = info.context.backend

        def work() -> Workspace:
            for location in backend.loader.locations:
                backend.loader.load(location)
            return workspace_of(backend)

        return mutate(info, Role.LAUNCHER, "", work)

    @strawberry.mutation(
        description="End the processes of a code location; it starts again when it is asked something."
    )
    def shutdown_repository_location(
        self, info: Info, repository_location_name: str
    ) -> ShutdownRepositoryLocationMutationResult:
        backend = info.context.backend

        def work() -> ShutdownRepositoryLocationSuccess | RepositoryLocationNotFound:
            found = backend.loader.named(repository_location_name)
            if found is None:
                return RepositoryLocationNotFound(message=f"There is no code location {repository_location_name!r}.")
            found.rest()
            return ShutdownRepositoryLocationSuccess(repository_location_name=repository_location_name)

        return mutate(info, Role.ADMIN, repository_location_name, work)
