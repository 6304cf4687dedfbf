"""The executor of a simulated coordinator: as ``CeleryExecutor``, over a simulated Redis."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from executors.celery.backlog import Backlog, Line, Parcel, Waiting, each_of
from executors.celery.flights import Flight, Flights
from opgrid.broker.pace import Pace
from opgrid.broker.protocol import Attempt
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    LossCause,
    StepCanceled,
    StepFailed,
    StepLost,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, Polled, Position
from opgrid.contracts.fusing import out_with
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.errors import ExecutorUnavailable
from opgrid.ids import RunId, StepKey
from tests.property.runs import RUN
from tests.simulation.redis import Claim, Redis, Returned

if TYPE_CHECKING:
    from tests.simulation.coordinator import Coordinator
    from tests.simulation.world import World

LINE = Line("q")
TTL = 8.0


class Remote(Executor):
    """As ``CeleryExecutor``, with the same rules for leases, lost messages and a Redis that forgot."""

    fuses = True
    sooner_alone = 0.016

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator, self.world = coordinator, coordinator.world
        coordinator.executor = self
        self.flights, self.backlog, self.pace = Flights(TTL), Backlog(), Pace()
        self.returned: list[tuple[StepKey, int]] = []  #: by workers, and still to be taken back
        self.over: dict[StepKey, int] = {}  #: attempts that had ended when they were submitted
        self.begun: set[int] = set()  #: orders of messages of which something was claimed
        self.position = 0
        self.generation = self.world.redis.generation
        self.all_is_told = self.is_submitting = self.has_inherited = False
        self.told_of: set[tuple[StepKey, int]] = set()  #: what was out then
        self.brief: RunBrief | None = None
        self.next_look = self.next_search = 0.0
        self.blind = False

    @contextmanager
    def _reaching(self) -> Iterator[Redis]:
        """The call may fail, before or after it has done its work."""
        self.coordinator.point("before a call")
        if not self.world.is_up or self.world.chance() < self.world.trouble / 3:
            raise ExecutorUnavailable("down")
        yield self.world.redis
        if self.world.chance() < self.world.trouble / 3:
            raise ExecutorUnavailable("the answer was lost")
        self.coordinator.point("after a call")

    def expects(self, job: str, op: str) -> float | None:
        return self.world.expected if self.world.knows else None

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        self.brief, self.is_submitting = run, True
        travelling = []
        beside = {mate.step for task in tasks for mate in out_with(task)[1:]}
        for task in tasks:
            self.world.submitted(task)
            if task.step in beside:
                continue
            known = self.flights.get(task.run_id, task.step)
            self.pace.learn((run.job.name, task.op or task.node), self.world.expected)
            if known is not None and known.at.attempt == task.attempt:
                known.task = task
            elif self.flights.is_aboard(task):
                travelling.append(task)
            else:
                self.backlog.put(Waiting(run, "", task, LINE, self.world.now))
        if travelling:
            self._follow(travelling)
        self._dispatch()
        if not self.all_is_told:
            self._tell_what_waits()
        self.is_submitting = False

    def _follow(self, tasks: Sequence[StepTask]) -> None:
        with self._reaching() as redis:
            said = [redis.fence(task.step, task.attempt) for task in tasks]
        for task, is_open in zip(tasks, said, strict=True):
            if not is_open:
                self.over[task.step] = task.attempt
            else:
                self.world.sends(task, self.coordinator)
                self.flights.departs(_at(task), task, LINE, self.world.now)

    def _dispatch(self) -> None:
        slots, now = self.world.slots, self.world.now
        while parcels := self.backlog.parcels(LINE, self.flights.room(LINE, slots, now), self.pace):
            self._publish(parcels)

    def _publish(self, parcels: Sequence[Parcel]) -> None:
        messages = [tuple(each.task for each in parcel) for parcel in parcels]
        mates = [(m.step, m.attempt) for message in messages for task in message for m in task.then if m.after]
        try:
            with self._reaching() as redis:
                for task in (each for message in messages for first in message for each in out_with(first)):
                    self.world.sends(task, self.coordinator)
                if self.world.mutant == "a run that is over can be sent":
                    redis.is_over = False
                answers = iter(redis.publish(messages, parcels[0][0].again))
                redis.aboard(mates)
        except ExecutorUnavailable:
            for parcel in reversed(parcels):
                self.backlog.put_back(parcel)
            self.world.nobody_knows()
            raise
        for parcel in parcels:
            order, seconds = self.flights.new_order(), each_of(parcel, self.pace)
            for waiting, task in [(each, task) for each in parcel for task in out_with(each.task)]:
                if not next(answers):
                    self.over[task.step] = task.attempt
                    for mate in task.then:
                        self.flights.drifts(RUN, mate.step)
                    continue
                flight = self.flights.departs(_at(task), task, waiting.line, self.world.now, order, seconds)
                flight.since = waiting.since
                self.flights.delay(flight, waiting.resent, self.world.now)

    def poll(self, timeout: float) -> Polled:
        until = self.world.now + timeout
        while True:
            events: list[AnyEvent] = []
            try:
                self._keep_up()
                events = self._read()
                self._see_again()
                self._take_back()
                self._dispatch()
                if not self.all_is_told and not self.is_submitting:
                    self._tell_that_all_is_told(self.generation)
            except ExecutorUnavailable:
                self.blind = True
                if self.world.mutant == "what was read before a call failed is forgotten":
                    events = []
            if events or self.world.now >= until or self.coordinator.woken:
                self.coordinator.woken = False
                return Polled(events, f"{self.generation}/{self.position}")
            self.coordinator.point("waiting", waits=True)

    def _tell_that_all_is_told(self, generation: int) -> None:
        with self._reaching() as redis:
            redis.told = generation
        self.all_is_told = True
        self.told_of = self.out()

    def out(self) -> set[tuple[StepKey, int]]:
        waiting = {(each.task.step, each.task.attempt) for each in self.backlog.of_run(RUN)}
        return waiting | {(StepKey(flight.at.step), flight.at.attempt) for flight in self.flights}

    def _tell_what_waits(self) -> None:
        waiting = [each for each in self.backlog.of_run(RUN) if each.again or self.has_inherited]
        if waiting and self.world.mutant != "what waits is not told to the next Redis":
            with self._reaching() as redis:
                redis.aboard([(each.task.step, each.task.attempt) for each in waiting])

    def _see_again(self) -> None:
        if self.blind:
            self.blind = False
            self.flights.blind(self.world.now)

    def _read(self) -> list[AnyEvent]:
        with self._reaching() as redis:
            fresh = [(number, entry) for number, entry in redis.stream if number > self.position]
        if self.over and self.world.chance() < self.world.trouble / 3:  # Redis is slow, and somebody has rung
            if self.world.mutant != "a read that was broken off has found nothing":
                return []
            fresh = []
        events: list[AnyEvent] = []
        for number, entry in fresh:
            self.position = max(self.position, number)
            if isinstance(entry, Returned):
                self.returned += entry.steps
            else:
                events.append(entry)
        for event in events:
            flight = self.flights.handle(event, self.world.now)
            if flight is not None and isinstance(event, StepLost) and not event.gone:
                back = [(RUN, step, attempt) for step, attempt in self.returned]
                self.returned += [(step, attempt) for _, step, attempt in self.flights.left_behind(flight, back)]
            if isinstance(event, StepSucceeded | StepFailed | StepLost | StepCanceled):
                self.over.pop(event.step, None)
        if self.world.mutant != "an end that came too early counts":
            why = "its end had come before it was known to be out"
            events += [_lost(self.world, step, attempt, why) for step, attempt in self.over.items()]
        self.over.clear()
        return events

    def _take_back(self) -> None:
        for step, _ in self.returned:
            self.flights.comes_back(RUN, step)
        flights = [(self.flights.get(RUN, step), attempt) for step, attempt in dict.fromkeys(self.returned)]
        self._back_to_backlog([each for each, attempt in flights if each and each.at.attempt == attempt])
        self.returned.clear()

    def _keep_up(self) -> None:
        now = self.world.now
        if now >= self.next_look:
            self.next_look = now + TTL / 8
            self._look(now)
        if now >= self.next_search and self.world.mutant != "nothing is sent again":
            self.next_search = now + TTL * 5 / 8
            with self._reaching() as redis:
                waiting = {"q": len(redis.queue)}
            lost = self.flights.lost(waiting, now)
            if self.world.mutant == "the rest of a batch is lost with its message":
                lost = [flight for flight in lost if flight.order not in self.begun]
            self._back_to_backlog(lost, resent=1)
        self.begun |= {flight.order for flight in self.flights if flight.claimed}

    def _back_to_backlog(self, flights: Sequence[Flight], resent: int = 0) -> None:
        stopped = [(StepKey(each.at.step), each.at.attempt) for each in flights if self.flights.is_stopped(each)]
        if stopped:
            self._stop(stopped)
        for flight in reversed([each for each in flights if not self.flights.is_stopped(each)]):
            self.flights.returns(flight)
            if flight.task is None or self.brief is None:
                continue
            task, times = flight.task, flight.resent + resent
            if len(out_with(task)) > 1:
                task = msgspec.structs.replace(task, then=())
            self.backlog.put_back([Waiting(self.brief, "", task, flight.line, flight.since, True, times)])

    def _look(self, now: float) -> None:
        with self._reaching() as redis:
            generation = redis.generation
            leases = {_field(step): lease.text for step, lease in redis.leases.items()}
        if generation != self.generation and self.world.mutant != "nobody notices a wipe":
            self._start_over(generation, now)
            return
        if self.world.mutant != "an outage counts as silence":
            self._see_again()
        for flight in self.flights.look(leases, now):
            step, attempt = StepKey(flight.at.step), flight.at.attempt
            if not flight.lease:
                self._back_to_backlog([flight])
                continue
            if not flight.started:
                claim = Claim(step, attempt, flight.lease.split(b" ")[1].decode())
                with self._reaching() as redis:
                    redis.exchange([], [claim], Returned(((step, attempt),)), [])
                continue
            event = _lost(self.world, step, attempt, "silent")
            with self._reaching() as redis:
                is_open = redis.expire(step, attempt, flight.lease, event)
            flight.seen = now
            if not is_open and flight.refused:
                self.over[step] = attempt
                self.flights.returns(flight)
            flight.refused = not is_open

    def _start_over(self, generation: int, now: float) -> None:
        with self._reaching() as redis:
            flights = list(self.flights)
            for flight in flights:
                redis.fence(StepKey(flight.at.step), flight.at.attempt)
        self._tell_what_waits()
        with self._reaching() as redis:
            redis.aboard([(step, 1) for step in self.flights.aboard(RUN)])
        self.cancel(RUN, self.flights.stops(RUN))
        self._back_to_backlog([each for each in flights if not each.claimed and not self.flights.is_stopped(each)])
        if self.all_is_told:
            self._tell_that_all_is_told(generation)
        self.position, self.generation = 0, generation
        self.flights.blind(now, extra=TTL * 3 / 4)

    def acknowledge(self, position: Position) -> None:
        """Trimming is left out: a stream that is too long is read, one that is too short never is."""

    def resume_at(self, position: Position) -> None:
        generation, _, place = position.partition("/")
        self.position = int(place or 0) if generation == str(self.generation) else 0

    def recover(self, run: RunBrief) -> frozenset[tuple[StepKey, int]] | None:
        self.brief, self.has_inherited = run, True
        with self._reaching() as redis:
            fences = dict(redis.fences)
            self.all_is_told = redis.knowing == self.generation
        for step, fence in fences.items():
            if fence.aboard:
                self.flights.drifts(RUN, step)
            elif not fence.ended and self.flights.get(RUN, step) is None:
                self.flights.departs(Attempt(RUN, "s", step, fence.attempt), None, LINE, self.world.now)
        return frozenset((step, fence.attempt) for step, fence in fences.items())

    def may_go_on(self, run: RunBrief, begun: Collection[tuple[StepKey, int]]) -> frozenset[tuple[StepKey, int]]:
        if self.world.mutant == "what had begun is lost with Redis":
            return frozenset()
        with self._reaching() as redis:
            for step, attempt in begun:
                redis.fence(step, attempt)
        for step, attempt in begun:
            self.flights.goes_on(Attempt(RUN, "s", step, attempt), LINE, self.world.now, TTL * 3 / 4)
        return frozenset(begun)

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        self._stop(steps)
        if steps:
            self.world.canceled_at_wipe = self.world.wipes

    def _stop(self, steps: Sequence[tuple[StepKey, int]]) -> None:
        self.backlog.withdraw(RUN, {step for step, _ in steps})
        mates = [(mate, 1) for mate in sorted(self.flights.mates(RUN, {step for step, _ in steps}))]
        if self.world.mutant != "a step that comes back has not heard that it is canceled":
            for step, attempt in [*steps, *mates]:
                self.flights.stop(RUN, step, attempt)
        with self._reaching() as redis:
            now = self.world.now
            events = [
                StepCanceled(run_id=RUN, at=now, step=step, attempt=attempt) for step, attempt in [*steps, *mates]
            ]
            running = [event for event in events if redis.cancel(event.step, event.attempt, event)]
        for at in [*steps, *mates]:
            self.world.stopped[at] = self.world.wipes
        for event in running:
            known = self.flights.get(RUN, event.step)
            if known is None or known.at.attempt != event.attempt:
                self.flights.departs(Attempt(RUN, "s", event.step, event.attempt), None, LINE, now)

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        return False

    def release(self, run_id: RunId) -> None:
        self.backlog.forget(run_id)
        self.flights.forget(run_id)
        with self._reaching() as redis:
            redis.release()
            self.world.released_at_wipe = self.world.wipes


def _lost(world: World, step: str, attempt: int, reason: str) -> StepLost:
    return StepLost(run_id=RUN, at=world.now, step=StepKey(step), attempt=attempt, cause=LossCause(reason))


def _at(task: StepTask) -> Attempt:
    return Attempt(task.run_id, "s", task.step, task.attempt)


def _field(step: str) -> bytes:
    return Attempt(RUN, "s", step, 1).field.encode()
