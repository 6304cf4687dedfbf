"""Events of an asset are found by its key, latest runs by code location too, who has a plan or snapshot without
looking at all runs, and backfills by their times. What older versions go on to write names no asset, and is looked
through.
"""

from __future__ import annotations

import contextlib

import msgspec
import sqlalchemy as sa
from alembic import op

from opgrid.contracts.compact import restored
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.wire import encode_legibly
from opgrid.errors import PayloadRejected

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_AT_ONCE = 1000  #: rows
_LONGEST = 255  #: characters
_TYPES = ("ASSET_MATERIALIZATION", "ASSET_OBSERVATION")
_OF_ASSETS = sa.text("asset IS NOT NULL")
_UNNAMED = sa.text("asset IS NULL AND type IN ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION')")


class _Event(msgspec.Struct):
    asset_key: tuple[str, ...]


def upgrade() -> None:
    op.create_index("runs_by_location", "runs", ["job", "location", "id"])
    op.create_index("runs_by_plan", "runs", ["plan"])
    op.create_index("runs_by_snapshot", "runs", ["snapshot"])
    op.create_index("backfills_by_created", "backfills", ["created"])
    op.create_index("backfills_by_ended", "backfills", ["ended"])
    op.add_column("events", sa.Column("asset", sa.String(255)))
    _name_assets()
    op.create_index(
        "events_by_asset", "events", ["asset", "type", "id"], sqlite_where=_OF_ASSETS, postgresql_where=_OF_ASSETS
    )
    op.create_index("unnamed_assets", "events", ["type", "id"], sqlite_where=_UNNAMED, postgresql_where=_UNNAMED)


def _name_assets() -> None:
    """Of those that are there."""
    events, bind = sa.table("events", *map(sa.column, ("id", "type", "body", "packed", "asset"))), op.get_bind()
    named = sa.update(events).where(events.c.id == sa.bindparam("number")).values(asset=sa.bindparam("name"))
    some = sa.select(events.c.id, events.c.body, events.c.packed).where(events.c.type.in_(_TYPES)).order_by(events.c.id)
    last = 0
    while rows := bind.execute(some.where(events.c.id > last).limit(_AT_ONCE)).all():
        names = []
        for number, body, packed in rows:
            with contextlib.suppress(msgspec.DecodeError, PayloadRejected):  # who reads it is told
                written = body.encode() if packed is None else restored(packed)
                asset = json_decoder(_Event).decode(written).asset_key
                names.append({"number": number, "name": encode_legibly(asset).decode()[:_LONGEST]})
        if names:
            bind.execute(named, names)
        last = rows[-1].id


def downgrade() -> None:
    op.drop_index("unnamed_assets", "events")
    op.drop_index("events_by_asset", "events")
    op.drop_column("events", "asset")
    for name in ("backfills_by_ended", "backfills_by_created"):
        op.drop_index(name, "backfills")
    for name in ("runs_by_snapshot", "runs_by_plan", "runs_by_location"):
        op.drop_index(name, "runs")
