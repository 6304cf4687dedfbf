"""The pool's side of one child process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import OrderedDict
from typing import Final, Literal

from executors.multiprocess import frames
from opgrid.contracts.tasks import StepTask
from opgrid.ids import RunId

#: Why a child was told to stop its step.
Reason = Literal["canceled", "timed out"]

_EXIT_WAIT: Final = 5.0
_RECEIVE: Final = 1 << 18


class Process:
    """A child: started when it is made, gone when :meth:`end` returns."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._alive = os.pipe()
        descriptors = (theirs.fileno(), lifeline)
        command = [sys.executable, "-P", "-m", "opgrid", "_pool-child", *map(str, descriptors)]
        self._popen = subprocess.Popen(command, pass_fds=descriptors, start_new_session=True, stdin=subprocess.DEVNULL)
        theirs.close()
        os.close(lifeline)
        self.channel = ours
        self.incoming = frames.Incoming()
        self.ready = False
        self.task: StepTask | None = None
        self.ended = False  #: the task's outcome is known, its hooks are not done
        self.started = 0.0  #: of the task, monotonic
        self.reason: Reason | None = None
        self.kill_at: float | None = None  #: monotonic
        self._knows: OrderedDict[RunId, None] = OrderedDict()

    @property
    def pid(self) -> int:
        return self._popen.pid

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

    def interrupt(self) -> None:
        """SIGTERM: ``ExecutionInterruptedError`` in the user's code."""
        self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """The child and all that its step has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def no_more(self) -> None:
        """The step that runs is the child's last."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def hang_up(self) -> None:
        """An idle child goes when its socket closes."""
        self.channel.close()

    def end(self) -> int:
        """Wait for a child that is going; its exit code, or minus the signal that ended it."""
        try:
            code = self._popen.wait(_EXIT_WAIT)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._popen.wait()
        self.kill()  # what it started is in its session still
        self.channel.close()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1
        return code

    @property
    def gone(self) -> bool:
        return self._popen.poll() is not None
