"""How a worker leaves the queues that it reads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Queue, transport
from redis.exceptions import TimeoutError

from opgrid.broker.connection import connect
from worker.transport import Transport

LONG = 60  #: seconds


@pytest.fixture(autouse=True)
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(transport)["_transport_cache"], "redis", Transport)


def reading(connection: Connection, seconds: float, got: list[object]) -> Any:
    """A channel that waits so long for messages."""
    channel: Any = connection.channel()
    channel.brpop_timeout = seconds
    Queue("work", channel=channel).declare()
    channel.basic_consume("work", no_ack=False, callback=got.append, consumer_tag="all")
    channel.connection.cycle._register_BRPOP(channel)
    assert channel._in_poll
    return channel


@pytest.fixture
def got() -> list[object]:
    return []


@pytest.fixture
def channel(redis_url: str, got: list[object]) -> Iterator[Any]:
    with Connection(redis_url) as connection:
        yield reading(connection, LONG, got)


def test_who_waits_for_messages_ends_at_once(channel: Any) -> None:
    began = time.monotonic()
    channel.close()
    assert time.monotonic() - began < LONG / 2


def test_a_message_that_has_just_come_is_taken(channel: Any, got: list[object], redis_url: str) -> None:
    with Connection(redis_url) as connection:
        connection.Producer().publish({}, routing_key="work")
    channel.close()
    assert len(got) == 1


def test_who_has_lost_the_connection_and_does_not_know_it_ends_all_the_same(redis_url: str) -> None:
    with Connection(redis_url, transport_options={"socket_timeout": 0.1}) as connection:
        channel = reading(connection, LONG, [])
        vars(channel)["_waits_as"] = 0  # of nobody: the server has closed the one that this still reads from
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            channel.close()
        assert time.monotonic() - began < LONG / 2


def test_who_may_not_ask_how_it_is_called_waits_as_ever(redis_url: str) -> None:
    with connect(redis_url) as administrator:
        administrator.acl_setuser(
            "ann", enabled=True, nopass=True, keys=["*"], categories=["+@all"], commands=["-client"]
        )
    url = redis_url.replace("://", "://ann:any@")
    with Connection(url) as connection:
        reading(connection, 0.1, []).close()
