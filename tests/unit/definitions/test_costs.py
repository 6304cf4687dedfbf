"""What composing and validating may cost, in time of the processor: the best of several tries, as machines are busy."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from opgrid import Config, InvalidConfigError, JobDefinition, OpExecutionContext, job, op, validate_run_config
from orchestrator.planner.compile import compile
from orchestrator.planner.snapshot import take


def _best(tries: int, work: Callable[[], object]) -> float:
    found = []
    for _ in range(tries):
        before = time.process_time()
        work()
        found.append(time.process_time() - before)
    return min(found)


def test_ten_thousand_ops_are_composed_within_a_second() -> None:
    @op
    def first() -> int:
        return 1

    @op
    def following(number: int) -> int:
        return number

    def compose() -> JobDefinition:
        @job
        def chain() -> None:
            number = first()
            for _ in range(9_999):
                number = following(number)

        assert len(chain.nodes) == 10_000
        return chain

    assert _best(3, compose) < 1.0


def _chained(count: int) -> JobDefinition:
    @op
    def first() -> int:
        return 1

    @op
    def following(number: int) -> int:
        return number

    @job
    def chain() -> None:
        number = first()
        for at in range(count - 1):
            number = following.alias(f"at_{at}")(number)

    return chain


def test_a_node_costs_a_few_calls_however_many_there_are() -> None:
    def calls(count: int) -> int:
        made = 0

        def counted(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            _ = _chained(count).structure
        finally:
            sys.setprofile(None)
        return made

    few, many = calls(100), calls(2000)
    assert (many - few) / 1900 < 25


def test_a_node_and_its_step_weigh_less_than_a_kibibyte() -> None:
    _chained(10).structure  # what it imports
    tracemalloc.start()
    try:
        made = _chained(2000)
        plan = compile(take(made, made.resolve()))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plan.steps) == 2000
    assert kept / 2000 < 1024


_NAMES = [f"field_{number}" for number in range(200)]
_MODEL: Any = pydantic.create_model("Wide", __base__=Config, **dict.fromkeys(_NAMES, (int, ...)))


@op
def by_class(config: _MODEL) -> None: ...


@op(config_schema=dict.fromkeys(_NAMES, int))
def by_dict(context: OpExecutionContext) -> None: ...


@pytest.mark.parametrize("wide", [by_class, by_dict])
def test_two_hundred_fields_are_validated_within_five_milliseconds(wide: Any) -> None:
    @job
    def configured() -> None:
        wide()

    def config(**fields: Any) -> dict[str, Any]:
        return {"ops": {wide.name: {"config": dict.fromkeys(_NAMES, 1) | fields}}}

    with pytest.raises(InvalidConfigError):
        validate_run_config(configured, config(field_7="x"))
    assert _best(20, lambda: validate_run_config(configured, config())) < 0.005
