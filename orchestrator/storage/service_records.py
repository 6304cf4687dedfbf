"""What is stored for the service: who holds what, when schedules and sensors ticked, and runs that are to be launched.

Times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from opgrid.contracts.events import AnyEvent, ErrorInfo
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.storage.records import RunRecord

#: Characters of a key that launches one run.
LONGEST_LAUNCH_KEY: Final = 255
#: Begins the origin of a run that repeats a failed one by itself; the id of that follows.
RETRY: Final = "retry:"


def retry_origin(run_id: RunId) -> str:
    return f"{RETRY}{run_id}"


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
    retagged: int = 0  #: how often its tags were changed


class Pulse(NamedTuple):
    """Numbers that change with what they are about."""

    event: int
    tick: int
    automation: str
    backfills: str
    reports: float
    audit: int = 0
    deleted: float = 0.0


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


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that somebody did."""

    at: float
    who: str  #: name of the token, or "local" where none is asked for; on the command line that of the user
    action: str  #: name of the mutation
    about: str  #: what it was done to
    outcome: str  #: name of the result's type
    number: int = 0


class BackfillStatus(StrEnum):
    REQUESTED = "REQUESTED"
    CANCELING = "CANCELING"
    COMPLETED_SUCCESS = "COMPLETED_SUCCESS"
    COMPLETED_FAILED = "COMPLETED_FAILED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        return self not in (BackfillStatus.REQUESTED, BackfillStatus.CANCELING)


class BackfillOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the runs of a backfill are made."""

    tags: dict[str, str] = {}
    title: str = ""
    run_config: dict[str, Any] | None = None  #: instead of that of the partition
    op_selection: tuple[str, ...] = ()
    executor: str | None = None
    at_once: int | None = None  #: runs of it that may go on at a time: 1 is one after the other; None: all
    parents: dict[str, RunId] = {}  #: partitions that go on from where an earlier run of theirs failed
    spans: dict[str, int] = {}  #: of its partitions those that are ranges, and how many each of them covers


@dataclass(frozen=True, slots=True)
class Backfill:
    """Runs of partitions, in this order."""

    backfill_id: str
    location: str
    job: str
    partitions: tuple[str, ...]
    options: BackfillOptions = field(default_factory=BackfillOptions)
    status: BackfillStatus = BackfillStatus.REQUESTED
    created: float = 0.0
    ended: float | None = None
    error: str | None = None  #: why a partition could not be launched

    @property
    def size(self) -> int:
        """How many partitions it is of: a range counts for all that it covers."""
        return sum(self.options.spans.get(each, 1) for each in self.partitions)

    @property
    def origin(self) -> str:
        """Of its runs; their keys are those of the partitions."""
        return f"backfill:{self.backfill_id}"
