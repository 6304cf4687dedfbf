"""Bringing a database to the version of this code."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from opgrid.errors import DatabaseUnreachable
from orchestrator.storage.sql.tables import metadata

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Create what is missing.

    Does nothing, in one query, where nothing is. Raises DatabaseUnreachable for a newer one.
    """
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    with engine.connect() as connection:
        at = MigrationContext.configure(connection).get_current_revision()
    if at == head:
        return
    if at is not None and at not in {revision.revision for revision in script.walk_revisions()}:
        raise DatabaseUnreachable(
            f"The database was written by a newer opgrid (its version is {at!r}). Install that one, or use another "
            "database."
        )
    context = EnvironmentContext(config, script, fn=lambda rev, _: script._upgrade_revs("head", rev))
    with context as environment, engine.begin() as connection:
        _lock(connection)
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
        environment.run_migrations()


def _lock(connection: Connection) -> None:
    """Several processes may find an empty database at once; SQLite's transaction is a lock already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305981)")
