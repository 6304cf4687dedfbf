"""What reaches the run loop from outside while it runs: requests to cancel, further runs. For threads and signals."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final, NamedTuple

from opgrid.ids import RunId
from opgrid.steps import interrupts
from orchestrator.engine.signals import hear

if TYPE_CHECKING:
    from orchestrator.engine.loop import LiveRun


#: Seconds that the main thread has for its handler of a signal, unless it waits for something else.
_SOON: Final = 0.2


class CancelRun(NamedTuple):
    run_id: RunId | None  #: None: all runs
    reason: str
    is_timeout: bool = False  #: its time is over
    inside: float | None = None  #: when it was to get the loop out of user code


class AddRuns(NamedTuple):
    runs: Sequence[LiveRun]


class DropRun(NamedTuple):
    run_id: RunId


Request = CancelRun | AddRuns | DropRun


class Inbox:
    """``open``: the loop stays, even without runs, until ``close``."""

    def __init__(self, open: bool = False, on_end: Callable[[RunId], None] | None = None) -> None:
        self.open = open
        self.on_end = on_end  #: called by the loop when a run has ended, and that is recorded
        self.inline = False  #: the loop is inside user code on its own thread: only an exception gets it out
        self.left = False
        self._requests: deque[Request] = deque()  # appending and popping are atomic: no lock, so signals may post
        self._bell: Callable[[], None] | None = None

    def request_cancel(self, run_id: RunId, reason: str = "") -> None:
        self._post(CancelRun(run_id, reason))

    def time_is_over(self, run_id: RunId, reason: str, due: float) -> None:
        """Of a run that may be inside user code on the loop's own thread, which it is got out of. ``due``: by the
        loop's clock.
        """
        self._post(CancelRun(run_id, reason, is_timeout=True, inside=due if self.inline else None))
        if self.waiting:
            self.interrupt()

    def request_cancel_all(self, reason: str = "") -> None:
        self._post(CancelRun(None, reason))

    def add(self, runs: Sequence[LiveRun]) -> None:
        self._post(AddRuns(runs))

    def drop(self, run_id: RunId) -> None:
        """Somebody has ended it over the loop's head: what is out is stopped, and nothing more is recorded."""
        self._post(DropRun(run_id))

    def close(self) -> None:
        """The loop ends once its runs have."""
        self.open = False
        self._ring()

    def interrupt(self) -> None:
        """Get the loop out of user code that it runs itself, which it can be in the main thread only. Not twice: what
        that does before it ends is to be done.
        """
        interrupts.interrupt(self)

    @contextmanager
    def runs_user_code(self) -> Iterator[None]:
        """The loop polls an executor that runs user code on this thread."""
        with interrupts.reachable(self):
            self.inline = True
            try:
                yield
            finally:
                self.inline = False

    def leave(self) -> None:
        """The loop ends now, and its runs stay as they are."""
        self.left = True
        self._ring()

    def take(self) -> list[Request]:
        taken: list[Request] = []
        while self._requests:
            taken.append(self._requests.popleft())
        return taken

    @property
    def waiting(self) -> bool:
        return bool(self._requests)

    def attach(self, bell: Callable[[], None] | None) -> None:
        """What ends the loop's waiting; the loop calls this."""
        self._bell = bell

    def _post(self, request: Request) -> None:
        self._requests.append(request)
        self._ring()

    def _ring(self) -> None:
        bell = self._bell
        if bell is not None:
            bell()


@contextmanager
def cancel_on_signals(inbox: Inbox) -> Iterator[list[int]]:
    """SIGINT and SIGTERM cancel all runs; the second raises KeyboardInterrupt. Gives the signals that came. Main thread
    only.
    """
    received: list[int] = []
    asked: list[int] = []
    seen = threading.Event()

    def ask(number: int) -> None:
        if not asked:
            asked.append(number)
            inbox.request_cancel_all(f"The process that drives the run received {signal.Signals(number).name}.")

    def cancel(number: int) -> None:
        seen.wait(_SOON)  # an interrupt would end the handler, too
        ask(number)
        inbox.interrupt()

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt
        ask(number)  # whose handler goes on to interrupt a step finds that its run is canceled
        seen.set()

    undo = hear(dict.fromkeys((signal.SIGINT, signal.SIGTERM), cancel), on_signal)
    try:
        yield received
    finally:
        undo()
