"""What is stored about runs, as it is read back. Times are Unix seconds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, NamedTuple

from opgrid.contracts.events import AnyEvent, EventType, LogMessage
from opgrid.contracts.facts import AssetKey, AssetMaterialization, AssetObservation
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import CodeTarget, RunBrief
from opgrid.contracts.wire import encode_event
from opgrid.errors import InvariantViolationError, OpGridError, listed
from opgrid.ids import RunId, StepKey

#: By this tag re-executions are found, though they do not show it: the id of the first run in the row.
ROOT_TAG = "opgrid/root_run_id"
#: On the runs of a backfill: which one.
BACKFILL_TAG = "opgrid/backfill"
#: On runs of a code location that has another name than its file or module.
LOCATION_TAG = "opgrid/code_location"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it is stored; ``opgrid.Run`` is another name of it."""

    run_id: RunId
    job: str
    status: RunStatus
    brief: RunBrief
    plan: str  #: content hash
    snapshot: str  #: content hash
    code: CodeTarget | None = None
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    cancel: str | None = None  #: somebody asked for its end, and why

    @property
    def job_name(self) -> str:
        return self.job

    @property
    def location(self) -> str:
        """The name of its code location in the service, which a workspace may have given it."""
        return self.tags.get(LOCATION_TAG) or self.brief.job.location

    @property
    def run(self) -> RunRecord:
        """The run of a record: the record is the run."""
        return self

    @property
    def tags(self) -> dict[str, str]:
        return self.brief.tags

    @property
    def run_config(self) -> Any:
        """As it was given, merged with the job's own."""
        return {} if self.brief.run_config is None else self.brief.run_config

    @property
    def parent_run_id(self) -> RunId | None:
        """Of the run that this one re-executes."""
        return self.brief.parent_run_id

    @property
    def root_run_id(self) -> RunId | None:
        """Of the first in a row of re-executions."""
        return self.brief.root_run_id

    @property
    def updated(self) -> float:
        """When its status changed last."""
        return self.ended or self.started or self.created

    @property
    def create_timestamp(self) -> datetime:
        return datetime.fromtimestamp(self.created, UTC)

    @property
    def update_timestamp(self) -> datetime:
        return datetime.fromtimestamp(self.updated, UTC)

    @property
    def start_time(self) -> float | None:
        return self.started

    @property
    def end_time(self) -> float | None:
        return self.ended

    @property
    def is_finished(self) -> bool:
        return self.status.is_final

    @property
    def is_success(self) -> bool:
        return self.status is RunStatus.SUCCESS

    @property
    def is_failure(self) -> bool:
        return self.status is RunStatus.FAILURE

    @property
    def is_failure_or_canceled(self) -> bool:
        return self.status in (RunStatus.FAILURE, RunStatus.CANCELED)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """Where a step stands; ``started`` is of its last attempt."""

    step: StepKey
    status: StepStatus
    attempt: int
    started: float | None = None
    ended: float | None = None
    worker: str | None = None  #: of its last attempt

    @property
    def step_key(self) -> str:
        return self.step

    @property
    def attempts(self) -> int:
        """How many were started."""
        return self.attempt

    @property
    def start_time(self) -> float | None:
        return self.started

    @property
    def end_time(self) -> float | None:
        return self.ended


@dataclass(frozen=True, slots=True)
class RunsFilter:
    """Which runs; what is not given does not matter. A run is updated when its status changes; times are Unix seconds,
    or datetimes.
    """

    run_ids: tuple[str, ...] = ()
    job_name: str | None = None
    statuses: tuple[RunStatus, ...] = ()
    tags: Mapping[str, str | Sequence[str]] = field(default_factory=dict)  #: a list: one of these values
    snapshot_id: str | None = None
    updated_after: float | datetime | None = None
    updated_before: float | datetime | None = None
    created_after: float | datetime | None = None
    created_before: float | datetime | None = None
    exclude_subruns: bool | None = None  #: true: those of backfills do not count
    location: str | None = None  #: code location; those of before that was kept count everywhere

    def values_of_tags(self) -> dict[str, list[str]]:
        """Of each tag, those that a run may have."""
        return {key: [found] if isinstance(found, str) else list(found) for key, found in self.tags.items()}

    def times(self) -> tuple[float, float, float, float]:
        """Created after and before, updated after and before; without limits where none was given."""
        return (
            _seconds(self.created_after, -inf),
            _seconds(self.created_before, inf),
            _seconds(self.updated_after, -inf),
            _seconds(self.updated_before, inf),
        )


