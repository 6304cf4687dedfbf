"""What is stored about runs, as it is read back. Times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import CodeTarget, RunBrief
from opgrid.ids import RunId, StepKey


@dataclass(frozen=True, slots=True)
class RunRecord:
    run_id: RunId
    job: str
    status: RunStatus
    brief: RunBrief
    plan: str  #: content hash
    snapshot: str  #: content hash
    code: CodeTarget | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Where a step stands; ``started`` is of its last attempt."""

    step: StepKey
    status: StepStatus
    attempt: int
    started: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class RunsFilter:
    """Which runs; what is not given does not matter."""

    run_ids: tuple[str, ...] = ()
    job_name: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who drives a run, and until when others leave it alone."""

    owner: str
    expires: float
    epoch: int
