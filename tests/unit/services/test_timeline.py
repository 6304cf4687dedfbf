"""When steps waited and ran, as it is told to who watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    LogMessage,
    RetryDue,
    StepDispatched,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.status import StepStatus
from opgrid.ids import NodePath, RunId, StepKey, node_of
from orchestrator.services import timeline as module
from orchestrator.services.timeline import Span, StepTimes, Timeline, in_brief, timeline
from orchestrator.storage.memory import MemoryStore
from orchestrator.storage.protocols import Store
from orchestrator.storage.sql import log
from orchestrator.storage.sql.store import SqlStore

RUN = RunId("r")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with closing(MemoryStore() if request.param == "memory" else SqlStore(f"sqlite:///{tmp_path / 'o.db'}")) as made:
        yield made


def told(store: Store, *events: AnyEvent) -> None:
    with store.turn() as turn:
        turn.append(RUN, events)


def dispatched(step: str, at: float, attempt: int = 1) -> StepDispatched:
    return StepDispatched(run_id=RUN, at=at, step=StepKey(step), attempt=attempt)


def skipped(step: str, at: float) -> StepSkipped:
    return StepSkipped(run_id=RUN, at=at, step=StepKey(step), attempt=1)


def ran(step: str, at: float, attempt: int = 1, fails: bool = False) -> list[AnyEvent]:
    about: dict[str, Any] = {"run_id": RUN, "step": StepKey(step), "attempt": attempt}
    began: list[AnyEvent] = [StepStarted(at=at, worker="w", **about), LogMessage(at=at, message="x", **about)]
    if fails:
        error = ErrorInfo("E", "no")
        return [*began, StepFailed(at=at + 1, error=error, **about), StepUpForRetry(at=at + 1, **about)]
    return [*began, StepSucceeded(at=at + 1, **about)]


@pytest.mark.parametrize("page", [1, 7, 1000])
def test_what_has_changed_is_told_with_all_that_was_told_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(module, "_PAGE", page)
    names = [f"s[{number}]" for number in range(10)]
    told(store, *(dispatched(name, 1.0) for name in names))
    for place, name in enumerate(names):
        told(store, *ran(name, 2.0 + place, fails=place % 3 == 0))
        if place % 9 == 0:
            retry = RetryDue(run_id=RUN, at=60.0, step=StepKey(name), attempt=2)
            told(store, retry, dispatched(name, 61.0, 2), *ran(name, 62.0, 2))
    told(store, skipped("skipped", 70.0))
    whole = {step.key: step for step in timeline(store, RUN).steps}
    assert len(whole) == 11
    everything = store.events(RUN)
    for number, _ in everything:
        behind = {getattr(event, "step", None) for at, event in everything if at > number}
        found = timeline(store, RUN, number)
        assert {step.key: step for step in found.steps} == {key: whole[key] for key in whole if key in behind}
        assert found.last in (number, everything[-1][0])


def test_a_whole_log_is_never_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        told(store, dispatched(f"s[{number}]", number), *ran(f"s[{number}]", number + 0.5, fails=number % 3 == 0))
    whole = timeline(store, RUN)
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    with patch.object(store, "events", wraps=store.events) as read:
        assert timeline(store, RUN) == whole
    assert read.call_count == 10  # 20 were sent, 20 began, 20 ended, and 7 are to be tried again
    assert {call.args[2] for call in read.call_args_list} == {7}


@pytest.mark.parametrize("news", [ran("last", 2002.0), [skipped("other", 2002.0), *ran("last", 2002.0)]])
def test_what_has_changed_is_not_read_from_the_beginning(tmp_path: Path, news: list[AnyEvent]) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path / 'o.db'}")) as store:
        steps = [[dispatched(f"s[{number}]", number), *ran(f"s[{number}]", number)] for number in range(2000)]
        told(store, *(event for events in steps for event in events))
        told(store, dispatched("last", 2001.0))
        seen = store.events(RUN)[-1][0]
        told(store, *news)
        with patch.object(log, "_events_of", wraps=log._events_of) as read:
            step, *_ = timeline(store, RUN, seen).steps
        assert (step.key, len(step.spans), read.call_count < 60) == ("last", 1, True)


def test_in_brief_it_is_the_same(store: Store) -> None:
    told(
        store, dispatched("s[a]", 1764289444.123456), *ran("s[a]", 1764289444.2, fails=True), skipped("z", 1764289446.0)
    )
    told(store, dispatched("s[b]", 1764289445.0), dispatched("s[a]", 1764289446.5, 2))
    told(store, *ran("s[a]", 1764289446.75, 2))
    whole = timeline(store, RUN)
    assert [(step.key, step.status, len(step.spans)) for step in whole.steps] == [
        ("s[a]", "SUCCESS", 2),
        ("z", "SKIPPED", 0),
        ("s[b]", "DISPATCHED", 1),
    ]
    brief = in_brief(whole)
    assert (brief.last, brief.start, brief.nodes, brief.workers) == (
        whole.last,
        1764289444.123456,
        ["s", "z"],
        ["w", ""],
    )

    def at(value: Any) -> float | None:
        return None if value is None else round(brief.start + value / 1e6, 5)

    found = []
    for node, rest, status, *values in brief.steps:
        key = StepKey(brief.nodes[int(str(node))] + str(rest))
        spans = []
        for attempt, dispatched_at, started, ended, outcome, worker in batched(values, 6):
            ending = StepStatus(brief.statuses[outcome])
            spans.append(Span(attempt, at(dispatched_at), at(started), at(ended), ending, brief.workers[worker]))
        found.append(StepTimes(key, node_of(key), StepStatus(brief.statuses[int(str(status))]), spans))
    for span in (span for step in whole.steps for span in step.spans):
        span.dispatched, span.started, span.ended = (
            None if each is None else round(each, 5) for each in (span.dispatched, span.started, span.ended)
        )
    assert found == whole.steps


def batched(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def test_nothing_is_nothing_in_brief() -> None:
    assert in_brief(Timeline(7, [])).steps == []


def test_a_step_is_a_third_as_long_in_brief() -> None:
    spans = [
        Span(1, 1764289444.123456, 1764289444.234567, 1764289445.345678, StepStatus.SUCCESS, "celery@host-7.example")
    ]
    steps = [
        StepTimes(StepKey(f"load[key_{number}]"), NodePath("load"), StepStatus.SUCCESS, spans) for number in range(1000)
    ]
    whole = Timeline(9, steps)
    assert len(msgspec.json.encode(in_brief(whole))) < len(msgspec.json.encode(whole)) / 3
