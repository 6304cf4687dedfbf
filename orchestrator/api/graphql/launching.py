"""Launching, repeating, ending and deleting runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from functools import partial
from typing import Annotated, Any

import msgspec
import strawberry

from opgrid.contracts.events import AnyEvent, ErrorInfo, RunCanceled, RunCanceling
from opgrid.contracts.status import RunStatus
from opgrid.errors import ExecutionStepNotFoundError, InvariantViolationError, NothingSelected, RunAlreadyExists
from opgrid.errors import InvalidSubsetError as BadSubset
from opgrid.ids import RunId
from orchestrator.api.access import Role
from orchestrator.api.backend import REPOSITORY, Backend, NoSuchJob
from orchestrator.api.graphql.errors import (
    ConflictingExecutionParamsError,
    InvalidOutputError,
    InvalidStepError,
    InvalidSubsetError,
    NoModeProvidedError,
    PipelineNotFoundError,
    PresetNotFoundError,
    PythonError,
    RunConfigValidationInvalid,
    RunConflict,
    RunNotFoundError,
    UnauthorizedError,
    config_error,
)
from orchestrator.api.graphql.mutating import mutate
from orchestrator.api.graphql.run_queries import TagInput
from orchestrator.api.graphql.runs import PAGE, Approval, Info, Run, run_of, runs_of
from orchestrator.api.graphql.scalars import RunConfigData, UnreadableConfig, run_config_of
from orchestrator.locations.messages import Answer, Evaluated, Failed, Prepare, Problem, ReadyRun
from orchestrator.planner.known import MissingParentOutput
from orchestrator.services.approvals import answer
from orchestrator.services.submission import again, cancel, ready
from orchestrator.storage.records import BACKFILL_TAG, RunRecord
from orchestrator.storage.service_records import NewRun

_BAD_SUBSETS = {each.__name__ for each in (BadSubset, ExecutionStepNotFoundError, NothingSelected, MissingParentOutput)}
_TREE_TAGS = (BACKFILL_TAG,)
#: Runs that are launched with one mutation, at most: the code is asked of each.
LAUNCHES = 100


@strawberry.input
class JobOrPipelineSelector:
    repository_name: str = REPOSITORY
    repository_location_name: str
    pipeline_name: str | None = None
    job_name: str | None = None
    solid_selection: list[str] | None = None
    asset_selection: list[AssetKeyInput] | None = None
    asset_check_selection: list[AssetKeyInput] | None = None

    @property
    def name(self) -> str:
        return self.job_name or self.pipeline_name or ""


@strawberry.input
class PipelineSelector(JobOrPipelineSelector):
    """The same, by the name that Dagster's questions about one job use."""


@strawberry.input
class AssetKeyInput:
    path: list[str]


@strawberry.input
class ExecutionMetadata:
    tags: list[TagInput] | None = None
    root_run_id: str | None = None
    parent_run_id: str | None = None


@strawberry.input
class ExecutionParams:
    selector: JobOrPipelineSelector
    run_config_data: RunConfigData | None = None
    mode: str | None = None
    execution_metadata: ExecutionMetadata | None = None
    step_keys: list[str] | None = strawberry.field(
        default=None, description="Of a re-execution: run only these steps; clauses such as `b*` are understood."
    )
    preset: str | None = None
    executor: str | None = strawberry.field(default=None, description="Instead of the job's.")
    partition_key: str | None = strawberry.field(default=None, description="Run this partition.")


@strawberry.enum
class ReexecutionStrategy(Enum):
    FROM_FAILURE = "FROM_FAILURE"
    FROM_ASSET_FAILURE = "FROM_ASSET_FAILURE"
    ALL_STEPS = "ALL_STEPS"


@strawberry.input
class ReexecutionParams:
    parent_run_id: str
    strategy: ReexecutionStrategy
    extra_tags: list[TagInput] | None = None
    use_parent_run_tags: bool | None = None


