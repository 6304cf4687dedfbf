"""A child of the pool: it loads the user's code once and then runs one step after another, until its parent goes."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import itertools
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec

from executors.multiprocess import frames
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import AnyEvent, ErrorInfo, LogMessage, StepSucceeded
from opgrid.contracts.fusing import Crew
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.wire import decode_brief, encode_events, encode_legibly
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.op import OpDefinition
from opgrid.errors import LoadError, OpGridError
from opgrid.ids import RunId, StepKey
from opgrid.io import filesystem  # noqa: F401 (what keeps most values: processes are forked from one that has it)
from opgrid.loading import check_packages, job_for, load
from opgrid.steps import reports
from opgrid.steps.hooks import run_hooks_elsewhere
from opgrid.steps.interrupts import interruptible, shielded
from opgrid.steps.process_state import ProcessState
from opgrid.steps.runner import Terminal, run_step
from opgrid.steps.scope import RunScope
from opgrid.zygote import modules

#: Seconds from which on a step is to be seen while it runs.
_SLOW: Final = 0.01
#: Seconds after which a crew goes no further: what was queued before its next step is not to wait longer.
_LONGEST_RIDE: Final = 0.25

_HOST: Final = socket.gethostname()

_encode = msgspec.json.Encoder().encode
_setup = json_decoder(frames.Setup)
_do = json_decoder(list[frames.Do])


def main(arguments: Sequence[str]) -> None:
    """``python -P -m opgrid _pool-child SOCKET LIFELINE BELL``: descriptors that the pool left open."""
    channel, lifeline, bell = socket.socket(fileno=int(arguments[0])), int(arguments[1]), int(arguments[2])
    channel.set_inheritable(False)
    os.set_inheritable(lifeline, False)
    os.set_inheritable(bell, False)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    check_packages()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    with interruptible(signal.SIGTERM), contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Child(Channel(channel, bell)).serve()  # it ends with its pool, be it while an answer is on the way
    _leave()


def _leave() -> NoReturn:
    """As a Python program ends, but that nothing is taken to pieces: with what children have imported that would take
    longer than many runs do, and the pool waits for it.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    objects = gc.get_objects()
    files = {kind for kind in set(map(type, objects)) if issubclass(kind, io.IOBase)}
    for each in objects:
        if type(each) in files and not each.closed:  # that user code has left open
            with contextlib.suppress(Exception):
                each.flush()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)


