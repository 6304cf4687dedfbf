"""When the steps of a run waited and ran: what a Gantt chart shows, read from the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from opgrid.contracts.events import (
    AnyEvent,
    EventType,
    RetryDue,
    StepCanceled,
    StepDispatched,
    StepFailed,
    StepLost,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.status import StepStatus
from opgrid.ids import StepKey, node_of
from orchestrator.planner.plan import NEVER, FromStep, FromSteps, Plan, StepSpec
from orchestrator.storage.protocols import Store
from orchestrator.storage.records import EventsFilter

_TYPES: Final = (
    EventType.STEP_DISPATCHED,
    EventType.STEP_RESTARTED,
    EventType.STEP_START,
    EventType.STEP_SUCCESS,
    EventType.STEP_FAILURE,
    EventType.STEP_LOST,
    EventType.STEP_CANCELED,
    EventType.STEP_SKIPPED,
    EventType.STEP_UP_FOR_RETRY,
)


_PLACES: Final = {status: place for place, status in enumerate(StepStatus)}
_PAGE: Final = 1000  #: events that are read back at first
_AT_ONCE: Final = 20_000  #: events that are held at a time


class Span(msgspec.Struct, array_like=True, gc=False):
    """One attempt of a step."""

    attempt: int
    dispatched: float | None = None
    started: float | None = None
    ended: float | None = None
    outcome: StepStatus = StepStatus.DISPATCHED
    worker: str = ""


class StepTimes(msgspec.Struct, gc=False):
    key: StepKey
    node: str  #: the key without the mapping keys
    status: StepStatus = StepStatus.PENDING
    spans: list[Span] = []


class Timeline(msgspec.Struct):
    """Times are Unix seconds. ``last`` is the number of the last event that is in it."""

    last: int
    steps: list[StepTimes]


class BriefTimeline(msgspec.Struct):
    """A timeline in less than half of the room: of many steps it is the most that a page fetches.

    A row is ``[node, rest, status, attempt, dispatched, started, ended, outcome, worker, attempt, ...]``: six values
    for each attempt. ``node``, ``status``, ``outcome`` and ``worker`` are places in the lists, ``rest`` is what stands
    behind the node in the key of the step; times are microseconds behind ``start``, in Unix seconds, or None.
    """

    last: int
    start: float
    nodes: list[str]
    workers: list[str]
    statuses: list[str]
    steps: list[list[int | str | None]]


def timeline(store: Store, run_id: str, after: int = 0) -> Timeline:
    """Of the whole run, or of the steps that have changed behind an event; then with all their spans."""
    steps: dict[StepKey, StepTimes] = {}
    last = after
    if after:
        found = store.events(run_id, after, wanted=EventsFilter(_TYPES))
        events = [event for _, event in found]
        _take_all(steps, _earlier(store, run_id, after, events) if events else [])
        _take_all(steps, events)
        last = found[-1][0] if found else after
    else:
        for page in _pages(store, run_id):
            _take_all(steps, [event for _, event in page])
            last = page[-1][0]
    return Timeline(last, list(steps.values()))


def _pages(store: Store, run_id: str) -> Iterator[list[tuple[int, AnyEvent]]]:
    """From the beginning on: of a run of a million steps, the events take gigabytes."""
    page = store.events(run_id, 0, _AT_ONCE, EventsFilter(_TYPES))
    while page:
        yield page
        last = page[-1][0]
        page = store.events(run_id, last, _AT_ONCE, EventsFilter(_TYPES)) if len(page) == _AT_ONCE else []


def in_brief(whole: Timeline) -> BriefTimeline:
    times = (at for step in whole.steps for span in step.spans[:1] for at in (span.dispatched, span.started) if at)
    start = min(times, default=0.0)
    nodes: dict[str, int] = {}
    workers: dict[str, int] = {}
    rows: list[list[int | str | None]] = []
    for step in whole.steps:
        node = step.node
        row: list[int | str | None] = [nodes.setdefault(node, len(nodes)), step.key[len(node) :], _PLACES[step.status]]
        for span in step.spans:
            dispatched, started, ended = span.dispatched, span.started, span.ended
            row += (
                span.attempt,
                None if dispatched is None else round((dispatched - start) * 1e6),
                None if started is None else round((started - start) * 1e6),
                None if ended is None else round((ended - start) * 1e6),
                _PLACES[span.outcome],
                workers.setdefault(span.worker, len(workers)),
            )
        rows.append(row)
    return BriefTimeline(whole.last, start, list(nodes), list(workers), [each.value for each in StepStatus], rows)


def _earlier(store: Store, run_id: str, until: int, events: list[AnyEvent]) -> list[AnyEvent]:
    """What was told up to this number of the steps that these events are of. It is read back to where the last of them
    began, which is not long ago, rather than from the beginning.
    """
    sought = {_step_of(event) for event in events} - {_step_of(event) for event in events if _begins(event)}
    found: list[AnyEvent] = []
    before, size = until + 1, _PAGE
    while sought:
        page = store.events_before(run_id, before, size, EventsFilter(_TYPES))
        for _, event in page:
            if _step_of(event) in sought:
                found.append(event)
                if _begins(event):
                    sought.discard(_step_of(event))
        if len(page) < size:
            break
        before, size = page[-1][0], 2 * size
    return found[::-1]


def _begins(event: AnyEvent) -> bool:
    """Whether nothing was told of its step before."""
    return isinstance(event, StepSkipped) or (isinstance(event, StepDispatched) and event.attempt == 1)


def _step_of(event: AnyEvent) -> StepKey:
    step: StepKey = event.step  # type: ignore[assignment,union-attr]  # of these types all have one
    return step


def _take_all(steps: dict[StepKey, StepTimes], events: list[AnyEvent]) -> None:
    for event in events:
        key = _step_of(event)
        step = steps.get(key)
        if step is None:
            step = steps[key] = StepTimes(key, node_of(key))
        _take(step, event)


def _take(step: StepTimes, event: AnyEvent) -> None:
    match event:
        case StepStarted(attempt=attempt, at=at, worker=worker):
            span = _span(step, attempt)
            span.started, span.worker, span.outcome = at, worker, StepStatus.RUNNING
            step.status = StepStatus.RUNNING
        case StepSucceeded(attempt=attempt, at=at):
            _end(step, attempt, at, StepStatus.SUCCESS)
        case StepDispatched(attempt=attempt, at=at) | RetryDue(attempt=attempt, at=at):
            span = _span(step, attempt)
            span.dispatched = span.dispatched or at
            step.status = StepStatus.DISPATCHED
        case StepFailed(attempt=attempt, at=at):
            _end(step, attempt, at, StepStatus.FAILURE)
        case StepLost(attempt=attempt, at=at):
            _end(step, attempt, at, StepStatus.FAILURE)
            step.status = StepStatus.DISPATCHED
        case StepCanceled(attempt=attempt, at=at):
            _end(step, attempt, at, StepStatus.CANCELED)
        case StepUpForRetry(attempt=attempt, at=at):
            _end(step, attempt, at, StepStatus.FAILURE)
            step.status = StepStatus.WAITING
        case StepSkipped():
            step.status = StepStatus.SKIPPED
        case _:
            pass


def _span(step: StepTimes, attempt: int) -> Span:
    for span in reversed(step.spans):
        if span.attempt == attempt:
            return span
    step.spans.append(Span(attempt))
    return step.spans[-1]


def _end(step: StepTimes, attempt: int, at: float, outcome: StepStatus) -> None:
    span = _span(step, attempt)
    if span.ended is None:
        span.ended, span.outcome = at, outcome
    step.status = outcome


# ---- the plan ------------------------------------------------------------------------------------------------------


class Need(msgspec.Struct):
    step: str
    output: str
    delivery: str
    input: str


class PlannedStep(msgspec.Struct, omit_defaults=True):
    key: str
    op: str
    needs: list[Need]
    mapped: int = 0  #: how many fan-outs it is in
    runs: bool = True
    inputs: dict[str, str] = {}  #: where each that no step feeds comes from
    outputs: dict[str, str] = {}  #: types by name
    dynamic: bool = False
    pool: str | None = None
    queue: str | None = None
    priority: int = 0
    timeout: float | None = None
    retries: int = 0
    trigger: str = ""
    executor: str | None = None
    alone: bool = False  #: never in one message with others


class PlanView(msgspec.Struct):
    steps: list[PlannedStep]
    known: list[str]  #: steps of an earlier run that count as done


def plan_view(plan: Plan) -> PlanView:
    """A plan as pages draw it."""
    return PlanView([_planned(spec) for spec in plan.steps], [known.step for known in plan.known])


def _planned(spec: StepSpec) -> PlannedStep:
    needs = []
    others = {}
    for given in spec.inputs:
        if isinstance(given.feed, FromStep | FromSteps):
            feeds = given.feed.items if isinstance(given.feed, FromSteps) else (given.feed,)
            needs += [Need(feed.step, feed.output, feed.delivery.value, given.name) for feed in feeds]
        else:
            others[given.name] = type(given.feed).__name__.removeprefix("From").lower()
    return PlannedStep(
        spec.key,
        spec.op,
        needs,
        len(spec.scope),
        spec.runs,
        others,
        {output.name: output.type for output in spec.outputs},
        any(output.dynamic for output in spec.outputs),
        spec.pool,
        spec.queue,
        spec.priority,
        spec.timeout,
        spec.retry.max_retries if spec.retry else 0,
        spec.trigger.value,
        spec.executor,
        spec.fuse == NEVER,
    )
