"""The time that a worker which is to end at once gives what runs."""

from __future__ import annotations

import logging
import time
from typing import Final

from celery.signals import worker_shutting_down

from worker.leases import Slot
from worker.parent import Parent

_LOOK: Final = 0.05  #: seconds
#: Looks in a row that find nothing: between two messages, a process has nothing for a moment.
_LOOKS: Final = 4

_log = logging.getLogger("opgrid.worker")


class Respite:
    """In place of Celery's ``WorkController.wait_for_soft_shutdown``, which sleeps: over when nothing runs, or when
    the worker is told again. Called by a handler of a signal; the one for the next signal may run inside it.
    """

    def __init__(self, parent: Parent, seconds: float) -> None:
        self._parent = parent
        self._seconds = seconds
        self._is_over = False
        worker_shutting_down.connect(self._told, weak=False)

    def __call__(self) -> None:
        self._parent.leave()
        until, idle = time.monotonic() + self._seconds, 0
        if self._something_runs():
            _log.warning("What runs has %g s to end; the same signal again ends it now.", self._seconds)
        while idle < _LOOKS and not self._is_over and time.monotonic() < until:
            time.sleep(_LOOK)
            idle = 0 if self._something_runs() else idle + 1

    def _told(self, how: str = "", **_: object) -> None:
        self._is_over = self._is_over or how == "Cold"

    def _something_runs(self) -> bool:
        for path in self._parent.folder.glob("*.slot"):
            try:
                slot = Slot.open(path)
            except OSError:  # its process has ended
                continue
            is_busy = slot.is_busy
            slot.close()
            if is_busy:
                return True
        return False
