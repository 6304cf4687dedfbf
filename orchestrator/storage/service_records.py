"""What is stored for the service: who holds what, when schedules and sensors ticked, and runs that are to be launched.

Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from opgrid.contracts.events import AnyEvent, ErrorInfo
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.storage.records import RunRecord


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be stored. Of one ``origin``, a ``key`` is launched once and never again."""

    record: RunRecord
    plan: bytes
    snapshot: bytes
    first: Sequence[AnyEvent] = ()
    origin: str = ""
    key: str = ""


class OpenRun(NamedTuple):
    """A run that has not ended."""

    run_id: RunId
    status: RunStatus
    shard: str
    cancel: str | None  #: why somebody asked for its end


class InstigatorKind(StrEnum):
    SCHEDULE = "schedule"
    SENSOR = "sensor"


@dataclass(frozen=True, slots=True)
class Instigator:
    """Where a schedule or sensor stands. ``running`` None: as its definition says."""

    location: str
    name: str
    kind: InstigatorKind
    running: bool | None = None
    since: float | None = None  #: that it runs
    ticked: float | None = None  #: time of the last tick: of a schedule, its scheduled time
    completed: float | None = None  #: when that was done
    cursor: str | None = None
    last_run_key: str | None = None

    @property
    def origin(self) -> str:
        """Of the runs that it launches."""
        return f"{self.kind.value}:{self.location}:{self.name}"


class TickStatus(StrEnum):
    SUCCESS = "SUCCESS"
    SKIPPED = "SKIPPED"
    FAILURE = "FAILURE"


@dataclass(frozen=True, slots=True)
class Tick:
    """One evaluation of a schedule or sensor."""

    location: str
    name: str
    kind: InstigatorKind
    at: float  #: of a schedule: the scheduled time
    status: TickStatus
    ended: float
    run_ids: tuple[str, ...] = ()
    reason: str | None = None  #: why it was skipped
    error: ErrorInfo | None = None
    log: tuple[str, ...] = ()
    number: int = 0
