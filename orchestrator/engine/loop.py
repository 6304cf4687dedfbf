"""The only run loop: for every executor, and for many runs at once.

A turn: wait for events; let the machines decide; make events, decisions, run statuses and stream positions durable in
one transaction; then tell the executors. What a crash leaves untold follows from the log: see ``recovery``, ``outbox``.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, Self, assert_never, get_args

import msgspec

from opgrid.contracts.events import (
    AnyEvent,
    EngineNote,
    LogMessage,
    RunCanceling,
    RunStarted,
    StepCanceled,
    StepEvent,
    StepFailed,
    StepLost,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, Position
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.told import Report, Told, unfolded
from opgrid.contracts.wording import span
from opgrid.errors import UnknownExecutor
from opgrid.ids import NodePath, RunId, StepKey
from orchestrator.engine.clock import Clock, SteadyClock
from orchestrator.engine.commands import Cancel, Command, Finish, Launch, Note, RunHook, WakeAt
from orchestrator.engine.fusing import Expect
from orchestrator.engine.gates import Gates, GateStore, asks
from orchestrator.engine.inbox import AddRuns, CancelRun, DropRun, Inbox
from orchestrator.engine.limits import Admission, from_config
from orchestrator.engine.log import RunLog
from orchestrator.engine.machine import TOLD, RunMachine
from orchestrator.engine.outbox import Hooks, Outbox, Release, Stop, Submit, never_started
from orchestrator.engine.parts import Parts
from orchestrator.engine.polling import Ears, Heard, ears
from orchestrator.engine.pools import LOOK_AGAIN, PoolStore, Slot
from orchestrator.planner.plan import Plan, StepSpec, breadth

Watch = Callable[[Sequence[AnyEvent]], None]

_NEVER = 3600.0
#: Runs that have ended and are known as such, of whoever goes on for ever.
_REMEMBERED: Final = 10_000
#: Seconds that a turn vouches for what is told to executors: whoever is frozen for longer asks again before it acts.
TRUST = 8.0
#: Seconds from the end of a run's time to the end of its step from which on that is told.
_STUBBORN = 1.0


class Holding(PoolStore, GateStore, Protocol):
    """What steps may have to wait for."""


@dataclass(slots=True, eq=False)
class LiveRun:
    """A run that is being driven. ``first``, ``orders``, ``out`` and ``untold`` are what recovery found to be done."""

    brief: RunBrief
    machine: RunMachine
    limits: Admission | None = None
    first: list[AnyEvent] = field(default_factory=list)
    orders: list[Command] = field(default_factory=list)
    out: list[StepTask] = field(default_factory=list)  #: attempts on their way, of which their executors know no more
    untold: list[Command] = field(default_factory=list)  #: what was decided, and is not in the log
    pools: dict[NodePath, str] = field(init=False)
    gated: dict[NodePath, StepSpec] = field(init=False)  #: that somebody has to approve
    executors: frozenset[str] = field(init=False)  #: names of those that its steps need

    @classmethod
    def new(cls, brief: RunBrief, plan: Plan) -> Self:
        return cls(brief, RunMachine(brief.run_id, plan), from_config(brief.executor.config))

    def __post_init__(self) -> None:
        self.pools = {spec.key: spec.pool for spec in self.machine.plan.steps if spec.pool is not None}
        self.gated = {spec.key: spec for spec in self.machine.plan.steps if asks(spec)}
        own = self.brief.executor.name
        self.executors = frozenset([spec.executor or own for spec in self.machine.plan.steps if spec.runs])

    @property
    def run_id(self) -> RunId:
        return self.brief.run_id

    def executor_of(self, name: str | None) -> str:
        return name or self.brief.executor.name

    def expectation_of(self, executor: Executor) -> Expect:
        """What steps of this run take there."""
        job = self.brief.job.name
        return lambda spec: executor.expects(job, spec.op or spec.key)


class _Decided(NamedTuple):
    """What comes of the events of a turn."""

    recorded: dict[RunId, list[Report]]
    statuses: dict[RunId, RunStatus]
    orders: list[tuple[LiveRun, Command]]

    def take(self, run: LiveRun, commands: Iterable[Command]) -> None:
        for command in commands:
            if type(command) is Note:
                self.recorded.setdefault(run.run_id, []).append(command.event)
            else:
                self.orders.append((run, command))


def drive(
    runs: Sequence[LiveRun],
    executors: Mapping[str, Executor],
    log: RunLog,
    *,
    clock: Clock | None = None,
    watch: Watch | None = None,
    inbox: Inbox | None = None,
    stream: str = "",
    pools: Holding | None = None,
) -> dict[RunId, RunStatus]:
    """Drive runs to their end; returns how each ended.

    Steps go to ``executors[name]`` by the name of their executor; the executors stay open. ``watch`` sees what was
    recorded, after it is durable. ``stream`` names this coordinator where positions are stored; ``pools`` has the slots
    of pools and what was approved; without, neither holds anything back. KeyboardInterrupt cancels all runs; the second
    one is raised.
    """
    driver = _Driver(dict(executors), log, clock or SteadyClock(), watch, inbox or Inbox(), stream, pools)
    try:
        for run in runs:
            driver.join(run)
        return driver.until_done()
    finally:
        driver.close()


class _Driver:
    def __init__(
        self,
        executors: dict[str, Executor],
        log: RunLog,
        clock: Clock,
        watch: Watch | None,
        inbox: Inbox,
        stream: str,
        pools: Holding | None,
    ) -> None:
        self._pools = pools
        self._gates = Gates(pools)
        self._pooled: dict[Slot, tuple[LiveRun, StepTask]] = {}  #: that wait for one
        self._vacated: list[Slot] = []  #: by steps that have ended
        self._look_for_slots = 0.0
        self._sure_at = clock()  #: when we last knew that nobody else drives these runs
        self._said: dict[RunId, set[str]] = {}  #: what steps wait for, of which was said that they do
        self._executors = executors
        self._log, self._clock, self._watch, self._inbox, self._stream = log, clock, watch, inbox, stream
        self._live: dict[RunId, LiveRun] = {}
        self._results: dict[RunId, RunStatus] = {}
        self._outboxes = {name: Outbox(name, executor) for name, executor in executors.items()}
        self._out: dict[str, set[tuple[RunId, StepKey, int]]] = {name: set() for name in executors}
        self._timers: list[tuple[float, int, AnyEvent]] = []
        self._alarms: dict[RunId, threading.Timer] = {}
        self._order = itertools.count()
        self._next: list[AnyEvent] = []  #: to be taken at the next turn
        self._unheard: list[Heard] = []  #: the same, of what executors tell
        self._freed: list[tuple[LiveRun, StepTask]] = []  #: that waited for a limit
        self._later = Parts[LiveRun]()
        self._are_apart = all(executor.crosses_processes for executor in executors.values())
        self._positions: dict[str, Position] = {}
        for name, executor in executors.items():
            if type(executor).resume_at is Executor.resume_at:
                continue  # what it tells is in no stream
            self._positions[name] = log.position(self._stream_of(name))
            if self._positions[name]:
                executor.resume_at(self._positions[name])
        self._ears: Ears = ears(executors, inbox, lambda name: bool(self._out[name]))

    def join(self, run: LiveRun) -> None:
        for name in run.executors:
            if name not in self._executors:
                raise UnknownExecutor("executor", name, sorted(self._executors), f"what drives run {run.run_id}")
        machine = run.machine
        if run.run_id in self._live or run.run_id in self._results:
            return  # it was found before it was announced
        if machine.finished:
            self._over(run)
            return
        self._live[run.run_id] = run
        self._foretell(run)
        if run.pools and self._pools is not None:
            out = [task.task.step for task in run.orders if isinstance(task, Launch)]
            self._pools.keep_slots(run.run_id, [*out, *machine.out()])
        if machine.status is RunStatus.NOT_STARTED:
            now = self._clock()
            self._next.append(RunStarted(run_id=run.run_id, at=now))
            self._next.extend(EngineNote(run_id=run.run_id, at=now, message=text) for text in run.brief.notices)
        self._next.extend(run.first)
        if run.untold:
            self._later.put(run, run.untold)
        if self._are_apart:
            self._later.split(run)
        self._announce(run)
        self._obey([(run, command) for command in run.orders], self._clock())

    def _foretell(self, run: LiveRun) -> None:
        for name in run.executors:
            executor = self._executors[name]
            if type(executor).foresee is not Executor.foresee:
                steps = [spec for spec in run.machine.plan.steps if run.executor_of(spec.executor) == name]
                executor.foresee(run.brief, breadth(steps))

    def _announce(self, run: LiveRun) -> None:
        """They have passed all that holds steps back; submitted again, they can be sent again when it has to be."""
        by_executor: dict[str, list[StepTask]] = {}
        for task in run.out:
            by_executor.setdefault(run.executor_of(task.executor), []).append(task)
        for name, tasks in by_executor.items():
            self._out[name].update(task.id for task in tasks)
            self._outboxes[name].put(Submit(run.brief, tasks))

    def until_done(self) -> dict[RunId, RunStatus]:
        while (self._live or self._inbox.open) and not self._inbox.left:
            try:
                events, heard = self._gather()
            except KeyboardInterrupt:
                if any(run.machine.status is RunStatus.CANCELING for run in self._live.values()):
                    raise
                self._inbox.request_cancel_all("The process that drives the run was interrupted.")
                continue
            self._turn(events, heard)
        return self._results

    def close(self) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()
        self._ears.close()

    # ---- one turn

    def _gather(self) -> tuple[list[Report], list[Heard]]:
        events: list[Report] = self._at_hand()
        heard: list[Heard] = []
        if not events and self._unheard:
            heard, self._unheard = self._unheard, []
        elif not events:
            heard = self._ears.wait(0.0 if self._later else self._patience())
            events = self._at_hand()  # before what was heard: a step that an interrupt ended was canceled with its run
            if self._come_first(events, heard):
                self._unheard, heard = heard, []
        for entry in heard:
            events.extend(entry.polled.events)
        events.extend(self._due())
        return events, heard

    def _come_first(self, events: Sequence[Report], heard: Sequence[Heard]) -> bool:
        """Whether executors are to be told before what was heard is taken: that a run is canceled, for with the last
        step that is known to be out it would be over, and its worker go on with what came along; and what they could
        not be told before.
        """
        telling = [entry.name for entry in heard if entry.polled.events]
        untold = [self._outboxes[name] for name in telling if self._outboxes[name].waiting]
        for box in untold:
            box.retry_at = self._clock()  # it is heard: it can be reached
        return bool(untold) or (bool(telling) and any(type(event) is RunCanceling for event in events))

    def _at_hand(self) -> list[Report]:
        """Also the starts of runs that have come: they are recorded with the word that woke us, in one transaction."""
        events: list[Report] = [*self._requested(), *self._next]
        self._next.clear()
        return events

    def _requested(self) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for request in self._inbox.take():
            match request:
                case CancelRun(run_id, reason, is_timeout, inside):
                    now = self._clock()
                    if inside is not None and now - inside > _STUBBORN and run_id in self._live:
                        events.append(EngineNote(run_id=run_id, at=now, message=_not_interrupted(now - inside)))
                    wanted = [run_id] if run_id is not None else list(self._live)
                    events.extend(
                        RunCanceling(run_id=each, at=now, reason=reason, is_timeout=is_timeout) for each in wanted
                    )
                case AddRuns(runs):
                    for run in runs:
                        self.join(run)
                case DropRun(run_id):
                    self._drop(run_id)
                case _:
                    assert_never(request)
        return events

    def _patience(self) -> float:
        dues = [box.retry_at for box in self._outboxes.values() if box.retry_at is not None]
        if self._timers:
            dues.append(self._timers[0][0])
        if self._pooled:
            dues.append(self._look_for_slots)
        if self._gates.due is not None:
            dues.append(self._gates.due)
        return max(0.0, min(dues) - self._clock()) if dues else _NEVER

    def _due(self) -> list[AnyEvent]:
        now = self._clock()
        events: list[AnyEvent] = []
        while self._timers and self._timers[0][0] <= now:
            events.append(msgspec.structs.replace(heapq.heappop(self._timers)[2], at=now))
        return events

    def _turn(self, events: Iterable[Report], heard: Sequence[Heard]) -> None:
        now = self._clock()
        recorded, statuses, orders = self._decided(events, now)
        positions = {
            entry.name: entry.polled.position
            for entry in heard
            if entry.polled.position != self._positions.get(entry.name, "")
        }
        if recorded or positions:
            self._record(recorded, statuses, positions, now)
        for run_id, status in statuses.items():
            if status is RunStatus.CANCELING:
                self._silence(run_id)
        self._obey(orders, now)
        for name, position in positions.items():
            with self._ears.talking(name):
                self._executors[name].acknowledge(position)

    def _decided(self, events: Iterable[Report], now: float) -> _Decided:
        made = _Decided({}, {}, [])
        self._take_up(made, everything=False, now=now)
        live, later, recorded = self._live, self._later, made.recorded
        for event in events:
            kind = type(event)
            run = live.get(event.run_id)
            if run is None:
                continue
            machine = run.machine
            if later.held and (kind not in _LEAVE_IN_PEACE or machine.holds(getattr(event, "step", None))):
                self._take_up(made, everything=True, now=now)
            if kind in TOLD:  # as most are
                told = (event,) if machine.hears(event) else _lines(event)
                if told:
                    recorded.setdefault(event.run_id, []).extend(told)
                continue
            event = machine.vetted(event)
            before = machine.status
            commands = machine.take(event, now)
            if commands is None:
                continue
            recorded.setdefault(event.run_id, []).append(event)
            if commands:
                made.take(run, commands)
                later.watch(run)
            if machine.status is not before:
                made.statuses[event.run_id] = machine.status
            if kind in _ENDS and isinstance(event, StepEvent):
                self._came_back(run, event)
        return made

    def _take_up(self, made: _Decided, everything: bool, now: float) -> None:
        """Dispatch more of large fan-outs; all of it before something comes that is about what is out."""
        for run, commands in self._later.take(everything, now):
            made.take(run, commands)

    def _record(
        self,
        recorded: Mapping[RunId, list[Report]],
        statuses: Mapping[RunId, RunStatus],
        positions: Mapping[str, Position],
        now: float,
    ) -> None:
        begun = self._clock()
        with self._log.turn() as turn:
            for run_id, events in recorded.items():
                turn.append(run_id, events)
            for run_id, status in statuses.items():
                turn.set_status(run_id, status, now)
            if self._vacated:
                turn.free_slots(self._vacated)  # with the word that they are: who drives the run no more frees none
                self._vacated.clear()
            for name, position in positions.items():
                turn.set_position(self._stream_of(name), position)
        self._sure_at = begun
        self._positions.update(positions)
        if self._watch is not None:
            self._watch([event for reports in recorded.values() for event in unfolded(reports)])

    def _stream_of(self, name: str) -> str:
        return f"{self._stream}/{name}" if self._stream else name

    # ---- obeying

    def _obey(self, orders: Iterable[tuple[LiveRun, Command]], now: float) -> None:
        """Launches first: what is canceled in the same turn is launched before it is stopped."""
        launches: dict[RunId, tuple[LiveRun, list[StepTask]]] = {}
        stops: dict[RunId, tuple[LiveRun, list[Cancel]]] = {}
        ended: list[LiveRun] = []
        for run, command in orders:
            match command:
                case Launch():
                    launches.setdefault(run.run_id, (run, []))[1].append(command.task)
                case Cancel():
                    stops.setdefault(run.run_id, (run, []))[1].append(command)
                case WakeAt(due, event):
                    self._wake_at(run, due, event, now)
                case RunHook(task, hooks, error):
                    name = run.executor_of(task.executor)
                    self._outboxes[name].put(Hooks(run.brief, task, hooks, error))
                case Finish():
                    ended.append(run)
                case Note():
                    pass  # recorded with the turn
                case _:
                    assert_never(command)
        self._launch(launches.values(), now)
        for run, cancels in stops.values():
            self._stop(run, cancels, now)
        for run in ended:
            self._finish(run)
        self._flush(now)

    def _launch(self, launches: Iterable[tuple[LiveRun, list[StepTask]]], now: float) -> None:
        opened, told = self._gates.look(now)
        self._next.extend(told)
        for run, task in opened:
            self._freed.extend((run, each) for each in self._admitted(run, [task]))
        for run, tasks in launches:
            passing, told = self._gates.hold(run, tasks, now)
            self._next.extend(told)
            self._freed.extend((run, task) for task in self._admitted(run, passing))
        self._ask_pools()
        batches: dict[tuple[RunId, str], tuple[LiveRun, list[StepTask]]] = {}
        for run, task in self._freed:
            if not run.machine.is_out(task):
                continue  # it was sent along with another, and its end has come in the same turn
            name = run.executor_of(task.executor)
            batch = batches.get((task.run_id, name))
            if batch is None:
                batch = batches[task.run_id, name] = run, []
            batch[1].append(task)
            self._out[name].add(task.id)
        self._freed.clear()
        for (_, name), (run, tasks) in batches.items():
            tasks.sort(key=lambda task: -task.priority)
            executor = self._executors[name]
            if executor.fuses and run.limits is None:
                tasks = run.machine.tasks.with_crews(tasks, run.expectation_of(executor), executor.sooner_alone)
            self._outboxes[name].put(Submit(run.brief, tasks))

    def _finish(self, run: LiveRun) -> None:
        self._over(run)
        del self._live[run.run_id]
        if run.pools and self._pools is not None:
            self._pools.keep_slots(run.run_id, ())
        for name in run.executors:
            self._outboxes[name].put(Release(run.run_id))
        if self._inbox.on_end is not None:
            self._inbox.on_end(run.run_id)

    def _drop(self, run_id: RunId) -> None:
        """Stop what is out of a run that has ended over our head. It is told to nobody: its log is closed."""
        run = self._live.get(run_id)
        if run is None:
            return
        self._later.drop(run)
        self._freed = [each for each in self._freed if each[0] is not run]
        steps = [run.machine.steps[key] for key in run.machine.out()]
        self._stop(run, [Cancel(step.key, step.attempt, step.spec.executor) for step in steps], self._clock())
        self._finish(run)

    def _wake_at(self, run: LiveRun, due: float, event: AnyEvent, now: float) -> None:
        """By an alarm for the end of the time of a run whose steps may keep this thread from looking at its timers."""
        may_be_kept = not all(self._executors[name].crosses_processes for name in run.executors)
        if type(event) is not RunCanceling or run.machine.status is RunStatus.CANCELING or not may_be_kept:
            heapq.heappush(self._timers, (due, next(self._order), event))
            return
        told, seconds = (run.run_id, event.reason, max(due, now)), max(0.0, min(due - now, threading.TIMEOUT_MAX))
        alarm = self._alarms[run.run_id] = threading.Timer(seconds, self._inbox.time_is_over, told)
        alarm.daemon = True
        alarm.start()

    def _silence(self, run_id: RunId) -> None:
        """It ends, or is to end already: an alarm would interrupt this loop."""
        if (alarm := self._alarms.pop(run_id, None)) is not None:
            alarm.cancel()

    def _over(self, run: LiveRun) -> None:
        self._silence(run.run_id)
        self._said.pop(run.run_id, None)
        self._results[run.run_id] = run.machine.status
        if self._inbox.open and len(self._results) > _REMEMBERED:
            del self._results[next(iter(self._results))]

    def _ask_pools(self) -> None:
        """Of what is to be launched, hold back what its pool has no slot for."""
        if self._pools is None:
            return
        if any(run.pools for run, _ in self._freed):
            kept = []
            for run, task in self._freed:
                pool = run.pools.get(task.node)
                if pool is None:
                    kept.append((run, task))
                else:
                    self._pooled[Slot(pool, run.run_id, task.step)] = run, task
            self._freed = kept
        elif not self._pooled or self._clock() < self._look_for_slots:
            return
        priorities = {slot: task.priority for slot, (_, task) in self._pooled.items()}
        wanted = dict(sorted(priorities.items(), key=lambda entry: -entry[1]))
        granted = self._pools.take_slots(wanted)
        self._freed += [self._pooled.pop(slot) for slot in wanted if slot in granted]
        self._look_for_slots = self._clock() + LOOK_AGAIN
        for slot in self._pooled:
            run, _ = self._pooled[slot]
            self._say(
                run, slot.step, f"Steps wait for the pool {slot.pool!r}: all of its slots are in use, or for others."
            )

    def _admitted(self, run: LiveRun, tasks: list[StepTask]) -> list[StepTask]:
        if run.limits is None:
            return tasks
        steps = run.machine.steps
        admitted = run.limits.admit(tasks, {task.step: steps[task.step].spec.tags for task in tasks})
        if len(admitted) < len(tasks):
            for tag, (step, most) in run.limits.held().items():
                self._say(run, step, f"Steps wait for others with the tag {tag!r}: at most {most} of them run at once.")
        return admitted

    def _say(self, run: LiveRun, step: StepKey, text: str) -> None:
        """Once for all steps of the run."""
        said = self._said.setdefault(run.run_id, set())
        if text not in said:
            said.add(text)
            self._next.append(EngineNote(run_id=run.run_id, at=self._clock(), message=text, step=step))

    def _stop(self, run: LiveRun, cancels: Iterable[Cancel], now: float) -> None:
        """Stop what was submitted; what was not is canceled here and now."""
        by_executor: dict[str, list[tuple[StepKey, int]]] = {}
        for cancel in cancels:
            slot = Slot(run.pools.get(run.machine.steps[cancel.step].spec.key) or "", run.run_id, cancel.step)
            waits = self._pooled.pop(slot, None) is not None or self._gates.withdraw(run.run_id, cancel.step)
            if waits or (run.limits is not None and run.limits.withdraw(cancel.step, cancel.attempt)):
                self._next.append(never_started(run.run_id, cancel.step, cancel.attempt, now))
            else:
                by_executor.setdefault(run.executor_of(cancel.executor), []).append((cancel.step, cancel.attempt))
        for name, steps in by_executor.items():
            unsent = self._outboxes[name].withdraw(run.run_id, steps)
            self._next.extend(never_started(run.run_id, *step, now) for step in steps if step in unsent)
            left = [step for step in steps if step not in unsent]
            if left:
                self._outboxes[name].put(Stop(run.run_id, left))

    def _came_back(self, run: LiveRun, event: StepEvent) -> None:
        pool = run.pools.get(event.node) if run.pools else None
        if pool is not None and self._pools is not None:
            slot = Slot(pool, run.run_id, event.step)
            if slot in self._pooled and self._pooled[slot][1].attempt == event.attempt:
                del self._pooled[slot]  # another process had sent it, before this one drove its run
            self._vacated.append(slot)
            self._look_for_slots = 0.0
        task = (run.run_id, event.step, event.attempt)
        for out in self._out.values():
            out.discard(task)
        if run.limits is not None:
            self._freed.extend((run, freed) for freed in run.limits.done(event.step, event.attempt))

    def _flush(self, now: float) -> None:
        if self._clock() - self._sure_at > TRUST and any(box.waiting for box in self._outboxes.values()):
            with self._log.turn():
                pass  # refused where another drives these runs by now
            self._sure_at = self._clock()
        for name, box in self._outboxes.items():
            if box.waiting and (box.retry_at is None or box.retry_at <= now):
                with self._ears.talking(name):
                    self._next.extend(box.flush(now))


def _not_interrupted(seconds: float) -> str:
    return (
        f"A step went on for {span(round(seconds, 1))} when the time of the run was over: it ran in the process that "
        "drives the run, and could not be interrupted. Give such ops to multiprocess or celery, which end a process "
        "that does not stop."
    )


def _lines(late: Report) -> list[LogMessage]:
    """What an op wrote, which is kept though its attempt is over."""
    return [event for event in unfolded([late]) if isinstance(event, LogMessage)]


#: What changes nothing about other steps that are out.
_LEAVE_IN_PEACE = frozenset({Told, *get_args(AnyEvent)}) - {RunCanceling, StepFailed, StepLost, StepCanceled}

_ENDS = frozenset({StepSucceeded, StepFailed, StepLost, StepCanceled})
