"""The store's side of the service, in SQL: runs that wait and run, leases, and what the web shows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from opgrid.contracts.events import (
    AnyEvent,
    RunCanceled,
    RunCanceling,
    RunDequeued,
    RunEnqueued,
    RunFailed,
    RunStarting,
)
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.crash_points import reach
from opgrid.errors import RunAlreadyExists
from opgrid.ids import RunId, StepKey
from orchestrator.storage.protocols import Fence
from orchestrator.storage.records import ROOT_TAG, Lease, RunRecord, StepRecord
from orchestrator.storage.service_records import RETRY, AuditEntry, NewRun, OpenRun
from orchestrator.storage.sql.clock import is_over
from orchestrator.storage.sql.database import Database
from orchestrator.storage.sql.statements import as_json
from orchestrator.storage.sql.tables import OPEN, audit, contents, launches, leases, reports, run_tags, runs, steps
from orchestrator.storage.sql.turn import SqlTurn, record_of, record_of_columns

_IDENTITY: Final = "identity"  #: the report in which it is
_UNSTARTED = (RunStatus.QUEUED, RunStatus.NOT_STARTED)
_AT_ONCE = 500  #: runs that one statement names
_going = runs.alias()
#: The first runs of rows of re-executions in which one has not ended.
_ROWS = (
    select(run_tags.c.value)
    .join(_going, _going.c.id == run_tags.c.run)
    .where(run_tags.c.key == ROOT_TAG, _going.c.status.in_(OPEN))
)
_OF_ROWS = select(run_tags.c.run).where(run_tags.c.key == ROOT_TAG, run_tags.c.value.in_(_ROWS))
_NOT_NEEDED = (runs.c.run_id.not_in(_ROWS), runs.c.id.not_in(_OF_ROWS))


class ServiceTables(Database):
    # ---- runs that wait and run ------------------------------------------------------------------------------------

    def launch(self, new: Sequence[NewRun]) -> list[RunId]:
        """Store runs, all or none; gives those whose key had not launched one before. Raises RunAlreadyExists."""
        try:
            with self._writing(rings=True) as connection:
                launched = self._launch(connection, new)
                reach("launch before")
            reach("launch after")
            return launched
        except IntegrityError as error:
            ids = ", ".join(each.record.run_id for each in new)
            raise RunAlreadyExists(f"There is a run of the same id already as one of {ids}.") from error

    def _launch(self, connection: Connection, new: Sequence[NewRun]) -> list[RunId]:
        turn = SqlTurn(connection, self._statements)
        stored: list[RunId] = []
        for each in new:
            if each.origin and not self._first(connection, each):
                continue
            turn.insert_run(each.record, each.plan, each.snapshot, each.first)
            stored.append(each.record.run_id)
        turn.write()
        return stored

    def _first(self, connection: Connection, new: NewRun) -> bool:
        row = {"origin": new.origin, "key": new.key, "run_id": new.record.run_id, "at": new.record.created}
        return self._statements.add_launch(connection, row) == 1

    def launched(self, origin: str) -> dict[str, RunId]:
        """The runs that an origin has launched, by key, in their order."""
        return self.launched_by([origin]).get(origin, {})

    def launched_by(self, origins: Sequence[str]) -> dict[str, dict[str, RunId]]:
        found: dict[str, dict[str, RunId]] = {}
        for start in range(0, len(origins), _AT_ONCE):
            some = origins[start : start + _AT_ONCE]
            query = select(launches.c.origin, launches.c.key, launches.c.run_id).where(launches.c.origin.in_(some))
            for row in self._all(query.order_by(launches.c.at, launches.c.key)):
                found.setdefault(row.origin, {})[row.key] = RunId(row.run_id)
        return found

    def latest_by(self, origins: Sequence[str]) -> dict[str, dict[str, RunId]]:
        latest = _latest(origins)
        found: dict[str, dict[str, RunId]] = {}
        for row in self._all(select(latest).order_by(latest.c.at, latest.c.key)):
            found.setdefault(row.origin, {})[row.key] = RunId(row.run_id)
        return found

    def launch_counts(self, origins: Sequence[str]) -> dict[str, dict[RunStatus | None, int]]:
        latest = _latest(origins)
        query = select(latest.c.origin, runs.c.status, func.count().label("count"))
        query = query.outerjoin_from(latest, runs, runs.c.run_id == latest.c.run_id)
        found: dict[str, dict[RunStatus | None, int]] = {}
        for row in self._all(query.group_by(latest.c.origin, runs.c.status)):
            status = None if row.status is None else RunStatus(row.status)
            found.setdefault(row.origin, {})[status] = row.count
        return found

    def with_status(self, statuses: Iterable[RunStatus], shard: str | None = None) -> list[RunRecord]:
        """Oldest first."""
        query = select(runs).where(runs.c.status.in_([status.value for status in statuses])).order_by(runs.c.id)
        if shard is not None:
            query = query.where(runs.c.shard == shard)
        return [record_of(row) for row in self._all(query)]

    def records(self, run_ids: Sequence[RunId]) -> list[RunRecord]:
        """In any order, without those that are gone."""
        rows = self._read_all(self._statements.these_runs, as_json(run_ids)) if run_ids else []
        return [record_of_columns(row) for row in rows]

    def dequeue(self, run_ids: Sequence[RunId], at: float, only: Fence | None = None) -> list[RunId]:
        """QUEUED to STARTING, all of them or none; gives those that were still QUEUED."""
        reach("dequeue before")
        with self._writing() as connection:
            rows = self._statements.still_queued.all(connection, as_json(run_ids))
            still = {run_id for (run_id,) in rows}
            moved = [run_id for run_id in run_ids if run_id in still]
            turn = SqlTurn(connection, self._statements)
            for run_id in moved:
                turn.append(run_id, [RunDequeued(run_id=run_id, at=at), RunStarting(run_id=run_id, at=at)])
                turn.set_status(run_id, RunStatus.STARTING, at)
            if only is not None:
                only(turn)
            turn.write()
        reach("dequeue after")
        return moved

    def enqueue(self, run_id: RunId, at: float) -> bool:
        """NOT_STARTED to QUEUED; False where it does not stand there."""
        event = RunEnqueued(run_id=run_id, at=at)
        return self._move(run_id, (RunStatus.NOT_STARTED,), RunStatus.QUEUED, [event], at, rings=True)

    def start(self, run_id: RunId, at: float) -> bool:
        """NOT_STARTED to STARTING, past the queue; False where it does not stand there."""
        event = RunStarting(run_id=run_id, at=at)
        return self._move(run_id, (RunStatus.NOT_STARTED,), RunStatus.STARTING, [event], at, rings=True)

    def cancel_unstarted(self, run_id: RunId, reason: str, at: float) -> bool:
        """End a run that nobody drives yet; False where somebody may."""
        return self._move(run_id, _UNSTARTED, RunStatus.CANCELED, _canceled(run_id, reason, at), at)

    def fail_unstarted(self, run_id: RunId, reason: str, at: float) -> bool:
        """The same, as a failure, also for a run that was to start."""
        event = RunFailed(run_id=run_id, at=at, reason=reason)
        return self._move(run_id, (*_UNSTARTED, RunStatus.STARTING), RunStatus.FAILURE, [event], at)

    def _move(
        self,
        run_id: RunId,
        before: Iterable[RunStatus],
        after: RunStatus,
        events: Sequence[AnyEvent],
        at: float,
        rings: bool = False,
    ) -> bool:
        with self._writing(rings=rings) as connection:
            query = select(runs.c.status).where(runs.c.run_id == run_id).with_for_update()
            if connection.execute(query).scalar_one_or_none() not in {status.value for status in before}:
                return False
            turn = SqlTurn(connection, self._statements)
            turn.append(run_id, events)
            turn.set_status(run_id, after, at)
            turn.write()
            if after.is_final:
                _take_from_its_driver(connection, [run_id])
            return True

    def request_cancel(self, run_id: RunId, reason: str) -> None:
        """Durable; who drives the run sees it."""
        with self._writing(rings=True) as connection:
            connection.execute(update(runs).where(runs.c.run_id == run_id).values(cancel=reason))

    def cancel_runs(self, run_ids: Sequence[RunId], reason: str, at: float) -> None:
        for start in range(0, len(run_ids), _AT_ONCE):
            with self._writing(rings=True) as connection:
                self._cancel(connection, run_ids[start : start + _AT_ONCE], reason, at)

    def _cancel(self, connection: Connection, run_ids: Sequence[RunId], reason: str, at: float) -> None:
        query = select(runs.c.run_id, runs.c.status).where(runs.c.run_id.in_(run_ids), runs.c.status.in_(OPEN))
        there = {RunId(row.run_id): RunStatus(row.status) for row in connection.execute(query.with_for_update())}
        turn = SqlTurn(connection, self._statements)
        for run_id in [each for each, status in there.items() if status in _UNSTARTED]:
            turn.append(run_id, _canceled(run_id, reason, at))
            turn.set_status(run_id, RunStatus.CANCELED, at)
        turn.write()
        _take_from_its_driver(connection, [run_id for run_id, status in there.items() if status in _UNSTARTED])
        driven = [run_id for run_id, status in there.items() if status not in _UNSTARTED]
        asked = update(runs).where(runs.c.run_id.in_(driven), runs.c.cancel.is_(None))
        connection.execute(asked.values(cancel=reason))

    def wait_for_bell(self, timeout: float) -> bool:
        return self._bell.wait(timeout)

    def ring_bell(self) -> None:
        with self._writing(rings=True):
            pass

    def open_runs(self) -> list[OpenRun]:
        """Those that have not ended, oldest first."""
        return [
            OpenRun(RunId(run_id), RunStatus(status), shard or "", cancel, retagged)
            for run_id, status, shard, cancel, retagged in self._read_all(self._statements.open_runs)
        ]

    def statuses(self, run_ids: Sequence[RunId]) -> dict[RunId, RunStatus]:
        """Of runs that are there."""
        found: dict[RunId, RunStatus] = {}
        for start in range(0, len(run_ids), _AT_ONCE):
            query = select(runs.c.run_id, runs.c.status).where(runs.c.run_id.in_(run_ids[start : start + _AT_ONCE]))
            found.update({RunId(row.run_id): RunStatus(row.status) for row in self._all(query)})
        return found

    # ---- what is forgotten ------------------------------------------------------------------------------------------

    def old_runs(self, before: float | None, kept: int | None, limit: int) -> list[RunId]:
        """Runs that have ended and are not ``needed``, oldest first: earlier than ``before``, or beyond the newest
        ``kept``.
        """
        old: list[Any] = [] if before is None else [runs.c.ended < before]
        if kept is not None:
            newest = select(runs.c.id).order_by(runs.c.id.desc()).offset(kept).limit(1).scalar_subquery()
            old.append(runs.c.id <= newest)
        ended = select(runs.c.run_id).where(or_(*old), runs.c.status.not_in(OPEN), *_NOT_NEEDED) if old else None
        found = self._all(ended.order_by(runs.c.id).limit(limit)) if ended is not None else ()
        return [RunId(row.run_id) for row in found]

    def needed(self, run_ids: Sequence[RunId]) -> dict[RunId, RunId]:
        query = select(run_tags.c.value, runs.c.run_id).join(runs, runs.c.id == run_tags.c.run)
        query = query.where(run_tags.c.key == ROOT_TAG)
        going = {row.value: RunId(row.run_id) for row in self._all(query.where(runs.c.status.in_(OPEN)))}
        if not going:
            return {}
        roots: dict[RunId, str] = {run_id: run_id for run_id in run_ids}
        for start in range(0, len(run_ids), _AT_ONCE):
            these = query.where(runs.c.run_id.in_(run_ids[start : start + _AT_ONCE]))
            roots |= {RunId(row.run_id): row.value for row in self._all(these)}
        return {run_id: going[root] for run_id, root in roots.items() if going.get(root, run_id) != run_id}

    def purge_contents(self, limit: int) -> int:
        """Forget plans and snapshots that no run has any more; gives how many."""
        used = (exists().where(column == contents.c.hash) for column in (runs.c.plan, runs.c.snapshot))
        unused = select(contents.c.hash).where(*(~each for each in used)).limit(limit)
        found = [row.hash for row in self._all(unused)]  # nobody who writes waits for that
        if not found:
            return 0
        try:
            with self._writing() as connection:
                return connection.execute(delete(contents).where(contents.c.hash.in_(found))).rowcount
        except IntegrityError:  # a run was stored meanwhile that has one of them
            return 0

    # ---- leases ----------------------------------------------------------------------------------------------------

    def hold(self, name: str, owner: str, seconds: float) -> Lease | None:
        """Take a lease, or keep it. None while somebody else has it."""
        with self._writing() as connection:
            self._statements.add_lease(connection, {"name": name, "epoch": 0})
            row = connection.execute(select(leases).where(leases.c.name == name).with_for_update()).one()
            now = self._clock_of_leases(connection)
            mine = row.owner == owner
            if not mine and row.owner is not None and not is_over(row.expires or 0.0, now, seconds):
                return None
            epoch = row.epoch if mine else row.epoch + 1
            values = {"owner": owner, "expires": now + seconds, "epoch": epoch}
            connection.execute(update(leases).where(leases.c.name == name).values(**values))
            return Lease(owner, time.time() + seconds, epoch)

    def take_from_drivers(self, run_ids: Sequence[RunId]) -> None:
        """Whoever has a lease of one of these runs has it no more."""
        for start in range(0, len(run_ids), _AT_ONCE):
            with self._writing() as connection:
                _take_from_its_driver(connection, run_ids[start : start + _AT_ONCE])

    def let_go(self, name: str, owner: str) -> None:
        """Others may take it at once."""
        with self._writing() as connection:
            mine = (leases.c.name == name, leases.c.owner == owner)
            connection.execute(update(leases).where(*mine).values(owner=None, expires=None))

    def held(self) -> dict[str, Lease]:
        """Leases by name, expired ones too."""
        query = select(leases).where(leases.c.owner.is_not(None))
        return {row.name: Lease(row.owner, zero + (row.expires or 0.0), row.epoch) for row, zero in self._leases(query)}

    # ---- what the web shows ------------------------------------------------------------------------------------------

    def tag_keys(self) -> list[str]:
        return [row.key for row in self._all(select(run_tags.c.key).distinct().order_by(run_tags.c.key))]

    def tag_values(self, key: str, prefix: str = "", limit: int = 100) -> list[str]:
        query = select(run_tags.c.value).where(run_tags.c.key == key).distinct().order_by(run_tags.c.value)
        if prefix:
            query = query.where(run_tags.c.value.startswith(prefix, autoescape=True))
        return [row.value for row in self._all(query.limit(limit))]

    def contents(self, hashes: Iterable[str]) -> dict[str, bytes]:
        query = select(contents).where(contents.c.hash.in_(sorted(set(hashes))))
        return {row.hash: row.body for row in self._all(query)}

    def content_lengths(self, hashes: Iterable[str]) -> dict[str, int]:
        query = select(contents.c.hash, func.length(contents.c.body).label("length"))
        return {row.hash: row.length for row in self._all(query.where(contents.c.hash.in_(sorted(set(hashes)))))}

    def last_runs(self, location: str, jobs: Sequence[str], limit: int) -> dict[str, list[RunRecord]]:
        latest = select(runs).order_by(runs.c.id.desc())
        # Those that do not say where they are of have a query of their own: with OR, all runs of the job would be read.
        of_some = runs.c.location == location, runs.c.location.is_(None)
        each = [latest.where(runs.c.job == job, of) for job in jobs for of in of_some]
        found: dict[str, list[RunRecord]] = {}
        for row in sorted(self._first_of(each, limit), key=lambda row: -row.id):
            of_job = found.setdefault(row.job, [])
            if len(of_job) < limit:
                of_job.append(record_of(row))
        return found

    def steps_of(self, run_ids: Sequence[RunId], status: StepStatus | None = None) -> dict[RunId, list[StepRecord]]:
        query = select(steps).where(steps.c.run_id.in_(list(run_ids)))
        if status is not None:
            query = query.where(steps.c.status == status.value)
        found: dict[RunId, list[StepRecord]] = {}
        for row in self._all(query.order_by(steps.c.started.is_(None), steps.c.started, steps.c.step)):
            found.setdefault(RunId(row.run_id), []).append(_step(row))
        return found

    def step_counts(self, run_ids: Sequence[RunId]) -> dict[RunId, dict[StepStatus, int]]:
        query = select(steps.c.run_id, steps.c.status, func.count().label("steps"))
        query = query.where(steps.c.run_id.in_(list(run_ids))).group_by(steps.c.run_id, steps.c.status)
        found: dict[RunId, dict[StepStatus, int]] = {}
        for row in self._all(query):
            found.setdefault(RunId(row.run_id), {})[StepStatus(row.status)] = row.steps
        return found

    def running_steps(self, limit: int = 500) -> list[tuple[RunId, StepRecord]]:
        going = select(runs.c.run_id).where(runs.c.status.in_(OPEN))
        query = select(steps).where(steps.c.run_id.in_(going), steps.c.status == StepStatus.RUNNING.value)
        return [(RunId(row.run_id), _step(row)) for row in self._all(query.order_by(steps.c.started).limit(limit))]

    def last_by_tag(self, location: str, job: str, key: str) -> dict[str, tuple[RunId, RunStatus, int]]:
        newest = select(func.max(run_tags.c.run).label("run"), run_tags.c.value)
        newest = newest.join(runs, runs.c.id == run_tags.c.run)
        newest = newest.where(run_tags.c.key == key, runs.c.job == job, of_location(location))
        last = newest.group_by(run_tags.c.value).subquery()
        query = select(last.c.value, runs.c.run_id, runs.c.status, runs.c.id).join(runs, runs.c.id == last.c.run)
        return {row.value: (RunId(row.run_id), RunStatus(row.status), row.id) for row in self._all(query)}

    def identity(self) -> str:
        found = self.report(_IDENTITY)
        if found is None:
            with self._writing() as connection:
                new = {"name": _IDENTITY, "at": time.time(), "body": uuid.uuid4().hex[:12]}
                self._statements.add_report(connection, new)
            found = self.report(_IDENTITY)  # another process may have been the first
        assert found is not None
        return found[1].decode()

    def report(self, name: str) -> tuple[float, bytes] | None:
        row = self._one(select(reports.c.at, reports.c.body).where(reports.c.name == name))
        return None if row is None else (row.at, row.body.encode())

    def put_report(self, name: str, body: bytes, at: float) -> None:
        with self._writing() as connection:
            self._statements.upsert_report(connection, {"name": name, "at": at, "body": body.decode()})

    def add_audit(self, entry: AuditEntry) -> None:
        with self._writing() as connection:
            row = {"at": entry.at, "who": entry.who, "action": entry.action, "about": entry.about}
            connection.execute(insert(audit), {**row, "outcome": entry.outcome})

    def audit(self, limit: int = 100) -> list[AuditEntry]:
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        return [AuditEntry(row.at, row.who, row.action, row.about, row.outcome, row.id) for row in self._all(query)]


def of_location(name: str) -> Any:
    """Runs of before that was kept are of each."""
    return or_(runs.c.location == name, runs.c.location.is_(None))


def _latest(origins: Sequence[str]) -> Any:
    """From each launched run on from retry to retry, to the one that has none."""
    first = select(launches.c.origin, launches.c.key, launches.c.at, launches.c.run_id)
    chain = first.where(launches.c.origin.in_(origins)).cte(recursive=True)
    retry, later = launches.alias(), launches.alias()
    more = select(chain.c.origin, chain.c.key, chain.c.at, retry.c.run_id)
    chain = chain.union_all(more.join_from(chain, retry, retry.c.origin == RETRY + chain.c.run_id))
    return select(chain).where(~exists().where(later.c.origin == RETRY + chain.c.run_id)).subquery()


def _take_from_its_driver(connection: Connection, run_ids: Sequence[RunId]) -> None:
    """A process that is about to start these runs is not to: nothing of its lease holds any more."""
    fenced = update(runs).where(runs.c.run_id.in_(run_ids))
    connection.execute(fenced.values(owner=None, owner_expires=None, epoch=runs.c.epoch + 1))


def _canceled(run_id: RunId, reason: str, at: float) -> list[AnyEvent]:
    return [RunCanceling(run_id=run_id, at=at, reason=reason), RunCanceled(run_id=run_id, at=at)]


def _step(row: Any) -> StepRecord:
    return StepRecord(StepKey(row.step), StepStatus(row.status), row.attempt, row.started, row.ended, row.worker)
