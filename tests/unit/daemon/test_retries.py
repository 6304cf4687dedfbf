"""Runs that are run again, beside those of which something cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from opgrid.errors import DatabaseUnreachable
from opgrid.ids import RunId
from orchestrator.daemon.retries import Retries
from orchestrator.sections import RunRetries
from orchestrator.storage.service_records import retry_origin
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.tables import contents, runs
from tests.integration.service import spoil_log
from tests.unit.daemon.test_backfills import KEYS, ask, duty


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    yield made
    made.close()


def of_store(store: SqlStore) -> Retries:
    """Made and turned once: it sees what fails from now on."""
    made = Retries(store, RunRetries(enabled=True, max_retries=1))
    made.turn(store.instigators())
    return made


def started(store: SqlStore, count: int) -> list[RunId]:
    made = ask(store, KEYS[:count])
    duty(store).turn()
    return list(store.launched(made.origin).values())


def fail(store: SqlStore, *run_ids: RunId) -> None:
    for run_id in run_ids:
        assert store.fail_unstarted(run_id, "on purpose", time.time())


def retry_of(store: SqlStore, run_id: RunId) -> list[RunId]:
    return list(store.launched(retry_origin(run_id)).values())


def spoil_brief(store: SqlStore, run_id: RunId) -> None:
    with store._writing() as connection:
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(brief="{}"))


def spoil_snapshot(store: SqlStore, run_id: RunId) -> None:
    with store._writing() as connection:
        connection.execute(insert(contents).values(hash="spoiled", body=b"{}"))
        connection.execute(update(runs).where(runs.c.run_id == run_id).values(snapshot="spoiled"))


@pytest.mark.parametrize("spoil", [spoil_log, spoil_brief, spoil_snapshot])
def test_one_that_cannot_be_read_keeps_no_other_from_being_run_again(
    store: SqlStore, spoil: Callable[[SqlStore, RunId], None]
) -> None:
    retries = of_store(store)
    bad, good = started(store, 2)
    spoil(store, bad)
    fail(store, bad, good)
    retries.turn(store.instigators())
    assert retry_of(store, bad) == []
    assert len(retry_of(store, good)) == 1


def test_none_is_passed_by_while_the_database_is_away(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    retries = of_store(store)
    (run_id,) = started(store, 1)
    fail(store, run_id)
    with monkeypatch.context() as patch:

        def away(run_id: str) -> None:
            raise DatabaseUnreachable("It is away.")

        patch.setattr(store, "read", away)
        with pytest.raises(DatabaseUnreachable):
            retries.turn(store.instigators())
    retries.turn(store.instigators())
    assert len(retry_of(store, run_id)) == 1
