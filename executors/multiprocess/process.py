"""The pool's side of one child process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import OrderedDict, deque
from typing import Final, Literal, NamedTuple

from executors.multiprocess import frames
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.ids import RunId, StepKey
from opgrid.zygote.nursery import Forked, Nursery

#: Why a child was told to stop its step.
Reason = Literal["canceled", "timed out"]

#: What a child does.
DOOR: Final = "pool-child"

_EXIT_WAIT: Final = 5.0
_RECEIVE: Final = 1 << 18


class Entry(NamedTuple):
    """Something to do, in line; they sort as they are to be done."""

    rank: int
    order: int
    run: RunBrief
    wanted: frames.Do
    expected: float  #: seconds; many, where nothing is known


class Process:
    """A child: started when it is made, gone when :meth:`end` returns. ``bell``: rung when it has nothing to do."""

    def __init__(self, bell: int, nursery: Nursery | None = None) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._alive = os.pipe()
        descriptors = (theirs.fileno(), lifeline, bell)
        forked = nursery.birth(DOOR, descriptors=descriptors) if nursery is not None else None
        self._itself = forked or _started(descriptors)
        theirs.close()
        os.close(lifeline)
        self.channel = ours
        self.incoming = frames.Incoming()
        self.ready = False
        self.doing: deque[Entry] = deque()  #: what it was given and has not done; the first is what it does
        self.task: StepTask | None = None  #: that it does: that of the first, or another of its crew
        self.crew: set[tuple[StepKey, int]] = set()  #: what it has done of the first
        self.mates: set[tuple[RunId, StepKey, int]] = set()  #: what it may go on with after that, and has not begun
        self.held: list[Entry] = []  #: such of these as are ready by now
        self.begun = False  #: the task's start is known
        self.ended = False  #: the task's outcome is known, its hooks are not done
        self.started = 0.0  #: of the task, monotonic
        self.asked_back = False  #: what it has not begun
        self.reason: Reason | None = None
        self.interrupted = False
        self.kill_at: float | None = None  #: monotonic
        self._knows: OrderedDict[RunId, None] = OrderedDict()

    @property
    def pid(self) -> int:
        return self._itself.pid

    @property
    def forked(self) -> bool:
        return isinstance(self._itself, Forked)

    @property
    def stillborn(self) -> bool:
        return isinstance(self._itself, Forked) and self._itself.stillborn

    def knows(self, run_id: RunId) -> bool:
        """Whether the child holds the brief of a run; if not, it is about to be sent."""
        if run_id in self._knows:
            return True
        self._knows[run_id] = None
        if len(self._knows) > frames.RUNS_KEPT:
            self._knows.popitem(last=False)
        return False

    def read(self) -> list[tuple[bytes, bytes]] | None:
        """The frames that have arrived; None when the child has gone."""
        try:
            data = self.channel.recv(_RECEIVE)
        except ConnectionError:
            data = b""
        return list(self.incoming.feed(data)) if data else None

    def begin(self, task: StepTask | None) -> None:
        """With this step, or with the next thing it was given."""
        if task is None:
            self.crew.clear()
            task = self.doing[0].wanted.task if self.doing else None
            self.mates = set() if task is None else {mate.id for mate in task.then}
        else:
            self.mates.discard(task.id)
        self.task, self.begun, self.started = task, False, time.monotonic()
        self.ended = bool(self.doing) and self.doing[0].wanted.after is not None
        if task is not None:
            self.crew.add((task.step, task.attempt))

    @property
    def claim(self) -> str:
        """Of the attempt that it works on: the pool gave one for the first of a crew."""
        return frames.claim_of(self.doing[0].wanted.claim, len(self.crew) - 1)

    @property
    def ahead(self) -> float:
        """Seconds that it is likely to be busy."""
        return sum(entry.expected for entry in self.doing)

    def interrupt(self) -> None:
        """SIGTERM: ``ExecutionInterruptedError`` in the user's code."""
        self.interrupted = True
        self._itself.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """The child and all that its step has started."""
        if not self.stillborn:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def no_more(self) -> None:
        """The step that runs is the child's last."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """An idle child goes when its socket closes."""
        self.channel.close()

    def end(self) -> int | None:
        """Wait for a child that is going; its exit code, or minus the signal that ended it, if anybody knows."""
        try:
            code = self._itself.wait(_EXIT_WAIT)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._itself.wait()
        self.kill()  # what it started is in its session still
        self.channel.close()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        return code

    @property
    def gone(self) -> bool:
        return self._itself.poll() is not None


def _started(descriptors: tuple[int, int, int]) -> subprocess.Popen[bytes]:
    """From nothing."""
    command = [sys.executable, "-P", "-m", "opgrid", f"_{DOOR}", *map(str, descriptors)]
    return subprocess.Popen(command, pass_fds=descriptors, start_new_session=True, stdin=subprocess.DEVNULL)
