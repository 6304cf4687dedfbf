"""Several events share a row; those that are there stay as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MOST = 64  #: events of a row: its number is that of the last one, and as many before it are theirs


def upgrade() -> None:
    op.add_column("events", sa.Column("holds", sa.Integer, nullable=False, server_default="1"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE steps SET (fillfactor = 50)")  # most change once, and find room beside themselves
        op.execute(f"ALTER SEQUENCE events_id_seq INCREMENT BY {_MOST}")
        op.execute(f"SELECT setval('events_id_seq', (SELECT coalesce(max(id), 0) + {_MOST} FROM events), false)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER SEQUENCE events_id_seq INCREMENT BY 1")
        op.execute("ALTER TABLE steps RESET (fillfactor)")
    op.drop_column("events", "holds")
