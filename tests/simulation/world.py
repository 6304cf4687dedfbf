"""A run in a world of its own: the real loop, machine, outbox, recovery and lease rules; Redis, workers, the database
and the clock are simulated. A seed makes the same world again, fault by fault.

Coordinators run on threads that pass one baton: exactly one of them, or the world, does something at a time.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from executors.celery.backlog import Backlog, Line, Parcel, Waiting, each_of
from executors.celery.flights import Flight, Flights
from opgrid.broker.pace import Pace
from opgrid.broker.protocol import Attempt
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    LossCause,
    RunCanceled,
    StepCanceled,
    StepDispatched,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, Polled, Position
from opgrid.contracts.fusing import out_with
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import OutputRef, RunBrief, StepTask
from opgrid.errors import ExecutorUnavailable
from opgrid.ids import RunId, StepKey
from orchestrator.coordinator.ownership import ShardLog
from orchestrator.engine import parts
from orchestrator.engine.clock import SteadyClock
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import drive
from orchestrator.engine.pools import Slot
from orchestrator.engine.recovery import replay, resume
from orchestrator.planner.compile import compile
from orchestrator.planner.plan import Plan
from orchestrator.storage.records import LeaseLost
from tests.property.runs import RUN, Case, Outcome, draw, expected
from tests.simulation.redis import Claim, Redis, Returned
from tests.simulation.rides import Item, Violated, Worker, inputs_of
from tests.unit.engine.fakes import brief
from tests.unit.engine.jobs import snapshot

LINE = Line("q")
TTL = 8.0
LONGEST = 6000  #: turns of a world
CALM = 2500  #: from here on nothing goes wrong any more
#: Steps of each process once the run is over.
AFTERWARDS = 40
NAME = "sim"


class Crash(BaseException):
    """The coordinator's process ends here."""


class Users(Case):
    """A drawn job whose ops fail by themselves; what is lost, the world loses."""

    def outcome(self, place: Any) -> Outcome:
        found = super().outcome(place)
        attempts = tuple(each for each in found.attempts if each in ("ok", "fail", "fatal")) or ("ok",)
        return Outcome(attempts, found.keys)


class Database:
    """The log of the run, and the epoch of who may write to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[AnyEvent] = []
        self.statuses: list[RunStatus] = []
        self.positions: dict[str, Position] = {}
        self.epoch = 0
        self.owner: Coordinator | None = None


class Tables:
    """The database as one coordinator reaches it: what a store is to ``ShardLog``. A transaction holds the row of its
    lease, so that nobody takes over in the midst of it.
    """

    def __init__(self, database: Database, coordinator: Coordinator, epoch: int) -> None:
        self._db, self._coordinator, self._epoch = database, coordinator, epoch
        self._fence: int | None = None
        self._held: list[Any] = []

    @contextmanager
    def turn(self) -> Iterator[Tables]:
        self._coordinator.point("before a turn")
        self._held, self._fence = [], None
        yield self
        if self._fence not in (None, self._db.epoch) and self._db.world.mutant != "no epoch":
            raise LeaseLost("its shard")
        for act in self._held:
            act()
        self._coordinator.point("after a turn")

    def only_of_holder(self, name: str, epoch: int) -> None:
        self._fence = epoch

    def append(self, run_id: RunId, events: Sequence[AnyEvent]) -> None:
        given = list(events)
        self._held.append(lambda: self._db.world.recorded(given, self._epoch))

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        self._held.append(lambda: self._db.statuses.append(status))

    def free_slots(self, slots: Sequence[Slot]) -> None:
        """There are no pools."""

    def set_position(self, stream: str, position: Position) -> None:
        self._held.append(lambda: self._db.positions.__setitem__(stream, position))

    def read(self, run_id: RunId) -> list[AnyEvent]:
        return list(self._db.events)

    def position(self, stream: str) -> Position:
        return self._db.positions.get(stream, "")


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


class Coordinator:
    """A process that drives the run, until it crashes, loses its lease, or the run is over."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.go, self.back = threading.Semaphore(0), threading.Semaphore(0)
        self.is_waiting = self.woken = self.is_gone = False
        self.doomed = False
        self.frozen_until = 0.0
        self.off = 0.0  #: of its wall clock
        self.problem: BaseException | None = None
        self.executor: Remote | None = None
        self.inbox = Inbox()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def step(self) -> None:
        """Let it go on to its next point."""
        self.go.release()
        self.back.acquire()

    def point(self, where: str, waits: bool = False) -> None:
        """Others may do something here, and this process may end here."""
        self.is_waiting = waits
        self.back.release()
        self.go.acquire()
        if self.doomed:
            raise Crash(where)

    def wall(self) -> float:
        return self.world.now + self.off

    def _run(self) -> None:
        self.go.acquire()
        try:
            if not self.doomed:
                self._drive()
        except (Crash, LeaseLost):
            pass
        except BaseException as problem:
            self.problem = problem
        self.is_gone = True
        self.back.release()

    def _drive(self) -> None:
        world, db = self.world, self.world.database
        db.epoch += 1
        db.owner = self
        log = ShardLog(Tables(db, self, db.epoch), "s", db.epoch)  # type: ignore[arg-type]
        clock = SteadyClock(self.wall, lambda: world.now)
        while True:
            executor = Remote(self)
            try:
                run = resume(world.brief, world.plan, log.read(RUN), {NAME: executor}, clock())
                break
            except ExecutorUnavailable:
                self.point("cannot resume", waits=True)
        if world.mutant == "nothing is recovered":
            run.orders.clear()
            run.first.clear()
            run.out.clear()
        if world.mutant == "a takeover knows no tasks":
            run.out.clear()
        if world.mutant == "what a takeover finds decided is not recorded":
            run.untold.clear()
        if world.cancel_at is not None and world.cancel_asked:
            self.inbox.request_cancel(RUN, "enough")
        drive([run], {NAME: executor}, log, clock=clock, stream="s", inbox=self.inbox)


