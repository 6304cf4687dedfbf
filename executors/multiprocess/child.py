"""A child of the pool: it loads the user's code once and then runs one step after another, until its parent goes."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from executors.multiprocess import frames
from opgrid.contracts.events import AnyEvent, ErrorInfo, LogMessage, StepFailed
from opgrid.contracts.tasks import RunBrief
from opgrid.contracts.wire import decode_brief, encode_events
from opgrid.definitions.job import JobDefinition
from opgrid.errors import LoadError, OpGridError
from opgrid.ids import RunId
from opgrid.loading import check_packages, job_for, load
from opgrid.steps.hooks import run_hooks_elsewhere
from opgrid.steps.interrupts import interruptible, shielded
from opgrid.steps.runner import run_step
from opgrid.steps.scope import RunScope

_setup = msgspec.json.Decoder(frames.Setup)
_do = msgspec.json.Decoder(frames.Do)


def main(arguments: Sequence[str]) -> None:
    """``python -P -m opgrid _pool-child SOCKET LIFELINE``: two descriptors that the pool left open."""
    channel, lifeline = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    channel.set_inheritable(False)
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    check_packages()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with interruptible(signal.SIGTERM), contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Child(channel).serve()  # it ends with its pool, be it while an answer is on the way


def _die_with_parent(lifeline: int) -> None:
    """The pipe ends when the parent does, however it ends: then nobody waits for this step, nor for what it started."""
    while os.read(lifeline, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


class Child:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._setup = frames.Setup(home="")
        self._job: JobDefinition | None = None
        self._briefs: OrderedDict[RunId, RunBrief] = OrderedDict()
        self._scopes: dict[RunId, RunScope] = {}

    def serve(self) -> None:
        while (frame := frames.receive(self._channel)) is not None:
            kind, payload = frame
            match kind:
                case frames.DO:
                    self._do(_do.decode(payload))
                case frames.RUN:
                    self._remember(decode_brief(payload))
                case frames.SETUP:
                    self._prepare(_setup.decode(payload))
                    frames.send(self._channel, frames.READY)
                case frames.JOB:
                    self._job = pickle.loads(payload)  # from the process that started this one, over its own socket
                case _:
                    raise ValueError(f"unknown frame {kind!r}")

    def _prepare(self, setup: frames.Setup) -> None:
        """Whatever is wrong with the user's code is told by the first step that needs it."""
        self._setup = setup
        os.environ["OPGRID_HOME"] = setup.home
        if setup.code is not None:
            with contextlib.suppress(OpGridError):
                load(setup.code)

    def _do(self, wanted: frames.Do) -> None:
        task = wanted.task
        sink = _Sink(self._channel)
        try:
            scope = self._scope(task.run_id)
        except Exception as problem:
            sink.emit(
                StepFailed(
                    run_id=task.run_id,
                    at=time.time(),
                    step=task.step,
                    attempt=task.attempt,
                    error=ErrorInfo.of(problem),
                    allow_retries=False,
                )
            )
        else:
            if wanted.after is not None:
                error = wanted.after.error
                run_hooks_elsewhere(task, scope, sink, error, success=error is None)
            else:
                with run_step(task, scope, sink, claim=wanted.claim) as outcome:
                    if outcome.has_hooks:
                        sink.flush(frames.ENDED)
                        outcome.run_hooks(sink)
        sink.flush(frames.DONE)

    def _scope(self, run_id: RunId) -> RunScope:
        found = self._scopes.get(run_id)
        if found is None:
            brief, setup = self._briefs[run_id], self._setup
            found = self._scopes[run_id] = RunScope(
                brief, self._job_of(brief), home=setup.home, broker_url=setup.broker_url
            )
        return found

    def _remember(self, brief: RunBrief) -> None:
        self._briefs[brief.run_id] = brief
        if len(self._briefs) > frames.RUNS_KEPT:
            oldest, _ = self._briefs.popitem(last=False)
            if (scope := self._scopes.pop(oldest, None)) is not None:
                scope.close()

    def _job_of(self, brief: RunBrief) -> JobDefinition:
        if self._setup.code is not None:
            return job_for(brief.job, self._setup.code)
        if self._job is None:
            raise LoadError(f"Job {brief.job.name!r} did not reach this process.")
        return self._job


class _Sink:
    """What a step says goes out at once where somebody may be reading along, else together with its outcome."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._held: list[AnyEvent] = []
        self._lock = threading.Lock()

    def emit(self, event: AnyEvent) -> None:
        self._held.append(event)
        if isinstance(event, LogMessage):
            self.flush(frames.TOLD)

    def flush(self, kind: bytes) -> None:
        with shielded(), self._lock:
            events, self._held = self._held, []
            frames.send(self._channel, kind, encode_events(events))
