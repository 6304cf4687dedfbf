"""Habits of code that was written for Dagster, and that has to mean the same here."""

from __future__ import annotations

from typing import Any, Literal
from unittest.mock import MagicMock

import pydantic
import pytest

from opgrid import Any as AnyType
from opgrid import (
    Bool,
    Config,
    ConfigurableResource,
    Field,
    Float,
    In,
    InitResourceContext,
    Int,
    InvalidConfigError,
    InvalidDefinitionError,
    InvalidSubsetError,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    RunConfig,
    String,
    graph,
    job,
    make_values_resource,
    multiprocess_executor,
    op,
    resource,
    validate_run_config,
)


@op
def one() -> int:
    return 1


@op
def two() -> int:
    return 2


# ---- calls ---------------------------------------------------------------------------------------


def test_positions_are_those_of_the_function_whatever_ins_says_first() -> None:
    @op(ins={"start": In(Nothing), "a": In(), "b": In()})
    def told(b: int, a: int) -> str:
        return f"a={a} b={b}"

    @job
    def calls() -> None:
        told(one(), two())
        told.alias("ordered")(one(), two(), one())
        told.alias("named")(one(), two(), start=two())

    result = calls.execute_in_process()
    assert {result.output_for_node(name) for name in ("told", "ordered", "named")} == {"a=2 b=1"}
    assert told(1, 2) == "a=2 b=1"


# ---- config --------------------------------------------------------------------------------------


def test_an_op_without_a_schema_takes_any_config() -> None:
    @op
    def reads(context: OpExecutionContext) -> Any:
        return context.op_config

    @resource
    def source(context: InitResourceContext) -> Any:
        return context.resource_config

    @op(required_resource_keys={"source"})
    def uses(context: OpExecutionContext) -> Any:
        return context.resources.source

    @job(resource_defs={"source": source})
    def free() -> None:
        reads()
        uses()

    config = {"ops": {"reads": {"config": {"rows": [1]}}}, "resources": {"source": {"config": 5}}}
    result = free.execute_in_process(run_config=config)
    assert (result.output_for_node("reads"), result.output_for_node("uses")) == ({"rows": [1]}, 5)
    assert free.execute_in_process().output_for_node("reads") is None


def test_config_that_nobody_could_look_at_is_an_error() -> None:
    @job
    def blind() -> None:
        one()

    with pytest.raises(InvalidConfigError, match="op 'one' takes no config: it has no config parameter, and no conte"):
        blind.execute_in_process(run_config={"ops": {"one": {"config": 3}}})


def test_types_of_inputs_are_config_schemas_too() -> None:
    schema = {"i": Int, "f": Float, "s": String, "b": Bool, "any": AnyType, "more": Field(Int, default_value=7)}

    @op(config_schema=schema)
    def reads(context: OpExecutionContext) -> Any:
        return context.op_config

    @job
    def typed() -> None:
        reads()

    good = {"i": 1, "f": 1.5, "s": "x", "b": True, "any": [{}]}
    whole = typed.execute_in_process(run_config={"ops": {"reads": {"config": good}}}).output_for_node("reads")
    assert whole == {**good, "more": 7}
    with pytest.raises(InvalidConfigError) as told:
        validate_run_config(job_def=typed, run_config={"ops": {"reads": {"config": {**good, "i": "x", "b": 1}}}})
    assert len(told.value.errors) == 2


class Cat(Config):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(Config):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Owner(Config):
    pet: Cat | Dog = pydantic.Field(discriminator="kind")


@op
def keeps(config: Owner) -> Any:
    return config.pet


@job
def keeping() -> None:
    keeps()


@pytest.mark.parametrize(
    ("written", "pet"),
    [
        ({"dog": {"tricks": ["roll"]}}, Dog(tricks=["roll"])),
        ({"kind": "dog", "tricks": ["roll"]}, Dog(tricks=["roll"])),
        ({"dog": {}}, Dog()),
        ({"cat": {"lives": 9}}, Cat(lives=9)),
    ],
)
def test_one_of_several_models_is_chosen_by_its_mark_or_by_a_key(written: Any, pet: Config) -> None:
    config = {"ops": {"keeps": {"config": {"pet": written}}}}
    assert keeping.execute_in_process(run_config=config).output_for_node("keeps") == pet
    given = RunConfig(ops={"keeps": Owner(pet=pet)})
    assert keeping.execute_in_process(run_config=given).output_for_node("keeps") == pet


