"""What services ask of a store. ``memory`` and ``sql`` answer; one contract suite holds both to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from opgrid.contracts.events import AnyEvent, AssetMaterialized
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId, StepKey
from orchestrator.engine.gates import GateStore
from orchestrator.engine.log import RunLog, Turn
from orchestrator.engine.pools import PoolStore, Slot
from orchestrator.storage.records import (
    EventLogRecord,
    EventRecordsFilter,
    EventsFilter,
    Lease,
    RunRecord,
    RunsFilter,
    StepRecord,
)


class FencedTurn(Turn, Protocol):
    """A turn is fenced by one lease, at most."""

    def only_of_owner(self, run_id: RunId, epoch: int) -> None:
        """It is refused with LeaseLost, at its end, unless the lease of the run is of this epoch then."""
        ...

    def only_of_holder(self, name: str, epoch: int) -> None:
        """The same for a lease by name, such as that of a shard."""
        ...

    def ends(self, run_id: RunId) -> bool:
        """Whether it says that the run has ended. The lease of the run is dropped then."""
        ...


#: Names the lease that a turn is fenced by.
Fence = Callable[[FencedTurn], None]


class Taker(NamedTuple):
    """Who drives runs and takes slots for them."""

    name: str  #: of what it has the lease of: a shard, or a run
    only: Fence


class Store(RunLog, PoolStore, GateStore, Protocol):
    @property
    def crosses_processes(self) -> bool:
        """Whether another process may drive its runs, or ask for their end."""
        ...

    def identity(self) -> str:
        """A word that no other store has. It stays: a backup that is put back has it, too, and so has a copy."""
        ...

    def turn(self) -> AbstractContextManager[FencedTurn]: ...

    def take_slots(self, wanted: Mapping[Slot, int], by: Taker | None = None) -> set[Slot]:
        """Refused with LeaseLost, as a turn is that is fenced so."""
        ...

    def keep_slots(self, run_id: RunId, steps: Collection[StepKey], only: Fence | None = None) -> None:
        """The same."""
        ...

    def create_run(self, record: RunRecord, plan: bytes, snapshot: bytes, first: Sequence[AnyEvent] = ()) -> None:
        """All of it or nothing. Raises RunAlreadyExists."""
        ...

    def create_own_run(self, record: RunRecord, plan: bytes, snapshot: bytes, owner: str, seconds: float) -> Lease:
        """``create_run`` and ``take_lease`` in one."""
        ...

    def run(self, run_id: str) -> RunRecord | None: ...

    def find(self, prefix: str, limit: int = 10) -> list[RunId]:
        """Run ids that begin so, newest first."""
        ...

    def runs(
        self,
        wanted: RunsFilter | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> list[RunRecord]:
        """Newest first, or oldest; those behind the run with the id ``cursor``. Raises UnknownCursor."""
        ...

    def count(self, wanted: RunsFilter | None = None) -> int:
        """How many runs there are."""
        ...

    def content(self, hash: str) -> bytes:
        """A stored plan or snapshot. Raises KeyError."""
        ...

    def events(
        self, run_id: str, after: int = 0, limit: int | None = None, wanted: EventsFilter | None = None
    ) -> list[tuple[int, AnyEvent]]:
        """(number, event) behind ``after``, oldest first, all or some. Numbers grow, with gaps."""
        ...

    def events_before(self, run_id: str, before: int, limit: int, wanted: EventsFilter) -> list[tuple[int, AnyEvent]]:
        """The same from ``before``, which is left out, back: newest first."""
        ...

    def event_records(
        self, wanted: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> list[EventLogRecord]:
        """Of all runs, newest first or oldest."""
        ...

    def steps(self, run_id: str) -> list[StepRecord]:
        """In the order in which they started; those that did not come last, by key."""
        ...

    def take_lease(self, run_id: RunId, owner: str, seconds: float) -> Lease | None:
        """Become the one who drives this run, or stay it. None while somebody else is, and where there is no such
        run. Times are the database's own.
        """
        ...

    def lease(self, run_id: RunId) -> Lease | None:
        """The last one that was taken, though it may have expired; None where it was dropped or never taken."""
        ...

    def keep_lease(self, run_id: RunId, owner: str, seconds: float) -> None:
        """Drive this run for longer; nothing happens where ``owner`` does not. Whose run has ended has no lease to
        keep.
        """
        ...

    def drop_lease(self, run_id: RunId, owner: str) -> None:
        """Let others drive this run; nothing happens where ``owner`` does not. The next lease has another epoch."""
        ...

    def materializations(self, asset_key: tuple[str, ...], after: int = 0) -> list[tuple[int, AssetMaterialized]]:
        """(number, event) behind ``after`` that ops of all runs logged for this asset, oldest first."""
        ...

    def dynamic_partitions(self, name: str) -> list[str]:
        """The keys of these partitions, in the order in which they were added."""
        ...

    def add_dynamic_partitions(self, name: str, keys: Sequence[str]) -> None:
        """Those that are there stay where they are."""
        ...

    def delete_dynamic_partitions(self, name: str, keys: Sequence[str]) -> None:
        """Those that are not there are passed over."""
        ...

    def add_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Over those that it has. Nothing happens where there is no such run."""
        ...

    def end_run(self, run_id: str, status: RunStatus, events: Sequence[AnyEvent], at: float) -> bool:
        """End a run over the head of whoever drives it, whose later words are refused; False where it has ended."""
        ...

    def needed(self, run_ids: Sequence[RunId]) -> dict[RunId, RunId]:
        """Those of these runs that a re-execution which has not ended may read outputs of, with that one: it goes on
        from any run of its row.
        """
        ...

    def delete_run(self, run_id: str) -> None:
        """Forget a run and its log. Nothing happens where there is none."""
        ...

    def close(self) -> None: ...
