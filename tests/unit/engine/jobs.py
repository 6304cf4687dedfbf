"""Jobs written by hand, the way definitions would emit them."""

from __future__ import annotations

from collections.abc import Iterable

from opgrid.contracts.config import ExecutorChoice, ResolvedConfig
from opgrid.contracts.structure import (
    Delivery,
    FanIn,
    FromGraphInput,
    FromNode,
    GraphInfo,
    GraphOutput,
    InputInfo,
    JobStructure,
    NodeInfo,
    OpInfo,
    OutputInfo,
    Retry,
    Wire,
)
from opgrid.ids import NodePath
from orchestrator.planner.plan import FanOut, FromStep
from orchestrator.planner.snapshot import JobSnapshot


def op(
    name: str,
    *inputs: str | InputInfo,
    out: Iterable[str | OutputInfo] = ("result",),
    dynamic: bool = False,
    required: bool = True,
    retry: Retry | None = None,
    tags: dict[str, str] | None = None,
    timeout: float | None = None,
) -> OpInfo:
    return OpInfo(
        name,
        tuple(InputInfo(each) if isinstance(each, str) else each for each in inputs),
        tuple(OutputInfo(o, dynamic=dynamic, required=required) if isinstance(o, str) else o for o in out),
        retry=retry,
        tags=tags or {},
        timeout=timeout,
    )


def call(name: str, definition: str | None = None, /, **wires: Wire | str) -> NodeInfo:
    """An invocation: ``call("b", "inc", x="a")`` or ``x="a.other"``."""
    return NodeInfo(name, definition or name, wires={key: whole(wire) for key, wire in wires.items()})


def whole(source: Wire | str) -> Wire:
    return _from(source, Delivery.WHOLE) if isinstance(source, str) else source


def mapped(source: str) -> FromNode:
    return _from(source, Delivery.MAPPED)


def collected(source: str) -> FromNode:
    return _from(source, Delivery.COLLECTED)


def fan_in(*sources: str) -> FanIn:
    return FanIn(tuple(_from(source, Delivery.WHOLE) for source in sources))


def feed(source: str, delivery: Delivery = Delivery.WHOLE) -> FromStep:
    """What a plan says about an input that takes ``source``."""
    return FromStep(NodePath(source), "result", delivery)


def over(source: str) -> FanOut:
    return FanOut(NodePath(source), "result")


def given(name: str) -> FromGraphInput:
    return FromGraphInput(name)


def _from(source: str, delivery: Delivery) -> FromNode:
    node, _, output = source.partition(".")
    return FromNode(node, output or "result", delivery)


def job(
    ops: Iterable[OpInfo],
    *nodes: NodeInfo,
    graphs: Iterable[GraphInfo] = (),
    inputs: tuple[InputInfo, ...] = (),
    outputs: tuple[GraphOutput, ...] = (),
    retry: Retry | None = None,
    hooks: tuple[str, ...] = (),
) -> JobStructure:
    root = GraphInfo("the_job", nodes, inputs, outputs)
    return JobStructure(
        "the_job",
        "the_job",
        {each.name: each for each in ops},
        {"the_job": root, **{graph.name: graph for graph in graphs}},
        retry=retry,
        hooks=hooks,
    )


def snapshot(
    structure: JobStructure,
    *,
    config: ResolvedConfig | None = None,
    tags: dict[str, str] | None = None,
    inputs: tuple[str, ...] = (),
    executor: ExecutorChoice | None = None,
) -> JobSnapshot:
    return JobSnapshot(structure, config or ResolvedConfig(), executor or ExecutorChoice("fake"), tags or {}, inputs)


def chain(length: int, retry: Retry | None = None) -> JobStructure:
    nodes = [call("s0", "first")]
    nodes += [call(f"s{n}", "inc", x=f"s{n - 1}") for n in range(1, length)]
    return job([op("first", retry=retry), op("inc", "x", retry=retry)], *nodes)


def fan_out_job() -> JobStructure:
    """keys -> work for each -> total."""
    return job(
        [op("keys", dynamic=True), op("work", "x"), op("total", "xs")],
        call("keys"),
        call("work", x=mapped("keys")),
        call("total", xs=collected("work")),
    )
