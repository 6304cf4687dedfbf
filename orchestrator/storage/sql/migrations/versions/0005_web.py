"""What the web shows: tags of runs, workers of steps, what was decided and done by whom, what services report."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_BATCH = 1000


def upgrade() -> None:
    op.add_column("steps", sa.Column("worker", sa.String(255)))
    tags = op.create_table(
        "run_tags",
        sa.Column("run", _counter, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_index("run_tags_by_key", "run_tags", ["key", "value", "run"])
    op.create_table(
        "audit",
        sa.Column("id", _counter, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
    )
    op.create_table(
        "reports",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "gates",
        sa.Column("run_id", sa.String(128), primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("due", sa.Float),
        sa.Column("approved", sa.Integer),
        sa.Column("who", sa.String(255)),
        sa.Column("note", sa.Text),
    )
    connection = op.get_bind()
    runs = sa.table("runs", sa.column("id"), sa.column("brief"))
    last = 0
    while found := connection.execute(sa.select(runs).where(runs.c.id > last).order_by(runs.c.id).limit(_BATCH)).all():
        last = found[-1].id
        rows = [
            {"run": row.id, "key": key[:255], "value": value}
            for row in found
            for key, value in _tags(json.loads(row.brief)).items()
        ]
        if rows:
            connection.execute(sa.insert(tags), rows)


def _tags(brief: dict[str, Any]) -> dict[str, str]:
    root = brief.get("root_run_id")
    return {**(brief.get("tags") or {}), **({"opgrid/root_run_id": root} if root else {})}


def downgrade() -> None:
    op.drop_table("gates")
    op.drop_table("reports")
    op.drop_table("audit")
    op.drop_table("run_tags")
    op.drop_column("steps", "worker")