@strawberry.interface
class LaunchPipelineRunSuccess:
    """Where older clients look for LaunchRunSuccess."""

    run: Run


@strawberry.type
class LaunchRunSuccess(LaunchPipelineRunSuccess):
    pass


_Launched = (
    LaunchRunSuccess
    | InvalidStepError
    | InvalidOutputError
    | RunConfigValidationInvalid
    | PipelineNotFoundError
    | RunConflict
    | UnauthorizedError
    | PythonError
    | InvalidSubsetError
    | PresetNotFoundError
    | ConflictingExecutionParamsError
    | NoModeProvidedError
)
LaunchRunResult = Annotated[
    LaunchRunSuccess
    | InvalidStepError
    | InvalidOutputError
    | RunConfigValidationInvalid
    | PipelineNotFoundError
    | RunConflict
    | UnauthorizedError
    | PythonError
    | InvalidSubsetError
    | PresetNotFoundError
    | ConflictingExecutionParamsError
    | NoModeProvidedError,
    strawberry.union("LaunchRunResult"),
]
LaunchRunReexecutionResult = Annotated[
    LaunchRunSuccess
    | InvalidStepError
    | InvalidOutputError
    | RunConfigValidationInvalid
    | PipelineNotFoundError
    | RunConflict
    | UnauthorizedError
    | PythonError
    | InvalidSubsetError
    | PresetNotFoundError
    | ConflictingExecutionParamsError
    | NoModeProvidedError
    | RunNotFoundError,
    strawberry.union("LaunchRunReexecutionResult"),
]


@strawberry.type
class LaunchMultipleRunsResult:
    launch_multiple_runs_result: list[LaunchRunResult]


LaunchMultipleRunsResultOrError = Annotated[
    LaunchMultipleRunsResult | UnauthorizedError | PythonError, strawberry.union("LaunchMultipleRunsResultOrError")
]


class Refused(Exception):
    """Carries the result that says why."""

    def __init__(self, result: Any) -> None:
        super().__init__(result)
        self.result = result


def _refused(refused: Refused) -> _Launched:
    result: _Launched = refused.result
    return result


def tags_of(given: Sequence[TagInput] | None) -> dict[str, str]:
    return {tag.key: tag.value for tag in given or ()}


def prepared(backend: Backend, selector: JobOrPipelineSelector, asked: Prepare) -> ReadyRun:
    """What the code makes of it. Raises Refused."""
    try:
        location, _ = backend.job(selector.repository_location_name, selector.name)
    except NoSuchJob as error:
        missing = PipelineNotFoundError(
            message=str(error),
            pipeline_name=selector.name,
            repository_location_name=selector.repository_location_name,
        )
        raise Refused(missing) from error
    return ready_or_refused(backend.ask(location, asked), selector.name)


def ready_or_refused(answer: Answer, job: str) -> ReadyRun:
    """Raises Refused."""
    match answer:
        case Evaluated(runs=(run,)):
            return run
        case Failed(error=error, problems=problems):
            raise Refused(_refusal(error, problems, job))
        case _:
            raise Refused(PythonError(message="The code location gave no answer to this.", class_name="LocationBroken"))


def _refusal(error: ErrorInfo, problems: Sequence[Problem], job: str) -> object:
    if problems:
        return RunConfigValidationInvalid(pipeline_name=job, errors=[config_error(each) for each in problems])
    if error.kind == "InvalidConfigError":
        problem = Problem("RUNTIME_TYPE_MISMATCH", "root", error.message)
        return RunConfigValidationInvalid(pipeline_name=job, errors=[config_error(problem)])
    if error.kind in _BAD_SUBSETS:
        return InvalidSubsetError(message=error.message)
    return PythonError.of(error)


