"""The executor of a pool of warm processes: who works on what, who is to be stopped, who has died."""

from __future__ import annotations

import heapq
import itertools
import os
import secrets
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from executors.multiprocess import frames
from executors.multiprocess.process import Process, Reason
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    LossCause,
    StepCanceled,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, ExecutorSetup, Polled
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.wire import decode_events, encode_brief
from opgrid.errors import SettingsError
from opgrid.ids import RunId, StepKey
from opgrid.steps.bell import Bell
from opgrid.steps.runner import timed_out

#: Seconds from the interrupt of a step to the end of its process.
GRACE: Final = 10.0
_HOST: Final = socket.gethostname()

_TERMINAL: Final = (StepSucceeded, StepFailed, StepCanceled)

_encode = msgspec.json.Encoder().encode


class MultiprocessExecutor(Executor):
    """Children are started when there is work for them, up to ``max_concurrent`` (default: one per processor), and
    kept.

    A child that dies costs its own step one lost attempt and nothing else. A step that is canceled or runs out of
    time is interrupted, and after ``grace`` seconds its process is killed, with everything that it started.
    """

    crosses_processes = True
    default_io = "filesystem"

    def __init__(self, setup: ExecutorSetup, max_concurrent: int | None = None, grace: float = GRACE) -> None:
        self._setup = setup
        self._most = max_concurrent or os.cpu_count() or 1
        self._grace = grace
        self._waiting: list[tuple[int, int, RunBrief, frames.Do]] = []
        self._order = itertools.count()
        self._seen: dict[RunId, set[tuple[StepKey, int]]] = {}
        self._events: list[AnyEvent] = []
        self._bell = Bell()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._children: set[Process] = set()
        self._idle: list[Process] = []
        self._claims = (f"{prefix}{number:x}" for prefix in [secrets.token_hex(3)] for number in itertools.count())
        self._job: bytes | None = None
        self._closed = False

    @classmethod
    def create(cls, setup: ExecutorSetup) -> Self:
        most = setup.config.get("max_concurrent")
        if most is not None and (not isinstance(most, int) or most < 0):
            raise SettingsError(
                f"max_concurrent of the multiprocess executor has to be a whole number from 0 up, not {most!r}."
            )
        return cls(setup, most)

    # ---- what the loop asks for
    # ------------------------------------------------------------------------------------------------

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        seen = self._seen.setdefault(run.run_id, set())
        for task in tasks:
            if (task.step, task.attempt) not in seen:
                seen.add((task.step, task.attempt))
                self._queue(run, frames.Do(task))
        self._dispatch()

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        self._queue(run, frames.Do(task, after=frames.After(error)))
        self._dispatch()
        return True

    def wake(self) -> None:
        self._bell.ring()

    def poll(self, timeout: float) -> Polled:
        until = time.monotonic() + timeout
        while True:
            self._watch_time()
            now = time.monotonic()
            wait = 0.0 if self._events else max(0.0, min(until, self._next_alarm()) - now)
            rung = False
            for key, _ in self._selector.select(wait):
                if isinstance(key.data, Process):
                    self._hear(key.data)
                else:
                    self._bell.hear()
                    rung = True
            self._dispatch()
            if self._events or rung or time.monotonic() >= until:
                events, self._events = self._events, []
                return Polled(events, "")

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        unwanted = set(steps)
        kept = []
        for entry in self._waiting:
            task, hooks = entry[3].task, entry[3].after
            if hooks is None and task.run_id == run_id and (task.step, task.attempt) in unwanted:
                self._events.append(_canceled(task))
            else:
                kept.append(entry)
        heapq.heapify(kept)
        self._waiting = kept
        for child in self._children:
            task_ = child.task
            if (
                task_ is not None
                and not child.ended
                and task_.run_id == run_id
                and (task_.step, task_.attempt) in unwanted
            ):
                self._stop(child, "canceled")

    def release(self, run_id: RunId) -> None:
        self._seen.pop(run_id, None)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        busy = [child for child in self._children if child.task is not None]
        for child in self._children:
            if child.task is None:
                child.hang_up()
            else:
                child.interrupt()
                child.no_more()
        until = time.monotonic() + self._grace
        while any(not child.gone for child in busy) and time.monotonic() < until:
            for key, _ in self._selector.select(0.05):
                if key.data in busy and key.data.read() is None:
                    self._selector.unregister(key.fileobj)
        for child in self._children:
            if child in busy:
                child.kill()
            child.end()
        self._children.clear()
        self._idle.clear()
        self._selector.close()
        self._bell.close()

    # ---- children
    # --------------------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        while self._waiting and self._idle:
            _, _, brief, wanted = heapq.heappop(self._waiting)
            self._give(self._idle.pop(), brief, wanted)
        starting = sum(1 for child in self._children if not child.ready)
        for _ in range(min(len(self._waiting) - starting, self._most - len(self._children))):
            self._start()

    def _queue(self, run: RunBrief, wanted: frames.Do) -> None:
        heapq.heappush(self._waiting, (-wanted.task.priority, next(self._order), run, wanted))

    def _start(self) -> None:
        child = Process()
        self._children.add(child)
        self._selector.register(child.channel, selectors.EVENT_READ, child)
        setup = self._setup
        try:
            if setup.code is None:
                frames.send(child.channel, frames.JOB, self._job_by_value())
            frames.send(child.channel, frames.SETUP, _encode(frames.Setup(setup.home, setup.broker_url, setup.code)))
        except ConnectionError:
            pass  # it died already: its end is heard like any other

    def _give(self, child: Process, brief: RunBrief, wanted: frames.Do) -> None:
        task, claim = wanted.task, next(self._claims)
        child.task, child.ended, child.started = task, wanted.after is not None, time.monotonic()
        if not child.ended:
            self._events.append(
                StepStarted(
                    run_id=task.run_id,
                    at=time.time(),
                    step=task.step,
                    attempt=task.attempt,
                    claim=claim,
                    worker=_HOST,
                    pid=child.pid,
                )
            )
        try:
            if not child.knows(task.run_id):
                frames.send(child.channel, frames.RUN, encode_brief(brief))
            frames.send(child.channel, frames.DO, _encode(frames.Do(task, claim, wanted.after)))
        except ConnectionError:
            pass

    def _hear(self, child: Process) -> None:
        told = child.read()
        if told is None:
            self._bury(child)
            return
        for kind, payload in told:
            match kind:
                case frames.READY:
                    child.ready = True
                    self._idle.append(child)
                case frames.TOLD:
                    self._events.extend(decode_events(payload))
                case frames.ENDED:
                    self._take(child, decode_events(payload))
                    child.ended = True
                case frames.DONE:
                    self._take(child, decode_events(payload))
                    self._done(child)
                case _:
                    raise ValueError(f"unknown frame {kind!r} from process {child.pid}")

    def _take(self, child: Process, events: Sequence[AnyEvent]) -> None:
        task = child.task
        for event in events:
            if child.reason == "timed out" and task is not None and isinstance(event, _TERMINAL):
                self._events.append(timed_out(task, time.monotonic() - child.started))
            else:
                self._events.append(event)

    def _done(self, child: Process) -> None:
        child.task = None
        if child.reason is None:
            self._idle.append(child)
        else:  # its signal may still be on the way, so that it gets no other step
            child.hang_up()
            self._forget(child)

    def _bury(self, child: Process) -> None:
        task, reason = child.task, child.reason
        seconds = time.monotonic() - child.started
        code = self._forget(child)
        if task is None:
            if not child.ready:
                self._fail_to_start(code)
            return
        if reason == "canceled" and not child.ended:
            self._events.append(_canceled(task))
        elif reason == "timed out" and not child.ended:
            self._events.append(timed_out(task, seconds))
        else:
            self._events.append(_lost(task, child.pid, code))

    def _fail_to_start(self, code: int) -> None:
        """So that a pool that cannot start its children says so instead of trying for ever: the next step in line
        pays.
        """
        if self._waiting:
            task = heapq.heappop(self._waiting)[3].task
            self._events.append(
                StepStarted(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, worker=_HOST)
            )
            self._events.append(_lost(task, 0, code, "before it was ready"))

    def _forget(self, child: Process) -> int:
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        self._selector.unregister(child.channel)
        return child.end()

    # ---- time ------------------------------------------------------------------------------------------------------
    # -------------

    def _stop(self, child: Process, reason: Reason) -> None:
        if child.reason is None:
            child.reason = reason
            child.kill_at = time.monotonic() + self._grace
            child.interrupt()

    def _watch_time(self) -> None:
        now = time.monotonic()
        for child in self._children:
            task = child.task
            if task is None:
                continue
            if (
                task.timeout is not None
                and not child.ended
                and child.reason is None
                and now >= child.started + task.timeout
            ):
                self._stop(child, "timed out")
            if child.kill_at is not None and now >= child.kill_at:
                child.kill()
                child.kill_at = None

    def _next_alarm(self) -> float:
        alarms = [child.kill_at for child in self._children if child.kill_at is not None]
        for child in self._children:
            if child.task is not None and child.task.timeout is not None and child.reason is None and not child.ended:
                alarms.append(child.started + child.task.timeout)
        return min(alarms, default=float("inf"))

    def _job_by_value(self) -> bytes:
        if self._job is None:
            import cloudpickle

            self._job = cloudpickle.dumps(self._setup.job, protocol=5)
        return self._job


def _canceled(task: StepTask) -> StepCanceled:
    return StepCanceled(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt)


def _lost(task: StepTask, pid: int, code: int, when: str = "while it ran this step") -> StepLost:
    number = -code if code < 0 else None
    how = f"was killed by {signal.Signals(number).name}" if number is not None else f"exited with code {code}"
    cause = LossCause(
        reason=f"process {pid or ''} {how} {when}".replace("  ", " "),
        signal=number,
        exit_code=None if number is not None else code,
        worker=_HOST,
        pid=pid,
    )
    return StepLost(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, cause=cause)
