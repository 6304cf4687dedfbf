"""One tick: the location is asked, and all that it answers is stored in one transaction."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from collections.abc import Collection, Sequence

from opgrid.contracts.events import ErrorInfo
from opgrid.definitions.run_request import (
    AddDynamicPartitionsRequest,
    DeleteDynamicPartitionsRequest,
    DynamicPartitionsRequest,
)
from opgrid.errors import ValueRefused
from opgrid.ids import RunId
from orchestrator.locations.location import Location
from orchestrator.locations.messages import (
    Answer,
    Evaluated,
    Failed,
    PartitionChange,
    ReadyRun,
    TickRunStatus,
    TickSchedule,
    TickSensor,
)
from orchestrator.locations.process import LocationAway, LocationBroken
from orchestrator.services.submission import ready
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import (
    LONGEST_LAUNCH_KEY,
    Instigator,
    InstigatorKind,
    NewRun,
    Tick,
    TickStatus,
)

Asked = TickSchedule | TickSensor | TickRunStatus


def ask(location: Location, asked: Asked, timeout: float, apart: bool = False) -> Evaluated | Failed:
    """An answer that does not come is a failure like any other; see ``is_away``, ``has_broken``."""
    try:
        answer: Answer = location.ask(asked, timeout, apart)
    except LocationBroken as broken:
        return Failed(ErrorInfo(type(broken).__name__, str(broken)))
    if isinstance(answer, Evaluated | Failed):
        return answer
    return Failed(ErrorInfo("LocationBroken", f"The code location answered {type(answer).__name__}."))


def is_away(answer: Evaluated | Failed) -> bool:
    """Whether nobody was there to be asked."""
    return isinstance(answer, Failed) and answer.error.kind == LocationAway.__name__


def has_broken(answer: Evaluated | Failed) -> bool:
    """Whether the process that was asked did not answer."""
    return isinstance(answer, Failed) and answer.error.kind == LocationBroken.__name__


def commit(
    store: ServiceStore,
    before: Instigator,
    after: Instigator,
    answer: Evaluated | Failed,
    at: float,
    now: float,
    failed: Instigator | None = None,
) -> list[RunId] | None:
    """Store a tick. ``after`` is the state that a good tick leaves; a failed one, and one that the database refuses,
    keeps cursor and run key, or has those of ``failed``. What gave neither runs nor a reason leaves no record. None
    where another process has ticked meanwhile.
    """
    place = (before.location, before.name, before.kind, at)
    if isinstance(answer, Failed):
        left = failed or before
        kept = dataclasses.replace(after, cursor=left.cursor, last_run_key=left.last_run_key)
        tick = Tick(*place, TickStatus.FAILURE, now, error=answer.error, log=answer.log)
        return store.commit_tick(tick, before, kept)
    if answer.cursor is not None:
        after = dataclasses.replace(after, cursor=answer.cursor)
    keys = [run.run_key for run in answer.runs if run.run_key is not None]
    if keys:
        after = dataclasses.replace(after, last_run_key=keys[-1])
    status = TickStatus.SUCCESS if answer.runs else TickStatus.SKIPPED
    found = None
    if answer.runs or answer.skipped is not None:
        found = Tick(*place, status, now, reason=answer.skipped, log=answer.log)
    before_now = store.launched(before.origin) if any(len(key) > LONGEST_LAUNCH_KEY for key in keys) else {}
    runs = [_new(before, run, at, number, before_now) for number, run in enumerate(answer.runs)]
    try:
        return store.commit_tick(found, before, after, runs, _requests(answer.partitions))
    except ValueRefused as error:
        return commit(store, before, after, Failed(ErrorInfo.of(error), answer.log), at, now, failed)


def _new(state: Instigator, run: ReadyRun, at: float, number: int, before: Collection[str]) -> NewRun:
    """A schedule launches once a tick and key, also where it gives none; a sensor once a key, if it gives one.
    ``before``: keys that were launched, where some may be there that are kept as they were given, though they are long.
    """
    key = run.run_key
    if state.kind is InstigatorKind.SCHEDULE:
        key = f"{at:.0f}/{number if key is None else key}"
    elif key is None:
        key = uuid.uuid4().hex
    return ready(run, state.origin, key if key in before else _shortened(key))


def _shortened(key: str) -> str:
    """A long one ends with its digest, and is as unlike others as it was."""
    if len(key) <= LONGEST_LAUNCH_KEY:
        return key
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return f"{key[: LONGEST_LAUNCH_KEY - len(digest) - 1]}-{digest}"


def _requests(changes: Sequence[PartitionChange]) -> list[DynamicPartitionsRequest]:
    return [
        AddDynamicPartitionsRequest(each.name, each.keys)
        if each.add
        else DeleteDynamicPartitionsRequest(each.name, each.keys)
        for each in changes
    ]
