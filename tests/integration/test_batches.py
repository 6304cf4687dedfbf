"""Steps that share a message with others on their way to a Celery worker: on a real one."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from opgrid import DynamicOut, DynamicOutput, OpExecutionContext, execute_job, fleet_for_test, job, op
from opgrid.contracts.events import StepLost, StepStarted, StepSucceeded

pytestmark = pytest.mark.celery

_STEPS = 120


@op(out=DynamicOut())
def numbers() -> Iterator[DynamicOutput[int]]:
    for number in range(_STEPS):
        yield DynamicOutput(number, mapping_key=str(number))


@op(config_schema={"slow": int, "dies": int, "folder": str})
def work(context: OpExecutionContext, number: int) -> int:
    """The slow one ends when all others have run."""
    folder = Path(context.op_config["folder"])
    mark = folder / "died"
    if number == context.op_config["slow"]:
        until = time.monotonic() + 60
        while len(list(folder.glob("run-*"))) < _STEPS - 1:
            assert time.monotonic() < until, "it holds up others"
            time.sleep(0.02)
    elif context.op_config["slow"] >= 0:
        (folder / f"run-{number}").touch()
    if number == context.op_config["dies"] and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@job
def fan() -> None:
    total(numbers().map(work).collect())


def config(folder: Path, slow: int = -1, dies: int = -1) -> dict[str, object]:
    return {"ops": {"work": {"config": {"slow": slow, "dies": dies, "folder": str(folder)}}}}


def test_a_step_that_takes_long_holds_up_none_that_came_with_it(tmp_path: Path) -> None:
    with fleet_for_test(concurrency=2) as fleet:
        for slow in (-1, 90):  # the first run shows how quick they are
            with execute_job(fan, fleet.instance, run_config=config(tmp_path, slow), executor="celery") as result:
                assert result.output_for_node("total") == _STEPS * (_STEPS - 1) // 2
                starts = Counter(event.step for event in result.all_events if isinstance(event, StepStarted))
                assert len(starts) == _STEPS + 2
                assert set(starts.values()) == {1}


def test_a_process_that_dies_loses_the_step_that_ran_and_no_other(tmp_path: Path) -> None:
    with fleet_for_test(concurrency=1) as fleet:
        for dies in (-1, 100):
            with execute_job(fan, fleet.instance, run_config=config(tmp_path, dies=dies), executor="celery") as result:
                assert result.output_for_node("total") == _STEPS * (_STEPS - 1) // 2
                lost = [event.step for event in result.all_events if isinstance(event, StepLost)]
                attempts = {
                    event.step: event.attempt for event in result.all_events if isinstance(event, StepSucceeded)
                }
    assert lost == ["work[100]"]
    assert attempts.pop("work[100]") == 2
    assert set(attempts.values()) == {1}
