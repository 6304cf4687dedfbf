"""Runs, their plans, logs, steps and stream positions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "contents",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", _counter, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(128), nullable=False, unique=True),
        sa.Column("job", sa.String(255), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("brief", sa.Text, nullable=False),
        sa.Column("code", sa.Text),
        sa.Column("plan", sa.String(64), sa.ForeignKey("contents.hash"), nullable=False),
        sa.Column("snapshot", sa.String(64), sa.ForeignKey("contents.hash"), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("ended", sa.Float),
        sa.Column("owner", sa.String(255)),
        sa.Column("owner_expires", sa.Float),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
    op.create_index("runs_by_status", "runs", ["status", "id"])
    op.create_index("runs_by_job", "runs", ["job", "id"])
    op.create_table(
        "events",
        sa.Column("id", _counter, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("step", sa.Text),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("events_by_run", "events", ["run_id", "id"])
    op.create_table(
        "steps",
        sa.Column("run_id", sa.String(128), primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("ended", sa.Float),
    )
    op.create_table(
        "positions",
        sa.Column("stream", sa.String(255), primary_key=True),
        sa.Column("position", sa.String(64), nullable=False),
    )


def downgrade() -> None:
    for table in ("positions", "steps", "events", "runs", "contents"):
        op.drop_table(table)
