"""How a running step is told to stop: the watch process names its claim, then sends a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

from opgrid.steps.interrupts import forget, interruptible
from opgrid.steps.process_state import ProcessState
from worker.leases import Slot

#: Not SIGTERM: with that, Celery ends its children.
STOP_SIGNAL: Final = signal.SIGUSR2
_ENDING: Final = signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM
_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class Stoppable:
    """Interrupts the step whose claim was named, and no other: a signal may arrive when its step is already over."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.claim = ""
        self._installed = ExitStack()
        self._state: ProcessState | None = None

    def install(self) -> None:
        """For the life of a pool child, in its main thread."""
        self._installed.enter_context(interruptible(STOP_SIGNAL))
        interrupt = signal.getsignal(STOP_SIGNAL)
        assert callable(interrupt)

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self.asked:
                interrupt(number, frame)

        signal.signal(STOP_SIGNAL, on_signal)

    def begin(self, claim: str) -> None:
        """From here on the step of that claim is the one that may have to stop; "": none."""
        self.claim = claim
        if claim:
            if self._state is None:  # its code is loaded: what that has changed stays
                self._state = ProcessState(STOP_SIGNAL)
            self._state.restore()
            forget()

    @property
    def asked(self) -> bool:
        """The step that runs now must stop."""
        return bool(self.claim) and self.slot.stop_asked() == self.claim


@contextmanager
def lost_when_ended() -> Iterator[None]:
    """Signals by which Celery, a supervisor or a person tells processes to end, end this one at once: its steps are
    lost, and run elsewhere. Celery's own handler raises SystemExit, which would be the op's failure.
    """
    before = {number: signal.signal(number, signal.SIG_DFL) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Started:
    """The moment at which a step began: what its process starts from now on is the step's own."""

    def __init__(self) -> None:
        self._at = _uptime()

    def end_all(self) -> None:
        """Kill what was started since and is still in this session. The step's process itself goes on."""
        own, session = os.getpid(), os.getsid(0)
        for pid in _processes():
            if pid != own and _belongs(pid, session, self._at):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)


def _uptime() -> float:
    """Seconds, on the clock that start times of processes are given in."""
    return 0.0 if _CLOCK is None else time.clock_gettime(_CLOCK)


def _processes() -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):  # no /proc: what a step leaves behind ends with its process
        for name in os.listdir("/proc"):
            if name.isdigit():
                yield int(name)


def _belongs(pid: int, session: int, since: float) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return False
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return int(fields[3]) == session and started >= since - 0.02  # start times are cut to a hundredth of a second
