"""Steps that run although something above them failed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opgrid import (
    DynamicOut,
    DynamicOutput,
    Failure,
    In,
    InvalidDefinitionError,
    Nothing,
    Out,
    Output,
    ReexecutionOptions,
    RunStatus,
    TriggerRule,
    execute_job,
    in_process_executor,
    instance_for_test,
    job,
    op,
)
from opgrid.contracts.events import ErrorInfo, RunStarted, StepFailed, StepStarted, StepSucceeded
from opgrid.contracts.status import StepStatus
from opgrid.contracts.tasks import FromDefault, Gathered, OutputRef, StepTask
from opgrid.ids import RunId, StepKey
from orchestrator.engine.commands import Launch
from orchestrator.engine.machine import RunMachine
from orchestrator.engine.recovery import replay
from orchestrator.planner.compile import compile
from tests.unit.engine import jobs

RUN = RunId("run")


# ---- as users see it


@op
def good() -> int:
    return 1


@op
def bad() -> int:
    raise Failure(description="as told")


@op(out=Out(is_required=False))
def silent() -> Iterator[Output[int]]:
    yield from ()


@op
def after(number: int) -> int:
    return number


def tidy(rule: TriggerRule | str) -> Any:
    @op(name="tidy", trigger_rule=rule)
    def made(a: int | None = None, b: int | None = None) -> list[int | None]:
        return [a, b]

    return made


@pytest.mark.parametrize(
    ("rule", "sources", "runs"),
    [
        ("all_done", (good, bad), True),
        ("all_done", (bad, silent), True),
        ("one_success", (bad, good), True),
        ("one_success", (bad, bad), False),
        ("one_failed", (bad, good), True),
        ("one_failed", (good, good), False),
        ("all_failed", (bad, good), False),
        ("all_failed", (bad, bad), True),
        ("none_failed", (good, silent), True),
        ("none_failed", (good, bad), False),
        ("all_success", (good, bad), None),
    ],
)
def test_rules(rule: str, sources: tuple[Any, Any], runs: bool | None) -> None:
    tidied = tidy(rule)

    @job
    def tested() -> None:
        first, second = sources
        tidied(after.alias("a")(first.alias("x")()), after.alias("b")(second.alias("y")()))

    result = tested.execute_in_process(raise_on_error=False)
    assert result.success == (bad not in sources)
    assert result.is_node_success("tidy") is bool(runs)
    assert result.is_node_skipped("tidy") is (runs is False)
    if runs:
        assert result.output_for_node("tidy") == [1 if source is good else None for source in sources]


def test_a_collection_holds_what_succeeded() -> None:
    @op(out=DynamicOut())
    def parts(breaks: bool = False) -> Iterator[DynamicOutput[int]]:
        if breaks:
            raise Failure(description="as told")
        for number in range(4):
            yield DynamicOutput(number, mapping_key=str(number))

    @op
    def odd_ones_break(number: int) -> int:
        if number % 2:
            raise Failure(description="odd")
        return number

    @op(trigger_rule="all_done")
    def gather(numbers: list[int] | None = None) -> list[int] | None:
        return numbers

    @op(trigger_rule=TriggerRule.ALL_DONE, ins={"done": In(Nothing)})
    def close() -> str:
        return "closed"

    @job
    def tested() -> None:
        close(gather(parts().map(lambda part: after(odd_ones_break(part))).collect()))

    result = tested.execute_in_process(raise_on_error=False)
    assert result.output_for_node("gather") == [0, 2]
    assert result.output_for_node("close") == "closed"
    assert result.run.status is RunStatus.FAILURE
    broken = tested.execute_in_process(
        run_config={"ops": {"parts": {"inputs": {"breaks": True}}}}, raise_on_error=False
    )
    assert broken.output_for_node("gather") == []
    assert broken.output_for_node("close") == "closed"


def test_it_runs_again_with_what_failed() -> None:
    ran: list[str] = []

    @op
    def shaky() -> int:
        if not ran:
            raise Failure(description="as told")
        return 1

    @op(trigger_rule="all_done")
    def tell(number: int = 0) -> int:
        ran.append(f"tell {number}")
        return number

    @op
    def below(number: int) -> None:
        ran.append(f"below {number}")

    @job(executor_def=in_process_executor)
    def tested() -> None:
        below(tell(shaky()))
        good()

    with instance_for_test() as instance:
        first = execute_job(tested, instance)
        assert (first.success, ran) == (False, ["tell 0", "below 0"])
        execute_job(tested, instance, reexecution_options=ReexecutionOptions.from_failure(first.run_id, instance))
        assert ran[2:] == ["tell 1", "below 1"]


def test_definitions_say_what_comes_when_nothing_comes() -> None:
    with pytest.raises(InvalidDefinitionError, match="input 'number' may never come"):

        @op(trigger_rule="all_done")
        def without_default(number: int) -> None: ...

    with pytest.raises(InvalidDefinitionError, match="Did you mean 'all_done'"):

        @op(trigger_rule="al_done")
        def misspelled() -> None: ...


# ---- as the machine sees it


def test_it_does_not_wait_for_what_is_not_above_it() -> None:
    structure = jobs.job(
        [jobs.op("a"), jobs.op("slow"), jobs.op("b", "x"), _ruled("tidy", TriggerRule.ALL_DONE, 1)],
        jobs.call("a"),
        jobs.call("slow"),
        jobs.call("b", x="a"),
        jobs.call("tidy", i0="b"),
    )
    machine = RunMachine(RUN, compile(jobs.snapshot(structure)))
    machine.handle(RunStarted(run_id=RUN, at=0.0), 0.0)
    commands = machine.handle(
        StepFailed(run_id=RUN, at=0.0, step=StepKey("a"), attempt=1, error=ErrorInfo("E", "m")), 0.0
    )
    (launch,) = [each.task for each in commands if isinstance(each, Launch)]
    assert launch.step == "tidy"
    assert isinstance(launch.inputs[0].source, FromDefault)


def _ruled(name: str, rule: TriggerRule, inputs: int) -> Any:
    made = jobs.op(name, *(f"i{number}" for number in range(inputs)), required=False)
    return msgspec.structs.replace(made, trigger=rule)


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=1, max_value=12))
@settings(max_examples=150, deadline=None)
def test_any_job_ends_as_its_rules_say(seed: int, size: int) -> None:
    rng = random.Random(seed)
    steps = [f"s{number}" for number in range(size)]
    above = {name: rng.sample(steps[:number], rng.randint(0, min(number, 3))) for number, name in enumerate(steps)}
    rules = {name: rng.choice([TriggerRule.ALL_SUCCESS] * 4 + list(TriggerRule)) for name in steps}
    outcome = {name: rng.choice(["ok", "ok", "fail", "silent"]) for name in steps}
    structure = jobs.job(
        [_ruled(name, rules[name], len(above[name])) for name in steps],
        *(jobs.call(name, **{f"i{n}": up for n, up in enumerate(above[name])}) for name in steps),
    )
    plan = compile(jobs.snapshot(structure))
    machine = RunMachine(RUN, plan)
    start = RunStarted(run_id=RUN, at=0.0)
    log: list[Any] = [start]
    out = [each.task for each in machine.handle(start, 0.0) if isinstance(each, Launch)]
    while out:
        task = out.pop(rng.randrange(len(out)))
        machine.check()
        for event in _come_to(task, outcome[task.step]):
            log.append(event)
            out += [each.task for each in machine.handle(event, 0.0) if isinstance(each, Launch)]
    machine.check()
    assert {name: machine.steps[StepKey(name)].status for name in steps} == _expected(steps, above, rules, outcome)
    assert machine.finished
    assert machine.status is (RunStatus.FAILURE if machine.failed() else RunStatus.SUCCESS)
    assert replay(RUN, plan, log).view() == machine.view()


def _come_to(task: StepTask, outcome: str) -> list[Any]:
    about: dict[str, Any] = {"run_id": RUN, "at": 0.0, "step": task.step, "attempt": task.attempt}
    if outcome == "fail":
        return [StepStarted(**about), StepFailed(**about, error=ErrorInfo("E", "m"))]
    outputs = (OutputRef(RUN, task.step),) if outcome == "ok" else ()
    assert not any(isinstance(each.source, Gathered) for each in task.inputs)
    return [StepStarted(**about), StepSucceeded(**about, outputs=outputs, seconds=0.0)]


def _expected(
    steps: list[str], above: dict[str, list[str]], rules: dict[str, TriggerRule], outcome: dict[str, str]
) -> dict[str, StepStatus]:
    ended: dict[str, StepStatus] = {}
    for name in steps:
        ups = [ended[up] for up in above[name]]
        good = [up is StepStatus.SUCCESS for up in ups]
        dead = [up in (StepStatus.FAILURE, StepStatus.PENDING) for up in ups]
        came = all(ended[up] is StepStatus.SUCCESS and outcome[up] == "ok" for up in above[name])
        runs = {
            TriggerRule.ALL_SUCCESS: came,
            TriggerRule.ALL_DONE: True,
            TriggerRule.ONE_SUCCESS: any(good),
            TriggerRule.ONE_FAILED: any(dead),
            TriggerRule.ALL_FAILED: all(dead),
            TriggerRule.NONE_FAILED: not any(dead),
        }[rules[name]]
        if rules[name] is TriggerRule.ALL_SUCCESS and any(dead):
            ended[name] = StepStatus.PENDING
        elif not runs:
            ended[name] = StepStatus.SKIPPED
        else:
            ended[name] = StepStatus.FAILURE if outcome[name] == "fail" else StepStatus.SUCCESS
    return ended
