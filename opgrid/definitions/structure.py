"""A job as data, and the table of its ops by their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opgrid.contracts.metadata import metadata_to_json
from opgrid.contracts.structure import FromGraphInput, GraphInfo, JobStructure, OpInfo, Retry
from opgrid.definitions.graph import GraphDefinition, wired_from
from opgrid.definitions.hooks import HookDefinition
from opgrid.definitions.nodes import Invocable, Node
from opgrid.definitions.op import OpDefinition
from opgrid.definitions.ports import In
from opgrid.definitions.retry import RetryPolicy
from opgrid.errors import InvalidDefinitionError
from opgrid.ids import NodePath

if TYPE_CHECKING:
    from opgrid.definitions.job import JobDefinition


@dataclass(frozen=True, slots=True)
class OpNode:
    """An op at its place in a job, with all that is said about it on the way there."""

    path: NodePath
    op: OpDefinition
    node: Node
    tags: dict[str, str]  #: of the op, then of the invocation
    hooks: frozenset[HookDefinition]  #: of the job, of the graphs around it and of the invocation
    retry: Retry | None  #: of the invocation, else the op, else the nearest graph invocation around it, else the job


@dataclass(frozen=True, slots=True)
class UnsatisfiedInput:
    """An input of a node that nothing is passed to: its value has to come from the run config."""

    node: NodePath  #: of an op, or of the graph whose input it is
    name: str
    port: In
    leaves: tuple[tuple[NodePath, str], ...]  #: the inputs of ops that take it


def structure_of(job: JobDefinition) -> JobStructure:
    ops: dict[str, OpInfo] = {}
    graphs: dict[str, GraphInfo] = {}
    seen: dict[str, Invocable] = {}
    waiting: list[GraphDefinition] = [job.graph]
    while waiting:
        graph = waiting.pop()
        if graph is not job.graph:
            graphs[graph.name] = graph.info
        for definition in graph.node_defs:
            known = seen.setdefault(definition.name, definition)
            if known is not definition or definition is job.graph:
                _two_of_one_name(job, known, definition)
            if isinstance(definition, GraphDefinition):
                if definition.name not in graphs:
                    waiting.append(definition)
            elif isinstance(definition, OpDefinition):
                ops[definition.name] = definition.info
    # A job may have the name of a graph in it; no graph has a space in its name.
    root = job.graph.name if job.graph.name not in graphs else f"{job.graph.name} itself"
    graphs[root] = job.graph.info
    return JobStructure(
        name=job.name,
        graph=root,
        ops=dict(sorted(ops.items())),
        graphs=dict(sorted(graphs.items())),
        description=job.description,
        tags=job.tags,
        hooks=tuple(sorted(hook.name for hook in job.hook_defs)),
        retry=None if job.op_retry_policy is None else job.op_retry_policy.as_data(),
        resource_keys=tuple(sorted(job.required_resource_keys)),
        metadata=metadata_to_json(job.metadata),
    )


def _two_of_one_name(job: JobDefinition, known: Invocable, other: Invocable) -> None:
    raise InvalidDefinitionError(
        f"Job {job.name!r} holds two different definitions named {known.name!r}: {known.described()} and "
        f"{other.described()}. "
        f"Give one of them another name with name=."
    )


def parts_of(job: JobDefinition) -> tuple[set[OpDefinition], set[HookDefinition]]:
    """The ops and hooks of a job, each once. Looks into each graph once, however often it is used."""
    ops: set[OpDefinition] = set()
    hooks = set(job.hook_defs)
    graphs = [job.graph]
    seen = {job.graph}
    for graph in graphs:
        for node in graph.nodes.values():
            if node.hook_defs:
                hooks |= node.hook_defs
        for definition in graph.node_defs:
            if isinstance(definition, OpDefinition):
                ops.add(definition)
            elif isinstance(definition, GraphDefinition) and definition not in seen:
                seen.add(definition)
                graphs.append(definition)
    return ops, hooks


def op_nodes(job: JobDefinition) -> Iterator[OpNode]:
    """Every op of the job at its place, however deep."""
    yield from _inside(job.graph, "", frozenset(job.hook_defs), job.op_retry_policy)


def _inside(
    graph: GraphDefinition, prefix: str, hooks: frozenset[HookDefinition], retry: RetryPolicy | None
) -> Iterator[OpNode]:
    for name, node in graph.nodes.items():
        path = NodePath(prefix + name)
        all_hooks = hooks | node.hook_defs if node.hook_defs else hooks
        definition = node.definition
        if isinstance(definition, GraphDefinition):
            yield from _inside(definition, f"{path}.", all_hooks, node.retry_policy or retry)
        elif isinstance(definition, OpDefinition):
            policy = node.retry_policy or definition.retry_policy or retry
            yield OpNode(path, definition, node, node.tags, all_hooks, None if policy is None else policy.as_data())


# ---- inputs that nothing is passed to --------------------------------------------------------------------


def unsatisfied_inputs(graph: GraphDefinition, prefix: str = "") -> Iterator[UnsatisfiedInput]:
    """Without those that have a default or an input manager of their own, or carry no value."""
    for name, node in graph.nodes.items():
        path = NodePath(prefix + name)
        definition = node.definition
        for input_name, port in definition.ins.items():
            if input_name in node.wires or port.type.is_nothing:
                continue
            if isinstance(definition, GraphDefinition):
                leaves = tuple(_takers(definition, input_name, f"{path}."))
                yield UnsatisfiedInput(path, input_name, port, leaves)
            elif not port.has_default and port.input_manager_key is None:
                yield UnsatisfiedInput(path, input_name, port, ((path, input_name),))
        if isinstance(definition, GraphDefinition):
            yield from unsatisfied_inputs(definition, f"{path}.")


def _takers(graph: GraphDefinition, name: str, prefix: str) -> Iterator[tuple[NodePath, str]]:
    """The inputs of ops that an input of a graph ends in."""
    for node_name, node in graph.nodes.items():
        for input_name, wire in node.wires.items():
            if not any(isinstance(each, FromGraphInput) and each.name == name for each in wired_from(wire)):
                continue
            if isinstance(node.definition, GraphDefinition):
                yield from _takers(node.definition, input_name, f"{prefix}{node_name}.")
            else:
                yield NodePath(prefix + node_name), input_name
