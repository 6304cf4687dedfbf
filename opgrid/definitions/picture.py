"""A job as a picture: nodes in layers, each below all that it takes something from. For notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Final, NamedTuple

from opgrid.contracts.structure import Delivery, FanIn, FromGraphInput, FromNode, GraphInfo, JobStructure, Wire

_WIDTH: Final = 7.2  #: pixels of a character
_PAD, _HEIGHT, _GAP, _LAYER = 14, 30, 24, 64
_MOST: Final = 400  #: nodes; more would be a picture of nothing


class _Edge(NamedTuple):
    source: str
    target: str
    delivery: Delivery


def svg(structure: JobStructure) -> str:
    """Graphs are drawn as one node each, with their number of ops; dashed lines are mapped over, thick ones collect."""
    graph = structure.graphs[structure.graph]
    if len(graph.nodes) > _MOST:
        return _document(320, 40, [_text(160, 24, f"{structure.name}: {len(graph.nodes)} nodes")])
    edges = list(_edges(graph))
    layers = _layers(graph, edges)
    labels = {
        node.name: f"{node.name} ({_ops_in(structure, node.definition)} ops)" if node.is_graph else node.name
        for node in graph.nodes
    }
    sizes = {name: len(label) * _WIDTH + 2 * _PAD for name, label in labels.items()}
    rows = [sum(sizes[name] for name in row) + _GAP * (len(row) + 1) for row in layers]
    width = max([*rows, 160.0])
    places: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(layers):
        left = (width - rows[number]) / 2 + _GAP
        for name in row:
            places[name] = left + sizes[name] / 2, 12 + _LAYER * number
            left += sizes[name] + _GAP
    kinds = {node.name: node.is_graph for node in graph.nodes}
    shapes = [_line(places, edge) for edge in edges]
    shapes += [_box(places[name], sizes[name], labels[name], kinds[name]) for name in places]
    return _document(width, _LAYER * max(len(layers), 1) - _LAYER + _HEIGHT + 24, shapes)


def _edges(graph: GraphInfo) -> Iterator[_Edge]:
    for node in graph.nodes:
        for wire in node.wires.values():
            yield from _of(wire, node.name)


def _of(wire: Wire, target: str) -> Iterator[_Edge]:
    match wire:
        case FromNode(node, _, delivery):
            yield _Edge(node, target, delivery)
        case FanIn(items):
            for item in items:
                yield from _of(item, target)
        case FromGraphInput():
            return


def _layers(graph: GraphInfo, edges: list[_Edge]) -> list[list[str]]:
    """Nodes come after those that they depend on, so one pass does it."""
    above: dict[str, list[str]] = {}
    for edge in edges:
        above.setdefault(edge.target, []).append(edge.source)
    depth: dict[str, int] = {}
    layers: list[list[str]] = []
    for node in graph.nodes:
        depth[node.name] = at = 1 + max((depth.get(each, 0) for each in above.get(node.name, ())), default=-1)
        while len(layers) <= at:
            layers.append([])
        layers[at].append(node.name)
    return layers


def _ops_in(structure: JobStructure, graph: str) -> int:
    nodes = structure.graphs[graph].nodes
    return sum(_ops_in(structure, node.definition) if node.is_graph else 1 for node in nodes)


def _line(places: Mapping[str, tuple[float, float]], edge: _Edge) -> str:
    (x1, y1), (x2, y2) = places[edge.source], places[edge.target]
    y1 += _HEIGHT
    middle = (y1 + y2) / 2
    dash = {Delivery.MAPPED: ' stroke-dasharray="5 3"', Delivery.COLLECTED: ' stroke-width="3"'}.get(edge.delivery, "")
    path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{middle:.0f} {x2:.0f},{middle:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{path}" fill="none" stroke="#8a94a6"{dash}/>'


def _box(at: tuple[float, float], width: float, label: str, is_graph: bool) -> str:
    x, y = at
    fill = "#e8eefc" if is_graph else "#f6f7f9"
    shape = f'<rect x="{x - width / 2:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_HEIGHT}" rx="6" fill="{fill}"'
    return f'{shape} stroke="#5b6b8c"/>{_text(x, y + 19, label)}'


def _text(x: float, y: float, text: str) -> str:
    font = 'font-family="ui-monospace, monospace" font-size="12" text-anchor="middle" fill="#1f2a44"'
    return f'<text x="{x:.0f}" y="{y:.0f}" {font}>{escape(text)}</text>'


def _document(width: float, height: float, shapes: list[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(shapes)}</svg>'