def prepare_of(params: ExecutionParams) -> Prepare:
    """Raises Refused."""
    try:
        config = run_config_of(params.run_config_data)
    except UnreadableConfig as error:
        problem = Problem("RUNTIME_TYPE_MISMATCH", "root", str(error))
        invalid = RunConfigValidationInvalid(pipeline_name=params.selector.name, errors=[config_error(problem)])
        raise Refused(invalid) from error
    metadata = params.execution_metadata or ExecutionMetadata()
    return Prepare(
        params.selector.name,
        config,
        tags_of(metadata.tags),
        params.partition_key,
        params.executor,
        tuple(params.selector.solid_selection or ()),
        metadata.parent_run_id,
        False,
        tuple(params.step_keys or ()),
    )


def _launch(backend: Backend, new: NewRun) -> LaunchRunSuccess:
    try:
        backend.store.launch([new])
    except RunAlreadyExists as error:
        raise Refused(RunConflict(message=str(error))) from error
    return LaunchRunSuccess(run=run_of(backend, new.record))


def launch_run(backend: Backend, params: ExecutionParams) -> _Launched:
    if params.preset is not None:
        message = "Presets are not there; give a run config."
        return PresetNotFoundError(message=message, preset=params.preset)
    try:
        return _launch(backend, ready(prepared(backend, params.selector, prepare_of(params))))
    except Refused as refused:
        return _refused(refused)


def relaunch(
    backend: Backend, params: ExecutionParams | None, how: ReexecutionParams | None
) -> _Launched | RunNotFoundError:
    """As the parent run was; what is given with ``params`` is changed."""
    metadata = params.execution_metadata if params is not None else None
    parent_id = how.parent_run_id if how is not None else metadata.parent_run_id if metadata is not None else None
    if parent_id is None:
        return ConflictingExecutionParamsError(message="Say which run: reexecutionParams, or a parentRunId.")
    parent = backend.store.run(parent_id)
    if parent is None:
        return RunNotFoundError.of(parent_id)
    from_failure = how is not None and how.strategy is not ReexecutionStrategy.ALL_STEPS
    extra = tags_of(how.extra_tags) if how is not None else {}
    try:
        if params is None or not _changes(params):
            steps = params.step_keys or () if params is not None else ()
            extra.update(tags_of(metadata.tags) if metadata is not None else {})
            new = again(backend.store, parent, failed_only=from_failure, step_selection=steps, tags=extra)
            return _launch(backend, new)
        return _launch(backend, ready(_changed(backend, params, parent, from_failure, extra)))
    except Refused as refused:
        return _refused(refused)


def _changes(params: ExecutionParams) -> bool:
    """Whether the code has to look at it again."""
    return bool(params.run_config_data is not None or params.selector.solid_selection or params.executor)


def _changed(
    backend: Backend, params: ExecutionParams, parent: RunRecord, from_failure: bool, extra: dict[str, str]
) -> ReadyRun:
    asked = prepare_of(params)
    kept = {key: value for key, value in parent.tags.items() if key not in _TREE_TAGS}
    asked = msgspec.structs.replace(
        asked, tags={**kept, **extra, **asked.tags}, parent_run_id=parent.run_id, from_failure=from_failure
    )
    return prepared(backend, params.selector, asked)


# ---- ending runs ---------------------------------------------------------------------------------------------------


@strawberry.enum
class TerminateRunPolicy(Enum):
    SAFE_TERMINATE = "SAFE_TERMINATE"
    MARK_AS_CANCELED_IMMEDIATELY = "MARK_AS_CANCELED_IMMEDIATELY"


@strawberry.interface
class TerminatePipelineExecutionSuccess:
    """Where older clients look for TerminateRunSuccess."""

    run: Run


@strawberry.type
class TerminateRunSuccess(TerminatePipelineExecutionSuccess):
    pass


@strawberry.interface
class TerminatePipelineExecutionFailure:
    """Where older clients look for TerminateRunFailure."""

    run: Run
    message: str


@strawberry.type
class TerminateRunFailure(TerminatePipelineExecutionFailure):
    pass


