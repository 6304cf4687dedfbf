"""Nested graphs to leaf steps: every op invocation by its path, every wire followed to the op at its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from opgrid.contracts.structure import (
    Delivery,
    FanIn,
    FromGraphInput,
    FromNode,
    GraphInfo,
    JobStructure,
    NodeInfo,
    OpInfo,
    Retry,
    Wire,
)
from opgrid.errors import InvalidDefinitionError, listed, nearest
from opgrid.ids import NodePath


@dataclass(slots=True)
class Frame:
    """One invocation of a graph."""

    graph: GraphInfo
    path: str  #: "" for the root
    parent: Frame | None = None
    node: NodeInfo | None = None  #: this invocation, as its parent has it
    hooks: tuple[str, ...] = ()  #: of this graph and all around it
    retry: Retry | None = None  #: of the nearest invocation that has one
    paths: dict[str, NodePath] = field(default_factory=dict)  #: of the ops right inside, by name
    children: dict[str, Frame] = field(default_factory=dict)  #: the graphs right inside, by name


class Leaf(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One invocation of an op."""

    path: NodePath
    node: NodeInfo
    op: OpInfo
    frame: Frame


class Link(msgspec.Struct, frozen=True, gc=False):
    """An output of a leaf, and how it is taken on the way, from its source outwards."""

    step: NodePath
    output: str
    deliveries: tuple[Delivery, ...] = ()

    def then(self, delivery: Delivery) -> Link:
        if delivery is Delivery.WHOLE:
            return self
        return Link(self.step, self.output, (*self.deliveries, delivery))


class Links(msgspec.Struct, frozen=True, gc=False):
    """A list of links."""

    items: tuple[Link, ...]
    outer: tuple[NodePath, ...] = ()  #: the steps among them that come in through inputs of the graph around
    unfed: tuple[str, ...] = ()  #: inputs of the graph around that stand in the list and have no wire


class TopInput(msgspec.Struct, frozen=True, gc=False):
    """An input of the job itself."""

    name: str


#: What a wire turns out to be; None: nothing is at its other end.
Origin = Link | Links | TopInput | None


class BadWire(InvalidDefinitionError):
    """A wire leads to something that the job does not have."""

    def __init__(self, step: str, problem: str) -> None:
        super().__init__(step, problem)
        self.step, self.problem = step, problem

    def describe(self) -> str:
        return f"The wiring of {self.step!r} is wrong: {self.problem}"


def flatten(structure: JobStructure) -> Iterator[Leaf]:
    """A job without its graphs: leaves in the order of definition, those of a nested graph where it stands.

    A wire can be followed when the leaves that it may lead to have been given.
    """
    graph = _graph(structure, structure.graph, structure.name)
    root = Frame(graph, "", hooks=_union(structure.hooks, graph.hooks))
    return _walk(structure, root, (structure.graph,))


def follow(structure: JobStructure, frame: Frame, wire: Wire, at: str) -> Origin:
    """The source of a wire; ``at`` names the consumer in errors."""
    if isinstance(wire, FromNode):
        path = frame.paths.get(wire.node)
        if path is not None:
            return Link(path, wire.output, () if wire.delivery is Delivery.WHOLE else (wire.delivery,))
        child = frame.children.get(wire.node)
        if child is None:
            beside = [*frame.paths, *frame.children]
            raise BadWire(at, f"there is no node {wire.node!r} beside it.{nearest(wire.node, beside)}")
        return _taken(_graph_output(structure, child, wire.output, at), wire.delivery, at)
    if isinstance(wire, FromGraphInput):
        if frame.parent is None or frame.node is None:
            return TopInput(wire.name)
        outside = frame.node.wires.get(wire.name)
        return None if outside is None else _taken(follow(structure, frame.parent, outside, at), wire.delivery, at)
    return _list(structure, frame, wire, at)


def _graph_output(structure: JobStructure, frame: Frame, name: str, at: str) -> Origin:
    for output in frame.graph.outputs:
        if output.name == name:
            return follow(structure, frame, output.source, at)
    known = [output.name for output in frame.graph.outputs]
    raise BadWire(at, f"the graph {frame.path!r} has no output {name!r}; it has {listed(known)}.")


def _list(structure: JobStructure, frame: Frame, fan_in: FanIn, at: str) -> Links:
    items: list[Link] = []
    outer: list[NodePath] = []
    unfed: list[str] = []
    for wire in fan_in.items:
        origin = follow(structure, frame, wire, at)
        if isinstance(origin, Link):
            items.append(origin)
            if isinstance(wire, FromGraphInput):
                outer.append(origin.step)
        elif origin is None and isinstance(wire, FromGraphInput):
            unfed.append(wire.name)
        elif isinstance(origin, Links):
            raise BadWire(at, "a list stands inside a list; let an op join the inner one first.")
        elif isinstance(origin, TopInput):
            raise BadWire(at, f"the top-level input {origin.name!r} stands in a list; pass it through an op first.")
    return Links(tuple(items), tuple(outer), tuple(unfed))


def _taken(origin: Origin, delivery: Delivery, at: str) -> Origin:
    if delivery is Delivery.WHOLE or origin is None:
        return origin
    if isinstance(origin, Link):
        return origin.then(delivery)
    raise BadWire(at, f"only a dynamic output can be {delivery.value}.")


def _walk(structure: JobStructure, frame: Frame, around: tuple[str, ...]) -> Iterator[Leaf]:
    prefix = f"{frame.path}." if frame.path else ""
    for node in frame.graph.nodes:
        path = NodePath(prefix + node.name)  # of a node at the top, its name itself
        if node.is_graph:
            if node.definition in around:
                raise InvalidDefinitionError(f"The graph {node.definition!r} contains itself, at {path!r}.")
            graph = _graph(structure, node.definition, path)
            hooks = _union(frame.hooks, node.hooks, graph.hooks)
            child = Frame(graph, path, frame, node, hooks, node.retry or frame.retry)
            frame.children[node.name] = child
            yield from _walk(structure, child, (*around, node.definition))
        else:
            op = structure.ops.get(node.definition)
            if op is None:
                raise InvalidDefinitionError(
                    f"The node {path!r} is an invocation of {node.definition!r}, which is not there."
                )
            frame.paths[node.name] = path
            yield Leaf(path, node, op, frame)
    if len(frame.paths) + len(frame.children) < len(frame.graph.nodes) or frame.paths.keys() & frame.children.keys():
        raise InvalidDefinitionError(f"The graph {frame.graph.name!r} has two nodes of the same name.")


def _graph(structure: JobStructure, key: str, at: str) -> GraphInfo:
    graph = structure.graphs.get(key)
    if graph is None:
        raise InvalidDefinitionError(f"The node {at!r} is an invocation of the graph {key!r}, which is not there.")
    return graph


def _union(*some: tuple[str, ...]) -> tuple[str, ...]:
    filled = [names for names in some if names]
    if len(filled) <= 1:
        return filled[0] if filled else ()
    return tuple(dict.fromkeys(name for names in filled for name in names))


def hooks_of(leaf: Leaf) -> tuple[str, ...]:
    return _union(leaf.frame.hooks, leaf.node.hooks)
