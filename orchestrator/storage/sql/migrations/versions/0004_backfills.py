"""Backfills: runs of many partitions, launched in the background; slots of pools that are in use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backfills",
        sa.Column("backfill_id", sa.String(64), primary_key=True),
        sa.Column("location", sa.String(255), nullable=False),
        sa.Column("job", sa.String(255), nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("partitions", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("error", sa.Text),
    )
    op.create_index("backfills_by_status", "backfills", ["status", "created"])
    op.create_table(
        "slots",
        sa.Column("run_id", sa.String(128), primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("pool", sa.String(255), nullable=False),
        sa.Column("since", sa.Float, nullable=False),
    )
    op.create_index("slots_by_pool", "slots", ["pool"])


def downgrade() -> None:
    op.drop_table("slots")
    op.drop_table("backfills")
