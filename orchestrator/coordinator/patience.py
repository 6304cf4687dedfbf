"""Waiting for a database that is away: steps of a run that is driven here go on meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.executor import Position
from opgrid.contracts.status import RunStatus
from opgrid.contracts.told import Report, decode_reports, encode_reports, unfolded
from opgrid.contracts.wire import encode_event
from opgrid.errors import DatabaseUnreachable, DatabaseUnusable
from opgrid.ids import RunId, StepKey
from orchestrator.engine.gates import Gate
from orchestrator.engine.log import RunLog, Turn
from orchestrator.engine.loop import Holding
from orchestrator.engine.pools import Slot

_REST: Final = 1.0  #: seconds between attempts

_log = logging.getLogger("opgrid.orchestrator")

T = TypeVar("T")


def patiently(ask: Callable[[], T], again: Callable[[], T] | None = None) -> T:
    """What it gives once the database is there; ``again`` is asked where it was away. Raises what else it raises."""
    away = False
    while True:
        try:
            found = ask() if again is None or not away else again()
        except DatabaseUnusable:
            raise
        except DatabaseUnreachable as error:
            if not away:
                _log.warning("%s Waiting for it.", error)
            away = True
            time.sleep(_REST)
        else:
            if away:
                _log.warning("The database is back.")
            return found


class PatientLog:
    """A log whose turns wait for the database. Nobody else may write to it."""

    def __init__(self, log: RunLog) -> None:
        self._log = log

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        said = _Said()
        yield said
        patiently(lambda: self._write(said), again=lambda: self._write_once(said))

    def _write(self, said: _Said) -> None:
        with self._log.turn() as turn:
            said.to(turn)

    def _write_once(self, said: _Said) -> None:
        """The connection may have been cut after the turn was stored, or as it was: this waits for that."""
        with self._log.turn():
            pass
        if not said.events or not all(self._is_last(*each) for each in said.events.items()):
            self._write(said)

    def _is_last(self, run_id: RunId, reports: Sequence[Report]) -> bool:
        events = unfolded(decode_reports(encode_reports(list(unfolded(reports)))))  # as they are read back
        told = list(map(encode_event, events))
        return told == list(map(encode_event, list(self._log.read(run_id))[-len(told) :]))

    def read(self, run_id: RunId) -> Iterable[AnyEvent]:
        return patiently(lambda: list(self._log.read(run_id)))

    def position(self, stream: str) -> Position:
        return patiently(lambda: self._log.position(stream))


@dataclass(slots=True)
class _Said:
    """What a turn says, until it is written."""

    events: dict[RunId, list[Report]] = field(default_factory=dict)
    statuses: list[tuple[RunId, RunStatus, float]] = field(default_factory=list)
    positions: dict[str, Position] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)

    def append(self, run_id: RunId, events: Sequence[Report]) -> None:
        if events:
            self.events.setdefault(run_id, []).extend(events)

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        self.statuses.append((run_id, status, at))

    def free_slots(self, slots: Sequence[Slot]) -> None:
        self.slots.extend(slots)

    def set_position(self, stream: str, position: Position) -> None:
        self.positions[stream] = position

    def to(self, turn: Turn) -> None:
        for run_id, events in self.events.items():
            turn.append(run_id, events)
        for status in self.statuses:
            turn.set_status(*status)
        for stream, position in self.positions.items():
            turn.set_position(stream, position)
        if self.slots:
            turn.free_slots(self.slots)


class PatientPools:
    """Slots and approvals of a store that is waited for. Each may be asked twice."""

    def __init__(self, store: Holding) -> None:
        self._store = store

    def take_slots(self, wanted: Mapping[Slot, int]) -> set[Slot]:
        return patiently(lambda: self._store.take_slots(wanted))

    def keep_slots(self, run_id: RunId, steps: Collection[StepKey]) -> None:
        patiently(lambda: self._store.keep_slots(run_id, steps))

    def open_gates(self, gates: Sequence[Gate]) -> list[Gate]:
        return patiently(lambda: self._store.open_gates(gates))

    def decide(self, run_id: RunId, step: StepKey, approved: bool, who: str, note: str) -> bool:
        return patiently(lambda: self._store.decide(run_id, step, approved, who, note))
