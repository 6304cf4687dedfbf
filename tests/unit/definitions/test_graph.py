"""Graphs: inputs, outputs, nesting, and what they become."""

from __future__ import annotations

from typing import Any

import pytest

from opgrid import GraphIn, GraphOut, In, Nothing, Out, RetryPolicy, graph, job, op, success_hook
from opgrid.contracts.structure import FromGraphInput, FromNode
from opgrid.errors import InvalidDefinitionError, UnknownName


@op
def one() -> int:
    return 1


@op
def inc(n: int) -> int:
    return n + 1


@op(out={"low": Out(), "high": Out()})
def split(n):
    return n, n


@op(ins={"start": In(Nothing)})
def after(): ...


@success_hook
def told(_): ...


@graph
def add_two(n):
    """Adds two."""
    return inc(inc(n))


def test_a_graph_of_a_function() -> None:
    assert (add_two.name, add_two.description) == ("add_two", "Adds two.")
    assert list(add_two.nodes) == ["inc", "inc_2"]
    assert add_two.nodes["inc"].wires == {"n": FromGraphInput("n")}
    assert list(add_two.ins) == ["n"]
    assert add_two.outs["result"].source == FromNode("inc_2")
    assert [each.name for each in add_two.node_defs] == ["inc"]
    assert add_two.location.endswith(f"test_graph.py:{add_two.__wrapped__.__code__.co_firstlineno}")


def test_the_steps_inside_have_paths() -> None:
    @job
    def j():
        add_two(one())
        add_two.alias("more")(one())

    assert list(j.op_table) == ["one", "add_two.inc", "add_two.inc_2", "one_2", "more.inc", "more.inc_2"]
    assert j.node("more.inc_2").op is inc
    with pytest.raises(UnknownName, match=r"'add_two.inc_3' in job 'j'. Did you mean 'add_two.inc_2'"):
        j.node("add_two.inc_3")


def test_graphs_nest_to_any_depth() -> None:
    def level(depth: int, inner: Any) -> Any:
        @graph(name=f"level_{depth}")
        def around(n):
            return inner(n)

        return around

    made: Any = add_two
    for depth in range(50):
        made = level(depth, made)

    @job
    def j():
        made(one())

    path = ".".join(f"level_{depth}" for depth in reversed(range(50)))
    assert f"{path}.add_two.inc" in j.op_table
    assert len(j.structure.graphs) == 52


def test_an_input_has_the_type_of_what_takes_it_unless_it_says_one() -> None:
    @graph
    def outer(n, s: str, either):
        add_two(n)
        split(s)
        split(either)

    assert {name: port.type.display_name for name, port in outer.ins.items()} == {
        "n": "Int",
        "s": "String",
        "either": "Any",
    }


def test_declared_inputs_have_descriptions() -> None:
    @graph(ins={"n": GraphIn(description="a number")})
    def g(n):
        inc(n)

    assert g.ins["n"].description == "a number"


def test_a_declared_input_needs_a_parameter() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"declares the input 'nummer'.*Did you mean 'number'"):

        @graph(ins={"nummer": GraphIn()})
        def g(number):
            inc(number)


def test_an_input_that_goes_nowhere_is_an_error() -> None:
    with pytest.raises(InvalidDefinitionError, match="input 'unused' is not passed to anything"):

        @graph
        def g(n, unused):
            inc(n)

    with pytest.raises(InvalidDefinitionError, match="input 'unused' is not passed to anything"):

        @job
        def j(unused): ...


@pytest.mark.parametrize("source", ["def g(*args): ...", "def g(**kwargs): ..."])
def test_inputs_are_plain_parameters(source: str) -> None:
    space: dict[str, Any] = {}
    exec(source, space)
    with pytest.raises(InvalidDefinitionError, match="plain parameters"):
        graph(space["g"])


# ---- outputs --------------------------------------------------------------------------------------------------


def test_several_outputs_by_name() -> None:
    @graph(out={"a": GraphOut(description="the a"), "b": GraphOut()})
    def g():
        low, high = split(one())
        return {"b": high, "a": low}

    assert list(g.outs) == ["a", "b"]
    assert g.outs["a"].description == "the a"

    @job
    def j():
        found = g()
        inc(found.a)
        inc(found[1])

    assert j.graph.nodes["inc"].wires == {"n": FromNode("g", "a")}
    assert j.graph.nodes["inc_2"].wires == {"n": FromNode("g", "b")}


def test_several_outputs_in_a_tuple() -> None:
    @graph(out={"a": GraphOut(), "b": GraphOut()})
    def by_order():
        return one(), inc(one())

    @graph(out={"high": GraphOut(), "low": GraphOut()})
    def by_name():
        return split(one())

    assert by_order.outs["b"].source == FromNode("inc")
    assert by_name.outs["high"].source == FromNode("split", "high")


