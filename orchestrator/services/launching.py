"""From a job to a run that is being driven: resolve, snapshot, plan, check, store, drive.

Nothing starts before all checks passed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.executor import Executor, ExecutorSetup
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tags import tags_of
from opgrid.contracts.tasks import CodeTarget, JobRef, PythonLogs, RunBrief
from opgrid.contracts.wire import hash_of
from opgrid.definitions.executor import ExecutorRequirement
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.partitioned_config import partition_tags
from opgrid.errors import (
    InvalidConfigError,
    InvalidSubsetError,
    InvariantViolationError,
    UnknownExecutor,
    UnmetExecutorRequirementsError,
    ValueRefused,
    listed,
)
from opgrid.ids import RunId, is_run_id, new_run_id
from opgrid.io.selection import check_io
from opgrid.plugins import executor_class
from opgrid.steps.interrupts import passing_through
from opgrid.steps.scope import LocalRun
from orchestrator.coordinator.ownership import LEASE, FencedHolding, driving, end_refused, this_process
from orchestrator.coordinator.patience import PatientLog, PatientPools
from orchestrator.coordinator.shard_names import all_shards
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import LiveRun, Watch, drive
from orchestrator.planner.compile import compile, selected_ops
from orchestrator.planner.inputs import UnsatisfiedInputs
from orchestrator.planner.plan import KnownStep, Plan
from orchestrator.planner.routing import EXECUTOR, check_new_run
from orchestrator.planner.snapshot import JobSnapshot, take
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import LeaseLost, RunRecord


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks to run."""

    job: JobDefinition
    run_config: Any = None
    executor: str | None = None  #: overrides the job's
    op_selection: Sequence[str] | None = None
    step_selection: Sequence[str] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None
    code: CodeTarget | None = None  #: how other processes load the job
    input_values: Mapping[str, Any] = field(default_factory=dict)
    partition_key: str | None = None  #: its config where none is given, and its tags
    io: str | None = None  #: overrides the executor's default IO manager
    known: Iterable[KnownStep] | None = None  #: of the parent run
    resume: bool = False  #: known steps do not run again, selected or not
    root_run_id: str | None = None
    parent_run_id: str | None = None
    python_logs: PythonLogs = field(default_factory=PythonLogs)
    ephemeral: bool = False  #: the instance has no home that another process could open
    partitions: Any = None  #: what knows the keys of dynamic partitions: ``get_dynamic_partitions(name)``


@dataclass(frozen=True)
class Prepared:
    """A run that has passed every check and exists nowhere yet."""

    brief: RunBrief
    plan: Plan
    snapshot: JobSnapshot
    job: JobDefinition
    code: CodeTarget | None

    @cached_property
    def plan_json(self) -> bytes:
        return self.plan.to_json()

    @cached_property
    def snapshot_json(self) -> bytes:
        return self.snapshot.to_json()

    @property
    def record(self) -> RunRecord:
        return RunRecord(
            run_id=self.brief.run_id,
            job=self.job.name,
            status=RunStatus.NOT_STARTED,
            brief=self.brief,
            plan=hash_of(self.plan_json),
            snapshot=self.plan.snapshot,
            code=self.code,
            created=time.time(),
        )


def prepare(request: Request) -> Prepared:
    """Raises the first thing that is wrong with a request: tags, config, selection, executor, IO."""
    job = request.job
    run_config, tags = request.run_config, dict(job.run_tags)
    if request.partition_key is not None:
        job.validate_partition_key(request.partition_key, dynamic_partitions_store=request.partitions)
        run_config = run_config or job.get_run_config_for_partition_key(request.partition_key)
        tags.update(job.get_tags_for_partition_key(request.partition_key))
    tags.update(tags_of(request.tags, f"a run of job {job.name!r}"))
    if request.partition_key is not None and job.partitions_def is not None:  # it is for no other, whatever they say
        tags.update(partition_tags(job.partitions_def, request.partition_key, job.name))
    check_new_run(tags)
    op_selection = _selection(request)
    try:
        resolution = job.resolve(run_config, request.executor, selected_ops(job.structure, op_selection))
    except InvalidConfigError as error:
        if request.partition_key is not None or request.run_config or job.partitioned_config is None:
            raise
        raise _without_partition(error, job) from error.__cause__
    chosen = executor_class(resolution.executor.name)
    snapshot = take(job, resolution, tags, tuple({**job.input_values, **request.input_values}))
    try:
        plan = compile(
            snapshot,
            op_selection=op_selection,
            step_selection=request.step_selection,
            known=request.known,
            resume=request.resume,
        )
    except UnsatisfiedInputs as error:
        raise UnsatisfiedInputs(error.job, error.missing, job.location) from None
    _check_executors(plan)
    io = request.io or chosen.default_io
    needs = _needs(request, resolution.executor)
    check_io(job, chosen, io, ExecutorRequirement.PERSISTENT_OUTPUTS in needs)
    run_id = new_run_id() if request.run_id is None else _checked(request.run_id)
    brief = RunBrief(
        run_id=run_id,
        job=JobRef(job.name, job.structure_hash, request.code.location if request.code else ""),
        executor=resolution.executor,
        config=resolution.config,
        run_config=resolution.run_config,
        tags=tags,
        root_run_id=RunId(request.root_run_id) if request.root_run_id else None,
        parent_run_id=RunId(request.parent_run_id) if request.parent_run_id else None,
        io=io,
        stream=run_id,
        created=time.time(),
        python_logs=request.python_logs,
        notices=resolution.notices,
    )
    return Prepared(brief, plan, snapshot, job, request.code)


