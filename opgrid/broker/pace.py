"""How long steps take: what their like took before, where one that was held up by chance says little."""

from __future__ import annotations

from collections.abc import Hashable
from math import exp, log
from typing import Final

_KEPT: Final = 10_000
#: What one step says against all before it.
_SHARE: Final = 0.2
_LEAST: Final = 1e-6
#: How far apart steps are taken to be, as a logarithm, until some were seen.
_UNKNOWN: Final = 1.0


class Pace:
    """A moving geometric mean: of many short steps and a few very long ones it is near the short ones."""

    def __init__(self) -> None:
        self._logarithms: dict[Hashable, float] = {}
        self._spreads: dict[Hashable, float] = {}  #: moving mean of how far they are from that

    def expect(self, what: Hashable) -> float | None:
        """Seconds; None for what was never seen."""
        known = self._logarithms.get(what)
        return None if known is None else exp(known)

    def spread(self, what: Hashable) -> float:
        """How far from what is expected they are, as a share of it."""
        return self._spreads.get(what, _UNKNOWN)

    def learn(self, what: Hashable, seconds: float) -> None:
        new = log(max(seconds, _LEAST))
        before = self._logarithms.get(what)
        if before is None:
            if len(self._logarithms) >= _KEPT:
                oldest = next(iter(self._logarithms))
                del self._logarithms[oldest], self._spreads[oldest]
            self._logarithms[what], self._spreads[what] = new, _UNKNOWN
        else:
            self._logarithms[what] = before + _SHARE * (new - before)
            self._spreads[what] += _SHARE * (abs(new - before) - self._spreads[what])
