"""The tables. A change here needs a migration beside it."""

from __future__ import annotations

from typing import Final

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

from opgrid.contracts.status import RunStatus

#: Statuses of runs that go on.
OPEN: Final = [status.value for status in RunStatus if not status.is_final]

metadata = MetaData()

#: SQLite counts up only in an INTEGER column.
_Counter = BigInteger().with_variant(Integer, "sqlite")

_OF_RUNS = text("type >= 'PIPELINE' AND type < 'PIPELINF'")
_MATERIALIZED = text("type = 'ASSET_MATERIALIZATION'")
_OF_ASSETS = text("asset IS NOT NULL")
_OF_UNNAMED_ASSETS = text("asset IS NULL AND type IN ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION')")

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
    Column("shard", String(255)),
    Column("cancel", Text),
    Column("retagged", Integer, nullable=False, server_default="0"),
    Column("location", String(255)),
    Index("runs_by_status", "status", "id"),
    Index("runs_by_job", "job", "id"),
    Index("runs_by_shard", "shard", "status"),
    Index("runs_by_location", "job", "location", "id"),
    Index("runs_by_plan", "plan"),
    Index("runs_by_snapshot", "snapshot"),
)

#: A row is one event, or several of one run: then ``id`` is the number of the last, and those of the others come just
#: before; ``type`` is SEVERAL, and ``body`` is a list, in which what an attempt told by the way may be a list again.
#: What is long is in ``packed``, compressed by zstd, and ``body`` is empty. ``asset`` is the beginning of the key,
#: as JSON, of one that was made or looked at; an older version, which may write here yet, leaves it out.
events = Table(
    "events",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("run_id", String(128), nullable=False),
    Column("type", String(40), nullable=False),
    Column("step", Text),
    Column("at", Float, nullable=False),
    Column("body", Text, nullable=False),
    Column("packed", LargeBinary),
    Column("asset", String(255)),
    Column("holds", Integer, nullable=False, server_default="1"),
    Index("events_by_run", "run_id", "id"),
    Index("run_events", "id", sqlite_where=_OF_RUNS, postgresql_where=_OF_RUNS),
    Index("materializations", "id", sqlite_where=_MATERIALIZED, postgresql_where=_MATERIALIZED),
    Index("events_by_asset", "asset", "type", "id", sqlite_where=_OF_ASSETS, postgresql_where=_OF_ASSETS),
    Index("unnamed_assets", "type", "id", sqlite_where=_OF_UNNAMED_ASSETS, postgresql_where=_OF_UNNAMED_ASSETS),
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
    Column("worker", String(255)),
)

#: The tags of runs once more, for finding runs by them.
run_tags = Table(
    "run_tags",
    metadata,
    Column("run", _Counter, primary_key=True, autoincrement=False),
    Column("key", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    Index("run_tags_by_key", "key", "value", "run"),
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

#: Who does what for the service, one process at a time: shards of runs, duties of the daemon.
leases = Table(
    "leases",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("owner", String(255)),
    Column("expires", Float),
    Column("epoch", Integer, nullable=False),
)

#: Keys that launched a run, so that none launches two.
launches = Table(
    "launches",
    metadata,
    Column("origin", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("run_id", String(128), nullable=False),
    Column("at", Float, nullable=False),
)

#: Schedules and sensors, once they were started, stopped or have ticked.
instigators = Table(
    "instigators",
    metadata,
    Column("location", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("status", String(16)),
    Column("since", Float),
    Column("ticked", Float),
    Column("completed", Float),
    Column("cursor", Text),
    Column("last_run_key", Text),
)

ticks = Table(
    "ticks",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("location", String(255), nullable=False),
    Column("name", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("at", Float, nullable=False),
    Column("status", String(16), nullable=False),
    Column("ended", Float, nullable=False),
    Column("run_ids", Text, nullable=False),
    Column("reason", Text),
    Column("error", Text),
    Column("log", Text, nullable=False),
    Index("ticks_by_instigator", "location", "name", "id"),
)

#: How many steps may use something at once.
pools = Table(
    "pools",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("slots", Integer, nullable=False),
)

#: Runs of many partitions; which runs they are, ``launches`` tells.
backfills = Table(
    "backfills",
    metadata,
    Column("backfill_id", String(64), primary_key=True),
    Column("location", String(255), nullable=False),
    Column("job", String(255), nullable=False),
    Column("status", String(24), nullable=False),
    Column("partitions", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    Column("error", Text),
    Index("backfills_by_status", "status", "created"),
    Index("backfills_by_created", "created"),  # without these two, all of their partitions would be read
    Index("backfills_by_ended", "ended"),
)

#: Slots of pools that steps use, or used while their run goes on.
slots = Table(
    "slots",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("pool", String(255), nullable=False),
    Column("since", Float, nullable=False),
    Index("slots_by_pool", "pool"),
)

#: Who waits for slots of pools: shards, and runs that have a process each.
lines = Table(
    "lines",
    metadata,
    Column("pool", String(255), primary_key=True),
    Column("whose", String(128), primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("since", Float, nullable=False),
    Column("seen", Float, nullable=False),
)

#: Steps that wait for somebody to approve them, and what was decided.
gates = Table(
    "gates",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("question", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("due", Float),
    Column("approved", Integer),
    Column("who", String(255)),
    Column("note", Text),
)

#: What people did, by way of the API and on the command line.
audit = Table(
    "audit",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("who", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("about", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)

#: What a service tells all others, such as which workers there are; the last word counts.
reports = Table(
    "reports",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("at", Float, nullable=False),
    Column("body", Text, nullable=False),
)
