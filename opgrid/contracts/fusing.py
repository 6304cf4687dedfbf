"""Steps that travel together: how one names the output of another that has yet to succeed, and gets it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Container, Iterable, Iterator, Sequence

import msgspec

from opgrid.contracts.events import StepSucceeded
from opgrid.contracts.tasks import Gathered, OutputRef, Source, StepTask, Stored, TaskInput
from opgrid.ids import RunId, StepKey

#: Outputs of steps that have succeeded, by step and output.
Made = dict[tuple[StepKey, str], OutputRef]


def promise(step: StepKey, output: str) -> OutputRef:
    """Stands for an output that is still to be made."""
    return OutputRef(RunId(""), step, output, attempt=0)


def made_of(refs: Iterable[OutputRef]) -> Made:
    return {(ref.step, ref.output): ref for ref in refs}


def out_with(task: StepTask) -> list[StepTask]:
    """The steps that are out once its message is: those that travel with it and wait for none of the others."""
    return [task, *(mate for mate in task.then if not mate.after)] if task.then else [task]


def fulfilled(task: StepTask, made: Made, succeeded: set[StepKey]) -> StepTask | None:
    """The task with what was promised to it; None while a step that it needs has not succeeded, or did not yield what
    it needs.
    """
    if not succeeded.issuperset(task.after):
        return None
    inputs = []
    for given in task.inputs:
        source = _kept(given.source, made)
        if source is None:
            return None
        inputs.append(given if source is given.source else TaskInput(given.name, source))
    if task.needs and any(_kept(source, made) is None for source in task.needs):
        return None
    return msgspec.structs.replace(task, inputs=tuple(inputs), after=(), needs=())


def following(
    step: StepKey, others: Iterable[tuple[StepKey, Sequence[StepKey]]], done: Collection[StepKey] = ()
) -> set[StepKey]:
    """Of others, each with those that it waits for: the ones that wait for this step, or for such a one, and for
    nothing else that is not done.
    """
    found = {step}
    for other, after in others:
        if not found.isdisjoint(after) and all(each in found or each in done for each in after):
            found.add(other)
    return found - {step}


def _kept(source: Source, made: Made) -> Source | None:
    if isinstance(source, Stored):  # as nearly all are
        found = _given(source.ref, made)
        if found is source.ref:
            return source
        return None if found is None else Stored(found)
    if isinstance(source, Gathered) and source.items:
        items = tuple(ref for each in source.items if (ref := _given(each, made)) is not None)
        return Gathered(items) if items else None
    return source


def _given(ref: OutputRef, made: Made) -> OutputRef | None:
    return made.get((ref.step, ref.output)) if ref.attempt == 0 else ref


class Crew:
    """Steps to go on with, once those before them have succeeded; and what these made."""

    __slots__ = ("_made", "_succeeded", "left")

    def __init__(self, left: Iterable[StepTask]) -> None:
        self.left = deque(left)
        self._made: Made = {}
        self._succeeded: set[StepKey] = set()

    def after(self, ended: StepSucceeded, begun: Container[tuple[StepKey, int]] = ()) -> Iterator[StepTask]:
        """Those that have all they need now, but for those that have begun on their own. Each is left to do until it
        is taken.
        """
        self._succeeded.add(ended.step)
        for ref in ended.outputs:
            self._made[ref.step, ref.output] = ref
        return self._ready(begun)

    def without(self, step: StepKey, begun: Container[tuple[StepKey, int]] = ()) -> Iterator[StepTask]:
        """The same, once it is known that this step does not succeed here: what needs it is not to be waited for."""
        self._drop(step)
        return self._ready(begun)

    def _ready(self, begun: Container[tuple[StepKey, int]]) -> Iterator[StepTask]:
        while self.left:
            sent = self.left[0]
            has_begun = (sent.step, sent.attempt) in begun
            if not has_begun and not self._succeeded.issuperset(sent.after):
                return
            self.left.popleft()
            if has_begun:
                continue
            task = fulfilled(sent, self._made, self._succeeded)
            if task is None:
                self._drop(sent.step)  # what it needs was not yielded
            else:
                yield task

    def _drop(self, step: StepKey) -> None:
        gone = {step}
        for task in self.left:  # each behind those that it needs
            if not gone.isdisjoint(task.after):
                gone.add(task.step)
        if len(gone) > 1:
            self.left = deque(task for task in self.left if task.step not in gone)
