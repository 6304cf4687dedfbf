"""Short steps of any shape that share a message on their way to a Celery worker: on a real one."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from executors.celery import sending
from executors.celery.executor import CeleryExecutor
from opgrid import OpExecutionContext, RetryPolicy, execute_job, fleet_for_test, job, op
from opgrid.contracts.events import StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import StepTask

pytestmark = pytest.mark.celery

_BEFORE, _WIDTH, _LAYERS = 20, 4, 8
#: Seconds that a step of them is taken to need at most, however slow the machine: all of them are short.
_QUICK = 0.0003
#: In the middle, with some that wait for it and some that do not.
_MIDDLE = "at_2_1"
#: Some that do not, the second by way of others.
_APART = ("at_2_3", "at_3_2")


@op(config_schema={"what": str, "folder": str}, retry_policy=RetryPolicy(max_retries=1))
def unit(context: OpExecutionContext, values: list[int]) -> int:
    """In the middle something happens, once; what is slow ends when some that do not wait for it have run."""
    folder = Path(context.op_config["folder"])
    mark = folder / context.op_config["what"]
    with (folder / f"run-{context.step_key}").open("a") as file:
        file.write(".")
    if context.step_key == _MIDDLE and not mark.exists():
        mark.touch()
        match mark.name:
            case "slow":
                until = time.monotonic() + 60
                while not all((folder / f"run-{step}").exists() for step in _APART):
                    assert time.monotonic() < until, "it holds up others"
                    time.sleep(0.02)
            case "fails":
                raise ValueError("on purpose")
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
    return sum(values)


@op
def nothing() -> int:
    return 1


@job
def mesh() -> None:
    value = nothing()
    for number in range(_BEFORE):  # shows how quick such a step is
        value = unit.alias(f"before_{number}")([value])
    values = [unit.alias(f"at_0_{at}")([value]) for at in range(_WIDTH)]
    for layer in range(1, _LAYERS):
        values = [unit.alias(f"at_{layer}_{at}")([values[at], values[(at + 1) % _WIDTH]]) for at in range(_WIDTH)]
    unit.alias("last")(values)


_STEPS = 1 + _BEFORE + _WIDTH * _LAYERS + 1
_RESULT = _WIDTH * 2 ** (_LAYERS - 1)


@pytest.fixture
def crews(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps of the layers have travelled with others, in each message."""
    found: list[int] = []
    whole = sending.sign_tasks

    def told(content: str, tasks: Sequence[StepTask], *more: Any) -> Any:
        found.extend(sum(after.step.startswith("at_") for after in task.then) for task in tasks)
        return whole(content, tasks, *more)

    monkeypatch.setattr(sending, "sign_tasks", told)
    expects = CeleryExecutor.expects

    def as_on_a_quick_machine(executor: CeleryExecutor, job: str, op: str) -> float | None:
        seconds = expects(executor, job, op)
        return None if seconds is None else min(seconds, _QUICK)

    monkeypatch.setattr(CeleryExecutor, "expects", as_on_a_quick_machine)
    return found


@pytest.mark.parametrize("what", ["nothing", "slow", "fails", "dies"])
def test_steps_of_any_shape_travel_together_and_come_to_their_end(what: str, tmp_path: Path, crews: list[int]) -> None:
    names = [f"before_{number}" for number in range(_BEFORE)] + ["last"]
    names += [f"at_{layer}_{at}" for layer in range(_LAYERS) for at in range(_WIDTH)]
    config = {"ops": {name: {"config": {"what": what, "folder": str(tmp_path)}} for name in names}}
    with (
        fleet_for_test(concurrency=2) as fleet,
        execute_job(mesh, fleet.instance, run_config=config, executor="celery") as result,
    ):
        assert result.output_for_node("last") == _RESULT
        events = result.all_events
    assert max(crews) >= _WIDTH * _LAYERS - 1  # all but the one that leads them, at least
    runs = {name: (tmp_path / f"run-{name}").read_text() for name in names}
    assert runs.pop(_MIDDLE) == (".." if what in ("fails", "dies") else ".")
    assert what == "dies" or set(runs.values()) == {"."}  # what its process had not told of before runs again
    starts = Counter((event.step, event.attempt) for event in events if isinstance(event, StepStarted))
    assert len({step for step, _ in starts}) == _STEPS
    assert set(starts.values()) == {1}
    assert {step for step, attempt in starts if attempt > 1} == ({_MIDDLE} if what in ("fails", "dies") else set())
    assert [event.step for event in events if isinstance(event, StepLost)] == [_MIDDLE] * (what == "dies")
    ends = Counter(event.step for event in events if isinstance(event, StepSucceeded))
    assert set(ends.values()) == {1}
