"""What calls mean inside a job, and what is refused there."""

from __future__ import annotations

from typing import Any

import pytest

from opgrid import (
    HookContext,
    In,
    JobDefinition,
    Nothing,
    Out,
    RetryPolicy,
    failure_hook,
    graph,
    job,
    op,
    success_hook,
)
from opgrid.contracts.structure import FanIn, FromNode
from opgrid.errors import InvalidDefinitionError, InvalidInvocationError, InvariantViolationError


@op
def one() -> int:
    return 1


@op
def inc(n):
    return n + 1


@op
def add(a, b):
    return a + b


@op
def total(ns):
    return sum(ns)


@op(out={"low": Out(), "high": Out()})
def split():
    return 1, 2


@op(ins={"start": In(Nothing)})
def after() -> None: ...


@success_hook
def told(_: Any) -> None: ...


@failure_hook
def warned(_: Any) -> None: ...


def wires(made: JobDefinition) -> dict[str, dict[str, Any]]:
    return {name: dict(node.wires) for name, node in made.graph.nodes.items()}


def refused(body: Any, error: type[Exception], match: str) -> None:
    """The error comes when the job is defined, and names the job and this file."""
    with pytest.raises(error, match=match) as caught:
        job(name="broken")(body)
    assert "broken" in str(caught.value)
    assert "test_composition.py:" in str(caught.value)


def test_a_call_inside_a_call_is_a_wire() -> None:
    @job
    def j() -> None:
        inc(one())

    assert wires(j) == {"one": {}, "inc": {"n": FromNode("one")}}


def test_arguments_go_by_position_and_by_name() -> None:
    @job
    def j() -> None:
        add(one(), b=inc(one()))

    assert wires(j)["add"] == {"a": FromNode("one"), "b": FromNode("inc")}


def test_inputs_may_be_left_open() -> None:
    @job
    def j() -> None:
        add(b=one())

    assert wires(j)["add"] == {"b": FromNode("one")}
    assert [(each.node, each.name) for each in j.unsatisfied_inputs] == [("add", "a")]


def test_nothing_is_left_of_a_composition() -> None:
    @job
    def j() -> None:
        inc(one())

    assert inc(3) == 4  # composing has ended: this runs the body
    with pytest.raises(ZeroDivisionError):

        @job
        def broken() -> None:
            1 / 0

    assert inc(3) == 4


# ---- what a call gives ---------------------------------------------------------------------------


def test_several_outputs_are_unpacked_indexed_and_named() -> None:
    @job
    def j() -> None:
        low, high = split()
        add(low, high)
        both = split()
        add(both.low, both[1])

    found = wires(j)
    assert found["add"] == {"a": FromNode("split", "low"), "b": FromNode("split", "high")}
    assert found["add_2"] == {"a": FromNode("split_2", "low"), "b": FromNode("split_2", "high")}


def test_all_outputs_at_once_are_refused_with_their_names() -> None:
    refused(lambda: inc(split()), InvalidDefinitionError, "'high', 'low'")


def test_an_op_without_outputs_gives_none() -> None:
    @op(out={})
    def silent() -> None: ...

    seen = []

    @job
    def j() -> None:
        seen.append(silent())

    assert seen == [None]


# ---- no values, and several ----------------------------------------------------------------------


def test_nothing_takes_any_output_or_a_list_of_them() -> None:
    @job
    def j() -> None:
        after(one())
        after(start=[one(), inc(one())])

    assert wires(j)["after"] == {"start": FromNode("one")}
    assert wires(j)["after_2"] == {"start": FanIn((FromNode("one_2"), FromNode("inc")))}


def test_a_nothing_input_that_is_left_open_needs_no_value() -> None:
    @job
    def j() -> None:
        after()

    assert j.unsatisfied_inputs == ()


def test_a_list_is_gathered_in_its_order() -> None:
    @job
    def j() -> None:
        a, b = one(), one()
        total([b, a, inc(b)])

    assert wires(j)["total"] == {"ns": FanIn((FromNode("one_2"), FromNode("one"), FromNode("inc")))}


