"""What is on its way: every attempt that was submitted and has not reported its end. Pure: time is an argument.

Nothing here trusts a clock of another machine. A lease is dead when *we* saw it unchanged for so long, and only while
we could see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from opgrid.broker.keys import lease_field
from opgrid.broker.scripts import Attempt
from opgrid.contracts.events import AnyEvent, StepCanceled, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.ids import RunId, StepKey

Id = tuple[RunId, StepKey]
_ENDS = StepSucceeded | StepFailed | StepLost | StepCanceled


@dataclass(slots=True)
class Flight:
    """One attempt."""

    at: Attempt
    task: StepTask | None  #: None: another process submitted it, before this one took over
    queue: str
    priority: int
    order: int  #: of being sent; sent again, it gets a new one
    claimed: bool = False
    lease: bytes = b""  #: as it was seen last
    seen: float = 0.0  #: since when it has read so
    suspected: bool = False  #: its message was not found once
    resend_after: float = 0.0
    resent: int = 0


class Flights:
    def __init__(self, lease_ttl: float) -> None:
        self.lease_ttl = lease_ttl
        self.briefs: dict[RunId, RunBrief] = {}
        self._by_step: dict[Id, Flight] = {}
        self._queued: dict[Id, Flight] = {}
        self._order = 0
        self._crews: dict[Id, list[StepKey]] = {}  #: by leader: steps that were sent with it
        self._leaders: dict[Id, Id] = {}  #: and the leader of each
        self._overtaken: dict[tuple[str, int], int] = {}  #: by queue and priority: the latest order that was claimed

    def __len__(self) -> int:
        return len(self._by_step)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._by_step.values())

    def get(self, run_id: RunId, step: StepKey) -> Flight | None:
        return self._by_step.get((run_id, step))

    def of_run(self, run_id: RunId) -> list[Flight]:
        return [flight for (run, _), flight in self._by_step.items() if run == run_id]

    def departs(self, at: Attempt, task: StepTask | None, queue: str, priority: int, now: float) -> Flight:
        self._order += 1
        flight = Flight(at, task, queue, priority, self._order, seen=now)
        self._by_step[_id(at)] = self._queued[_id(at)] = flight
        if task is not None and task.then:
            self._crews[_id(at)] = [mate.step for mate in task.then]
            self._leaders.update({(task.run_id, mate.step): _id(at) for mate in task.then})
        return flight

    def is_aboard(self, task: StepTask) -> bool:
        """Whether it has travelled with a step that it waited for, and its message with it."""
        return task.attempt == 1 and (task.run_id, task.step) in self._leaders

    def mates(self, run_id: RunId, step: StepKey) -> list[StepKey]:
        """Those that travel with this one and wait for it."""
        return self._crews.get((run_id, step), [])

    def _disband(self, member: Id) -> None:
        """The worker does not go on with the rest."""
        leader = self._leaders.get(member, member)
        for mate in self._crews.pop(leader, ()):
            self._leaders.pop((leader[0], mate), None)

    def sent_again(self, flight: Flight, now: float) -> None:
        self._order += 1
        flight.order = self._order
        flight.suspected = False
        self._disband(_id(flight.at))
        flight.resent += 1
        flight.resend_after = now + self.lease_ttl * 2 ** min(flight.resent, 6)

    def handle(self, event: AnyEvent, now: float) -> None:
        """What the stream told."""
        if isinstance(event, StepStarted):
            flight = self._by_step.get((event.run_id, event.step))
            if flight is not None and flight.at.attempt == event.attempt:
                self._claimed(flight, now)
        elif isinstance(event, _ENDS):
            flight = self._by_step.get((event.run_id, event.step))
            if flight is not None and flight.at.attempt == event.attempt:
                del self._by_step[event.run_id, event.step]
                self._queued.pop((event.run_id, event.step), None)
                if not isinstance(event, StepSucceeded):
                    self._disband((event.run_id, event.step))

    def _claimed(self, flight: Flight, now: float) -> None:
        flight.claimed, flight.seen, flight.lease = True, now, b""
        self._queued.pop(_id(flight.at), None)
        line = flight.queue, flight.priority
        self._overtaken[line] = max(flight.order, self._overtaken.get(line, 0))

    def forget(self, run_id: RunId) -> list[Flight]:
        """The run is over; what was still on its way."""
        gone = self.of_run(run_id)
        for flight in gone:
            del self._by_step[_id(flight.at)]
            self._queued.pop(_id(flight.at), None)
        self.briefs.pop(run_id, None)
        for leader in [leader for leader in self._crews if leader[0] == run_id]:
            self._disband(leader)
        return gone

    # ---- leases ----------------------------------------------------------------------------------------------------

    @property
    def claimed(self) -> list[Flight]:
        return [flight for flight in self._by_step.values() if flight.claimed]

    def look(self, leases: Mapping[bytes, bytes], now: float) -> list[Flight]:
        """Compare with the leases as they read now; gives those that have not changed for a whole TTL."""
        dead = []
        for flight in self._by_step.values():
            lease = leases.get(lease_field(flight.at.run_id, flight.at.step).encode(), b"")
            if lease and not flight.claimed and _attempt_of(lease) == flight.at.attempt:
                self._claimed(flight, now)  # its StepStarted is still to come
            if not flight.claimed:
                continue
            if lease != flight.lease:
                flight.lease, flight.seen = lease, now
            elif now - flight.seen >= self.lease_ttl:
                dead.append(flight)
        return dead

    def blind(self, now: float, extra: float = 0.0) -> None:
        """We could not see, or Redis has lost what there was to see: every lease gets its full time again."""
        for flight in self._by_step.values():
            flight.seen = now + extra
            flight.suspected = False

    # ---- messages --------------------------------------------------------------------------------------------------

    @property
    def queued(self) -> list[Flight]:
        """Sent and not claimed, in order of sending."""
        return sorted(self._queued.values(), key=lambda flight: flight.order)

    def lost(self, in_queue: Mapping[str, int], now: float) -> list[Flight]:
        """Those whose message is nowhere, the second time that this is found.

        ``in_queue``: how many messages wait in each queue, ours or not. What a worker has taken and not yet claimed is
        in none for some milliseconds; what it took before it died stays so.
        """
        missing: dict[str, list[Flight]] = {}
        for flight in self.queued:
            if self._waits_aboard(flight):
                continue
            if now >= max(flight.resend_after, flight.seen + self.lease_ttl / 4):
                missing.setdefault(flight.queue, []).append(flight)
        found: list[Flight] = []
        for queue, flights in missing.items():
            overtaken = [flight for flight in flights if self._is_overtaken(flight)]
            more = max(0, len(flights) - in_queue.get(queue, 0) - len(overtaken))
            rest = [flight for flight in flights if not self._is_overtaken(flight)]
            found += overtaken + rest[:more]
        certain = [flight for flight in found if flight.suspected]
        suspects = {id(flight) for flight in found}
        for flight in self._queued.values():
            flight.suspected = id(flight) in suspects
        return certain

    def _waits_aboard(self, flight: Flight) -> bool:
        """A worker has it, and runs another of its crew."""
        leader = self._leaders.get(_id(flight.at))
        if leader is None:
            return False
        crew = (self._by_step.get((leader[0], step)) for step in (leader[1], *self._crews[leader]))
        return any(other is not None and other.claimed for other in crew)

    def _is_overtaken(self, flight: Flight) -> bool:
        """A message sent later was claimed, and queues are served in order."""
        return flight.order < self._overtaken.get((flight.queue, flight.priority), 0)


def _id(at: Attempt) -> Id:
    return RunId(at.run_id), StepKey(at.step)


def _attempt_of(lease: bytes) -> int:
    return int(lease.split(b" ", 1)[0])