_Terminated = TerminateRunSuccess | TerminateRunFailure | RunNotFoundError | UnauthorizedError | PythonError
TerminateRunResult = Annotated[
    TerminateRunSuccess | TerminateRunFailure | RunNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("TerminateRunResult"),
]


@strawberry.type
class TerminateRunsResult:
    terminate_run_results: list[TerminateRunResult]


TerminateRunsResultOrError = Annotated[
    TerminateRunsResult | UnauthorizedError | PythonError, strawberry.union("TerminateRunsResultOrError")
]


@strawberry.type
class DeletePipelineRunSuccess:
    run_id: str


ApprovalResult = Annotated[
    Approval | RunNotFoundError | UnauthorizedError | PythonError, strawberry.union("ApprovalResult")
]
DeletePipelineRunResult = Annotated[
    DeletePipelineRunSuccess | RunNotFoundError | UnauthorizedError | PythonError,
    strawberry.union("DeletePipelineRunResult"),
]


def terminate(backend: Backend, run_id: str, policy: TerminateRunPolicy | None, who: str) -> _Terminated:
    return terminate_all(backend, [run_id], policy, who)[0]


def terminate_all(
    backend: Backend, run_ids: Sequence[str], policy: TerminateRunPolicy | None, who: str
) -> list[_Terminated]:
    """Each on its own: one that cannot be terminated keeps none of the others."""
    known = {str(record.run_id): record for record in backend.store.records([RunId(each) for each in run_ids])}
    refused = {run_id: why for run_id, record in known.items() if (why := _stop(backend, record, policy, who))}
    now = known | {str(record.run_id): record for record in backend.store.records([RunId(each) for each in known])}
    shown = {str(run.record.run_id): run for run in runs_of(backend, list(now.values()))}
    ended: list[_Terminated] = []
    for run_id in run_ids:
        if run_id not in known:
            ended.append(RunNotFoundError.of(run_id))
        elif run_id in refused:
            ended.append(TerminateRunFailure(run=shown[run_id], message=refused[run_id]))
        else:
            ended.append(TerminateRunSuccess(run=shown[run_id]))
    return ended


def _stop(backend: Backend, record: RunRecord, policy: TerminateRunPolicy | None, who: str) -> str | None:
    """Why it is not possible; None where it is done."""
    reason = f"It was canceled by {who}." if who != "local" else "It was canceled in the web."
    if policy is TerminateRunPolicy.MARK_AS_CANCELED_IMMEDIATELY and not record.status.is_final:
        now = time.time()
        events: list[AnyEvent] = [
            RunCanceling(run_id=record.run_id, at=now, reason=f"{reason[:-1]}, at once."),
            RunCanceled(run_id=record.run_id, at=now),
        ]
        backend.store.end_run(record.run_id, RunStatus.CANCELED, events, now)
    else:
        try:
            cancel(backend.store, record, reason)
        except InvariantViolationError as error:
            return str(error)
    return None


def _check_number(given: int, most: int) -> None:
    if given > most:
        raise InvariantViolationError(f"At most {most:,} runs can be named at a time, and {given:,} are: ask in parts.")


def delete(backend: Backend, run_id: str) -> DeletePipelineRunSuccess | RunNotFoundError:
    record = backend.store.run(run_id)
    if record is None:
        return RunNotFoundError.of(run_id)
    backend.removal.remove_one(record)
    return DeletePipelineRunSuccess(run_id=run_id)


