"""Whether somebody waits for a row that another transaction holds, in PostgreSQL."""

from __future__ import annotations

from orchestrator.storage.sql.store import SqlStore


def somebody_waits(store: SqlStore) -> bool:
    with store._reading() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(connection.exec_driver_sql(query).scalar_one())
