"""What is told of an attempt by whoever runs it, or was to: one shape wherever steps run."""

from __future__ import annotations

import time

from opgrid.contracts.events import ErrorInfo, StepCanceled, StepFailed, StepStarted
from opgrid.contracts.tasks import StepTask
from opgrid.contracts.wording import span


def started(task: StepTask, pid: int, claim: str = "", worker: str = "") -> StepStarted:
    return StepStarted(
        run_id=task.run_id,
        at=time.time(),
        step=task.step,
        attempt=task.attempt,
        claim=claim,
        worker=worker,
        pid=pid,
    )


def canceled(task: StepTask) -> StepCanceled:
    return StepCanceled(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt)


def unable(task: StepTask, error: ErrorInfo) -> StepFailed:
    """It could not be run, and another try would not change that."""
    return StepFailed(
        run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, error=error, allow_retries=False
    )


def timed_out(task: StepTask, seconds: float, orphaned: bool = False) -> StepFailed:
    """It was stopped because its time ran out. ``orphaned``: who ran it does not run its hooks."""
    error = ErrorInfo(
        "StepTimedOut",
        f"Step {task.step!r} was stopped after {span(round(seconds, 3))}: its timeout is {span(task.timeout or 0.0)}.",
    )
    return StepFailed(
        run_id=task.run_id,
        at=time.time(),
        step=task.step,
        attempt=task.attempt,
        error=error,
        timed_out=True,
        orphaned=orphaned,
        seconds=seconds,
    )
