"""Questions about runs: one of them, a page, those that began with the same one, their events and their tags."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, TypeVar

import strawberry
from graphql import GraphQLError

from opgrid.errors import UnknownCursor
from orchestrator.api.backend import Backend
from orchestrator.api.graphql.errors import PythonError, RunNotFoundError
from orchestrator.api.graphql.runs import (
    PAGE,
    EventConnection,
    EventsFilterInput,
    Info,
    Run,
    RunStatus,
    check_text,
    events_for,
    page,
    run_of,
    runs_of,
)
from orchestrator.storage.records import ROOT_TAG, RunRecord, RunsFilter

T = TypeVar("T")

_MOST_TAGS = 100  #: that a filter names: each is a condition of its own
#: The beginning of a run id, as pages show it.
_SHORT = re.compile(r"[0-9a-f-]{6,35}")


@strawberry.input(name="ExecutionTag")
class TagInput:
    key: str
    value: str


@strawberry.input(name="RunsFilter")
class RunsFilterInput:
    run_ids: list[str | None] | None = strawberry.field(name="runIds", default=None)
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
    repository_location_name: str | None = None

    def record(self) -> RunsFilter:
        """Raises GraphQLError for more than a database is asked for at a time."""
        for what, named, most in (("runs", self.run_ids, PAGE), ("tags", self.tags, _MOST_TAGS)):
            if named is not None and len(named) > most:
                raise GraphQLError(f"A filter names at most {most:,} {what}, and this one {len(named):,}.")
        tags: dict[str, list[str]] = {}
        for tag in self.tags or ():
            tags.setdefault(tag.key, []).append(tag.value)
        return RunsFilter(
            run_ids=tuple(each for each in self.run_ids or () if each is not None),
            job_name=self.job_name or self.pipeline_name,
            statuses=tuple(dict.fromkeys(self.statuses or ())),
            tags=tags,
            snapshot_id=self.snapshot_id,
            updated_after=self.updated_after,
            updated_before=self.updated_before,
            created_after=self.created_after,
            created_before=self.created_before,
            location=self.repository_location_name,
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
    record = found_run(info.context.backend, run_id)
    return RunNotFoundError.of(run_id) if record is None else answer(record)


def found_run(backend: Backend, run_id: str) -> RunRecord | None:
    """By its id, or by the beginning of one that no other run has."""
    record = backend.store.run(run_id)
    if record is None and _SHORT.fullmatch(run_id):
        found = backend.store.find(run_id, 2)
        record = backend.store.run(found[0]) if len(found) == 1 else None
    return record


def list_runs(info: Info, wanted: RunsFilterInput | None, cursor: str | None, limit: int | None) -> Runs | PythonError:
    backend = info.context.backend
    chosen = wanted.record() if wanted is not None else RunsFilter()
    if any(map(_SHORT.fullmatch, chosen.run_ids)):
        ids = [
            found
            for each in chosen.run_ids
            for found in (backend.store.find(each, PAGE) if _SHORT.fullmatch(each) else [each])
        ]
        chosen = dataclasses.replace(chosen, run_ids=tuple(ids) or chosen.run_ids)
    try:
        records = backend.store.runs(chosen, page(limit), cursor)
    except UnknownCursor as error:
        return PythonError(message=str(error))
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
        return with_run(info, run_id, lambda record: events_for(info.context, record, after_cursor, limit, wanted))

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
        check_text(value_prefix)
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
