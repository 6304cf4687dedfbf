"""Step statuses read from a log, event by event: what run pages show without replaying."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from opgrid.contracts.events import (
    AnyEvent,
    RetryDue,
    StepCanceled,
    StepDispatched,
    StepFailed,
    StepLost,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.status import StepStatus
from opgrid.ids import StepKey

_STATUS: dict[type, StepStatus] = {
    StepDispatched: StepStatus.DISPATCHED,
    RetryDue: StepStatus.DISPATCHED,
    StepStarted: StepStatus.RUNNING,
    StepSucceeded: StepStatus.SUCCESS,
    StepFailed: StepStatus.FAILURE,
    StepCanceled: StepStatus.CANCELED,
    StepSkipped: StepStatus.SKIPPED,
    StepUpForRetry: StepStatus.WAITING,
    StepLost: StepStatus.DISPATCHED,
}


class StepChange(NamedTuple):
    status: StepStatus
    attempt: int
    started: float | None
    ended: float | None
    worker: str | None = None  #: that started it last


def changes(events: Iterable[AnyEvent]) -> dict[StepKey, StepChange]:
    """The last word of these events on each step that they mention. A time that is None has not changed."""
    found: dict[StepKey, StepChange] = {}
    for event in events:
        status = _STATUS.get(type(event))
        if status is None:
            continue
        assert isinstance(
            event,
            StepDispatched
            | RetryDue
            | StepStarted
            | StepSucceeded
            | StepFailed
            | StepCanceled
            | StepSkipped
            | StepUpForRetry
            | StepLost,
        )
        before = found.get(event.step)
        started, worker = (before.started, before.worker) if before else (None, None)
        if isinstance(event, StepStarted):
            started, worker = event.at, event.worker or None
        ended = event.at if status.is_final else None
        found[event.step] = StepChange(status, event.attempt, started, ended, worker)
    return found
