"""Ending a blocking read of the stream from another thread, or from a signal handler."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from opgrid.errors import BrokerUnreachable
from opgrid.steps.bell import Bell


class Waker:
    """``ring`` only writes a byte; a thread of its own does what takes a connection."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._bell = Bell()
        self._closed = False
        self._thread: threading.Thread | None = None

    def listen(self) -> None:
        """Begin; without it rings are heard by nobody."""
        self._thread = threading.Thread(target=self._run, name="opgrid-wake", daemon=True)
        self._thread.start()

    def ring(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._closed = True
        self._bell.ring()
        if self._thread is not None:
            self._thread.join()
        self._bell.close()

    def _run(self) -> None:
        while True:
            self._bell.wait(3600.0)
            if self._closed:
                return
            with contextlib.suppress(BrokerUnreachable):  # then nobody reads
                self._wake()
