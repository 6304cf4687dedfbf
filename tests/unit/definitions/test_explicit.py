"""Graphs from data."""

from __future__ import annotations

from typing import Any

import pytest

from opgrid import (
    DependencyDefinition,
    DynamicCollectDependencyDefinition,
    DynamicOut,
    GraphDefinition,
    InputMapping,
    MappedInputPlaceholder,
    MultiDependencyDefinition,
    NodeInvocation,
    OutputMapping,
    RetryPolicy,
    graph,
    op,
    success_hook,
)
from opgrid.contracts.structure import Delivery, FanIn, FromGraphInput, FromNode
from opgrid.errors import InvalidDefinitionError


@op
def one(): ...


@op
def inc(n: int): ...


@op
def total(ns): ...


@op(out=DynamicOut())
def files(): ...


@success_hook
def told(_): ...


def wires(made: GraphDefinition) -> dict[str, dict[str, Any]]:
    return {name: dict(node.wires) for name, node in made.nodes.items()}


def refused(match: str, **parts: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match=match) as caught:
        GraphDefinition("broken", **parts)
    assert "'broken'" in str(caught.value)
    assert "test_explicit.py:" in str(caught.value)


def test_the_same_structure_as_from_a_function() -> None:
    explicit = GraphDefinition(
        "g",
        node_defs=[one, inc],
        dependencies={
            "inc": {"n": DependencyDefinition("one")},
            NodeInvocation("inc", alias="again"): {"n": DependencyDefinition("inc", "result")},
            "one": {},
        },
        output_mappings=[OutputMapping("result", "again", "result")],
    )

    @graph(name="g")
    def composed():
        return inc.alias("again")(inc(one()))

    assert explicit.info == composed.info
    assert list(explicit.nodes) == ["one", "inc", "again"]


def test_nodes_that_are_not_in_dependencies_stand_alone() -> None:
    assert wires(GraphDefinition("g", node_defs=[one, inc])) == {"one": {}, "inc": {}}


def test_an_invocation_carries_what_a_call_would() -> None:
    policy = RetryPolicy(3)
    made = GraphDefinition(
        "g",
        node_defs=[one],
        dependencies={NodeInvocation("one", "x", tags={"k": 1}, hook_defs={told}, retry_policy=policy): {}},
    )
    node = made.nodes["x"]
    assert (node.tags, node.hook_defs, node.retry_policy) == ({"k": "1"}, {told}, policy)


def test_a_list_of_outputs_and_a_place_for_an_input() -> None:
    made = GraphDefinition(
        "g",
        node_defs=[one, total],
        dependencies={
            "total": {"ns": MultiDependencyDefinition([DependencyDefinition("one"), MappedInputPlaceholder])}
        },
        input_mappings=[InputMapping("extra", "total", "ns", fan_in_index=1, graph_input_description="more", type=int)],
    )
    assert wires(made)["total"] == {"ns": FanIn((FromNode("one"), FromGraphInput("extra")))}
    assert made.ins["extra"].type.display_name == "Int"
    assert made.ins["extra"].description == "more"


def test_an_input_of_the_graph() -> None:
    made = GraphDefinition("g", node_defs=[inc], input_mappings=[InputMapping("x", "inc", "n")])
    assert wires(made) == {"inc": {"n": FromGraphInput("x")}}
    assert made.ins["x"].type.display_name == "Int"


def test_dynamic_outputs_are_mapped_unless_they_are_collected() -> None:
    made = GraphDefinition(
        "g",
        node_defs=[files, inc, total],
        dependencies={
            "inc": {"n": DependencyDefinition("files")},
            "total": {"ns": DynamicCollectDependencyDefinition("inc", "result")},
        },
    )
    assert wires(made)["inc"] == {"n": FromNode("files", "result", Delivery.MAPPED)}
    assert wires(made)["total"] == {"ns": FromNode("inc", "result", Delivery.COLLECTED)}


def test_a_generated_graph_of_many_nodes() -> None:
    dependencies: dict[Any, Any] = {NodeInvocation("inc", alias="n0"): {}}
    for number in range(1, 3000):
        dependencies[NodeInvocation("inc", alias=f"n{number}")] = {"n": DependencyDefinition(f"n{number - 1}")}
    made = GraphDefinition("g", node_defs=[inc], dependencies=dict(reversed(dependencies.items())))
    assert list(made.nodes) == [f"n{number}" for number in range(3000)]


def test_what_is_not_there_is_named() -> None:
    refused("'ink', which is not in node_defs. Did you mean 'inc'", node_defs=[inc], dependencies={"ink": {}})
    refused(
        "depends on 'ones', which is no node. Did you mean 'one'",
        node_defs=[one, inc],
        dependencies={"inc": {"n": DependencyDefinition("ones")}},
    )
    refused(
        "node 'one' has no output 'res'. Did you mean 'result'",
        node_defs=[one, inc],
        dependencies={"inc": {"n": DependencyDefinition("one", "res")}},
    )
    refused(
        "node 'inc' has no input 'm'",
        node_defs=[one, inc],
        dependencies={"inc": {"m": DependencyDefinition("one")}},
    )
    refused("no node 'x'", node_defs=[inc], input_mappings=[InputMapping("a", "x", "n")])
    refused("no node 'x'", node_defs=[inc], output_mappings=[OutputMapping("a", "x")])


def test_a_circle_is_named() -> None:
    refused(
        "circle.*'a', 'b'",
        node_defs=[inc],
        dependencies={
            NodeInvocation("inc", "a"): {"n": DependencyDefinition("b")},
            NodeInvocation("inc", "b"): {"n": DependencyDefinition("a")},
        },
    )


def test_a_node_twice() -> None:
    refused(
        "the node 'x' twice",
        node_defs=[one],
        dependencies={NodeInvocation("one", "x"): {}, NodeInvocation("one", "x", tags={"a": "b"}): {}},
    )


def test_two_definitions_of_one_name() -> None:
    @op(name="one")
    def other(): ...

    refused("two definitions named 'one'", node_defs=[one, other])


def test_a_dependency_and_a_mapping_for_one_input() -> None:
    refused(
        "both a dependency and an input mapping",
        node_defs=[one, inc],
        dependencies={"inc": {"n": DependencyDefinition("one")}},
        input_mappings=[InputMapping("x", "inc", "n")],
    )


def test_a_place_that_nothing_fills() -> None:
    refused(
        "fan_in_index=0",
        node_defs=[total],
        dependencies={"total": {"ns": MultiDependencyDefinition([MappedInputPlaceholder])}},
    )


@pytest.mark.parametrize("wrong", ["one", 5, None])
def test_dependencies_are_dependencies(wrong: object) -> None:
    refused("is no dependency", node_defs=[one, inc], dependencies={"inc": {"n": wrong}})


def test_node_defs_are_definitions() -> None:
    refused("it has to hold ops and graphs", node_defs=[one.alias("x")])


@pytest.mark.parametrize(
    ("dependencies", "message"),
    [
        ({"inc": DependencyDefinition("one")}, r"of node 'inc' .*\{'inc': \{'input': DependencyDefinition"),
        ([DependencyDefinition("one")], "have to be a dict of nodes"),
        ({one: {}}, "have the key OpDefinition.*name or a NodeInvocation"),
    ],
)
def test_dependencies_that_are_no_dicts_of_dicts_are_refused(dependencies: Any, message: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=message):
        GraphDefinition(name="g", node_defs=[one, inc], dependencies=dependencies)
