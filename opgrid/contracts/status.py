"""Where a run and a step can stand."""

from __future__ import annotations

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run is; SUCCESS, FAILURE and CANCELED are final."""

    QUEUED = "QUEUED"
    NOT_STARTED = "NOT_STARTED"
    STARTING = "STARTING"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL_RUN


class StepStatus(StrEnum):
    PENDING = "PENDING"  #: waits for its inputs; after the run's end: untouched
    DISPATCHED = "DISPATCHED"  #: given to an executor, not yet started
    RUNNING = "RUNNING"
    WAITING = "WAITING"  #: for the delay before a retry
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    SKIPPED = "SKIPPED"  #: an optional output that it needs was not yielded
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL_STEP


_FINAL_RUN = frozenset({RunStatus.SUCCESS, RunStatus.FAILURE, RunStatus.CANCELED})
_FINAL_STEP = frozenset({StepStatus.SUCCESS, StepStatus.FAILURE, StepStatus.SKIPPED, StepStatus.CANCELED})
