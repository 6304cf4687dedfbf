"""Which key a deployment signs with, and how it gets another one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import redis

from opgrid.broker.connection import connect
from opgrid.broker.deployment import OtherKey, agree_on_key
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
