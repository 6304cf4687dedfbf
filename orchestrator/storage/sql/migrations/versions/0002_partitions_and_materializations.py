"""Keys of dynamic partitions, and finding what ops materialized."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_materialized = sa.text("type = 'ASSET_MATERIALIZATION'")


def upgrade() -> None:
    op.create_table(
        "partitions",
        sa.Column("id", _counter, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.UniqueConstraint("name", "key"),
    )
    op.create_index("materializations", "events", ["id"], sqlite_where=_materialized, postgresql_where=_materialized)


def downgrade() -> None:
    op.drop_index("materializations", "events")
    op.drop_table("partitions")
