"""The one place that makes Redis clients: socket settings, and the errors in our words."""

from __future__ import annotations

import contextlib
import os
import re
import string
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from opgrid.broker.address import BrokerAddress
from opgrid.errors import BrokerBusy, BrokerRefuses, BrokerUnreachable, SettingsError

#: Seconds until a silent connection counts as broken. Blocking reads must ask for less.
SOCKET_TIMEOUT: Final = 5.0
HEALTH_CHECK_INTERVAL: Final = 5

#: What redis-py raises when the server cannot be reached or cannot answer yet.
_UNREACHABLE: Final = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.MasterDownError,
)
#: Codes for which redis-py has no class, or that stand within what a script says, of a server that is there and does
#: not do now what it is asked: it cannot save, has too few replicas or another role, or runs a script.
_NOT_NOW: Final = re.compile("(?:^|: |-)(?:MISCONF|NOREPLICAS|MASTERDOWN|READONLY|UNBLOCKED|BUSY|OOM) ")
#: What is said where a script does what our user may not; of other commands, redis-py has a class for it.
_MAY_NOT: Final = re.compile("NOPERM |ACL failure in script|The user executing the script can't ")


def broker_url(environ: Mapping[str, str] = os.environ) -> str | None:
    """``OPGRID_BROKER_URL``; None where it is not set: an embedded server is started then."""
    return environ.get("OPGRID_BROKER_URL") or None


def connect(url: str, name: str = "opgrid", max_connections: int = 20) -> redis.Redis:
    """A client that notices broken connections within seconds and tries again twice. It connects when it is first used.

    Every command that goes through it may thus arrive twice: our scripts are made for that. Not for use across a fork.
    """
    address = BrokerAddress.parse(url)
    settings: dict[str, Any] = {
        "socket_timeout": SOCKET_TIMEOUT,
        "health_check_interval": HEALTH_CHECK_INTERVAL,
        "client_name": client_name(name),
        "max_connections": max_connections,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), 2),
        "retry_on_error": [redis.ConnectionError, redis.TimeoutError],
    }
    if address.scheme != "unix":
        settings |= {"socket_connect_timeout": SOCKET_TIMEOUT, "socket_keepalive": True}
    return redis.Redis.from_url(address.client_url, **settings)


def client_name(name: str) -> str:
    """As Redis takes it, which refuses spaces and what is not ASCII: names of workers and ids of runs may have them."""
    return quote(name, safe=string.punctuation)


def is_unreachable(error: redis.RedisError) -> bool:
    """Whether it is worth waiting: the server cannot be reached, or cannot do yet what it was asked, or does not let
    our user do it, who may have had the right before.
    """
    is_refused = isinstance(error, redis.ResponseError) and _NOT_NOW.search(str(error))
    return isinstance(error, _UNREACHABLE) or bool(is_refused) or lacks_right(error)


def lacks_right(error: redis.RedisError) -> bool:
    """Whether the server does not let our user do what was asked."""
    is_told = isinstance(error, redis.ResponseError) and _MAY_NOT.search(str(error))
    return isinstance(error, redis.exceptions.NoPermissionError) or bool(is_told)


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """What redis-py raises, as BrokerUnreachable."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise BrokerUnreachable(_shown(url), f"it refuses our login ({error})") from error
    except redis.RedisError as error:
        if lacks_right(error):
            raise BrokerRefuses(_shown(url), str(error)) from error
        if not is_unreachable(error):
            raise
        if isinstance(error, redis.ResponseError):
            raise BrokerBusy(_shown(url), str(error)) from error
        raise BrokerUnreachable(_shown(url), str(error) or type(error).__name__) from error


def check(client: redis.Redis, url: str) -> None:
    """Raises BrokerUnreachable, and SettingsError for a server that throws away queues and leases when it is full, or
    an address with which it does nothing for us: it has no such database, or our user may not ask it.
    """
    try:
        with reaching(url):
            memory: Any = client.info("memory")
    except BrokerRefuses as error:
        raise SettingsError(f"The broker at {_shown(url)} cannot be used: {error.problem.rstrip('.')}.") from error
    except redis.RedisError as error:
        raise SettingsError(f"The broker at {_shown(url)} cannot be used: {str(error).rstrip('.')}.") from error
    if why := evicts(memory):
        raise SettingsError(
            f"The broker at {_shown(url)} {why}: "
            f"it would lose queued steps. Set it to noeviction: redis-cli CONFIG SET maxmemory-policy noeviction"
        )


def evicts(memory: Mapping[str, Any]) -> str:
    """Whether a server with this ``INFO memory`` throws keys away, in words; "" for no."""
    policy = memory.get("maxmemory_policy", "noeviction")
    return "" if policy == "noeviction" else f"evicts keys when its memory is full (maxmemory-policy {policy})"


@lru_cache(maxsize=64)
def _shown(url: str) -> str:
    return BrokerAddress.parse(url).shown
