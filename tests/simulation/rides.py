"""Workers of a simulated world: they do with a message what ``worker.ride`` and ``worker.watch`` do, a bit at a time.

A ride claims several steps at once, runs them one by one, tells of several that have ended together with the next
claims, gives back what waits behind a slow one, and takes the next message along when it is nearly through. The watch
process beats for what is held, blames what ran when its process dies, and gives the rest back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    LossCause,
    StepCanceled,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.fusing import Made, following, fulfilled, made_of
from opgrid.contracts.tasks import Gathered, OutputRef, StepTask, Stored
from opgrid.ids import StepKey
from tests.property.runs import RUN
from tests.simulation.redis import Claim, Finished, Message, Returned

if TYPE_CHECKING:
    from tests.simulation.world import World

BEAT = 2.0
PATIENCE = 8.0  #: seconds after the last harm, in which somebody makes Redis know again what is out
SILENT = 5.0  #: seconds that an answer is waited for
GRACE = 60.0  #: seconds for Redis to be told again of a run that it has lost


class Violated(AssertionError):
    """A promise was broken."""


@dataclass(eq=False)
class Item:
    """One step of a message."""

    task: StepTask
    chain: int
    after: tuple[StepKey, ...]
    claim: str = ""
    told: bool = False  #: its start
    beats: int = 0

    @property
    def at(self) -> Claim:
        return Claim(self.task.step, self.task.attempt, self.claim)


@dataclass(eq=False)
class Ended:
    item: Item
    event: AnyEvent
    events: list[AnyEvent]


@dataclass(eq=False)
class Underway:
    """What Redis was asked, and its answer."""

    wanted: list[Item]
    told: list[Finished]
    given_back: int
    finished: list[str]
    claimed: list[str]
    is_lost: bool


@dataclass(eq=False)
class Ride:
    """What one message comes to in one process, and others that are taken along."""

    world: World
    name: str
    items: deque[Item] = field(default_factory=deque)
    chains: int = 0
    asked: list[Item] = field(default_factory=list)  #: Redis is asked for them
    window: deque[Item] = field(default_factory=deque)  #: claimed, not begun
    ended: list[Ended] = field(default_factory=list)
    told: list[Ended] = field(default_factory=list)  #: in what it said last
    unwanted: list[Item] = field(default_factory=list)  #: to be given back
    given_back: list[Item] = field(default_factory=list)
    underway: Underway | None = None  #: what is still to be heard, while claimed steps run
    running: Item | None = None
    deaf_until: float = 0.0  #: an answer was lost, and is waited for
    until: float = 0.0
    unknown_since: float | None = None  #: Redis has known nothing of a run whose steps have ended
    knowing: int = 0  #: the generation of a Redis that knows all that is out, when it was asked last
    canceled: bool = False
    made: dict[int, Made] = field(default_factory=dict)
    succeeded: dict[int, set[StepKey]] = field(default_factory=dict)
    claims: dict[tuple[int, StepKey], str] = field(default_factory=dict)
    failed: set[tuple[int, StepKey]] = field(default_factory=set)

    @classmethod
    def of(cls, world: World, name: str, message: Message) -> Ride:
        ride = cls(world, name)
        ride._board(message)
        return ride

    def _board(self, message: Message) -> None:
        for first in message:
            self.items.extend(Item(task, self.chains, task.after) for task in (first, *first.then))
            self.chains += 1

    def held(self) -> list[Item]:
        running = [self.running] if self.running is not None else []
        return [*(each.item for each in self.ended), *running, *self.window]

    def wanted(self) -> list[Item]:
        return [*self.asked, *(self.underway.wanted if self.underway is not None else ())]

    def turn(self) -> bool:
        """A bit of it; whether there is more."""
        if self.world.now < self.deaf_until:
            return True
        if self.running is not None:
            self._go_on(self.running)
            return True
        while self.window and not self.asked:
            item = self.window.popleft()
            task = self._ready(item)
            if task is not None:
                item.task = task
                self._begin(item)
                return True
            self.unwanted.append(item)
        if self.underway is not None:
            self._arrive()
            return True
        if not self.asked:
            self.asked = self._ahead()
        if not self.asked and not self.ended and not self.unwanted:
            return self._takes_along()
        self._exchange()
        return True

    def hears_nothing(self) -> None:
        """The answer to what it said last has not come."""
        self.ended, self.told = self.told, []
        self.asked, self.window = list(self.window), deque()

    # ---- claiming --------------------------------------------------------------------------------------------------

    def _ready(self, item: Item) -> StepTask | None:
        if not item.after:
            return item.task
        return fulfilled(item.task, self.made.get(item.chain, {}), self.succeeded.get(item.chain, set()))

    def _takes_along(self) -> bool:
        """The next message, when nothing of what it has is still to be claimed."""
        queue = self.world.redis.queue
        if not self.world.takes_along or self.items or not queue or self.world.chance() < 0.5:
            return False
        message = queue.pop(0)
        if self.world.chance() < self.world.trouble / 3:
            return False  # the answer was lost, and the message with it
        self._board(message)
        return True

    def _ahead(self) -> list[Item]:
        found: list[Item] = []
        most = self.world.rng.choice([1, 2, 8])
        while self.items and len(found) < most:
            item = self.items[0]
            if any((item.chain, step) in self.failed for step in item.after):
                self.failed.add((item.chain, item.task.step))
                self.unwanted.append(self.items.popleft())
                continue
            if item.after and not item.task.fused and not (found or self.ended) and self.world.chance() < 0.1:
                self._send_on(item)
                continue
            self.world.claims += 1
            item.claim, item.told = f"c{self.world.claims}", not found
            found.append(self.items.popleft())
        return found

    def _send_on(self, item: Item) -> None:
        """It has taken long: the rest of the chain is for any worker."""
        behind = [each for each in self.items if each.chain == item.chain and each is not item]
        going = following(item.task.step, _waits(behind))
        rest = [each for each in behind if each.task.step in going]
        self.unwanted += [each for each in behind if each.task.step not in going]
        self.items = deque(each for each in self.items if each.chain != item.chain)
        task = self._ready(item)
        if task is not None:
            then = tuple(each.task for each in rest)
            self.world.redis.queue.append((msgspec.structs.replace(task, then=then),))

    def _exchange(self) -> None:
        """Tell what has ended, give back what is not to run, claim what is asked for."""
        self._arrive()
        if self.asked or self.ended or self.unwanted:
            self._hear(self._ask(self.asked))

    def _set_out(self) -> None:
        """The same; the answer is heard later."""
        self._takes_along()
        self.underway = self._ask(self._ahead())

    def _arrive(self) -> None:
        underway, self.underway = self.underway, None
        if underway is None:
            return
        if underway.is_lost or any(word != "ok" for word in underway.finished):
            self.asked = underway.wanted  # all of it is asked again
        else:
            self._hear(underway)

    def _ask(self, wanted: list[Item]) -> Underway:
        back = [item.at for item in self.unwanted if item.claim]
        steps = tuple((item.task.step, item.task.attempt) for item in self.unwanted)
        told = [Finished(each.item.at, each.events, isinstance(each.event, StepSucceeded)) for each in self.ended]
        starts = [Finished(item.at, [self._start_of(item)] if item.told else [], False) for item in wanted]
        held = {lease.claim for lease in self.world.redis.leases.values()}  #: also of an answer that was lost
        finished, claimed = self.world.redis.exchange(told, back, Returned(steps) if steps else None, starts)
        for item, word in zip(wanted, claimed, strict=True):
            if word == "ok" and item.claim not in held:
                self.world.claimed(item.task)
        is_lost = self.world.chance() < self.world.trouble / 3
        return Underway(wanted, told, len(steps), finished, claimed, is_lost)

    def _hear(self, underway: Underway) -> None:
        if underway.is_lost:
            self.deaf_until = self.world.now + self.world.rng.uniform(0.0, SILENT)
            return  # it is asked again
        world, wanted, told, finished = self.world, underway.wanted, underway.told, underway.finished
        unwanted, self.unwanted = self.unwanted[: underway.given_back], self.unwanted[underway.given_back :]
        ended, later = self.ended[: len(told)], self.ended[len(told) :]
        if world.mutant == "a given-back step runs twice":
            self.window.extend(item for item in unwanted if item.claim)
        self.given_back += unwanted
        self.asked = []
        if "unknown" in finished:
            known, others = self._known(ended, finished)
            words = dict(zip(ended, finished, strict=True))
            world.redis.exchange([each for each, out in zip(told, ended, strict=True) if out in known], [], None, [])
            ended, finished = others, [words[each] for each in others]
        if not self._waits(ended, finished):
            self.told = [] if later or self.running is not None else ended
            if not all(word == "ok" for word in finished):
                self._one_by_one(ended)
            ended = []
        self.ended = [*ended, *later]
        for item, word in zip(wanted, underway.claimed, strict=True):
            if word == "ok":
                self.window.append(item)
            else:
                self.failed.add((item.chain, item.task.step))

    def _waits(self, ended: list[Ended], finished: list[str]) -> bool:
        """Whether Redis may still be told of what has ended here."""
        world = self.world
        before, self.knowing = self.knowing, world.redis.knowing
        if world.mutant == "nobody believes that all is told":
            before = 0
        if "unknown" not in finished:
            self.unknown_since = None
            return False
        if before and before == self.knowing:
            for each, word in zip(ended, finished, strict=True):
                if word == "unknown":
                    world.gives_up(each.item.task)
            self.unknown_since = None
            return False
        if self.unknown_since is None:
            self.unknown_since = world.now
        elif world.now - max(self.unknown_since, world.harmed_at) > PATIENCE:
            raise Violated(f"I15: the end of {ended[0].item.task.step} waits for ever")
        return world.now - self.unknown_since <= GRACE

    def _known(self, ended: list[Ended], said: list[str]) -> tuple[list[Ended], list[Ended]]:
        """What can be told now to a Redis that was emptied, and what is known to it when that was told."""
        known, others = list[Ended](), list[Ended]()
        for each, word in zip(ended, said, strict=True):
            waits = any(other.item.task.step in each.item.after for other in others)
            (known if word == "ok" and not waits else others).append(each)
        return known, others

    def _one_by_one(self, ended: list[Ended]) -> None:
        for each in ended:
            item = each.item
            said = "stale"
            if not any((item.chain, step) in self.failed for step in item.after):
                said = self._alone(each)
            if said == "missing":
                each.event = lost_of(self.world, item, "an output that it had stored is gone")
                each.events = [each.event]
                said = self._alone(each)
            if said != "ok" or not isinstance(each.event, StepSucceeded):
                self.failed.add((item.chain, item.task.step))
                self.succeeded.get(item.chain, set()).discard(item.task.step)

    def _alone(self, each: Ended) -> str:
        told = Finished(each.item.at, each.events, isinstance(each.event, StepSucceeded))
        return self.world.redis.exchange([told], [], None, [])[0][0]

    # ---- running ---------------------------------------------------------------------------------------------------

    def _start_of(self, item: Item) -> StepStarted:
        task = item.task
        return StepStarted(
            run_id=RUN, at=self.world.now, step=task.step, attempt=task.attempt, claim=item.claim, worker=self.name
        )

    def _begin(self, item: Item) -> None:
        world = self.world
        world.begins(item.task, item.claim)
        self.running, self.canceled, self.told = item, False, []
        self.until = world.now + world.rng.choice([0.0, 0.0, 0.5, 3.0])

    def _go_on(self, item: Item) -> None:
        world = self.world
        if world.now >= self.until or self.canceled:
            self._end(item)
        elif self.underway is None and not self.asked and self._takes_along():  # and so does that thread
            self.underway = self._ask(self._ahead())
        elif world.chance() < 0.7:  # another thread sees that it is slow
            self._arrive()
            if self.asked:
                self._exchange()
            waiting = [*self.window, *self.items]
            chain = [each for each in waiting if each.chain == item.chain]
            if not item.task.fused:
                steps = following(item.task.step, _waits(chain), self.succeeded.get(item.chain, ()))
                chain = [each for each in chain if each.task.step in steps]
            self.unwanted += [each for each in waiting if each not in chain]
            self.window = deque(each for each in self.window if each in chain)
            self.items = deque(each for each in self.items if each in chain)
            self._exchange()
            if not item.told:
                item.told = True
                world.redis.report(item.at, self._start_of(item))

    def _end(self, item: Item) -> None:
        world, task = self.world, item.task
        event = self._outcome(item)
        if isinstance(event, StepSucceeded):
            claim = "" if world.mutant == "outputs without claims" else item.claim
            key = Claim(task.step, task.attempt, claim)
            if key in world.redis.outputs:
                raise Violated("I6: an output was written twice")
            world.redis.outputs |= {key, item.at}
            self.made.setdefault(item.chain, {}).update(made_of(event.outputs))
            self.succeeded.setdefault(item.chain, set()).add(task.step)
            self.claims[item.chain, task.step] = item.claim
        else:
            self.failed.add((item.chain, task.step))
        self.ended.append(Ended(item, event, [event] if item.told else [self._start_of(item), event]))
        self.running = None
        if not isinstance(event, StepSucceeded) or world.chance() < 0.2:
            self._exchange()
        elif self.window and self.underway is None and not self.asked and world.chance() < 0.5:
            self._set_out()

    def _outcome(self, item: Item) -> AnyEvent:
        task, world = item.task, self.world
        common: dict[str, Any] = {"run_id": RUN, "at": world.now, "step": task.step, "attempt": task.attempt}
        if self.canceled:
            return StepCanceled(**common)
        gone = tuple(ref for ref in inputs_of(task) if (ref.step, ref.attempt, ref.claim) not in world.redis.outputs)
        if gone:
            return StepLost(**common, cause=LossCause("its inputs are gone"), gone=gone)
        outcome = world.case.outcome((task.node, task.mapping_keys))
        result = outcome.attempts[min(task.retry_number, len(outcome.attempts) - 1)]
        if result == "ok":
            keys = outcome.keys or ()
            refs = tuple(OutputRef(RUN, task.step, "result", key or None, task.attempt, item.claim) for key in keys)
            after = tuple((step, self.claims[item.chain, step]) for step in item.after)
            return StepSucceeded(**common, outputs=refs, seconds=0.0001, after=after)
        return StepFailed(**common, error=ErrorInfo("Boom", result), allow_retries=result != "fatal")


@dataclass(eq=False)
class Death:
    """A process has ended; its watch process tells once Redis can be reached."""

    blamed: list[Item]
    others: list[Item]


@dataclass(eq=False)
class Worker:
    world: World
    name: str
    ride: Ride | None = None
    last: Ride | None = None  #: that it has, or had
    frozen_until: float = 0.0
    next_beat: float = 0.0
    beating: list[Item] | None = None  #: for which a beat is on its way
    deaths: list[Death] = field(default_factory=list)

    def turn(self) -> None:
        world = self.world
        if not world.is_up:
            return
        for death in self.deaths:
            self._tell(death)
        self.deaths.clear()
        if self.beating is not None and world.chance() < 0.5:
            self._beat(self.beating)
            self.beating = None
        if self.ride is None:
            if world.redis.queue:
                self.ride = self.last = Ride.of(world, self.name, world.redis.queue.pop(0))
            return
        if world.now >= self.next_beat and self.beating is None:
            self.next_beat, self.beating = world.now + BEAT, self.ride.held()
        if not self.ride.turn():
            self.ride = None

    def _beat(self, items: list[Item]) -> None:
        redis = self.world.redis
        for item in items:
            item.beats += 1
            # Of several claims that were given back, the last one is known.
            is_last = redis.returned.get(item.task.step) == item.claim and item.task.step not in redis.leases
            if self.world.mutant == "a beat takes back what was given back":
                redis.returned.clear()
            given_back = is_last and item in (self.ride.given_back if self.ride else ())
            said = redis.beat(*item.at, item.beats)
            if given_back and item.task.step in redis.leases and not self.world.wipes:
                raise Violated(f"{item.task.step} was given back, and has a lease again")
            ride = self.ride
            if ride is not None and ride.running is item and said != "ok":
                ride.canceled = True  # what a stale one says is refused

    def holds(self) -> list[Item]:
        return [] if self.ride is None else [*self.ride.held(), *self.ride.wanted(), *self.ride.unwanted]

    def blamed(self) -> list[Item]:
        """Those that are lost when its process dies."""
        if self.ride is None:
            return []
        if self.ride.running is not None:
            return [self.ride.running]
        held = [*self.ride.held(), *self.ride.wanted()]
        return [item for item in held if not item.after]

    def dies(self) -> None:
        """Its watch process stays, and tells of it."""
        blamed = self.blamed()
        if self.world.mutant == "a returned step costs an attempt":
            blamed = self.holds()
        if self.holds():
            self.deaths.append(Death(blamed, [item for item in self.holds() if item not in blamed and item.claim]))
        self.ride = self.last = self.beating = None

    def vanishes(self) -> None:
        """With its host."""
        self.ride = self.last = self.beating = None

    def _tell(self, death: Death) -> None:
        redis = self.world.redis
        for item in death.others:
            redis.exchange([], [item.at], Returned(((item.task.step, item.task.attempt),)), [])
        for item in death.blamed:
            event = lost_of(self.world, item, "its process ended")
            redis.exchange([Finished(item.at, [event], False)], [], None, [])


def _waits(items: Iterable[Item]) -> Iterator[tuple[StepKey, tuple[StepKey, ...]]]:
    return ((item.task.step, item.after) for item in items)


def inputs_of(task: StepTask) -> list[OutputRef]:
    found: list[OutputRef] = []
    for each in task.inputs:
        if isinstance(each.source, Stored):
            found.append(each.source.ref)
        elif isinstance(each.source, Gathered):
            found += each.source.items
    return found


def lost_of(world: World, item: Item, reason: str) -> StepLost:
    task = item.task
    return StepLost(run_id=RUN, at=world.now, step=task.step, attempt=task.attempt, cause=LossCause(reason))