@pytest.mark.parametrize(
    "written", [{"bird": {}}, {"cat": {}}, {"dog": {"lives": 1}}, {"dog": {}, "cat": {"lives": 9}}]
)
def test_a_choice_that_does_not_fit_is_told(written: Any) -> None:
    with pytest.raises(InvalidConfigError, match="root:ops:keeps:config:pet"):
        keeping.execute_in_process(run_config={"ops": {"keeps": {"config": {"pet": written}}}})


# ---- resources -----------------------------------------------------------------------------------


def test_a_mock_stands_in_for_a_resource() -> None:
    class Server(ConfigurableResource):
        def answer(self) -> int:
            return 1

    @op
    def asks(server: Server) -> int:
        return server.answer()

    @job(resource_defs={"server": Server()})
    def asking() -> None:
        asks()

    mock = MagicMock()
    mock.answer.return_value = 42
    assert asking.execute_in_process(resources={"server": mock}).output_for_node("asks") == 42


def test_values_of_a_values_resource_are_items() -> None:
    @op(required_resource_keys={"globals"})
    def reads(context: OpExecutionContext) -> Any:
        return context.resources.globals["size"]

    @job(resource_defs={"globals": make_values_resource(size=int)})
    def valued() -> None:
        reads()

    config = {"resources": {"globals": {"config": {"size": 3}}}}
    assert valued.execute_in_process(run_config=config).output_for_node("reads") == 3


def test_setup_sees_its_config_as_a_dict() -> None:
    seen: list[Any] = []

    class Server(ConfigurableResource):
        host: str
        port: int = 80

        def setup_for_execution(self, context: InitResourceContext) -> None:
            seen.append((context.resource_config["host"], context.resource_config["port"]))

    @op
    def asks(server: Server) -> None: ...

    @job(resource_defs={"server": Server(host="h")})
    def asking() -> None:
        asks()

    asking.execute_in_process(run_config={"resources": {"server": {"config": {"port": 81}}}})
    assert seen == [("h", 81)]


def test_a_nested_resource_that_is_left_to_the_launch_needs_a_key() -> None:
    class Inner(ConfigurableResource):
        url: str

    class Outer(ConfigurableResource):
        inner: Inner

    @op
    def uses(outer: Outer) -> str:
        return outer.inner.url

    def using(**resources: Any) -> JobDefinition:
        @job(resource_defs=resources)
        def uses_both() -> None:
            uses()

        return uses_both

    inner = Inner.configure_at_launch()
    with pytest.raises(InvalidDefinitionError, match="'outer' holds as 'inner' one that is configured at launch"):
        using(outer=Outer(inner=inner)).check_resources()
    config = {"resources": {"inner": {"config": {"url": "u"}}}}
    whole = using(outer=Outer(inner=inner), inner=inner)
    assert whole.execute_in_process(run_config=config).output_for_node("uses") == "u"


# ---- running -------------------------------------------------------------------------------------


def test_in_process_the_executor_and_its_config_do_not_matter() -> None:
    @job(executor_def=multiprocess_executor, config={"execution": {"config": {"max_concurrent": 3}}})
    def bound() -> None:
        one()

    @job
    def free() -> None:
        one()

    assert bound.execute_in_process(run_config={"execution": {"config": {"max_concurrent": 2}}}).success
    assert free.execute_in_process(
        run_config={"execution": {"config": {"multiprocess": {"max_concurrent": 2}}}}
    ).success
    with pytest.raises(InvalidConfigError, match="root:execution:confg"):
        free.execute_in_process(run_config={"execution": {"confg": {}}})


@graph
def both() -> None:
    one()
    two()


@job
def nested() -> None:
    one()
    both()


def test_a_subset_of_a_job_is_a_job() -> None:
    subset = nested.get_subset(op_selection=["both"])
    result = subset.execute_in_process()
    assert (result.run.job_name, {event.step for event in result.all_node_events}) == (
        "nested",
        {"both.one", "both.two"},
    )
    narrower = subset.execute_in_process(op_selection=["both.two"])
    assert {event.step for event in narrower.all_node_events} == {"both.two"}
    with pytest.raises(InvalidSubsetError, match="takes 'one'"):
        subset.execute_in_process(op_selection=["one"])
    chosen = both.to_job(op_selection=["two"]).execute_in_process()
    assert {event.step for event in chosen.all_node_events} == {"two"}


@pytest.mark.parametrize("selection", [[], ["*"]])
def test_all_ops_are_selected_by_a_star_or_by_nothing(selection: list[str]) -> None:
    result = nested.execute_in_process(op_selection=selection)
    assert {event.step for event in result.all_node_events} == {"one", "both.one", "both.two"}
