"""Launching runs without waiting for them: they are queued, and the orchestrator service starts them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from opgrid.contracts.events import RunEnqueued
from opgrid.contracts.status import RunStatus
from opgrid.contracts.wire import hash_of
from opgrid.errors import InvariantViolationError
from opgrid.ids import RunId, new_run_id
from orchestrator.coordinator.coordinator import is_there
from orchestrator.coordinator.ownership import is_dead
from orchestrator.coordinator.queue import NO_POOLS, QueueLimits, choose
from orchestrator.coordinator.shard_names import shard_of
from orchestrator.coordinator.shards import plan_of, pools_of, run_pools
from orchestrator.locations.messages import ReadyRun
from orchestrator.planner.compile import compile
from orchestrator.planner.plan import KnownStep, Plan
from orchestrator.planner.snapshot import JobSnapshot
from orchestrator.services.known import known_of
from orchestrator.services.launching import Prepared
from orchestrator.storage.records import RunRecord
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import NewRun

_FAILED = (RunStatus.FAILURE, RunStatus.CANCELED)


def queued(prepared: Prepared, origin: str = "", key: str = "") -> NewRun:
    """A prepared run as it goes into the queue. Raises InvariantViolationError where only its program has its job."""
    if prepared.code is None:
        raise InvariantViolationError(
            f"Run {prepared.brief.run_id} cannot be launched: no other process can load its job. Launch jobs from a "
            "file or a module, or execute it here."
        )
    return _new(prepared.record, prepared.plan_json, prepared.snapshot_json, origin, key)


def ready(run: ReadyRun, origin: str = "", key: str = "") -> NewRun:
    """What the process of a code location prepared, as it goes into the queue."""
    plan = Plan.from_json(bytes(run.plan)).to_json()
    snapshot = bytes(run.snapshot)
    brief = run.brief
    record = RunRecord(
        brief.run_id,
        brief.job.name,
        RunStatus.QUEUED,
        brief,
        hash_of(plan),
        JobSnapshot.from_json(snapshot).hash,
        run.code,
    )
    return _new(record, plan, snapshot, origin, key)


def _new(record: RunRecord, plan: bytes, snapshot: bytes, origin: str = "", key: str = "") -> NewRun:
    brief = msgspec.structs.replace(record.brief, stream=shard_of(record.run_id))
    now = time.time()
    waiting = RunRecord(
        record.run_id, record.job, RunStatus.QUEUED, brief, record.plan, record.snapshot, record.code, created=now
    )
    return NewRun(waiting, plan, snapshot, [RunEnqueued(run_id=record.run_id, at=now)], origin, key)


def created(prepared: Prepared) -> NewRun:
    """A prepared run as it is kept until it is submitted or launched."""
    record = prepared.record
    brief = msgspec.structs.replace(record.brief, stream=shard_of(record.run_id))
    kept = dataclasses.replace(record, brief=brief)
    return NewRun(kept, prepared.plan_json, prepared.snapshot_json)


def submit(store: ServiceStore, run: RunRecord) -> None:
    """Put a run that was created into the queue. Raises InvariantViolationError for one that is not to be started, or
    that no other process could load.
    """
    _begun(run, store.enqueue, "submitted")


def launch(store: ServiceStore, run: RunRecord) -> None:
    """Have a run that was created started at once, past the queue and its limits. Raises as ``submit``."""
    _begun(run, store.start, "launched")


def _begun(run: RunRecord, move: Callable[[RunId, float], bool], what: str) -> None:
    if run.code is None:
        raise InvariantViolationError(
            f"Run {run.run_id} cannot be {what}: no other process can load its job. Create it from a job at the top "
            "level of a module, or from reconstructable(...), or execute it here."
        )
    if run.brief.stream != shard_of(run.run_id):
        raise InvariantViolationError(f"Run {run.run_id} cannot be {what}: the process that made it drives it.")
    if not move(run.run_id, time.time()):
        raise InvariantViolationError(
            f"Run {run.run_id} cannot be {what}: it is not NOT_STARTED any more. "
            "A run is started once; repeat it with: opgrid run reexecute"
        )


def again(
    store: ServiceStore,
    parent: RunRecord,
    *,
    failed_only: bool = False,
    step_selection: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    origin: str = "",
    key: str = "",
) -> NewRun:
    """A run that repeats one as it was planned then, without its code. Raises InvariantViolationError for a run that
    did not fail, where only what failed is to run, and for one that kept its outputs in memory.
    """
    if failed_only and parent.status not in _FAILED:
        raise InvariantViolationError(
            f"Run {parent.run_id} is {parent.status.value}: only a run that failed or was canceled can be run again "
            "from its failure."
        )
    known: list[KnownStep] | None = None
    if failed_only or step_selection:
        known = known_of(store, parent)
    body = store.content(parent.snapshot)
    snapshot = JobSnapshot.from_json(body)
    tags = {**parent.tags, **(tags or {})}
    plan = compile(
        msgspec.structs.replace(snapshot, tags=tags),
        step_selection=step_selection or None,
        known=known,
        resume=failed_only,
    )
    run_id = new_run_id()
    brief = msgspec.structs.replace(
        parent.brief,
        run_id=run_id,
        tags=tags,
        root_run_id=parent.brief.root_run_id or parent.run_id,
        parent_run_id=parent.run_id,
    )
    content = plan.to_json()
    record = RunRecord(run_id, parent.job, RunStatus.QUEUED, brief, hash_of(content), parent.snapshot, parent.code)
    return _new(record, content, body, origin, key)


def cancel(store: ServiceStore, run: RunRecord, reason: str) -> RunStatus:
    """Ask for the end of a run; it is durable when this returns. Gives where the run stands then.

    Raises InvariantViolationError for a run that has ended.
    """
    if run.status.is_final:
        raise InvariantViolationError(f"Run {run.run_id} has ended already: {run.status.value}.")
    if not store.cancel_unstarted(run.run_id, reason, time.time()):
        store.request_cancel(run.run_id, reason)
    now = store.run(run.run_id)
    return now.status if now is not None else RunStatus.CANCELED


def is_driven(store: ServiceStore, run: RunRecord) -> bool:
    """Whether a process is there that would see a request to cancel."""
    return driver_of(store, run) is not None


def driver_of(store: ServiceStore, run: RunRecord) -> str | None:
    """The process that drives it, or its shard; None where there is none."""
    lease = store.lease(run.run_id) or store.held().get(run.brief.stream)
    is_there = lease is not None and lease.expires > time.time() and not is_dead(lease.owner)
    return lease.owner if lease is not None and is_there else None


def wait_for(store: ServiceStore, run_id: RunId, timeout: float | None, look: Callable[[], object]) -> RunStatus | None:
    """The status in which the run ended; None when time is up. ``look`` is called several times a second."""
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        run = store.run(run_id)
        look()
        if run is None or run.status.is_final:
            return RunStatus.CANCELED if run is None else run.status
        if until is not None and time.monotonic() >= until:
            return None
        time.sleep(0.1)


def why_queued(store: ServiceStore, run: RunRecord, limits: QueueLimits) -> str | None:
    """Why a run waits, in words; None for one that does not."""
    return why_all_queued(store, [run], limits).get(run.run_id)


def why_all_queued(store: ServiceStore, runs: Sequence[RunRecord], limits: QueueLimits) -> dict[RunId, str]:
    """The same of several; those that do not wait are missing."""
    asked = [run.run_id for run in runs if run.status is RunStatus.QUEUED]
    if not asked:
        return {}
    if not is_there(store):
        return dict.fromkeys(asked, "No orchestrator runs. Start one with: opgrid orchestrator")
    going = store.with_status((RunStatus.STARTING, RunStatus.STARTED, RunStatus.CANCELING))
    waiting = store.with_status((RunStatus.QUEUED,))
    pools = NO_POOLS
    if store.pooling.granularity == "run":
        pools = run_pools(store, {each.run_id: pools_of(plan_of(store, each)) for each in [*going, *waiting]})
    why = choose(waiting, going, limits, pools).waiting
    return {run_id: why.get(run_id, "It is about to start.") for run_id in asked}
