"""How long steps take: what their like took before, where one that was held up by chance says little."""

from __future__ import annotations

from collections.abc import Hashable
from math import exp, log
from typing import Final

_KEPT: Final = 10_000
#: What one step says against all before it.
_SHARE: Final = 0.2
_LEAST: Final = 1e-6


class Pace:
    """A moving geometric mean: of many short steps and a few very long ones it is near the short ones."""

    def __init__(self) -> None:
        self._logarithms: dict[Hashable, float] = {}

    def expect(self, what: Hashable) -> float | None:
        """Seconds; None for what was never seen."""
        known = self._logarithms.get(what)
        return None if known is None else exp(known)

    def learn(self, what: Hashable, seconds: float) -> None:
        new = log(max(seconds, _LEAST))
        before = self._logarithms.get(what)
        if before is None:
            if len(self._logarithms) >= _KEPT:
                self._logarithms.pop(next(iter(self._logarithms)))
            self._logarithms[what] = new
        else:
            self._logarithms[what] = before + _SHARE * (new - before)
