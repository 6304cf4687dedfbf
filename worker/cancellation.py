"""How a running step is told to stop: the watch process names its claim, then sends a signal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

from opgrid.steps.interrupts import forget, interruptible
from worker.leases import Slot

#: Not SIGTERM: with that, Celery ends its children.
STOP_SIGNAL: Final = signal.SIGUSR2


class Stoppable:
    """Interrupts the step whose claim was named, and no other: a signal may arrive when its step is already over."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.claim = ""
        self._installed = ExitStack()

    def install(self) -> None:
        """For the life of a pool child, in its main thread."""
        self._installed.enter_context(interruptible(STOP_SIGNAL))
        interrupt = signal.getsignal(STOP_SIGNAL)
        assert callable(interrupt)

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self.asked:
                interrupt(number, frame)

        signal.signal(STOP_SIGNAL, on_signal)

    @contextmanager
    def during(self, claim: str) -> Iterator[None]:
        self.claim = claim
        forget()
        try:
            yield
        finally:
            self.claim = ""

    @property
    def asked(self) -> bool:
        """The step that runs now must stop."""
        return bool(self.claim) and self.slot.stop_asked() == self.claim
