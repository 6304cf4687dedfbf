"""What the service needs: shards, requests to cancel, launches that happen once, schedules, sensors, ticks, pools."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_of_runs = sa.text("type >= 'PIPELINE' AND type < 'PIPELINF'")


def upgrade() -> None:
    op.add_column("runs", sa.Column("shard", sa.String(255)))
    op.add_column("runs", sa.Column("cancel", sa.Text))
    op.create_index("runs_by_shard", "runs", ["shard", "status"])
    op.create_index("run_events", "events", ["id"], sqlite_where=_of_runs, postgresql_where=_of_runs)
    op.create_table(
        "leases",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("owner", sa.String(255)),
        sa.Column("expires", sa.Float),
        sa.Column("epoch", sa.Integer, nullable=False),
    )
    op.create_table(
        "launches",
        sa.Column("origin", sa.String(255), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("run_id", sa.String(128), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "instigators",
        sa.Column("location", sa.String(255), primary_key=True),
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16)),
        sa.Column("since", sa.Float),
        sa.Column("ticked", sa.Float),
        sa.Column("completed", sa.Float),
        sa.Column("cursor", sa.Text),
        sa.Column("last_run_key", sa.Text),
    )
    op.create_table(
        "ticks",
        sa.Column("id", _counter, primary_key=True, autoincrement=True),
        sa.Column("location", sa.String(255), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("ended", sa.Float, nullable=False),
        sa.Column("run_ids", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("log", sa.Text, nullable=False),
    )
    op.create_index("ticks_by_instigator", "ticks", ["location", "name", "id"])
    op.create_table(
        "pools",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("slots", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    for table in ("pools", "ticks", "instigators", "launches", "leases"):
        op.drop_table(table)
    op.drop_index("run_events", "events")
    op.drop_index("runs_by_shard", "runs")
    op.drop_column("runs", "cancel")
    op.drop_column("runs", "shard")
