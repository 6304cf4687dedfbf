"""What the service asks of a store, on top of runs. A database answers; a store in memory has nobody to share with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from opgrid.contracts.events import EventType
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.definitions.run_request import DynamicPartitionsRequest
from opgrid.ids import RunId
from orchestrator.engine.gates import Gate
from orchestrator.engine.pools import PoolSettings, Slot
from orchestrator.storage.protocols import Fence, Store
from orchestrator.storage.records import Lease, RunRecord, StepRecord
from orchestrator.storage.service_records import (
    AuditEntry,
    Backfill,
    BackfillStatus,
    Instigator,
    NewRun,
    OpenRun,
    Pulse,
    Tick,
    TickStatus,
)


class ServiceStore(Store, Protocol):
    pooling: PoolSettings

    def launch(self, new: Sequence[NewRun]) -> list[RunId]:
        """Store runs, all or none; gives those whose key had not launched one before. Raises RunAlreadyExists."""
        ...

    def launched(self, origin: str) -> dict[str, RunId]:
        """The runs that an origin has launched, by key, in their order."""
        ...

    def with_status(self, statuses: Iterable[RunStatus], shard: str | None = None) -> list[RunRecord]:
        """Oldest first."""
        ...

    def records(self, run_ids: Sequence[RunId]) -> list[RunRecord]:
        """In any order, without those that are gone."""
        ...

    def dequeue(self, run_ids: Sequence[RunId], at: float, only: Fence | None = None) -> list[RunId]:
        """QUEUED to STARTING, all of them or none; gives those that were still QUEUED. Refused as a turn that is fenced
        so.
        """
        ...

    def enqueue(self, run_id: RunId, at: float) -> bool:
        """NOT_STARTED to QUEUED; False where it does not stand there."""
        ...

    def start(self, run_id: RunId, at: float) -> bool:
        """NOT_STARTED to STARTING, past the queue; False where it does not stand there."""
        ...

    def cancel_unstarted(self, run_id: RunId, reason: str, at: float) -> bool:
        """End a run that nobody drives yet; False where somebody may."""
        ...

    def fail_unstarted(self, run_id: RunId, reason: str, at: float) -> bool:
        """The same, as a failure, also for a run that was to start."""
        ...

    def request_cancel(self, run_id: RunId, reason: str) -> None:
        """Durable; who drives the run sees it."""
        ...

    def cancel_runs(self, run_ids: Sequence[RunId], reason: str, at: float) -> None:
        """End those that nobody drives yet, and ask for the end of the others that go on. Durable; what was asked for
        before stays.
        """
        ...

    def wait_for_bell(self, timeout: float) -> bool:
        """Whether, within so many seconds, a run was queued or its end asked for, by whatever process. It may ring for
        nothing, and for only one of several who wait: look now and then all the same. For one thread.
        """
        ...

    def ring_bell(self) -> None:
        """For who wants to know whether it hears it. Raises DatabaseUnreachable."""
        ...

    def open_runs(self) -> list[OpenRun]:
        """Those that have not ended, oldest first."""
        ...

    def run_events(self, type: str, after: int, limit: int) -> list[tuple[int, RunId]]:
        """(number, run) of events of runs, oldest first; ``type`` is the value of an EventType."""
        ...

    def behind(self, type: str, after: int, run_ids: Sequence[RunId]) -> set[RunId]:
        """Those of these runs that have such an event behind this number, also one that ``run_events`` does not give
        yet.
        """
        ...

    def last_event(self) -> int:
        """The number of the latest event of any run; 0 where there is none."""
        ...

    def old_runs(self, before: float | None, kept: int | None, limit: int) -> list[RunId]:
        """Runs that have ended and are not ``needed``, oldest first: earlier than ``before``, or beyond the newest
        ``kept``.
        """
        ...

    def purge_logs(self, before: float | None, kept: int | None, limit: int) -> int:
        """Forget events of runs that ended earlier, or of ended runs all but the newest ``kept``; gives how many.
        How the runs themselves went stays.
        """
        ...

    def purge_contents(self, limit: int) -> int:
        """Forget plans and snapshots that no run has any more; gives how many."""
        ...

    def hold(self, name: str, owner: str, seconds: float) -> Lease | None:
        """Take a lease, or keep it. None while somebody else has it. Times are the database's own: clocks of those
        who share it may be wrong.
        """
        ...

    def take_from_drivers(self, run_ids: Sequence[RunId]) -> None:
        """Whoever has a lease of one of these runs has it no more."""
        ...

    def let_go(self, name: str, owner: str) -> None:
        """Others may take it at once."""
        ...

    def held(self) -> dict[str, Lease]:
        """Leases by name, expired ones too."""
        ...

    def instigators(self) -> list[Instigator]:
        """Those that were started or stopped, or have ticked."""
        ...

    def set_instigator(self, state: Instigator, only: Collection[str] = ()) -> None:
        """Of one that is stored already ``only`` these fields are changed; none named: all."""
        ...

    def commit_tick(
        self,
        tick: Tick | None,
        before: Instigator,
        state: Instigator,
        new: Sequence[NewRun] = (),
        requests: Sequence[DynamicPartitionsRequest] = (),
    ) -> list[RunId] | None:
        """All that a tick came to, in one transaction: its runs, its state, changed partitions, its record. None, and
        nothing is stored, where another process has ticked since ``before``, or somebody has set the cursor. Whether it
        runs stays as it is stored.
        """
        ...

    def ticks(self, location: str, name: str, limit: int = 25) -> list[Tick]:
        """Newest first."""
        ...

    def purge_ticks(self, before: float, statuses: Iterable[TickStatus]) -> int:
        """Forget those that ended earlier; gives how many."""
        ...

    def trim_ticks(self, location: str, name: str, kept: int) -> int:
        """Forget all but the newest of a schedule or sensor; gives how many."""
        ...

    def add_backfill(self, backfill: Backfill) -> None: ...

    def backfills(
        self,
        statuses: Iterable[BackfillStatus] = (),
        limit: int | None = None,
        backfill_id: str | None = None,
        cursor: str | None = None,
    ) -> list[Backfill]:
        """Newest first, those older than the one with the id ``cursor``; of all statuses where none is given."""
        ...

    def move_backfill(
        self,
        backfill_id: str,
        before: BackfillStatus,
        after: BackfillStatus,
        ended: float | None = None,
        error: str | None = None,
    ) -> bool:
        """False where it does not stand at ``before`` any more."""
        ...

    def statuses(self, run_ids: Sequence[RunId]) -> dict[RunId, RunStatus]:
        """Of runs that are there."""
        ...

    def gates(self, run_ids: Sequence[RunId]) -> list[Gate]:
        """Steps of these runs that wait or waited for a decision, oldest first."""
        ...

    def waiting_gates(self) -> list[Gate]:
        """Those that nobody has decided yet, of runs that go on; oldest first."""
        ...

    def tag_keys(self) -> list[str]:
        """Of all runs, by name."""
        ...

    def tag_values(self, key: str, prefix: str = "", limit: int = 100) -> list[str]:
        """That runs have for a tag, by name."""
        ...

    def pulse(self) -> Pulse:
        """What has changed when it is not the same as before."""
        ...

    def changed_runs(self, after: int, limit: int = 200) -> list[RunId]:
        """Those with events behind this number."""
        ...

    def deleted_runs(self, after: float) -> list[RunId] | None:
        """Those that were deleted behind this ``Pulse.deleted``; None where it is not known any more which."""
        ...

    def contents(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """Stored plans and snapshots, those that are there."""
        ...

    def content_lengths(self, hashes: Iterable[str]) -> dict[str, int]:
        """How many bytes each would be."""
        ...

    def last_runs(self, location: str, jobs: Sequence[str], limit: int) -> dict[str, list[RunRecord]]:
        """Of each of these jobs of a code location the latest, newest first; those that never ran are missing."""
        ...

    def steps_of(self, run_ids: Sequence[RunId], status: StepStatus | None = None) -> dict[RunId, list[StepRecord]]:
        """As ``steps``, of many runs; all, or those that stand there."""
        ...

    def event_counts(self, run_ids: Sequence[RunId], types: Collection[EventType]) -> dict[RunId, dict[EventType, int]]:
        """How many events of these types each of the runs has."""
        ...

    def last_ticks(self, of: Sequence[tuple[str, str]], limit: int) -> dict[tuple[str, str], list[Tick]]:
        """As ``ticks``, of many (location, name)."""
        ...

    def launched_by(self, origins: Sequence[str]) -> dict[str, dict[str, RunId]]:
        """As ``launched``, of many origins."""
        ...

    def latest_by(self, origins: Sequence[str]) -> dict[str, dict[str, RunId]]:
        """As ``launched_by``, with the last retry of a run that was run again by itself, in its place."""
        ...

    def launch_counts(self, origins: Sequence[str]) -> dict[str, dict[RunStatus | None, int]]:
        """How many of the runs of ``latest_by`` stand where; None: they are not there any more."""
        ...

    def step_counts(self, run_ids: Sequence[RunId]) -> dict[RunId, dict[StepStatus, int]]:
        """How many steps stand where; those that did not come yet are not counted."""
        ...

    def running_steps(self, limit: int = 500) -> list[tuple[RunId, StepRecord]]:
        """Of all runs, the longest first."""
        ...

    def last_by_tag(self, location: str, job: str, key: str) -> dict[str, tuple[RunId, RunStatus, int]]:
        """For each value of a tag the latest run of a job that has it, with its number: higher ones are later."""
        ...

    def report(self, name: str) -> tuple[float, bytes] | None:
        """What a service told last under this name, and when."""
        ...

    def put_report(self, name: str, body: bytes, at: float) -> None: ...

    def add_audit(self, entry: AuditEntry) -> None: ...

    def audit(self, limit: int = 100) -> list[AuditEntry]:
        """Newest first."""
        ...

    def free_slots(self, given: Sequence[Slot]) -> None:
        """By hand, whoever holds them."""
        ...

    def used_slots(self) -> dict[str, list[Slot]]:
        """By pool, of runs that go on; oldest first."""
        ...

    def pools(self) -> dict[str, int]:
        """Slots by name."""
        ...

    def set_pool(self, name: str, slots: int | None) -> None:
        """None: no limit any more."""
        ...
