"""What composing and validating may cost, in time of the processor: the best of several tries, as machines are busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from opgrid import Config, InvalidConfigError, JobDefinition, OpExecutionContext, job, op, validate_run_config


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
