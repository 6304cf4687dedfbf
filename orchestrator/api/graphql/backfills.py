"""Backfills, and the keys of dynamic partitions."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Final, cast

import msgspec
import strawberry

from opgrid.contracts.status import RunStatus
from opgrid.definitions.partitions.base import in_ranges
from opgrid.definitions.run_request import AddDynamicPartitionsRequest
from opgrid.errors import InvariantViolationError, RunNotFoundError
from opgrid.ids import RunId
from orchestrator.api.access import Role
from orchestrator.api.backend import Backend, NoSuchJob
from orchestrator.api.graphql.errors import (
    BackfillNotFoundError,
    InvalidSubsetError,
    PartitionSetNotFoundError,
    PythonError,
    RunConfigValidationInvalid,
    UnauthorizedError,
)
from orchestrator.api.graphql.launching import (
    ExecutionParams,
    JobOrPipelineSelector,
    ReexecutionParams,
    ReexecutionStrategy,
    Refused,
    prepare_of,
    prepared,
    tags_of,
)
from orchestrator.api.graphql.mutating import mutate
from orchestrator.api.graphql.run_queries import TagInput
from orchestrator.api.graphql.runs import Info, PipelineTag, RepositorySelector, Run, page, runs_of
from orchestrator.api.graphql.scalars import Json, RunConfigData, UnreadableConfig, run_config_of
from orchestrator.locations.location import Location
from orchestrator.locations.messages import Keys, PartitionKeys
from orchestrator.services import backfills
from orchestrator.storage.records import RunsFilter
from orchestrator.storage.service_records import Backfill, BackfillOptions
from orchestrator.storage.service_records import BackfillStatus as Status


@strawberry.enum
class BulkActionStatus(Enum):
    REQUESTED = "REQUESTED"
    CANCELING = "CANCELING"
    COMPLETED_SUCCESS = "COMPLETED_SUCCESS"
    COMPLETED_FAILED = "COMPLETED_FAILED"
    CANCELED = "CANCELED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    FAILING = "FAILING"


_STATUSES: Final = {
    **{BulkActionStatus(each.value): each for each in Status},
    BulkActionStatus.COMPLETED: Status.COMPLETED_SUCCESS,
    BulkActionStatus.FAILED: Status.COMPLETED_FAILED,
}


class Together:
    """Backfills that are shown together: their runs are read for all of them at once."""

    def __init__(self, backend: Backend, made: Sequence[Backfill]) -> None:
        self.backend, self._made = backend, made

    @functools.cached_property
    def launched(self) -> dict[str, dict[str, RunId]]:
        return self.backend.store.launched_by([each.origin for each in self._made])

    @functools.cached_property
    def latest(self) -> dict[str, dict[str, RunId]]:
        return self.backend.store.latest_by([each.origin for each in self._made])

    @functools.cached_property
    def statuses(self) -> dict[RunId, RunStatus]:
        return self.backend.store.statuses([run_id for runs in self.latest.values() for run_id in runs.values()])

    @functools.cached_property
    def counts(self) -> dict[str, dict[RunStatus | None, int]]:
        return self.backend.store.launch_counts([each.origin for each in self._made])

    @functools.cached_property
    def _read(self) -> dict[int, dict[RunId, Run]]:
        return {}

    def runs(self, origin: str, limit: int) -> list[Run]:
        """The last that were launched, newest first."""
        if limit not in self._read:
            ids = [run_id for runs in self.launched.values() for run_id in _newest(runs, limit)]
            found = self.backend.store.runs(RunsFilter(run_ids=tuple(ids))) if ids else []
            self._read[limit] = {run.record.run_id: run for run in runs_of(self.backend, found)}
        read = self._read[limit]
        return [read[each] for each in _newest(self.launched.get(origin, {}), limit) if each in read]


def _newest(launched: Mapping[str, RunId], limit: int) -> list[RunId]:
    return [*launched.values()][::-1][:limit]


def backfills_of(backend: Backend, made: Sequence[Backfill]) -> list[PartitionBackfill]:
    together = Together(backend, made)
    return [PartitionBackfill(made=each, together=together) for each in made]


@strawberry.type
class PartitionBackfill:
    """Times are Unix seconds."""

    made: strawberry.Private[Backfill]
    together: strawberry.Private[Together]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(self.made.backfill_id)

    @strawberry.field
    def status(self) -> BulkActionStatus:
        return BulkActionStatus(self.made.status.value)

    @strawberry.field
    def job_name(self) -> str:
        return self.made.job

    @strawberry.field
    def repository_location_name(self) -> str:
        return self.made.location

    @strawberry.field
    def partition_names(self) -> list[str]:
        return list(self.made.partitions)

    @strawberry.field(description="A range that one run is for counts once.")
    def num_partitions(self) -> int:
        return len(self.made.partitions)

    @strawberry.field
    def title(self) -> str:
        return self.made.options.title

    @strawberry.field
    def tags(self) -> list[PipelineTag]:
        return [PipelineTag(key=key, value=value) for key, value in sorted(self.made.options.tags.items())]

    @strawberry.field(description="Its runs that may go on at a time; null: all.")
    def at_once(self) -> int | None:
        return self.made.options.at_once

    @strawberry.field
    def timestamp(self) -> float:
        return self.made.created

    @strawberry.field
    def end_timestamp(self) -> float | None:
        return self.made.ended

    @strawberry.field(description="Why a partition could not be launched.")
    def error(self) -> PythonError | None:
        return None if self.made.error is None else PythonError(message=self.made.error)

    @strawberry.field
    def runs(self, limit: int | None = None) -> list[Run]:
        return self.together.runs(self.made.origin, page(limit))

    @strawberry.field(description="By partition: [run id, run status]; those that were not launched are missing.")
    def partition_states(self) -> Json:
        latest, statuses = self.together.latest.get(self.made.origin, {}), self.together.statuses
        return Json({key: [run, statuses[run].value] for key, run in latest.items() if run in statuses})

    @strawberry.field
    def partition_set_name(self) -> str:
        return f"{self.made.job}_partition_set"

    @strawberry.field
    def from_failure(self) -> bool:
        return bool(self.made.options.parents)

    @strawberry.field
    def reexecution_steps(self) -> list[str] | None:
        return list(self.made.options.op_selection) or None

    @strawberry.field(description="Runs that can be canceled.")
    def num_cancelable(self) -> int:
        counts = self.together.counts.get(self.made.origin, {})
        return sum(count for status, count in counts.items() if status is not None and not status.is_final)

    @strawberry.field
    def is_cancelable(self) -> bool:
        return self.made.status is Status.REQUESTED

    @strawberry.field(description="Another backfill can run what did not succeed.")
    def is_resumable(self) -> bool:
        return self.made.status in (Status.CANCELED, Status.COMPLETED_FAILED)


@strawberry.input
class BulkActionsFilter:
    statuses: list[BulkActionStatus] | None = None
    created_before: float | None = None
    created_after: float | None = None


@strawberry.input
class PartitionSetSelector:
    partition_set_name: str = strawberry.field(description="Name of the job; `NAME_partition_set` is understood.")
    repository_selector: RepositorySelector


@strawberry.input
class LaunchBackfillParams:
    selector: PartitionSetSelector
    partition_names: list[str] | None = None
    all_partitions: bool | None = None
    from_failure: bool | None = strawberry.field(
        default=None, description="A partition whose last run failed goes on from there."
    )
    reexecution_steps: list[str] | None = strawberry.field(default=None, description="An op selection.")
    tags: list[TagInput] | None = None
    title: str | None = None
    description: str | None = None
    run_config_data: RunConfigData | None = strawberry.field(
        default=None, description="Instead of the config of the partition."
    )
    force_synchronous_submission: bool | None = None
    missing: bool | None = strawberry.field(default=None, description="Only partitions that never ran.")
    failed: bool | None = strawberry.field(default=None, description="Only partitions whose last run failed.")
    range_start: str | None = None
    range_end: str | None = None
    at_once: int | None = strawberry.field(default=None, description="Runs at a time; 1 is one after the other.")
    executor: str | None = None
    single_run: bool | None = strawberry.field(
        default=None, description="One run for all, or one for each stretch of partitions that follow one another."
    )


@strawberry.type
class LaunchBackfillSuccess:
    backfill_id: str
    launched_run_ids: list[str] | None = None


@strawberry.type
class CancelBackfillSuccess:
    backfill_id: str


@strawberry.type
class ResumeBackfillSuccess:
    backfill_id: str


@strawberry.type
class PartitionBackfills:
    results: list[PartitionBackfill]
    cursor: str | None = None


@strawberry.type
class AddDynamicPartitionSuccess:
    partitions_def_name: str
    partition_key: str


@strawberry.type
class DeleteDynamicPartitionsSuccess:
    partitions_def_name: str


PartitionBackfillOrError = Annotated[
    PartitionBackfill | BackfillNotFoundError | PythonError, strawberry.union("PartitionBackfillOrError")
]
PartitionBackfillsOrError = Annotated[PartitionBackfills | PythonError, strawberry.union("PartitionBackfillsOrError")]
LaunchBackfillResult = Annotated[
    LaunchBackfillSuccess
    | PartitionSetNotFoundError
    | RunConfigValidationInvalid
    | InvalidSubsetError
    | UnauthorizedError
    | PythonError,
    strawberry.union("LaunchBackfillResult"),
]
CancelBackfillResult = Annotated[
    CancelBackfillSuccess | BackfillNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("CancelBackfillResult"),
]
ResumeBackfillResult = Annotated[
    ResumeBackfillSuccess | BackfillNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("ResumeBackfillResult"),
]
AddDynamicPartitionResult = Annotated[
    AddDynamicPartitionSuccess | UnauthorizedError | PythonError, strawberry.union("AddDynamicPartitionResult")
]
DeleteDynamicPartitionsResult = Annotated[
    DeleteDynamicPartitionsSuccess | UnauthorizedError | PythonError, strawberry.union("DeleteDynamicPartitionsResult")
]


def _launch(backend: Backend, params: LaunchBackfillParams) -> Any:
    selector = params.selector
    place = selector.repository_selector.repository_location_name
    try:
        location, job = backend.job(place, selector.partition_set_name.removesuffix("_partition_set"))
    except NoSuchJob as error:
        return PartitionSetNotFoundError(message=str(error), partition_set_name=selector.partition_set_name)
    try:
        options, keys = _options(backend, location, job.name, params)
    except UnreadableConfig as error:
        return PythonError(message=str(error))
    except Refused as refused:
        return refused.result
    made = backfills.request(backend.store, place, job.name, keys, options)
    return LaunchBackfillSuccess(backfill_id=made.backfill_id)


def _options(
    backend: Backend, location: Location, job: str, params: LaunchBackfillParams
) -> tuple[BackfillOptions, list[str]]:
    """Raises Refused, UnreadableConfig, UnknownPartitionError."""
    answer = backend.ask(location, PartitionKeys(job))
    if not isinstance(answer, Keys):
        raise InvariantViolationError(f"Job {job!r} has no partitions, so that there is nothing to backfill.")
    given = params.partition_names or ()
    if not (given or params.all_partitions or params.range_start or params.range_end):
        raise InvariantViolationError("Say which partitions: partitionNames, a range, or allPartitions.")
    last = backfills.last_runs(backend.store, location.name, job, answer.keys)
    keys = backfills.chosen(
        answer.keys,
        only=given,
        start=params.range_start,
        end=params.range_end,
        last=last,
        missing=bool(params.missing),
        failed=bool(params.failed),
    )
    parents: dict[str, RunId] = {}
    if params.from_failure:
        keys, parents = backfills.from_failure(keys, answer.keys, last)
    if params.single_run:
        if params.from_failure:
            raise InvariantViolationError("singleRun and fromFailure do not go together: one run has one parent.")
        keys = in_ranges(keys, answer.keys)
    config = run_config_of(params.run_config_data)
    if keys:  # what is wrong with the first is said at once
        selected = JobOrPipelineSelector(
            repository_location_name=location.name, job_name=job, solid_selection=params.reexecution_steps
        )
        first = ExecutionParams(
            selector=selected,
            run_config_data=cast(RunConfigData, config),
            partition_key=keys[0],
            executor=params.executor,
        )
        prepared(backend, selected, prepare_of(first))
    options = BackfillOptions(
        tags_of(params.tags),
        params.title or "",
        config,
        tuple(params.reexecution_steps or ()),
        params.executor,
        params.at_once,
        parents,
        backfills.spans(keys, answer.keys),
    )
    return options, keys


def _with_backfill(backend: Backend, backfill_id: str) -> Backfill | BackfillNotFoundError:
    try:
        return backfills.find(backend.store, backfill_id)
    except RunNotFoundError:
        return BackfillNotFoundError(message=f"There is no backfill {backfill_id!r}.", backfill_id=backfill_id)


@strawberry.type
class BackfillQueries:
    @strawberry.field
    def partition_backfill_or_error(self, info: Info, backfill_id: str) -> PartitionBackfillOrError:
        found = _with_backfill(info.context.backend, backfill_id)
        if isinstance(found, BackfillNotFoundError):
            return found
        return backfills_of(info.context.backend, [found])[0]

    @strawberry.field(description="Newest first; `cursor` is the id of the last of the page before.")
    def partition_backfills_or_error(
        self,
        info: Info,
        status: BulkActionStatus | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        filters: BulkActionsFilter | None = None,
    ) -> PartitionBackfillsOrError:
        backend = info.context.backend
        asked = [*([] if status is None else [status]), *((filters and filters.statuses) or ())]
        wanted = [known for each in dict.fromkeys(asked) if (known := _STATUSES.get(each)) is not None]
        most = page(limit)
        found = [] if asked and not wanted else backend.store.backfills(wanted, most, cursor=cursor)
        after = (filters and filters.created_after) or -math.inf
        before = (filters and filters.created_before) or math.inf
        shown = [each for each in found if after < each.created < before]
        last = found[-1].backfill_id if found and len(found) == most else None
        return PartitionBackfills(results=backfills_of(backend, shown), cursor=last)


@strawberry.type
class BackfillMutations:
    @strawberry.mutation
    def launch_partition_backfill(self, info: Info, backfill_params: LaunchBackfillParams) -> LaunchBackfillResult:
        about = backfill_params.selector.partition_set_name
        return mutate(info, Role.LAUNCHER, about, lambda: _launch(info.context.backend, backfill_params))

    @strawberry.mutation
    def cancel_partition_backfill(self, info: Info, backfill_id: str) -> CancelBackfillResult:
        def work() -> CancelBackfillSuccess | BackfillNotFoundError:
            found = _with_backfill(info.context.backend, backfill_id)
            if isinstance(found, BackfillNotFoundError):
                return found
            backfills.stop(info.context.store, found)
            return CancelBackfillSuccess(backfill_id=backfill_id)

        return mutate(info, Role.LAUNCHER, backfill_id, work)

    @strawberry.mutation(description="Another backfill, of what did not succeed in this one.")
    def resume_partition_backfill(self, info: Info, backfill_id: str) -> ResumeBackfillResult:
        def work() -> ResumeBackfillSuccess | BackfillNotFoundError:
            found = _with_backfill(info.context.backend, backfill_id)
            if isinstance(found, BackfillNotFoundError):
                return found
            if not found.status.is_final:
                raise InvariantViolationError(f"Backfill {backfill_id} goes on: {found.status.value}.")
            made = backfills.again(info.context.store, found)
            return ResumeBackfillSuccess(backfill_id=made.backfill_id)

        return mutate(info, Role.LAUNCHER, backfill_id, work)

    @strawberry.mutation(description="Another backfill of the same partitions, or of those that did not succeed.")
    def reexecute_partition_backfill(
        self, info: Info, reexecution_params: ReexecutionParams | None = None
    ) -> LaunchBackfillResult:
        def work() -> LaunchBackfillSuccess | PythonError:
            store = info.context.store
            if reexecution_params is None:
                return PythonError(message="Say which backfill: reexecutionParams.")
            found = backfills.find(store, reexecution_params.parent_run_id)
            if reexecution_params.strategy is ReexecutionStrategy.ALL_STEPS:
                options = msgspec.structs.replace(found.options, parents={})
                made = backfills.request(store, found.location, found.job, found.partitions, options)
            else:
                made = backfills.again(store, found)
            return LaunchBackfillSuccess(backfill_id=made.backfill_id)

        about = "" if reexecution_params is None else reexecution_params.parent_run_id
        return mutate(info, Role.LAUNCHER, about, work)

    @strawberry.mutation
    def add_dynamic_partition(
        self,
        info: Info,
        partition_key: str,
        partitions_def_name: str,
        repository_selector: RepositorySelector | None = None,
    ) -> AddDynamicPartitionResult:
        def work() -> AddDynamicPartitionSuccess:
            asked = AddDynamicPartitionsRequest(partitions_def_name, [partition_key])
            info.context.store.add_dynamic_partitions(partitions_def_name, asked.partition_keys)
            return AddDynamicPartitionSuccess(partitions_def_name=partitions_def_name, partition_key=partition_key)

        return mutate(info, Role.LAUNCHER, f"{partitions_def_name} {partition_key}", work)

    @strawberry.mutation
    def delete_dynamic_partitions(
        self,
        info: Info,
        partition_keys: list[str],
        partitions_def_name: str,
        repository_selector: RepositorySelector | None = None,
    ) -> DeleteDynamicPartitionsResult:
        def work() -> DeleteDynamicPartitionsSuccess:
            info.context.store.delete_dynamic_partitions(partitions_def_name, partition_keys)
            return DeleteDynamicPartitionsSuccess(partitions_def_name=partitions_def_name)

        return mutate(info, Role.ADMIN, f"{partitions_def_name} {', '.join(partition_keys)}", work)
