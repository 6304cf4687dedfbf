"""What the daemon does over and over, each duty by one process at a time. Evaluations run in threads, a few for each
location: of sensors that broke their process one is asked at a time, so that those that hang hold up nobody else.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from math import inf
from typing import Final

from opgrid.contracts.status import RunStatus
from opgrid.errors import OpGridError
from orchestrator.daemon.evaluating import Asked, ask, commit, has_broken, is_away
from orchestrator.locations.location import Location
from orchestrator.locations.messages import (
    Evaluated,
    Failed,
    ScheduleInfo,
    SensorInfo,
    TickRunStatus,
    TickSchedule,
    TickSensor,
)
from orchestrator.services.ticks import cron_of, missed, next_tick
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import Instigator, InstigatorKind, Tick, TickStatus

_LONGEST_REST: Final = 60.0
_AHEAD: Final = 60.0  #: seconds by which clocks of machines may differ, and no more
_AGAIN: Final = 5.0  #: seconds after which a code server that was away is asked again
_TRIES: Final = 3  #: times that a run status sensor may break its process over one run
_AT_ONCE: Final = 25  #: runs that a run status sensor is asked about in one tick

_log = logging.getLogger("opgrid.daemon")

Clock = Callable[[], float]
Key = tuple[str, str]


class Duty:
    """Schedules, or sensors. ``turn`` returns at once; ``clock`` is Unix seconds."""

    kind: InstigatorKind

    def __init__(
        self,
        store: ServiceStore,
        locations: Sequence[Location],
        clock: Clock,
        timeout: float = 60.0,
    ) -> None:
        self._store = store
        self._locations = locations
        self._clock = clock
        self._timeout = timeout
        self._busy: dict[Key, Future[None]] = {}
        self.next_at = inf  #: when the first is due of those that were not at the last turn
        self._broken: dict[Key, float] = {}  #: who broke the process that was asked last time, and when

    def turn(self, states: Iterable[Instigator]) -> None:
        """Begin what is due. ``states`` as they are stored now."""
        self.next_at = inf
        stored = {(state.location, state.name): state for state in states}
        for key in [key for key, future in self._busy.items() if future.done()]:
            self._report(key, self._busy.pop(key))
        for location in self._locations:
            for each in self._in_turn(location):
                key = location.name, each.name
                if key not in self._busy:
                    self._consider(location, each, stored.get(key))

    def _in_turn(self, location: Location) -> Sequence[ScheduleInfo | SensorInfo]:
        """Those that have broken last, and of them first who waited longest."""
        several = self._all(location)
        if not self._broken:
            return several
        return sorted(several, key=lambda each: self._broken.get((location.name, each.name), 0.0))

    def _consider(self, location: Location, each: ScheduleInfo | SensorInfo, stored: Instigator | None) -> None:
        state = stored or Instigator(location.name, each.name, self.kind)
        if not (each.running if state.running is None else state.running):
            return
        now = self._clock()
        if state.since is None:
            before, state = state, dataclasses.replace(state, since=now, cursor=self._first_cursor(each, state))
            self._store.set_instigator(state, ("since",) if state.cursor == before.cursor else ("since", "cursor"))
        work = self._due(location, each, state, now)
        if work is not None and not self._is_held(location.name, each.name):
            self._busy[location.name, each.name] = location.submit(work, self.kind.value)

    def _all(self, location: Location) -> Sequence[ScheduleInfo | SensorInfo]:
        raise NotImplementedError

    def _due(self, location: Location, each: object, state: Instigator, now: float) -> Callable[[], None] | None:
        raise NotImplementedError

    def _first_cursor(self, each: object, state: Instigator) -> str | None:
        return state.cursor

    def _is_held(self, location: str, name: str) -> bool:
        """While another one of the location is asked that has broken, too: between them they get one thread."""
        if (location, name) not in self._broken:
            return False
        return any(key[0] == location and key in self._broken for key in self._busy)

    def _asked(self, location: Location, asked: Asked) -> Evaluated | Failed:
        """Remembers who broke the process that was asked: next time that leaves others theirs."""
        answer = ask(location, asked, self._timeout, (location.name, asked.name) in self._broken)
        if has_broken(answer):
            self._broken[location.name, asked.name] = self._clock()
        else:
            self._broken.pop((location.name, asked.name), None)
        return answer

    def _report(self, key: Key, future: Future[None]) -> None:
        error = future.exception()
        if isinstance(error, OpGridError):
            _log.warning("%s of %s: %s", key[1], key[0], error)
        elif error is not None:
            _log.error("%s of %s could not be evaluated.", key[1], key[0], exc_info=error)

    @property
    def is_busy(self) -> bool:
        """Whether something was begun that has not been seen to end."""
        return bool(self._busy)

    def wait(self) -> None:
        """For what was begun."""
        for future in self._busy.values():
            future.exception()


class Scheduler(Duty):
    """A tick that was missed is made up for, also one for which a code server was away: of a schedule whose runs are of
    partitions the last ``catch_up``, of others the last one.
    """

    kind = InstigatorKind.SCHEDULE

    def __init__(
        self,
        store: ServiceStore,
        locations: Sequence[Location],
        clock: Clock,
        timeout: float = 60.0,
        catch_up: int = 5,
    ) -> None:
        super().__init__(store, locations, clock, timeout)
        self._catch_up = catch_up
        self._next: dict[Key, tuple[object, float]] = {}
        self._away: dict[str, float] = {}  #: locations that nobody answered for, and when they are asked again

    def _all(self, location: Location) -> Sequence[ScheduleInfo]:
        return location.info.schedules

    def _due(self, location: Location, each: object, state: Instigator, now: float) -> Callable[[], None] | None:
        assert isinstance(each, ScheduleInfo)
        after = max(state.since or 0.0, state.ticked or 0.0)
        if after > now + _AHEAD:
            self._go_on_from(now, state)
            self.next_at = now
            return None
        due, again = self._when(location, each, after), self._away.get(location.name, 0.0)
        if now < again <= now + _AGAIN:  # else the clock was set back since
            due = max(due, again)
        if now < due:
            self.next_at = min(self.next_at, due)
            return None
        ticks = missed(cron_of(each), after, now, self._catch_up if each.catches_up else 1)
        return (lambda: self._evaluate(location, state, ticks)) if ticks else None

    def _go_on_from(self, now: float, state: Instigator) -> None:
        """The clock was ahead when it started or ticked last; it would wait for that time to come. Runs of ticks that
        have been are not launched again.
        """
        text = "The clock was ahead when it ticked or was started last, so that it waited. It goes on from now."
        _log.warning("Schedule %s of %s: %s", state.name, state.location, text)
        if (state.since or 0.0) > now:
            state = dataclasses.replace(state, since=now)
            self._store.set_instigator(state, ("since",))
        tick = Tick(state.location, state.name, self.kind, now, TickStatus.SKIPPED, now, reason=text)
        self._store.commit_tick(tick, state, dataclasses.replace(state, ticked=now, completed=now))

    def _when(self, location: Location, each: ScheduleInfo, after: float) -> float:
        """Of the next tick, worked out once."""
        key, of = (location.name, each.name), (each.cron, each.zone, after)
        known = self._next.get(key)
        if known is None or known[0] != of:
            due = next_tick(cron_of(each), after)
            known = self._next[key] = of, inf if due is None else due
        return known[1]

    def _evaluate(self, location: Location, state: Instigator, ticks: Sequence[float]) -> None:
        for at in ticks:
            answer = self._asked(location, TickSchedule(state.name, at))
            now = self._clock()
            if isinstance(answer, Failed) and is_away(answer):
                if location.name not in self._away:
                    _log.warning("Schedules of %s wait. %s", location.name, answer.error.message)
                self._away[location.name] = now + _AGAIN
                return
            self._away.pop(location.name, None)
            after = dataclasses.replace(state, ticked=at, completed=now)
            if commit(self._store, state, after, answer, at, now) is None:
                return
            state = after


class Sensors(Duty):
    kind = InstigatorKind.SENSOR

    def __init__(self, store: ServiceStore, locations: Sequence[Location], clock: Clock, timeout: float = 60.0) -> None:
        super().__init__(store, locations, clock, timeout)
        self._rests: dict[Key, float] = {}  #: seconds
        self._tries: dict[Key, tuple[int, int]] = {}  #: a run's event that broke a process, and how often

    def _all(self, location: Location) -> Sequence[SensorInfo]:
        return location.info.sensors

    def _first_cursor(self, each: object, state: Instigator) -> str | None:
        """One on the status of runs looks at what happens from now on."""
        assert isinstance(each, SensorInfo)
        if each.run_status is None or state.cursor is not None:
            return state.cursor
        return str(self._store.last_event())

    def _due(self, location: Location, each: object, state: Instigator, now: float) -> Callable[[], None] | None:
        assert isinstance(each, SensorInfo)
        rest = max(each.interval, self._rests.get((location.name, each.name), 0.0))
        if state.completed is not None and 0 <= now - state.completed < rest:  # else the clock was set back since
            self.next_at = min(self.next_at, state.completed + rest)
            return None
        if each.run_status is not None:
            status = RunStatus(each.run_status)
            return lambda: self._look_at_runs(location, state, status, now)
        return lambda: self._evaluate(location, state, now)

    def _evaluate(self, location: Location, state: Instigator, at: float) -> None:
        asked = TickSensor(state.name, state.cursor, state.last_run_key, state.completed, state.since)
        answer = self._rest(location, state, self._asked(location, asked))
        now = self._clock()
        commit(self._store, state, dataclasses.replace(state, ticked=at, completed=now), answer, at, now)

    def _rest(self, location: Location, state: Instigator, answer: Evaluated | Failed) -> Evaluated | Failed:
        """A process that broke costs its location a start: who breaks one again and again is asked ever less."""
        key = location.name, state.name
        if has_broken(answer) or is_away(answer):
            self._rests[key] = min(_LONGEST_REST, self._rests.get(key, 1.0) * 2)
        else:
            self._rests.pop(key, None)
        return answer

    def _is_tried_again(self, location: Location, state: Instigator, number: int, answer: Evaluated | Failed) -> bool:
        if is_away(answer):
            return True
        key = location.name, state.name
        if not has_broken(answer):
            self._tries.pop(key, None)
            return False
        last, times = self._tries.get(key, (number, 0))
        times = times + 1 if last == number else 1
        self._tries[key] = number, times
        return times < _TRIES

    def _look_at_runs(self, location: Location, state: Instigator, status: RunStatus, at: float) -> None:
        """Each run once: the cursor moves behind it with what it led to. What broke the process that was asked is tried
        again, a few times.
        """
        after = int(state.cursor or 0)
        for number, run_id in self._store.run_events(_EVENT[status], after, _AT_ONCE):
            answer = self._rest(location, state, self._asked(location, TickRunStatus(state.name, run_id, number)))
            now = self._clock()
            changed = dataclasses.replace(state, cursor=str(number), ticked=at, completed=now)
            # The cursor moves behind a run that could not be evaluated, too: it would fail again and again.
            kept = state if self._is_tried_again(location, state, number, answer) else changed
            if commit(self._store, state, changed, answer, at, now, failed=kept) is None:
                return
            if has_broken(answer) or is_away(answer):
                return
            state = changed
        if state.ticked != at:
            self._store.commit_tick(None, state, dataclasses.replace(state, ticked=at, completed=self._clock()))


_EVENT: Final = {
    RunStatus.QUEUED: "PIPELINE_ENQUEUED",
    RunStatus.NOT_STARTED: "PIPELINE_DEQUEUED",
    RunStatus.STARTING: "PIPELINE_STARTING",
    RunStatus.STARTED: "PIPELINE_START",
    RunStatus.SUCCESS: "PIPELINE_SUCCESS",
    RunStatus.FAILURE: "PIPELINE_FAILURE",
    RunStatus.CANCELING: "PIPELINE_CANCELING",
    RunStatus.CANCELED: "PIPELINE_CANCELED",
}
