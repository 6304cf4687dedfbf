"""What a turn executes, built once: to build a statement costs more than to run it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Executable, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.storage.sql.tables import contents, events, positions, runs, steps


@dataclass(frozen=True, slots=True)
class Statements:
    insert_events: Executable
    upsert_steps: Executable
    upsert_position: Executable
    keep_content: Executable
    owner: Executable  #: of the run ``of``, locked until the transaction ends
    set_owner: Executable  #: of the run ``of``


@cache
def statements_for(dialect: str) -> Statements:
    """``dialect`` is ``sqlite`` or ``postgresql``."""
    upsert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    step, position = upsert(steps), upsert(positions)
    return Statements(
        insert_events=insert(events),
        upsert_steps=step.on_conflict_do_update(
            index_elements=[steps.c.run_id, steps.c.step],
            set_={
                "status": step.excluded.status,
                "attempt": step.excluded.attempt,
                "started": func.coalesce(step.excluded.started, steps.c.started),
                "ended": step.excluded.ended,
            },
        ),
        upsert_position=position.on_conflict_do_update(
            index_elements=[positions.c.stream], set_={"position": position.excluded.position}
        ),
        keep_content=upsert(contents).on_conflict_do_nothing(index_elements=[contents.c.hash]),
        # SQLite's writing transactions exclude each other: it has no row locks, and SQLAlchemy leaves them out there.
        owner=select(runs.c.owner, runs.c.owner_expires, runs.c.epoch)
        .where(runs.c.run_id == bindparam("of"))
        .with_for_update(),
        set_owner=update(runs)
        .where(runs.c.run_id == bindparam("of"))
        .values(owner=bindparam("owner"), owner_expires=bindparam("owner_expires"), epoch=bindparam("epoch")),
    )