class World:
    def __init__(self, seed: int, mutant: str = "") -> None:
        self.rng = random.Random(seed)
        self.chance = self.rng.random
        self.mutant = mutant
        self.takes_along = seed % 3 == 1  #: rides take the next message along, in a third of all worlds
        drawn = draw(self.rng)
        self.case = Users([_without_hooks(step) for step in drawn.steps], drawn.seed)
        self.plan = Plan.from_json(compile(snapshot(self.case.structure())).to_json())
        self.brief = brief(RUN, NAME)
        self.most = self.rng.choice([None, None, 1, 2])  #: steps at a time
        if self.most is not None:
            limits = {"tag_concurrency_limits": [{"key": "lane", "limit": self.most}]}
            self.brief = msgspec.structs.replace(self.brief, executor=ExecutorChoice(NAME, limits))
            steps = tuple(msgspec.structs.replace(step, tags={"lane": "a"}) for step in self.plan.steps)
            self.plan = msgspec.structs.replace(self.plan, steps=steps)
        self.sent: set[tuple[StepKey, int]] = set()  #: attempts
        self.ended: set[tuple[StepKey, int]] = set()  #: those whose end was recorded
        self.strays: set[tuple[StepKey, int]] = set()  #: sent by who drives the run no more
        self.attempts: dict[StepKey, int] = {}
        self.canceled_at_wipe: int | None = None  #: workers were told so, and that no Redis has forgotten
        self.stopped: dict[tuple[StepKey, int], int] = {}  #: the same of attempts
        self.released_at_wipe: int | None = None  #: the run is over, and a Redis that was not emptied since knows it
        self.must = expected(self.case)
        self.now = 1000.0
        self.redis = Redis()
        self.is_up = True
        self.up_at = 0.0
        self.trouble = self.rng.choice([0.0, 0.02, 0.06])
        self.kinds: list[str] | None = None  #: of harm, in this world
        self.snapshots: list[Redis] = []
        self.wipes = 0
        self.database = Database(self)
        self.coordinators: list[Coordinator] = []
        self.workers = [Worker(self, f"w{number}") for number in range(3)]
        self.claims = 0
        self.slots = self.rng.choice([1, 2, 3])  #: processes that the executor takes the fleet to have
        self.expected = self.rng.choice([0.0001, 0.0001, 0.005, 1.0])  #: seconds that a step is thought to take
        self.knows = seed % 3 != 1  #: that, before it has sent any
        self.used: dict[tuple[StepKey, int], list[list[OutputRef]]] = {}  #: inputs of each that began
        self.excused: Counter[tuple[StepKey, int]] = Counter()  #: of beginning twice: its worker was harmed
        self.lost: Counter[StepKey] = Counter()
        self.harmed: Counter[StepKey] = Counter()
        self.accepted: set[OutputRef] = set()
        self.cancel_at = self.rng.randrange(20, 400) if self.rng.random() < 0.3 else None
        self.cancel_asked = False
        self.faults: Counter[str] = Counter()
        self.is_answer_lost = False
        self.harmed_at = 0.0  #: until when the last harm lasts
        self.turn = 0

    # ---- what is watched -------------------------------------------------------------------------------------------

    def recorded(self, events: list[AnyEvent], epoch: int) -> None:
        if epoch != self.database.epoch:
            raise Violated("I3: somebody wrote with an old epoch")
        for event in events:
            self._recorded(event)
        self.database.events.extend(events)
        if self.is_answer_lost:
            self._answer_is_lost()

    def _set_out(self, event: StepDispatched | StepStarted) -> None:
        before = self.attempts.get(event.step, 0)
        if isinstance(event, StepStarted):
            if event.attempt > before:
                raise Violated(f"{event.step} was started, and the log does not say that it was sent")
        elif event.attempt <= before:
            raise Violated(f"I7: {event.step} goes back to attempt {event.attempt}")
        else:
            self.attempts[event.step] = event.attempt

    def _recorded(self, event: AnyEvent) -> None:
        if self.database.statuses and self.database.statuses[-1].is_final:
            raise Violated(f"I5: {type(event).__name__} after the end")
        if isinstance(event, StepDispatched | StepStarted):
            self._set_out(event)
        if isinstance(event, StepSucceeded | StepFailed | StepLost | StepCanceled):
            self.ended.add((event.step, event.attempt))
        if isinstance(event, StepSucceeded):
            if not any(self.accepted.issuperset(refs) for refs in self.used[event.step, event.attempt]):
                raise Violated(f"I2: {event.step} was accepted, and one of its inputs was not")
            self.accepted.update(event.outputs)
        if isinstance(event, StepLost) and not event.gone:
            self.lost[event.step] += 1
            if self.lost[event.step] > self.harmed[event.step] and not (self.wipes or self.cancel_asked):
                raise Violated(f"{event.step} was lost, and nobody had harmed it: {event.cause.reason}")
            if event.cause.reason.startswith("the process that drove the run ended") and not self.cancel_asked:
                raise Violated(f"{event.step} was lost with who drove the run, and its worker may go on")
        if isinstance(event, RunCanceled):
            self.canceled_at_wipe = self.wipes

    def submitted(self, task: StepTask) -> None:
        missing = [ref for ref in inputs_of(task) if ref not in self.accepted]
        if missing:
            raise Violated(f"I4: {task.step} was sent before {missing[0].step} was accepted")

    def nobody_knows(self) -> None:
        """Whether steps were sent. Just then a cancel does most harm."""
        if self.cancel_at is not None:
            self.cancel_at = min(self.cancel_at, self.turn + 1)

    def sends(self, task: StepTask, coordinator: Coordinator) -> None:
        if coordinator is not self.database.owner:
            self.strays.add((task.step, task.attempt))
            return  # it was frozen after it had decided so, and another counts without it
        self.sent.add((task.step, task.attempt))
        out = self.sent - self.ended - self.strays
        # What a Redis has forgotten is out no more, and nobody can say so of it.
        if self.most is not None and len(out) > self.most and not self.wipes:
            raise Violated(f"I11: {len(out)} attempts are out, {self.most} may be")

    def claimed(self, task: StepTask) -> None:
        if self.wipes and (task.step, task.attempt) in self.strays:
            return  # Redis has forgotten that it ended, and who was frozen had not heard so
        if self.canceled_at_wipe == self.wipes:
            raise Violated(f"I10: {task.step} was claimed after its run was canceled")
        if self.stopped.get((task.step, task.attempt)) == self.wipes:
            raise Violated(f"I10: {task.step} was claimed after it was canceled")
        if self.released_at_wipe == self.wipes:
            raise Violated(f"{task.step} was claimed after its run was over")

    def gives_up(self, task: StepTask) -> None:
        """What has run is thrown away, for Redis says that it knows all that a worker may have, and not this."""
        executor = self.database.owner.executor if self.database.owner is not None else None
        if executor is None or executor.generation != self.redis.generation:
            return
        if (task.step, task.attempt) in executor.told_of & executor.out():
            raise Violated(f"I16: the end of {task.step} is thrown away, and it is out")

    def begins(self, task: StepTask, claim: str) -> None:
        begun = self.used.setdefault((task.step, task.attempt), [])
        begun.append(inputs_of(task))
        if len(begun) > 1 + self.excused[task.step, task.attempt] and not self.wipes:
            raise Violated(f"{task.step}, attempt {task.attempt}, began {len(begun)} times, and nobody had harmed it")

    # ---- time goes on ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises Violated."""
        try:
            while self.turn < LONGEST and not self._is_over():
                self.turn += 1
                self._turn()
            if not self._is_over():
                raise Violated("I14: the run goes on for ever")
            self._check()
            self._go_on_after_the_end()
        finally:
            for each in self.coordinators:
                while not each.is_gone:
                    each.doomed = True
                    each.step()

    def _go_on_after_the_end(self) -> None:
        """Who was frozen goes on, be it as it was about to send; workers take what there is."""
        self.is_up, self.harmed_at = True, self.now
        for each in (*self.coordinators, *self.workers):
            each.frozen_until = 0.0
        owner = self.database.owner
        first = [] if owner is None else [owner]
        for coordinator in [*first, *(each for each in self.coordinators if each is not owner)]:
            for _ in range(AFTERWARDS):
                if coordinator.is_gone:
                    break
                self.now += 0.1
                coordinator.step()
                for worker in self.workers:
                    worker.turn()

    def _is_over(self) -> bool:
        return bool(self.database.statuses) and self.database.statuses[-1].is_final

    def _turn(self) -> None:
        self.now += self.chance() * 0.15
        self._coordinators()
        awake = [each for each in self.coordinators if not each.is_gone and each.frozen_until <= self.now]
        actors: list[Any] = [*awake, *awake, *self.workers]
        actor = self.rng.choice(actors) if actors else None
        if isinstance(actor, Coordinator):
            actor.step()
            if actor.problem is not None:
                raise actor.problem
        elif isinstance(actor, Worker) and actor.frozen_until <= self.now:
            actor.turn()
        if not self.is_up and self.now >= self.up_at:
            self.is_up = True
        if self.cancel_at is not None and self.turn >= self.cancel_at and not self.cancel_asked:
            self.cancel_asked = True
            for each in awake:
                each.inbox.request_cancel(RUN, "enough")
                each.woken = True
        if self.turn < CALM and self.chance() < self.trouble:
            self._harm()

    def _coordinators(self) -> None:
        """Somebody drives the run: where the one who did is gone, or frozen, another takes over."""
        there = [each for each in self.coordinators if not each.is_gone]
        owner = self.database.owner
        if not there or (
            owner in there and owner is not None and owner.frozen_until > self.now + 1e-9 and len(there) == 1
        ):
            self.coordinators.append(Coordinator(self, len(self.coordinators)))
            self.harmed_at = max(self.harmed_at, self.now)  # what befell the one before lasts until now

    def _harm(self) -> None:
        harms = {
            "crash": self._crash,
            "freeze": self._freeze,
            "worker dies": self._kill_worker,
            "host dies": self._kill_host,
            "worker freezes": self._freeze_worker,
            "down": self._take_down,
            "wipe": self._wipe,
            "answer": self._lose_answer,
            "roll back": self._roll_back,
            "lose": self._lose_message,
            "double": self._double_message,
            "shuffle": self._replay_events,
            "clock": self._set_clock,
        }
        if self.kinds is None:  # fewer kinds find what others would mend
            self.kinds = self.rng.sample(list(harms), self.rng.choice([2, 4, len(harms)]))
        kind = self.rng.choice(self.kinds)
        self.faults[kind] += 1
        harms[kind]()
        frozen = [each.frozen_until for each in (*self.coordinators, *self.workers)]
        self.harmed_at = max(self.now, self.up_at, *frozen)
        if self.chance() < 0.5 and len(self.snapshots) < 3:
            self.snapshots.append(self.redis.copy())

    def _somebody(self) -> Coordinator | None:
        awake = [each for each in self.coordinators if not each.is_gone and each.frozen_until <= self.now]
        return self.rng.choice(awake) if awake else None

    def _crash(self) -> None:
        victim = self._somebody()
        if victim is not None:
            victim.doomed = True
            victim.step()

    def _freeze(self) -> None:
        victim = self._somebody()
        if victim is not None:
            victim.frozen_until = self.now + self.rng.uniform(5, 40)

    def _kill_worker(self) -> None:
        """Its process alone, or its host."""
        worker = self.rng.choice(self.workers)
        if self._may_harm(worker, worker.blamed()):
            worker.dies()

    def _kill_host(self) -> None:
        worker = self.rng.choice(self.workers)
        if self._may_harm(worker, worker.holds()):
            worker.vanishes()

    def _freeze_worker(self) -> None:
        worker = self.rng.choice(self.workers)
        if self._may_harm(worker, worker.holds()):
            worker.frozen_until = self.now + self.rng.uniform(1, 40)

    def _take_down(self) -> None:
        self.is_up, self.up_at = False, self.now + self.rng.uniform(0.5, 20)

    def _wipe(self) -> None:
        if self.wipes < 2:
            self.wipes += 1
            self.redis = self.redis.wiped()

    def _lose_answer(self) -> None:
        """To the worker whose word is recorded next: Redis is gone with it, and perhaps who recorded it."""
        self.is_answer_lost = self.wipes < 2

    def _answer_is_lost(self) -> None:
        for worker in self.workers:
            ride = worker.last
            ends = {(each.item.task.step, each.item.task.attempt) for each in ride.told} if ride else set()
            if ride and ends and ends <= self.ended and ride.underway is None and worker.ride in (ride, None):
                worker.ride = ride
                ride.hears_nothing()
                self.is_answer_lost = False
                self._wipe()
                if self.database.owner is not None and self.chance() < 0.5:
                    self.database.owner.doomed = True
                return

    def _roll_back(self) -> None:
        if self.snapshots and self.wipes < 2:
            self.wipes += 1
            generation = self.redis.generation + 1
            self.redis = self.rng.choice(self.snapshots).copy()
            self.redis.generation = generation

    def _lose_message(self) -> None:
        if self.redis.queue:
            self.redis.queue.pop(self.rng.randrange(len(self.redis.queue)))

    def _double_message(self) -> None:
        if self.redis.queue:
            self.redis.queue.append(self.rng.choice(self.redis.queue))

    def _replay_events(self) -> None:
        for _, entry in self.rng.sample(self.redis.stream, min(4, len(self.redis.stream))):
            if not isinstance(entry, Returned):
                self.redis.tell(entry)

    def _set_clock(self) -> None:
        victim = self._somebody()
        if victim is not None:
            victim.off = self.rng.choice([-7200.0, 0.0, 7200.0])

    def _may_harm(self, worker: Worker, items: Sequence[Item]) -> bool:
        """A step may be lost twice; the third time would end it, as it should."""
        steps = [item.task.step for item in items]
        if any(self.harmed[step] >= 2 for step in steps):
            return False
        self.harmed.update(steps)
        self.excused.update((item.task.step, item.task.attempt) for item in worker.holds())
        return True

    # ---- the end ---------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        events = self.database.events
        machine = replay(RUN, self.plan, events)
        if machine.status is not self.database.statuses[-1]:
            raise Violated(f"I12: the log says {machine.status}, the status {self.database.statuses[-1]}")
        machine.check()
        ends = Counter(
            (event.step, event.attempt)
            for event in events
            if isinstance(event, StepSucceeded | StepFailed | StepLost) and not _is_verdict(event)
        )
        if any(count > 1 for count in ends.values()):
            raise Violated("I8: an attempt ended twice")
        wins = Counter(event.step for event in events if isinstance(event, StepSucceeded))
        for key, step in machine.steps.items():
            if wins[key] > 1 + step.redone:
                raise Violated(f"I1: {key} succeeded {wins[key]} times")
            if step.losses > 3 + step.retry_number:  # each loss beyond the budget takes a retry of the step's policy
                raise Violated(f"I9: {key} was lost {step.losses} times")
        if self.cancel_asked:
            return
        poisoned = [event for event in events if isinstance(event, StepFailed) and event.error.kind != "Boom"]
        if poisoned:
            return  # too many losses, or outputs that were lost too often: an end that is allowed
        for key, status in self.must.status.items():
            found = machine.steps.get(key)
            if found is None or (found.status is not status and status is not StepStatus.PENDING):
                raise Violated(f"{key} is {found and found.status}, not {status}")


def simulate(seed: int, mutant: str = "") -> Counter[str]:
    """One world; which faults there were. Raises Violated."""
    world = World(seed, mutant)
    with patch.object(parts, "AT_FIRST", 1 if seed % 4 == 3 else parts.AT_FIRST):
        world.run()
    return world.faults


def _without_hooks(step: Any) -> Any:
    import dataclasses

    return dataclasses.replace(step, hooks=())


def _lost(world: World, step: str, attempt: int, reason: str) -> StepLost:
    return StepLost(run_id=RUN, at=world.now, step=StepKey(step), attempt=attempt, cause=LossCause(reason))


def _is_verdict(event: AnyEvent) -> bool:
    return isinstance(event, StepFailed) and event.error.kind in ("PoisonStep", "OutputGone")


def _at(task: StepTask) -> Attempt:
    return Attempt(task.run_id, "s", task.step, task.attempt)


def _field(step: str) -> bytes:
    return Attempt(RUN, "s", step, 1).field.encode()
