"""Graphs: ops and graphs wired together, to be used in other graphs or made into jobs."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Self, overload

from opgrid.contracts.structure import (
    Delivery,
    FanIn,
    FromGraphInput,
    FromNode,
    GraphInfo,
    GraphOutput,
    InputInfo,
    Wire,
)
from opgrid.contracts.tags import definition_tags, tags_of
from opgrid.definitions.composition import Composition, Handle
from opgrid.definitions.explicit import Dependencies, InputMapping, OutputMapping, compose_explicitly
from opgrid.definitions.hooks import HookDefinition
from opgrid.definitions.names import check_name, place_of, place_of_caller
from opgrid.definitions.nodes import Invocable, Node, PendingInvocation, current, interned
from opgrid.definitions.ports import ABSENT, GraphIn, GraphOut, In
from opgrid.definitions.scopes import OutputShape, Shape
from opgrid.definitions.signature import Parameter, parameters_of
from opgrid.definitions.types import Any as AnyType
from opgrid.definitions.types import Type, resolve_type
from opgrid.errors import InvalidDefinitionError, InvariantViolationError, UnknownName, listed, nearest

if TYPE_CHECKING:
    from opgrid.config import ConfigField
    from opgrid.definitions.executor import ExecutorDefinition
    from opgrid.definitions.job import JobDefinition
    from opgrid.definitions.retry import RetryPolicy
    from orchestrator.services.results import ExecuteInProcessResult


class GraphDefinition(Invocable):
    """Nodes and wires between them. Made by :func:`graph`, or from ``node_defs`` and ``dependencies``.

    ``nodes`` are in an order in which each comes after all that it takes something from.
    """

    kind = "graph"
    is_graph = True

    def __init__(
        self,
        name: str,
        *,
        description: str | None = None,
        node_defs: Sequence[Invocable] | None = None,
        dependencies: Dependencies | None = None,
        input_mappings: Sequence[InputMapping] | None = None,
        output_mappings: Sequence[OutputMapping] | None = None,
        config: Any = None,
        tags: Mapping[str, Any] | None = None,
        composition_fn: Callable[..., Any] | None = None,
        ins: Mapping[str, GraphIn] | None = None,
        out: GraphOut | Mapping[str, GraphOut] | None = None,
        kind: str = "graph",
    ) -> None:
        self.location = place_of_caller() if composition_fn is None else place_of(inspect.unwrap(composition_fn))
        self.name = check_name(name, f"a {kind}", self.location)
        self.description = description
        what = f"{kind.capitalize()} {self.name!r} ({self.location})"
        self.tags = definition_tags(tags_of(tags, what), what)
        self.config = _config_mapping(config, what)
        #: What was made with ``configured`` from this, see OpDefinition.
        self.base: GraphDefinition | None = None
        self.config_fn: Callable[[Any], Any] | None = None
        self._outer_schema: Any = None
        #: Default values of the function's parameters.
        self.input_defaults: dict[str, Any] = {}
        composition = Composition(kind, self.name, self.location)
        if composition_fn is None:
            types: Mapping[str, Type | None]
            descriptions: Mapping[str, str | None]
            types, descriptions, outputs = compose_explicitly(
                composition, node_defs or (), dependencies or {}, input_mappings or (), output_mappings or ()
            )
            self._output_descriptions = {each.graph_output_name: each.description for each in output_mappings or ()}
        else:
            types, descriptions, outputs = self._compose(composition, composition_fn, ins or {}, out)
        self.input_mappings = tuple(input_mappings or ())
        self.output_mappings = tuple(output_mappings or ())
        self.dependencies = dependencies or {}
        self.nodes: dict[str, Node] = composition.nodes
        self.ins: dict[str, In] = {
            name: _port(type if type is not None else self._type_inside(name), descriptions.get(name))
            for name, type in types.items()
        }
        self.outs: dict[str, GraphOutput] = {
            name: GraphOutput(name, handle._wire, self._output_descriptions.get(name))
            for name, handle in outputs.items()
        }
        self._shape = Shape(
            {name: OutputShape(handle._scope, handle._key) for name, handle in outputs.items()},
            composition.uses,
            frozenset(composition.meetings),
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.outs = {name: GraphOutput(name, interned(out.source), out.description) for name, out in self.outs.items()}

    # ---- from a function ----------------------------------------------------------------------------------

    def _compose(
        self,
        composition: Composition,
        function: Callable[..., Any],
        declared: Mapping[str, GraphIn],
        out: GraphOut | Mapping[str, GraphOut] | None,
    ) -> tuple[dict[str, Type | None], dict[str, str | None], dict[str, Handle]]:
        what = composition.described()
        parameters, _ = parameters_of(function, what)
        types: dict[str, Type | None] = {}
        for name, parameter in parameters.items():
            _check_parameter(name, what)
            types[name] = _annotated(parameter, what)
            if parameter.default is not ABSENT:
                self.input_defaults[name] = parameter.default
        for name in declared:
            if name not in types:
                raise InvalidDefinitionError(
                    f"{what} declares the input {name!r}, but its function has no such "
                    f"parameter.{nearest(name, types)} "
                    f"Its parameters are: {listed(list(types))}."
                )
        self._output_descriptions = {
            name: each.description
            for name, each in (out.items() if isinstance(out, Mapping) else [("result", out)])
            if isinstance(each, GraphOut)
        }
        outputs = _returned(composition, composition.run(function, types), out)
        for name in types:
            if name not in composition.uses:
                raise InvalidDefinitionError(
                    f"{what}: its input {name!r} is not passed to anything inside. Pass it to a node, or remove the "
                    "parameter."
                )
        return types, {name: each.description for name, each in declared.items()}, outputs

    def _type_inside(self, name: str) -> Type:
        """An input without an annotation has the type of the first input that takes it."""
        for node in self.nodes.values():
            for input_name, wire in node.wires.items():
                if isinstance(wire, FromGraphInput) and wire.name == name and wire.delivery is Delivery.WHOLE:
                    return node.definition.ins[input_name].type
        return AnyType

    # ---- what it is made of -------------------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def node_defs(self) -> list[Invocable]:
        """Each definition once."""
        return list({node.definition.name: node.definition for node in self.nodes.values()}.values())

    @property
    def node_dict(self) -> dict[str, Node]:
        return self.nodes

    @property
    def nodes_in_topological_order(self) -> list[Node]:
        return list(self.nodes.values())

    def node_named(self, name: str) -> Node:
        """Raises UnknownName, naming the nearest."""
        if name not in self.nodes:
            raise UnknownName("node", name, list(self.nodes), self.described())
        return self.nodes[name]

    @property
    def config_mapping(self) -> Any:
        return self.config

    @property
    def config_schema(self) -> Any:
        """Of what is to be given from outside; of a configured one, what its function takes."""
        if self.config_fn is not None:
            return self._outer_schema
        return None if self.config is None else self.config.config_schema

    @config_schema.setter
    def config_schema(self, schema: Any) -> None:
        self._outer_schema = schema

    @cached_property
    def config_field(self) -> ConfigField | None:
        if self.config_schema is None:
            return None
        from opgrid.config import as_field

        return as_field(self.config_schema)

    @cached_property
    def info(self) -> GraphInfo:
        """This graph as data; what is inside nodes is in their own."""
        ins = tuple(
            InputInfo(
                name,
                sys.intern(port.type.display_name),
                nothing=port.type.is_nothing,
                has_default=name in self.input_defaults,
                loadable=port.type.loader is not None,
                description=port.description,
            )
            for name, port in self.ins.items()
        )
        return GraphInfo(
            self.name,
            tuple(node.as_data() for node in self.nodes.values()),
            ins,
            tuple(self.outs.values()),
            self.description,
            self.tags,
            (),
            self.config is not None or self.config_fn is not None,
        )

    def copy(self) -> Self:
        """Another definition with the same nodes, to be changed without changing this one."""
        return copy.copy(self)

    # ---- what it can become -------------------------------------------------------------------------------

    def to_job(
        self,
        name: str | None = None,
        description: str | None = None,
        resource_defs: Mapping[str, Any] | None = None,
        config: Any = None,
        tags: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        logger_defs: Mapping[str, Any] | None = None,
        executor_def: ExecutorDefinition | None = None,
        hooks: Iterable[HookDefinition] | None = None,
        op_retry_policy: RetryPolicy | None = None,
        op_selection: Sequence[str] | None = None,
        partitions_def: Any = None,
        input_values: Mapping[str, Any] | None = None,
        run_tags: Mapping[str, Any] | None = None,
        owners: Sequence[str] | None = None,
    ) -> JobDefinition:
        """A job of this graph; several jobs may share one."""
        from opgrid.definitions.job import JobDefinition

        return JobDefinition(
            graph_def=self,
            name=name,
            description=description,
            resource_defs=resource_defs,
            config=config,
            tags=tags,
            metadata=metadata,
            logger_defs=logger_defs,
            executor_def=executor_def,
            hook_defs=hooks,
            op_retry_policy=op_retry_policy,
            op_selection=op_selection,
            partitions_def=partitions_def,
            input_values=input_values,
            run_tags=run_tags,
            owners=owners,
        )

    def execute_in_process(
        self,
        run_config: Any = None,
        instance: Any = None,
        resources: Mapping[str, Any] | None = None,
        raise_on_error: bool = True,
        op_selection: Sequence[str] | None = None,
        run_id: str | None = None,
        input_values: Mapping[str, Any] | None = None,
    ) -> ExecuteInProcessResult:
        """Runs it as a job without anything else, in this process."""
        return self.to_job().execute_in_process(
            run_config=run_config,
            instance=instance,
            resources=resources,
            raise_on_error=raise_on_error,
            op_selection=op_selection,
            run_id=run_id,
            input_values=input_values,
        )

    def configured(
        self,
        config_or_config_fn: Any,
        name: str | None = None,
        config_schema: Any = None,
        description: str | None = None,
    ) -> GraphDefinition:
        """The same graph under another name, with the config of its mapping given."""
        from opgrid.definitions.configured import configured_copy

        return configured_copy(self, config_or_config_fn, name, config_schema, description)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        composition = current()
        if composition is None:
            raise InvariantViolationError(
                f"{self.described()} was called outside of the function of a job or graph, where calling it means "
                f"nothing. To run it: {self.name}.execute_in_process(), or {self.name}.to_job()."
            )
        return composition.invoke(self, args, kwargs)

    def __repr__(self) -> str:
        return f"GraphDefinition({self.name!r})"


def _config_mapping(config: Any, what: str) -> Any:
    if config is None:
        return None
    from opgrid.definitions.config_mapping import ConfigMapping

    if isinstance(config, ConfigMapping):
        return config
    if isinstance(config, Mapping) or hasattr(config, "to_config_dict"):
        from opgrid.definitions.config_mapping import constant_mapping

        return constant_mapping(config)
    raise InvalidDefinitionError(f"{what}: config= of a graph has to be a ConfigMapping or a dict, not {config!r}.")


def _port(type: Type, description: str | None) -> In:
    return In(type, description)


def _check_parameter(name: str, what: str) -> None:
    if name.startswith(("*", "/")):
        raise InvalidDefinitionError(
            f"{what}: its function takes {name!r}; the inputs of a graph are plain parameters."
        )
    check_name(name, f"an input of {what}")


def _annotated(parameter: Parameter, what: str) -> Type | None:
    if parameter.annotation is ABSENT:
        return None
    found = resolve_type(parameter.annotation, f"{parameter.name!r} of {what}")
    return None if found is AnyType else found


# ---- what the function returned --------------------------------------------------------------------------


def _returned(
    composition: Composition, result: Any, out: GraphOut | Mapping[str, GraphOut] | None
) -> dict[str, Handle]:
    declared = _declared(out, composition)
    if composition.kind == "job" and isinstance(result, tuple) and all(isinstance(each, Handle) for each in result):
        return {}  # the outputs of one call, passed on by habit
    if isinstance(result, tuple) and declared is not None:
        result = _tuple_by_name(composition, result, declared)
    if isinstance(result, Mapping):
        given = dict(result)
    elif result is None:
        given = {}
    elif declared is not None and len(declared) > 1:
        raise InvalidDefinitionError(
            f"{composition.described()} declares {len(declared)} outputs ({listed(declared)}), but it returned a "
            f"single {_kind(result)}. Return a dict of them by name."
        )
    else:
        given = {declared[0] if declared else "result": result}
    if composition.kind == "job" and given:
        raise InvalidDefinitionError(
            f"{composition.described()} returned {_kind(next(iter(given.values())))}, but a job has no declared "
            "outputs. Remove the "
            f"return, or make it a @graph and call .to_job()."
        )
    return _checked(composition, given, declared)


def _declared(out: Any, composition: Composition) -> list[str] | None:
    if out is None:
        return None
    if isinstance(out, GraphOut):
        return ["result"]
    if isinstance(out, Mapping) and all(isinstance(each, GraphOut) for each in out.values()):
        return [check_name(name, f"an output of {composition.described()}") for name in out]
    raise InvalidDefinitionError(
        f"{composition.described()}: out= has to be a GraphOut() or a dict of them, not {out!r}."
    )


def _tuple_by_name(composition: Composition, result: tuple[Any, ...], declared: list[str]) -> dict[str, Any]:
    fields = getattr(result, "_fields", None)
    if fields is not None and set(fields) == set(declared):
        return dict(zip(fields, result, strict=True))
    if len(result) != len(declared):
        raise InvalidDefinitionError(
            f"{composition.described()} declares {len(declared)} outputs ({listed(declared)}), but it returned a "
            f"tuple of {len(result)}. Return a dict of them by name."
        )
    return dict(zip(declared, result, strict=True))


def _checked(composition: Composition, given: dict[str, Any], declared: list[str] | None) -> dict[str, Handle]:
    what = composition.described()
    for name, value in given.items():
        if declared is not None and name not in declared:
            raise InvalidDefinitionError(
                f"{what} returned an output {name!r} that it does not declare.{nearest(name, declared)} Declared: "
                f"{listed(declared)}."
            )
        if declared is None and name != "result":
            raise InvalidDefinitionError(
                f"{what} returned a dict, but it declares no outputs: add out={{{name!r}: GraphOut(), ...}}."
            )
        if not isinstance(value, Handle) or not composition.owns(value):
            _no_handle(what, name, value)
        if isinstance(value._wire, FromGraphInput):
            composition.used(value._wire.name, "value")
    missing = [name for name in declared or () if name not in given]
    if missing:
        raise InvalidDefinitionError(
            f"{what} declares the outputs {listed(missing)}, but its function did not return them. Return a dict of "
            "outputs by name."
        )
    return {name: given[name] for name in declared or given}


def _no_handle(what: str, name: str, value: Any) -> None:
    hint = ""
    if isinstance(value, Invocable | PendingInvocation):
        hint = " Did you forget the parentheses?"
    elif isinstance(value, tuple):
        hint = " Declare the outputs with out={...}, and return a dict of them by name."
    elif isinstance(value, list):
        hint = " Gather the list in an op, and return its output."
    raise InvalidDefinitionError(
        f"{what} returned {value!r} for its output {name!r}, which is no output of a node inside.{hint}"
    )


def _kind(value: Any) -> str:
    return value._named() if isinstance(value, Handle) else f"{type(value).__name__} {value!r}"


# ---- the decorator ---------------------------------------------------------------------------------------


@overload
def graph(compose_fn: Callable[..., Any]) -> GraphDefinition: ...
@overload
def graph(
    compose_fn: None = None,
    *,
    name: str | None = ...,
    description: str | None = ...,
    ins: Mapping[str, GraphIn] | None = ...,
    out: GraphOut | Mapping[str, GraphOut] | None = ...,
    tags: Mapping[str, Any] | None = ...,
    config: Any = ...,
) -> Callable[[Callable[..., Any]], GraphDefinition]: ...
def graph(
    compose_fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    ins: Mapping[str, GraphIn] | None = None,
    out: GraphOut | Mapping[str, GraphOut] | None = None,
    tags: Mapping[str, Any] | None = None,
    config: Any = None,
) -> Any:
    """Makes a graph of a function that calls ops and other graphs; its parameters are the graph's inputs.

    @graph
    def add_two(arg):
        return add_one(add_one(arg))
    """

    def decorated(function: Any) -> GraphDefinition:
        if not callable(function) or isinstance(function, Invocable):
            raise InvalidDefinitionError(f"@graph goes on a function, not on {function!r}.")
        made = GraphDefinition(
            name if name is not None else function.__name__,
            description=description if description is not None else inspect.getdoc(function),
            config=config,
            tags=tags,
            composition_fn=function,
            ins=ins,
            out=out,
        )
        update_wrapper(made, function, updated=())
        return made

    return decorated if compose_fn is None else decorated(compose_fn)


# ---- walking ---------------------------------------------------------------------------------------------


def wired_from(wire: Wire) -> Iterator[FromNode | FromGraphInput]:
    """The single sources of a wire."""
    if isinstance(wire, FanIn):
        yield from wire.items
    else:
        yield wire
