"""Steps in the thread that asks for their events: nothing is started, nothing is copied, a debugger works."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Self

from opgrid.contracts.events import AnyEvent, ErrorInfo, StepCanceled, StepFailed, StepStarted
from opgrid.contracts.executor import Executor, ExecutorSetup, Polled
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.definitions.job import JobDefinition
from opgrid.errors import LoadError, OpGridError
from opgrid.ids import RunId, StepKey
from opgrid.loading import job_for
from opgrid.steps.bell import Bell
from opgrid.steps.hooks import run_hooks_elsewhere
from opgrid.steps.interrupts import deadline, passed_on
from opgrid.steps.runner import run_step, timed_out
from opgrid.steps.scope import LocalRun, RunScope

#: A wide fan-out runs several steps a poll, for so many seconds: its caller commits once for all of them.
_TURN: Final = 0.01
_WIDE: Final = 8

_log = logging.getLogger("opgrid.in_process")


class InProcessExecutor(Executor):
    """One step at a time, the highest priority first, in order of submission among equals. Resources live as long
    as their run.
    """

    crosses_processes = False
    default_io = "filesystem"

    def __init__(self, setup: ExecutorSetup) -> None:
        self._setup = setup
        self._waiting: list[tuple[int, int, RunBrief, StepTask]] = []
        self._order = itertools.count()
        self._seen: dict[RunId, set[tuple[StepKey, int]]] = {}
        self._scopes: dict[RunId, RunScope] = {}
        self._events: deque[AnyEvent] = deque()
        self._sink = _Sink(self._events)
        self._bell = Bell()

    @classmethod
    def create(cls, setup: ExecutorSetup) -> Self:
        return cls(setup)

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        seen = self._seen.setdefault(run.run_id, set())
        for task in tasks:
            if (task.step, task.attempt) not in seen:
                seen.add((task.step, task.attempt))
                heapq.heappush(self._waiting, (-task.priority, next(self._order), run, task))

    def poll(self, timeout: float) -> Polled:
        if self._waiting:
            with passed_on():
                self._work()
        elif not self._events:
            self._bell.wait(timeout)
        events = []
        while self._events:  # a thread that user code started may log meanwhile
            events.append(self._events.popleft())
        return Polled(events, "")

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        unwanted = set(steps)
        kept = []
        for entry in self._waiting:
            task = entry[3]
            if task.run_id == run_id and (task.step, task.attempt) in unwanted:
                self._events.append(StepCanceled(run_id=run_id, at=time.time(), step=task.step, attempt=task.attempt))
            else:
                kept.append(entry)
        heapq.heapify(kept)
        self._waiting = kept

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        run_hooks_elsewhere(task, self._scope(run), self._sink, error, success=error is None)
        return True

    def wake(self) -> None:
        self._bell.ring()

    def release(self, run_id: RunId) -> None:
        self._seen.pop(run_id, None)
        scope = self._scopes.pop(run_id, None)
        if scope is not None:
            try:
                scope.close()
            except Exception:
                _log.exception("A resource of run %s raised when it was closed.", run_id)

    def close(self) -> None:
        self._waiting.clear()
        for run_id in list(self._scopes):
            self.release(run_id)
        self._bell.close()

    def _work(self) -> None:
        until = time.monotonic() + _TURN
        wide = len(self._waiting) >= _WIDE
        while self._waiting:
            _, _, brief, task = heapq.heappop(self._waiting)
            self._run(brief, task)
            if not wide or time.monotonic() >= until:
                return

    def _run(self, brief: RunBrief, task: StepTask) -> None:
        started = time.time()
        self._events.append(
            StepStarted(run_id=task.run_id, at=started, step=task.step, attempt=task.attempt, pid=os.getpid())
        )
        try:
            scope = self._scope(brief)
        except OpGridError as error:
            self._events.append(
                StepFailed(
                    run_id=task.run_id,
                    at=time.time(),
                    step=task.step,
                    attempt=task.attempt,
                    error=ErrorInfo.of(error),
                    allow_retries=False,
                )
            )
            return
        with deadline(task.timeout), run_step(task, scope, self._sink) as outcome:
            if isinstance(outcome.event, StepCanceled) and task.timeout is not None:
                at = self._events.index(outcome.event)
                self._events[at] = outcome.event = timed_out(task, time.time() - started)
            outcome.run_hooks(self._sink)

    def _scope(self, brief: RunBrief) -> RunScope:
        found = self._scopes.get(brief.run_id)
        if found is None:
            setup = self._setup
            local = setup.local if isinstance(setup.local, LocalRun) else None
            found = self._scopes[brief.run_id] = RunScope(
                brief, self._job(brief), home=setup.home, broker_url=setup.broker_url, lifetime="run", local=local
            )
        return found

    def _job(self, brief: RunBrief) -> JobDefinition:
        job = self._setup.job
        if isinstance(job, JobDefinition) and job.name == brief.job.name:
            return job
        if self._setup.code is None:
            raise LoadError(
                f"Job {brief.job.name!r} is not in this process, and there is no code location to load it from."
            )
        return job_for(brief.job, self._setup.code)


class _Sink:
    __slots__ = ("emit",)

    def __init__(self, events: deque[AnyEvent]) -> None:
        self.emit = events.append
