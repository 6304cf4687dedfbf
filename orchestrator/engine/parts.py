"""Large fan-outs, which are recorded and sent in parts that grow: workers have something to do from the first on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from opgrid.contracts.events import AnyEvent
from opgrid.ids import RunId, StepKey
from orchestrator.engine.commands import Command, Launch, Note

#: Steps that are sent before the rest is recorded.
AT_FIRST = 250

R = TypeVar("R")


class Parts(Generic[R]):
    """What is decided, and not yet recorded and obeyed; by run. Of a crash it is found as decided, and not done."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[R, deque[Command], int]] = deque()  #: and how many of them were taken last
        self._steps: set[tuple[RunId, StepKey]] = set()

    def keep_back(self, run: R, commands: Sequence[Command]) -> Sequence[Command]:
        """Gives those that are to be done now: all, where they do not dispatch very many steps that are alike."""
        now = 2 * AT_FIRST
        if len(commands) <= now or not _are_alike(commands):
            return commands
        self.put(run, commands[now:], now)
        return commands[:now]

    def put(self, run: R, commands: Iterable[Command], before: int) -> None:
        left = deque(commands)
        self.waiting.append((run, left, before))
        self._steps.update((command.task.run_id, command.task.step) for command in left if type(command) is Launch)

    def holds(self, event: AnyEvent) -> bool:
        """Whether it is about a step that waits here: it was sent with another."""
        return (event.run_id, getattr(event, "step", "")) in self._steps

    def drop(self, run: R) -> set[StepKey]:
        """Gives the steps that are not dispatched any more."""
        dropped = [each for each in self.waiting if each[0] is run]
        for each in dropped:
            self.waiting.remove(each)
            self._say_taken(each[1])
        return {command.task.step for _, left, _ in dropped for command in left if type(command) is Launch}

    def take(self, everything: bool) -> Iterator[tuple[R, list[Command]]]:
        """Of each twice as many as before, or all."""
        for _ in range(len(self.waiting)):
            run, commands, before = self.waiting.popleft()
            count = len(commands) if everything else min(2 * before, len(commands))
            taken = [commands.popleft() for _ in range(count)]
            self._say_taken(taken)
            if commands:
                self.waiting.append((run, commands, count))
            yield run, taken

    def _say_taken(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if type(command) is Launch:
                self._steps.discard((command.task.run_id, command.task.step))


def _are_alike(commands: Iterable[Command]) -> bool:
    """They dispatch steps of one priority, and do nothing else."""
    priorities = {command.task.priority if type(command) is Launch else None for command in commands}
    return len(priorities - {None}) <= 1 and all(type(command) in (Launch, Note) for command in commands)
