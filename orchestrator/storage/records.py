"""What is stored about runs, as it is read back. Times are Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import CodeTarget, RunBrief
from opgrid.ids import RunId, StepKey


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it is stored; ``opgrid.Run`` is another name of it."""

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

    @property
    def job_name(self) -> str:
        return self.job

    @property
    def tags(self) -> dict[str, str]:
        return self.brief.tags

    @property
    def run_config(self) -> Any:
        """As it was given, merged with the job's own."""
        return {} if self.brief.run_config is None else self.brief.run_config

    @property
    def parent_run_id(self) -> RunId | None:
        """Of the run that this one re-executes."""
        return self.brief.parent_run_id

    @property
    def root_run_id(self) -> RunId | None:
        """Of the first in a row of re-executions."""
        return self.brief.root_run_id

    @property
    def is_finished(self) -> bool:
        return self.status.is_final

    @property
    def is_success(self) -> bool:
        return self.status is RunStatus.SUCCESS

    @property
    def is_failure(self) -> bool:
        return self.status is RunStatus.FAILURE


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
