"""Faults put into the machine on purpose: the property test must notice each of them."""
# ruff: noqa: E501 (a mutant a line reads best)

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import orchestrator.engine
from opgrid.ids import RunId
from orchestrator.engine import loop, machine
from orchestrator.planner.plan import Plan
from tests.property.runs import draw, play

_FOLDER = Path(orchestrator.engine.__file__).parent
_CASES = 1000


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant("no attempt check", "machine", "step is None or step.attempt != event.attempt:\n            return None\n        return step if step.status is _RUNNING", "step is None:\n            return None\n        return step if step.status is _RUNNING"),
    Mutant("final can change", "machine", "return step if step.status is _RUNNING or step.status is _DISPATCHED else None", "return step"),
    Mutant("a loss counts as a retry", "machine", "        step.losses += 1\n", "        step.losses += 1\n        step.retry_number += 1\n"),
    Mutant("losses without end", "machine", "if step.losses < self.loss_budget:", "if True:"),
    Mutant("one loss too many", "machine", "if step.losses < self.loss_budget:", "if step.losses <= self.loss_budget:"),
    Mutant("a loss keeps its attempt", "machine", "            step.attempt += 1\n            return self._launch(step, now)", "            return self._launch(step, now)"),
    Mutant("poison is never retried", "machine", "if seconds is not None and self.status is RunStatus.STARTED:", "if seconds is not None and self.status is RunStatus.STARTED and not process_died:"),
    Mutant("a retry keeps its attempt", "machine", "        step.attempt += 1\n        step.retry_number += 1\n", "        step.retry_number += 1\n"),
    Mutant("retries are not counted", "machine", "        step.attempt += 1\n        step.retry_number += 1\n", "        step.attempt += 1\n"),
    Mutant("a timer fires twice", "machine", "step.attempt != event.attempt or step.status is not StepStatus.WAITING", "step.attempt != event.attempt"),
    Mutant("any timer fires", "machine", "step.attempt != event.attempt or step.status is not StepStatus.WAITING", "step.status is not StepStatus.WAITING"),
    Mutant("the run ends early", "machine", "if self._active or self.finished:", "if self.finished:"),
    Mutant("an ended run goes on", "machine", "return decide(self, event, now) if self.status is _STARTED or self.status not in _ENDED else None", "return decide(self, event, now)"),
    Mutant("the run starts twice", "machine", "if self.status is not RunStatus.NOT_STARTED:\n            return None", "if self.finished:\n            return None"),
    Mutant("a canceled run launches", "machine", "if ready and self.status is RunStatus.STARTED:", "if ready:"),
    Mutant("a canceled run retries", "machine", "if seconds is not None and self.status is RunStatus.STARTED:", "if seconds is not None:"),
    Mutant("a canceled run starts lost steps again", "machine", "        if self.status is RunStatus.CANCELING:\n            return [self._canceled(step, now), *self._settle(now)]\n", ""),
    Mutant("cancel forgets what waits", "machine", "                commands.append(self._canceled(step, now))", "                pass"),
    Mutant("cancel forgets what is out", "machine", "                commands.append(Cancel(step.key, step.attempt, step.spec.executor))\n            elif", "                pass\n            elif"),
    Mutant("a skip stops where it is", "machine", "                    ready.extend(self._instances.release(step))\n", ""),
    Mutant("a stop is a success", "machine", "            return self._lose(step, LossCause(\"it was stopped", "            return self._step_succeeded(event, now) if 1 else self._lose(step, LossCause(\"it was stopped"),
    Mutant("a failed run is a success", "machine", "        elif self._first is not None:", "        elif False:"),
    Mutant("hooks are not waited for", "machine", "        if self._hooks.missing:\n            return self._hooks.overdue(now)\n", ""),
    Mutant("replay forgets delays", "machine", "            step.due = event.at + event.delay", "            pass"),
    Mutant("a takeover forgets retries", "machine", "                commands.append(WakeAt(due, event))", "                pass"),
    Mutant("outputs are forgotten", "machine", "        step.outputs = event.outputs\n", ""),
    Mutant("what is below a failure runs", "machine", "        self._failed.append(step.key)\n", "        self._failed.append(step.key)\n        self._advance(self._instances.release(step), now)\n"),
    Mutant("collect before all are done", "instances", "gate.remaining = len(left)", "gate.remaining = min(1, len(members))"),
    Mutant("collect before any is done", "instances", "gate.remaining = len(left)", "gate.remaining = 0"),
    Mutant("a list with nothing in it runs", "instances", "if refs and not source.items and not step.ruled:", "if False:"),
    Mutant("an empty list is skipped", "instances", "if refs and not source.items and not step.ruled:", "if not source.items:"),
    Mutant("a list lacks what was not yielded, and is skipped", "instances", "if refs and not source.items and not step.ruled:", "if None in refs:"),
    Mutant("a fan-out without keys skips collect", "instances", "return Gathered(refs) if refs or step.ruled or (not members and self._may_be_none(feed.step, step)) else None", "return Gathered(refs) if refs else None"),
    Mutant("a fan-out that was skipped is empty", "instances", "return maker.status is not StepStatus.SKIPPED and ", "return "),
    Mutant("a fan-out of skipped steps is empty", "instances", "(not members and self._may_be_none(feed.step, step))", "self._may_be_none(feed.step, step)"),
    Mutant("a fan-out that may be left out is empty", "instances", " and self._is_required(maker, fan.output)", ""),
    Mutant("a dynamic output that may be left out is an empty list", "instances", "self._is_required(maker, feed.output)", "True"),
    Mutant("the values of a skipped fan-out are an empty list", "instances", "            if maker.status is StepStatus.SKIPPED and not step.ruled:\n                return None\n", ""),
    Mutant("an absent input is no reason to skip", "instances", "                if source is None:\n                    return Absent(given.name, feed.step, feed.output)\n", "                if source is None:\n                    continue\n"),
    Mutant("keys in another order", "instances", "branch = list(self._branch(maker, output))", "branch = sorted(self._branch(maker, output), reverse=True)"),
    Mutant("the key of the outermost fan-out", "instances", ".get(step.keys[self._depth[feed.step]])", ".get(step.keys[0])"),
    Mutant("one of several is enough", "instances", "        step.missing -= 1\n        if not step.missing:", "        step.missing -= 1\n        if True:"),
    Mutant("nested fan-outs are not made", "instances", "        if step.spec.key in self._fans:\n            self._expand(step, ready)\n", "        if step.spec.key in self._fans and not step.keys:\n            self._expand(step, ready)\n"),
    Mutant("one retry too many", "retries", "retry_number >= policy.max_retries", "retry_number > policy.max_retries"),
    Mutant("fatal is not final", "retries", "    if not failure.allow_retries:\n        return None\n", ""),
    Mutant("what a step asks for is ignored", "retries", "    if failure.retry is not None:", "    if False:"),
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_property_test_notices(mutant: Mutant) -> None:
    make = _made_with(mutant)
    for seed in range(_CASES):
        try:
            _play(seed, make)
        except Exception:
            return
    pytest.fail(f"{_CASES} cases did not notice: {mutant.name}")


