"""Steps in the thread that asks for their events: nothing is started, nothing is copied, a debugger works."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Final, Self, TypeAlias
from weakref import WeakKeyDictionary

import msgspec

from opgrid.contracts.events import AnyEvent, ErrorInfo, StepCanceled, StepSucceeded
from opgrid.contracts.executor import Executor, ExecutorSetup, Polled
from opgrid.contracts.fusing import Crew, out_with
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.op import OpDefinition
from opgrid.errors import LoadError, OpGridError
from opgrid.ids import RunId, StepKey
from opgrid.loading import job_for
from opgrid.steps import event_loop, reports
from opgrid.steps.bell import Bell
from opgrid.steps.hooks import run_hooks_elsewhere
from opgrid.steps.interrupts import deadline, passed_on
from opgrid.steps.runner import Terminal, run_step, unwritten
from opgrid.steps.scope import LocalRun, RunScope

#: Quick steps run one after another in one poll, for so many seconds: its caller commits once for all of them.
_TURN: Final = 0.025
#: Seconds from which on a step is to be seen while it runs.
_SLOW: Final = 0.02
_BESIDE: Final = 256  #: async steps at once
_BREATH: Final = 0.005  #: seconds that a poll waits at least while only async steps run

#: Seconds that a step of an op took last in this process, for the executors of later runs.
_TOOK: Final = WeakKeyDictionary[OpDefinition, float]()

_CANCELED: Final = 0  #: no thread
_At: TypeAlias = tuple[RunId, StepKey, int]

_log = logging.getLogger("opgrid.in_process")


class InProcessExecutor(Executor):
    """One step at a time, the highest priority first, in order of submission among equals; async ones run
    concurrently, each waited for by a thread. Resources live as long as their run.
    """

    crosses_processes = False
    one_host = True
    fuses = True
    sooner_alone = inf  #: there is no other place
    default_io = "filesystem"

    def __init__(self, setup: ExecutorSetup) -> None:
        self._setup = setup
        self._waiting: list[_Entry] = []
        self._order = itertools.count()
        self._seen: dict[RunId, set[tuple[StepKey, int]]] = {}
        self._crews: dict[RunId, dict[tuple[StepKey, int], Crew]] = {}  #: of steps that are still to be submitted
        self._scopes: dict[RunId, RunScope] = {}
        self._events: deque[AnyEvent] = deque()
        self._sink = _Sink(self._events)
        self._bell = Bell()
        self._announced: set[tuple[RunId, StepKey, int]] = set()  #: told to have started, and next to run
        self._seconds: dict[OpDefinition, float] = {}  #: that a step of this op took last
        self._woken = False
        self._begun: StepTask | None = None  #: and not known to have ended
        self._threads: ThreadPoolExecutor | None = None
        #: Async steps, with the thread that waits for each; None: it has none yet, _CANCELED: and gets none.
        self._running: dict[_At, int | None] = {}
        self._changing = threading.Lock()  #: held by who cancels an async step, or begins or ends one

    @classmethod
    def create(cls, setup: ExecutorSetup) -> Self:
        return cls(setup)

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        seen = self._seen.setdefault(run.run_id, set())
        crews = self._crews.setdefault(run.run_id, {})
        for task in tasks:
            at = task.step, task.attempt
            if at not in seen:
                seen.add(at)
                crew = crews.pop(at, None)
                if crew is None and task.then:
                    crew = Crew(task.then)
                    crews.update(((mate.step, mate.attempt), crew) for mate in out_with(task)[1:])
                heapq.heappush(self._waiting, _Entry(-task.priority, next(self._order), run, task, crew))

    def poll(self, timeout: float) -> Polled:
        if self._waiting and not self._announced and self._is_to_be_seen(self._waiting[0]):
            task = self._waiting[0].task
            self._announced.add(task.id)
            self._events.append(reports.started(task, os.getpid()))
        elif self._waiting:
            with passed_on():
                self._work()
        elif not self._events:
            self._bell.wait(max(timeout, _BREATH) if self._running else timeout)
        self._woken = False
        for run_id, scope in self._scopes.items():
            if (error := scope.write()) is not None:
                self._not_written(run_id, scope, error)
        take = self._events.popleft
        return Polled([take() for _ in range(len(self._events))], "")  # a thread of user code may log meanwhile

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        unwanted = set(steps)
        kept = []
        for entry in self._waiting:
            task = entry.task
            if task.run_id == run_id and (task.step, task.attempt) in unwanted:
                self._announced.discard(task.id)
                self._events.append(reports.canceled(task))
            else:
                kept.append(entry)
        heapq.heapify(kept)
        self._waiting = kept
        self._stop_all_beside([(run_id, step, attempt) for step, attempt in steps])
        if (lost := self._begun) is not None:  # the keyboard interrupted what is not user code
            self._begun = None
            if lost.run_id == run_id and (lost.step, lost.attempt) in unwanted:
                self._events.append(reports.canceled(lost))

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        try:
            scope = self._scope(run)
        except OpGridError:  # its code cannot be had
            return False
        run_hooks_elsewhere(task, scope, self._sink, error, success=error is None)
        return True

    def wake(self) -> None:
        self._woken = True
        self._bell.ring()

    def release(self, run_id: RunId) -> None:
        self._seen.pop(run_id, None)
        self._crews.pop(run_id, None)
        scope = self._scopes.pop(run_id, None)
        if scope is not None:
            try:
                scope.close()
            except Exception:
                _log.exception("A resource of run %s raised when it was closed.", run_id)

    def close(self) -> None:
        self._waiting.clear()
        if self._threads is not None:
            self._stop_all_beside(list(self._running))
            self._threads.shutdown()
        for run_id in list(self._scopes):
            self.release(run_id)
        self._bell.close()
        _TOOK.update(self._seconds)

    def _work(self) -> None:
        """Run the first step in line, then others that are known to be quick, while there is time; among them those
        that only become ready here.
        """
        until = time.monotonic() + _TURN
        ready: list[_Entry] = []
        line = self._waiting
        try:
            while True:
                self._run_next(heapq.heappop(line), ready)
                line = self._line(ready)
                if not line or self._woken or time.monotonic() + self._expected(line[0]) >= until:
                    return
        finally:
            for entry in ready:  # to go on as they were, once they are submitted
                if entry.crew is not None:
                    self._crews[entry.run.run_id][entry.task.step, entry.task.attempt] = entry.crew

    def _not_written(self, run_id: RunId, scope: RunScope, problem: OSError) -> None:
        """What steps of this turn have stored is lost: they have failed, and those that went on with it count as never
        begun.
        """
        for at, event in enumerate(list(self._events)):
            if event.run_id == run_id and isinstance(event, Terminal):
                self._seen[run_id].discard((event.step, event.attempt))
                if isinstance(event, StepSucceeded) and any(ref.manifest is not None for ref in event.outputs):
                    self._events[at] = unwritten(event, scope, problem)
        crews = [entry.crew for entry in self._waiting if entry.crew is not None and entry.run.run_id == run_id]
        for crew in (*crews, *self._crews[run_id].values()):
            crew.left.clear()  # the loop submits them when what they need is there

    def _line(self, ready: list[_Entry]) -> list[_Entry]:
        """Whose first is next: of those that were submitted, or of those that became ready here."""
        waiting = self._waiting
        return waiting if not ready or (waiting and waiting[0] < ready[0]) else ready

    def _run_next(self, entry: _Entry, ready: list[_Entry]) -> None:
        task, crew = entry.task, entry.crew
        self._begun = task
        seen = self._seen[task.run_id]
        seen.add((task.step, task.attempt))
        scope = self._started(entry.run, task)
        if scope is None:
            self._begun = None
            return
        node = scope.node(task.node)
        ended: Terminal | None = None
        if node.is_async:
            self._run_beside(task, scope)
        else:
            ended = self._run(task, scope, node.op)
        if crew is not None and crew.left:
            if type(ended) is StepSucceeded:
                able = crew.after(ended, seen)
            else:
                able = crew.without(task.step, seen)
            for following in able:
                heapq.heappush(ready, _Entry(entry.rank, next(self._order), entry.run, following, crew))
        self._begun = None

    def _expected(self, entry: _Entry) -> float:
        """Seconds in this thread; many, for what has not been seen to run so far, or is still to be loaded."""
        if entry.run.run_id not in self._scopes and self._job_at_hand(entry.run) is None:
            return inf
        node = self._scope(entry.run).node(entry.task.node)
        if node.is_async:
            return 0.0
        seconds = self._seconds.get(node.op)
        return _TOOK.get(node.op, inf) if seconds is None else seconds

    def _is_to_be_seen(self, entry: _Entry) -> bool:
        """Whether it is worth a turn of its own to tell that this step starts: of what has not run, nobody knows."""
        return self._expected(entry) >= _SLOW

    def _started(self, brief: RunBrief, task: StepTask) -> RunScope | None:
        """None where the code cannot be had: the step has failed."""
        if self._announced and task.id in self._announced:
            self._announced.discard(task.id)
        else:
            self._events.append(reports.started(task, os.getpid()))
        try:
            return self._scope(brief)
        except OpGridError as error:
            self._events.append(reports.unable(task, ErrorInfo.of(error)))
            return None

    def _run(self, task: StepTask, scope: RunScope, op: OpDefinition) -> Terminal:
        started = time.monotonic()
        if task.timeout is None:
            ended = self._attempted(task, scope, started)
        else:
            with deadline(task.timeout):
                ended = self._attempted(task, scope, started)
        self._seconds[op] = time.monotonic() - started
        return ended

    def _attempted(self, task: StepTask, scope: RunScope, started: float) -> Terminal:
        outcome = run_step(task, scope, self._sink)
        try:
            if type(outcome.event) is StepCanceled and _is_over(task, started):
                at = self._events.index(outcome.event)
                self._events[at] = outcome.event = reports.timed_out(task, time.monotonic() - started)
            outcome.run_hooks(self._sink)
        finally:
            outcome.close()
        return outcome.event

    def _run_beside(self, task: StepTask, scope: RunScope) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_BESIDE, "opgrid-async")
        self._running[task.id] = None
        self._threads.submit(self._wait_for, task, scope)

    def _wait_for(self, task: StepTask, scope: RunScope) -> None:
        """In a thread of its own: its events wait until they are all there, so that its end can still be changed."""
        at, thread = task.id, threading.get_ident()
        with self._changing:
            if self._running[at] == _CANCELED:
                del self._running[at]
                self._events.append(reports.canceled(task))
                self._bell.ring()
                return
            self._running[at] = thread
        started, told = time.monotonic(), deque[AnyEvent]()
        timer = None if task.timeout is None else threading.Timer(task.timeout, self._stop_beside, [at])
        try:
            if timer is not None:
                timer.start()
            sink = _Sink(told)
            with run_step(task, scope, sink) as outcome:
                if isinstance(outcome.event, StepCanceled) and _is_over(task, started):
                    told[told.index(outcome.event)] = outcome.event = reports.timed_out(
                        task, time.monotonic() - started
                    )
                outcome.run_hooks(sink)
        finally:
            if timer is not None:
                timer.cancel()
            with self._changing:
                del self._running[at]
                event_loop.forget(thread)
            self._events.extend(told)
            self._bell.ring()

    def _stop_all_beside(self, steps: Sequence[_At]) -> None:
        """First those that would take the threads of others."""
        for at in sorted(steps, key=lambda at: self._running.get(at) is not None):
            self._stop_beside(at)

    def _stop_beside(self, at: _At) -> None:
        with self._changing:
            if at not in self._running:
                return
            thread = self._running[at]
            if thread is None:
                self._running[at] = _CANCELED
            elif thread != _CANCELED:
                event_loop.cancel(thread)

    def _scope(self, brief: RunBrief) -> RunScope:
        found = self._scopes.get(brief.run_id)
        if found is None:
            setup = self._setup
            local = setup.local if isinstance(setup.local, LocalRun) else None
            found = self._scopes[brief.run_id] = RunScope(
                brief,
                self._job(brief),
                home=setup.home,
                broker_url=setup.broker_url,
                lifetime="run",
                local=local,
                one_host=setup.one_host,
                gathers=True,
            )
        return found

    def _job(self, brief: RunBrief) -> JobDefinition:
        job = self._job_at_hand(brief)
        if job is not None:
            return job
        if self._setup.code is None:
            raise LoadError(
                f"Job {brief.job.name!r} is not in this process, and there is no code location to load it from."
            )
        return job_for(brief.job, self._setup.code)

    def _job_at_hand(self, brief: RunBrief) -> JobDefinition | None:
        job = self._setup.job
        return job if isinstance(job, JobDefinition) and job.name == brief.job.name else None


class _Entry(msgspec.Struct, frozen=True, order=True):
    """A step in line; they sort as they are to run."""

    rank: int
    order: int
    run: RunBrief
    task: StepTask
    crew: Crew | None


def _is_over(task: StepTask, started: float) -> bool:
    """Its time, so that what stopped it was the clock."""
    return task.timeout is not None and time.monotonic() - started >= 0.99 * task.timeout


class _Sink:
    __slots__ = ("emit",)

    def __init__(self, events: deque[AnyEvent]) -> None:
        self.emit = events.append
