"""Fan-outs: map, collect, and what may meet."""

from __future__ import annotations

from typing import Any

import pytest

from opgrid import DynamicOut, DynamicOutput, GraphOut, In, Nothing, Out, graph, job, op
from opgrid.contracts.structure import Delivery, FanIn, FromGraphInput, FromNode
from opgrid.errors import InvalidDefinitionError


@op(out=DynamicOut())
def files():
    yield DynamicOutput("a", "k1")


@op(out=DynamicOut())
def lines(file):
    yield DynamicOutput(file, "k1")


@op(out={"parts": DynamicOut(), "count": Out()})
def cut():
    yield DynamicOutput(1, "k", output_name="parts")


@op
def one() -> int:
    return 1


@op
def inc(n):
    return n + 1


@op
def two(a, b):
    return a, b


@op
def total(ns):
    return sum(ns)


@op(out={"x": Out(), "y": Out()})
def split(n):
    return n, n


@op(ins={"start": In(Nothing)})
def after() -> None: ...


def mapped(node: str, output: str = "result") -> FromNode:
    return FromNode(node, output, Delivery.MAPPED)


def collected(node: str, output: str = "result") -> FromNode:
    return FromNode(node, output, Delivery.COLLECTED)


def wires(body: Any) -> dict[str, dict[str, Any]]:
    return {name: dict(node.wires) for name, node in job(name="j")(body).graph.nodes.items()}


def refused(body: Any, match: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=match) as caught:
        job(name="broken")(body)
    assert "broken" in str(caught.value)


# ---- maps and collections ------------------------------------------------------------------------


def test_map_and_collect() -> None:
    def body() -> None:
        total(files().map(inc).collect())

    assert wires(body) == {"files": {}, "inc": {"n": mapped("files")}, "total": {"ns": collected("inc")}}


def test_the_function_is_called_once_whatever_it_does() -> None:
    calls = []

    def each(value: Any) -> Any:
        calls.append(value)
        return inc(inc(value))

    def body() -> None:
        files().map(each)

    assert list(wires(body)) == ["files", "inc", "inc_2"]
    assert len(calls) == 1


def test_inside_a_branch_outputs_are_passed_on_whole() -> None:
    def body() -> None:
        files().map(lambda file: inc(inc(file)))

    assert wires(body)["inc_2"] == {"n": FromNode("inc")}


def test_map_goes_on_where_map_ended() -> None:
    def body() -> None:
        total(files().map(inc).map(inc).collect())

    assert wires(body)["inc_2"] == {"n": FromNode("inc")}


def test_a_dynamic_output_may_be_collected_at_once() -> None:
    def body() -> None:
        total(files().collect())

    assert wires(body)["total"] == {"ns": collected("files")}


def test_one_of_several_outputs_may_be_dynamic() -> None:
    def body() -> None:
        parts, count = cut()
        parts.map(lambda part: two(part, count))

    assert wires(body)["two"] == {"a": mapped("cut", "parts"), "b": FromNode("cut", "count")}


def test_a_map_may_give_several_outputs_or_none() -> None:
    seen: list[Any] = []

    def body() -> None:
        x, y = files().map(split)
        total(x.collect())
        total(y.collect())
        seen.append(files().map(lambda file: None))
        seen.append(files().map(lambda file: {"k": inc(file)}))

    assert wires(body)["total_2"] == {"ns": collected("split", "y")}
    assert seen[0] is None
    assert list(seen[1]) == ["k"]


def test_what_a_map_gave_can_be_mapped_though_it_does_not_depend_on_the_values() -> None:
    @graph(out={"each": GraphOut(), "once": GraphOut()})
    def per_value(value, other):
        return {"each": inc(value), "once": inc.alias("beside")(other)}

    def body() -> None:
        made = files().map(lambda file: per_value(file, one()))
        made.each.map(inc)
        made.once.map(inc.alias("after"))
        named = files.alias("more")().map(lambda _: {"first": made.once})
        named["first"].map(inc.alias("last"))

    after, last = (wires(body)[name] for name in ("after", "last"))
    assert after == {"n": FromNode("per_value", "once")}  # it runs once
    assert last == after
    refused(lambda: total(files().map(lambda _: one()).collect()), "not mapped, so there is nothing to collect")


