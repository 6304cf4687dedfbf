"""What an op may return and yield, and what happens when it is not what it declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from opgrid import (
    AssetMaterialization,
    AssetObservation,
    DynamicOut,
    DynamicOutput,
    ExpectationResult,
    In,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    job,
    op,
)
from opgrid.contracts.events import (
    AssetMaterialized,
    EventType,
    ExpectationChecked,
    HandledOutput,
    StepFailed,
    StepOutput,
    StepSucceeded,
)
from opgrid.errors import InvariantViolationError, StepOutputNotFoundError, TypeCheckDidNotPass
from tests.unit.steps.conftest import BenchMaker


def job_of(*ops: Any) -> Any:
    @job
    def tested() -> None:
        for each in ops:
            each()

    return tested


def test_a_returned_value_is_stored(bench: BenchMaker) -> None:
    @op
    def five() -> int:
        return 5

    b = bench(job_of(five))
    assert b.value("five") == 5
    assert b.sink.types == [EventType.STEP_OUTPUT, EventType.HANDLED_OUTPUT, EventType.STEP_SUCCESS]
    assert b.local.outputs == {("five", "result", None): 5}


def test_a_tuple_follows_the_order_of_the_outputs(bench: BenchMaker) -> None:
    @op(out={"a": Out(int), "b": Out(str)})
    def both() -> tuple[int, str]:
        return 1, "x"

    b = bench(job_of(both))
    b.run("both")
    assert b.local.outputs == {("both", "a", None): 1, ("both", "b", None): "x"}


@pytest.mark.parametrize("told", [AssetMaterialization("a"), AssetObservation("a"), ExpectationResult(True)])
def test_an_event_that_is_returned_is_no_value(bench: BenchMaker, told: Any) -> None:
    @op
    def tells() -> Any:
        return told

    @op(out={"a": Out(), "b": Out()})
    def tells_beside_a_value() -> Any:
        return 1, told

    for each in (tells, tells_beside_a_value):
        b = bench(job_of(each))
        b.run(each.name)
        assert "yield it, or give it to context.log_event" in b.sink.one(StepFailed).error.message


def test_output_objects_bring_metadata(bench: BenchMaker) -> None:
    @op
    def one(context: OpExecutionContext) -> Output[int]:
        context.add_output_metadata({"added": 2})
        return Output(1, metadata={"rows": 3})

    b = bench(job_of(one))
    assert b.value("one") == 1
    assert {name: data["value"] for name, data in b.sink.one(StepOutput).metadata.items()} == {"rows": 3, "added": 2}


def test_optional_outputs_may_be_left_out(bench: BenchMaker) -> None:
    @op(out={"a": Out(is_required=False), "b": Out(is_required=False)})
    def branch() -> Iterator[Any]:
        yield Output("taken", "b")

    (ref,) = bench(job_of(branch)).refs("branch")
    assert ref.output == "b"


def test_dynamic_outputs(bench: BenchMaker) -> None:
    @op(out=DynamicOut(int))
    def spread() -> Iterator[DynamicOutput[int]]:
        yield DynamicOutput(1, "k1")
        yield DynamicOutput(2, "k2")

    @op(out=DynamicOut(int))
    def spread_list() -> Any:
        return [DynamicOutput(1, "k1")]

    @op(out=DynamicOut(int))
    def nothing_to_do() -> Any:
        return []

    b = bench(job_of(spread, spread_list, nothing_to_do))
    refs = b.refs("spread")
    assert [(ref.mapping_key, b.scope.load(ref)) for ref in refs] == [("k1", 1), ("k2", 2)]
    assert len(b.refs("spread_list")) == 1
    assert b.refs("nothing_to_do") == ()


def test_annotated_none_stores_nothing_and_a_bare_none_is_stored(bench: BenchMaker) -> None:
    @op
    def said() -> None:
        return None

    @op
    def unsaid():  # type: ignore[no-untyped-def]
        return None

    @op(out=Out(Nothing))
    def ordered():  # type: ignore[no-untyped-def]
        pass

    b = bench(job_of(said, unsaid, ordered))
    assert b.refs("said")[0].manifest is None
    assert b.refs("ordered")[0].manifest is None
    assert b.sink.only(HandledOutput) == []
    assert len(b.sink.only(StepOutput)) == 2
    assert b.refs("unsaid")[0].manifest is not None
    assert len(b.sink.only(HandledOutput)) == 1


def test_a_nothing_output_need_not_be_yielded(bench: BenchMaker) -> None:
    @op(out={"done": Out(Nothing), "value": Out(int)})
    def make() -> Iterator[Any]:
        yield Output(1, "value")

    assert {ref.output for ref in bench(job_of(make)).refs("make")} == {"done", "value"}


def test_an_op_without_outputs(bench: BenchMaker) -> None:
    @op(out={})
    def quiet():  # type: ignore[no-untyped-def]
        return None

    @op(out={})
    def loud():  # type: ignore[no-untyped-def]
        return 1

    b = bench(job_of(quiet, loud))
    assert b.refs("quiet") == ()
    assert isinstance(b.error("loud"), InvariantViolationError)


def test_async_ops(bench: BenchMaker) -> None:
    import asyncio

    @op
    async def wait() -> int:
        await asyncio.sleep(0)
        return OpExecutionContext.get().retry_number

    @op(out={"a": Out(), "b": Out()})
    async def stream() -> AsyncIterator[Output[str]]:
        yield Output("1", "a")
        await asyncio.sleep(0)
        yield Output("2", "b")

    @op
    async def fail_late() -> None:
        await asyncio.sleep(0)
        raise KeyError("late")

    b = bench(job_of(wait, stream, fail_late))
    assert b.value("wait") == 0
    assert [ref.output for ref in b.refs("stream")] == ["a", "b"]
    assert isinstance(b.error("fail_late"), KeyError)


def test_events_of_the_user(bench: BenchMaker) -> None:
    @op
    def tell(context: OpExecutionContext) -> Iterator[Any]:
        yield AssetMaterialization("table", metadata={"rows": 2}, partition="p")
        yield ExpectationResult(success=False, label="none missing")
        context.log_event(AssetMaterialization(["a", "b"]))
        yield Output(1)

    b = bench(job_of(tell))
    b.run("tell")
    first, second = b.sink.only(AssetMaterialized)
    assert (first.asset, first.partition, second.asset) == (("table",), "p", ("a", "b"))
    assert not b.sink.one(ExpectationChecked).success


# ---- rules -----------------------------------------------------------------------------------------------------------


def wrong_length() -> Any:
    return (1,)


def too_long() -> Any:
    return 1, 2, 3


def no_tuple() -> Any:
    return 1


def undeclared() -> Any:
    yield Output(1, "a")
    yield Output(1, "c")


def twice() -> Any:
    yield Output(1, "a")
    yield Output(1, "a")


def no_output() -> Any:
    yield Output(1, "a")
    yield 5


def dynamic_for_plain() -> Any:
    yield DynamicOutput(1, "k", "a")


@pytest.mark.parametrize("body", [wrong_length, too_long, no_tuple, undeclared, twice, no_output, dynamic_for_plain])
def test_what_breaks_the_declaration_fails_the_step(bench: BenchMaker, body: Any) -> None:
    tested = op(name="tested", out={"a": Out(), "b": Out()})(body)
    error = bench(job_of(tested)).error("tested")
    assert isinstance(error, InvariantViolationError)
    assert "tested" in str(error)


def test_a_required_output_that_is_missing(bench: BenchMaker) -> None:
    @op(out={"a": Out(), "b": Out()})
    def half() -> Iterator[Any]:
        yield Output(1, "a")

    error = bench(job_of(half)).error("half")
    assert isinstance(error, StepOutputNotFoundError)
    assert (error.step_key, error.output_name) == ("half", "b")


def test_mapping_keys_may_not_come_twice(bench: BenchMaker) -> None:
    @op(out=DynamicOut())
    def spread() -> Iterator[Any]:
        yield DynamicOutput(1, "k")
        yield DynamicOutput(2, "k")

    @op(out=DynamicOut())
    def plain() -> Iterator[Any]:
        yield Output(1)

    b = bench(job_of(spread, plain))
    assert isinstance(b.error("spread"), InvariantViolationError)
    assert isinstance(b.error("plain"), InvariantViolationError)


def test_types_of_outputs_are_checked(bench: BenchMaker) -> None:
    @op
    def wrong() -> int:
        return "five"  # type: ignore[return-value]

    b = bench(job_of(wrong))
    error = b.error("wrong")
    assert isinstance(error, TypeCheckDidNotPass)
    assert "'Int'" in str(error)
    assert b.sink.one(StepOutput).type_check["success"] is False
    assert b.sink.only(HandledOutput) == []


def test_metadata_comes_before_its_output(bench: BenchMaker) -> None:
    @op(out={"a": Out(), "b": Out()})
    def late(context: OpExecutionContext) -> Iterator[Any]:
        yield Output(1, "a")
        context.add_output_metadata({"x": 1}, output_name="a")
        yield Output(1, "b")

    @op(out={"a": Out(), "b": Out()})
    def unclear(context: OpExecutionContext) -> Iterator[Any]:
        context.add_output_metadata({"x": 1})
        yield Output(1, "a")

    b = bench(job_of(late, unclear))
    assert isinstance(b.error("late"), InvariantViolationError)
    assert isinstance(b.error("unclear"), InvariantViolationError)


def test_a_generator_is_closed_when_storing_fails(bench: BenchMaker) -> None:
    closed = []

    @op(out={"a": Out(int), "b": Out()})
    def body() -> Iterator[Any]:
        try:
            yield Output("no int", "a")
        finally:
            closed.append(True)

    assert isinstance(bench(job_of(body)).run("body").event, StepFailed)
    assert closed == [True]


def test_inputs_of_type_nothing_are_not_passed(bench: BenchMaker) -> None:
    @op(ins={"after": In(Nothing)})
    def follow() -> int:
        return 1

    @op
    def lead() -> None: ...

    @job
    def tested() -> None:
        follow(lead())

    assert isinstance(bench(tested).run("follow").event, StepSucceeded)
