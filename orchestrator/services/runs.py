"""Runs that exist: finding them and their steps, and going on with one whose coordinator has died."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.status import RunStatus
from opgrid.errors import RunNotFoundError, UnknownName, ValueRefused
from opgrid.ids import RunId, StepKey
from opgrid.loading import job_for
from orchestrator.coordinator.ownership import FencedHolding, driving, end_refused
from orchestrator.coordinator.patience import PatientLog, PatientPools
from orchestrator.coordinator.shard_names import all_shards
from orchestrator.coordinator.shards import is_remote, within
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import Watch, drive
from orchestrator.engine.recovery import resume
from orchestrator.instance import Instance
from orchestrator.planner.plan import Plan
from orchestrator.services.launching import close_all, make_executors
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import EventsFilter, RunRecord

#: Events that are read at a time where a log is gone through.
PAGE: Final = 5000


def find_run(instance: Instance, text: str) -> RunRecord:
    """By id, or by the beginning of one. Raises RunNotFoundError."""
    found = instance.store.run(text)
    if found is None:
        near = instance.store.find(text, limit=2) if text else []  # every id begins with nothing
        if len(near) > 1:
            raise RunNotFoundError("single run", text, near, "this installation", "Give more of its id.")
        found = instance.record(near[0] if near else text)
    return found


def find_step(store: Store, run: RunRecord, text: str) -> StepKey:
    """One that the run has, or will have. Raises UnknownName."""
    plan = Plan.from_json(store.content(run.plan))
    known = {step.step for step in store.steps(run.run_id)}
    known |= {StepKey(spec.key) for spec in plan.steps if not spec.scope}
    if text not in known:
        raise UnknownName("step", text, known, f"run {run.run_id}")
    return StepKey(text)


def pages(
    store: Store, run_id: RunId, after: int = 0, wanted: EventsFilter | None = None
) -> Iterator[list[tuple[int, AnyEvent]]]:
    """What ``Store.events`` gives, some at a time: a log may be larger than memory."""
    while found := store.events(run_id, after, PAGE, wanted):
        yield found
        if len(found) < PAGE:
            return
        after = found[-1][0]


def resume_run(
    record: RunRecord,
    store: Store,
    home: Path,
    broker_url: str | None,
    *,
    watch: Watch | None = None,
    inbox: Inbox | None = None,
    max_runtime: float | None = None,
) -> RunStatus:
    """Drive on from the log. Steps that succeeded do not run again. ``max_runtime``: seconds that the run may take,
    where its tags do not say. A database that goes away meanwhile is waited for. Raises RunIsDriven.
    """
    plan = within(Plan.from_json(store.content(record.plan)), max_runtime)
    brief = record.brief
    if not is_remote(record, plan):  # who drives its shard reads the stream of that, and trims it
        brief = msgspec.structs.replace(brief, stream=record.run_id)
    guest = brief.stream in all_shards()  # nobody may miss what is told of the others
    needs_job = brief.executor.name != "celery"
    job = job_for(brief.job, record.code) if needs_job and record.code is not None else None
    inbox = inbox or Inbox()
    if record.cancel is not None:  # who was told may have died of it
        inbox.request_cancel(record.run_id, record.cancel)
    try:
        with driving(store, record.run_id, inbox) as log:
            executors = make_executors(
                brief.executor,
                plan,
                home=home,
                code=record.code,
                job=job,
                broker_url=broker_url,
                stream=brief.stream,
                database=store.identity() if guest else "",
                guest=guest,
            )
            try:
                run = resume(brief, plan, store.read(record.run_id), executors, time.time())
                pools = PatientPools(FencedHolding(store, log.taker))
                ended = drive(
                    [run], executors, PatientLog(log), watch=watch, inbox=inbox, stream=record.run_id, pools=pools
                )
                return ended[record.run_id]
            finally:
                close_all(executors)
    except ValueRefused as error:
        end_refused(store, record.run_id, str(error))
        return RunStatus.FAILURE
