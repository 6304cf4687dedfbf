"""Which runs were deleted last, and by whatever way: whoever shows one of them is to know."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from opgrid.contracts.decoding import json_decoder
from opgrid.ids import RunId
from orchestrator.storage.sql.statements import Statements
from orchestrator.storage.sql.tables import reports

#: The report that tells of them. Its time is that of the last deletion, and grows with each.
DELETED: Final = "deleted runs"
#: Somewhat more than retention deletes at a time. All are written anew with each.
_KEPT: Final = 64
_STEP: Final = 0.001  #: seconds between two of them, at least

_encode = msgspec.json.Encoder().encode
_deletions = json_decoder(list[tuple[float, RunId]])


def last_deletion() -> Any:
    """A column: 0 for none."""
    return select(reports.c.at).where(reports.c.name == DELETED).scalar_subquery()


def note_deletion(connection: Connection, statements: Statements, run_id: str) -> None:
    mine = _report().with_for_update()
    row = connection.execute(mine).first()
    if row is None:  # another process may be about to make it, too
        statements.add_report(connection, {"name": DELETED, "at": 0.0, "body": "[]"})
        row = connection.execute(mine).one()
    at = max(time.time(), row.at + _STEP)
    body = _encode([*_deletions.decode(row.body), (at, run_id)][-_KEPT:]).decode()
    statements.upsert_report(connection, {"name": DELETED, "at": at, "body": body})


def deleted_after(connection: Connection, at: float) -> list[RunId] | None:
    """None where it is not known any more which."""
    row = connection.execute(_report()).first()
    told = [] if row is None else _deletions.decode(row.body)
    if len(told) == _KEPT and told[0][0] > at:
        return None
    return [run_id for when, run_id in told if when > at]


def _report() -> Any:
    return select(reports.c.at, reports.c.body).where(reports.c.name == DELETED)
