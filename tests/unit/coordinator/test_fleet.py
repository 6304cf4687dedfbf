from __future__ import annotations

from opgrid.broker.connection import connect
from opgrid.broker.keys import Keys
from opgrid.broker.presence import Presence, announce, announce_backlog
from orchestrator.coordinator.fleet import Fleet
from orchestrator.storage.memory import MemoryStore


def test_what_coordinators_keep_back_counts_as_waiting(redis_url: str) -> None:
    keys = Keys.load()
    with connect(redis_url) as client:
        announce(client, keys, Presence("w", ("q",), 2), 60)
        client.lpush(keys.queue("q", 10), "message")
        announce_backlog(client, keys, "one", {"q": 40, "lonely": 2}, 60)
        announce_backlog(client, keys, "two", {"q": 1}, 60)
        report = Fleet(MemoryStore(), redis_url).look(client, 100.0)
        assert {queue.name: (queue.waiting, queue.workers) for queue in report.queues} == {
            "opgrid": (0, 0),
            "lonely": (2, 0),
            "q": (42, 1),
        }
        announce_backlog(client, keys, "one", {}, 60)
        assert {queue.name: queue.waiting for queue in Fleet(MemoryStore(), redis_url).look(client, 100.0).queues} == {
            "opgrid": 0,
            "q": 2,
        }
