"""What an earlier run has come to, as a run that repeats it is told."""

from __future__ import annotations

from opgrid.contracts.events import StepSucceeded
from opgrid.contracts.status import StepStatus
from opgrid.errors import InvariantViolationError
from orchestrator.engine.recovery import replay
from orchestrator.planner.plan import KnownStep, Plan
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import RunRecord


def known_of(store: Store, run: RunRecord) -> list[KnownStep]:
    """What succeeded or was skipped. Raises InvariantViolationError where the log that says so was deleted."""
    events = list(store.read(run.run_id))
    told = {event.step for event in events if isinstance(event, StepSucceeded)}
    if any(step.status is StepStatus.SUCCESS and step.step not in told for step in store.steps(run.run_id)):
        raise InvariantViolationError(
            f"The log of run {run.run_id} was deleted (retention), so that only all of it can run again."
        )
    return replay(run.run_id, Plan.from_json(store.content(run.plan)), events).known()