def test_a_heap_of_timers_that_compares_events_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.engine import test_loop as tests
    from tests.unit.engine.fakes import FakeClock, MemoryLog

    mutated = _module("loop", "(due, next(self._order), event)", "(due, event, next(self._order))")
    monkeypatch.setattr(tests, "drive", mutated.__dict__["drive"])
    with pytest.raises(TypeError, match="not supported between instances"):
        tests.test_two_retries_due_at_once_both_start(FakeClock(), MemoryLog())
    assert loop.drive is not mutated.__dict__["drive"]


def _made_with(mutant: Mutant) -> Callable[[RunId, Plan], machine.RunMachine]:
    changed = _module(mutant.file, mutant.old, mutant.new)
    fresh = changed if mutant.file == "machine" else _module("machine", "", "")
    if mutant.file == "instances":
        fresh.__dict__.update(Instances=changed.__dict__["Instances"], Absent=changed.__dict__["Absent"])
    elif mutant.file == "retries":
        fresh.__dict__.update(granted=changed.__dict__["granted"])
    made: Callable[[RunId, Plan], machine.RunMachine] = fresh.__dict__["RunMachine"]
    return made


def _module(name: str, old: str, new: str) -> types.ModuleType:
    source = (_FOLDER / f"{name}.py").read_text()
    if old:
        assert source.count(old) == 1, (
            f"{old!r} stands {source.count(old)} times in {name}.py: bring the mutant up to date"
        )
        source = source.replace(old, new)
    module = types.ModuleType(f"mutant_{name}")
    module.__file__ = str(_FOLDER / f"{name}.py")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def test_the_machine_itself_passes() -> None:
    for seed in range(_CASES):
        _play(seed, machine.RunMachine)


def _play(seed: int, make: Callable[[RunId, Plan], machine.RunMachine]) -> None:
    rng = random.Random(seed)
    play(draw(rng), rng, make, cancel=rng.random() < 0.35, crashes=rng.random() < 0.3)