def _checked(run_id: str) -> RunId:
    """Raises InvariantViolationError."""
    if not is_run_id(run_id):
        raise InvariantViolationError(
            f"{run_id!r} cannot be the id of a run: that is made of up to 128 letters of ASCII, digits, '.', '_' and "
            "'-', and begins with a letter or a digit."
        )
    if run_id in all_shards():
        raise InvariantViolationError(f"{run_id!r} cannot be the id of a run: opgrid uses it itself.")
    return RunId(run_id)


def _without_partition(error: InvalidConfigError, job: JobDefinition) -> InvalidConfigError:
    """The same, and why: a partition would have brought the config."""
    hint = (
        f"The config of job {job.name!r} comes from its partition, and none was given. Name one with --partition on "
        "the command line, or partition_key= in Python."
    )
    return InvalidConfigError(f"{error.message}\n{hint}", error.errors)


def _check_executors(plan: Plan) -> None:
    """Those that single ops ask for. Raises UnknownExecutor."""
    for name, step in {spec.executor: spec.key for spec in plan.steps if spec.executor and spec.runs}.items():
        try:
            executor_class(name)
        except UnknownExecutor as error:
            hint = f"The tag {EXECUTOR[0]!r} of step {step!r} names it."
            raise UnknownExecutor(error.kind, error.name, error.known, hint=hint) from None


def _needs(request: Request, choice: ExecutorChoice) -> Sequence[ExecutorRequirement]:
    """What the definition of the executor requires. Raises UnmetExecutorRequirementsError for the job or instance."""
    definition = request.job.executor_def
    if definition.name != choice.name:
        return ()
    needs = definition.get_requirements(choice.config)
    if ExecutorRequirement.RECONSTRUCTABLE_JOB in needs and request.code is None:
        raise UnmetExecutorRequirementsError(
            f"Executor {choice.name!r} requires that another process can load job {request.job.name!r} "
            f"({request.job.location}) by name. Run it from the file or module that it is in, or pass "
            "reconstructable(job)."
        )
    if ExecutorRequirement.NON_EPHEMERAL_INSTANCE in needs and request.ephemeral:
        raise UnmetExecutorRequirementsError(
            f"Executor {choice.name!r} requires an instance that another process can open, and this one is ephemeral. "
            "Use Instance.get() with OPGRID_HOME set, or Instance.local_temp()."
        )
    return needs


def _selection(request: Request) -> Sequence[str] | None:
    """What was asked for, within what the job is a subset of."""
    own, asked = request.job.op_selection, request.op_selection
    if not own or not asked:
        return asked or own
    structure = request.job.structure
    within = selected_ops(structure, own) or frozenset()
    names = [name for name in (clause.strip().strip("+*") for clause in asked) if name]
    outside = (selected_ops(structure, names) or frozenset()) - within
    if outside:
        raise InvalidSubsetError(
            f"The selection {listed(asked)} takes {listed(outside)}, and this job {request.job.name!r} is the subset "
            f"{listed(own)} of itself, which has no such ops."
        )
    return sorted(within & (selected_ops(structure, asked) or frozenset()))


def make_executors(
    choice: ExecutorChoice,
    plan: Plan,
    *,
    home: Path | None,
    code: CodeTarget | None,
    job: JobDefinition | None,
    broker_url: str | None,
    stream: str,
    local: LocalRun | None = None,
    database: str = "",
    guest: bool = False,
) -> dict[str, Executor]:
    """The run's own executor, and those that single ops ask for. Raises UnknownExecutor, BrokerUnreachable, ...

    ``database``: whose streams of shards are read, where ``stream`` is one. ``guest``: see ``ExecutorSetup``.
    """
    names = {choice.name} | {spec.executor for spec in plan.steps if spec.executor and spec.runs}
    made: dict[str, Executor] = {}
    try:
        classes = {name: executor_class(name) for name in sorted(names)}
        one_host = all(each.one_host for each in classes.values())
        for name, each in classes.items():
            config: dict[str, object] = dict(choice.config) if name == choice.name else {}
            own = ExecutorSetup(config, str(home or ""), code, job, broker_url, stream, local, one_host)
            made[name] = each.create(own._replace(database=database, guest=guest))
    except BaseException:
        close_all(made)
        raise
    return made


def close_all(executors: Mapping[str, Executor]) -> None:
    for executor in executors.values():
        executor.close()


def drive_new(
    prepared: Prepared,
    executors: Mapping[str, Executor],
    store: Store,
    *,
    watch: Watch | None = None,
    inbox: Inbox | None = None,
) -> RunStatus:
    """Store a prepared run and drive it to its end; to that which another process has given it, if one has. A database
    that goes away meanwhile is waited for; what it does not take fails the run.
    """
    run = LiveRun.new(prepared.brief, prepared.plan)
    lease = store.create_own_run(prepared.record, prepared.plan_json, prepared.snapshot_json, this_process(), LEASE)
    inbox = inbox or Inbox()
    try:
        with passing_through(), driving(store, run.run_id, inbox, lease) as log:
            patient, stream = PatientLog(log), prepared.brief.stream
            pools = PatientPools(FencedHolding(store, log.taker))
            return drive([run], executors, patient, watch=watch, inbox=inbox, stream=stream, pools=pools)[run.run_id]
    except ValueRefused as error:
        end_refused(store, run.run_id, str(error))
        return RunStatus.FAILURE
    except LeaseLost:
        ended = _end_of(store, run.run_id)
        if ended is None:
            raise
        return ended


def _end_of(store: Store, run_id: RunId) -> RunStatus | None:
    """How a run that was stored has ended; None where it has not."""
    record = store.run(run_id)
    return record.status if record is not None and record.status.is_final else None
