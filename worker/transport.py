"""Kombu's Redis transport, without a new client object (a quarter of a millisecond) for every command, and not to be
brought down by what is no message.
"""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, redis

_make_client: Any = vars(redis.Channel)["_create_client"]
_read_message: Any = vars(redis.Channel)["_brpop_read"]
_log = logging.getLogger("opgrid.worker")


def _kept_client(channel: Any, asynchronous: bool = False) -> Any:
    """What goes to the server goes through the channel's pool of connections either way."""
    if asynchronous:
        return _make_client(channel, asynchronous=True)
    kept = vars(channel).get("_kept")
    if kept is None or kept.connection_pool is not channel.pool:
        kept = vars(channel)["_kept"] = _make_client(channel)
    return kept


def _read(channel: Any, **options: Any) -> Any:
    try:
        return _read_message(channel, **options)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        _log.error("What came from a queue is no message, and was thrown away: %r", error)
        raise Empty from None


_CHANGED: Final[dict[str, Any]] = {"_create_client": _kept_client, "_brpop_read": _read}
Channel: Final = type("Channel", (redis.Channel,), _CHANGED)
Transport: Final = type("Transport", (redis.Transport,), {"Channel": Channel})


def install() -> None:
    """In a worker's process: what its broker URL names is ours."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
