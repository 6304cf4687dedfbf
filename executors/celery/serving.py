"""Which queues workers serve, as those say that are there; and runs whose steps wait in one that nobody serves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from opgrid.broker.connection import reaching
from opgrid.broker.keys import DEFAULT_QUEUE
from opgrid.broker.presence import alive, announce_backlog, others_serving
from opgrid.broker.protocol import Protocol
from opgrid.contracts.events import EngineNote
from opgrid.errors import listed
from opgrid.ids import RunId

_UNSERVED: Final = 4  #: processes that a queue is taken to have while no worker serves it
_COUNT_EVERY: Final = 1.0  #: seconds


class Serving:
    """Of the fleet that one executor sends steps to. Raises BrokerUnreachable."""

    def __init__(self, protocol: Protocol, stream: str, lease_ttl: float) -> None:
        self._protocol, self._stream, self._lease_ttl = protocol, stream, lease_ttl
        self._served: dict[str, int] = {}  #: processes that serve each queue
        self._next_count = 0.0
        self._told_backlog = False
        self._missed: set[tuple[str, str]] = set()  #: runs and queues, of which was said that nobody serves them

    def slots(self, queue: str, now: float) -> int:
        """Processes of workers that serve a queue; some where none does, so that it is seen to wait."""
        if now >= self._next_count:
            self._next_count = now + _COUNT_EVERY
            with reaching(self._protocol.url):
                workers = alive(self._protocol.client, self._protocol.keys)
            self._served = {}
            for worker in workers:
                if not worker.understands:
                    continue
                for name in worker.queues:
                    self._served[name] = self._served.get(name, 0) + worker.concurrency
        return self._served.get(queue) or _UNSERVED

    def tell_backlog(self, waiting: Mapping[str, int]) -> None:
        """How many steps are still to be sent to each queue, for who looks at the fleet, or scales it."""
        if waiting or self._told_backlog:
            self._told_backlog = bool(waiting)
            with reaching(self._protocol.url):
                announce_backlog(self._protocol.client, self._protocol.keys, self._stream, waiting, self._lease_ttl)

    def missing(self, waiting: Iterable[tuple[str, str]]) -> Iterator[EngineNote]:
        """Of runs and the queues that their steps wait in: once each, that they wait for somebody to start a worker."""
        unsaid = set(waiting) - self._missed
        if not unsaid:
            return
        with reaching(self._protocol.url):
            workers = alive(self._protocol.client, self._protocol.keys)
        served = {queue for worker in workers if worker.understands for queue in worker.queues}
        for run_id, queue in sorted(unsaid):
            if queue in served:
                continue
            self._missed.add((run_id, queue))
            others = f" Workers that are there serve: {listed(served)}." if served else ""
            others += others_serving(workers, queue)
            text = (
                f"No worker serves the queue {queue!r}: its steps wait.{others} Start one with: opgrid worker start -f "
                f"FILE{'' if queue == DEFAULT_QUEUE else f' -q {queue}'}"
            )
            yield EngineNote(run_id=RunId(run_id), at=time.time(), message=text)

    def forget(self, run_id: RunId) -> None:
        self._missed = {each for each in self._missed if each[0] != run_id}
