"""A store that lives and dies with its process: for runs in process, and for tests."""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from opgrid.contracts.events import AnyEvent, AssetMaterialized
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import RunBrief
from opgrid.contracts.told import Report, unfolded
from opgrid.errors import RunAlreadyExists, UnknownCursor
from opgrid.ids import RunId, StepKey
from orchestrator.engine.gates import Gate
from orchestrator.engine.pools import Slot
from orchestrator.storage.projection import changes
from orchestrator.storage.records import (
    BACKFILL_TAG,
    EventLogRecord,
    EventRecordsFilter,
    EventsFilter,
    Lease,
    LeaseLost,
    RunRecord,
    RunsFilter,
    StepRecord,
)


class MemoryStore:
    crosses_processes = False

    def __init__(self) -> None:
        self._runs: dict[str, RunRecord] = {}
        self._events: dict[str, list[AnyEvent]] = {}
        self._log: list[AnyEvent] = []  #: of all runs
        self._contents: dict[str, bytes] = {}
        self._positions: dict[str, str] = {}
        self._leases: dict[str, Lease] = {}
        self._materializations: list[tuple[int, AssetMaterialized]] = []
        self._partitions: dict[str, dict[str, None]] = {}
        self._lock = threading.RLock()
        self._identity = uuid.uuid4().hex

    def identity(self) -> str:
        return self._identity

    @contextmanager
    def turn(self) -> Iterator[_MemoryTurn]:
        with self._lock:
            turn = _MemoryTurn(self._leases)
            yield turn
            turn.check()
            for run_id, events in turn.events:
                self._append(run_id, events)
            for run_id, status, at in turn.statuses:
                if run_id in self._runs:
                    self._runs[run_id] = with_status(self._runs[run_id], status, at)
                if status.is_final:
                    self._free(run_id)
            self._positions.update(turn.positions)

    def create_run(self, record: RunRecord, plan: bytes, snapshot: bytes, first: Sequence[AnyEvent] = ()) -> None:
        with self._lock:
            if record.run_id in self._runs:
                raise RunAlreadyExists(f"There is a run {record.run_id!r} already; a new run needs another id.")
            self._runs[record.run_id] = record
            self._contents[record.plan], self._contents[record.snapshot] = plan, snapshot
            self._append(record.run_id, first)

    def create_own_run(self, record: RunRecord, plan: bytes, snapshot: bytes, owner: str, seconds: float) -> Lease:
        with self._lock:
            self.create_run(record, plan, snapshot)
            lease = self.take_lease(record.run_id, owner, seconds)
            assert lease is not None
            return lease

    def _append(self, run_id: str, reports: Sequence[Report]) -> None:
        events = list(unfolded(reports))
        self._events.setdefault(run_id, []).extend(events)
        self._log.extend(events)
        for event in events:
            if type(event) is AssetMaterialized:
                self._materializations.append((len(self._materializations) + 1, event))

    def run(self, run_id: str) -> RunRecord | None:
        return self._runs.get(run_id)

    def find(self, prefix: str, limit: int = 10) -> list[RunId]:
        return [RunId(run_id) for run_id in reversed(self._runs) if run_id.startswith(prefix)][:limit]

    def runs(
        self,
        wanted: RunsFilter | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> list[RunRecord]:
        with self._lock:
            found = list(self._runs.values())
        found = found if ascending else found[::-1]
        if cursor is not None:
            places = [place for place, run in enumerate(found) if run.run_id == cursor]
            if not places:
                raise UnknownCursor(cursor)
            found = found[places[0] + 1 :]
        found = [run for run in found if wanted is None or _fits(run, wanted)]
        return found[:limit] if limit is not None else found

    def count(self, wanted: RunsFilter | None = None) -> int:
        return len(self.runs(wanted))

    def content(self, hash: str) -> bytes:
        return self._contents[hash]

    def read(self, run_id: RunId) -> Iterable[AnyEvent]:
        return list(self._events.get(run_id, ()))

    def events(
        self, run_id: str, after: int = 0, limit: int | None = None, wanted: EventsFilter | None = None
    ) -> list[tuple[int, AnyEvent]]:
        numbered = list(enumerate(self._events.get(run_id, ()), start=1))[after:]
        if wanted is not None:
            numbered = [entry for entry in numbered if wanted.fits(entry[1])]
        return numbered[:limit] if limit is not None else numbered

    def events_before(self, run_id: str, before: int, limit: int, wanted: EventsFilter) -> list[tuple[int, AnyEvent]]:
        return [entry for entry in self.events(run_id, wanted=wanted)[::-1] if entry[0] < before][:limit]

    def event_records(
        self, wanted: EventRecordsFilter, limit: int | None = None, ascending: bool = False
    ) -> list[EventLogRecord]:
        found = [EventLogRecord(*each) for each in enumerate(self._log, start=1) if wanted.fits(*each)]
        return (found if ascending else found[::-1])[:limit]

    def steps(self, run_id: str) -> list[StepRecord]:
        told = changes(self._events.get(run_id, ()))
        found = [StepRecord(key, *msgspec.structs.astuple(change)) for key, change in told.items()]
        return sorted(found, key=lambda each: (each.started is None, each.started or 0.0, each.step))

    def position(self, stream: str) -> str:
        return self._positions.get(stream, "")

    def take_lease(self, run_id: RunId, owner: str, seconds: float) -> Lease | None:
        with self._lock:
            now = time.monotonic()
            before = self._leases.get(run_id)
            if run_id not in self._runs or (before is not None and before.owner != owner and before.expires > now):
                return None
            epoch = 1 if before is None else before.epoch + (before.owner != owner)
            self._leases[run_id] = Lease(owner, now + seconds, epoch)
            return Lease(owner, time.time() + seconds, epoch)

    def lease(self, run_id: RunId) -> Lease | None:
        found = self._leases.get(run_id)
        if found is None or not found.owner:
            return None
        return dataclasses.replace(found, expires=time.time() + found.expires - time.monotonic())

    def keep_lease(self, run_id: RunId, owner: str, seconds: float) -> None:
        with self._lock:
            before = self._leases.get(run_id)
            if before is not None and before.owner == owner:
                self._leases[run_id] = Lease(owner, time.monotonic() + seconds, before.epoch)

    def drop_lease(self, run_id: RunId, owner: str) -> None:
        with self._lock:
            before = self._leases.get(run_id)
            if before is not None and before.owner == owner:
                self._free(run_id)

    def _free(self, run_id: RunId) -> None:
        before = self._leases.get(run_id)
        if before is not None:
            self._leases[run_id] = Lease("", 0.0, before.epoch)

    def materializations(self, asset_key: tuple[str, ...], after: int = 0) -> list[tuple[int, AssetMaterialized]]:
        with self._lock:
            return [each for each in self._materializations if each[0] > after and each[1].asset == asset_key]

    def dynamic_partitions(self, name: str) -> list[str]:
        return list(self._partitions.get(name, ()))

    def add_dynamic_partitions(self, name: str, keys: Sequence[str]) -> None:
        with self._lock:
            self._partitions.setdefault(name, {}).update(dict.fromkeys(keys))

    def delete_dynamic_partitions(self, name: str, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._partitions.get(name, {}).pop(key, None)

    def add_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        with self._lock:
            found = self._runs.get(run_id)
            if found is not None:
                self._runs[run_id] = dataclasses.replace(found, brief=tagged(found.brief, tags))

    def end_run(self, run_id: str, status: RunStatus, events: Sequence[AnyEvent], at: float) -> bool:
        with self._lock:
            found = self._runs.get(run_id)
            if found is None or found.status.is_final:
                return False
            self._append(run_id, events)
            self._runs[run_id] = with_status(found, status, at)
            before = self._leases.get(run_id)
            self._leases[run_id] = Lease("", 0.0, (before.epoch if before is not None else 0) + 1)
            return True

    def needed(self, run_ids: Sequence[RunId]) -> dict[RunId, RunId]:
        with self._lock:
            rows = {run_id: run.root_run_id or run_id for run_id, run in self._runs.items()}
            going = {run.root_run_id: run_id for run_id, run in self._runs.items() if not run.is_finished}
        found = {run_id: going.get(RunId(rows.get(run_id, run_id))) for run_id in run_ids}
        return {run_id: RunId(by) for run_id, by in found.items() if by is not None and by != run_id}

    def delete_run(self, run_id: str) -> None:
        with self._lock:
            self._runs.pop(run_id, None)
            self._events.pop(run_id, None)
            self._leases.pop(run_id, None)
            for stream in [each for each in self._positions if each.startswith(f"{run_id}/")]:
                del self._positions[stream]

    def take_slots(self, wanted: Mapping[Slot, int], by: object = None) -> set[Slot]:
        """All: limits are set for those who share a database."""
        return set(wanted)

    def keep_slots(self, run_id: RunId, steps: Collection[StepKey], only: object = None) -> None:
        """Nothing is counted."""

    def open_gates(self, gates: Sequence[Gate]) -> list[Gate]:
        """Approved: there is nobody else to ask."""
        return [gate._replace(approved=True, who="The program that runs it") for gate in gates]

    def decide(self, run_id: RunId, step: StepKey, approved: bool, who: str, note: str) -> bool:
        return False

    def close(self) -> None:
        """Nothing is kept."""


class _MemoryTurn:
    """All leases of the service are somebody else's: it needs a database."""

    def __init__(self, leases: Mapping[str, Lease]) -> None:
        self._leases = leases
        self._fence: tuple[str, int, str] | None = None
        self.events: list[tuple[RunId, Sequence[Report]]] = []
        self.statuses: list[tuple[RunId, RunStatus, float]] = []
        self.positions: dict[str, str] = {}

    def append(self, run_id: RunId, events: Sequence[Report]) -> None:
        self.events.append((run_id, events))

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        self.statuses.append((run_id, status, at))

    def free_slots(self, slots: Sequence[Slot]) -> None:
        """Nothing is counted."""

    def set_position(self, stream: str, position: str) -> None:
        self.positions[stream] = position

    def only_of_owner(self, run_id: RunId, epoch: int) -> None:
        self._fence = run_id, epoch, f"Run {run_id}"

    def only_of_holder(self, name: str, epoch: int) -> None:
        self._fence = name, epoch, name

    def check(self) -> None:
        if self._fence is None:
            return
        of, epoch, whose = self._fence
        lease = self._leases.get(of)
        if lease is None or lease.epoch != epoch:
            raise LeaseLost(whose)

    def ends(self, run_id: RunId) -> bool:
        return any(of == run_id and status.is_final for of, status, _ in self.statuses)


def tagged(brief: RunBrief, tags: Mapping[str, str]) -> RunBrief:
    return msgspec.structs.replace(brief, tags={**brief.tags, **tags})


def with_status(record: RunRecord, status: RunStatus, at: float) -> RunRecord:
    """The record after its status changed; start and end follow from it."""
    changes: dict[str, Any] = {"status": status}
    if status is RunStatus.STARTED:
        changes["started"] = at
    if status.is_final:
        changes["ended"] = at
    return dataclasses.replace(record, **changes)


def _fits(run: RunRecord, wanted: RunsFilter) -> bool:
    created_after, created_before, updated_after, updated_before = wanted.times()
    return (
        (not wanted.run_ids or run.run_id in wanted.run_ids)
        and (wanted.job_name is None or run.job == wanted.job_name)
        and (wanted.location is None or run.location in ("", wanted.location))
        and (not wanted.statuses or run.status in wanted.statuses)
        and all(run.brief.tags.get(key) in values for key, values in wanted.values_of_tags().items())
        and wanted.snapshot_id in (None, run.snapshot)
        and not (wanted.exclude_subruns and BACKFILL_TAG in run.tags)
        and created_after < run.created < created_before
        and updated_after < run.updated < updated_before
    )
