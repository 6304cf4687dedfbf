"""Pools as they are: their limits, and who uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from opgrid.contracts.status import RunStatus
from opgrid.errors import InvariantViolationError
from opgrid.ids import StepKey
from orchestrator.coordinator.shards import plan_of, pools_of
from orchestrator.engine.pools import Slot
from orchestrator.storage.service_protocols import ServiceStore

_GOING: Final = (RunStatus.STARTING, RunStatus.STARTED, RunStatus.CANCELING)
_WHOLE_RUN: Final = StepKey("")
_LONGEST_NAME: Final = 255
_HIGHEST_LIMIT: Final = 1_000_000


class Pool(NamedTuple):
    name: str
    limit: int | None  #: None: it holds nothing up
    is_default: bool  #: the limit is that of all pools that have none of their own
    used: Sequence[Slot]  #: without a step where a whole run uses it


def all_pools(store: ServiceStore) -> list[Pool]:
    """Those that have a limit of their own, and those in use; by name."""
    own, otherwise, used = store.pools(), store.pooling.default_limit, _used(store)
    return [
        Pool(name, own.get(name, otherwise), name not in own and otherwise is not None, used.get(name, ()))
        for name in sorted({*own, *used})
    ]


def limit_pool(store: ServiceStore, name: str, limit: int) -> None:
    """It holds from the next slot on. Raises InvariantViolationError for what is no name, and no limit."""
    if not 0 < len(name) <= _LONGEST_NAME:
        raise InvariantViolationError(f"A pool has a name of 1 to {_LONGEST_NAME} characters, not {name!r}.")
    if not 0 <= limit <= _HIGHEST_LIMIT:
        raise InvariantViolationError(f"The limit of pool {name!r} has to be 0 to {_HIGHEST_LIMIT}, not {limit}.")
    store.set_pool(name, limit)


def _used(store: ServiceStore) -> Mapping[str, Sequence[Slot]]:
    if store.pooling.granularity == "op":
        return store.used_slots()
    found: dict[str, list[Slot]] = {}
    for run in store.with_status(_GOING):
        for name in pools_of(plan_of(store, run)):
            found.setdefault(name, []).append(Slot(name, run.run_id, _WHOLE_RUN))
    return found
