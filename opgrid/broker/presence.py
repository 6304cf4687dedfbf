"""Which workers live, and what each serves: told by its watch process for as long as it beats. What waits to be sent
to them: told by coordinators.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from opgrid.broker.keys import Keys
from opgrid.contracts import wire
from opgrid.contracts.decoding import json_decoder
from opgrid.errors import listed

if TYPE_CHECKING:
    import redis

T = TypeVar("T")


class Presence(msgspec.Struct, frozen=True):
    """What a worker tells about itself."""

    name: str
    queues: tuple[str, ...] = ()
    concurrency: int = 1
    code: tuple[str, ...] = ()  #: locations
    children: tuple[int, ...] = ()  #: process ids
    versions: tuple[str, ...] = ()  #: of the code, in the order of ``code``
    release: str = ""  #: of opgrid
    speaks: int = 0  #: which version of the messages; 0: it does not tell, and is of before the first

    @property
    def understands(self) -> bool:
        """Whether it gets what is sent by this process's version."""
        return self.speaks == wire.VERSION

    def serves(self, queue: str) -> bool:
        return self.understands and queue in self.queues


def others_serving(workers: Iterable[Presence], queue: str) -> str:
    """A sentence, after a space, on those that serve this queue for another version of opgrid; empty without any."""
    others = {
        f"{each.name} ({each.release or 'an older one'})"
        for each in workers
        if queue in each.queues and not each.understands
    }
    return f" Workers of another version of opgrid do, and get nothing of this one: {listed(others)}." if others else ""


def announce(client: redis.Redis, keys: Keys, presence: Presence, seconds: float) -> None:
    """It is believed for so long."""
    _say(client, keys.workers, keys.worker(presence.name), presence, seconds)


def withdraw(client: redis.Redis, keys: Keys, name: str) -> None:
    client.delete(keys.worker(name))


def announce_backlog(client: redis.Redis, keys: Keys, stream: str, steps: Mapping[str, int], seconds: float) -> None:
    """Steps by queue. It is believed for so long."""
    _say(client, keys.backlogs, keys.backlog(stream), steps, seconds)


def backlogs(client: redis.Redis, keys: Keys) -> Counter[str]:
    """Of all coordinators, by queue."""
    total: Counter[str] = Counter()
    for steps in _said(client, keys.backlogs, dict[str, int]):
        total.update(steps)
    return total


def alive(client: redis.Redis, keys: Keys) -> list[Presence]:
    """By name."""
    return list(_said(client, keys.workers, Presence))


def is_alive(client: redis.Redis, keys: Keys, name: str) -> bool:
    """Whether the worker of this name has told of itself lately."""
    return bool(client.exists(keys.worker(name)))


def _say(client: redis.Redis, who: str, key: str, what: object, seconds: float) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.set(key, msgspec.json.encode(what), px=round(seconds * 1000))
    pipe.sadd(who, key)
    pipe.execute()


def _said(client: redis.Redis, who: str, type: type[T]) -> Iterator[T]:
    """What none of us wrote is passed over; what is over is forgotten."""
    members: Any = client.smembers(who)
    names = sorted(members)
    found: Any = client.mget(names) if names else []
    gone = [name for name, each in zip(names, found, strict=True) if each is None]
    if gone:
        client.srem(who, *gone)
    for each in found:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            yield json_decoder(type).decode(each or b"")
