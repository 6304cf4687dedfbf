"""Graphs from data: nodes and dependencies named in dicts, for graphs that are generated rather than written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from opgrid.contracts.tags import definition_tags, tags_of
from opgrid.definitions.composition import Composition, Handle
from opgrid.definitions.hooks import HookDefinition, check_hooks
from opgrid.definitions.names import check_name
from opgrid.definitions.nodes import Invocable, PendingInvocation
from opgrid.definitions.retry import RetryPolicy
from opgrid.definitions.types import Type, resolve_type
from opgrid.errors import InvalidDefinitionError, listed, nearest


class NodeInvocation:
    """A node, as a key of ``dependencies``: the name of a definition, and what this use of it has of its own."""

    __slots__ = ("alias", "hook_defs", "name", "retry_policy", "tags")

    def __init__(
        self,
        name: str,
        alias: str | None = None,
        tags: Mapping[str, Any] | None = None,
        hook_defs: Iterable[HookDefinition] | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        self.name = name
        what = f"an invocation of {name!r}"
        self.alias = None if alias is None else check_name(alias, what)
        self.tags = definition_tags(tags_of(tags, what), what)
        self.hook_defs = check_hooks(hook_defs, what)
        self.retry_policy = retry_policy

    @property
    def node_name(self) -> str:
        return self.alias or self.name

    def __repr__(self) -> str:
        return f"NodeInvocation({self.name!r}, alias={self.alias!r})"


@dataclass(frozen=True, slots=True)
class DependencyDefinition:
    """An input takes the output of a node; where that output is dynamic, it is mapped over it."""

    node: str
    output: str = "result"
    description: str | None = None


@dataclass(frozen=True, slots=True)
class DynamicCollectDependencyDefinition:
    """An input takes all values of a fan-out as one list."""

    node_name: str
    output_name: str = "result"


class MappedInputPlaceholder:
    """A place in a :class:`MultiDependencyDefinition` that an input of the graph fills: see ``fan_in_index``."""

    def __repr__(self) -> str:
        return "MappedInputPlaceholder"


@dataclass(frozen=True, slots=True)
class MultiDependencyDefinition:
    """An input takes several outputs as a list, in this order."""

    dependencies: Sequence[Any] = field(default_factory=tuple)

    PLACEHOLDER: ClassVar[type[MappedInputPlaceholder]] = MappedInputPlaceholder


@dataclass(frozen=True, slots=True)
class InputMapping:
    """An input of the graph goes to the input of a node."""

    graph_input_name: str
    mapped_node_name: str
    mapped_node_input_name: str
    fan_in_index: int | None = None
    graph_input_description: str | None = None
    type: Any = None


@dataclass(frozen=True, slots=True)
class OutputMapping:
    """An output of a node becomes an output of the graph."""

    graph_output_name: str
    mapped_node_name: str
    mapped_node_output_name: str = "result"
    graph_output_description: str | None = None
    type: Any = None  #: told for the reader; what is checked is the type of the node's output

    @property
    def description(self) -> str | None:
        return self.graph_output_description


Dependency: TypeAlias = DependencyDefinition | MultiDependencyDefinition | DynamicCollectDependencyDefinition
Dependencies: TypeAlias = Mapping["str | NodeInvocation", Mapping[str, Dependency]]
Composed: TypeAlias = tuple[dict[str, "Type | None"], dict[str, "str | None"], dict[str, Handle]]


def compose_explicitly(
    composition: Composition,
    node_defs: Sequence[Invocable],
    dependencies: Dependencies,
    input_mappings: Sequence[InputMapping],
    output_mappings: Sequence[OutputMapping],
) -> Composed:
    """Adds every node; gives the types and descriptions of the graph's inputs, and its outputs."""
    return _Explicit(composition, node_defs, dependencies, input_mappings).compose(output_mappings)