def test_an_input_may_be_given_back() -> None:
    @graph
    def same(n):
        return n

    assert same.outs["result"].source == FromGraphInput("n")


def test_a_named_single_output() -> None:
    @graph(out={"count": GraphOut()})
    def g():
        return one()

    assert list(g.outs) == ["count"]


@pytest.mark.parametrize(
    ("out", "returned", "match"),
    [
        ({"a": GraphOut(), "b": GraphOut()}, lambda: one(), "declares 2 outputs.*a single output 'result' of 'one'"),
        ({"a": GraphOut(), "b": GraphOut()}, lambda: {"a": one()}, "'b'.*did not return"),
        ({"a": GraphOut()}, lambda: {"aa": one()}, "'aa' that it does not declare. Did you mean 'a'"),
        ({"a": GraphOut()}, lambda: None, "'a'.*did not return"),
        ({"a": GraphOut(), "b": GraphOut()}, lambda: (one(), one(), one()), "a tuple of 3"),
        (None, lambda: {"a": one()}, "declares no outputs: add out="),
        (None, lambda: split(one()), "Declare the outputs"),
        (None, lambda: 5, "returned 5"),
        (None, lambda: one, "forget the parentheses"),
        (None, lambda: [one()], "Gather the list in an op"),
        (5, lambda: one(), "has to be a GraphOut"),
    ],
)
def test_what_is_returned_has_to_fit(out: Any, returned: Any, match: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=match) as caught:
        graph(name="broken", out=out)(returned)
    assert "broken" in str(caught.value)


# ---- what is said about nodes ----------------------------------------------------------------------------------------


def test_tags_and_hooks_go_down_and_policies_go_by_nearness() -> None:
    near, middle, far = RetryPolicy(1), RetryPolicy(2), RetryPolicy(3)

    @op(retry_policy=near)
    def careful(): ...

    @graph(tags={"graph": "yes"})
    def g():
        careful()
        one()
        one.with_retry_policy(near)()

    @job(op_retry_policy=far, tags={"job": "yes"}, hooks={told})
    def j():
        g.with_retry_policy(middle).alias("x")()
        one()

    def retries(path: str) -> int:
        policy = j.node(path).retry
        assert policy is not None
        return policy.max_retries

    assert [retries(path) for path in ("x.careful", "x.one", "x.one_2", "one")] == [1, 2, 1, 3]
    assert all(each.hooks == {told} for each in j.op_table.values())


def test_hooks_of_a_graph_invocation_are_for_what_is_inside() -> None:
    @job
    def j():
        add_two.with_hooks({told})(one())

    assert j.node("add_two.inc").hooks == {told}
    assert j.node("one").hooks == frozenset()


def test_unsatisfied_inputs_are_found_at_any_depth() -> None:
    @op(ins={"m": In(input_manager_key="store")})
    def managed(m, d=3): ...

    @graph
    def outer(x):
        add_two(x)
        inc()
        managed()
        after()

    @job
    def j():
        outer()

    found = {(each.node, each.name): each.leaves for each in j.unsatisfied_inputs}
    assert found == {("outer", "x"): (("outer.add_two.inc", "n"),), ("outer.inc", "n"): (("outer.inc", "n"),)}
    assert {each.port.type.display_name for each in j.unsatisfied_inputs} == {"Int"}


# ---- jobs of a graph -------------------------------------------------------------------------------------------------


def test_several_jobs_of_one_graph() -> None:
    @graph(tags={"a": "graph", "b": "graph"})
    def g(n):
        add_two(n)

    first = g.to_job()
    second = g.to_job(name="second", tags={"b": "job"}, description="Other.", input_values={"n": 3})
    assert (first.name, second.name) == ("g", "second")
    assert first.graph is second.graph is g
    assert first.tags == {"a": "graph", "b": "graph"}
    assert second.tags == {"a": "graph", "b": "job"}
    assert second.description == "Other."
    assert first.structure_hash != second.structure_hash


def test_a_graph_is_made_of_a_function() -> None:
    target: Any = add_two
    with pytest.raises(InvalidDefinitionError, match="goes on a function"):
        graph(target)


def test_the_same_definition_name_twice_in_a_job_is_an_error() -> None:
    @op(name="inc")
    def other(n): ...

    @graph
    def g(n):
        return other(n)

    @job
    def j():
        inc(g(one()))

    with pytest.raises(InvalidDefinitionError, match="two different definitions named 'inc'"):
        j.structure
