"""Step statuses read from a log, event by event: what run pages show without replaying."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from opgrid.contracts.events import (
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
from opgrid.contracts.told import Report
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
_ENDS = frozenset(kind for kind, status in _STATUS.items() if status.is_final)


class StepChange(msgspec.Struct, frozen=True, gc=False):
    status: StepStatus
    attempt: int
    started: float | None
    ended: float | None
    worker: str | None = None  #: that started it last


def changes(events: Iterable[Report]) -> dict[StepKey, StepChange]:
    """The last word of these events on each step that they mention. A time that is None has not changed."""
    last: dict[StepKey, Any] = {}
    begun: dict[StepKey, StepStarted] = {}
    event: Any
    for event in events:
        kind = type(event)
        if kind in _STATUS and not (kind is StepLost and event.after_end):
            last[event.step] = event
            if kind is StepStarted:
                begun[event.step] = event
    return {step: _change(event, begun.get(step)) for step, event in last.items()}


def _change(event: Any, begun: StepStarted | None) -> StepChange:
    kind = type(event)
    started, worker = (None, None) if begun is None else (begun.at, begun.worker or None)
    return StepChange(_STATUS[kind], event.attempt, started, event.at if kind in _ENDS else None, worker)
