"""Pools: how many steps may use something at once, over all runs. The loop asks before it submits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec

from opgrid.ids import RunId, StepKey

#: Seconds between looks for slots that other processes have freed.
LOOK_AGAIN = 0.5


class PoolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How pools hold back. ``op``: each step takes a slot while it runs; ``run``: a run takes one of each pool that its
    ops name, from its start to its end.
    """

    granularity: Literal["op", "run"] = "op"
    default_limit: Annotated[int, msgspec.Meta(ge=0)] | None = None  #: of pools that nobody has set one for; None: none


class Slot(NamedTuple):
    pool: str
    run_id: RunId
    step: StepKey


class PoolStore(Protocol):
    """Durable: slots outlive who took them, and are free once their run has ended."""

    def take_slots(self, wanted: Mapping[Slot, int]) -> set[Slot]:
        """Those that there was room for, or that were taken before. ``wanted``: their priorities; they are asked for in
        this order, and others who wait with a higher one come first.
        """
        ...

    def keep_slots(self, run_id: RunId, steps: Collection[StepKey]) -> None:
        """Free those of all other steps of the run."""
        ...
