"""Ops made by hand, whose function takes ``(context, inputs)``."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import cloudpickle
import pytest

from opgrid import (
    In,
    InvalidDefinitionError,
    InvalidInvocationError,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    Out,
    Output,
    TypeCheckDidNotPass,
    build_op_context,
    job,
    op,
)


def _scaled_difference(context: OpExecutionContext, inputs: dict[str, int]) -> Iterator[Output[int]]:
    yield Output((inputs["a"] - inputs["b"]) * context.op_config["scale"])


difference = OpDefinition(
    _scaled_difference,
    "difference",
    ins={"b": In(int), "a": In(int)},
    outs={"result": Out(int)},
    config_schema={"scale": int},
)


@op
def ten() -> int:
    return 10


@op
def three() -> int:
    return 3


def test_the_function_is_given_all_inputs_in_a_dict() -> None:
    @job(config={"ops": {"difference": {"config": {"scale": 2}}}})
    def by_name() -> None:
        difference(b=three(), a=ten())

    assert by_name.execute_in_process().output_for_node("difference") == 14


def test_by_position_inputs_are_in_the_order_of_their_names() -> None:
    @job(config={"ops": {"difference": {"config": {"scale": 1}}}})
    def by_position() -> None:
        difference(ten(), three())

    assert by_position.execute_in_process().output_for_node("difference") == 7
    assert [*difference.ins] == ["a", "b"]


def test_defaults_are_in_the_dict_and_what_carries_no_value_is_not() -> None:
    seen: list[dict[str, Any]] = []

    def look(_, inputs):
        seen.append(inputs)

    made = OpDefinition(look, "look", ins={"n": In(int, default_value=5), "after": In(Nothing)})

    @job
    def looking() -> None:
        made(after=ten())

    assert looking.execute_in_process().success
    made(None)
    assert seen == [{"n": 5}, {"n": 5}]


def test_several_outputs_and_functions_that_return() -> None:
    def both(_context, _inputs):
        yield Output(1, "one")
        yield Output(2, "two")

    async def later(context, inputs) -> AsyncIterator[Output[int]]:
        yield Output(inputs["n"] + 1)

    split = OpDefinition(both, "split", outs={"one": Out(int), "two": Out(int)})
    plus = OpDefinition(later, "plus", ins={"n": In(int)}, outs={"result": Out(int)})
    total = OpDefinition(lambda _, inputs: sum(inputs.values()), "total", ins={"m": In(int), "n": In(int)})

    @job
    def summed() -> None:
        one, two = split()
        total(m=one, n=plus(two))

    assert summed.execute_in_process().output_for_node("total") == 4


def test_called_directly_it_is_checked_as_in_a_run() -> None:
    context = build_op_context(op_config={"scale": 3})
    assert [each.value for each in difference(context, 9, 7)] == [6]
    assert [each.value for each in difference(context, b=9, a=7)] == [-6]
    with pytest.raises(InvalidInvocationError, match="needs a value for its input 'b'"):
        difference(context, 9)
    with pytest.raises(InvalidInvocationError, match="no parameter 'c'"):
        difference(context, c=9)
    with pytest.raises(TypeCheckDidNotPass, match="'b'"):
        difference(context, 9, "seven")


def test_an_input_that_is_declared_by_that_name_is_an_input() -> None:
    made = OpDefinition(lambda context, inputs: sum(inputs), "made", ins={"inputs": In(list)})
    assert made(None, [1, 2]) == 3

    @op
    def decorated(context, inputs):
        return inputs

    assert [*decorated.ins] == ["inputs"]
    assert decorated(None, 4) == 4


def test_a_parameter_of_another_name_is_a_mistake_as_ever() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"declares the input 'a'.*Its parameters are: 'b'"):
        OpDefinition(lambda context, b: None, "made", ins={"a": In()})


def test_copies_and_pickles_are_called_the_same_way() -> None:
    halved = difference.configured({"scale": 1}, name="halved")
    again = pickle.loads(cloudpickle.dumps(halved))

    @job
    def copied() -> None:
        again(a=ten(), b=three())

    assert copied.execute_in_process().output_for_node("halved") == 7


def _yields(*args: Any) -> Iterator[Output[int]]:
    yield Output(args[1]["n"])


def _after_context(context: OpExecutionContext, *args: Any) -> Iterator[Output[int]]:
    yield Output(args[0]["n"])


@pytest.mark.parametrize(
    "function",
    [
        _yields,
        _after_context,
        lambda *args, **more: iter([Output(args[1]["n"] + len(more))]),
        lambda c, i: iter([Output(i["n"])]),
        lambda _, inputs: inputs["n"],
    ],
    ids=["places", "a context and places", "anything", "other names", "the usual"],
)
def test_a_function_may_name_both_as_it_likes(function: Any) -> None:
    made = OpDefinition(function, "made", ins={"n": In(int)}, outs={"result": Out(int)})

    @job
    def given_one() -> None:
        made(ten())

    assert given_one.execute_in_process().output_for_node("made") == 10


def test_parameters_are_inputs_where_what_is_declared_carries_no_value() -> None:
    made = OpDefinition(lambda a, b: a - b, "made", ins={"after": In(Nothing)})
    assert [*made.ins] == ["a", "b", "after"]
    assert made(10, 3) == 7
    with pytest.raises(InvalidDefinitionError, match=r"takes \*args"):
        op(lambda *args: 1)
