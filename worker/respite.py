"""The time that a worker which is to end at once gives what runs."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from celery.signals import worker_shutting_down

from worker.leases import Slot
from worker.parent import Parent
from worker.watch import kill_group

_LOOK: Final = 0.05  #: seconds
#: Looks in a row that find nothing: between two messages, a process has nothing for a moment.
_LOOKS: Final = 4

_log = logging.getLogger("opgrid.worker")


class Respite:
    """In place of Celery's ``WorkController.wait_for_soft_shutdown``, which sleeps: over when nothing runs, or when
    the worker is told again. Called by a handler of a signal; the one for the next signal may run inside it. Celery
    tells what still runs to end then, and waits for it; what has not after ``grace`` seconds more is killed.
    """

    def __init__(self, parent: Parent, seconds: float, grace: float) -> None:
        self._parent = parent
        self._seconds, self._grace = seconds, grace
        self._is_over = False
        worker_shutting_down.connect(self._told, weak=False)

    def __call__(self) -> None:
        self._parent.leave()
        until, idle = time.monotonic() + self._seconds, 0
        if self._busy():
            _log.warning("What runs has %g s to end; the same signal again ends it now.", self._seconds)
        while idle < _LOOKS and not self._is_over and time.monotonic() < until:
            time.sleep(_LOOK)
            idle = 0 if self._busy() else idle + 1
        if self._busy():
            killing = threading.Timer(self._grace, self._kill)
            killing.daemon = True
            killing.start()

    def _told(self, how: str = "", **_: object) -> None:
        self._is_over = self._is_over or how == "Cold"

    def _kill(self) -> None:
        for pid in self._busy():
            _log.warning("Process %s did not end: killed.", pid)
            kill_group(pid)

    def _busy(self) -> list[int]:
        """Ids of processes that are at a message."""
        busy = []
        for path in self._parent.folder.glob("*.slot"):
            try:
                slot = Slot.open(path)
            except OSError:  # its process has ended
                continue
            if slot.is_busy:
                busy.append(int(path.stem))
            slot.close()
        return busy
