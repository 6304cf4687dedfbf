"""What a step tells, on its way to the coordinator: sent with its end, or in between when it takes long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, get_args

from opgrid.broker.messages import seal_events
from opgrid.broker.protocol import Attempt, Protocol, Said
from opgrid.contracts.events import AnyEvent, StepCanceled, StepFailed, StepLost, StepSucceeded
from opgrid.errors import BrokerUnreachable
from opgrid.io.keys import KeyRing
from opgrid.trouble import Trouble

Terminal = StepSucceeded | StepFailed | StepCanceled | StepLost
#: ``isinstance`` takes most of a microsecond for what is none of them.
_ENDS: Final = frozenset(get_args(Terminal))

LOOK_EVERY: Final = 0.05  #: seconds
_FLUSH_AT: Final = 500  #: events
#: Events that wait for a Redis that does not answer, beside those that were sent; later ones are dropped.
_KEEP: Final = 20_000

_log = logging.getLogger("opgrid.worker")


class EventStream:
    """The sink of one attempt. Events may come from any thread; the last one is left to whoever ends the attempt."""

    __slots__ = (
        "_accepted",
        "_answer",
        "_events",
        "_is_over",
        "_protocol",
        "_ring",
        "_sending",
        "_sent",
        "_stale",
        "_trouble",
        "at",
        "claim",
    )

    def __init__(self, at: Attempt, claim: str, protocol: Protocol, ring: KeyRing) -> None:
        self.at = at
        self.claim = claim
        self._protocol = protocol
        self._ring = ring
        self._events: list[AnyEvent] = []  #: changed in place: another thread may be about to add to it
        self._sent: list[AnyEvent] = []  #: and Redis has still to answer
        self._answer: Callable[[], Said] | None = None
        self._sending = threading.Lock()  # keeps what is sent in order
        self._accepted = False
        self._is_over = False  #: it has ended, accepted or not
        self._stale = False
        self._trouble: Trouble | None = None

    def emit(self, event: AnyEvent) -> None:
        if type(event) in _ENDS:
            return
        self._events.append(event)
        if len(self._events) >= _FLUSH_AT:
            self._relieve()

    def _relieve(self) -> None:
        """There is much: send it, and drop what is too much."""
        del self._events[_KEEP:]
        if self._sending.acquire(blocking=False):  # else somebody is about to
            try:
                self._send()
                if self._is_over:  # nobody would hear of it; before, the op goes on while Redis takes it
                    self._hear()
            finally:
                self._sending.release()

    def flush(self) -> None:
        """Send what is there. Raises nothing: what cannot be sent now waits."""
        with self._sending:
            self._send()
            self._hear()

    def take(self) -> list[AnyEvent]:
        """What was not sent, to go with the end of the attempt."""
        with self._sending:
            self._is_over = True
            if self._answer is not None:  # seldom: it is asked here for speed
                self._hear()
            return self._take()

    def accepted(self) -> None:
        """The end of the attempt was: what comes now needs no lease any more."""
        self._accepted = self._is_over = True

    def _send(self) -> None:
        """What was sent before has come first: it is heard of before."""
        self._hear()
        events = self._take()
        if not events or self._stale:
            return
        sealed = seal_events(events, self._ring)
        self._sent = events
        if self._accepted:
            self._answer = lambda: self._append(sealed)
        else:
            self._answer = self._protocol.begin_report(self.at, self.claim, sealed)

    def _append(self, sealed: bytes) -> Said:
        self._protocol.append(self.at.stream, sealed)
        return Said.OK

    def _hear(self) -> None:
        if self._answer is None:
            return
        answer, events = self._answer, self._sent
        self._answer, self._sent = None, []
        try:
            self._stale = answer() is Said.STALE
        except BrokerUnreachable as error:
            self._trouble = self._trouble or Trouble(_log)
            self._trouble.is_there(f"Events of step {self.at.step} wait: {error}")
            self._events[:0] = events
            del self._events[_KEEP:]
        else:
            if self._trouble is not None:
                self._trouble.is_over(f"Events of step {self.at.step} were taken")

    def _take(self) -> list[AnyEvent]:
        events = self._events[:_KEEP]  # what is behind may be dropped meanwhile
        del self._events[: len(events)]
        return events


class Flusher:
    """Looks after what takes long, as often as that says, from a thread that sleeps once nothing has run for a while.
    What comes before that does not wake it up: two threads that take turns cost a short message a tenth of a
    millisecond.
    """

    def __init__(self) -> None:
        self._look_after: Callable[[], float] | None = None
        self._came = False  #: something did, since the last look
        self._awake = threading.Event()
        self._now = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, look_after: Callable[[], float] | None) -> None:
        self._look_after = look_after
        if look_after is None:
            return
        self._came = True
        if not self._awake.is_set():
            self._awake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="opgrid-events", daemon=True)
            self._thread.start()

    def look_now(self) -> None:
        """And not at the end of its pause."""
        self._now.set()

    def _run(self) -> None:
        pause = LOOK_EVERY
        while True:
            if not self._came and self._look_after is None:
                self._awake.clear()
                if self._look_after is None:  # who comes from now on sees that this thread sleeps
                    self._awake.wait()
            self._came = False
            self._now.wait(pause)
            self._now.clear()
            look_after = self._look_after
            pause = LOOK_EVERY if look_after is None else look_after()
