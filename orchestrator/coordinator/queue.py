"""Which of the runs that wait may start, and why the others may not. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from opgrid.ids import RunId
from orchestrator.planner.routing import BadTag, of_run
from orchestrator.storage.records import RunRecord


class RunTagLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most ``limit`` runs with the tag. ``value`` None: any value; ``per_value``: each value counts for itself."""

    key: str
    limit: Annotated[int, msgspec.Meta(ge=0)]
    value: str | None = None
    per_value: bool = False


class QueueLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    max_concurrent_runs: Annotated[int, msgspec.Meta(ge=-1)] = 10  #: -1: no limit; 0: nothing starts
    tag_concurrency_limits: tuple[RunTagLimit, ...] = ()


class RunPools(NamedTuple):
    """For pools that hold back whole runs."""

    limits: Mapping[str, int]  #: slots by name
    of_run: Mapping[RunId, frozenset[str]]  #: that a run needs one of each


NO_POOLS: Final = RunPools({}, {})


class Choice(NamedTuple):
    start: list[RunId]  #: in this order
    waiting: dict[RunId, str]  #: why, in words


def choose(
    queued: Sequence[RunRecord],
    going: Iterable[RunRecord],
    limits: QueueLimits,
    pools: RunPools = NO_POOLS,
    turns: Mapping[str, int] | None = None,
) -> Choice:
    """Higher priority first; among equals the jobs take turns, and of one job the oldest run that may goes first.
    ``turns``: a number for each job that had one before; higher ones were later.
    """
    used: Counter[tuple[int, str]] = Counter()
    for run in going:
        used.update(_claims(run, limits, pools))
    start: list[RunId] = []
    waiting: dict[RunId, str] = {}
    for lines in _levels(queued, turns or {}):
        while lines:
            line = lines.popleft()
            while line:
                run = line.popleft()
                claims = _claims(run, limits, pools)
                full = next((claim for claim in claims if used[claim] >= _cap(claim, limits, pools) >= 0), None)
                if full is None:
                    used.update(claims)
                    start.append(run.run_id)
                    lines.append(line)
                    break
                waiting[run.run_id] = _worded(full, used[full], limits, pools)
    return Choice(start, waiting)


def priority_of(run: RunRecord) -> int:
    """By its tag; 0 for one that cannot be read."""
    try:
        return of_run(run.tags).priority
    except BadTag:
        return 0


def _levels(queued: Sequence[RunRecord], turns: Mapping[str, int]) -> Iterator[deque[deque[RunRecord]]]:
    """Of each priority, the highest first: a line for each job, in the order of their turns."""
    levels: dict[int, dict[str, deque[RunRecord]]] = {}
    for run in queued:
        levels.setdefault(priority_of(run), {}).setdefault(run.job, deque()).append(run)
    for priority in sorted(levels, reverse=True):
        jobs = sorted(levels[priority], key=lambda job: turns.get(job, -1))
        yield deque(levels[priority][job] for job in jobs)


#: Place of a limit (-1: that of all runs, -2: that of a pool), and the value where each counts for itself, or the pool.
_Claim = tuple[int, str]


_ALL, _POOL = -1, -2


def _claims(run: RunRecord, limits: QueueLimits, pools: RunPools) -> list[_Claim]:
    claims: list[_Claim] = [(_ALL, "")]
    claims += [(_POOL, name) for name in sorted(pools.of_run.get(run.run_id, ())) if name in pools.limits]
    for place, limit in enumerate(limits.tag_concurrency_limits):
        value = run.tags.get(limit.key)
        if value is not None and limit.value in (None, value):
            claims.append((place, value if limit.per_value else ""))
    return claims


def _cap(claim: _Claim, limits: QueueLimits, pools: RunPools) -> int:
    place, value = claim
    if place == _POOL:
        return pools.limits[value]
    return limits.max_concurrent_runs if place == _ALL else limits.tag_concurrency_limits[place].limit


def _worded(claim: _Claim, used: int, limits: QueueLimits, pools: RunPools) -> str:
    place, value = claim
    if place == _POOL:
        return f"{used} runs that need pool {value!r} go on, and it has {pools.limits[value]} slots."
    if place == _ALL:
        return f"{used} runs go on, and max_concurrent_runs is {limits.max_concurrent_runs}."
    limit = limits.tag_concurrency_limits[place]
    tag = f"{limit.key}={value or limit.value}" if value or limit.value else limit.key
    return f"{used} runs with the tag {tag} go on, and their limit is {limit.limit}."
