"""A bell that ends somebody's waiting: rung from another thread, or from a signal handler."""

from __future__ import annotations

import os
import select
from contextlib import suppress


class Bell:
    """Rung before anybody waits, it ends the next wait at once."""

    def __init__(self) -> None:
        self._ear, self._hand = os.pipe()
        os.set_blocking(self._ear, False)
        os.set_blocking(self._hand, False)

    def fileno(self) -> int:
        """Readable when it was rung; for selectors."""
        return self._ear

    @property
    def hand(self) -> int:
        """A byte written to it rings the bell; for other processes."""
        return self._hand

    def ring(self) -> None:
        if self._hand >= 0:
            with suppress(BlockingIOError):  # it has been rung often enough
                os.write(self._hand, b"!")

    def hear(self) -> None:
        """The rings so far are taken note of."""
        with suppress(BlockingIOError):
            while os.read(self._ear, 4096):
                pass

    def wait(self, seconds: float) -> bool:
        """Whether it was rung before or in that time."""
        if self._ear < 0 or not select.select([self._ear], [], [], max(0.0, seconds))[0]:
            return False
        self.hear()
        return True

    def close(self) -> None:
        """May be called twice."""
        for each in (self._ear, self._hand):
            if each >= 0:
                os.close(each)
        self._ear = self._hand = -1
