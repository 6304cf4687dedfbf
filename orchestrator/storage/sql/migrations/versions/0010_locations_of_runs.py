"""Runs say which code location they are of; those that are there already do not, and count as of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("location", sa.String(255)))


def downgrade() -> None:
    op.drop_column("runs", "location")
