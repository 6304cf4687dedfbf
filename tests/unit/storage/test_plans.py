"""What SQLite reads: nothing that is asked again and again takes longer with all that ever happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import event, insert

from opgrid.contracts.events import EventType
from opgrid.contracts.facts import AssetKey
from orchestrator.storage.records import EventRecordsFilter
from orchestrator.storage.sql import statements as prepared
from orchestrator.storage.sql.statements import tell
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.tables import contents


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")) as made:
        yield made


def plan(store: SqlStore, ask: Callable[[], object]) -> list[str]:
    """How SQLite goes about what it is told meanwhile, a line for each table that it reads."""
    said: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, parameters: Any, *more: object) -> None:
        said.append((statement, parameters))

    def told(connection: Any, sql: str, parameters: Any = (), many: bool = False) -> Any:
        said.append((sql, parameters[0] if many else parameters))
        return tell(connection, sql, parameters, many)

    event.listen(store._engine, "before_cursor_execute", note)
    try:
        with patch.object(prepared, "tell", told):
            ask()
    finally:
        event.remove(store._engine, "before_cursor_execute", note)
    with store._engine.connect() as connection:
        return [
            row.detail
            for sql, parameters in said
            if not sql.startswith("BEGIN")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(parameters))
        ]


def test_which_runs_have_changed_is_read_from_the_end_of_the_log(store: SqlStore) -> None:
    found = plan(store, lambda: store.changed_runs(7))
    assert found[0] == "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"


@pytest.mark.parametrize("kind", [EventType.ASSET_MATERIALIZATION, EventType.ASSET_OBSERVATION])
@pytest.mark.parametrize("ascending", [True, False])
def test_events_of_an_asset_are_found_by_its_key(store: SqlStore, kind: EventType, ascending: bool) -> None:
    wanted = EventRecordsFilter(kind, AssetKey("orders"), before_cursor=9)
    assert plan(store, lambda: store.event_records(wanted, 1, ascending)) == [
        "SEARCH events USING INDEX events_by_asset (asset=? AND type=? AND id<?)",
        "SEARCH events USING INDEX unnamed_assets (type=? AND id<?)",
    ]


def test_the_latest_runs_of_a_job_are_found_by_their_code_location(store: SqlStore) -> None:
    found = plan(store, lambda: store.last_runs("here.py", ["nightly"], 3))
    by_index = "SEARCH runs USING INDEX runs_by_location (job=? AND location=?)"
    assert [line for line in found if " runs" in line] == [by_index] * 2
    assert not [line for line in found if "ORDER BY" in line]


def test_whether_a_run_has_a_plan_or_snapshot_takes_no_look_at_all_runs(store: SqlStore) -> None:
    """Nor does to remove one, where the database looks itself."""
    with store._engine.begin() as connection:
        connection.execute(insert(contents), {"hash": "nobody's", "body": b""})
    found = plan(store, lambda: store.purge_contents(10))
    assert [line for line in found if "SCAN" in line] == [
        "SCAN contents USING COVERING INDEX sqlite_autoindex_contents_1"
    ]
    assert sum("runs_by_plan" in line for line in found) == sum("runs_by_snapshot" in line for line in found) == 2


def test_who_looks_for_what_is_to_be_forgotten_holds_up_nobody(store: SqlStore) -> None:
    with closing(sqlite3.connect(store._engine.url.database or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.purge_contents(10) == 0
        assert store.purge_logs(1.0, None, 10) == store.purge_logs(None, 10, 10) == 0


def test_events_by_which_runs_changed_their_status_are_looked_for_among_those_alone(store: SqlStore) -> None:
    found = plan(store, lambda: store.event_records(EventRecordsFilter(EventType.RUN_CANCELED), 1))
    assert found == ["SCAN events USING INDEX run_events"]
    behind = EventRecordsFilter(EventType.RUN_FAILURE, after_cursor=7)
    found = plan(store, lambda: store.event_records(behind, 1, ascending=True))
    assert found == ["SEARCH events USING INDEX run_events (id>?)"]


def test_backfills_are_found_by_their_times_without_a_look_at_their_partitions(store: SqlStore) -> None:
    found = plan(store, store.pulse)
    of_backfills = [line for line in found if " backfills" in line]
    assert len(of_backfills) == 3 and all(" USING COVERING INDEX " in line for line in of_backfills)
    assert "SEARCH backfills USING COVERING INDEX backfills_by_ended" in of_backfills
    found = plan(store, lambda: store.backfills(limit=25))
    assert found[0] == "SCAN backfills USING INDEX backfills_by_created"