def test_an_empty_list_is_accepted() -> None:
    @job
    def j() -> None:
        total([])

    assert wires(j)["total"] == {"ns": FanIn(())}


@pytest.mark.parametrize("item", [3, None, "x"])
def test_a_constant_in_a_list_is_refused(item: Any) -> None:
    refused(lambda: total([one(), item]), InvalidDefinitionError, r"ns\[1\]")


# ---- aliases, tags, hooks, retries ---------------------------------------------------------------


def test_the_second_call_of_an_op_gets_a_number() -> None:
    @job
    def j() -> None:
        inc(inc(inc(one())))

    assert list(j.graph.nodes) == ["one", "inc", "inc_2", "inc_3"]


def test_numbers_go_round_aliases() -> None:
    @job
    def j() -> None:
        one.alias("one_2")()
        one()
        one()

    assert list(j.graph.nodes) == ["one_2", "one", "one_3"]


def test_the_same_alias_twice_is_refused() -> None:
    def body() -> None:
        one.alias("x")()
        inc.alias("x")(one())

    refused(body, InvalidDefinitionError, "invoked the same node twice")


def test_an_alias_that_a_number_took_is_refused() -> None:
    def body() -> None:
        one()
        one()
        one.alias("one_2")()

    refused(body, InvalidDefinitionError, "'one_2' already")


def test_modifiers_chain_in_any_order_and_leave_the_op_alone() -> None:
    policy = RetryPolicy(max_retries=4)

    @job
    def j() -> None:
        inc.tag({"k": 1}).with_hooks({told}).with_retry_policy(policy).alias("a")(one())
        inc.alias("b").with_retry_policy(policy).tag({"k": "v"}).tag({"l": "w"}).with_hooks({told}).with_hooks(
            {warned}
        )(one())

    a, b = j.graph.nodes["a"], j.graph.nodes["b"]
    assert (a.tags, a.hook_defs, a.retry_policy) == ({"k": "1"}, {told}, policy)
    assert (b.tags, b.hook_defs, b.retry_policy) == ({"k": "v", "l": "w"}, {told, warned}, policy)
    assert inc.tags == {}


def test_tags_of_the_invocation_go_over_those_of_the_op() -> None:
    @op(tags={"k": "op", "l": "op"})
    def tagged() -> None: ...

    @job
    def j() -> None:
        tagged.tag({"k": "call"})()

    assert j.node("tagged").tags == {"k": "call", "l": "op"}


# ---- what is refused -----------------------------------------------------------------------------


def test_too_many_inputs() -> None:
    refused(lambda: inc(one(), one()), InvalidDefinitionError, "has 1 input .*called with 2")


def test_an_op_that_was_not_called() -> None:
    refused(lambda: inc(one), InvalidDefinitionError, r"forget parentheses\? one\(")
    refused(lambda: inc(one.alias("x")), InvalidDefinitionError, r"forget parentheses")


def test_a_constant() -> None:
    refused(lambda: inc(3), InvalidDefinitionError, "the constant 3")
    refused(lambda: inc(None), InvalidDefinitionError, "got, for its input 'n', None")


def test_a_tuple() -> None:
    refused(lambda: total((one(), one())), InvalidDefinitionError, "a tuple.*a list of outputs")


def test_an_argument_twice() -> None:
    refused(lambda: add(one(), a=one()), InvalidInvocationError, "'a' twice")


def test_an_input_that_there_is_not() -> None:
    refused(lambda: add(one(), bb=one()), InvalidDefinitionError, "no input 'bb'. Did you mean 'b'")


@pytest.mark.parametrize("method", ["alias", "tag", "with_hooks", "with_retry_policy"])
def test_modifiers_after_the_call(method: str) -> None:
    refused(lambda: getattr(inc(one()), method)("x"), InvariantViolationError, r"has to come before")


def test_a_job_inside_a_job() -> None:
    @job
    def inner() -> None:
        one()

    refused(lambda: inner(), InvariantViolationError, "make the shared part a @graph")


