"""What the run loop needs of a store: one transaction a turn, and the log of a run to read back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.executor import Position
from opgrid.contracts.status import RunStatus
from opgrid.contracts.told import Report
from opgrid.ids import RunId
from orchestrator.engine.pools import Slot


class Turn(Protocol):
    """One transaction: all of it becomes durable when its ``with`` block ends, or none of it."""

    def append(self, run_id: RunId, events: Sequence[Report]) -> None:
        """Add to the end of the log of a run, in this order. Projections (step statuses, times) follow here."""
        ...

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        """Called when the status changes; ``at`` is the coordinator's clock."""
        ...

    def free_slots(self, slots: Sequence[Slot]) -> None:
        """Of steps whose end is appended."""
        ...

    def set_position(self, stream: str, position: Position) -> None:
        """How far the events of an executor were taken; ``stream`` is the key of the executor in ``drive``."""
        ...


class RunLog(Protocol):
    """A store may refuse a turn (a lease was lost): nothing of it is acted upon, and ``drive`` ends with that error."""

    def turn(self) -> AbstractContextManager[Turn]: ...

    def read(self, run_id: RunId) -> Iterable[AnyEvent]:
        """The whole log of a run, oldest first."""
        ...

    def position(self, stream: str) -> Position:
        """What was last set for ``stream``; "" when nothing was."""
        ...
