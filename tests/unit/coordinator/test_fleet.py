from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from opgrid import celery_executor, job, op
from opgrid.broker.connection import connect
from opgrid.broker.keys import Keys
from opgrid.broker.presence import Presence, announce, announce_backlog
from opgrid.contracts.status import RunStatus
from opgrid.contracts.wire import VERSION
from opgrid.errors import DatabaseUnreachable
from orchestrator.coordinator.fleet import Fleet, read
from orchestrator.services.launching import Request, prepare
from orchestrator.storage.sql.store import SqlStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    yield made
    made.close()


class Away(SqlStore):
    """Its database takes nothing for so many times."""

    times = 2

    def put_report(self, name: str, body: bytes, at: float) -> None:
        if self.times:
            self.times -= 1
            raise DatabaseUnreachable("It is away.")
        super().put_report(name, body, at)


@op(tags={"opgrid/queue": "gpu"})
def learn() -> None: ...


@op(tags={"opgrid/executor": "in_process", "opgrid/queue": "never"})
def note() -> None: ...


@job(executor_def=celery_executor)
def learning() -> None:
    learn()
    note()


def test_a_queue_is_known_that_only_a_run_goes_to(store: SqlStore, redis_url: str) -> None:
    keys, prepared = Keys.load(), prepare(Request(learning))
    run_id = prepared.record.run_id
    store.create_run(prepared.record, prepared.plan.to_json(), prepared.snapshot.to_json())
    fleet = Fleet(store, redis_url)
    with connect(redis_url) as client:

        def seen() -> dict[str, tuple[int, int]]:
            return {queue.name: (queue.waiting, queue.workers) for queue in fleet.look(client, 100.0).queues}

        assert seen() == {"opgrid": (0, 0)}
        with store.turn() as turn:
            turn.set_status(run_id, RunStatus.STARTED, 1.0)
        client.lpush(keys.queue("gpu", 10), "message")
        assert seen() == {"opgrid": (0, 0), "gpu": (1, 0)}
        with store.turn() as turn:
            turn.set_status(run_id, RunStatus.CANCELED, 2.0)
        assert seen()["gpu"] == (1, 0)  # its message is still there
        client.delete(keys.queue("gpu", 10))
        seen()
        assert seen() == {"opgrid": (0, 0)}


def test_what_coordinators_keep_back_counts_as_waiting(store: SqlStore, redis_url: str) -> None:
    keys = Keys.load()
    with connect(redis_url) as client:
        announce(client, keys, Presence("w", ("q",), 2, speaks=VERSION), 60)
        announce(client, keys, Presence("newer", ("q",), 2, speaks=VERSION + 1), 60)
        client.lpush(keys.queue("q", 10), "message")
        announce_backlog(client, keys, "one", {"q": 40, "lonely": 2}, 60)
        announce_backlog(client, keys, "two", {"q": 1}, 60)
        report = Fleet(store, redis_url).look(client, 100.0)
        assert {queue.name: (queue.waiting, queue.workers) for queue in report.queues} == {
            "opgrid": (0, 0),
            "lonely": (2, 0),
            "q": (42, 1),
        }
        announce_backlog(client, keys, "one", {}, 60)
        assert {queue.name: queue.waiting for queue in Fleet(store, redis_url).look(client, 100.0).queues} == {
            "opgrid": 0,
            "q": 2,
        }


def test_a_database_that_is_away_is_left_to_those_who_wait_for_it(
    tmp_path: Path, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Away(f"sqlite:///{tmp_path / 'opgrid.db'}")
    fleet = Fleet(store, redis_url)
    with closing(store), connect(redis_url) as client:
        while store.times:
            fleet._tell(client)
        assert read(store) is None
        fleet._tell(client)
        assert read(store) is not None
    assert not caplog.records
