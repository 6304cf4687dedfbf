"""Large fan-outs, which are decided, recorded and sent in parts that grow: workers have something to do from the first
on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from orchestrator.engine.commands import Command
from orchestrator.engine.machine import RunMachine

#: Steps that are sent before the rest is decided.
AT_FIRST = 100


class Run(Protocol):
    @property
    def machine(self) -> RunMachine: ...


R = TypeVar("R", bound=Run)


class Parts(Generic[R]):
    """Runs of which more is to be recorded and obeyed: what their machines hold back, and what recovery has found to be
    decided and not recorded.
    """

    def __init__(self) -> None:
        self._untold: list[tuple[R, Sequence[Command]]] = []
        self.held: dict[R, int] = {}  #: runs whose machines hold steps back, and how many were taken last

    def __bool__(self) -> bool:
        return bool(self.held or self._untold)

    def put(self, run: R, commands: Sequence[Command]) -> None:
        """They come with the next that is taken."""
        self._untold.append((run, commands))

    def split(self, run: R) -> None:
        """From now on what becomes ready at once goes in parts, where it is very much."""
        run.machine.at_first = AT_FIRST

    def watch(self, run: R) -> None:
        """Its machine may have begun to hold steps back."""
        if run.machine.held and run not in self.held:
            self.held[run] = AT_FIRST

    def drop(self, run: R) -> None:
        self._untold = [each for each in self._untold if each[0] is not run]
        self.held.pop(run, None)

    def take(self, everything: bool, now: float) -> Iterator[tuple[R, Sequence[Command]]]:
        """Of each twice as many as before, or all."""
        untold, self._untold = self._untold, []
        yield from untold
        for run, before in list(self.held.items()):
            yield run, run.machine.more(None if everything else 2 * before, now)
            if run.machine.held:
                self.held[run] = 2 * before
            else:
                del self.held[run]
