"""The clock of the run loop: what retries wait for and limits of time count by must not jump."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


def since_boot() -> float:
    """Seconds, the same for all processes of a machine; while it sleeps they go on, where the system can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SteadyClock:
    """Unix seconds that nobody sets. When the wall clock is set, this one follows it without a jump: it goes a tenth
    faster or slower for as long as that takes.
    """

    def __init__(self, wall: Clock = time.time, elapsed: Clock = since_boot) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._at, self._seen = wall(), elapsed()

    def __call__(self) -> float:
        seen = self._elapsed()
        passed = seen - self._seen
        behind = self._wall() - (self._at + passed)
        self._at += passed + max(-passed / 10, min(passed / 10, behind))
        self._seen = seen
        return self._at
