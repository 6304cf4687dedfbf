"""Runs, as they are read."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar, cast

import msgspec
import strawberry
from graphql import GraphQLError

from opgrid.contracts.events import EventType, LogMessage
from opgrid.contracts.status import RunStatus as Status
from opgrid.contracts.status import StepStatus
from opgrid.ids import RunId
from orchestrator.api.backend import REPOSITORY, Asking, Backend
from orchestrator.api.graphql.events import DagsterEventType, DagsterRunEvent, LogLevel, event_of
from orchestrator.api.graphql.plans import ExecutionPlan
from orchestrator.api.graphql.scalars import Json, RunConfigData, yaml_of
from orchestrator.engine.gates import Gate
from orchestrator.engine.pools import Slot
from orchestrator.planner.flatten import flatten
from orchestrator.planner.plan import Plan
from orchestrator.planner.snapshot import JobSnapshot
from orchestrator.services.submission import why_all_queued
from orchestrator.services.timeline import in_brief, plan_view, timeline
from orchestrator.services.waiting import why_steps_wait
from orchestrator.storage.records import EventsFilter, RunRecord, StepRecord

#: Rows of one page, at most.
PAGE = 1000
#: Events that one question reads, about: in a page, in the runs of a page, or by other names. Steps count as events.
MOST_EVENTS = 50 * PAGE
_STEPS_AT_ONCE = 10 * PAGE  #: that are read for a page of runs
_PLANS_AT_ONCE = 8 * 2**20  #: the same, in bytes
_OF_AN_ATTEMPT = 3  #: events that a timeline is made of: it is sent, begins and ends
_LONGEST_TEXT = 10_000  #: characters that are looked for; SQLite takes 50,000 bytes

_TOLD = (EventType.ASSET_MATERIALIZATION, EventType.STEP_EXPECTATION_RESULT)

Info = strawberry.Info[Asking, None]
T = TypeVar("T")

RunStatus = strawberry.enum(Status, name="RunStatus")


def page(limit: int | None, usual: int = 25) -> int:
    """What is asked for, within bounds."""
    return max(0, min(PAGE, usual if limit is None else limit))


def check_text(text: str | None) -> None:
    """Raises GraphQLError for one that no database looks for."""
    if text is not None and len(text) > _LONGEST_TEXT:
        raise GraphQLError(f"At most {_LONGEST_TEXT:,} characters can be looked for, not {len(text):,}.")


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
    records: Sequence[RunRecord]
    _steps: dict[RunId, list[StepRecord]] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)

    @functools.cached_property
    def run_ids(self) -> list[RunId]:
        return [record.run_id for record in self.records]

    @functools.cached_property
    def counts(self) -> dict[RunId, dict[StepStatus, int]]:
        return self.backend.store.step_counts(self.run_ids)

    def steps(self, run_id: RunId) -> list[StepRecord]:
        """Those of a run, read with those of its part of the runs."""
        if run_id not in self._steps:
            part = self._parts_of_runs[run_id]
            found = self.backend.store.steps_of(part)
            self._steps = {each: found.get(each, []) for each in part}
        return self._steps[run_id]

    @functools.cached_property
    def _parts_of_runs(self) -> dict[RunId, list[RunId]]:
        if len(self.run_ids) == 1:
            return {self.run_ids[0]: self.run_ids}
        return _in_parts(self.run_ids, lambda each: sum(self.counts.get(each, {}).values()), _STEPS_AT_ONCE)

    @functools.cached_property
    def dispatched(self) -> dict[RunId, list[StepRecord]]:
        """Steps of those that go on which wait for somebody to take them: not all that such a run has, and it is asked
        about often.
        """
        going = [record.run_id for record in self.records if not record.status.is_final]
        return self.backend.store.steps_of(going, StepStatus.DISPATCHED) if going else {}

    @functools.cached_property
    def told(self) -> dict[RunId, dict[EventType, int]]:
        return self.backend.store.event_counts(self.run_ids, _TOLD)

    @functools.cached_property
    def gates(self) -> dict[RunId, list[Gate]]:
        found: dict[RunId, list[Gate]] = {}
        for gate in self.backend.store.gates(self.run_ids):
            found.setdefault(gate.run_id, []).append(gate)
        return found

    @functools.cached_property
    def why(self) -> dict[RunId, str]:
        """Of those that are queued."""
        return why_all_queued(self.backend.store, self.records, self.backend.settings.concurrency.runs)

    @functools.cached_property
    def slots(self) -> dict[str, list[Slot]]:
        return self.backend.store.used_slots()

    @functools.cached_property
    def sizes(self) -> dict[str, int]:
        """How many ops the jobs have, by the hash of their snapshot."""
        found = self.backend.store.contents(record.snapshot for record in self.records)
        return {hash: len(list(flatten(JobSnapshot.from_json(body).structure))) for hash, body in found.items()}

    def plan(self, hash: str) -> Plan:
        """Runs of one job and config share theirs. It is read with those of its part of the plans."""
        if hash not in self._plans:
            found = self.backend.store.contents(self._parts_of_plans[hash])
            self._plans = {each: Plan.from_json(body) for each, body in found.items()}
        return self._plans[hash]

    @functools.cached_property
    def _parts_of_plans(self) -> dict[str, list[str]]:
        hashes = list(dict.fromkeys(record.plan for record in self.records))
        if len(hashes) == 1:
            return {hashes[0]: hashes}
        lengths = self.backend.store.content_lengths(hashes)
        return _in_parts(hashes, lambda each: lengths.get(each, 0), _PLANS_AT_ONCE)


def _in_parts(given: Sequence[T], size: Callable[[T], int], most: int) -> dict[T, list[T]]:
    """Of each the part that it is in: neighbours that are not too much together. Whoever goes through them backwards,
    too, reads each part once.
    """
    parts: dict[T, list[T]] = {}
    part: list[T] = []
    together = 0
    for each in given:
        together += size(each)
        if part and together > most:
            part, together = [], size(each)
        part.append(each)
        parts[each] = part
    return parts


@strawberry.type
class PipelineTag:
    key: str
    value: str


@strawberry.input
class RepositorySelector:
    repository_name: str = REPOSITORY
    repository_location_name: str


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

    @strawberry.field(description="Of Dagster's; there are none here.")
    def markers(self) -> list[RunMarker]:
        return []

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
        """Raises GraphQLError for a text that no database looks for."""
        for given in self.text, self.step_key:
            check_text(given)
        types = tuple(EventType(each.value) for each in dict.fromkeys(self.types or ()))
        level = 0 if self.level in (None, LogLevel.DEBUG) else logging.getLevelNamesMapping()[self.level.name]
        return EventsFilter(types, self.step_key, self.text or "", level)


def events_for(
    asking: Asking, run: RunRecord, after: str | None, limit: int | None, wanted: EventsFilterInput | None = None
) -> EventConnection:
    """A page for a question, which may have many of them. Raises GraphQLError."""
    _check_may_read_more(asking)
    found = events_page(asking.backend, run, after, limit, wanted)
    asking.events += len(found.events)
    return found


def _check_may_read_more(asking: Asking) -> None:
    if asking.events >= MOST_EVENTS:
        raise GraphQLError(
            f"One question reads {MOST_EVENTS:,} events at most. Ask for fewer runs, or pages, at a time."
        )


def events_page(
    backend: Backend, run: RunRecord, after: str | None, limit: int | None, wanted: EventsFilterInput | None = None
) -> EventConnection:
    """One page of the log. ``after`` is the cursor of an earlier page."""
    number, most = _number(after), page(limit, PAGE)
    seen = 0 if wanted is None else backend.store.last_event()  # who asks again does not look through it once more
    found = backend.store.events(run.run_id, number, most, None if wanted is None else wanted.record())
    events = [event_of(number, event, run.job) for number, event in found]
    is_full = len(found) == most
    last = found[-1][0] if found else number
    cursor = str(last if is_full else max(last, seen))
    return EventConnection(events=events, cursor=cursor, has_more=is_full and most > 0)  # none come with a limit of 0


def _number(cursor: str | None) -> int:
    """0 for what is no cursor of ours."""
    return int(cursor) if cursor is not None and cursor.isdecimal() and len(cursor) < 19 else 0


@strawberry.interface
class PipelineReference:
    """The job of a run."""

    name: str
    solid_selection: list[str] | None


@strawberry.type
class UnknownPipeline(PipelineReference):
    """As Dagster names one that is known by its name."""


@strawberry.type
class CapturedLogs:
    """What a step printed, as far as it is kept."""

    log_key: list[str]
    stdout: str
    stderr: str
    cursor: str


_STREAM = re.compile(r"std(out|err)$")


def printed(backend: Backend, log_key: list[str], cursor: str | None, limit: int | None) -> CapturedLogs:
    """``log_key`` is (run id, step key)."""
    run_id, step = (*log_key, "", "")[:2]
    check_text(step)
    after = _number(cursor)
    found = backend.store.events(run_id, after, page(limit, 1000), EventsFilter((EventType.LOG_MESSAGE,), step))
    lines: dict[str, list[str]] = {"out": [], "err": []}
    for _, event in found:
        stream = _STREAM.search(event.logger) if isinstance(event, LogMessage) else None
        if stream is not None:
            lines[stream[1]].append(cast(LogMessage, event).message + "\n")
    last = found[-1][0] if found else after
    return CapturedLogs(log_key=log_key, stdout="".join(lines["out"]), stderr="".join(lines["err"]), cursor=str(last))


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
    def step_stats(self, info: Info) -> list[RunStepStats]:
        _check_may_read_more(info.context)
        found = self.batch.steps(self.record.run_id)
        info.context.events += len(found)
        return [RunStepStats.of(self.record.run_id, step) for step in found]

    @strawberry.field
    def stats(self) -> RunStatsSnapshot:
        record, counts = self.record, self.batch.counts.get(self.record.run_id, {})
        told = self.batch.told.get(record.run_id, {})
        return RunStatsSnapshot(
            run_id=record.run_id,
            steps_succeeded=counts.get(StepStatus.SUCCESS, 0),
            steps_failed=counts.get(StepStatus.FAILURE, 0),
            materializations=told.get(EventType.ASSET_MATERIALIZATION, 0),
            expectations=told.get(EventType.STEP_EXPECTATION_RESULT, 0),
            enqueued_time=record.created,
            launch_time=record.created,
            start_time=record.started,
            end_time=record.ended,
        )

    @strawberry.field
    def event_connection(
        self, info: Info, after_cursor: str | None = None, limit: int | None = None
    ) -> EventConnection:
        return events_for(info.context, self.record, after_cursor, limit)

    @property
    def plan_(self) -> Plan:
        return self.batch.plan(self.record.plan)

    def _told_plan(self, asking: Asking) -> Plan:
        """Raises GraphQLError where that would be too much."""
        _check_may_read_more(asking)
        asking.events += len(self.plan_.steps)
        return self.plan_

    @property
    def chosen(self) -> list[str] | None:
        """Keys of the steps that run; None for all of the job."""
        keys: list[str] = [step.key for step in self.plan_.steps if step.runs]
        return keys if len(keys) < self.batch.sizes[self.record.snapshot] else None

    @strawberry.field
    def pipeline_snapshot_id(self) -> str:
        return self.record.brief.job.structure_hash

    @strawberry.field
    def repository_origin(self) -> RepositoryOrigin | None:
        name = self.record.location
        return RepositoryOrigin(repository_location_name=name) if name else None

    @strawberry.field
    def pipeline(self) -> PipelineReference:
        return UnknownPipeline(name=self.record.job, solid_selection=self.chosen)

    @strawberry.field(description="The ops that it is of, where they are not all.")
    def solid_selection(self) -> list[str] | None:
        return self.chosen

    @strawberry.field(description="The steps that it runs, where they are not all.")
    def step_keys_to_execute(self) -> list[str] | None:
        return self.chosen

    @strawberry.field
    def execution_plan(self, info: Info) -> ExecutionPlan:
        return ExecutionPlan.of(self._told_plan(info.context))

    @strawberry.field(description="What a step printed; `fileKey` is its key.")
    def captured_logs(self, file_key: str) -> CapturedLogs:
        return printed(self.batch.backend, [self.record.run_id, file_key], None, None)


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

    @strawberry.field(description="Name of the executor.")
    def executor(self) -> str:
        return self.record.brief.executor.name

    @strawberry.field(description="How many steps stand where, by status.")
    def step_counts(self) -> Json:
        counts = self.batch.counts.get(self.record.run_id, {})
        return Json({status.value: count for status, count in counts.items()})

    @strawberry.field(
        description="When its steps waited and ran: {last, steps: [{key, node, status, spans: [[attempt, dispatched, "
        "started, ended, outcome, worker]]}]}; behind the event `after`, only of steps that have changed. In `brief`, "
        "{last, start, nodes, workers, statuses, steps: [[node, rest of the key, status, attempt, dispatched, started, "
        "ended, outcome, worker, attempt, ...]]}: places in the lists, and microseconds behind `start`."
    )
    def timeline(self, info: Info, after: int = 0, brief: bool = False) -> Json:
        _check_may_read_more(info.context)
        found = timeline(self.batch.backend.store, self.record.run_id, after)
        info.context.events += _OF_AN_ATTEMPT * sum(len(step.spans) for step in found.steps)
        return Json(msgspec.structs.asdict(in_brief(found)) if brief else msgspec.to_builtins(found))

    @strawberry.field(
        description="Its plan: {steps: [{key, op, needs: [{step, output, delivery, input}], mapped, ...}], known}."
    )
    def plan(self, info: Info) -> Json:
        return Json(msgspec.to_builtins(plan_view(self._told_plan(info.context))))

    @strawberry.field(description="Why it is queued, in words; null for a run that is not.")
    def why_waiting(self) -> str | None:
        return self.batch.why.get(self.record.run_id)

    @strawberry.field(description="Why steps of it have not started, in words: a sentence for each thing to wait for.")
    def why_steps_wait(self) -> list[str]:
        waiting = [step.step for step in self.batch.dispatched.get(self.record.run_id, ())]
        return why_steps_wait(self.batch.backend.store, self.record, self.plan_, waiting) if waiting else []

    @strawberry.field
    def run_status(self) -> RunStatus:  # type: ignore[valid-type]
        return self.record.status

    @strawberry.field
    def resolved_op_selection(self) -> list[str] | None:
        return self.chosen

    @strawberry.field(description="That its steps name.")
    def all_pools(self) -> list[str]:
        return sorted({step.pool for step in self.plan_.steps if step.pool is not None})

    @strawberry.field(description="Of the steps that start first.")
    def root_concurrency_keys(self) -> list[str]:
        first = (step for step in plan_view(self.plan_).steps if step.runs and not step.needs)
        return [step.pool for step in first if step.pool is not None]

    @strawberry.field
    def has_concurrency_key_slots(self) -> bool:
        return any(slot.run_id == self.record.run_id for slots in self.batch.slots.values() for slot in slots)

    @strawberry.field(description="Of its steps, oldest first.")
    def approvals(self) -> list[Approval]:
        return [Approval.of(gate) for gate in self.batch.gates.get(self.record.run_id, ())]

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
    batch = Batch(backend, records)
    return [Run(record=record, batch=batch) for record in records]
