"""What became of the steps of each chain in one process: those behind them are given what they have made, or do not
run here.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from opgrid.contracts.events import StepSucceeded
from opgrid.contracts.fusing import Made, fulfilled, made_of
from opgrid.contracts.tasks import StepTask
from opgrid.ids import StepKey
from worker.items import Item


class Chains:
    """By number: a step that came by itself is a chain, too."""

    def __init__(self) -> None:
        self._count = 0
        self._crews: set[int] = set()  #: chains of more than one
        self._made: dict[int, Made] = {}
        self._succeeded: dict[int, set[StepKey]] = {}
        self._claims: dict[tuple[int, StepKey], str] = {}  #: with which each has succeeded
        self._failed: set[tuple[int, StepKey]] = set()  #: chain and step, of what has not succeeded here

    def begin(self, steps: int) -> int:
        """The number of a chain of so many."""
        number = self._count
        self._count += 1
        if steps > 1:
            self._crews.add(number)
        return number

    def ready(self, item: Item) -> StepTask | None:
        """The step with what was promised to it; None when it is not to run here."""
        if not item.after:
            return item.task
        return fulfilled(item.task, self._made.get(item.chain, {}), self._succeeded.get(item.chain, set()))

    def is_cut_off(self, item: Item) -> bool:
        """Whether one that must have succeeded before it has not."""
        return any((item.chain, step) in self._failed for step in item.after)

    def succeeded(self, chain: int) -> Collection[StepKey]:
        return self._succeeded.get(chain, ())

    def succeeds(self, item: Item, event: StepSucceeded) -> StepSucceeded:
        """The event with the claims of those that it comes after."""
        if item.chain in self._crews:
            self._made.setdefault(item.chain, {}).update(made_of(event.outputs))
            self._succeeded.setdefault(item.chain, set()).add(item.task.step)
            self._claims[item.chain, item.task.step] = item.claim
        if not item.after:
            return event
        after = tuple((step, self._claims[item.chain, step]) for step in item.after)
        return msgspec.structs.replace(event, after=after)

    def fails(self, item: Item) -> None:
        """It has not succeeded, or nobody accepts that it has."""
        self._failed.add((item.chain, item.task.step))
        self._succeeded.get(item.chain, set()).discard(item.task.step)