def test_a_job_called_like_a_function() -> None:
    @job
    def j() -> None:
        one()

    with pytest.raises(InvariantViolationError, match=r"j.execute_in_process\(\)"):
        j()


def test_a_graph_called_like_a_function() -> None:
    @graph
    def g() -> None:
        one()

    with pytest.raises(InvariantViolationError, match=r"g.execute_in_process\(\)"):
        g()


def test_a_job_returns_nothing() -> None:
    refused(lambda: one(), InvalidDefinitionError, "a job has no declared outputs.*to_job")


def test_an_output_cannot_be_looked_into() -> None:
    def unpacked() -> None:
        a, _ = one()
        inc(a)

    refused(unpacked, InvalidDefinitionError, "declare them with out=")
    refused(lambda: inc(one()["k"]), InvalidDefinitionError, "Do it in an op")


def test_an_output_of_another_graph() -> None:
    leaked = []

    @job
    def first() -> None:
        leaked.append(one())

    refused(lambda: inc(leaked[0]), InvalidDefinitionError, "of another graph, @job 'first'")
    refused(lambda: total([leaked[0]]), InvalidDefinitionError, "of another graph")


def test_two_definitions_of_one_name() -> None:
    @op(name="one")
    def other() -> None: ...

    def body() -> None:
        one()
        other()

    refused(body, InvalidDefinitionError, "two different definitions named 'one'.*name=")


def test_the_error_names_the_line_of_the_call() -> None:
    def body() -> None:
        one()
        inc(5)

    with pytest.raises(InvalidDefinitionError) as caught:
        job(body)
    first = body.__code__.co_firstlineno
    assert f"test_composition.py:{first})" in str(caught.value)  # the job
    assert f"test_composition.py:{first + 2}:" in str(caught.value)  # the call
    assert inc.location in str(caught.value)


def test_a_pending_invocation_outside_of_a_job_calls_the_op() -> None:
    assert inc.alias("x")(2) == 3
    assert "not yet called" in repr(inc.alias("x"))


@pytest.mark.parametrize("mentioned", [one.alias, lambda _: one.tag({"a": "b"}).alias("b")], ids=["alias", "more"])
def test_what_is_mentioned_and_not_called_is_warned_of(mentioned: Any) -> None:
    def body() -> None:
        mentioned("forgotten")
        one.alias("called").tag({"a": "b"})()

    with pytest.warns(
        UserWarning, match=r"mentions without calling it, so that it does not run: op 'one' .*Call it"
    ) as told:
        made = job(body)
    assert told[0].filename == __file__
    assert list(made.graph.nodes) == ["called"]


def test_a_graph_with_an_alias_runs_by_itself() -> None:
    done: list[str] = []

    @success_hook
    def tell(context: HookContext) -> None:
        done.append(context.job_name)

    @graph
    def lines() -> Any:
        return one()

    made = lines.alias("first").tag({"team": "data"}).with_hooks({tell})
    assert made.execute_in_process().output_value() == 1
    assert done == ["first"]
    again = made.with_retry_policy(RetryPolicy(max_retries=2)).to_job(tags={"kind": "own"})
    assert (again.name, again.tags) == ("first", {"team": "data", "kind": "own"})
    assert again.op_retry_policy == RetryPolicy(max_retries=2)
    assert made.to_job(name="other").name == "other"
    with pytest.raises(InvalidInvocationError, match=r"op 'one' .* no \.to_job\(\): only graphs"):
        one.alias("x").to_job()


def test_a_job_may_have_the_name_of_a_graph_in_it() -> None:
    @op
    def two() -> int:
        return 2

    @graph
    def load() -> Any:
        return inc(two())

    @job(name="load")
    def of_that_name() -> None:
        load()

    result = of_that_name.execute_in_process()
    assert result.output_for_node("load.inc") == 3
    assert [event.step_key for event in result.all_events if event.is_step_success] == ["load.two", "load.inc"]
