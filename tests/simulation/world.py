"""A run in a world of its own: the real loop, machine, outbox, recovery and lease rules; Redis, workers, the database
and the clock are simulated. A seed makes the same world again, fault by fault.

Coordinators run on threads that pass one baton: exactly one of them, or the world, does something at a time.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from executors.celery.backlog import Line
from executors.celery.flights import Flights
from opgrid.broker.scripts import Attempt
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
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import Gathered, OutputRef, RunBrief, StepTask, Stored
from opgrid.errors import ExecutorUnavailable
from opgrid.ids import RunId, StepKey
from orchestrator.coordinator.ownership import LeaseLost, ShardLog
from orchestrator.engine.clock import SteadyClock
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import drive
from orchestrator.engine.recovery import replay, resume
from orchestrator.planner.compile import compile
from orchestrator.planner.plan import Plan
from tests.property.runs import RUN, Case, Outcome, draw, expected
from tests.simulation.redis import Message, Redis
from tests.unit.engine.fakes import brief
from tests.unit.engine.jobs import snapshot

LINE = Line("q")
TTL = 8.0
LONGEST = 6000  #: turns of a world
CALM = 2500  #: from here on nothing goes wrong any more
NAME = "sim"


class Crash(BaseException):
    """The coordinator's process ends here."""


class Violated(AssertionError):
    """A promise was broken."""


class Users(Case):
    """A drawn job whose ops fail by themselves; what is lost, the world loses."""

    def outcome(self, place: Any) -> Outcome:
        found = super().outcome(place)
        attempts = tuple(each for each in found.attempts if each in ("ok", "fail", "fatal")) or ("ok",)
        return Outcome(attempts, found.keys)


@dataclass
class Job:
    """What one worker process is at."""

    task: StepTask
    claim: str
    until: float = 0.0
    stage: str = "popped"
    beats: int = 0
    next_beat: float = 0.0
    canceled: bool = False
    output: bool = False  #: it was stored


@dataclass
class Worker:
    name: str
    job: Job | None = None
    frozen_until: float = 0.0
    done: list[Job] = field(default_factory=list)


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
        self._held: list[Any] = []

    @contextmanager
    def turn(self) -> Iterator[Tables]:
        self._coordinator.point("before a turn")
        self._held = []
        yield self
        for act in self._held:
            act()
        self._coordinator.point("after a turn")

    def holds(self, name: str, epoch: int) -> bool:
        return self._db.epoch == epoch or self._db.world.mutant == "no epoch"

    def append(self, run_id: RunId, events: Sequence[AnyEvent]) -> None:
        given = list(events)
        self._held.append(lambda: self._db.world.recorded(given, self._epoch))

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        self._held.append(lambda: self._db.statuses.append(status))

    def set_position(self, stream: str, position: Position) -> None:
        self._held.append(lambda: self._db.positions.__setitem__(stream, position))

    def read(self, run_id: RunId) -> list[AnyEvent]:
        return list(self._db.events)

    def position(self, stream: str) -> Position:
        return self._db.positions.get(stream, "")