def _seconds(time: float | datetime | None, without: float) -> float:
    """A datetime without a zone is of this machine's zone, as in the standard library."""
    if time is None:
        return without
    return time.timestamp() if isinstance(time, datetime) else time


@dataclass(frozen=True, slots=True)
class EventsFilter:
    """Which events of a run; what is not given does not matter."""

    types: tuple[EventType, ...] = ()
    step: str | None = None
    text: str = ""  #: somewhere in it, in letters of either case
    level: int = 0  #: that it has at least, as ``level_of`` says

    def fits(self, event: AnyEvent) -> bool:
        return (
            (not self.types or event.TYPE in self.types)
            and self.step in (None, getattr(event, "step", None))
            and (not self.level or level_of(event) >= self.level)
            and (not self.text or self.text.lower() in encode_event(event).lower())
        )


#: Levels of events that are no messages, as in ``logging``; of all others it is DEBUG.
LEVELS: Final[Mapping[EventType, int]] = {
    EventType.RUN_FAILURE: logging.ERROR,
    EventType.STEP_FAILURE: logging.ERROR,
    EventType.STEP_LOST: logging.ERROR,
    EventType.RESOURCE_INIT_FAILURE: logging.ERROR,
    EventType.HOOK_ERRORED: logging.ERROR,
    EventType.STEP_UP_FOR_RETRY: logging.WARNING,
    EventType.ENGINE_EVENT: logging.INFO,
}


def level_of(event: AnyEvent) -> int:
    return event.level if isinstance(event, LogMessage) else LEVELS.get(event.TYPE, logging.DEBUG)


@dataclass(frozen=True, slots=True)
class EventRecordsFilter:
    """Which events of all runs; what is not given does not matter. Cursors are storage ids, times Unix seconds or
    datetimes; both are left out themselves.
    """

    event_type: EventType
    asset_key: AssetKey | None = None
    asset_partitions: Sequence[str] | None = None
    after_cursor: int | None = None
    before_cursor: int | None = None
    after_timestamp: float | datetime | None = None
    before_timestamp: float | datetime | None = None
    storage_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        _check_asset(self.asset_key, self.asset_partitions)

    def fits(self, number: int, event: AnyEvent) -> bool:
        return (
            event.TYPE is self.event_type
            and (self.after_cursor is None or number > self.after_cursor)
            and (self.before_cursor is None or number < self.before_cursor)
            and _seconds(self.after_timestamp, -inf) < event.at < _seconds(self.before_timestamp, inf)
            and (self.storage_ids is None or number in self.storage_ids)
            and self.is_of_asset(event)
        )

    def is_of_asset(self, event: AnyEvent) -> bool:
        """Of the asset, and of the partitions of it, that are asked for."""
        return (self.asset_key is None or getattr(event, "asset", None) == tuple(self.asset_key.path)) and (
            self.asset_partitions is None or getattr(event, "partition", None) in self.asset_partitions
        )

    def times(self) -> tuple[float, float]:
        """After and before; without limits where none was given."""
        return _seconds(self.after_timestamp, -inf), _seconds(self.before_timestamp, inf)


@dataclass(frozen=True, slots=True)
class AssetRecordsFilter:
    """Which materializations or observations of an asset; as ``EventRecordsFilter``. Raises InvariantViolationError for
    what is no AssetKey.
    """

    asset_key: AssetKey
    asset_partitions: Sequence[str] | None = None
    after_timestamp: float | datetime | None = None
    before_timestamp: float | datetime | None = None
    after_storage_id: int | None = None
    before_storage_id: int | None = None
    storage_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.asset_key is None:
            raise InvariantViolationError("An AssetRecordsFilter is of one asset: give its AssetKey.")
        _check_asset(self.asset_key, self.asset_partitions)

    def events(self, event_type: EventType) -> EventRecordsFilter:
        return EventRecordsFilter(
            event_type,
            self.asset_key,
            self.asset_partitions,
            self.after_storage_id,
            self.before_storage_id,
            self.after_timestamp,
            self.before_timestamp,
            self.storage_ids,
        )


