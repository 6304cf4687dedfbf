"""What a step tells, on its way to the coordinator: sent with its end, or in between when it takes long."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from opgrid.broker.messages import seal_events
from opgrid.broker.scripts import Attempt, Protocol, Said
from opgrid.contracts.events import AnyEvent, StepCanceled, StepFailed, StepLost, StepSucceeded
from opgrid.crash_points import reach
from opgrid.errors import BrokerUnreachable
from opgrid.io.keys import KeyRing

Terminal = StepSucceeded | StepFailed | StepCanceled | StepLost

_FLUSH_EVERY: Final = 0.5  #: seconds
_FLUSH_AT: Final = 500  #: events
_KEEP: Final = 20_000  #: events that wait for a Redis that does not answer; later ones are dropped

_log = logging.getLogger("opgrid.worker")


class EventStream:
    """The sink of one attempt. Events may come from any thread; the terminal one is held back for ``finish``."""

    def __init__(self, at: Attempt, claim: str, protocol: Protocol, ring: KeyRing) -> None:
        self.at = at
        self.claim = claim
        self.terminal: Terminal | None = None
        self._protocol = protocol
        self._ring = ring
        self._events: list[AnyEvent] = []
        self._lock = threading.Lock()  # of the list
        self._sending = threading.Lock()  # keeps what is sent in order
        self._accepted = False
        self._stale = False

    def emit(self, event: AnyEvent) -> None:
        if isinstance(event, Terminal):
            self.terminal = event
            return
        with self._lock:
            if len(self._events) < _KEEP:
                self._events.append(event)
            full = len(self._events) >= _FLUSH_AT
        if full:
            self.flush()

    def flush(self) -> None:
        """Send what is there. Raises nothing: what cannot be sent now waits."""
        with self._sending:
            events = self._take()
            if not events or self._stale:
                return
            try:
                sealed = seal_events(events, self._ring)
                if self._accepted:
                    self._protocol.append(self.at.stream, sealed)
                else:
                    self._stale = self._protocol.report(self.at, self.claim, sealed) is Said.STALE
            except BrokerUnreachable as error:
                _log.warning("Events of step %s wait: %s", self.at.step, error)
                with self._lock:
                    self._events[:0] = events

    def finish(self, terminal: Terminal, outputs: list[str], grace: float) -> Said:
        """Send the rest and the end in one script. Waits up to ``grace`` seconds for a Redis that does not answer."""
        until = time.monotonic() + grace
        pause = 0.05
        with self._sending:
            sealed = seal_events([*self._take(), terminal], self._ring)
            while True:
                try:
                    reach("finish before")
                    said = self._protocol.finish(self.at, self.claim, sealed, outputs)
                    reach("finish after")
                except BrokerUnreachable as error:
                    _log.warning("The end of step %s waits: %s", self.at.step, error)
                    said = Said.UNKNOWN
                if said is not Said.UNKNOWN or time.monotonic() > until:
                    self._accepted = said is Said.OK
                    return said
                time.sleep(pause)
                pause = min(1.0, pause * 2)

    def _take(self) -> list[AnyEvent]:
        with self._lock:
            events, self._events = self._events, []
        return events


class Flusher:
    """Sends the events of a step that takes long while it runs, from a thread that sleeps while none does."""

    def __init__(self) -> None:
        self._stream: EventStream | None = None
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, stream: EventStream | None) -> None:
        self._stream = stream
        if stream is None:
            self._busy.clear()
            return
        self._busy.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="opgrid-events", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._busy.wait()
            time.sleep(_FLUSH_EVERY)
            stream = self._stream
            if stream is not None:
                stream.flush()
