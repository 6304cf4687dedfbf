"""Ops: what is read from a function, and what is refused while it is read."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any, Optional

import cloudpickle
import pytest

from opgrid import DynamicOut, DynamicOutput, In, Nothing, OpDefinition, Out, Output, RetryPolicy, job, op
from opgrid.definitions.op import TypedOp
from opgrid.errors import InvalidConfigDefinitionError, InvalidDefinitionError


class OpExecutionContext:
    """Stands for the real one: what counts is its name."""


def types_of(made: OpDefinition) -> dict[str, str]:
    return {name: out.type.display_name for name, out in made.outs.items()}


# ---- inputs --------------------------------------------------------------------------------------


def test_a_bare_op_takes_its_name_and_description_from_the_function() -> None:
    @op
    def add_one(arg: int) -> int:
        """Adds one.

        More about it.
        """
        return arg + 1

    assert add_one.name == "add_one"
    assert add_one.description == "Adds one.\n\nMore about it."
    assert add_one.location.endswith(f"test_op.py:{add_one.compute_fn.__code__.co_firstlineno}")
    assert add_one.__name__ == "add_one"


def test_options_go_before_what_the_function_says() -> None:
    @op(
        name="plus",
        description="Short.",
        tags={"team": "data", "weight": 3},
        retry_policy=RetryPolicy(max_retries=2),
        pool="db",
        timeout=5,
        code_version="7",
        required_resource_keys={"db"},
        config_schema={"n": int},
    )
    def add_one(context: Any, arg: int) -> int:
        """Long."""
        return arg + 1

    assert (add_one.name, add_one.description, add_one.pool, add_one.timeout) == ("plus", "Short.", "db", 5.0)
    assert add_one.tags == {"team": "data", "weight": "3"}
    assert add_one.retry_policy == RetryPolicy(2)
    assert add_one.required_resource_keys == {"db"}
    assert add_one.code_version == add_one.version == "7"
    assert add_one.config_schema == {"n": int}


@pytest.mark.parametrize("name", ["context", "_context", "context_", "_", "__"])
def test_a_leading_context_is_no_input(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def f({name}, a): ...", space)
    made = op(space["f"])
    assert made.signature.context == name
    assert list(made.ins) == ["a"]


def test_a_first_parameter_annotated_as_context_is_one_whatever_its_name() -> None:
    @op
    def f(ctx: OpExecutionContext, a: int) -> None: ...

    assert f.signature.context == "ctx"
    assert list(f.ins) == ["a"]


def test_inputs_come_from_parameters_with_their_types_and_defaults() -> None:
    @op
    def f(a, b: int, c: str = "x", *, d: Optional[float] = None) -> None:  # noqa: UP045
        ...

    assert {name: port.type.display_name for name, port in f.ins.items()} == {
        "a": "Any",
        "b": "Int",
        "c": "String",
        "d": "Float?",
    }
    assert [name for name, port in f.ins.items() if port.has_default] == ["c", "d"]
    assert f.ins["c"].default_value == "x"
    assert f.ins["d"].default_value is None
    assert f.signature.inputs == ("a", "b", "c", "d")
    with pytest.raises(InvalidDefinitionError, match="no default"):
        f.ins["a"].default_value


def test_in_completes_what_the_parameter_does_not_say() -> None:
    @op(ins={"a": In(description="the a", metadata={"k": 1}), "b": In(str, default_value="y")})
    def f(b: int, a: int = 3) -> None: ...

    assert list(f.ins) == ["b", "a"]  # the order of the function, which is that of positional arguments
    assert f.ins["a"].type.display_name == "Int"
    assert f.ins["a"].default_value == 3
    assert (f.ins["a"].description, f.ins["a"].metadata) == ("the a", {"k": 1})
    assert f.ins["b"].type.display_name == "String"
    assert f.ins["b"].default_value == "y"


def test_an_annotation_may_name_what_is_local_to_the_maker() -> None:
    class Row:
        pass

    @op
    def f(row: Row) -> list[Row]:
        return [row]

    assert f.ins["row"].type.check(None, Row()).success
    assert not f.ins["row"].type.check(None, 5).success
    assert not f.outs["result"].type.check(None, [5]).success


def test_an_annotation_that_only_type_checkers_can_see_is_any() -> None:
    @op
    def f(row: OnlyForTypeCheckers) -> None:  # noqa: F821
        ...

    assert f.ins["row"].type.display_name == "Any"


def test_an_input_declared_without_a_parameter_is_an_error() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"'rows'.*no such parameter.*Did you mean 'row'"):

        @op(ins={"rows": In()})
        def f(row: Any) -> None: ...


def test_kwargs_take_all_declared_inputs() -> None:
    @op(ins={"a": In(int), "b": In()})
    def f(**kwargs: Any) -> None: ...

    assert f.signature.inputs == ("a", "b")


@pytest.mark.parametrize("source", ["def f(*args): ...", "def f(a, b, /): ..."])
def test_inputs_have_names(source: str) -> None:
    space: dict[str, Any] = {}
    exec(source, space)
    with pytest.raises(InvalidDefinitionError, match=r"\*args|positional-only"):
        op(space["f"])


def test_in_without_parentheses_is_named() -> None:
    with pytest.raises(InvalidDefinitionError, match="In without parentheses"):

        @op(ins={"a": In})
        def f(a: Any) -> None: ...


def test_an_input_cannot_be_called_config() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"config.*class MyConfig\(Config\)"):

        @op
        def f(config) -> None: ...


def test_a_config_parameter_and_a_schema_do_not_go_together() -> None:
    with pytest.raises(InvalidDefinitionError, match="both config_schema= and a config parameter"):

        @op(config_schema={"n": int})
        def f(config: dict[str, Any]) -> None: ...


def test_a_config_parameter_is_no_input() -> None:
    @op
    def f(a: int, config: dict[str, Any]) -> None: ...

    assert list(f.ins) == ["a"]
    assert f.signature.config == "config"
    assert f.config_schema == dict[str, Any]


def test_a_config_parameter_may_have_a_default() -> None:
    @op
    def f(config: int = 5) -> int:
        return config

    @job
    def of_f() -> None:
        f()

    assert of_f.execute_in_process().output_for_node("f") == 5
    assert of_f.execute_in_process(run_config={"ops": {"f": {"config": 6}}}).output_for_node("f") == 6
    assert (f(), f(7)) == (5, 7)


def test_the_default_of_a_config_parameter_has_to_fit() -> None:
    with pytest.raises(InvalidConfigDefinitionError, match=r"^Op 'f' .*'config'.*expected int, got 'five'"):

        @op
        def f(config: int = "five") -> None: ...  # type: ignore[assignment]


def test_required_resource_keys_are_no_string() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"use \{'db'\}"):

        @op(required_resource_keys="db")
        def f() -> None: ...


@pytest.mark.parametrize(
    ("option", "value"), [("timeout", 0), ("timeout", "5"), ("timeout", True), ("pool", 3), ("pool", "")]
)
def test_timeout_and_pool_are_checked(option: str, value: object) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(InvalidDefinitionError, match=option):
        op(name="f", **options)(lambda: None)


def test_a_retry_policy_is_one() -> None:
    options: dict[str, Any] = {"retry_policy": 3}
    with pytest.raises(InvalidDefinitionError, match="has to be a RetryPolicy"):

        @op(**options)
        def f() -> None: ...


def test_an_op_is_made_of_a_function() -> None:
    target: Any = 5
    with pytest.raises(InvalidDefinitionError, match="has to be made of a function"):
        op(target)


# ---- outputs -------------------------------------------------------------------------------------


def test_an_undeclared_output_is_called_result_and_typed_by_the_annotation() -> None:
    @op
    def typed() -> int:
        return 1

    @op
    def untyped():
        return 1

    @op
    def nothing() -> None: ...

    @op
    def wrapped() -> Output[str]:
        return Output("x")

    assert types_of(typed) == {"result": "Int"}
    assert types_of(untyped) == {"result": "Any"}
    assert types_of(nothing) == {"result": "Nothing"}
    assert types_of(wrapped) == {"result": "String"}


def test_what_yields_has_outputs_of_any_type() -> None:
    @op
    def one() -> Iterator[Output[int]]:
        yield Output(1)

    @op
    async def two() -> AsyncIterator[Any]:
        yield Output(1)

    assert types_of(one) == types_of(two) == {"result": "Any"}


def test_several_outputs_are_typed_by_their_place_in_the_tuple() -> None:
    @op(out={"a": Out(), "b": Out(io_manager_key="fast"), "c": Out(str)})
    def f() -> tuple[int, Output[float], Any]: ...

    assert types_of(f) == {"a": "Int", "b": "Float", "c": "String"}
    assert f.outs["b"].io_manager_key == "fast"
    assert f.outs["a"].io_manager_key == "io_manager"


def test_as_many_outputs_as_the_annotated_tuple_has() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"declares 2 outputs.*tuple of 3"):

        @op(out={"a": Out(), "b": Out()})
        def f() -> tuple[int, int, int]: ...


def test_a_single_named_output_is_typed_by_the_whole_annotation() -> None:
    @op(out={"a": Out()})
    def f() -> tuple[int, int]: ...

    assert types_of(f) == {"a": "Tuple[Int, Int]"}


def test_no_outputs_at_all() -> None:
    @op(out={})
    def f() -> None: ...

    assert f.outs == {}


@pytest.mark.parametrize("out", [Out, DynamicOut, {"a": Out}, {"a": 5}, 5])
def test_out_is_out(out: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match=r"without parentheses|declared as"):
        op(name="f", out=out)(lambda: None)


def test_a_dynamic_output_is_typed_by_what_is_in_it() -> None:
    @op(out=DynamicOut())
    def listed() -> list[DynamicOutput[int]]: ...

    @op(out=DynamicOut())
    def yielded() -> Iterator[DynamicOutput[str]]: ...

    @op(out=DynamicOut(str))
    def said(): ...

    assert types_of(listed) == {"result": "Int"}
    assert types_of(yielded) == {"result": "Any"}
    assert types_of(said) == {"result": "String"}
    assert listed.outs["result"].is_dynamic


def test_an_annotation_declares_a_dynamic_output() -> None:
    @op
    def f() -> list[DynamicOutput[int]]: ...

    @op
    def g() -> DynamicOutput[str]: ...

    assert [(each.outs["result"].is_dynamic, each.outs["result"].type.display_name) for each in (f, g)] == [
        (True, "Int"),
        (True, "String"),
    ]
    with pytest.raises(InvalidDefinitionError, match=r"out=DynamicOut\(\)"):

        @op(out=Out())
        def h() -> list[DynamicOutput[int]]: ...


def test_several_outputs_are_not_one_value() -> None:
    with pytest.raises(InvalidDefinitionError, match="2 outputs, but is annotated to return int"):

        @op(out={"a": Out(), "b": Out()})
        def f() -> int: ...


# ---- inputs without a value ----------------------------------------------------------------------


def test_nothing_must_not_be_a_parameter() -> None:
    with pytest.raises(InvalidDefinitionError, match="Remove the parameter"):

        @op(ins={"start": In(Nothing)})
        def f(start: Any) -> None: ...


def test_nothing_is_no_argument_of_the_function() -> None:
    @op(ins={"start": In(Nothing)})
    def f(a: Any) -> None: ...

    assert list(f.ins) == ["a", "start"]
    assert f.signature.inputs == ("a",)


def test_nothing_has_no_default() -> None:
    with pytest.raises(InvalidDefinitionError, match="cannot have a default"):
        In(Nothing, default_value=3)


# ---- async, and that ops travel ------------------------------------------------------------------


def test_async_ops_are_typed_by_what_they_return() -> None:
    @op
    async def f() -> int:
        return 1

    assert types_of(f) == {"result": "Int"}


def test_a_job_of_local_ops_travels_by_value() -> None:
    @op(ins={"start": In(Nothing)}, tags={"a": "b"})
    def f(a: int = 3) -> int:
        return a

    @job
    def j() -> None:
        f()

    found = pickle.loads(cloudpickle.dumps(j))
    assert found.structure_hash == j.structure_hash
    again = found.node("f").op
    assert isinstance(again, TypedOp)
    assert again.ins["start"].type is Nothing
    assert again.outs["result"].type.key == "Int"
    assert not again.ins["start"].has_default
    assert again.compute_fn(4) == 4


def test_a_parameter_annotated_with_none_is_given_none() -> None:
    @op
    def nothing() -> None: ...

    @op
    def after(done: None, more: int = 1) -> list[object]:
        return [done, more]

    @job
    def runs() -> None:
        after(nothing())

    assert runs.execute_in_process().output_for_node("after") == [None, 1]
