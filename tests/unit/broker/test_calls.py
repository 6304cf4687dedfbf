from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from opgrid.broker import calls as calls_module
from opgrid.broker.calls import Calls
from opgrid.broker.connection import connect


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as made:
        yield made


@pytest.fixture
def calls(client: redis.Redis) -> Calls:
    return Calls(client)


def cut_off(calls: Calls, client: redis.Redis) -> None:
    """The server closes the connection that was used."""
    (number,) = calls.ask(["CLIENT", "ID"])
    assert client.client_kill_filter(_id=number) == 1


def test_what_is_refused_is_an_answer_among_others(calls: Calls) -> None:
    stored, refused, read = calls.ask(["SET", "k", b"v", "EX", 100], ["LPUSH", "k", "w"], ["GET", "k"])
    assert (stored, read) == (b"OK", b"v")
    assert isinstance(refused, redis.ResponseError)
    assert calls.ask(["GET", "k"]) == [b"v"]


def test_a_connection_that_the_server_has_closed_is_made_again(calls: Calls, client: redis.Redis) -> None:
    assert calls.ask(["SET", "k", "v"]) == [b"OK"]
    cut_off(calls, client)
    assert calls.ask(["GET", "k"]) == [b"v"]


def test_nobody_waits_for_one_that_was_closed_while_it_was_not_used(
    calls: Calls, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("redis.retry.sleep", waited.append)
    calls.ask(["SET", "k", "v"])
    cut_off(calls, client)
    monkeypatch.setattr(calls_module, "HEALTH_CHECK_INTERVAL", -1)
    assert calls.ask(["GET", "k"]) == [b"v"]
    assert not waited


def test_an_answer_that_nobody_waits_for_any_more_is_not_taken_for_another(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.ask(["SET", "k", "v"])
    ((connection, _),) = calls._kept

    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            calls.ask(["GET", "k"])
    assert calls.ask(["EXISTS", "k"]) == [1]


def test_what_was_begun_is_done_while_something_else_is_asked(calls: Calls) -> None:
    begun = calls.begin(["SET", "k", "v"], ["GET", "k"])
    assert calls.ask(["ECHO", "else"]) == [b"else"]
    assert begun.answers() == [b"OK", b"v"]


def test_what_was_begun_on_a_connection_that_breaks_is_asked_again(calls: Calls, client: redis.Redis) -> None:
    (number,) = calls.ask(["CLIENT", "ID"])
    begun = calls.begin(["BLPOP", "list", 20])
    assert client.client_kill_filter(_id=number) == 1
    client.rpush("list", "x")
    assert begun.answers() == [[b"list", b"x"]]


def test_what_cannot_be_sent_is_asked_when_it_is_to_be_answered(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    calls.ask(["SET", "k", "0"])
    ((connection, _),) = calls._kept

    def refused(*_: Any, **__: Any) -> None:
        raise redis.ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(connection, "send_packed_command", refused)
        begun = calls.begin(["INCR", "k"])
    assert calls.ask(["GET", "k"]) == [b"0"]
    assert begun.answers() == [1]


def test_an_answer_that_was_dropped_is_not_taken_for_another(calls: Calls) -> None:
    calls.ask(["SET", "k", "v"])
    calls.begin(["GET", "k"]).drop()
    assert calls.ask(["EXISTS", "k"]) == [1]


def test_every_thread_gets_its_own_answers(calls: Calls) -> None:
    def echoed(number: int) -> bool:
        return calls.ask(["ECHO", number], ["ECHO", -number]) == [b"%d" % number, b"%d" % -number]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(echoed, range(1, 400)))