class _Explicit:
    def __init__(
        self,
        composition: Composition,
        node_defs: Sequence[Invocable],
        dependencies: Dependencies,
        input_mappings: Sequence[InputMapping],
    ) -> None:
        self.composition = composition
        self.what = composition.described()
        self.definitions = self._by_name(node_defs)
        self.invocations: dict[str, NodeInvocation] = {}
        self.wanted: dict[str, Mapping[str, Dependency]] = {}
        for key, inputs in self._checked(dependencies).items():
            self._invocation(NodeInvocation(key) if isinstance(key, str) else key, inputs)
        used = {each.name for each in self.invocations.values()}
        for name in self.definitions:
            if name not in used:
                self._invocation(NodeInvocation(name), {})
        self.mapped: dict[tuple[str, str], list[InputMapping]] = {}
        for mapping in input_mappings:
            self._check_place(mapping.mapped_node_name, mapping.mapped_node_input_name, "input")
            self.mapped.setdefault((mapping.mapped_node_name, mapping.mapped_node_input_name), []).append(mapping)
        self.inputs = {each.graph_input_name: composition.input(each.graph_input_name) for each in input_mappings}
        self.input_mappings = input_mappings
        self.handles: dict[str, dict[str, Handle]] = {}

    def compose(self, output_mappings: Sequence[OutputMapping]) -> Composed:
        for name in self._order():
            call = self.invocations[name]
            self.handles[name] = self.composition.add(
                self.definitions[call.name], self._given(name), name, call.tags, call.hook_defs, call.retry_policy
            )
        outputs: dict[str, Handle] = {}
        for mapping in output_mappings:
            check_name(mapping.graph_output_name, f"an output of {self.what}")
            self._check_place(mapping.mapped_node_name, mapping.mapped_node_output_name, "output")
            outputs[mapping.graph_output_name] = self.handles[mapping.mapped_node_name][mapping.mapped_node_output_name]
        types: dict[str, Type | None] = {}
        for each in self.input_mappings:
            check_name(each.graph_input_name, f"an input of {self.what}")
            types.setdefault(each.graph_input_name, None if each.type is None else resolve_type(each.type, self.what))
        return types, {each.graph_input_name: each.graph_input_description for each in self.input_mappings}, outputs

    # ---- nodes --------------------------------------------------------------------------------------------

    def _by_name(self, node_defs: Sequence[Invocable]) -> dict[str, Invocable]:
        found: dict[str, Invocable] = {}
        for each in node_defs:
            if isinstance(each, PendingInvocation) or not isinstance(each, Invocable):
                raise InvalidDefinitionError(f"{self.what}: node_defs holds {each!r}; it has to hold ops and graphs.")
            if found.setdefault(each.name, each) is not each:
                raise InvalidDefinitionError(
                    f"{self.what}: node_defs holds two definitions named {each.name!r}: "
                    f"{found[each.name].described()} and {each.described()}."
                )
        return found

    def _checked(self, dependencies: Any) -> Dependencies:
        if not isinstance(dependencies, Mapping):
            raise InvalidDefinitionError(
                f"{self.what}: dependencies have to be a dict of nodes, each with a dict of its inputs, as in "
                f"{{'node': {{'input': DependencyDefinition('other')}}}}, not {dependencies!r}."
            )
        for key, inputs in dependencies.items():
            if not isinstance(key, str | NodeInvocation):
                raise InvalidDefinitionError(
                    f"{self.what}: dependencies have the key {key!r}; a node is a name or a NodeInvocation."
                )
            if not isinstance(inputs, Mapping):
                raise InvalidDefinitionError(
                    f"{self.what}: dependencies of node {key!r} have to say by the name of each input what feeds it, "
                    f"as in {{{key!r}: {{'input': DependencyDefinition('other')}}}}, not {inputs!r}."
                )
        return dependencies

    def _invocation(self, call: NodeInvocation, inputs: Mapping[str, Dependency]) -> None:
        if call.name not in self.definitions:
            raise InvalidDefinitionError(
                f"{self.what}: dependencies name the definition {call.name!r}, which is not in node_defs."
                f"{nearest(call.name, self.definitions)} There are: {listed(self.definitions)}."
            )
        name = call.node_name
        if name in self.invocations:
            raise InvalidDefinitionError(
                f"{self.what}: dependencies hold the node {name!r} twice. Give one of them an alias."
            )
        self.invocations[name] = call
        self.wanted[name] = inputs
        for input_name in inputs:
            self._check_place(name, input_name, "input")

    def _check_place(self, node: str, port: str, kind: str) -> None:
        if node not in self.invocations:
            raise InvalidDefinitionError(
                f"{self.what}: there is no node {node!r}.{nearest(node, self.invocations)} There are: "
                f"{listed(self.invocations)}."
            )
        definition = self.definitions[self.invocations[node].name]
        ports: Mapping[str, Any] = definition.ins if kind == "input" else definition.outs
        if port not in ports:
            raise InvalidDefinitionError(
                f"{self.what}: node {node!r} has no {kind} {port!r}.{nearest(port, ports)} It has: "
                f"{listed(list(ports))}."
            )

    def _order(self) -> list[str]:
        """Each node after those that it takes something from, else as they were given."""
        waits: dict[str, int] = {}
        feeds: dict[str, list[str]] = {name: [] for name in self.invocations}
        for name, inputs in self.wanted.items():
            upstream = {source for each in inputs.values() for source in self._sources(each)}
            for source in upstream:
                self._check_node(source, name)
                feeds[source].append(name)
            waits[name] = len(upstream)
        ready = deque(name for name, count in waits.items() if not count)
        order: list[str] = []
        while ready:
            name = ready.popleft()
            order.append(name)
            for fed in feeds[name]:
                waits[fed] -= 1
                if not waits[fed]:
                    ready.append(fed)
        if len(order) < len(waits):
            circle = [name for name in waits if name not in set(order)]
            raise InvalidDefinitionError(
                f"{self.what}: these nodes wait for each other in a circle, or for one that does: {listed(circle)}."
            )
        return order

    def _check_node(self, source: str, name: str) -> None:
        if source not in self.invocations:
            raise InvalidDefinitionError(
                f"{self.what}: node {name!r} depends on {source!r}, which is no "
                f"node.{nearest(source, self.invocations)} "
                f"There are: {listed(self.invocations)}."
            )

    def _sources(self, dependency: Any) -> Iterable[str]:
        match dependency:
            case DependencyDefinition(node):
                return [node]
            case DynamicCollectDependencyDefinition(node):
                return [node]
            case MultiDependencyDefinition(several):
                return [each.node for each in several if isinstance(each, DependencyDefinition)]
        raise InvalidDefinitionError(
            f"{self.what}: {dependency!r} is no dependency. Use DependencyDefinition(node, output)."
        )

    # ---- inputs -------------------------------------------------------------------------------------------

    def _given(self, node: str) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, dependency in self.wanted[node].items():
            mapped = self.mapped.get((node, name), [])
            if mapped and not isinstance(dependency, MultiDependencyDefinition):
                raise InvalidDefinitionError(
                    f"{self.what}: input {name!r} of node {node!r} has both a dependency and an input mapping. Keep "
                    "one of them."
                )
            given[name] = self._value(dependency, node, name, mapped)
        for (mapped_node, name), mapped in self.mapped.items():
            if mapped_node == node and name not in given:
                if len(mapped) > 1:
                    raise InvalidDefinitionError(
                        f"{self.what}: two inputs of the graph are mapped to {name!r} of node {node!r}."
                    )
                given[name] = self.inputs[mapped[0].graph_input_name]
        return given

    def _value(self, dependency: Any, node: str, name: str, mapped: Sequence[InputMapping]) -> Any:
        match dependency:
            case DynamicCollectDependencyDefinition(source, output):
                return self._output(source, output, node).collect()
            case DependencyDefinition(source, output):
                handle = self._output(source, output, node)
                return handle.each() if handle.is_dynamic else handle
            case MultiDependencyDefinition(several):
                by_index = {each.fan_in_index: self.inputs[each.graph_input_name] for each in mapped}
                return [self._item(each, index, by_index, node, name) for index, each in enumerate(several)]
        raise InvalidDefinitionError(
            f"{self.what}: {dependency!r} is no dependency. Use DependencyDefinition(node, output)."
        )

    def _item(self, item: Any, index: int, by_index: Mapping[int | None, Handle], node: str, name: str) -> Handle:
        if isinstance(item, DependencyDefinition):
            return self._output(item.node, item.output, node)
        if item is MappedInputPlaceholder or isinstance(item, MappedInputPlaceholder):
            if index in by_index:
                return by_index[index]
            raise InvalidDefinitionError(
                f"{self.what}: place {index} of input {name!r} of node {node!r} is left for an input of the graph, "
                f"but no InputMapping has fan_in_index={index}."
            )
        raise InvalidDefinitionError(
            f"{self.what}: {item!r} cannot be gathered. Use DependencyDefinition(node, output)."
        )

    def _output(self, source: str, output: str, node: str) -> Handle:
        self._check_node(source, node)
        self._check_place(source, output, "output")
        return self.handles[source][output]
