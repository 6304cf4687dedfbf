"""Kombu's Redis transport, without a new client object (a quarter of a millisecond) for every command."""

from __future__ import annotations

from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, redis

_make_client: Any = vars(redis.Channel)["_create_client"]


def _kept_client(channel: Any, asynchronous: bool = False) -> Any:
    """What goes to the server goes through the channel's pool of connections either way."""
    if asynchronous:
        return _make_client(channel, asynchronous=True)
    kept = vars(channel).get("_kept")
    if kept is None or kept.connection_pool is not channel.pool:
        kept = vars(channel)["_kept"] = _make_client(channel)
    return kept


Channel: Final = type("Channel", (redis.Channel,), {"_create_client": _kept_client})
Transport: Final = type("Transport", (redis.Transport,), {"Channel": Channel})


def install() -> None:
    """In a worker's process: what its broker URL names is ours."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
