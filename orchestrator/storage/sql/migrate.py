"""Bringing a database to the version of this code."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, Engine, MetaData, PrimaryKeyConstraint, String, Table, inspect

from opgrid.errors import DatabaseUnreachable
from orchestrator.storage.sql.tables import metadata

FOLDER: Final = Path(__file__).parent / "migrations"
HEAD: Final = "0011"  #: the newest of the migrations
#: As Alembic makes it.
_versions: Final = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
#: Alembic keeps what it works on in globals: one thread at a time.
_MIGRATING: Final = threading.Lock()


def upgrade(engine: Engine, to: str = HEAD) -> None:
    """Create what is missing.

    Does nothing, in two queries and without alembic, where nothing is. Raises DatabaseUnreachable for a newer one.
    """
    at = version_of(engine)
    if at != to and not (at is None and to == HEAD and _made(engine)):
        with _MIGRATING:
            _migrate(engine, at, to)


def _made(engine: Engine) -> bool:
    """All of a new SQLite database at once, which takes a fifth of the time of the migrations; whether it was new."""
    if engine.dialect.name != "sqlite":
        return False
    with engine.begin() as connection:
        if inspect(connection).get_table_names():
            return False
        metadata.create_all(connection, checkfirst=False)
        _versions.create(connection)
        connection.execute(_versions.insert().values(version_num=HEAD))
    return True


def version_of(engine: Engine) -> str | None:
    """None for a database that opgrid has never seen."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _migrate(engine: Engine, at: str | None, to: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    if at is not None and at not in {revision.revision for revision in script.walk_revisions()}:
        raise DatabaseUnreachable(
            f"The database was written by a newer opgrid (its version is {at!r}). Install that one, or use another "
            "database."
        )
    context = EnvironmentContext(config, script, fn=lambda rev, _: script._upgrade_revs(to, rev))
    with context as environment, engine.begin() as connection:
        _lock(connection)
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
        environment.run_migrations()


def _lock(connection: Connection) -> None:
    """Several processes may find an empty database at once; SQLite's transaction is a lock already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305981)")
