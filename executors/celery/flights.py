"""What is on its way: every attempt that was submitted and has not reported its end. Pure: time is an argument.

Nothing here trusts a clock of another machine. A lease is dead when *we* saw it unchanged for so long, and only while
we could see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapreplace
from math import ceil
from typing import Final, cast, get_args

from executors.celery.backlog import SOON, Line, Room, weight
from opgrid.broker.keys import lease_field
from opgrid.broker.protocol import Attempt
from opgrid.contracts.events import StepCanceled, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import StepTask
from opgrid.contracts.told import Report
from opgrid.ids import RunId, StepKey

Id = tuple[RunId, StepKey]
_Told = StepStarted | StepSucceeded | StepFailed | StepLost | StepCanceled
#: ``isinstance`` takes a microsecond for what is none of them.
TOLD: Final = frozenset(get_args(_Told))
#: Messages for each process of a worker: one that it runs, one that waits for it.
_AHEAD: Final = 2
#: Seconds after which something was to be heard of a message.
_LATE: Final = 0.1


@dataclass(slots=True)
class Flight:
    """One attempt."""

    at: Attempt
    task: StepTask | None  #: None: another process submitted it, before this one took over
    line: Line
    order: int  #: of being sent, the same for all in one message; sent again, it gets a new one
    since: float = 0.0  #: when it was to be sent first
    claimed: bool = False
    started: bool = False  #: it was heard to have begun
    went_along: bool = False  #: in the message of one that it waited for
    lease: bytes = b""  #: as it was seen last
    seen: float = 0.0  #: since when it has read so
    refused: bool = False  #: its lease was to end, and Redis said that there is none of this attempt
    suspected: bool = False  #: its message was not found once
    resend_after: float = 0.0
    resent: int = 0


@dataclass(slots=True)
class Message:
    line: Line
    each: float  #: seconds that a step of it is expected to take; 0 where nothing is known
    weight: float = 1.0  #: what it counts for
    flights: int = 0
    claimed: int = 0
    begun: bool = False  #: a worker has it
    returned: bool = False  #: some of it came back before anything else was heard of it
    heard: float = 0.0  #: when something was heard of it last

    def seconds(self, now: float) -> float:
        """Of work that is left in it. Of one that is late nothing is known: its worker may be gone."""
        left = self.flights * self.each
        if not self.begun:
            return left
        if now - self.heard > left + _LATE:
            return 0.0
        return min(left, SOON) if self.flights == 1 else left  # the last step may end at any time


class Flights:
    def __init__(self, lease_ttl: float) -> None:
        self.lease_ttl = lease_ttl
        self._by_step: dict[Id, Flight] = {}
        self._queued: dict[Id, Flight] = {}
        self._order = 0
        self._messages: dict[int, Message] = {}  #: by order: those with something that has not ended
        self._in_line: dict[Line, float] = {}  #: what they count for
        self._crews: dict[Id, dict[StepKey, StepTask]] = {}  #: by leader: those sent with it that have not ended
        self._leaders: dict[Id, tuple[Id, int]] = {}  #: the leader of each, and the order of their message
        self._adrift: dict[RunId, set[StepKey]] = {}  #: sent with others by a process that died since
        self._stops: dict[Id, int] = {}  #: attempts that are canceled and have not reported their end
        self._overtaken: dict[Line, int] = {}  #: the latest order that was claimed

    def __len__(self) -> int:
        return len(self._by_step)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._by_step.values())

    def get(self, run_id: RunId, step: StepKey) -> Flight | None:
        return self._by_step.get((run_id, step))

    def of_run(self, run_id: RunId) -> list[Flight]:
        return [flight for (run, _), flight in self._by_step.items() if run == run_id]

    def new_order(self) -> int:
        """For a message."""
        self._order += 1
        return self._order

    def departs(
        self,
        at: Attempt,
        task: StepTask | None,
        line: Line,
        now: float,
        order: int | None = None,
        each: float = 0.0,
    ) -> Flight:
        """In the message of that order; None: in that of its leader, or one of its own."""
        step = _id(at)
        went_along = order is None and step in self._leaders
        if order is None:
            order = self._leaders[step][1] if went_along else self.new_order()
        flight = Flight(at, task, line, order, now, seen=now, went_along=went_along)
        before = self._by_step.get(step)
        if before is not None:
            self._leaves(before)
        self._by_step[step] = self._queued[step] = flight
        message = self._messages.get(order)
        if message is None:
            message = self._messages[order] = Message(line, each, weight(task, each))
            self._in_line[line] = self._in_line.get(line, 0.0) + message.weight
        message.flights += 1
        if task is not None and task.then:
            for mate in task.then:
                self.lets_go(task.run_id, mate.step)
            self._crews.setdefault(step, {}).update({mate.step: mate for mate in task.then})
            self._leaders.update({(task.run_id, mate.step): (step, order) for mate in task.then})
        return flight

    def delay(self, flight: Flight, resent: int, now: float) -> None:
        """Its message was lost so many times: it is missed later each time."""
        flight.resent = resent
        if resent:
            flight.resend_after = now + self.lease_ttl * 2 ** min(resent, 6)

    def stop(self, run_id: RunId, step: StepKey, attempt: int) -> None:
        """It was canceled: should it come back, or Redis forget it, it is canceled again."""
        self._stops[run_id, step] = attempt

    def is_stopped(self, flight: Flight) -> bool:
        return self._stops.get(_id(flight.at)) == flight.at.attempt

    def stopping(self) -> set[RunId]:
        """Runs of which attempts are canceled and have not reported their end."""
        return {run_id for run_id, _ in self._stops}

    def stops(self, run_id: RunId) -> list[tuple[StepKey, int]]:
        return [(step, attempt) for (run, step), attempt in self._stops.items() if run == run_id]

    def room(self, line: Line, slots: int, now: float) -> Room:
        """For messages to so many processes."""
        free = _AHEAD * slots - self._in_line.get(line, 0.0)
        if free <= 0:  # as nearly always while there is much to do
            return Room(0, 0, slots)
        mine = [message for message in self._messages.values() if message.line == line]
        work = sorted(message.seconds(now) for message in mine if message.begun)[-slots:]
        work = [0.0] * (slots - len(work)) + work
        for message in mine:
            if not message.begun:
                heapreplace(work, work[0] + message.seconds(now))
        busy = [seconds for seconds in work if seconds > SOON]
        return Room(free, min(ceil(free), slots - len(busy)), slots, sum(busy))

    def goes_on(self, at: Attempt, line: Line, now: float, extra: float) -> None:
        """It had begun, and Redis has forgotten it: its worker beats for it again, where it lives."""
        flight = self.departs(at, None, line, now)
        flight.started = True
        self._has_worker(flight, now + extra)

    def returns(self, flight: Flight) -> None:
        """It is to be sent again, or given up."""
        self._leaves(flight)
        self._disband(_id(flight.at))

    def left_behind(
        self, lost: Flight, returned: Iterable[tuple[RunId, StepKey, int]] = ()
    ) -> list[tuple[RunId, StepKey, int]]:
        """What nobody has any more: it came in one message with an attempt that was lost, or in the next, which its
        process had taken along and of which no more was heard than what came back. ``returned``: what has come back
        and is still to be seen to.
        """
        for run_id, step, _ in returned:
            self._notes_return(run_id, step)
        orders = {order for order, message in self._messages.items() if message.returned} | {lost.order}
        return [
            (RunId(each.at.run_id), StepKey(each.at.step), each.at.attempt)
            for each in self._queued.values()
            if each.order in orders
        ]

    def _notes_return(self, run_id: RunId, step: StepKey) -> None:
        flight = self.get(run_id, step)
        if flight is not None and not self._messages[flight.order].begun:
            self._messages[flight.order].returned = True

    def is_aboard(self, task: StepTask) -> bool:
        """Whether it has travelled with a step that it waited for, and its message with it."""
        return task.attempt == 1 and (task.run_id, task.step) in self._leaders

    def task(self, run_id: RunId, step: StepKey) -> StepTask | None:
        """Of a step that is out, or travels with one that is; None where it is not known."""
        if (run_id, step) in self._leaders:
            return self._crews[self._leader((run_id, step))][step]
        flight = self._by_step.get((run_id, step))
        return None if flight is None else flight.task

    def lets_go(self, run_id: RunId, step: StepKey) -> None:
        """It does not travel any more with one that it waited for: whoever submits it has it sent."""
        if (run_id, step) in self._leaders:
            leader, _ = self._leaders.pop((run_id, step))
            del self._crews[leader][step]
            if not self._crews[leader]:
                del self._crews[leader]

    def comes_back(self, run_id: RunId, step: StepKey) -> None:
        """A worker has given it back; it may travel in another message by now, with another attempt of its leader."""
        self._notes_return(run_id, step)
        self.lets_go(run_id, step)
        if self.get(run_id, step) is None:
            self.drifts(run_id, step)

    def drifts(self, run_id: RunId, step: StepKey) -> None:
        """It travels with one that it waits for, and nobody knows any more with which, or that one has ended."""
        self._adrift.setdefault(run_id, set()).add(step)

    def mates(self, run_id: RunId, steps: Collection[StepKey]) -> set[StepKey]:
        """All others of their run that travel with a step: whoever has these, or has ended some before it was heard of,
        would go on with them.
        """
        return self.aboard(run_id).difference(steps) if steps else set()

    def aboard(self, run_id: RunId) -> set[StepKey]:
        """Steps that travel with others that they may wait for."""
        return {step for run, step in self._leaders if run == run_id} | self._adrift.get(run_id, set())

    def _leader(self, member: Id) -> Id:
        return self._leaders[member][0] if member in self._leaders else member

    def _leaves(self, flight: Flight) -> None:
        step = _id(flight.at)
        self._by_step.pop(step, None)
        self._queued.pop(step, None)
        message = self._messages[flight.order]
        message.flights -= 1
        message.claimed -= flight.claimed
        if not message.flights:
            del self._messages[flight.order]
            self._in_line[message.line] -= message.weight

    def _disband(self, member: Id) -> None:
        """The worker does not go on with the rest."""
        leader = self._leader(member)
        for mate in self._crews.pop(leader, ()):
            self._leaders.pop((leader[0], mate), None)

    def _falls_out(self, run_id: RunId, step: StepKey) -> None:
        """It has failed: the worker goes on with those that do not wait for it."""
        gone = {step}
        for mate in self._crews.get(self._leader((run_id, step)), {}).values():
            if not gone.isdisjoint(mate.after):
                gone.add(mate.step)
        for each in gone:
            self.lets_go(run_id, each)

    def handle(self, event: Report, now: float) -> Flight | None:
        """What the stream told. Gives the attempt that has ended by it."""
        if type(event) not in TOLD:
            return None
        event = cast(_Told, event)
        step = event.run_id, event.step
        flight = self._by_step.get(step)
        if isinstance(event, StepStarted):
            if flight is not None and flight.at.attempt == event.attempt:
                flight.started = True
                self._claimed(flight, now)
            return None
        succeeded = isinstance(event, StepSucceeded)
        if self._stops and self._stops.get(step) == event.attempt:
            del self._stops[step]
        if flight is None and succeeded:
            self.lets_go(*step)  # it was as quick as what it waited for
        if flight is None or flight.at.attempt != event.attempt:
            return None
        message = self._messages[flight.order]
        message.begun, message.returned, message.heard = True, False, now
        self._leaves(flight)
        if succeeded:
            self.lets_go(*step)
        elif isinstance(event, StepFailed) and not event.timed_out:
            self._falls_out(event.run_id, event.step)
        else:  # its process may have ended with it
            self._disband((event.run_id, event.step))
        return flight

    def _claimed(self, flight: Flight, now: float) -> None:
        self._has_worker(flight, now)
        self._overtaken[flight.line] = max(flight.order, self._overtaken.get(flight.line, 0))

    def _has_worker(self, flight: Flight, now: float) -> None:
        message = self._messages[flight.order]
        message.claimed += not flight.claimed
        message.begun, message.returned, message.heard = True, False, now
        flight.claimed, flight.seen, flight.lease = True, now, b""
        self._queued.pop(_id(flight.at), None)

    def forget(self, run_id: RunId) -> list[Flight]:
        """The run is over; what was still on its way."""
        gone = self.of_run(run_id)
        for flight in gone:
            self._leaves(flight)
        self._adrift.pop(run_id, None)
        self._stops = {step: attempt for step, attempt in self._stops.items() if step[0] != run_id}
        for leader in [leader for leader in self._crews if leader[0] == run_id]:
            self._disband(leader)
        return gone

    # ---- leases ----------------------------------------------------------------------------------------------------

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
                flight.lease, flight.seen, flight.refused = lease, now, False
            elif now - flight.seen >= self.lease_ttl:
                dead.append(flight)
        return dead

    def blind(self, now: float, extra: float = 0.0) -> None:
        """We could not see, or Redis has lost what there was to see: every lease gets its full time again."""
        for flight in self._by_step.values():
            flight.seen = flight.since = now + extra
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
        missing: dict[str, dict[int, list[Flight]]] = {}
        for flight in self.queued:
            if self._messages[flight.order].claimed:
                continue  # a worker has it, and runs another that came with it
            if now >= max(flight.resend_after, flight.seen + self.lease_ttl / 4):
                missing.setdefault(flight.line.queue, {}).setdefault(flight.order, []).append(flight)
        found: list[Flight] = []
        for queue, messages in missing.items():
            overtaken = [flights for flights in messages.values() if self._is_overtaken(flights[0])]
            rest = [flights for flights in messages.values() if not self._is_overtaken(flights[0])]
            more = max(0, len(rest) - in_queue.get(queue, 0))
            found += [flight for flights in (*overtaken, *rest[:more]) for flight in flights]
        certain = [flight for flight in found if flight.suspected]
        suspects = {id(flight) for flight in found}
        for flight in self._queued.values():
            flight.suspected = id(flight) in suspects
        return certain

    def _is_overtaken(self, flight: Flight) -> bool:
        """A message sent later was claimed, and queues are served in order. Where a step is that went along with
        another is not known: its worker may have sent it on.
        """
        return not flight.went_along and flight.order < self._overtaken.get(flight.line, 0)


def _id(at: Attempt) -> Id:
    return cast(Id, (at.run_id, at.step))


def owner_of(lease: bytes) -> str:
    """Behind which blanks may follow."""
    return lease.decode(errors="replace").rstrip().rpartition(" ")[2]


def _attempt_of(lease: bytes) -> int:
    return int(lease.split(b" ", 1)[0])
