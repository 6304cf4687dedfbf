"""Which key a deployment signs with and which database it has, and how it gets another one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest
import redis

from opgrid.broker.connection import connect
from opgrid.broker.deployment import (
    QUIET,
    STREAM_TTL,
    OtherDatabase,
    OtherKey,
    StillUsed,
    agree_on_database,
    agree_on_key,
    take_over,
)
from opgrid.broker.keys import Keys
from opgrid.broker.messages import open_events, seal_events
from opgrid.contracts.events import RunStarted
from opgrid.ids import RunId
from opgrid.io.keys import KeyRing

pytestmark = pytest.mark.redis

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
KEYS = Keys("opgrid")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(redis_url) as made:
        yield made


def test_the_first_says_which_key_and_a_stranger_is_refused(client: redis.Redis) -> None:
    agree_on_key(client, KEYS, KeyRing(OLD))
    agree_on_key(client, KEYS, KeyRing(OLD))
    with pytest.raises(OtherKey):
        agree_on_key(client, KEYS, KeyRing(OTHER))


def test_a_key_is_replaced_in_three_steps_and_all_believe_each_other_meanwhile(client: redis.Redis) -> None:
    steps = [KeyRing(OLD), KeyRing(OLD, NEW), KeyRing(NEW, OLD), KeyRing(NEW)]
    event = RunStarted(run_id=RunId("r"), at=1.0)
    for before, after in pairwise(steps):
        for ring in (before, after, after):  # one that is still as it was starts once more
            agree_on_key(client, KEYS, ring)
        assert open_events(seal_events([event], before), after) == [event]
        assert open_events(seal_events([event], after), before) == [event]
    with pytest.raises(OtherKey):
        agree_on_key(client, KEYS, KeyRing(OLD))


def test_who_skips_a_step_is_refused(client: redis.Redis) -> None:
    agree_on_key(client, KEYS, KeyRing(OLD))
    with pytest.raises(OtherKey):
        agree_on_key(client, KEYS, KeyRing(NEW))


def quiet_for(client: redis.Redis, seconds: int) -> None:
    """Nobody has used the database of the deployment for so long."""
    client.expire(KEYS.database, STREAM_TTL - seconds)


def test_the_first_says_which_database_and_one_with_another_is_refused(client: redis.Redis) -> None:
    agree_on_database(client, KEYS, "a")
    agree_on_database(client, KEYS, "a")
    with pytest.raises(OtherDatabase, match="OPGRID_DEPLOYMENT.* take-over") as refused:
        agree_on_database(client, KEYS, "ab")
    assert (refused.value.theirs, refused.value.ours) == ("a", "ab")
    assert refused.value.host == socket.gethostname()
    agree_on_database(client, Keys("staging"), "ab")


def test_it_is_said_where_the_other_database_is_used_now(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("web-1", "web-2"):  # the service has moved
        monkeypatch.setattr(socket, "gethostname", lambda host=host: host)
        agree_on_database(client, KEYS, "a")
    with pytest.raises(OtherDatabase, match="used on web-2 0 s ago"):
        agree_on_database(client, KEYS, "b")


def test_a_database_of_which_nothing_was_heard_for_a_week_is_forgotten(client: redis.Redis) -> None:
    agree_on_database(client, KEYS, "a")
    assert 0 < client.ttl(KEYS.database) <= STREAM_TTL  # type: ignore[operator]
    client.pexpire(KEYS.database, 0)
    agree_on_database(client, KEYS, "b")


def test_a_database_takes_the_place_of_another_that_is_used_no_more(client: redis.Redis) -> None:
    agree_on_database(client, KEYS, "a")
    with pytest.raises(StillUsed, match="used on .* 0 s ago"):
        take_over(client, KEYS, "b")
    agree_on_database(client, KEYS, "a")
    quiet_for(client, QUIET)
    assert take_over(client, KEYS, "b") == "a"
    agree_on_database(client, KEYS, "b")
    with pytest.raises(OtherDatabase):
        agree_on_database(client, KEYS, "a")


def test_a_database_may_be_taken_over_where_there_is_none_and_once_more(client: redis.Redis) -> None:
    assert take_over(client, KEYS, "a") is None
    assert take_over(client, KEYS, "a") is None


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 s"), (200, "3 min"), (2 * 86400, "48 h")])
def test_it_is_said_how_long_ago_the_other_database_was_used(client: redis.Redis, seconds: int, said: str) -> None:
    agree_on_database(client, KEYS, "a")
    quiet_for(client, seconds)
    with pytest.raises(OtherDatabase, match=f" {said} ago"):
        agree_on_database(client, KEYS, "b")