def _die_with_parent(lifeline: int) -> None:
    """The pipe ends when the parent does, however it ends: then nobody waits for this step, nor for what it started."""
    while os.read(lifeline, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


class Channel:
    """What the pool has told, in order; a thread listens, so that what has not begun can be taken back meanwhile."""

    def __init__(self, channel: socket.socket, bell: int) -> None:
        self._channel, self._bell = channel, bell
        self._told: deque[tuple[bytes, bytes] | frames.Do | None] = deque()
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> tuple[bytes, bytes] | frames.Do | None:
        """A frame, or something to do; None once the pool has gone."""
        with self._changed:
            if not self._told:
                with contextlib.suppress(OSError):  # it is full: the pool knows that somebody is idle
                    os.write(self._bell, b"!")
                self._changed.wait_for(lambda: self._told)
            return self._told.popleft()

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        with shielded(), self._sending:
            frames.send(self._channel, kind, payload)

    def _listen(self) -> None:
        frame: tuple[bytes, bytes] | None = (b"", b"")
        while frame is not None:
            with contextlib.suppress(ConnectionError):
                frame = frames.receive(self._channel)
            with self._changed:
                if frame is None:
                    self._told.clear()  # the step that runs is the last
                    self._told.append(None)
                elif frame[0] == frames.DO:
                    self._told.extend(_do.decode(frame[1]))
                elif frame[0] == frames.BACK:
                    self._give_back()
                else:
                    self._told.append(frame)
                self._changed.notify()

    def _give_back(self) -> None:
        given = [each.claim for each in self._told if isinstance(each, frames.Do)]
        self._told = deque(each for each in self._told if not isinstance(each, frames.Do))
        with contextlib.suppress(OSError), self._sending:
            frames.send(self._channel, frames.GIVEN, _encode(given))


class Child:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._setup = frames.Setup(home="")
        self._job: JobDefinition | None = None
        self._briefs: OrderedDict[RunId, RunBrief] = OrderedDict()
        self._scopes: dict[RunId, RunScope] = {}
        self._seconds: dict[OpDefinition, float] = {}  #: that a step of this op took last
        self._state: ProcessState | None = None
        self._path = list(sys.path)
        self._known = frozenset(sys.modules)  #: modules that it began with, or has told of

    def serve(self) -> None:
        while (told := self._channel.next()) is not None:
            if isinstance(told, frames.Do):
                self._do(told)
                continue
            kind, payload = told
            match kind:
                case frames.RUN:
                    self._remember(decode_brief(payload))
                case frames.SETUP:
                    self._prepare(_setup.decode(payload))
                    self._channel.send(frames.READY)
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
        task, sink = wanted.task, _Sink(self._channel)
        if wanted.after is None:
            sink.emit(reports.started(task, os.getpid(), wanted.claim, _HOST))
        try:
            scope = self._scope(task.run_id)
        except Exception as problem:
            sink.emit(reports.unable(task, ErrorInfo.of(problem)))
            self._done(sink, None)
            return
        if wanted.after is not None:
            error = wanted.after.error
            run_hooks_elsewhere(task, scope, sink, error, success=error is None)
            self._done(sink, None)
        else:
            self._go_on(task, wanted.claim, scope, sink)

    def _go_on(self, task: StepTask, claim: str, scope: RunScope, sink: _Sink) -> None:
        """Run a step, then those of its crew that have all they need."""
        crew, since, first = Crew(task.then), time.monotonic(), claim
        for place in itertools.count(1):
            ended = self._run(task, claim, scope, sink)
            following = None
            if isinstance(ended, StepSucceeded) and crew.left and time.monotonic() - since < _LONGEST_RIDE:
                following = next(iter(crew.after(ended)), None)
            self._done(sink, None if following is None else following.step)
            if following is None:
                return
            task, claim = following, frames.claim_of(first, place)
            sink.emit(reports.started(task, os.getpid(), claim, _HOST))

    def _run(self, task: StepTask, claim: str, scope: RunScope, sink: _Sink) -> Terminal:
        op = scope.node(task.node).op
        if self._seconds.get(op, _SLOW) >= _SLOW:
            sink.flush(frames.TOLD)
        started = time.monotonic()
        if self._state is None:  # its code is loaded: what that has changed stays
            self._state = ProcessState(signal.SIGTERM)
        self._state.restore()
        with run_step(task, scope, sink, claim=claim) as outcome:
            if outcome.has_hooks:
                sink.flush(frames.ENDED)
                outcome.run_hooks(sink)
        self._seconds[op] = time.monotonic() - started
        return outcome.event

    def _done(self, sink: _Sink, then: StepKey | None) -> None:
        imported = {}
        if len(sys.modules) != len(self._known):
            imported = modules.loaded_from(modules.installed(self._path), self._known)
            self._known = frozenset(sys.modules)
        sink.done(then, imported)

    def _scope(self, run_id: RunId) -> RunScope:
        found = self._scopes.get(run_id)
        if found is None:
            brief, setup = self._briefs[run_id], self._setup
            found = self._scopes[run_id] = RunScope(
                brief, self._job_of(brief), home=setup.home, broker_url=setup.broker_url, one_host=setup.one_host
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

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._held: list[AnyEvent] = []
        self._lock = threading.Lock()

    def emit(self, event: AnyEvent) -> None:
        self._held.append(event)
        if type(event) is LogMessage:
            self.flush(frames.TOLD)

    def flush(self, kind: bytes) -> None:
        with shielded(), self._lock:
            self._channel.send(kind, encode_events(self._taken()))

    def done(self, then: StepKey | None, imported: dict[str, str]) -> None:
        """The step is over; the one that begins now, if it is of the same crew."""
        with shielded(), self._lock:
            self._channel.send(frames.DONE, encode_legibly(frames.Done(self._taken(), then, imported)))

    def _taken(self) -> list[AnyEvent]:
        events, self._held = self._held, []
        return events
