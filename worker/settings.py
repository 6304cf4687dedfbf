"""What a worker is told when it starts."""

from __future__ import annotations

import socket

import msgspec

from opgrid.broker.environment import DEFAULT_LEASE_TTL
from opgrid.broker.keys import DEFAULT_QUEUE
from opgrid.contracts.tasks import CodeTarget


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Frozen; also what the watch process is told, as JSON through a pipe."""

    broker_url: str
    home: str  #: absolute
    deployment: str
    name: str
    code: tuple[CodeTarget, ...] = ()
    versions: tuple[str, ...] = ()  #: of what was loaded for each ``code``
    release: str = ""  #: of opgrid
    queues: tuple[str, ...] = (DEFAULT_QUEUE,)
    concurrency: int = 1
    lease_ttl: float = DEFAULT_LEASE_TTL  #: seconds; coordinators have to use the same
    cancel_grace: float = 10.0  #: seconds between asking a step to stop and killing it
    redis_grace: float = 60.0  #: seconds that a finished step waits for a Redis that does not answer
    code_patience: float = 60.0  #: seconds until a step fails that no worker has the code for
    watchdog_seconds: float = 30.0  #: without taking one of the messages that wait, until the worker ends; 0: for ever
    drain_seconds: float = 20.0  #: how long SIGQUIT waits for running steps before they are lost
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None  #: MiB
    autoscale: tuple[int, int] | None = None  #: (most, least) processes
    log_level: str = "INFO"

    @property
    def beat_interval(self) -> float:
        return self.lease_ttl / 4

    @property
    def longest_silence(self) -> float:
        """Of the worker's parent process, until nobody beats for it any more."""
        return self.lease_ttl / 2


def default_name() -> str:
    return f"opgrid@{socket.gethostname()}"
