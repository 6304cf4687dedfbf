"""What one transaction writes about runs, in few statements; and a run as it is read back."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec
from sqlalchemy import Connection

from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import AnyEvent
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.contracts.told import Report
from opgrid.contracts.wire import decode_brief, encode_brief
from opgrid.ids import RunId
from orchestrator.engine.pools import Slot
from orchestrator.storage.projection import changes
from orchestrator.storage.records import ROOT_TAG, RunRecord
from orchestrator.storage.sql.log import rows_of
from orchestrator.storage.sql.statements import Fence, Row, Statements, in_one_trip, refused
from orchestrator.storage.sql.tables import runs

_LONGEST_KEY = 255
_SAID = {status: status.value for status in StepStatus}  # to ask each for its value takes ten times as long


class SqlTurn:
    """Gathers what a turn says and writes it in few statements."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements
        self._fence: tuple[Fence, str, int] | None = None
        self._whose = ""  #: lease that is to be, for the error
        self.held: tuple[str, int] | None = None  #: the lease by name that fences it, and its epoch
        self.told: dict[RunId, list[Report]] = {}
        self._contents: dict[str, bytes] = {}
        self._runs: list[Mapping[str, Any]] = []
        self._tags: list[Mapping[str, Any]] = []
        self._statuses: list[Mapping[str, Any]] = []
        self._ended: dict[RunId, Mapping[str, Any]] = {}
        self._positions: list[Mapping[str, Any]] = []
        self._freed: list[Mapping[str, Any]] = []

    def insert_run(
        self,
        record: RunRecord,
        plan: bytes,
        snapshot: bytes,
        first: Sequence[AnyEvent],
        owner: str | None = None,
        owner_expires: float | None = None,
    ) -> None:
        self._contents |= {record.plan: plan, record.snapshot: snapshot}
        self._runs.append(
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
                "owner": owner,
                "owner_expires": owner_expires,
                "epoch": 0 if owner is None else 1,
                "shard": record.brief.stream,
                "location": record.location or None,
            }
        )
        root = record.root_run_id
        self.tag(record.run_id, record.tags if root is None else {**record.tags, ROOT_TAG: root})
        if first:
            self.append(record.run_id, first)

    def tag(self, run_id: RunId, tags: Mapping[str, str]) -> None:
        """Over those that the run has."""
        self._tags += [{"of": run_id, "tag": key[:_LONGEST_KEY], "said": str(value)} for key, value in tags.items()]

    def append(self, run_id: RunId, events: Sequence[Report]) -> None:
        self.told.setdefault(run_id, []).extend(events)

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        """Final is final, whoever ended it."""
        now = {"of": run_id, "status_now": status.value}
        if status.is_final:
            self._ended.setdefault(run_id, {**now, "ended_at": at})
        else:
            self._statuses.append({**now, "started_at": at if status is RunStatus.STARTED else None})

    def ends(self, run_id: RunId) -> bool:
        return run_id in self._ended

    def free_slots(self, slots: Sequence[Slot]) -> None:
        self._freed += [{"of": slot.run_id, "whose": slot.step} for slot in slots]

    def set_position(self, stream: str, position: str) -> None:
        self._positions.append({"stream": stream, "position": position})

    def only_of_owner(self, run_id: RunId, epoch: int) -> None:
        self._fence, self._whose = (self._statements.owned, run_id, epoch), f"Run {run_id}"

    def only_of_holder(self, name: str, epoch: int) -> None:
        self._fence, self._whose = (self._statements.held, name, epoch), name
        self.held = name, epoch

    def write(self, commits: bool = False) -> int:
        """How many events that were. ``commits``: with it, the transaction ends."""
        with refused(self._whose):
            return self._write(commits)

    def _write(self, commits: bool) -> int:
        said, connection = self._statements, self._connection
        events = self._rows_of_events()
        if said.insert_events.copies(events):
            with in_one_trip(connection):
                self._check_fence()
                self._write_runs()  # first: who writes for one has its row before its events are counted
            said.insert_events(connection, events)
            events = []
        with in_one_trip(connection):
            self._check_fence()
            self._write_runs()
            if events:
                said.insert_events(connection, events)
            if steps := self._rows_of_steps():
                said.upsert_steps(connection, steps)
            if commits and (transaction := connection.get_transaction()) is not None:
                transaction.commit()
        return sum(map(len, self.told.values()))

    def _check_fence(self) -> None:
        """Once, before anything is written."""
        if self._fence is not None:
            fence, of, epoch = self._fence
            self._fence = None
            fence(self._connection, of, epoch, self._whose)
            if self.held is not None and self.told:
                self._statements.going(self._connection, list(self.told), self._whose)

    def _write_runs(self) -> None:
        """Once."""
        said = self._statements
        for statement, rows in (
            (said.keep_content, [{"hash": hash, "body": self._contents[hash]} for hash in self._contents]),
            (said.insert_run, self._runs),
            (said.tag_run, self._tags),
            (said.set_status, self._statuses),
            (said.end_run, list(self._ended.values())),
            (said.upsert_position, self._positions),
            (said.free_slot, self._freed),
        ):
            if rows:
                statement(self._connection, *rows)
        self._contents, self._runs, self._tags, self._statuses, self._positions = {}, [], [], [], []
        self._ended, self._freed = {}, []

    def _rows_of_events(self) -> list[Row]:
        rows = [row for run_id, events in self.told.items() for row in rows_of(run_id, events)]
        if not rows or self._statements.last_event is None:
            return rows
        (last,) = self._statements.last_event.first(self._connection) or (None,)
        numbers = accumulate((row[-1] for row in rows), initial=last or 0)
        next(numbers)
        return [(number, *row) for number, row in zip(numbers, rows, strict=True)]

    def _rows_of_steps(self) -> list[Row]:
        return [
            (run_id, step, _SAID[change.status], change.attempt, change.started, change.ended, change.worker)
            for run_id, events in self.told.items()
            for step, change in changes(events).items()
        ]


_Run = namedtuple("_Run", runs.c.keys())  # type: ignore[misc]


def record_of_columns(row: Row) -> RunRecord:
    """Of all columns, in their order, as a driver gives them."""
    return record_of(_Run(*row))


def record_of(row: Any) -> RunRecord:
    """Of a row that names its columns."""
    return RunRecord(
        run_id=RunId(row.run_id),
        job=row.job,
        status=RunStatus(row.status),
        brief=decode_brief(row.brief),
        plan=row.plan,
        snapshot=row.snapshot,
        code=json_decoder(CodeTarget).decode(row.code) if row.code else None,
        created=row.created,
        started=row.started,
        ended=row.ended,
        cancel=row.cancel,
    )
