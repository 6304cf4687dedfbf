"""Which workers live, and what each serves: told by its watch process for as long as it beats. What waits to be sent
to them: told by coordinators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
import redis

from opgrid.broker.keys import Keys


class Presence(msgspec.Struct, frozen=True):
    """What a worker tells about itself."""

    name: str
    queues: tuple[str, ...] = ()
    concurrency: int = 1
    code: tuple[str, ...] = ()  #: locations
    children: tuple[int, ...] = ()  #: process ids
    versions: tuple[str, ...] = ()  #: of the code, in the order of ``code``


def announce(client: redis.Redis, keys: Keys, presence: Presence, seconds: float) -> None:
    """It is believed for so long."""
    client.set(keys.worker(presence.name), msgspec.json.encode(presence), px=round(seconds * 1000))


def withdraw(client: redis.Redis, keys: Keys, name: str) -> None:
    client.delete(keys.worker(name))


def announce_backlog(client: redis.Redis, keys: Keys, stream: str, steps: Mapping[str, int], seconds: float) -> None:
    """Steps by queue. It is believed for so long."""
    client.set(keys.backlog(stream), msgspec.json.encode(steps), px=round(seconds * 1000))


def backlogs(client: redis.Redis, keys: Keys) -> Counter[str]:
    """Of all coordinators, by queue. Walks through all keys of the database."""
    names: list[Any] = list(client.scan_iter(match=keys.backlog("*"), count=1000))
    found: Any = client.mget(names) if names else []
    total: Counter[str] = Counter()
    for each in found:
        if each is not None:
            total.update(msgspec.json.decode(each, type=dict[str, int]))
    return total


def alive(client: redis.Redis, keys: Keys) -> list[Presence]:
    """By name. Walks through all keys of the database: for when somebody asks, not for every turn."""
    names: list[Any] = sorted(client.scan_iter(match=keys.worker("*"), count=1000))
    found: Any = client.mget(names) if names else []
    return [msgspec.json.decode(each, type=Presence) for each in found if each is not None]
