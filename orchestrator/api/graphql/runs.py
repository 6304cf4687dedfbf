"""Runs, as they are read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeVar

import msgspec
import strawberry

from opgrid.contracts.events import EventType
from opgrid.contracts.status import RunStatus as Status
from opgrid.contracts.status import StepStatus
from opgrid.ids import RunId
from orchestrator.api.backend import REPOSITORY, Asking, Backend
from orchestrator.api.graphql.errors import PythonError, RunNotFoundError
from orchestrator.api.graphql.events import DagsterEventType, DagsterRunEvent, LogLevel, MessageEvent, event_of
from orchestrator.api.graphql.scalars import Json, RunConfigData, yaml_of
from orchestrator.engine.gates import Gate
from orchestrator.services.submission import why_queued
from orchestrator.services.timeline import plan_of, timeline
from orchestrator.storage.records import ROOT_TAG, EventsFilter, RunRecord, RunsFilter, StepRecord

#: Rows of one page, at most.
PAGE = 1000

Info = strawberry.Info[Asking, None]
T = TypeVar("T")

RunStatus = strawberry.enum(Status, name="RunStatus")


def page(limit: int | None, usual: int = 25) -> int:
    """What is asked for, within bounds."""
    return max(1, min(PAGE, usual if limit is None else limit))


@strawberry.type
class Approval:
    """A step that waits, or waited, for somebody to approve it. Times are Unix seconds."""

    run_id: str
    step_key: str
    question: str
    since: float
    due: float | None
    approved: bool | None = strawberry.field(description="Null: nobody has decided.")
    who: str
    note: str

    @classmethod
    def of(cls, gate: Gate) -> Approval:
        return cls(
            run_id=gate.run_id,
            step_key=gate.step,
            question=gate.question,
            since=gate.since,
            due=gate.due,
            approved=gate.approved,
            who=gate.who,
            note=gate.note,
        )


@dataclass
class Batch:
    """Runs that were read together, so that what one of them needs is read for all."""

    backend: Backend
    run_ids: Sequence[RunId]

    @functools.cached_property
    def counts(self) -> dict[RunId, dict[StepStatus, int]]:
        return self.backend.store.step_counts(self.run_ids)


@strawberry.type
class PipelineTag:
    key: str
    value: str


@strawberry.type
class RepositoryOrigin:
    repository_location_name: str
    repository_name: str = REPOSITORY

    @strawberry.field
    def id(self) -> str:
        return f"{self.repository_location_name}:{self.repository_name}"


@strawberry.type
class RunStatsSnapshot:
    """Times are Unix seconds."""

    run_id: str
    steps_succeeded: int
    steps_failed: int
    materializations: int
    expectations: int
    enqueued_time: float | None
    launch_time: float | None
    start_time: float | None
    end_time: float | None

    @strawberry.field
    def id(self) -> str:
        return f"stats-{self.run_id}"


@strawberry.enum
class StepEventStatus(Enum):
    SKIPPED = "SKIPPED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    IN_PROGRESS = "IN_PROGRESS"


_OF_STEP = {
    StepStatus.SUCCESS: StepEventStatus.SUCCESS,
    StepStatus.FAILURE: StepEventStatus.FAILURE,
    StepStatus.CANCELED: StepEventStatus.FAILURE,
    StepStatus.SKIPPED: StepEventStatus.SKIPPED,
    StepStatus.RUNNING: StepEventStatus.IN_PROGRESS,
}


@strawberry.type
class RunMarker:
    """Times are Unix seconds."""

    start_time: float | None
    end_time: float | None


@strawberry.type
class RunStepStats:
    """Times are Unix seconds, of the last attempt."""

    run_id: str
    step_key: str
    status: StepEventStatus | None
    start_time: float | None
    end_time: float | None
    worker: str | None
    attempt: int

    @strawberry.field
    def attempts(self) -> list[RunMarker]:
        return [RunMarker(start_time=self.start_time, end_time=self.end_time)]

    @classmethod
    def of(cls, run_id: str, step: StepRecord) -> RunStepStats:
        return cls(
            run_id=run_id,
            step_key=step.step,
            status=_OF_STEP.get(step.status),
            start_time=step.started,
            end_time=step.ended,
            worker=step.worker,
            attempt=step.attempt,
        )


@strawberry.type
class EventConnection:
    events: list[DagsterRunEvent]
    cursor: str
    has_more: bool


@strawberry.input
class EventsFilterInput:
    types: list[DagsterEventType] | None = None
    step_key: str | None = None
    text: str | None = strawberry.field(default=None, description="Somewhere in it, in letters of either case.")
    level: LogLevel | None = strawberry.field(default=None, description="That it has at least.")

    def record(self) -> EventsFilter:
        types = tuple(EventType(each.value) for each in self.types or ())
        return EventsFilter(types, self.step_key, self.text or "")


_LEVELS = [LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR, LogLevel.CRITICAL]


def events_page(
    backend: Backend, run_id: str, after: str | None, limit: int | None, wanted: EventsFilterInput | None = None
) -> EventConnection:
    """One page of the log. ``after`` is the cursor of an earlier page."""
    number, most = _number(after), page(limit, PAGE)
    level = _LEVELS.index(wanted.level) if wanted is not None and wanted.level is not None else 0
    filtered = wanted.record() if wanted is not None else None
    events: list[MessageEvent] = []
    while True:
        found = backend.store.events(run_id, number, most, filtered)
        for number, event in found:
            made = event_of(number, event)
            if _LEVELS.index(made.level) >= level:
                events.append(made)
            if len(events) == most:
                break
        has_more = len(found) == most
        if not has_more or len(events) == most:
            return EventConnection(events=events, cursor=str(number), has_more=has_more)


def _number(cursor: str | None) -> int:
    try:
        return max(0, int(cursor or 0))
    except ValueError:
        return 0


@strawberry.interface
class PipelineRun:
    """Where older clients look for Run."""

    record: strawberry.Private[RunRecord]
    batch: strawberry.Private[Batch]

    @strawberry.field
    def id(self) -> strawberry.ID:
        return strawberry.ID(self.record.run_id)

    @strawberry.field
    def run_id(self) -> str:
        return self.record.run_id

    @strawberry.field
    def job_name(self) -> str:
        return self.record.job

    @strawberry.field
    def pipeline_name(self) -> str:
        return self.record.job

    @strawberry.field
    def mode(self) -> str:
        return "default"

    @strawberry.field
    def status(self) -> RunStatus:  # type: ignore[valid-type]
        return self.record.status

    @strawberry.field
    def tags(self) -> list[PipelineTag]:
        return [PipelineTag(key=key, value=value) for key, value in sorted(self.record.tags.items())]

    @strawberry.field
    def run_config(self) -> RunConfigData:
        return RunConfigData(msgspec.to_builtins(self.record.run_config))

    @strawberry.field
    def run_config_yaml(self) -> str:
        return yaml_of(msgspec.to_builtins(self.record.run_config))

    @strawberry.field
    def root_run_id(self) -> str | None:
        return self.record.root_run_id

    @strawberry.field
    def parent_run_id(self) -> str | None:
        return self.record.parent_run_id

    @strawberry.field
    def can_terminate(self) -> bool:
        return not self.record.status.is_final

    @strawberry.field
    def step_stats(self) -> list[RunStepStats]:
        return [
            RunStepStats.of(self.record.run_id, step) for step in self.batch.backend.store.steps(self.record.run_id)
        ]

    @strawberry.field
    def stats(self) -> RunStatsSnapshot:
        record, counts = self.record, self.batch.counts.get(self.record.run_id, {})
        told = EventsFilter((EventType.ASSET_MATERIALIZATION, EventType.STEP_EXPECTATION_RESULT))
        found = [event.TYPE for _, event in self.batch.backend.store.events(record.run_id, wanted=told)]
        return RunStatsSnapshot(
            run_id=record.run_id,
            steps_succeeded=counts.get(StepStatus.SUCCESS, 0),
            steps_failed=counts.get(StepStatus.FAILURE, 0),
            materializations=found.count(EventType.ASSET_MATERIALIZATION),
            expectations=found.count(EventType.STEP_EXPECTATION_RESULT),
            enqueued_time=record.created,
            launch_time=record.created,
            start_time=record.started,
            end_time=record.ended,
        )

    @strawberry.field
    def event_connection(self, after_cursor: str | None = None, limit: int | None = None) -> EventConnection:
        return events_page(self.batch.backend, self.record.run_id, after_cursor, limit)


@strawberry.type
class Run(PipelineRun):
    """Times are Unix seconds."""

    @strawberry.field
    def creation_time(self) -> float:
        return self.record.created

    @strawberry.field
    def start_time(self) -> float | None:
        return self.record.started

    @strawberry.field
    def end_time(self) -> float | None:
        return self.record.ended

    @strawberry.field
    def update_time(self) -> float:
        return self.record.updated

    @strawberry.field
    def repository_origin(self) -> RepositoryOrigin | None:
        name = self.record.brief.job.location
        return RepositoryOrigin(repository_location_name=name) if name else None

    @strawberry.field(description="Name of the executor.")
    def executor(self) -> str:
        return self.record.brief.executor.name

    @strawberry.field(description="How many steps stand where, by status.")
    def step_counts(self) -> Json:
        counts = self.batch.counts.get(self.record.run_id, {})
        return Json({status.value: count for status, count in counts.items()})

    @strawberry.field(
        description="When its steps waited and ran: {last, steps: [{key, node, status, spans: [[attempt, dispatched, "
        "started, ended, outcome, worker]]}]}; behind the event `after`, only of steps that have changed."
    )
    def timeline(self, after: int = 0) -> Json:
        return Json(msgspec.to_builtins(timeline(self.batch.backend.store, self.record.run_id, after)))

    @strawberry.field(
        description="Its plan: {steps: [{key, op, needs: [{step, output, delivery, input}], mapped, ...}], known}."
    )
    def plan(self) -> Json:
        return Json(msgspec.to_builtins(plan_of(self.batch.backend.store, self.record)))

    @strawberry.field(description="Why it is queued, in words; null for a run that is not.")
    def why_waiting(self) -> str | None:
        return why_queued(self.batch.backend.store, self.record, self.batch.backend.settings.concurrency.runs)

    @strawberry.field(description="Of its steps, oldest first.")
    def approvals(self) -> list[Approval]:
        return [Approval.of(gate) for gate in self.batch.backend.store.gates([self.record.run_id])]

    @strawberry.field(description="Why somebody asked for its end.")
    def cancel_reason(self) -> str | None:
        return self.record.cancel

    @strawberry.field
    def has_re_execute_permission(self, info: Info) -> bool:
        return info.context.viewer.role >= 2

    @strawberry.field
    def has_terminate_permission(self, info: Info) -> bool:
        return info.context.viewer.role >= 2

    @strawberry.field
    def has_delete_permission(self, info: Info) -> bool:
        return info.context.viewer.role >= 3


def run_of(backend: Backend, record: RunRecord) -> Run:
    return runs_of(backend, [record])[0]


def runs_of(backend: Backend, records: Sequence[RunRecord]) -> list[Run]:
    batch = Batch(backend, [record.run_id for record in records])
    return [Run(record=record, batch=batch) for record in records]


# ---- queries -------------------------------------------------------------------------------------------------------


@strawberry.input
class TagInput:
    key: str
    value: str


@strawberry.input
class RunsFilterInput:
    run_ids: list[str] | None = strawberry.field(name="runIds", default=None)
    pipeline_name: str | None = None
    job_name: str | None = None
    tags: list[TagInput] | None = None
    statuses: list[RunStatus] | None = None  # type: ignore[valid-type]
    snapshot_id: str | None = None
    updated_after: float | None = None
    updated_before: float | None = None
    created_after: float | None = None
    created_before: float | None = None
    mode: str | None = None

    def record(self) -> RunsFilter:
        return RunsFilter(
            tuple(self.run_ids or ()),
            self.job_name or self.pipeline_name,
            tuple(self.statuses or ()),
            {tag.key: tag.value for tag in self.tags or ()},
            self.snapshot_id,
            self.created_after,
            self.created_before,
            self.updated_after,
            self.updated_before,
        )


@strawberry.interface
class PipelineRuns:
    """Where older clients look for Runs."""

    wanted: strawberry.Private[RunsFilter]
    backend: strawberry.Private[Backend]
    results: list[Run]

    @strawberry.field(description="Of all pages.")
    def count(self) -> int:
        return self.backend.store.count(self.wanted)


@strawberry.type
class Runs(PipelineRuns):
    pass


@strawberry.type
class InvalidPipelineRunsFilterError:
    message: str


@strawberry.type
class RunGroup:
    """A run and those that re-execute it."""

    root_run_id: str
    runs: list[Run]


@strawberry.type
class RunTag:
    key: str
    values: list[str]


@strawberry.type
class RunTagKeys:
    keys: list[str]


@strawberry.type
class RunTags:
    tags: list[RunTag]


RunOrError = Annotated[Run | RunNotFoundError | PythonError, strawberry.union("RunOrError")]
RunsOrError = Annotated[Runs | InvalidPipelineRunsFilterError | PythonError, strawberry.union("RunsOrError")]
RunGroupOrError = Annotated[RunGroup | RunNotFoundError | PythonError, strawberry.union("RunGroupOrError")]
EventConnectionOrError = Annotated[
    EventConnection | RunNotFoundError | PythonError, strawberry.union("EventConnectionOrError")
]
RunTagKeysOrError = Annotated[RunTagKeys | PythonError, strawberry.union("RunTagKeysOrError")]
RunTagsOrError = Annotated[RunTags | PythonError, strawberry.union("RunTagsOrError")]


def with_run(info: Info, run_id: str, answer: Callable[[RunRecord], T]) -> T | RunNotFoundError:
    record = info.context.store.run(run_id)
    return RunNotFoundError.of(run_id) if record is None else answer(record)


def list_runs(info: Info, wanted: RunsFilterInput | None, cursor: str | None, limit: int | None) -> Runs:
    backend = info.context.backend
    chosen = wanted.record() if wanted is not None else RunsFilter()
    records = backend.store.runs(chosen, page(limit), cursor)
    return Runs(wanted=chosen, backend=backend, results=runs_of(backend, records))


@strawberry.type
class RunQueries:
    @strawberry.field
    def run_or_error(self, info: Info, run_id: strawberry.ID) -> RunOrError:
        return with_run(info, run_id, lambda record: run_of(info.context.backend, record))

    @strawberry.field
    def pipeline_run_or_error(self, info: Info, run_id: strawberry.ID) -> RunOrError:
        return with_run(info, run_id, lambda record: run_of(info.context.backend, record))

    @strawberry.field
    def runs_or_error(
        self,
        info: Info,
        wanted: Annotated[RunsFilterInput | None, strawberry.argument(name="filter")] = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> RunsOrError:
        return list_runs(info, wanted, cursor, limit)

    @strawberry.field
    def pipeline_runs_or_error(
        self,
        info: Info,
        wanted: Annotated[RunsFilterInput | None, strawberry.argument(name="filter")] = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> RunsOrError:
        return list_runs(info, wanted, cursor, limit)

    @strawberry.field
    def run_group_or_error(self, info: Info, run_id: strawberry.ID) -> RunGroupOrError:
        return with_run(info, run_id, lambda record: _group(info.context.backend, record))

    @strawberry.field
    def logs_for_run(
        self,
        info: Info,
        run_id: strawberry.ID,
        after_cursor: str | None = None,
        limit: int | None = None,
        wanted: Annotated[EventsFilterInput | None, strawberry.argument(name="filter")] = None,
    ) -> EventConnectionOrError:
        return with_run(
            info, run_id, lambda record: events_page(info.context.backend, record.run_id, after_cursor, limit, wanted)
        )

    @strawberry.field
    def run_tag_keys_or_error(self, info: Info) -> RunTagKeysOrError:
        return RunTagKeys(keys=info.context.store.tag_keys())

    @strawberry.field
    def run_tags_or_error(
        self,
        info: Info,
        tag_keys: list[str] | None = None,
        value_prefix: str | None = None,
        limit: int | None = None,
    ) -> RunTagsOrError:
        store = info.context.store
        keys = (store.tag_keys() if tag_keys is None else tag_keys)[:100]
        return RunTags(
            tags=[RunTag(key=key, values=store.tag_values(key, value_prefix or "", page(limit, 100))) for key in keys]
        )


def _group(backend: Backend, record: RunRecord) -> RunGroup:
    root = record.root_run_id or record.run_id
    first = backend.store.run(root)
    group = ([first] if first is not None else []) + backend.store.runs(RunsFilter(tags={ROOT_TAG: root}), PAGE)[::-1]
    return RunGroup(root_run_id=root, runs=runs_of(backend, group))
