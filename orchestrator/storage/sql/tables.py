"""The tables. A change here needs a migration beside it."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

#: SQLite counts up only in an INTEGER column.
_Counter = BigInteger().with_variant(Integer, "sqlite")

_MATERIALIZED = text("type = 'ASSET_MATERIALIZATION'")

#: Plans and snapshots, once per content.
contents = Table(
    "contents",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("run_id", String(128), nullable=False, unique=True),
    Column("job", String(255), nullable=False),
    Column("status", String(16), nullable=False),
    Column("brief", Text, nullable=False),
    Column("code", Text),
    Column("plan", String(64), ForeignKey("contents.hash"), nullable=False),
    Column("snapshot", String(64), ForeignKey("contents.hash"), nullable=False),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("owner", String(255)),
    Column("owner_expires", Float),
    Column("epoch", Integer, nullable=False, default=0),
    Index("runs_by_status", "status", "id"),
    Index("runs_by_job", "job", "id"),
)

events = Table(
    "events",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("run_id", String(128), nullable=False),
    Column("type", String(40), nullable=False),
    Column("step", Text),
    Column("at", Float, nullable=False),
    Column("body", Text, nullable=False),
    Index("events_by_run", "run_id", "id"),
    Index("materializations", "id", sqlite_where=_MATERIALIZED, postgresql_where=_MATERIALIZED),
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started", Float),
    Column("ended", Float),
)

positions = Table(
    "positions",
    metadata,
    Column("stream", String(255), primary_key=True),
    Column("position", String(64), nullable=False),
)

#: The keys of dynamic partitions, in the order of their numbers.
partitions = Table(
    "partitions",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("name", String(255), nullable=False),
    Column("key", String(255), nullable=False),
    UniqueConstraint("name", "key"),
)