def test_an_alias_is_mapped_as_well() -> None:
    def body() -> None:
        files().map(inc.alias("plus"))

    assert wires(body)["plus"] == {"n": mapped("files")}


def test_a_list_inside_a_branch() -> None:
    def body() -> None:
        files().map(lambda file: total([inc(file), inc(file)]))

    assert wires(body)["total"] == {"ns": FanIn((FromNode("inc"), FromNode("inc_2")))}


def test_a_mapped_output_may_order_a_step_after_all_of_its_branches() -> None:
    def body() -> None:
        after(start=files().map(inc).collect())

    assert wires(body)["after"] == {"start": collected("inc")}


# ---- what may come along, and what not -----------------------------------------------------------


def test_other_outputs_may_come_along() -> None:
    def body() -> None:
        o = one()
        files().map(lambda file: two(file, o))

    assert wires(body)["two"] == {"a": mapped("files"), "b": FromNode("one")}


@pytest.mark.parametrize("wrong", [lambda: inc(files()), lambda: total([files()]), lambda: after(start=files())])
def test_a_dynamic_output_itself_is_refused(wrong: Any) -> None:
    refused(wrong, r"the dynamic output 'result' of 'files'.*\.map\(.*\.collect\(\)")


def test_collect_inside_a_list_is_refused() -> None:
    refused(lambda: total([one(), files().collect()]), "Collect gives a list by itself")


def test_what_is_not_dynamic_cannot_be_mapped_or_collected() -> None:
    refused(lambda: one().map(inc), r"'one' cannot be used.*DynamicOut\(\)")
    refused(lambda: one().collect(), r"nothing to collect.*DynamicOut\(\)")


def test_collect_comes_last() -> None:
    refused(lambda: files().collect().map(inc), "Map before you collect")
    refused(lambda: files().collect().collect(), "collected already")


def test_map_takes_a_function() -> None:
    refused(lambda: files().map(3), "not 3")
    refused(lambda: files().map(lambda file: inc), "Did you forget the parentheses")
    refused(lambda: files().map(lambda file: 3), "returned 3")


def test_two_unrelated_fan_outs_do_not_meet() -> None:
    def body() -> None:
        a, b = files(), files()
        a.map(lambda x: b.map(lambda y: two(x, y)))

    refused(body, r"several dynamic outputs.*'a' over files.result; 'b' over files_2.result.*[Cc]ollect")


def test_two_outputs_of_one_op_are_two_fan_outs() -> None:
    @op(out={"p": DynamicOut(), "q": DynamicOut()})
    def both():
        yield DynamicOutput(1, "k", output_name="p")

    def body() -> None:
        p, q = both()
        two(p.map(inc), q.map(inc))

    refused(body, "over both.p.*over both.q")


def test_unrelated_fan_outs_do_not_meet_in_a_list() -> None:
    refused(lambda: total([files().map(inc), files().map(inc)]), "several dynamic outputs")


def test_one_of_two_may_be_collected_to_meet_the_other() -> None:
    def body() -> None:
        everything = files().collect()
        files().map(lambda x: two(x, everything))

    assert wires(body)["two"] == {"a": mapped("files_2"), "b": collected("files")}


# ---- nested ------------------------------------------------------------------------------------------------------


def test_a_dynamic_op_may_be_mapped_and_its_outputs_again() -> None:
    def body() -> None:
        files().map(lambda file: lines(file).map(lambda line: two(line, file)))

    assert wires(body) == {
        "files": {},
        "lines": {"file": mapped("files")},
        "two": {"a": mapped("lines"), "b": mapped("files")},
    }


def test_collect_takes_away_one_level() -> None:
    def body() -> None:
        per_file = files().map(lambda file: total(lines(file).map(inc).collect()))
        total(per_file.collect())

    assert wires(body)["total"] == {"ns": collected("inc")}
    assert wires(body)["total_2"] == {"ns": collected("total")}


def test_collect_outside_of_both_maps_still_takes_away_one() -> None:
    def body() -> None:
        per_file = total(files().map(lines).map(inc).collect())
        total(per_file.collect())

    assert wires(body)["total"] == {"ns": collected("inc")}
    assert wires(body)["total_2"] == {"ns": collected("total")}


