"""Pools: how many steps may use something at once, over all runs. The loop asks before it submits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from opgrid.ids import RunId, StepKey

#: Seconds between looks for slots that other processes have freed.
LOOK_AGAIN = 0.5


class Slot(NamedTuple):
    pool: str
    run_id: RunId
    step: StepKey


class PoolStore(Protocol):
    """Durable: slots outlive who took them, and are free once their run has ended."""

    def take_slots(self, wanted: Sequence[Slot]) -> set[Slot]:
        """Those that there was room for, in this order, or that were taken before."""
        ...

    def free_slots(self, slots: Sequence[Slot]) -> None: ...

    def keep_slots(self, run_id: RunId, steps: Collection[StepKey]) -> None:
        """Free those of all other steps of the run."""
        ...
