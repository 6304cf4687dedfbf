"""Which workers live, and what each serves: told by its watch process for as long as it beats. What waits to be sent
to them: told by coordinators.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
import redis

from opgrid.broker.keys import Keys

T = TypeVar("T")


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
    """Of all coordinators, by queue."""
    total: Counter[str] = Counter()
    for steps in _said(client, keys.backlog("*"), dict[str, int]):
        total.update(steps)
    return total


def alive(client: redis.Redis, keys: Keys) -> list[Presence]:
    """By name."""
    return list(_said(client, keys.worker("*"), Presence))


def _said(client: redis.Redis, pattern: str, type: type[T]) -> Iterator[T]:
    """Walks through all keys of the database: for when somebody asks, not for every turn. What none of us wrote is
    passed over.
    """
    names: list[Any] = sorted(client.scan_iter(match=pattern, count=1000))
    found: Any = client.mget(names) if names else []
    for each in found:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield msgspec.json.decode(each or b"", type=type)
