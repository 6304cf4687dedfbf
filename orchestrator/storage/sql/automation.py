"""What schedules, sensors and backfills have done and are to do, in SQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import ErrorInfo
from opgrid.crash_points import reach
from opgrid.definitions.run_request import AddDynamicPartitionsRequest, DynamicPartitionsRequest
from opgrid.ids import RunId
from orchestrator.storage.service_records import (
    Backfill,
    BackfillOptions,
    BackfillStatus,
    Instigator,
    InstigatorKind,
    NewRun,
    Tick,
    TickStatus,
)
from orchestrator.storage.sql.service import ServiceTables
from orchestrator.storage.sql.statements import insert_for
from orchestrator.storage.sql.tables import backfills, instigators, partitions, ticks

_INSTIGATORS = select(instigators).order_by(instigators.c.location, instigators.c.name)
_AT_ONCE = 500  #: partitions that one statement names
_LAUNCHED = "What it asked for was launched before."
#: Columns that are not named as their fields are.
_COLUMNS = {"running": "status"}


class AutomationTables(ServiceTables):
    # ---- schedules and sensors -------------------------------------------------------------------------------------

    def instigators(self) -> list[Instigator]:
        """Those that were started or stopped, or have ticked."""
        return [
            Instigator(
                row.location,
                row.name,
                InstigatorKind(row.kind),
                None if row.status is None else row.status == "RUNNING",
                row.since,
                row.ticked,
                row.completed,
                row.cursor,
                row.last_run_key,
            )
            for row in self._all(_INSTIGATORS)
        ]

    def set_instigator(self, state: Instigator, only: Collection[str] = ()) -> None:
        """Of one that is stored already ``only`` these fields are changed; none named: all."""
        with self._writing() as connection:
            row = _row_of(state)
            changed = {_COLUMNS.get(name, name): row[_COLUMNS.get(name, name)] for name in only} or row
            new = insert_for(self._engine.dialect)(instigators).values(row)
            here = [instigators.c.location, instigators.c.name]
            connection.execute(new.on_conflict_do_update(index_elements=here, set_=changed))

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
        with self._writing(rings=bool(new)) as connection:
            if not self._is_still(connection, before):
                return None
            for request in requests:
                self._change_partitions(connection, request)
            launched = self._launch(connection, new)
            self._statements.tick_instigator(connection, _row_of(state))
            if tick is not None and new and not launched:
                tick = dataclasses.replace(tick, status=TickStatus.SKIPPED, reason=_LAUNCHED)
            if tick is not None:
                connection.execute(insert(ticks), _tick_row(tick, launched))
            reach("tick before")
        reach("tick after")
        return launched

    def _is_still(self, connection: Connection, before: Instigator) -> bool:
        query = select(instigators.c.ticked, instigators.c.completed, instigators.c.cursor).where(*_same(before))
        row = connection.execute(query.with_for_update()).one_or_none()
        found = (None, None, None) if row is None else tuple(row)
        return found == (before.ticked, before.completed, before.cursor)

    def _change_partitions(self, connection: Connection, request: DynamicPartitionsRequest) -> None:
        name, keys = request.partitions_def_name, list(request.partition_keys)
        if isinstance(request, AddDynamicPartitionsRequest):
            if keys:
                self._statements.add_partition(connection, *({"name": name, "key": key} for key in keys))
        else:
            forget_partitions(connection, name, keys)

    def ticks(self, location: str, name: str, limit: int = 25) -> list[Tick]:
        """Newest first."""
        return self.last_ticks([(location, name)], limit).get((location, name), [])

    def last_ticks(self, of: Sequence[tuple[str, str]], limit: int) -> dict[tuple[str, str], list[Tick]]:
        each = [
            select(ticks).where(ticks.c.location == location, ticks.c.name == name).order_by(ticks.c.id.desc())
            for location, name in of
        ]
        found: dict[tuple[str, str], list[Tick]] = {}
        for row in self._first_of(each, limit):
            found.setdefault((row.location, row.name), []).append(_tick(row))
        return found

    def purge_ticks(self, before: float, statuses: Iterable[TickStatus]) -> int:
        """Forget those that ended earlier; gives how many."""
        with self._writing() as connection:
            old = (ticks.c.ended < before, ticks.c.status.in_([status.value for status in statuses]))
            return connection.execute(delete(ticks).where(*old)).rowcount

    def trim_ticks(self, location: str, name: str, kept: int) -> int:
        """Forget all but the newest of a schedule or sensor; gives how many."""
        its = (ticks.c.location == location, ticks.c.name == name)
        with self._writing() as connection:
            query = select(ticks.c.id).where(*its).order_by(ticks.c.id.desc()).offset(kept).limit(1)
            last = connection.execute(query).scalar_one_or_none()
            return 0 if last is None else connection.execute(delete(ticks).where(*its, ticks.c.id <= last)).rowcount

    # ---- backfills -------------------------------------------------------------------------------------------------

    def add_backfill(self, backfill: Backfill) -> None:
        with self._writing() as connection:
            row = {
                "backfill_id": backfill.backfill_id,
                "location": backfill.location,
                "job": backfill.job,
                "status": backfill.status.value,
                "partitions": msgspec.json.encode(backfill.partitions).decode(),
                "options": msgspec.json.encode(backfill.options).decode(),
                "created": backfill.created,
            }
            connection.execute(insert(backfills), row)

    def backfills(
        self,
        statuses: Iterable[BackfillStatus] = (),
        limit: int | None = None,
        backfill_id: str | None = None,
        cursor: str | None = None,
    ) -> list[Backfill]:
        """Newest first, those older than the one with the id ``cursor``; of all statuses where none is given."""
        query = select(backfills).order_by(backfills.c.created.desc(), backfills.c.backfill_id).limit(limit)
        wanted = [status.value for status in statuses]
        if wanted:
            query = query.where(backfills.c.status.in_(wanted))
        if cursor is not None:
            last = select(backfills.c.created).where(backfills.c.backfill_id == cursor).scalar_subquery()
            query = query.where(backfills.c.created < last)
        if backfill_id is not None:
            query = query.where(backfills.c.backfill_id == backfill_id)
        return [
            Backfill(
                row.backfill_id,
                row.location,
                row.job,
                tuple(json_decoder(list[str]).decode(row.partitions)),
                json_decoder(BackfillOptions).decode(row.options),
                BackfillStatus(row.status),
                row.created,
                row.ended,
                row.error,
            )
            for row in self._all(query)
        ]

    def move_backfill(
        self,
        backfill_id: str,
        before: BackfillStatus,
        after: BackfillStatus,
        ended: float | None = None,
        error: str | None = None,
    ) -> bool:
        """False where it does not stand at ``before`` any more."""
        here = (backfills.c.backfill_id == backfill_id, backfills.c.status == before.value)
        with self._writing() as connection:
            values = {"status": after.value, "ended": ended, "error": error}
            return connection.execute(update(backfills).where(*here).values(**values)).rowcount == 1


def forget_partitions(connection: Connection, name: str, keys: Sequence[str]) -> None:
    for start in range(0, len(keys), _AT_ONCE):
        some = partitions.c.key.in_(keys[start : start + _AT_ONCE])
        connection.execute(delete(partitions).where(partitions.c.name == name, some))


def _tick_row(tick: Tick, launched: Sequence[RunId]) -> dict[str, Any]:
    return {
        "location": tick.location,
        "name": tick.name,
        "kind": tick.kind.value,
        "at": tick.at,
        "status": tick.status.value,
        "ended": tick.ended,
        "run_ids": msgspec.json.encode(launched).decode(),
        "reason": tick.reason,
        "error": None if tick.error is None else msgspec.json.encode(tick.error).decode(),
        "log": msgspec.json.encode(tick.log).decode(),
    }


def _tick(row: Any) -> Tick:
    return Tick(
        row.location,
        row.name,
        InstigatorKind(row.kind),
        row.at,
        TickStatus(row.status),
        row.ended,
        tuple(json_decoder(list[str]).decode(row.run_ids)),
        row.reason,
        None if row.error is None else json_decoder(ErrorInfo).decode(row.error),
        tuple(json_decoder(list[str]).decode(row.log)),
        row.id,
    )


def _same(state: Instigator) -> tuple[Any, Any]:
    return instigators.c.location == state.location, instigators.c.name == state.name


def _row_of(state: Instigator) -> dict[str, Any]:
    return {
        "location": state.location,
        "name": state.name,
        "kind": state.kind.value,
        "status": None if state.running is None else "RUNNING" if state.running else "STOPPED",
        "since": state.since,
        "ticked": state.ticked,
        "completed": state.completed,
        "cursor": state.cursor,
        "last_run_key": state.last_run_key,
    }
