"""Which steps may travel in one message: those that will be ready as soon as the steps before them have succeeded."""

from __future__ import annotations

from typing import Final

from opgrid.contracts.status import StepStatus
from opgrid.contracts.structure import Delivery, TriggerRule
from opgrid.ids import NodePath, StepKey
from orchestrator.engine.gates import asks
from orchestrator.engine.instances import Step
from orchestrator.planner.plan import NEVER, upstream

#: Steps that are sent along with their leaders; more would wait long for a crew that was lost.
LARGEST_CREW: Final = 200


def crew(leaders: list[Step]) -> list[Step]:
    """The steps to go on with after ``leaders``, each behind those that it needs; all others that they need are done.

    Without a word of their author: one chain, in which each step feeds only the next. With one, all of their group.
    """
    leader = leaders[0]
    group = leader.spec.fuse
    if group == NEVER or leader.spec.pool is not None or asks(leader.spec):
        return []
    aboard = list(leaders)
    paths = {step.spec.key for step in leaders}
    missing: dict[StepKey, int] = {}
    for step in aboard:  # grows while it is walked
        if not group and any(waiter is not step.waiters[0] for waiter in step.waiters):
            break
        for waiter in step.waiters:
            missing[waiter.key] = missing.get(waiter.key, waiter.missing) - 1
            if missing[waiter.key] or len(aboard) > LARGEST_CREW:
                continue
            if _alike(waiter, leader) and _whole(waiter, paths):
                aboard.append(waiter)
                paths.add(waiter.spec.key)
    return aboard[len(leaders) :]


def _alike(step: Step, leader: Step) -> bool:
    spec = step.spec
    return (
        step.status is StepStatus.PENDING
        and not step.blocked
        and spec.pool is None
        and not asks(spec)
        and spec.trigger is TriggerRule.ALL_SUCCESS
        and way(step) == way(leader)
    )


def way(step: Step) -> tuple[str, str | None, int, str | None]:
    """Only steps that go the same way may travel together."""
    return step.spec.fuse, step.spec.queue, step.spec.priority, step.spec.executor


def _whole(step: Step, aboard: set[NodePath]) -> bool:
    """Of steps that are still to succeed it takes outputs as they come, no fan-out of theirs."""
    return all(wire.delivery is Delivery.WHOLE for wire in upstream(step.spec) if wire.step in aboard)
