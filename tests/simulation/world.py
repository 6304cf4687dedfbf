"""A run in a world of its own: the real loop, machine, outbox, recovery and lease rules; Redis, workers, the database
and the clock are simulated. A seed makes the same world again, fault by fault.

Coordinators run on threads that pass one baton: exactly one of them, or the world, does something at a time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import msgspec

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    RunCanceled,
    StepCanceled,
    StepDispatched,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.status import StepStatus
from opgrid.contracts.tasks import OutputRef, StepTask
from opgrid.ids import StepKey
from orchestrator.engine import parts
from orchestrator.engine.recovery import replay
from orchestrator.planner.compile import compile
from orchestrator.planner.plan import Plan
from tests.property.runs import RUN, Case, Outcome, draw, expected
from tests.simulation.coordinator import NAME, Coordinator, Database
from tests.simulation.redis import Redis, Returned
from tests.simulation.rides import Item, Violated, Worker, inputs_of
from tests.unit.engine.fakes import brief
from tests.unit.engine.jobs import snapshot

LONGEST = 6000  #: turns of a world
CALM = 2500  #: from here on nothing goes wrong any more
#: Steps of each process once the run is over.
AFTERWARDS = 40


class Users(Case):
    """A drawn job whose ops fail by themselves; what is lost, the world loses."""

    def outcome(self, place: Any) -> Outcome:
        found = super().outcome(place)
        attempts = tuple(each for each in found.attempts if each in ("ok", "fail", "fatal")) or ("ok",)
        return Outcome(attempts, found.keys)


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


def _is_verdict(event: AnyEvent) -> bool:
    return isinstance(event, StepFailed) and event.error.kind in ("PoisonStep", "OutputGone")
