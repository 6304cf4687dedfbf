"""Subscriptions: events of a run as they come, and what else changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from opgrid.ids import RunId
from orchestrator.api.graphql.events import DagsterRunEvent
from orchestrator.api.graphql.runs import Info, Run, events_page, run_of
from orchestrator.api.pulse import Topic, Watcher

_MOST = 250  #: events of one message: while it is made, nothing else is answered

strawberry.enum(Topic, name="ChangeTopic")


@strawberry.type
class PipelineRunLogsSubscriptionSuccess:
    run: Run
    messages: list[DagsterRunEvent]
    has_more_past_events: bool
    cursor: str = strawberry.field(description="Where a later subscription goes on.")


@strawberry.type
class PipelineRunLogsSubscriptionFailure:
    message: str
    missing_run_id: str | None


@strawberry.type
class Changes:
    """Something has changed; who shows it asks again."""

    topics: list[Topic]
    run_ids: list[str] | None = strawberry.field(description="Null: too many to name.")


PipelineRunLogsSubscriptionPayload = Annotated[
    PipelineRunLogsSubscriptionSuccess | PipelineRunLogsSubscriptionFailure,
    strawberry.union("PipelineRunLogsSubscriptionPayload"),
]


@strawberry.type
class LiveSubscriptions:
    @strawberry.subscription(description="From the cursor on, or from the first event; it ends with the run.")
    async def pipeline_run_logs(
        self, info: Info, run_id: strawberry.ID, cursor: str | None = None
    ) -> AsyncGenerator[PipelineRunLogsSubscriptionPayload, None]:
        backend, last = info.context.backend, cursor
        with backend.heart.watching() as watcher:
            while True:
                async with info.context.telling:
                    record = await asyncio.to_thread(backend.store.run, run_id)
                    if record is None:
                        message = f"There is no run {run_id!r}."
                        yield PipelineRunLogsSubscriptionFailure(message=message, missing_run_id=run_id)
                        return
                    found = await asyncio.to_thread(events_page, backend, record, last, _MOST)
                    if found.events or last is None or record.status.is_final:
                        last = found.cursor
                        info.context.events = 0  # each message is a question of its own
                        await backend.making.acquire()
                        asyncio.get_running_loop().call_soon(backend.making.release)  # made by then, before all else
                        yield PipelineRunLogsSubscriptionSuccess(
                            run=run_of(backend, record),
                            messages=found.events,
                            has_more_past_events=found.has_more,
                            cursor=last,
                        )
                if found.has_more:
                    continue
                if record.status.is_final or not await concerns(watcher, RunId(run_id)):
                    return

    @strawberry.subscription(description="What changes from now on, at most five times a second.")
    async def changes(self, info: Info) -> AsyncGenerator[Changes, None]:
        with info.context.backend.heart.watching() as watcher:
            while (change := await watcher.get()) is not None:
                runs = None if change.runs is None else [str(run_id) for run_id in sorted(change.runs)]
                yield Changes(topics=sorted(change.topics), run_ids=runs)


async def concerns(watcher: Watcher, run_id: RunId) -> bool:
    """Wait for what happens to a run; False when the service ends."""
    while (change := await watcher.get()) is not None:
        if change.runs is None or run_id in change.runs:
            return True
    return False
