"""Which keys a deployment holds in Redis. What IO managers store there is theirs (``opgrid.io.redis``)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opgrid.contracts import wire
from opgrid.errors import SettingsError

DEFAULT_DEPLOYMENT: Final = "opgrid"
DEFAULT_QUEUE: Final = "opgrid"
#: Priorities of steps that are told apart, higher first; what lies beyond counts as the nearest.
LOWEST_PRIORITY: Final = -5
HIGHEST_PRIORITY: Final = 10
#: Redis' lists are read in this order, so that 0 is served first.
PRIORITY_STEPS: Final = tuple(range(HIGHEST_PRIORITY - LOWEST_PRIORITY + 1))
PRIORITY_MARK: Final = "\x06\x16"  #: kombu's, between the name of a queue and its priority
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Keys:
    """Every key begins with the name of the deployment: several may share a Redis."""

    deployment: str = DEFAULT_DEPLOYMENT

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Keys:
        name = environ.get("OPGRID_DEPLOYMENT") or DEFAULT_DEPLOYMENT
        if not _NAME.fullmatch(name):
            raise SettingsError(f"OPGRID_DEPLOYMENT is {name!r}; it may hold letters, digits and _.- only, 64 at most.")
        return cls(name)

    @property
    def secret(self) -> str:
        """The id of the key that this deployment signs with."""
        return f"{self.deployment}:secret"

    @property
    def database(self) -> str:
        """The id of the database for which the streams of shards are read, and on which host."""
        return f"{self.deployment}:database"

    @property
    def generation(self) -> str:
        """A random number that is gone when Redis has lost its data."""
        return f"{self.deployment}:generation"

    def events(self, stream: str) -> str:
        """Stream: what workers report to one coordinator."""
        return f"{self.deployment}:events:{stream}"

    def leases(self, stream: str) -> str:
        """Hash: :func:`lease_field` -> ``attempt claim beat owner``."""
        return f"{self.deployment}:leases:{stream}"

    def told(self, stream: str) -> str:
        """The generation of Redis that was told of all that is out by the coordinator of that stream."""
        return f"{self.deployment}:told:{stream}"

    def run(self, run_id: str) -> str:
        """Hash: the fences and cancel marks of a run's steps."""
        return f"{self.deployment}:run:{run_id}"

    def brief(self, content: str) -> str:
        return f"{self.deployment}:brief:{content}"

    def job(self, content: str) -> str:
        """A job that travels by value, sealed."""
        return f"{self.deployment}:job:{content}"

    def tasks(self, brief: str, content: str) -> str:
        """Step tasks that are too long for a message."""
        return f"{self.deployment}:tasks:{brief}:{content}"

    def hands(self, brief: str, queue_list: str = "") -> str:
        """List: the keys of :meth:`hand` where processes wait for more steps of a run, of a queue."""
        return f"{self.deployment}:hands:{brief}:{queue_list}"

    def hand(self, name: str) -> str:
        """List: the message that a process gets which waits there. It does so while there is another key, with
        ``:open`` behind.
        """
        return f"{self.deployment}:hand:{name}"

    @property
    def workers(self) -> str:
        """Set: the keys of :meth:`worker` that were written."""
        return f"{self.deployment}:workers"

    def worker(self, name: str) -> str:
        """What a living worker tells about itself; expires when it no longer beats."""
        return f"{self.deployment}:worker:{name}"

    @property
    def backlogs(self) -> str:
        """Set: the keys of :meth:`backlog` that were written."""
        return f"{self.deployment}:backlogs"

    def backlog(self, stream: str) -> str:
        """JSON: queue -> steps that a coordinator sends when there is room for them. Expires when it is not renewed."""
        return f"{self.deployment}:backlog:{stream}"

    @property
    def celery(self) -> str:
        """Before each of Celery's own keys: queues and bindings of what speaks this version."""
        return f"{self.deployment}:mq{wire.VERSION}:"

    def queue(self, name: str, step: int) -> str:
        """The list of one priority step of a queue."""
        return f"{self.celery}{name}{PRIORITY_MARK}{step}" if step else f"{self.celery}{name}"

    def queue_lists(self, name: str) -> list[str]:
        return [self.queue(name, step) for step in PRIORITY_STEPS]


def priority_step(priority: int) -> int:
    """Ours, where higher goes first, as one of ``PRIORITY_STEPS``, where lower does."""
    return HIGHEST_PRIORITY - max(LOWEST_PRIORITY, min(HIGHEST_PRIORITY, priority))


def lease_field(run_id: str, step: str) -> str:
    return f"{run_id}/{step}"
