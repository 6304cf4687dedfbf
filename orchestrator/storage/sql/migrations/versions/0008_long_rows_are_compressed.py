"""Rows of events are compressed where they are long; those that are there stay as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from opgrid.contracts.compact import restored

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_AT_ONCE = 500  #: rows


def upgrade() -> None:
    op.add_column("events", sa.Column("packed", sa.LargeBinary))


def downgrade() -> None:
    events = sa.table(
        "events", sa.column("id", sa.BigInteger), sa.column("body", sa.Text), sa.column("packed", sa.LargeBinary)
    )
    bind = op.get_bind()
    some = sa.select(events.c.id, events.c.packed).where(events.c.packed.is_not(None)).limit(_AT_ONCE)
    while rows := bind.execute(some).all():
        for number, packed in rows:
            unpacked = {"body": restored(packed).decode(), "packed": None}
            bind.execute(sa.update(events).where(events.c.id == number).values(**unpacked))
    op.drop_column("events", "packed")
