"""How long steps take: what their like took before. A guess that errs on the long side."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

_KEPT: Final = 10_000
#: How much of a surprise is believed at once.
_SLOWER, _QUICKER = 0.5, 0.1


class Pace:
    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def expect(self, what: Hashable) -> float | None:
        """Seconds; None for what was never seen."""
        return self._seconds.get(what)

    def learn(self, what: Hashable, seconds: float) -> None:
        before = self._seconds.get(what)
        if before is None:
            if len(self._seconds) >= _KEPT:
                self._seconds.pop(next(iter(self._seconds)))
            self._seconds[what] = seconds
            return
        share = _SLOWER if seconds > before else _QUICKER
        self._seconds[what] = before + share * (seconds - before)
