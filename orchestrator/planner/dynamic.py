"""Fan-outs: over which dynamic outputs each step is mapped, and which wires that rules out."""

from __future__ import annotations

from collections.abc import Iterable

from opgrid.contracts.structure import Delivery
from opgrid.errors import InvalidDefinitionError
from opgrid.ids import NodePath
from orchestrator.planner.flatten import Link
from orchestrator.planner.plan import FanOut, FromStep

Scope = tuple[FanOut, ...]


class DynamicError(InvalidDefinitionError):
    """A dynamic output is used in a way that has no meaning."""

    def __init__(self, step: str, problem: str) -> None:
        super().__init__(step, problem)
        self.step, self.problem = step, problem

    def describe(self) -> str:
        return f"The step {self.step!r} {self.problem}"


def taken(link: Link, dynamic: bool, scope: Scope, consumer: str) -> tuple[FromStep, Scope]:
    """How a consumer takes an output, ``dynamic`` or not, of a step in ``scope``; and the scope this puts it in."""
    source = f"{link.step}.{link.output}"
    delivery = Delivery.WHOLE
    for wanted in link.deliveries:
        if delivery is Delivery.COLLECTED:
            raise DynamicError(
                consumer,
                f"takes a list that was collected from {source!r} and is {wanted.value} again; put an op between.",
            )
        if wanted is Delivery.MAPPED:
            if dynamic:
                delivery, scope, dynamic = Delivery.MAPPED, (*scope, FanOut(link.step, link.output)), False
            elif not scope:
                raise DynamicError(
                    consumer, f"maps over {source!r}, which is no dynamic output; declare it with DynamicOut."
                )
        elif wanted is Delivery.COLLECTED:
            delivery, dynamic, scope = Delivery.COLLECTED, *_collected(link, dynamic, scope, delivery, consumer)
    if dynamic:
        raise DynamicError(
            consumer,
            f"takes the dynamic output {source!r} as it is; .map(...) it for a step per key, or .collect() a list.",
        )
    return FromStep(link.step, link.output, delivery), scope


def _collected(link: Link, dynamic: bool, scope: Scope, so_far: Delivery, consumer: str) -> tuple[bool, Scope]:
    if dynamic or so_far is Delivery.MAPPED:
        return False, scope[:-1] if so_far is Delivery.MAPPED else scope
    if not scope:
        raise DynamicError(
            consumer,
            f"collects {link.step!r}, which is not mapped over a dynamic output here"
            " (was the step that yields the keys left out of the selection? Select it, too).",
        )
    return False, scope[:-1]


def joined(consumer: NodePath, scopes: Iterable[tuple[NodePath, Scope]]) -> Scope:
    """The scope of a step that takes from several (source, scope): the longest, which must contain all others."""
    longest: Scope = ()
    source = ""
    for name, scope in scopes:
        shorter, longer = (scope, longest) if len(scope) <= len(longest) else (longest, scope)
        if longer[: len(shorter)] != shorter:
            first, second = _worded(longest), _worded(scope)
            raise DynamicError(
                consumer,
                f"is downstream of two dynamic outputs that do not contain each other: {first} (by {source!r}) and "
                f"{second} (by {name!r}). Collect one of them first.",
            )
        if longer is scope:
            longest, source = scope, name
    return longest


def _worded(scope: Scope) -> str:
    return " > ".join(f"{out.step}.{out.output}" for out in scope)
