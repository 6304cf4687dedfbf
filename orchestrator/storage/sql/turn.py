"""What one transaction writes about runs, in few statements; and a run as it is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, insert, select

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.contracts.wire import decode_brief, encode_brief, encode_event
from opgrid.ids import RunId
from orchestrator.storage.projection import changes
from orchestrator.storage.records import ROOT_TAG, RunRecord
from orchestrator.storage.sql.statements import Row, Statements
from orchestrator.storage.sql.tables import leases, runs

_LONGEST_KEY = 255
_TYPES: dict[type, str] = {kind: kind.TYPE.value for kind in get_args(AnyEvent)}


class SqlTurn:
    """Gathers what a turn says and writes it in few statements."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements
        self._events: list[Row] = []
        self._told: dict[RunId, list[AnyEvent]] = {}

    def insert_run(self, record: RunRecord, plan: bytes, snapshot: bytes, first: Sequence[AnyEvent]) -> None:
        stored = [{"hash": record.plan, "body": plan}, {"hash": record.snapshot, "body": snapshot}]
        self._statements.keep_content(self._connection, *stored)
        stored_as = self._connection.execute(
            insert(runs),
            {
                "run_id": record.run_id,
                "job": record.job,
                "status": record.status.value,
                "brief": encode_brief(record.brief).decode(),
                "code": msgspec.json.encode(record.code).decode() if record.code else None,
                "plan": record.plan,
                "snapshot": record.snapshot,
                "created": record.created,
                "started": record.started,
                "ended": record.ended,
                "epoch": 0,
                "shard": record.brief.stream,
            },
        )
        (number,) = stored_as.inserted_primary_key or (0,)
        root = record.root_run_id
        self.insert_tags(number, record.tags if root is None else {**record.tags, ROOT_TAG: root})
        if first:
            self.append(record.run_id, first)

    def insert_tags(self, number: int, tags: Mapping[str, str]) -> None:
        """Of a run that had none of these yet, by its number."""
        rows = [{"run": number, "key": key[:_LONGEST_KEY], "value": str(value)} for key, value in tags.items()]
        if rows:
            self._statements.upsert_tag(self._connection, *rows)

    def append(self, run_id: RunId, events: Sequence[AnyEvent]) -> None:
        self._told.setdefault(run_id, []).extend(events)
        self._events.extend(
            [
                (
                    run_id,
                    _TYPES[type(event)],
                    getattr(event, "step", None) or None,
                    event.at,
                    encode_event(event).decode(),
                )
                for event in events
            ]
        )

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        """Final is final, whoever ended it."""
        started = at if status is RunStatus.STARTED else None
        ended = at if status.is_final else None
        now = {"of": run_id, "status_now": status.value, "started_at": started, "ended_at": ended}
        self._statements.set_status(self._connection, now)

    def set_position(self, stream: str, position: str) -> None:
        self._statements.upsert_position(self._connection, {"stream": stream, "position": position})

    def still(self, run_id: RunId, epoch: int) -> bool:
        row = self._statements.owner(self._connection, {"of": run_id}).one_or_none()
        return row is not None and row.epoch == epoch

    def holds(self, name: str, epoch: int) -> bool:
        query = select(leases.c.epoch).where(leases.c.name == name).with_for_update()
        return self._connection.execute(query).scalar_one_or_none() == epoch

    def write(self) -> None:
        if self._events:
            self._statements.insert_events(self._connection, self._events)
        steps = [
            (run_id, step, change.status.value, change.attempt, change.started, change.ended, change.worker)
            for run_id, events in self._told.items()
            for step, change in changes(events).items()
        ]
        if steps:
            self._statements.upsert_steps(self._connection, steps)


def record_of(row: Any) -> RunRecord:
    return RunRecord(
        run_id=RunId(row.run_id),
        job=row.job,
        status=RunStatus(row.status),
        brief=decode_brief(row.brief),
        plan=row.plan,
        snapshot=row.snapshot,
        code=msgspec.json.decode(row.code, type=CodeTarget) if row.code else None,
        created=row.created,
        started=row.started,
        ended=row.ended,
        cancel=row.cancel,
    )
