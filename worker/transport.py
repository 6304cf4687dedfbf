"""Kombu's Redis transport, without a new client object (a quarter of a millisecond) for every command, and not to be
brought down by what is no message. Where it may not read queues, it counts as not connected; and messages that cannot
go back into their queue are not kept: who sent them sends again what nobody has claimed.
"""

from __future__ import annotations

import contextlib
import logging
from queue import Empty
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, redis, virtual
from redis.exceptions import ConnectionError, NoPermissionError, RedisError, ResponseError

_make_client: Any = vars(redis.Channel)["_create_client"]
_read_message: Any = vars(redis.Channel)["_brpop_read"]
_close_channel: Any = redis.Channel.close
_refresh: Any = vars(redis.Channel)["maybe_refresh_binding_expiry"]
_init_channel: Any = redis.Channel.__init__
_establish: Any = redis.Transport.establish_connection
_READS_ON: Final = 0.01  #: seconds
_TRIES: Final = 100
_NOBODYS: Final = "nobody's"  #: a queue
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


def _start(channel: Any, timeout: float | None = None) -> None:
    """Who waits for messages knows how the server calls that connection."""
    connection, own = channel.client.connection, vars(channel)
    if own.get("_named") is None or own["_named"] is not connection._sock:
        own["_waits_as"] = None
        with contextlib.suppress(ResponseError):  # it may not ask
            connection.send_command("CLIENT", "ID")
            own["_waits_as"] = connection.read_response()
        own["_named"] = connection._sock
    vars(redis.Channel)["_brpop_start"](channel, timeout)


def _close(channel: Any) -> None:
    """Kombu lets the server answer who waits for messages, that none be lost; which it may do at once."""
    waits_as = vars(channel).get("_waits_as")
    if channel._in_poll and waits_as is not None:
        with contextlib.suppress(RedisError):
            for _ in range(_TRIES):  # of who has lost that connection, and does not know it, the server knows nothing
                if _kept_client(channel).client_unblock(waits_as) or channel.client.connection.can_read(_READS_ON):
                    break  # it answers, or has done so already; and has not just not begun to wait
    _close_channel(channel)


def _refresh_bindings(channel: Any) -> None:
    """Of remote control. A server that is full refuses it each second: that is nothing to show a traceback of."""
    try:
        _refresh(channel)
    except ResponseError as error:
        raise ConnectionError(str(error)) from error


def _give_back_once(delivered: Any, stderr: Any = None) -> None:
    """Kombu would write the others into a file that nobody reads."""
    delivered._on_collect.cancel()
    delivered._flush()
    if not delivered._delivered.restored:
        delivered._delivered.restored = True
        delivered.restore_unacked()


def _init(channel: Any, *args: Any, **options: Any) -> None:
    _init_channel(channel, *args, **options)
    channel.QoS = QoS


def _establish_connection(transport: Any) -> Any:
    """Celery comes back ever more rarely to what it cannot connect to; what is lost as soon as it is used, at once."""
    connection = _establish(transport)
    try:
        transport._avail_channels[-1].client.brpop(_NOBODYS, timeout=0.01)
    except NoPermissionError as error:
        transport.close_connection(connection)
        raise ConnectionError(f"it does not let our user read queues ({error})") from error
    return connection


_GIVING_BACK: Final[dict[str, Any]] = {"restore_unacked_once": _give_back_once}
QoS: Final = type("QoS", (virtual.QoS,), _GIVING_BACK)
_CHANGED: Final[dict[str, Any]] = {
    "__init__": _init,
    "_create_client": _kept_client,
    "_brpop_start": _start,
    "_brpop_read": _read,
    "close": _close,
    "maybe_refresh_binding_expiry": _refresh_bindings,
}
Channel: Final = type("Channel", (redis.Channel,), _CHANGED)
_CONNECTED: Final[dict[str, Any]] = {"Channel": Channel, "establish_connection": _establish_connection}
Transport: Final = type("Transport", (redis.Transport,), _CONNECTED)


def install() -> None:
    """In a worker's process: what its broker URL names is ours."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
