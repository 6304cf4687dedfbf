"""Small real fakes: a clock that moves when told to, a sink that remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from opgrid.contracts.events import AnyEvent, EventType

E = TypeVar("E")


class FakeClock:
    """Called like ``time.time``; moves only by :meth:`advance` and :meth:`sleep`."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("a clock does not go back; set .now to test what happens if one does")
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))


class RecordingSink:
    """Keeps what it is told, in order."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def emit(self, event: AnyEvent) -> None:
        self.events.append(event)

    @property
    def types(self) -> Sequence[EventType]:
        return [event.TYPE for event in self.events]

    def only(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        """The single event of that class."""
        (found,) = self.only(kind)
        return found
