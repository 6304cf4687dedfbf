"""A job in words: its steps in order, and what each waits for."""

from __future__ import annotations

from collections.abc import Iterator

from opgrid.contracts.structure import Delivery, FanIn, FromGraphInput, FromNode, GraphInfo, Wire
from opgrid.definitions.job import JobDefinition


def lines(job: JobDefinition) -> Iterator[str]:
    structure = job.structure
    yield f"Job: {job.name}"
    if job.description:
        yield from (f"  {line}".rstrip() for line in job.description.strip().splitlines())
    yield from _graph(structure.graphs[structure.graph], structure.graphs, "  ")


def _graph(graph: GraphInfo, graphs: dict[str, GraphInfo], indent: str) -> Iterator[str]:
    for node in graph.nodes:
        kind = "graph" if node.is_graph else "op"
        of = f" ({node.definition})" if node.definition != node.name else ""
        yield f"{indent}{kind} {node.name}{of}"
        for name, wire in node.wires.items():
            yield f"{indent}    {name} <- {_wire(wire)}"
        if node.is_graph:
            yield from _graph(graphs[node.definition], graphs, indent + "    ")


def _wire(wire: Wire) -> str:
    match wire:
        case FromNode(node, output, delivery):
            how = {Delivery.WHOLE: "", Delivery.MAPPED: " (mapped)", Delivery.COLLECTED: " (collected)"}[delivery]
            return f"{node}.{output}{how}"
        case FromGraphInput(name):
            return f"input {name}"
        case FanIn(items):
            return f"[{', '.join(_wire(item) for item in items)}]"
