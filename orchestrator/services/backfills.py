"""Backfills: which partitions, and how they are run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from opgrid.contracts.status import RunStatus
from opgrid.definitions.partitions.base import PARTITION_RANGE_TAG, PARTITION_TAG, PartitionKeyRange
from opgrid.errors import BackwardsRange, InvariantViolationError, RunNotFoundError, UnknownPartitionError, nearest
from opgrid.ids import RunId
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import LONGEST_LAUNCH_KEY, Backfill, BackfillOptions, BackfillStatus

_FAILED: Final = (RunStatus.FAILURE, RunStatus.CANCELED)


class LastRun(NamedTuple):
    run_id: RunId
    status: RunStatus
    number: int = 0  #: higher ones are later
    span: str | None = None  #: of one for several partitions, as text

    @property
    def has_failed(self) -> bool:
        return self.status in _FAILED


def last_runs(store: ServiceStore, location: str, job: str, keys: Sequence[str]) -> dict[str, LastRun]:
    """The latest run of each partition of a job, also one that was for several; those that never ran are missing."""
    last = {key: LastRun(*found) for key, found in store.last_by_tag(location, job, PARTITION_TAG).items()}
    places = {key: place for place, key in enumerate(keys)}
    for text, found in store.last_by_tag(location, job, PARTITION_RANGE_TAG).items():
        span, run = PartitionKeyRange.parse(text), LastRun(*found)
        if span is None or span.start not in places or span.end not in places:
            continue
        for key in keys[places[span.start] : places[span.end] + 1]:
            if key not in last or last[key].number < run.number:
                last[key] = run._replace(span=text)
    return last


def chosen(
    keys: Sequence[str],
    *,
    only: Sequence[str] = (),
    start: str | None = None,
    end: str | None = None,
    last: Mapping[str, LastRun] | None = None,
    missing: bool = False,
    failed: bool = False,
) -> list[str]:
    """Of all ``keys`` those to run, in their order: some, or from ``start`` to ``end``, of these those that no run
    succeeded for (``missing``: no run at all), by their ``last`` runs. Raises UnknownPartitionError, BackwardsRange.
    """
    places = {key: place for place, key in enumerate(keys)}
    for key in (*only, *(each for each in (start, end) if each is not None)):
        if key not in places:
            raise UnknownPartitionError(f"There is no partition {key!r}.{nearest(key, keys)}")
    first = places[start] if start is not None else 0
    behind = places[end] + 1 if end is not None else len(keys)
    if start is not None and end is not None and places[start] > places[end]:
        raise BackwardsRange(start, end)
    some = frozenset(only or keys)
    wanted = [key for key in keys[first:behind] if key in some]
    runs = last or {}
    if missing and failed:
        return [key for key in wanted if key not in runs or runs[key].has_failed]
    if missing:
        return [key for key in wanted if key not in runs]
    if failed:
        return [key for key in wanted if key in runs and runs[key].has_failed]
    return wanted


def from_failure(
    wanted: Sequence[str], keys: Sequence[str], last: Mapping[str, LastRun]
) -> tuple[list[str], dict[str, RunId]]:
    """What to ask for so that those of ``wanted`` whose ``last`` run failed go on from there, and from which run each
    does. One for several partitions goes on once, for all of them; where not all are wanted, or some were run since,
    those that are wanted start anew.
    """
    parents = {key: last[key] for key in wanted if key in last and last[key].has_failed}
    whole = {
        each for each in set(parents.values()) if all(parents.get(key) == each for key in _within(each.span, keys))
    }
    asked: dict[str, RunId | None] = {}
    for key in wanted:
        parent = parents.get(key)
        if parent in whole:
            asked[parent.span or key] = parent.run_id
        else:
            asked[key] = None
    return list(asked), {key: run_id for key, run_id in asked.items() if run_id is not None}


def spans(asked: Sequence[str], keys: Sequence[str]) -> dict[str, int]:
    """Of what is ``asked`` for, the ranges, and how many of ``keys`` each covers."""
    return {each: len(covered) for each in asked if (covered := _within(each, keys))}


def _within(span: str | None, keys: Sequence[str]) -> Sequence[str]:
    """The keys of a range, both ends of which are there."""
    found = PartitionKeyRange.parse(span or "")
    return keys[keys.index(found.start) : keys.index(found.end) + 1] if found is not None else ()


def request(
    store: ServiceStore, location: str, job: str, partitions: Sequence[str], options: BackfillOptions
) -> Backfill:
    """Stored, for the daemon to launch its runs. Raises InvariantViolationError for no partition, or none at once, and
    for keys that are too long: those of several dimensions may be.
    """
    if not partitions:
        raise InvariantViolationError(f"There is no partition of {job!r} to run.")
    longest = max(partitions, key=len)
    if len(longest) > LONGEST_LAUNCH_KEY:
        raise InvariantViolationError(
            f"The partition key {longest[:40] + '...'!r} of {job!r} has {len(longest)} characters; in a backfill it "
            f"may have {LONGEST_LAUNCH_KEY}."
        )
    if options.at_once is not None and options.at_once < 1:
        raise InvariantViolationError(
            f"A backfill with {options.at_once} runs at once would launch none: say 1 or more, or leave it out for "
            "no limit of its own."
        )
    made = Backfill(secrets.token_hex(4), location, job, tuple(partitions), options, created=time.time())
    store.add_backfill(made)
    return made


def find(store: ServiceStore, backfill_id: str) -> Backfill:
    """Raises RunNotFoundError."""
    found = store.backfills(backfill_id=backfill_id)
    if not found:
        known = [each.backfill_id for each in store.backfills(limit=20)]
        raise RunNotFoundError("backfill", backfill_id, known, "this installation", "See: opgrid backfill list")
    return found[0]


def stop(store: ServiceStore, backfill: Backfill) -> None:
    """No further runs, and an end to those that go on. Raises InvariantViolationError for one that has ended."""
    if not store.move_backfill(backfill.backfill_id, BackfillStatus.REQUESTED, BackfillStatus.CANCELING):
        raise InvariantViolationError(f"Backfill {backfill.backfill_id} is {find(store, backfill.backfill_id).status}.")


def again(store: ServiceStore, backfill: Backfill, from_failure: bool = True) -> Backfill:
    """Another backfill, of what did not succeed in this one; a partition goes on from where it failed."""
    launched = store.latest_by([backfill.origin]).get(backfill.origin, {})
    statuses = store.statuses(list(launched.values()))
    done = {key for key, run_id in launched.items() if statuses.get(run_id) is RunStatus.SUCCESS}
    left = [key for key in backfill.partitions if key not in done]
    failed = {key: launched[key] for key in left if key in launched and statuses.get(launched[key]) in _FAILED}
    options = BackfillOptions(
        backfill.options.tags,
        backfill.options.title,
        backfill.options.run_config,
        backfill.options.op_selection,
        backfill.options.executor,
        backfill.options.at_once,
        failed if from_failure else {},
        backfill.options.spans,
    )
    return request(store, backfill.location, backfill.job, left, options)
