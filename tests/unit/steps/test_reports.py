"""What is told of an attempt says which one it was, and when."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from opgrid.contracts.events import ErrorInfo, StepEvent
from opgrid.contracts.tasks import StepTask
from opgrid.ids import NodePath, RunId, StepKey
from opgrid.steps import reports

TASK = StepTask(RunId("r"), StepKey("g.a"), NodePath("g.a"), op="a", attempt=3, timeout=2.0)


@pytest.mark.parametrize(
    "tell",
    [
        lambda: reports.started(TASK, 7, "c", "w"),
        lambda: reports.canceled(TASK),
        lambda: reports.unable(TASK, ErrorInfo("LoadError", "no such module")),
        lambda: reports.timed_out(TASK, 2.5),
    ],
)
def test_which_attempt_it_was_and_when(tell: Callable[[], StepEvent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1234.5)
    event = tell()
    assert (event.run_id, event.step, event.attempt, event.at) == ("r", "g.a", 3, 1234.5)


def test_what_could_not_be_run_is_not_tried_again_and_what_took_too_long_may_be() -> None:
    assert not reports.unable(TASK, ErrorInfo("LoadError", "no such module")).allow_retries
    late = reports.timed_out(TASK, 2.5)
    assert late.allow_retries and late.timed_out and late.seconds == 2.5
    assert late.error.message == "Step 'g.a' was stopped after 2.5 s: its timeout is 2 s."
