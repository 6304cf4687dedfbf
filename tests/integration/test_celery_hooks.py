"""Hooks of steps whose process died, on real Celery workers: another one runs them, once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from opgrid import HookContext, OpExecutionContext, execute_job, failure_hook, fleet_for_test, job, op, success_hook
from opgrid.contracts.events import HookCompleted, HookErrored, StepFailed, StepLost, StepSucceeded

pytestmark = pytest.mark.celery


def write(context: HookContext | OpExecutionContext, name: str, text: str) -> None:
    with (Path(os.environ["OPGRID_TEST_FOLDER"]) / name).open("a") as file:
        file.write(f"{text}\n")


@failure_hook
def mourn(context: HookContext) -> None:
    write(context, "mourned", f"{context.step_key} {context.op_exception}")


@success_hook
def dies_at_first(context: HookContext) -> None:
    mark = Path(os.environ["OPGRID_TEST_FOLDER"]) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    write(context, "cheered", context.step_key)


@op
def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@op
def lives() -> int:
    return 1


@success_hook
def cheer(context: HookContext) -> None:
    write(context, "cheered", context.step_key)


@job(hooks={cheer})
def cheered() -> None:
    lives()


@job
def mortal() -> None:
    dies.with_hooks({mourn})()
    lives.with_hooks({dies_at_first})()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPGRID_TEST_FOLDER", str(tmp_path))
    return tmp_path


def test_hooks_of_steps_whose_process_died_run_elsewhere_once(folder: Path) -> None:
    with (
        fleet_for_test(concurrency=2) as fleet,
        execute_job(mortal, fleet.instance, executor="celery", raise_on_error=False) as result,
    ):
        events = result.all_events
    assert [event.step for event in events if isinstance(event, StepFailed)] == ["dies"]
    assert [event.step for event in events if isinstance(event, StepSucceeded)] == ["lives"]
    assert not [event for event in events if isinstance(event, HookErrored)]
    assert sorted(event.step for event in events if isinstance(event, HookCompleted)) == ["dies", "lives"]
    (line,) = (folder / "mourned").read_text().splitlines()
    assert line.startswith("dies PoisonStep")
    assert (folder / "cheered").read_text() == "lives\n"


@pytest.mark.parametrize(("point", "losses"), [("outputs stored", 1), ("finish before", 1), ("finish after", 0)])
def test_hooks_of_a_step_whose_process_dies_about_when_it_ends_run_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, point: str, losses: int
) -> None:
    crash = folder / "crash"
    crash.write_text(f"{point} 1")
    monkeypatch.setenv("OPGRID_CRASH_AT", str(crash))
    with fleet_for_test() as fleet, execute_job(cheered, fleet.instance, executor="celery") as result:
        events = result.all_events
    assert not crash.exists()
    assert sum(isinstance(event, StepLost) and not event.after_end for event in events) == losses
    assert [event.step for event in events if isinstance(event, StepSucceeded)] == ["lives"]
    assert [type(event) for event in events if isinstance(event, HookCompleted | HookErrored)] == [HookCompleted]
    assert (folder / "cheered").read_text() == "lives\n"
