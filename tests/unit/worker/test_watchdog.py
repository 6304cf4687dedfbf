"""When a worker that takes no messages is given up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from opgrid.broker.connection import connect
from opgrid.broker.keys import Keys
from worker.settings import WorkerSettings
from worker.watchdog import LOOKS, Watchdog

pytestmark = pytest.mark.redis

FIRST, SECOND = Keys("opgrid").queue("q", 3), Keys("opgrid").queue("q", 10)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as made:
        yield made


class Worker:
    def __init__(self, url: str) -> None:
        self.free = True
        self.queues = ["q"]
        settings = WorkerSettings(broker_url=url, home="/", deployment="opgrid", name="w")
        self.dog = Watchdog(settings, lambda: self.free, lambda: self.queues)

    def looks(self, times: int) -> list[bool]:
        return [self.dog.is_stuck() for _ in range(times)]


@pytest.fixture
def worker(redis_url: str) -> Worker:
    return Worker(redis_url)


def test_without_messages_nobody_is_stuck(worker: Worker) -> None:
    assert not any(worker.looks(3 * LOOKS))


def test_messages_that_do_not_move_tell(worker: Worker, client: redis.Redis) -> None:
    client.lpush(SECOND, "a", "b")
    assert worker.looks(LOOKS + 1) == [False] * LOOKS + [True]


def test_a_queue_that_moves_is_served(worker: Worker, client: redis.Redis) -> None:
    client.lpush(FIRST, *range(100))
    client.lpush(SECOND, "waits behind the others")
    for _ in range(5):
        assert not any(worker.looks(LOOKS))
        client.rpop(FIRST)


def test_who_works_need_not_take_more(worker: Worker, client: redis.Redis) -> None:
    client.lpush(FIRST, "a")
    worker.looks(LOOKS)
    worker.free = False
    assert worker.looks(1) == [False]
    worker.free = True
    assert not any(worker.looks(LOOKS)), "it begins anew"


def test_queues_that_it_does_not_serve_are_not_its_own(worker: Worker, client: redis.Redis) -> None:
    client.lpush(FIRST, "a")
    worker.queues = []
    assert not any(worker.looks(2 * LOOKS))


def test_a_redis_that_does_not_answer_tells_nothing() -> None:
    worker = Worker("redis+socket:///nowhere.sock?virtual_host=0")
    assert not any(worker.looks(LOOKS + 1))
