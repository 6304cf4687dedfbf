"""Which workers live, and what each serves: told by its watch process for as long as it beats."""

from __future__ import annotations

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


def announce(client: redis.Redis, keys: Keys, presence: Presence, seconds: float) -> None:
    """It is believed for so long."""
    client.set(keys.worker(presence.name), msgspec.json.encode(presence), px=round(seconds * 1000))


def withdraw(client: redis.Redis, keys: Keys, name: str) -> None:
    client.delete(keys.worker(name))


def alive(client: redis.Redis, keys: Keys) -> list[Presence]:
    """By name. Walks through all keys of the database: for when somebody asks, not for every turn."""
    names: list[Any] = sorted(client.scan_iter(match=keys.worker("*"), count=1000))
    found: Any = client.mget(names) if names else []
    return [msgspec.json.decode(each, type=Presence) for each in found if each is not None]