@strawberry.type
class RunMutations:
    @strawberry.mutation
    def launch_run(self, info: Info, execution_params: ExecutionParams) -> LaunchRunResult:
        about = execution_params.selector.name
        return mutate(info, Role.LAUNCHER, about, lambda: launch_run(info.context.backend, execution_params))

    @strawberry.mutation
    def launch_pipeline_execution(self, info: Info, execution_params: ExecutionParams) -> LaunchRunResult:
        about = execution_params.selector.name
        return mutate(info, Role.LAUNCHER, about, lambda: launch_run(info.context.backend, execution_params))

    @strawberry.mutation
    def launch_multiple_runs(
        self, info: Info, execution_params_list: list[ExecutionParams]
    ) -> LaunchMultipleRunsResultOrError:
        def work() -> LaunchMultipleRunsResult:
            _check_number(len(execution_params_list), LAUNCHES)
            done = [launch_run(info.context.backend, params) for params in execution_params_list]
            return LaunchMultipleRunsResult(launch_multiple_runs_result=done)

        about = ", ".join(params.selector.name for params in execution_params_list)
        return mutate(info, Role.LAUNCHER, about, work)

    @strawberry.mutation
    def launch_run_reexecution(
        self,
        info: Info,
        execution_params: ExecutionParams | None = None,
        reexecution_params: ReexecutionParams | None = None,
    ) -> LaunchRunReexecutionResult:
        about = reexecution_params.parent_run_id if reexecution_params is not None else ""
        work = partial(relaunch, info.context.backend, execution_params, reexecution_params)
        return mutate(info, Role.LAUNCHER, about, work)

    @strawberry.mutation
    def launch_pipeline_reexecution(
        self,
        info: Info,
        execution_params: ExecutionParams | None = None,
        reexecution_params: ReexecutionParams | None = None,
    ) -> LaunchRunReexecutionResult:
        about = reexecution_params.parent_run_id if reexecution_params is not None else ""
        work = partial(relaunch, info.context.backend, execution_params, reexecution_params)
        return mutate(info, Role.LAUNCHER, about, work)

    @strawberry.mutation
    def terminate_run(
        self, info: Info, run_id: str, terminate_policy: TerminateRunPolicy | None = None
    ) -> TerminateRunResult:
        who = info.context.viewer.name
        work = partial(terminate, info.context.backend, run_id, terminate_policy, who)
        return mutate(info, Role.LAUNCHER, run_id, work)

    @strawberry.mutation
    def terminate_pipeline_execution(
        self, info: Info, run_id: str, terminate_policy: TerminateRunPolicy | None = None
    ) -> TerminateRunResult:
        who = info.context.viewer.name
        work = partial(terminate, info.context.backend, run_id, terminate_policy, who)
        return mutate(info, Role.LAUNCHER, run_id, work)

    @strawberry.mutation
    def terminate_runs(
        self, info: Info, run_ids: list[str], terminate_policy: TerminateRunPolicy | None = None
    ) -> TerminateRunsResultOrError:
        who = info.context.viewer.name

        def work() -> TerminateRunsResult:
            _check_number(len(run_ids), PAGE)
            done = terminate_all(info.context.backend, run_ids, terminate_policy, who)
            return TerminateRunsResult(terminate_run_results=done)

        return mutate(info, Role.LAUNCHER, ", ".join(run_ids), work)

    @strawberry.mutation(description="Approve or reject a step that waits for it.")
    def answer_approval(
        self, info: Info, run_id: str, step_key: str, approved: bool, note: str | None = None
    ) -> ApprovalResult:
        store, who = info.context.store, info.context.viewer.name

        def work() -> Approval | RunNotFoundError:
            record = store.run(run_id)
            if record is None:
                return RunNotFoundError.of(run_id)
            return Approval.of(answer(store, record, step_key, approved, who, (note or "")[:2000]))

        about = f"{run_id} {step_key}: {'approved' if approved else 'rejected'}"
        return mutate(info, Role.LAUNCHER, about, work)

    @strawberry.mutation
    def delete_run(self, info: Info, run_id: str) -> DeletePipelineRunResult:
        return mutate(info, Role.ADMIN, run_id, lambda: delete(info.context.backend, run_id))

    @strawberry.mutation
    def delete_pipeline_run(self, info: Info, run_id: str) -> DeletePipelineRunResult:
        return mutate(info, Role.ADMIN, run_id, lambda: delete(info.context.backend, run_id))