def test_an_op_above_all_branches_cannot_take_an_output_from_inside() -> None:
    def body() -> None:
        inside = files().map(lambda file: total(lines(file).collect()))
        total(total(inside.collect()).collect())

    refused(body, "nothing to collect")


def test_an_inner_branch_may_take_from_the_outer_one_but_not_from_its_sister() -> None:
    def good() -> None:
        def each(file: Any) -> Any:
            size = inc(file)
            return lines(file).map(lambda line: two(line, size))

        files().map(each)

    def bad() -> None:
        def each(file: Any) -> Any:
            sister = lines(file)
            return lines(file).map(lambda line: sister.map(lambda other: two(line, other)))

        files().map(each)

    assert wires(good)["two"] == {"a": mapped("lines"), "b": FromNode("inc")}
    refused(bad, "several dynamic outputs")


# ---- through graphs --------------------------------------------------------------------------------------------------


@graph
def per_file(file):
    return total(lines(file).map(inc).collect())


@graph
def sum_up(values):
    return total(values.map(inc).collect())


def test_a_graph_is_mapped_like_an_op() -> None:
    def body() -> None:
        total(files().map(per_file).collect())

    assert wires(body) == {
        "files": {},
        "per_file": {"file": mapped("files")},
        "total": {"ns": collected("per_file")},
    }


def test_a_graph_may_map_over_what_is_passed_to_it() -> None:
    assert sum_up.nodes["inc"].wires == {"n": FromGraphInput("values", Delivery.MAPPED)}

    def body() -> None:
        inc(sum_up(files()))

    assert wires(body)["sum_up"] == {"values": FromNode("files")}


def test_such_a_graph_wants_a_dynamic_output() -> None:
    refused(lambda: sum_up(one()), "maps or collects its input 'values', but output 'result' of 'one' is not dynamic")
    refused(lambda: sum_up(files().collect()), "is not dynamic")
    refused(lambda: inc(per_file(files())), r"the dynamic output 'result' of 'files' for its input 'file'")


def test_such_a_graph_may_pass_it_on() -> None:
    @graph
    def outer(values):
        return sum_up(values)

    assert outer.shape.uses == {"values": "dynamic"}
    refused(lambda: outer(one()), "is not dynamic")


def test_an_input_of_a_graph_is_dynamic_or_not() -> None:
    with pytest.raises(InvalidDefinitionError, match="use two inputs"):

        @graph
        def g(values):
            inc(values)
            values.map(inc)


def test_a_graph_may_give_a_dynamic_output_or_a_mapped_one() -> None:
    @graph
    def dynamic():
        return files()

    @graph
    def branches():
        return files().map(inc)

    def body() -> None:
        total(dynamic().map(inc).collect())
        total(branches().collect())

    assert wires(body)["inc"] == {"n": mapped("dynamic")}
    assert wires(body)["total_2"] == {"ns": collected("branches")}
    refused(lambda: inc(dynamic()), "the dynamic output")


def test_two_outputs_of_a_graph_share_their_fan_out() -> None:
    from opgrid import GraphOut

    @graph(out={"raw": GraphOut(), "done": GraphOut()})
    def g():
        raw = files()
        return {"raw": raw, "done": raw.map(inc)}

    def body() -> None:
        raw, done = g()
        raw.map(lambda file: two(file, done))

    assert wires(body)["two"] == {"a": mapped("g", "raw"), "b": FromNode("g", "done")}


def test_fan_outs_that_meet_inside_a_graph_are_found_where_it_is_used() -> None:
    @graph
    def meet(a, b):
        two(a, b)

    def body() -> None:
        meet(files().map(inc), files().map(inc))

    refused(body, "several dynamic outputs")


def test_a_graph_that_maps_inside_does_not_meet_what_it_is_mapped_over() -> None:
    @graph
    def meet(value, values):
        values.map(lambda each: two(each, value))

    def good() -> None:
        meet(one(), files())
        files().map(lambda file: meet(file, lines(file)))

    def bad() -> None:
        values = files()
        files().map(lambda file: meet(file, values))

    assert "meet_2" in wires(good)
    refused(bad, "several dynamic outputs")


def test_the_input_of_a_job_is_one_value() -> None:
    with pytest.raises(InvalidDefinitionError, match="what is given to a job is a single value"):

        @job
        def j(values):
            values.map(inc)
