"""What is to be sent and is not yet: the most urgent first, runs in turn, short steps many to a message.

Pure: time is an argument. What waits here can still be canceled, overtaken, and sized by what was measured meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection
from math import ceil
from typing import Final, NamedTuple

import msgspec

from opgrid.broker.pace import Pace
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.ids import RunId, StepKey

#: Seconds of work that one message carries at most.
_WORTH: Final = 0.2
#: Seconds of work below which two messages take longer than one.
_LEAST: Final = 0.004
#: Seconds by which processes may be expected to end apart.
_APART: Final = 0.008
#: Seconds from which on a step goes alone: a worker gives back what waits behind one that takes 0.05.
_LONG: Final = 0.045
#: What a step costs beside its op.
_COST: Final = 0.0002
#: Steps in one message at most.
_MOST: Final = 256
#: Seconds within which the next message is at a worker.
SOON: Final = 0.015
#: So many short messages count as one at most.
_CROWDED: Final = 8


Kind = tuple[str, str]


def kind_of(brief: RunBrief, task: StepTask) -> Kind:
    """Steps of one kind, of a job and an op, are expected to take equally long."""
    return brief.job.name, task.op or task.node


class Line(NamedTuple):
    """Who waits in it is served in order."""

    queue: str
    priority: int = 0


class Waiting(msgspec.Struct, frozen=True, gc=False):
    brief: RunBrief
    content: str  #: hash of the brief
    task: StepTask
    line: Line
    since: float
    again: bool = False  #: it was sent before, and was not known to run
    resent: int = 0  #: times that its message was lost

    @property
    def kind(self) -> Kind:
        return kind_of(self.brief, self.task)


#: What goes into one message.
Parcel = list[Waiting]


class Room(NamedTuple):
    """What may be sent of a line."""

    free: float  #: messages
    idle: int  #: processes that have nothing to do, or soon will have
    slots: int  #: processes in all
    busy: float = 0.0  #: seconds of work that the others have


class Backlog:
    def __init__(self) -> None:
        self._lines: dict[Line, OrderedDict[RunId, deque[Waiting]]] = {}
        self._here: dict[tuple[RunId, StepKey], int] = {}  #: attempt

    def __len__(self) -> int:
        return len(self._here)

    def put(self, waiting: Waiting) -> None:
        """Behind those of its run. One that is here already stays where it is."""
        if self._comes(waiting.task):
            self._of_run(waiting).append(waiting)

    def put_back(self, parcel: Parcel) -> None:
        """In front of all others."""
        for waiting in reversed(parcel):
            if self._comes(waiting.task):
                self._of_run(waiting).appendleft(waiting)

    def _comes(self, task: StepTask) -> bool:
        """False where it, or a later attempt at its step, is here already. An earlier one goes."""
        here = self._here.get((task.run_id, task.step), 0)
        if here >= task.attempt:
            return False
        if here:
            self.withdraw(task.run_id, {task.step})
        self._here[task.run_id, task.step] = task.attempt
        return True

    def lines(self) -> list[Line]:
        """Those in which something waits, the most urgent first."""
        return sorted(self._lines, key=lambda line: -line.priority)

    def parcels(self, line: Line, room: Room, pace: Pace) -> list[Parcel]:
        """Take what may be sent, of the run whose turn it is.

        More than who is idle needs goes only where there is so much that messages are full anyway: what is still here
        when the next one is idle is divided better, with what has become ready meanwhile.
        """
        runs = self._lines.get(line)
        if not runs:
            return []
        run_id, waiting = next(iter(runs.items()))
        again = waiting[0].again
        share = _share(waiting, room, pace)
        found: list[Parcel] = []
        taken = 0.0
        while waiting and waiting[0].again == again:
            taken += weight(waiting[0].task, expected(pace, waiting[0].kind))
            if taken > room.free or (len(found) >= room.idle and not _is_plenty(waiting, room, pace)):
                break
            found.append(self._parcel(waiting, share, pace))
        if found:
            runs.move_to_end(run_id)
            self._tidy(line, run_id)
        return found

    def _parcel(self, waiting: deque[Waiting], share: int, pace: Pace) -> Parcel:
        """No more than an equal share, where that is worth a message: no free slot is to starve."""
        parcel: Parcel = []
        again, seconds, steps = waiting[0].again, 0.0, 0
        alike, expected_of_it = "", None
        while waiting and waiting[0].again == again:
            task = waiting[0].task
            if not task.op or task.op is not alike:  # else it is of one kind with the one before: they are of one run
                alike, expected_of_it = task.op, expected(pace, waiting[0].kind)
            each, together = _together(task, expected_of_it), 1 + len(task.then)
            seconds += each
            steps += together
            if parcel and (task.alone or each / together > _LONG or seconds > _WORTH or steps > _MOST):
                break
            if parcel and len(parcel) >= share and seconds > _LEAST:
                break
            parcel.append(waiting.popleft())
            del self._here[task.run_id, task.step]
            if task.alone:
                break
        return parcel

    def of_run(self, run_id: RunId) -> list[Waiting]:
        return [each for runs in self._lines.values() for each in runs.get(run_id, ())]

    def runs(self) -> set[RunId]:
        return {run_id for run_id, _ in self._here}

    def by_queue(self) -> dict[str, int]:
        """How many steps wait for each."""
        found: dict[str, int] = {}
        for line, runs in self._lines.items():
            found[line.queue] = found.get(line.queue, 0) + sum(map(len, runs.values()))
        return found

    def withdraw(self, run_id: RunId, steps: Collection[StepKey]) -> None:
        for line in list(self._lines):
            found = self._lines[line].get(run_id)
            if found is None:
                continue
            kept = deque(each for each in found if each.task.step not in steps)
            for each in found:
                if each.task.step in steps:
                    del self._here[run_id, each.task.step]
            self._lines[line][run_id] = kept
            self._tidy(line, run_id)

    def forget(self, run_id: RunId) -> None:
        """The run is over."""
        for line in list(self._lines):
            for each in self._lines[line].get(run_id, ()):
                del self._here[run_id, each.task.step]
            self._lines[line].pop(run_id, None)
            self._tidy(line, run_id)

    def overdue(self, now: float) -> list[Waiting]:
        """Take those that have waited longer than they may."""
        late = [
            each
            for runs in self._lines.values()
            for found in runs.values()
            for each in found
            if each.task.start_timeout is not None and now - each.since > each.task.start_timeout
        ]
        for each in late:
            self.withdraw(each.task.run_id, {each.task.step})
        return late

    def _of_run(self, waiting: Waiting) -> deque[Waiting]:
        runs = self._lines.get(waiting.line)
        if runs is None:
            runs = self._lines[waiting.line] = OrderedDict()
        found = runs.get(waiting.task.run_id)
        if found is None:
            found = runs[waiting.task.run_id] = deque()
        return found

    def _tidy(self, line: Line, run_id: RunId) -> None:
        runs = self._lines[line]
        if run_id in runs and not runs[run_id]:
            del runs[run_id]
        if not runs:
            del self._lines[line]


def expected(pace: Pace, kind: Kind) -> float | None:
    """Seconds that such a step takes with what it costs beside its op; None where none was seen."""
    seconds = pace.expect(kind)
    return None if seconds is None else seconds + _COST


def weight(task: StepTask | None, seconds: float | None) -> float:
    """What a message counts for that begins with this step, expected to take so long. Of short ones that have to go
    alone there may be more: each on its own would take a turn of the coordinator.
    """
    if task is None or not task.alone or not seconds:
        return 1.0
    return min(1.0, ceil(_CROWDED * seconds / SOON) / _CROWDED)


def each_of(parcel: Parcel, pace: Pace) -> float:
    """Seconds that a step of it takes; 0 where that is not known."""
    kinds: dict[str, float | None] = {}  #: by op: they are of one run
    total = 0.0
    for waiting in parcel:
        op = waiting.task.op or waiting.task.node
        each = kinds[op] if op in kinds else kinds.setdefault(op, expected(pace, waiting.kind))
        if each is None:
            return 0.0
        total += each
    return total / len(parcel)


def _seconds(waiting: Waiting, pace: Pace) -> float:
    return _together(waiting.task, expected(pace, waiting.kind))


def _together(task: StepTask, each: float | None) -> float:
    """With those that come after it in its message. One of which nothing is known goes alone."""
    return _WORTH if each is None else each * (1 + len(task.then))


def _share(waiting: deque[Waiting], room: Room, pace: Pace) -> int:
    """How many steps a message is to carry: so many that all processes end at the same time; half of that where chance
    sets them further apart than it costs to look again.
    """
    each = _seconds(waiting[0], pace)
    share = min(len(waiting), ceil((len(waiting) * each + room.busy) / (room.slots * each)))
    if pace.spread(waiting[0].kind) * each * share**0.5 > _APART:
        share = ceil(share / 2)
    return share


def _is_plenty(waiting: deque[Waiting], room: Room, pace: Pace) -> bool:
    """Whether there are so many that a message for each process could carry no more."""
    task, equal = waiting[0].task, len(waiting) / room.slots
    return task.alone or equal * _seconds(waiting[0], pace) >= _WORTH or equal * (1 + len(task.then)) >= _MOST