@dataclass(frozen=True, slots=True)
class RunStatusChangeRecordsFilter:
    """Which changes of the status of runs; as ``EventRecordsFilter``. Raises InvariantViolationError for a type of
    events that are none.
    """

    event_type: EventType
    after_timestamp: float | datetime | None = None
    before_timestamp: float | datetime | None = None
    after_storage_id: int | None = None
    before_storage_id: int | None = None
    storage_ids: Sequence[int] | None = None
    job_names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        given: object = self.event_type
        if not isinstance(given, EventType) or not given.value.startswith("PIPELINE_"):
            raise InvariantViolationError(
                f"{given} is no change of a run's status. Give one, for example EventType.RUN_SUCCESS."
            )
        _check_list(self.job_names, "job_names")

    def events(self) -> EventRecordsFilter:
        return EventRecordsFilter(
            self.event_type,
            after_cursor=self.after_storage_id,
            before_cursor=self.before_storage_id,
            after_timestamp=self.after_timestamp,
            before_timestamp=self.before_timestamp,
            storage_ids=self.storage_ids,
        )


def _check_asset(key: object, partitions: object) -> None:
    if key is not None and not isinstance(key, AssetKey):
        raise InvariantViolationError(f"{key!r} is no asset's key. Write AssetKey({key!r}).")
    _check_list(partitions, "asset_partitions")


def _check_list(given: object, name: str) -> None:
    """A text would be looked at letter by letter."""
    if isinstance(given, str):
        raise InvariantViolationError(f"{name} is a list; it is the text {given!r}. Write [{given!r}].")


class EventLogRecord(NamedTuple):
    """An event of some run, as it is stored; ``storage_id`` grows with each."""

    storage_id: int
    event_log_entry: AnyEvent

    @property
    def run_id(self) -> RunId:
        return self.event_log_entry.run_id

    @property
    def timestamp(self) -> float:
        return self.event_log_entry.at

    @property
    def partition_key(self) -> str | None:
        """Of what was made or looked at."""
        return getattr(self.event_log_entry, "partition", None)

    @property
    def asset_key(self) -> AssetKey | None:
        return self.event_log_entry.asset_key

    @property
    def asset_materialization(self) -> AssetMaterialization | None:
        return self.event_log_entry.asset_materialization

    @property
    def asset_observation(self) -> AssetObservation | None:
        return self.event_log_entry.asset_observation

    @property
    def event_type(self) -> EventType:
        return self.event_log_entry.TYPE


class EventLogConnection(NamedTuple):
    """Some events of a run; ``cursor`` is where the next begin."""

    records: list[EventLogRecord]
    cursor: int
    has_more: bool


class EventRecordsResult(NamedTuple):
    """Some events of all runs; ``cursor`` is where the next begin."""

    records: list[EventLogRecord]
    cursor: str
    has_more: bool


@dataclass(frozen=True, slots=True)
class RunStats:
    """What a run comes to in numbers."""

    run_id: RunId
    steps_succeeded: int
    steps_failed: int
    materializations: int
    launch_time: float  #: when it was created
    start_time: float | None
    end_time: float | None


@dataclass(frozen=True, slots=True)
class Lease:
    """Who drives a run, and until when others leave it alone."""

    owner: str
    expires: float  #: Unix seconds, by the clock of the process that asked
    epoch: int


class LeaseLost(OpGridError):
    """Another process has taken over a run, or a shard, that this one was driving."""

    def __init__(self, whose: str) -> None:
        super().__init__(f"{whose} is driven by another process now; this one stops.")


class RunsHaveEnded(OpGridError):
    """Somebody has ended runs over the head of who drives them."""

    def __init__(self, runs: Sequence[RunId]) -> None:
        super().__init__(f"Somebody has ended what is driven here: {listed(runs)}.")
        self.runs = runs