class Remote(Executor):
    """As ``CeleryExecutor``, with the same rules for leases, lost messages and a Redis that forgot."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator, self.world = coordinator, coordinator.world
        self.flights = Flights(TTL)
        self.position = 0
        self.generation = self.world.redis.generation
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

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        self.brief = run
        for task in tasks:
            self.world.submitted(task)
        try:
            with self._reaching() as redis:
                for task in tasks:
                    self.world.sends(task, self.coordinator)
                    redis.publish(task, False)
        except ExecutorUnavailable:
            self.world.nobody_knows()
            raise
        for task in tasks:
            known = self.flights.get(task.run_id, task.step)
            if known is not None and known.at.attempt == task.attempt:
                known.task = task
            else:
                self.flights.departs(_at(task), task, LINE, self.world.now)

    def poll(self, timeout: float) -> Polled:
        until = self.world.now + timeout
        while True:
            try:
                self._keep_up()
                events = self._read()
                if self.blind:
                    self.blind = False
                    self.flights.blind(self.world.now)
            except ExecutorUnavailable:
                self.blind, events = True, []
            if events or self.world.now >= until or self.coordinator.woken:
                self.coordinator.woken = False
                return Polled(events, f"{self.generation}/{self.position}")
            self.coordinator.point("waiting", waits=True)

    def _read(self) -> list[AnyEvent]:
        with self._reaching() as redis:
            fresh = [(number, event) for number, event in redis.stream if number > self.position]
        for number, _ in fresh:
            self.position = max(self.position, number)
        events = [event for _, event in fresh]
        for event in events:
            self.flights.handle(event, self.world.now)
        return events

    def _keep_up(self) -> None:
        now = self.world.now
        if now >= self.next_look:
            self.next_look = now + TTL / 8
            self._look(now)
        if now >= self.next_search and self.world.mutant != "nothing is sent again":
            self.next_search = now + TTL * 5 / 8
            with self._reaching() as redis:
                waiting = {"q": len(redis.queue)}
            for flight in self.flights.lost(waiting, now):
                if flight.task is None:
                    event = _lost(self.world, flight.at.step, flight.at.attempt, "its message was lost")
                    with self._reaching() as redis:
                        redis.expire(StepKey(flight.at.step), flight.at.attempt, b"", event)
                    continue
                with self._reaching() as redis:
                    redis.publish(flight.task, True)
                self.flights.returns(flight)
                again = self.flights.departs(flight.at, flight.task, LINE, now)
                self.flights.delay(again, flight.resent + 1, now)

    def _look(self, now: float) -> None:
        with self._reaching() as redis:
            generation = redis.generation
            leases = {f"{RUN}/{step}": lease.text for step, lease in redis.leases.items()}
        if generation != self.generation and self.world.mutant != "nobody notices a wipe":
            self._start_over(generation, now)
            return
        by_field = {
            _field(step): text for step, text in ((key.split("/", 1)[1], value) for key, value in leases.items())
        }
        for flight in self.flights.look(by_field, now):
            event = _lost(self.world, flight.at.step, flight.at.attempt, "silent")
            with self._reaching() as redis:
                redis.expire(StepKey(flight.at.step), flight.at.attempt, flight.lease, event)
            flight.seen = now

    def _start_over(self, generation: int, now: float) -> None:
        with self._reaching() as redis:
            for flight in list(self.flights):
                if flight.claimed or flight.task is None:
                    redis.fence(StepKey(flight.at.step), flight.at.attempt)
                elif flight.task is not None:
                    redis.publish(flight.task, True)
        self.position, self.generation = 0, generation
        self.flights.blind(now, extra=TTL * 3 / 4)

    def acknowledge(self, position: Position) -> None:
        """Trimming is left out: a stream that is too long is read, one that is too short never is."""

    def resume_at(self, position: Position) -> None:
        generation, _, place = position.partition("/")
        self.position = int(place or 0) if generation == str(self.generation) else 0

    def recover(self, run: RunBrief) -> frozenset[tuple[StepKey, int]] | None:
        self.brief = run
        with self._reaching() as redis:
            fences = dict(redis.fences)
        for step, fence in fences.items():
            if not fence.ended and self.flights.get(RUN, step) is None:
                self.flights.departs(Attempt(RUN, "s", step, fence.attempt), None, LINE, self.world.now)
        return frozenset((step, fence.attempt) for step, fence in fences.items())

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        with self._reaching() as redis:
            for step, attempt in steps:
                redis.cancel(step, attempt, StepCanceled(run_id=RUN, at=self.world.now, step=step, attempt=attempt))

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        return False

    def release(self, run_id: RunId) -> None:
        with self._reaching() as redis:
            redis.release()


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
        if world.cancel_at is not None and world.cancel_asked:
            self.inbox.request_cancel(RUN, "enough")
        drive([run], {NAME: executor}, log, clock=clock, stream="s", inbox=self.inbox)


class World:
    def __init__(self, seed: int, mutant: str = "") -> None:
        self.rng = random.Random(seed)
        self.chance = self.rng.random
        self.mutant = mutant
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
        self.inputs: dict[tuple[StepKey, int], list[OutputRef]] = {}
        self.attempts: dict[StepKey, int] = {}
        self.over_at_wipe: int | None = None  #: the run is canceled, and that no Redis has forgotten
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
        self.workers = [Worker(f"w{number}") for number in range(3)]
        self.claims = 0
        self.harmed: Counter[StepKey] = Counter()
        self.accepted: set[OutputRef] = set()
        self.cancel_at = self.rng.randrange(20, 400) if self.rng.random() < 0.3 else None
        self.cancel_asked = False
        self.faults: Counter[str] = Counter()
        self.turn = 0

    # ---- what is watched -------------------------------------------------------------------------------------------

    def recorded(self, events: list[AnyEvent], epoch: int) -> None:
        if epoch != self.database.epoch:
            raise Violated("I3: somebody wrote with an old epoch")
        for event in events:
            if self.database.statuses and self.database.statuses[-1].is_final:
                raise Violated(f"I5: {type(event).__name__} after the end")
            if isinstance(event, StepDispatched):
                if event.attempt <= self.attempts.get(event.step, 0):
                    raise Violated(f"I7: {event.step} goes back to attempt {event.attempt}")
                self.attempts[event.step] = event.attempt
            if isinstance(event, StepSucceeded | StepFailed | StepLost | StepCanceled):
                self.ended.add((event.step, event.attempt))
            if isinstance(event, StepSucceeded):
                missing = set(self.inputs[event.step, event.attempt]) - self.accepted
                if missing:
                    raise Violated(f"I2: {event.step} was accepted, and its input {missing.pop()} was not")
                self.accepted.update(event.outputs)
            if isinstance(event, RunCanceled):
                self.over_at_wipe = self.wipes
        self.database.events.extend(events)

    def submitted(self, task: StepTask) -> None:
        refs = self.inputs[task.step, task.attempt] = _inputs(task)
        missing = [ref for ref in refs if ref not in self.accepted]
        if missing:
            raise Violated(f"I4: {task.step} was sent before {missing[0].step} was accepted")

    def nobody_knows(self) -> None:
        """Whether steps were sent. Just then a cancel does most harm."""
        if self.cancel_at is not None:
            self.cancel_at = min(self.cancel_at, self.turn + 1)

    def sends(self, task: StepTask, coordinator: Coordinator) -> None:
        if coordinator is not self.database.owner:
            return  # it was frozen after it had decided so, and another counts without it
        self.sent.add((task.step, task.attempt))
        out = self.sent - self.ended
        # What a Redis has forgotten is out no more, and nobody can say so of it.
        if self.most is not None and len(out) > self.most and not self.wipes:
            raise Violated(f"I11: {len(out)} attempts are out, {self.most} may be")

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
        finally:
            for each in self.coordinators:
                while not each.is_gone:
                    each.doomed = True
                    each.step()

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
            self._work(actor)
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

    def _harm(self) -> None:
        harms = {
            "crash": self._crash,
            "freeze": self._freeze,
            "worker dies": self._kill_worker,
            "worker freezes": self._freeze_worker,
            "down": self._take_down,
            "wipe": self._wipe,
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
        worker = self.rng.choice(self.workers)
        if self._may_harm(worker):
            worker.job = None

    def _freeze_worker(self) -> None:
        worker = self.rng.choice(self.workers)
        if self._may_harm(worker):
            worker.frozen_until = self.now + self.rng.uniform(1, 40)

    def _take_down(self) -> None:
        self.is_up, self.up_at = False, self.now + self.rng.uniform(0.5, 20)

    def _wipe(self) -> None:
        if self.wipes < 2:
            self.wipes += 1
            self.redis = self.redis.wiped()

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
        for _, event in self.rng.sample(self.redis.stream, min(4, len(self.redis.stream))):
            self.redis.tell(event)

    def _set_clock(self) -> None:
        victim = self._somebody()
        if victim is not None:
            victim.off = self.rng.choice([-7200.0, 0.0, 7200.0])

    def _may_harm(self, worker: Worker) -> bool:
        """A step may be lost twice; the third time would end it, as it should."""
        if worker.job is None:
            return True
        step = worker.job.task.step
        if self.harmed[step] >= 2:
            return False
        self.harmed[step] += 1
        return True

    # ---- workers ---------------------------------------------------------------------------------------------------

    def _work(self, worker: Worker) -> None:
        if not self.is_up:
            return
        job = worker.job
        if job is None:
            if self.redis.queue:
                message: Message = self.redis.queue.pop(0)
                self.claims += 1
                worker.job = Job(message.task, f"c{self.claims}")
            return
        if job.stage == "popped":
            self._claim(worker, job)
            return
        if self.now >= job.next_beat:
            self._beat(worker, job)
        if worker.job is job and (self.now >= job.until or job.canceled):
            self._end(worker, job)

    def _claim(self, worker: Worker, job: Job) -> None:
        task = job.task
        started = StepStarted(
            run_id=RUN, at=self.now, step=task.step, attempt=task.attempt, claim=job.claim, worker=worker.name
        )
        if not self.redis.claim(task.step, task.attempt, job.claim, started):
            worker.job = None
            return
        if self.over_at_wipe == self.wipes:
            raise Violated(f"I10: {task.step} started after its run was canceled")
        job.stage, job.until, job.next_beat = "running", self.now + self.rng.choice([0.0, 0.5, 3.0]), self.now + 2.0

    def _beat(self, worker: Worker, job: Job) -> None:
        job.beats += 1
        job.next_beat = self.now + 2.0
        said = self.redis.beat(job.task.step, job.task.attempt, job.claim, job.beats)
        if said == "stale":
            worker.job = None
        job.canceled = job.canceled or said == "cancel"

    def _end(self, worker: Worker, job: Job) -> None:
        task = job.task
        event = self._outcome(job)
        is_success = isinstance(event, StepSucceeded)
        if is_success and not job.output:
            key = (task.step, task.attempt, "" if self.mutant == "outputs without claims" else job.claim)
            if key in self.redis.outputs:
                raise Violated("I6: an output was written twice")
            self.redis.outputs.add(key)
            job.output = True
            return  # what happens between storing and finishing is another turn
        said = self.redis.finish(task.step, task.attempt, job.claim, event, is_success)
        if said == "missing":
            lost = _lost(self, task.step, task.attempt, "an output that it had stored is gone")
            self.redis.finish(task.step, task.attempt, job.claim, lost, False)
        if said == "unknown":
            job.next_beat = self.now  # Redis has forgotten the run: kept until somebody tells it of it again
            return
        worker.job = None

    def _outcome(self, job: Job) -> AnyEvent:
        task = job.task
        common: dict[str, Any] = {"run_id": RUN, "at": self.now, "step": task.step, "attempt": task.attempt}
        if job.canceled:
            return StepCanceled(**common)
        gone = tuple(ref for ref in _inputs(task) if (ref.step, ref.attempt, ref.claim) not in self.redis.outputs)
        if gone and not job.output:
            return StepLost(**common, cause=LossCause("its inputs are gone"), gone=gone)
        outcome = self.case.outcome((task.node, task.mapping_keys))
        result = outcome.attempts[min(task.retry_number, len(outcome.attempts) - 1)]
        if result == "ok":
            keys = outcome.keys or ()
            refs = tuple(OutputRef(RUN, task.step, "result", key or None, task.attempt, job.claim) for key in keys)
            return StepSucceeded(**common, outputs=refs)
        return StepFailed(**common, error=ErrorInfo("Boom", result), allow_retries=result != "fatal")

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
            if step.losses > 3:
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
    world.run()
    return world.faults


def _without_hooks(step: Any) -> Any:
    import dataclasses

    return dataclasses.replace(step, hooks=())


def _inputs(task: StepTask) -> list[OutputRef]:
    found: list[OutputRef] = []
    for each in task.inputs:
        if isinstance(each.source, Stored):
            found.append(each.source.ref)
        elif isinstance(each.source, Gathered):
            found += each.source.items
    return found


def _lost(world: World, step: str, attempt: int, reason: str) -> StepLost:
    return StepLost(run_id=RUN, at=world.now, step=StepKey(step), attempt=attempt, cause=LossCause(reason))


def _is_verdict(event: AnyEvent) -> bool:
    return isinstance(event, StepFailed) and event.error.kind in ("PoisonStep", "OutputGone")


def _at(task: StepTask) -> Attempt:
    return Attempt(task.run_id, "s", task.step, task.attempt)


def _field(step: str) -> bytes:
    return Attempt(RUN, "s", step, 1).field.encode()
