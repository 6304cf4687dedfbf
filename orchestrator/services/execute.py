"""Running a job from Python and waiting for its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from opgrid.contracts.events import AnyEvent, StepFailed, StepUpForRetry
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.definitions.events import RetryRequested
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.run_config import as_plain
from opgrid.errors import InvariantViolationError, MaxRetriesExceededError, RunFailedError
from opgrid.reconstruction import ReconstructableJob
from opgrid.steps.scope import LocalRun, RunScope
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import Watch
from orchestrator.instance import Instance
from orchestrator.planner.plan import Plan
from orchestrator.services.launching import Prepared, Request, close_all, drive_new, make_executors, prepare
from orchestrator.services.reexecution import ReexecutionOptions, reexecution
from orchestrator.services.results import ExecuteInProcessResult, JobExecutionResult
from orchestrator.storage.protocols import Store


def execute_in_process(
    job: JobDefinition,
    run_config: Any = None,
    instance: Instance | None = None,
    partition_key: str | None = None,
    raise_on_error: bool = True,
    op_selection: Sequence[str] | None = None,
    run_id: str | None = None,
    input_values: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    resources: Mapping[str, object] | None = None,
) -> ExecuteInProcessResult:
    """Run all steps here and now, whatever the executor of the job or of single ops is, and whatever config there is
    for that; outputs stay in memory.

    ``raise_on_error`` re-raises what user code raised, as it was raised; where the step has a retry policy, as the
    cause of MaxRetriesExceededError.
    """
    if resources:
        job = job.with_resources(resources)
    instance = instance or Instance.ephemeral()
    local = LocalRun(input_values={**job.input_values, **(input_values or {})}, instance=instance)
    request = Request(
        job=job,
        run_config=_without_execution(job, run_config),
        executor="in_process",
        op_selection=op_selection,
        tags=tags or {},
        run_id=run_id,
        input_values=input_values or {},
        partition_key=partition_key,
        io="memory",
        python_logs=instance.python_logs,
        partitions=instance,
    )
    prepared = prepare(request)
    prepared = replace(prepared, plan=_all_here(prepared.plan))
    executors = make_executors(
        prepared.brief.executor,
        prepared.plan,
        home=instance.home,
        code=None,
        job=job,
        broker_url=None,
        stream=prepared.brief.stream,
        local=local,
    )
    events: list[AnyEvent] = []
    try:
        drive_new(prepared, executors, instance.store, watch=events.extend)
    finally:
        close_all(executors)
    result = ExecuteInProcessResult(
        job,
        instance.record(prepared.brief.run_id),
        events,
        lambda ref: local.outputs[ref.step, ref.output, ref.mapping_key],
        lambda: None,
    )
    if raise_on_error and not result.success:
        _raise(result, local, prepared.plan)
    return result


def _all_here(plan: Plan) -> Plan:
    """Without what single ops say of their executor."""
    if not any(spec.executor for spec in plan.steps):
        return plan
    return msgspec.structs.replace(
        plan, steps=tuple(msgspec.structs.replace(spec, executor=None) for spec in plan.steps)
    )


def _without_execution(job: JobDefinition, run_config: Any) -> Any:
    if job.executor_def.name == "in_process" or job.config_mapping is not None or run_config is None:
        return run_config
    plain = as_plain(run_config, f"The run config of job {job.name!r}")
    execution = plain.get("execution")
    if not isinstance(execution, Mapping):
        return plain
    config = execution.get("config")
    kept = {"retries": config["retries"]} if isinstance(config, Mapping) and "retries" in config else {}
    return {
        **plain,
        "execution": {**{key: each for key, each in execution.items() if key != "executor"}, "config": kept},
    }


def execute_job(
    job: JobDefinition | ReconstructableJob,
    instance: Instance,
    run_config: Any = None,
    tags: Mapping[str, str] | None = None,
    raise_on_error: bool = False,
    op_selection: Sequence[str] | None = None,
    reexecution_options: ReexecutionOptions | None = None,
    *,
    partition_key: str | None = None,
    executor: str | None = None,
    run_id: str | None = None,
    code: CodeTarget | None = None,
) -> JobExecutionResult:
    """Run a job on its own executor and wait for its end. ``with`` the result to read outputs.

    Workers load a ``reconstructable(job)`` by name; a plain job is pickled for them. ``reexecution_options`` repeat an
    earlier run, with its config, tags and executor where none are given. ``raise_on_error`` re-raises what user code
    raised where it ran in this process, as ``execute_in_process`` does, and RunFailedError elsewhere.
    """
    if isinstance(job, ReconstructableJob):
        code, job = job.code, job.get_definition()
    changed: dict[str, Any] = {
        "run_config": run_config,
        "executor": executor,
        "op_selection": op_selection,
        "tags": tags,
        "run_id": run_id,
        "code": code,
        "partition_key": partition_key,
    }
    if reexecution_options is not None:
        request = reexecution(instance, reexecution_options, job, **changed)
    else:
        request = Request(job, **{**changed, "tags": tags or {}})
    prepared = prepare(
        replace(request, python_logs=instance.python_logs, partitions=instance, ephemeral=instance.home is None)
    )
    closing = ExitStack()
    home = instance.home
    if home is None and prepared.brief.executor.name == "in_process":
        home = Path(closing.enter_context(TemporaryDirectory(prefix="opgrid-")))
    home = home or instance.require_home()
    events: list[AnyEvent] = []
    local = LocalRun(input_values=dict(prepared.job.input_values), capture=False)
    drive_here(prepared, instance.store, home, instance.broker_url, watch=events.extend, local=local)
    run_id = prepared.brief.run_id
    scope = closing.enter_context(RunScope(prepared.brief, job, home=str(home), broker_url=instance.broker_url))
    result = JobExecutionResult(job, instance.record(run_id), events, scope.load, closing.close)
    if raise_on_error and not result.success:
        _raise(result, local, prepared.plan)
    return result


def drive_here(
    prepared: Prepared,
    store: Store,
    home: Path,
    broker_url: str | None,
    *,
    watch: Watch | None = None,
    inbox: Inbox | None = None,
    local: LocalRun | None = None,
) -> RunStatus:
    """Drive a prepared run in this process, on executors of its own."""
    brief = prepared.brief
    executors = make_executors(
        brief.executor,
        prepared.plan,
        home=home,
        code=prepared.code,
        job=prepared.job,
        broker_url=broker_url,
        stream=brief.stream,
        local=local or LocalRun(input_values=dict(prepared.job.input_values), capture=False),
    )
    try:
        return drive_new(prepared, executors, store, watch=watch, inbox=inbox)
    finally:
        close_all(executors)


def _raise(result: JobExecutionResult, local: LocalRun, plan: Plan) -> None:
    policies = {spec.key: spec.retry for spec in plan.steps} if plan.retries else {}
    for failure in result.get_step_failure_events():
        raised = local.errors.get((failure.step, failure.attempt))
        if isinstance(raised, RetryRequested):
            raise MaxRetriesExceededError(
                f"Step {failure.step!r} asked for another attempt after {failure.attempt}; it may have "
                f"{raised.max_retries} retries."
            ) from raised
        policy = policies.get(failure.node)
        if raised is not None and policy is not None and failure.allow_retries:
            retries = len([event for event in result.all_events if _is_retry(event, failure)])
            if retries >= policy.max_retries:
                raise MaxRetriesExceededError(
                    f"Step {failure.step!r} failed, and has had the {retries} retries of its policy."
                ) from raised
        if raised is not None:
            raise raised
        raise RunFailedError(f"Step {failure.step!r} failed: {failure.error.kind}: {failure.error.message}")
    raise InvariantViolationError(f"Run {result.run_id} ended as {result.run.status.value}.")


def _is_retry(event: AnyEvent, failure: StepFailed) -> bool:
    return isinstance(event, StepUpForRetry) and event.step == failure.step
