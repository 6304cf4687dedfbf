"""Steps whose time runs out end alike on every executor: their hooks run at once, and what they return counts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from opgrid import HookContext, Instance, execute_job, failure_hook, fleet_for_test, job, op, success_hook
from opgrid.contracts.events import HookCompleted, HookErrored, StepFailed, StepSucceeded
from opgrid.errors import ExecutionInterruptedError

pytestmark = pytest.mark.celery

_TIMEOUT = {"opgrid/timeout": "0.5"}


def _wrote(context: HookContext, what: str) -> None:
    with Path(os.environ["OPGRID_TEST_FOLDER"], "hooks").open("a") as file:
        file.write(f"{what} {context.step_key}\n")


@failure_hook
def mourn(context: HookContext) -> None:
    _wrote(context, "mourned")


@success_hook
def cheer(context: HookContext) -> None:
    _wrote(context, "cheered")


@op(tags=_TIMEOUT)
def slow() -> None:
    time.sleep(60)


@op(tags=_TIMEOUT)
def polite() -> int:
    try:
        time.sleep(60)
    except ExecutionInterruptedError:
        time.sleep(0.2)
    return 1


@job(hooks={mourn, cheer})
def late() -> None:
    slow()
    polite()


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPGRID_TEST_FOLDER", str(tmp_path))
    return tmp_path / "hooks"


@pytest.fixture(params=["in_process", "multiprocess", "celery"])
def place(request: pytest.FixtureRequest, hooks: Path) -> Iterator[tuple[str, Instance]]:
    with ExitStack() as stack:
        if request.param == "celery":
            yield "celery", stack.enter_context(fleet_for_test(concurrency=2)).instance
        else:
            yield request.param, stack.enter_context(Instance.local_temp())


def test_hooks_of_a_step_that_timed_out_run_at_once(place: tuple[str, Instance], hooks: Path) -> None:
    executor, instance = place
    with execute_job(late, instance, executor=executor, raise_on_error=False) as result:
        events = result.all_events
        assert result.run.ended is not None
        assert result.run.started is not None
        seconds = result.run.ended - result.run.started
    assert [(event.step, event.timed_out) for event in events if isinstance(event, StepFailed)] == [("slow", True)]
    assert [event.step for event in events if isinstance(event, StepSucceeded)] == ["polite"]
    assert not [event for event in events if isinstance(event, HookErrored)]
    assert sorted(event.step for event in events if isinstance(event, HookCompleted)) == ["polite", "slow"]
    assert sorted(hooks.read_text().splitlines()) == ["cheered polite", "mourned slow"]
    assert seconds < 20  # those that nobody runs are given up after 30
