"""The work for one event does not grow with the number of steps: counted in calls, which no other load can change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from opgrid.contracts.events import AnyEvent, RunStarted, StepStarted, StepSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import OutputRef
from opgrid.ids import StepKey
from orchestrator.engine.machine import RunMachine
from orchestrator.engine.recovery import replay
from orchestrator.planner.compile import compile
from orchestrator.storage.projection import changes
from tests.unit.engine.fakes import RUN
from tests.unit.engine.jobs import chain, fan_out_job, snapshot


def calls(work: Callable[[], object]) -> int:
    """Of functions, Python's own and ours."""
    count = 0

    def on_event(_frame: Any, kind: str, _arg: object) -> None:
        nonlocal count
        count += kind in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def succeeded(step: str, *keys: str) -> list[AnyEvent]:
    refs = tuple(OutputRef(RUN, StepKey(step), "result", key, 1) for key in keys)
    refs = refs or (OutputRef(RUN, StepKey(step), "result", None, 1),)
    return [
        StepStarted(run_id=RUN, at=1.0, step=StepKey(step), attempt=1),
        StepSucceeded(run_id=RUN, at=1.0, step=StepKey(step), attempt=1, outputs=refs),
    ]


def fan(width: int) -> tuple[RunMachine, list[AnyEvent]]:
    plan = compile(snapshot(fan_out_job()))
    keys = [f"k{number}" for number in range(width)]
    events: list[AnyEvent] = [RunStarted(run_id=RUN, at=1.0), *succeeded("keys", *keys)]
    for key in keys:
        events += succeeded(f"work[{key}]")
    return RunMachine(RUN, plan), [*events, *succeeded("total")]


def line(length: int) -> tuple[RunMachine, list[AnyEvent]]:
    plan = compile(snapshot(chain(length)))
    events: list[AnyEvent] = [RunStarted(run_id=RUN, at=1.0)]
    for number in range(length):
        events += succeeded(f"s{number}")
    return RunMachine(RUN, plan), events


@pytest.mark.parametrize("made", [fan, line])
def test_a_machine(made: Callable[[int], tuple[RunMachine, list[AnyEvent]]]) -> None:
    per_step = {}
    for size in (1000, 10_000, 100_000):
        machine, events = made(size)

        def drive(machine: RunMachine = machine, events: list[AnyEvent] = events) -> None:
            for event in events:
                machine.take(event, 1.0)

        per_step[size] = calls(drive) / size
        assert machine.status is RunStatus.SUCCESS
    assert per_step[100_000] < per_step[1000] * 1.1, per_step


def test_planning_replay_and_projection() -> None:
    per_step: dict[str, dict[int, float]] = {"plan": {}, "replay": {}, "projection": {}}
    for size in (600, 6000):  # plans of smaller jobs are kept
        structure = snapshot(chain(size))
        _, events = line(size)
        plan = compile(structure)
        per_step["plan"][size] = calls(lambda structure=structure: compile(structure)) / size  # type: ignore[misc]
        per_step["replay"][size] = calls(lambda plan=plan, events=events: replay(RUN, plan, events)) / size  # type: ignore[misc]
        per_step["projection"][size] = calls(lambda events=events: changes(events)) / size  # type: ignore[misc]
    for name, found in per_step.items():
        assert found[6000] < found[600] * 1.15, (name, found)
