from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from executors.celery import tail as tail_module
from executors.celery.tail import Entry, Tail
from opgrid.broker.connection import connect
from opgrid.broker.embedded import EmbeddedRedis

STREAM, FROM_THE_START = "s", "0-0"
LONG = 30.0


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as made:
        yield made


@pytest.fixture
def tail(client: redis.Redis) -> Iterator[Tail]:
    made = Tail(client, STREAM)
    yield made
    made.close()


def add(client: redis.Redis, word: bytes) -> Entry:
    position: Any = client.xadd(STREAM, {b"d": word})
    return Entry(position.decode(), {b"d": word})


def waiting(client: redis.Redis) -> list[str]:
    """The numbers of connections that wait for an answer."""
    found: Any = client.client_list()
    return [each["id"] for each in found if "b" in each["flags"]]


def who_waits(client: redis.Redis) -> list[str]:
    """The same, once there is one: what was sent is not read yet."""
    until = time.monotonic() + LONG
    while not (found := waiting(client)):
        assert time.monotonic() < until
    return found


def test_what_is_there_is_read_in_its_order(tail: Tail, client: redis.Redis) -> None:
    assert tail.read(FROM_THE_START, 0.0) == ([], False)
    one, two, three = [add(client, word) for word in (b"one", b"two", b"three")]
    assert tail.read(FROM_THE_START, 0.0) == ([one, two, three], False)
    assert tail.read(one.position, LONG) == ([two, three], False)
    assert tail.read(three.position, 0.0) == ([], False)


def test_who_waits_gets_what_comes(tail: Tail, client: redis.Redis) -> None:
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(tail.read, FROM_THE_START, LONG)
        who_waits(client)
        one = add(client, b"one")
        assert reading.result(LONG) == ([one], False)


def test_who_is_rung_goes_on_with_the_same_question_later(tail: Tail, client: redis.Redis) -> None:
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(tail.read, FROM_THE_START, LONG)
        before = who_waits(client)
        tail.ring()
        assert reading.result(LONG) == ([], True)
        assert tail.read(FROM_THE_START, 0.0) == ([], False)
        assert waiting(client) == before
        one = add(client, b"one")
        assert tail.read(FROM_THE_START, LONG) == ([one], False)
        assert waiting(client) == []


def test_a_ring_before_one_waits_counts_once(tail: Tail) -> None:
    tail.ring()
    tail.ring()
    assert tail.read(FROM_THE_START, LONG) == ([], True)
    tail.ring()
    assert tail.pause(LONG)
    assert not tail.pause(0.0)
    assert tail.read(FROM_THE_START, 0.0) == ([], False)


def test_who_asks_for_something_else_gets_that(tail: Tail, client: redis.Redis) -> None:
    one, two = add(client, b"one"), add(client, b"two")
    tail.ring()
    assert tail.read(two.position, LONG) == ([], True)
    assert tail.read(one.position, LONG) == ([two], False)


def test_what_came_before_is_there_after_hanging_up(tail: Tail, client: redis.Redis) -> None:
    tail.ring()
    tail.read(FROM_THE_START, LONG)
    tail.hang_up()
    one = add(client, b"one")
    assert tail.read(FROM_THE_START, 0.0) == ([one], False)


def test_redis_answers_that_there_is_nothing_and_is_asked_again(
    tail: Tail, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Semaphore(0)
    ask = Tail._ask

    def counted(of: Tail, after: str, waits: bool) -> None:
        ask(of, after, waits)
        asked.release()

    monkeypatch.setattr(tail_module, "_BLOCK", 0.02)
    monkeypatch.setattr(Tail, "_ask", counted)
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(tail.read, FROM_THE_START, LONG)
        for _ in range(4):
            assert asked.acquire(timeout=LONG)
        one = add(client, b"one")
        assert reading.result(LONG) == ([one], False)


def test_a_connection_that_the_server_has_closed_is_made_again(tail: Tail, client: redis.Redis) -> None:
    tail.ring()
    tail.read(FROM_THE_START, LONG)
    (number,) = who_waits(client)
    client.client_kill_filter(_id=number)
    one = add(client, b"one")
    assert tail.read(FROM_THE_START, LONG) == ([one], False)


def test_who_is_interrupted_while_it_reads_misses_nothing(
    tail: Tail, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = add(client, b"one")
    whole = Tail._answer

    def interrupted(of: Tail) -> list[Entry]:
        of._connection.read_response()
        raise KeyboardInterrupt

    monkeypatch.setattr(Tail, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tail.read(FROM_THE_START, LONG)
    monkeypatch.setattr(Tail, "_answer", whole)
    assert tail.read(FROM_THE_START, LONG) == ([one], False)


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedRedis.start() as server, connect(server.url) as client:
        tail = Tail(client, STREAM)
        tail.ring()
        tail.read(FROM_THE_START, LONG)
        tail._connection.socket_timeout = 0.2
        monkeypatch.setattr(tail_module, "SOCKET_TIMEOUT", 0.2)
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(redis.TimeoutError):
                tail.read(FROM_THE_START, 600.0)
        finally:
            server.process.send_signal(signal.SIGCONT)
        monkeypatch.undo()
        tail._connection.socket_timeout = LONG
        one = add(client, b"one")
        assert tail.read(FROM_THE_START, LONG) == ([one], False)
        tail.close()
