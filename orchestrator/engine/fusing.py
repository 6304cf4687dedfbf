"""Which steps may travel in one message: those that will be ready as soon as the steps before them have succeeded."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from opgrid.contracts.status import StepStatus
from opgrid.contracts.structure import Delivery, TriggerRule
from opgrid.ids import NodePath, StepKey
from orchestrator.engine.gates import asks
from orchestrator.engine.instances import Step
from orchestrator.planner.plan import NEVER, StepSpec, upstream

#: Steps that are sent along with their leaders; more would wait long for a crew that was lost.
LARGEST_CREW: Final = 500

_WHOLE: Final = Delivery.WHOLE

#: Seconds that a step is expected to take; None: nothing is known of it.
Expect = Callable[[StepSpec], float | None]
#: How a step is to be sent.
Way = tuple[str, str | None, int, str | None]


def crew(leaders: list[Step], one_place: bool = False) -> list[Step]:
    """The steps to go on with after ``leaders``, each behind those that it needs; all others that they need are done.

    Without a word of their author: one chain, in which each step feeds only the next. With one, all of their group;
    where there is but ``one_place`` to run them, all that go the same way.
    """
    if not _may_lead(leaders[0]):
        return []
    everything = one_place or bool(leaders[0].spec.fuse)
    aboard = _Aboard(leaders)
    for step in aboard.steps:  # grows while it is walked
        if not everything and any(waiter is not step.waiters[0] for waiter in step.waiters):
            break
        for waiter in step.waiters:
            if aboard.is_next(waiter):
                aboard.take(waiter)
    return aboard.steps[len(leaders) :]


def small_crew(leaders: list[Step], expect: Expect, most: float) -> list[Step]:
    """All that comes after ``leaders``, where that is sooner done in one place: steps that could run side by side take
    less than ``most`` seconds together, those that come after them, too, and so on. Empty where it is not known to be
    so, or something of it waits for others as well.
    """
    room = [most]

    def fits(step: Step, depth: int) -> bool:
        if depth == len(room):
            room.append(most)
        seconds = expect(step.spec)
        room[depth] -= inf if seconds is None else seconds
        return room[depth] >= 0

    if not all(_may_lead(leader) and fits(leader, 0) for leader in leaders):
        return []
    aboard = _Aboard(leaders)
    waiting: set[StepKey] = set()
    depths = dict.fromkeys((step.key for step in leaders), 0)
    for step in aboard.steps:  # grows while it is walked
        for waiter in step.waiters:
            waiting.add(waiter.key)
            if aboard.is_next(waiter):
                # The last of those that it waits for is the one that is most steps behind the leaders.
                depths[waiter.key] = depths[step.key] + 1
                if not fits(waiter, depths[waiter.key]):
                    return []
                aboard.take(waiter)
                waiting.discard(waiter.key)
    return aboard.steps[len(leaders) :] if aboard.is_full or not waiting else []


class _Aboard:
    """Steps that travel together."""

    def __init__(self, leaders: list[Step]) -> None:
        self.steps = list(leaders)
        self._most = len(leaders) + LARGEST_CREW
        self._way = way(leaders[0])
        self._paths = {step.spec.key for step in leaders}
        self._missing: dict[StepKey, int] = {}

    @property
    def is_full(self) -> bool:
        return len(self.steps) >= self._most

    def is_next(self, step: Step) -> bool:
        """Once more it was met as one that waits for somebody aboard: whether it can come now."""
        missing = self._missing[step.key] = self._missing.get(step.key, step.missing) - 1
        return not missing and not self.is_full and _alike(step, self._way) and _whole(step, self._paths)

    def take(self, step: Step) -> None:
        self.steps.append(step)
        self._paths.add(step.spec.key)


def _may_lead(step: Step) -> bool:
    return step.spec.fuse != NEVER and step.spec.pool is None and not asks(step.spec)


def _alike(step: Step, leaders_way: Way) -> bool:
    spec = step.spec
    return (
        step.status is StepStatus.PENDING
        and not step.blocked
        and spec.pool is None
        and not asks(spec)
        and spec.trigger is TriggerRule.ALL_SUCCESS
        and way(step) == leaders_way
    )


def way(step: Step) -> Way:
    """Only steps that go the same way may travel together."""
    return step.spec.fuse, step.spec.queue, step.spec.priority, step.spec.executor


def _whole(step: Step, aboard: set[NodePath]) -> bool:
    """Of steps that are still to succeed it takes outputs as they come, no fan-out of theirs."""
    return all(wire.delivery is _WHOLE or wire.step not in aboard for wire in upstream(step.spec))
