"""What goes wrong for a while: said at once, then ever more rarely with how long it has lasted, and once it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

#: Seconds until it is said again; twice as many until the time after that.
AGAIN: Final = 60.0
_LONGEST: Final = 3600.0
#: Seconds without it after which it is over, where nobody knows better: what comes and goes is one trouble.
CALM: Final = 10.0


class Trouble:
    """Of one kind. For one thread at a time."""

    __slots__ = ("_clock", "_last", "_log", "_next", "_since")

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._since: float | None = None
        self._last = self._next = 0.0

    def __bool__(self) -> bool:
        """Whether it goes on."""
        return self._since is not None

    def is_there(self, said: str) -> None:
        """It has come, or goes on; ``said`` is a sentence about it."""
        now = self._clock()
        if self._since is None:
            self._since, self._next = now, now + AGAIN
            self._log.warning("%s", said)
        elif now >= self._next:
            lasted = now - self._since
            self._next = now + min(lasted, _LONGEST)
            self._log.warning("%s That has lasted for %.0f s.", said, lasted)
        self._last = now

    def is_over(self, said: str) -> None:
        """As somebody knows; ``said`` goes on with "after 2.0 s"."""
        if self._since is not None:
            self._log.warning("%s after %.1f s.", said, self._clock() - self._since)
            self._since = None

    def is_not_seen(self, said: str) -> None:
        """It is over where it has not been for some time."""
        if self._since is not None and self._clock() - self._last > CALM:
            self._log.warning("%s after %.1f s.", said, self._last - self._since)
            self._since = None
