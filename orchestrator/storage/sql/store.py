"""The store over SQLAlchemy Core: what the run loop writes in one transaction a turn, and what others read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any

from sqlalchemy import Connection, delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.status import RunStatus
from opgrid.contracts.told import Report
from opgrid.contracts.wire import decode_brief, encode_brief
from opgrid.errors import RunAlreadyExists, UnknownCursor, ValueRefused
from opgrid.ids import RunId
from orchestrator.storage.memory import tagged
from orchestrator.storage.records import (
    BACKFILL_TAG,
    Lease,
    LeaseLost,
    RunRecord,
    RunsFilter,
    RunsHaveEnded,
    StepRecord,
)
from orchestrator.storage.service_records import Pulse
from orchestrator.storage.sql.automation import AutomationTables, forget_partitions
from orchestrator.storage.sql.clock import is_over
from orchestrator.storage.sql.deletions import DELETED, deleted_after, last_deletion, note_deletion
from orchestrator.storage.sql.holding import HoldingTables
from orchestrator.storage.sql.log import EventLog, forget_events
from orchestrator.storage.sql.service import of_location
from orchestrator.storage.sql.tables import (
    audit,
    backfills,
    contents,
    events,
    gates,
    instigators,
    partitions,
    positions,
    reports,
    run_tags,
    runs,
    slots,
    steps,
    ticks,
)
from orchestrator.storage.sql.turn import SqlTurn, record_of, record_of_columns


class SqlStore(EventLog, AutomationTables, HoldingTables):
    """Runs, logs and positions. One object per process; its methods may be called from any thread."""

    crosses_processes = True

    # ---- what the loop writes --------------------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[SqlTurn]:
        """Its transaction ends with what it writes: nothing may come behind that."""
        events, runs = 0, dict[RunId, list[Report]]()
        held: tuple[str, int] | None = None
        try:
            with self._writing() as connection:
                turn = SqlTurn(connection, self._statements)
                yield turn
                runs, held = turn.told, turn.held
                events = turn.write(commits=True)
        except LeaseLost as error:
            if held is not None and (over := self._over(runs, *held)):
                raise RunsHaveEnded(over) from error
            raise
        except ValueRefused as error:
            if not runs:
                raise
            raise ValueRefused(error.database, error.problem, self._refused(runs)) from error
        if self._checkpoints is not None:
            self._checkpoints.wrote(events)

    def _over(self, told: Iterable[RunId], name: str, epoch: int) -> list[RunId]:
        """Those of the runs that have ended; none where the lease is lost as well."""
        lease = self.held().get(name)
        if lease is None or lease.epoch != epoch:
            return []
        return [run_id for run_id, status in self.statuses(list(told)).items() if status.is_final]

    def _refused(self, told: Mapping[RunId, Sequence[Report]]) -> tuple[RunId, ...]:
        """Those of the runs whose events are refused."""
        return tuple(run_id for run_id, events in told.items() if not self._takes(run_id, events))

    def _takes(self, run_id: RunId, events: Sequence[Report]) -> bool:
        """Tried, and not stored."""
        try:
            with self._writing() as connection:
                turn = SqlTurn(connection, self._statements)
                turn.append(run_id, events)
                turn.write()
                if (transaction := connection.get_transaction()) is not None:
                    transaction.rollback()
        except ValueRefused:
            return False
        return True

    def create_run(self, record: RunRecord, plan: bytes, snapshot: bytes, first: Sequence[AnyEvent] = ()) -> None:
        with self._creating(record) as connection:
            turn = SqlTurn(connection, self._statements)
            turn.insert_run(record, plan, snapshot, first)
            turn.write()

    def create_own_run(self, record: RunRecord, plan: bytes, snapshot: bytes, owner: str, seconds: float) -> Lease:
        with self._creating(record) as connection:
            turn = SqlTurn(connection, self._statements)
            turn.insert_run(record, plan, snapshot, (), owner, self._clock_of_leases(connection) + seconds)
            turn.write()
        return Lease(owner, time.time() + seconds, 1)

    @contextmanager
    def _creating(self, record: RunRecord) -> Iterator[Connection]:
        """Raises RunAlreadyExists."""
        try:
            with self._writing() as connection:
                yield connection
        except IntegrityError as error:
            raise RunAlreadyExists(f"There is a run {record.run_id!r} already; a new run needs another id.") from error

    def take_lease(self, run_id: RunId, owner: str, seconds: float) -> Lease | None:
        """Become the one who drives this run, or stay it. None while somebody else is, and where there is no such
        run.
        """
        with self._writing() as connection:
            row = self._statements.owner.first(connection, run_id)
            if row is None:
                return None
            held_by, expires, epoch = row
            now = self._clock_of_leases(connection)
            if held_by != owner:
                if held_by is not None and not is_over(expires or 0.0, now, seconds):
                    return None
                epoch += 1
            taken = {"of": run_id, "owner": owner, "owner_expires": now + seconds, "epoch": epoch}
            self._statements.set_owner(connection, taken)
            return Lease(owner, time.time() + seconds, epoch)

    def keep_lease(self, run_id: RunId, owner: str, seconds: float) -> None:
        with self._writing() as connection:
            until = self._clock_of_leases(connection) + seconds
            self._statements.keep_owner(connection, {"of": run_id, "whose": owner, "until": until})

    def lease(self, run_id: RunId) -> Lease | None:
        query = select(runs.c.owner, runs.c.owner_expires, runs.c.epoch).where(runs.c.run_id == run_id)
        for row, zero in self._leases(query.where(runs.c.owner.is_not(None))):
            return Lease(row.owner, zero + (row.owner_expires or 0.0), row.epoch)
        return None

    def drop_lease(self, run_id: RunId, owner: str) -> None:
        with self._writing() as connection:
            self._statements.drop_owner(connection, {"of": run_id, "whose": owner})

    # ---- what others read ------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRecord | None:
        row = self._read_first(self._statements.run, run_id)
        return None if row is None else record_of_columns(row)

    def find(self, prefix: str, limit: int = 10) -> list[RunId]:
        """Run ids that begin so, newest first."""
        query = select(runs.c.run_id).where(runs.c.run_id.startswith(prefix, autoescape=True))
        return [RunId(row.run_id) for row in self._all(query.order_by(runs.c.id.desc()).limit(limit))]

    def runs(
        self,
        wanted: RunsFilter | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        ascending: bool = False,
    ) -> list[RunRecord]:
        order = runs.c.id if ascending else runs.c.id.desc()
        query = _chosen(select(runs), wanted or RunsFilter()).order_by(order).limit(limit)
        if cursor is not None:
            last = select(runs.c.id).where(runs.c.run_id == cursor).scalar_subquery()
            query = query.where(runs.c.id > last if ascending else runs.c.id < last)
        found = [record_of(row) for row in self._all(query)]
        if cursor is not None and not found and self.run(cursor) is None:
            raise UnknownCursor(cursor)
        return found

    def count(self, wanted: RunsFilter | None = None) -> int:
        return int(
            self._one(_chosen(select(func.count().label("runs")).select_from(runs), wanted or RunsFilter())).runs
        )

    def content(self, hash: str) -> bytes:
        row = self._one(select(contents.c.body).where(contents.c.hash == hash))
        if row is None:
            raise KeyError(hash)
        return bytes(row.body)

    def steps(self, run_id: str) -> list[StepRecord]:
        """In the order in which they started; those that did not come last, by key."""
        return self.steps_of([RunId(run_id)]).get(RunId(run_id), [])

    def pulse(self) -> Pulse:
        """What has changed when it is not the same as before."""

        def last(column: Any) -> Any:
            return select(func.max(column)).scalar_subquery()

        row = self._one(
            select(
                last(ticks.c.id).label("tick"),
                select(func.count()).where(instigators.c.status == "RUNNING").scalar_subquery().label("running"),
                last(instigators.c.completed).label("completed"),
                last(backfills.c.created).label("asked"),
                last(backfills.c.ended).label("ended"),
                select(func.count()).where(backfills.c.status == "CANCELING").scalar_subquery().label("ending"),
                select(func.max(reports.c.at)).where(reports.c.name != DELETED).scalar_subquery().label("reports"),
                last_deletion().label("deleted"),
                last(audit.c.id).label("audit"),
            )
        )
        automation = f"{row.running} {row.completed}"
        asked = f"{row.asked} {row.ended} {row.ending}"
        others = row.tick or 0, automation, asked, row.reports or 0.0, row.audit or 0, row.deleted or 0.0
        return Pulse(self.last_event(), *others)

    def position(self, stream: str) -> str:
        row = self._read_first(self._statements.position, stream)
        return "" if row is None else str(row[0])

    def dynamic_partitions(self, name: str) -> list[str]:
        query = select(partitions.c.key).where(partitions.c.name == name).order_by(partitions.c.id)
        return [row.key for row in self._all(query)]

    def add_dynamic_partitions(self, name: str, keys: Sequence[str]) -> None:
        with self._writing() as connection:
            self._statements.add_partition(connection, *({"name": name, "key": key} for key in dict.fromkeys(keys)))

    def delete_dynamic_partitions(self, name: str, keys: Sequence[str]) -> None:
        with self._writing() as connection:
            forget_partitions(connection, name, keys)

    def add_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        with self._writing(rings=True) as connection:
            query = select(runs.c.brief).where(runs.c.run_id == run_id).with_for_update()
            found = connection.execute(query).scalar_one_or_none()
            if found is not None:
                brief = encode_brief(tagged(decode_brief(found), tags)).decode()
                connection.execute(
                    update(runs).where(runs.c.run_id == run_id).values(brief=brief, retagged=runs.c.retagged + 1)
                )
                turn = SqlTurn(connection, self._statements)
                turn.tag(RunId(run_id), tags)
                turn.write()

    def end_run(self, run_id: str, status: RunStatus, events: Sequence[AnyEvent], at: float) -> bool:
        with self._writing(rings=True) as connection:
            shard = connection.execute(select(runs.c.shard).where(runs.c.run_id == run_id)).scalar_one_or_none()
            if shard is not None:  # who writes for it holds this, too: its log stays in the order of its numbers
                self._statements.epoch.first(connection, shard)
            row = self._statements.owner.first(connection, run_id)
            before = connection.execute(select(runs.c.status).where(runs.c.run_id == run_id)).scalar_one_or_none()
            if row is None or before is None or RunStatus(before).is_final:
                return False
            turn = SqlTurn(connection, self._statements)
            turn.append(RunId(run_id), events)
            turn.set_status(RunId(run_id), status, at)
            turn.write()
            gone = {"of": run_id, "owner": None, "owner_expires": None, "epoch": row[2] + 1}
            self._statements.set_owner(connection, gone)
            return True

    def delete_run(self, run_id: str) -> None:
        with self._writing() as connection:
            connection.execute(
                delete(run_tags).where(run_tags.c.run.in_(select(runs.c.id).where(runs.c.run_id == run_id)))
            )
            forget_events(connection, events.c.run_id == run_id)
            for table in (steps, gates, slots):
                connection.execute(delete(table).where(table.c.run_id == run_id))
            was_there = connection.execute(delete(runs).where(runs.c.run_id == run_id)).rowcount > 0
            of_its_own = positions.c.stream.startswith(f"{run_id}/", autoescape=True)
            connection.execute(delete(positions).where(of_its_own))
            if was_there:
                note_deletion(connection, self._statements, run_id)

    def deleted_runs(self, after: float) -> list[RunId] | None:
        with self._reading() as connection:
            return deleted_after(connection, after)


def _is_what_it_says(wanted: RunsFilter) -> Iterator[Any]:
    if wanted.job_name is not None:
        yield runs.c.job == wanted.job_name
    if wanted.snapshot_id is not None:
        yield runs.c.snapshot == wanted.snapshot_id
    if wanted.location is not None:
        yield of_location(wanted.location)


def _chosen(query: Any, wanted: RunsFilter) -> Any:
    if wanted.run_ids:
        query = query.where(runs.c.run_id.in_(wanted.run_ids))
    if wanted.statuses:
        query = query.where(runs.c.status.in_([status.value for status in wanted.statuses]))
    query = query.where(*_is_what_it_says(wanted))
    for key, values in wanted.values_of_tags().items():
        tagged = select(run_tags.c.run).where(run_tags.c.key == key, run_tags.c.value.in_(values))
        query = query.where(runs.c.id.in_(tagged))
    if wanted.exclude_subruns:
        of_backfills = exists().where(run_tags.c.run == runs.c.id, run_tags.c.key == BACKFILL_TAG)
        query = query.where(~of_backfills)
    created_after, created_before, updated_after, updated_before = wanted.times()
    updated = func.coalesce(runs.c.ended, runs.c.started, runs.c.created)
    for column, after, before in (
        (runs.c.created, created_after, created_before),
        (updated, updated_after, updated_before),
    ):
        if after > -inf:
            query = query.where(column > after)
        if before < inf:
            query = query.where(column < before)
    return query
