"""Run configs as JSON Schema, judged by another validator and by our own."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from opgrid import (
    Array,
    Config,
    ConfigurableResource,
    Enum,
    EnumValue,
    Field,
    GraphDefinition,
    Map,
    Noneable,
    Permissive,
    RunConfig,
    ScalarUnion,
    Selector,
    Shape,
    StringSource,
    config_mapping,
    graph,
    job,
    op,
    validate_run_config,
)
from opgrid.errors import InvalidConfigError


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Config):
    depth: int = 1


class Outer(Config):
    name: str
    color: Color = Color.RED
    inner: Inner = Inner()
    numbers: list[int] = []


class Server(ConfigurableResource):  # type: ignore[type-arg]
    host: str
    port: int = 80


@op
def modern(config: Outer) -> None: ...


@op(
    config_schema={
        "text": StringSource,
        "count": Field(int, default_value=3, description="how many"),
        "shape": Field(Shape({"a": Noneable(float)}), is_required=False),
        "either": Field(Selector({"x": int, "y": str}), is_required=False),
        "list": Field(Array(bool), is_required=False),
        "map": Field(Map(str, int), is_required=False),
        "enum": Field(Enum("E", [EnumValue("A"), EnumValue("B")]), is_required=False),
        "union": Field(ScalarUnion(int, {"deep": str}), is_required=False),
        "open": Field(Permissive({"known": int}), is_required=False),
    }
)
def older(context: Any) -> None: ...


@op
def served(server: Server) -> None: ...


@graph
def nested() -> None:
    older()


@job(resource_defs={"server": Server.configure_at_launch()})
def whole() -> None:
    """Everything."""
    modern()
    nested()
    served()


def given(**changes: Any) -> dict[str, Any]:
    old = {"text": "t", **changes.pop("older", {})}
    new = {"name": "n", **changes.pop("modern", {})}
    server = {"host": "h", **changes.pop("server", {})}
    return {
        "ops": {"modern": {"config": new}, "nested": {"ops": {"older": {"config": old}}}},
        "resources": {"server": {"config": server}},
        **changes,
    }


GOOD = [
    given(),
    given(modern={"color": "BLUE", "inner": {"depth": 2}, "numbers": [1, 2]}),
    given(older={"text": {"env": "HOME"}, "count": 1, "shape": {"a": None}}),
    given(older={"either": {"y": "s"}, "list": [True], "map": {"k": 1}, "enum": "B", "union": {"deep": "d"}}),
    given(older={"union": 3, "open": {"known": 1, "more": [1]}}),
]
BAD = [
    {},
    given(modern={"name": 3}),
    given(modern={"nmae": "x"}),
    given(modern={"inner": {"depth": "deep"}}),
    given(older={"count": "three"}),
    given(older={"either": {"x": 1, "y": "s"}}),
    given(older={"list": [1]}),
    given(older={"map": {"k": "v"}}),
    given(older={"enum": "C"}),
    given(older={"union": {"deep": 1}}),
    given(older={"shape": {"b": 1}}),
    given(server={"port": "eighty"}),
    given(opps={}),
]


@pytest.mark.parametrize("config", GOOD)
def test_what_a_job_takes_fits(config: dict[str, Any]) -> None:
    Draft202012Validator(whole.run_config_schema).validate(config)
    validate_run_config(whole, config)


@pytest.mark.parametrize("config", BAD)
def test_what_it_does_not_take_does_not(config: dict[str, Any]) -> None:
    assert not Draft202012Validator(whole.run_config_schema).is_valid(config)
    with pytest.raises(InvalidConfigError):
        validate_run_config(whole, config)


def test_it_is_a_schema_and_tells_of_defaults_and_descriptions() -> None:
    schema = whole.run_config_schema
    Draft202012Validator.check_schema(schema)
    inner = schema["properties"]["ops"]["properties"]["nested"]["properties"]["ops"]["properties"]["older"]
    count = inner["properties"]["config"]["properties"]["count"]
    assert count == {"type": "integer", "description": "how many", "default": 3}
    assert schema["required"] == ["ops", "resources"]


def test_what_a_job_brings_along_is_not_required() -> None:
    @job(config=RunConfig(ops={"modern": Outer(name="mine")}))
    def brings() -> None:
        modern()

    Draft202012Validator(brings.run_config_schema).validate({})
    config = brings.run_config_schema["properties"]["ops"]["properties"]["modern"]["properties"]["config"]
    assert config["default"]["name"] == "mine"


def test_a_config_mapping_stands_for_all() -> None:
    @config_mapping
    def simple(given: Inner) -> RunConfig:
        return RunConfig(ops={"modern": Outer(name=str(given.depth))})

    @job(config=simple)
    def mapped() -> None:
        modern()

    validator = Draft202012Validator(mapped.run_config_schema)
    validator.validate({"depth": 3})
    assert not validator.is_valid({"ops": {}})


def test_a_copy_of_a_graph_is_another_definition() -> None:
    found = nested.copy()
    assert isinstance(found, GraphDefinition)
    assert found is not nested
    assert found.name == nested.name
    assert found.to_job(name="j").execute_in_process({"ops": {"older": {"config": {"text": "x"}}}}).success
