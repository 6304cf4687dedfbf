"""Jobs: a graph with everything that running it needs, bound or left open."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, overload

from opgrid.contracts.metadata import check_metadata
from opgrid.contracts.structure import JobStructure
from opgrid.contracts.tags import definition_tags, tags_of
from opgrid.contracts.wire import structure_hash
from opgrid.definitions.executor import ExecutorDefinition, check_executor, multi_or_in_process_executor
from opgrid.definitions.graph import GraphDefinition
from opgrid.definitions.hooks import HookDefinition, check_hooks
from opgrid.definitions.logger import checked_loggers
from opgrid.definitions.names import check_name, check_owners
from opgrid.definitions.nodes import Invocable, current
from opgrid.definitions.retry import RetryPolicy, check_retry_policy
from opgrid.definitions.structure import OpNode, UnsatisfiedInput, op_nodes, parts_of, structure_of, unsatisfied_inputs
from opgrid.errors import (
    InvalidDefinitionError,
    InvalidSubsetError,
    InvariantViolationError,
    NothingSelected,
    NotPartitionedError,
    UnknownName,
    listed,
    nearest,
)
from opgrid.ids import NodePath

if TYPE_CHECKING:
    from datetime import datetime

    from opgrid.definitions.resource import ResourceDefinition
    from opgrid.definitions.run_config import Resolution
    from opgrid.definitions.run_request import RunRequest
    from orchestrator.services.results import ExecuteInProcessResult


class JobDefinition:
    """What is launched. Made by :func:`job`, or by ``to_job`` of a graph."""

    def __init__(
        self,
        *,
        graph_def: GraphDefinition,
        resource_defs: Mapping[str, Any] | None = None,
        executor_def: ExecutorDefinition | None = None,
        logger_defs: Mapping[str, Any] | None = None,
        name: str | None = None,
        config: Any = None,
        description: str | None = None,
        partitions_def: Any = None,
        tags: Mapping[str, Any] | None = None,
        run_tags: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        hook_defs: Iterable[HookDefinition] | None = None,
        op_retry_policy: RetryPolicy | None = None,
        input_values: Mapping[str, Any] | None = None,
        owners: Sequence[str] | None = None,
        op_selection: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(graph_def, GraphDefinition):
            raise InvalidDefinitionError(f"A job is made of a graph, not of {graph_def!r}.")
        self.graph = graph_def
        self.name = check_name(name if name is not None else graph_def.name, "a job", graph_def.location)
        what = f"Job {self.name!r} ({graph_def.location})"
        self.description = description if description is not None else graph_def.description
        self.tags = {**graph_def.tags, **definition_tags(tags_of(tags, what), what)}
        self._run_tags = None if run_tags is None else definition_tags(tags_of(run_tags, what), what)
        self.metadata = check_metadata(metadata, what)
        self.owners = check_owners(owners, what)
        self.hook_defs: set[HookDefinition] = set(check_hooks(hook_defs, what))
        self.own_executor = check_executor(executor_def, what)  #: None where it was given none
        self.op_retry_policy = check_retry_policy(op_retry_policy, what)
        self.resource_defs: dict[str, ResourceDefinition] = _resources(resource_defs, what)
        self.logger_defs: dict[str, Any] = checked_loggers(logger_defs, f"logger_defs of {what}")
        self.input_values = _input_values(graph_def, input_values, what)
        self.op_selection = self._checked_selection(op_selection)
        #: As it was given; the four below say what it is.
        self.config = config
        self.run_config: dict[str, Any] | None = None  #: hard-coded: each part of it a default at launch
        self.config_mapping: Any = None
        self.partitioned_config: Any = None
        self.partitions_def: Any = partitions_def
        self._take_config(config, what)
        self._check_inputs(what)
        if config is not None or self.input_values:
            self._check_config()

    def _take_config(self, config: Any, what: str) -> None:
        if config is None:
            return
        if isinstance(config, Mapping):
            self.run_config = dict(config)
        elif hasattr(config, "to_config_dict"):
            self.run_config = config.given()
        elif _is_a(config, "opgrid.definitions.config_mapping", "ConfigMapping"):
            self.config_mapping = config
        elif _is_a(config, "opgrid.definitions.partitioned_config", "PartitionedConfig"):
            self.partitioned_config = config
            if self.partitions_def is not None and self.partitions_def != config.partitions_def:
                raise InvalidDefinitionError(
                    f"{what} has a PartitionedConfig and another partitions_def. Leave partitions_def out: the config "
                    "brings its own."
                )
            self.partitions_def = config.partitions_def
        else:
            hint = " Pass it inside RunConfig(ops={...})." if _is_a(config, "opgrid.config.model", "Config") else ""
            raise InvalidDefinitionError(
                f"{what}: config= has to be a RunConfig, a dict, a ConfigMapping or a PartitionedConfig, not "
                f"{config!r}.{hint}"
            )

    def _check_inputs(self, what: str) -> None:
        for name, use in self.graph.shape.uses.items():
            if use == "dynamic":
                raise InvalidDefinitionError(
                    f"{what} maps or collects its own input {name!r}, but what is given to a job is a single value. "
                    "Take it in an op with "
                    f"out=DynamicOut(), and yield a DynamicOutput for each part."
                )

    def _check_config(self) -> None:
        from opgrid.definitions.run_config import check_job_config

        check_job_config(self)

    # ---- what it is made of -------------------------------------------------------------------------------

    @property
    def run_config_schema(self) -> dict[str, Any]:
        """JSON Schema of the run config, for editors; what the job brings along is not required."""
        from opgrid.definitions.run_config_schema import run_config_schema

        return run_config_schema(self)

    @property
    def graph_def(self) -> GraphDefinition:
        return self.graph

    @property
    def location(self) -> str:
        return self.graph.location

    @property
    def run_tags(self) -> dict[str, str]:
        """What its runs are tagged with: the job's own tags, unless others were given for them."""
        return self.tags if self._run_tags is None else self._run_tags

    @property
    def executor_def(self) -> ExecutorDefinition:
        """What it runs on unless the run config or the command line says otherwise."""
        return multi_or_in_process_executor if self.own_executor is None else self.own_executor

    @property
    def loggers(self) -> dict[str, Any]:
        return self.logger_defs

    @property
    def nodes(self) -> list[Any]:
        return list(self.graph.nodes.values())

    @property
    def nodes_in_topological_order(self) -> list[Any]:
        return list(self.graph.nodes.values())

    @property
    def structure(self) -> JobStructure:
        """The job as data; linear in the number of its nodes, and made once."""
        return self._structure

    @cached_property
    def _structure(self) -> JobStructure:
        return structure_of(self)

    @cached_property
    def structure_hash(self) -> str:
        return structure_hash(self._structure)

    @cached_property
    def op_table(self) -> dict[NodePath, OpNode]:
        """Every op by its path, ``g.inc_2``."""
        return {each.path: each for each in op_nodes(self)}

    def node(self, path: str) -> OpNode:
        """Raises UnknownName, naming the nearest."""
        found = self.op_table.get(NodePath(path))
        if found is None:
            raise UnknownName("op", path, list(self.op_table), f"job {self.name!r}")
        return found

    @cached_property
    def unsatisfied_inputs(self) -> tuple[UnsatisfiedInput, ...]:
        """What the run config has to bring, unless the ops are left out of the selection."""
        return tuple(unsatisfied_inputs(self.graph))

    # ---- resources ----------------------------------------------------------------------------------------

    @cached_property
    def required_resource_keys(self) -> frozenset[str]:
        """Of its ops, hooks, inputs and outputs.

        ``io_manager`` has a default and is not among them unless it is bound.
        """
        keys: set[str] = set()
        ops, hooks = parts_of(self)
        for hook in hooks:
            keys |= hook.required_resource_keys
        for op in ops:
            keys |= op.required_resource_keys
            keys |= {out.io_manager_key for out in op.outs.values() if not out.type.is_nothing}
            keys |= {port.input_manager_key for port in op.ins.values() if port.input_manager_key is not None}
        keys.discard("io_manager")
        return frozenset(keys)

    def check_resources(self) -> None:
        """InvalidDefinitionError when something that it needs is not bound, with what is."""
        wanted = {key: "" for key in self.required_resource_keys}
        for key, definition in self.resource_defs.items():
            for inner in getattr(definition, "required_resource_keys", ()):
                wanted.setdefault(inner, f" (resource {key!r} needs it)")
            for name in getattr(definition, "open_at_launch", ()):
                raise InvalidDefinitionError(
                    f"Job {self.name!r} ({self.location}): the resource {key!r} holds as {name!r} one that is "
                    "configured at launch, which needs a key of its own for the run config to name. Bind that very "
                    f"object, too: resource_defs={{{key!r}: ..., {name!r}: ...}}."
                )
        for key in sorted(wanted):
            if key not in self.resource_defs:
                self._missing_resource(key, wanted[key])

    def _missing_resource(self, key: str, why: str) -> NoReturn:
        users: list[str] = [path for path, each in self.op_table.items() if key in each.op.required_resource_keys]
        users += [
            f"{path} (hook)"
            for path, each in self.op_table.items()
            if any(key in h.required_resource_keys for h in each.hooks)
        ]
        by = f" by {listed(users, 5)}" if users else why or " by an input or output"
        raise InvalidDefinitionError(
            f"Job {self.name!r} ({self.location}) needs a resource {key!r}{by}, and nothing is bound to that key."
            f"{nearest(key, self.resource_defs)} Bound are: {listed(self.resource_defs)}. Bind it with "
            f"resource_defs={{{key!r}: ...}} of the job, or Definitions(resources={{{key!r}: ...}})."
        )

    def bound(
        self,
        resources: Mapping[str, Any] | None = None,
        executor_def: ExecutorDefinition | None = None,
        loggers: Mapping[str, Any] | None = None,
    ) -> JobDefinition:
        """The same job, with what it left open filled in; its own values go first."""
        found = self._copy()
        found.resource_defs = _resources({**(resources or {}), **self.resource_defs}, f"Job {self.name!r}")
        found.own_executor = self.own_executor if self.own_executor is not None else executor_def
        found.logger_defs = {**(loggers or {}), **self.logger_defs} if not self.logger_defs else self.logger_defs
        return found

    def with_top_level_resources(self, resource_defs: Mapping[str, Any]) -> JobDefinition:
        return self.bound(resources=resource_defs)

    def with_resources(self, resources: Mapping[str, Any]) -> JobDefinition:
        """The same job with these resources in the place of its own: for tests and single executions."""
        found = self._copy()
        found.resource_defs = _resources({**self.resource_defs, **(resources or {})}, f"Job {self.name!r}")
        return found

    def with_executor_def(self, executor_def: ExecutorDefinition) -> JobDefinition:
        found = self._copy()
        found.own_executor = check_executor(executor_def, f"Job {self.name!r}")
        return found

    def with_logger_defs(self, logger_defs: Mapping[str, Any]) -> JobDefinition:
        found = self._copy()
        found.logger_defs = checked_loggers(logger_defs, f"with_logger_defs of Job {self.name!r}")
        return found

    def with_hooks(self, hook_defs: Iterable[HookDefinition]) -> JobDefinition:
        found = self._copy(restructured=True)
        found.hook_defs = self.hook_defs | check_hooks(hook_defs, f"Job {self.name!r}")
        return found

    def with_metadata(self, metadata: Mapping[str, Any]) -> JobDefinition:
        found = self._copy(restructured=True)
        found.metadata = check_metadata(metadata, f"Job {self.name!r}")
        return found

    def get_subset(self, *, op_selection: Iterable[str] | None = None) -> JobDefinition:
        """The same job, of which a run takes only the selected ops. InvalidSubsetError names the nearest of one that it
        does not have.
        """
        found = self._copy()
        found.op_selection = self._checked_selection(op_selection)
        return found

    def _checked_selection(self, op_selection: Iterable[str] | None) -> tuple[str, ...] | None:
        """That there is what the clauses name; what they take with it is found when a run is planned."""
        if op_selection is None:
            return None
        if isinstance(op_selection, str):
            raise InvalidSubsetError(
                f"Job {self.name!r} ({self.location}): op_selection is a list: use [{op_selection!r}]."
            )
        clauses = tuple(op_selection)
        known = {
            ".".join(parts[:depth])
            for parts in (path.split(".") for path in (self.op_table if clauses else ()))
            for depth in range(1, len(parts) + 1)
        }
        for clause in clauses:
            name = clause.strip().strip("*+")
            if name not in known and clause.strip() != "*":
                raise NothingSelected(clause, sorted(known))
        return clauses

    def _copy(self, restructured: bool = False) -> Self:
        """What is bound is no part of the structure, so that most copies share it."""
        found = copy.copy(self)
        if restructured:
            found.__dict__ = {name: value for name, value in found.__dict__.items() if name not in _DERIVED}
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _DERIVED}

    def _repr_svg_(self) -> str:
        """In a notebook: its picture."""
        from opgrid.definitions.picture import svg

        return svg(self.structure)

    # ---- launching ----------------------------------------------------------------------------------------

    def resolve(
        self, run_config: Any = None, executor: str | None = None, selected: Collection[str] | None = None
    ) -> Resolution:
        """Run config made whole: merged with the job's own, validated, mapped, and laid out by op.

        Names every error at once. ``selected``: the paths of the ops that will run, None for all.
        """
        from opgrid.definitions.run_config import resolve_run_config

        return resolve_run_config(self, run_config, executor, selected)

    # ---- partitions ---------------------------------------------------------------------------------------

    def run_request_for_partition(
        self,
        partition_key: str,
        run_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        asset_selection: Any = None,
        run_config: Any = None,
        current_time: datetime | None = None,
        dynamic_partitions_store: Any = None,
    ) -> RunRequest:
        """For schedules and sensors: a run of one partition."""
        from opgrid.definitions.partitioned_config import run_request_for_partition

        return run_request_for_partition(
            self, partition_key, run_key, tags, run_config, current_time, dynamic_partitions_store
        )

    def get_run_config_for_partition_key(self, partition_key: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._partitioned().get_run_config_for_partition_key(partition_key)
        return found

    def get_tags_for_partition_key(self, partition_key: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self._partitioned().get_tags_for_partition_key(partition_key, self.name)
        return found

    def validate_partition_key(
        self, partition_key: str, current_time: datetime | None = None, dynamic_partitions_store: Any = None
    ) -> None:
        """UnknownPartitionError for a key that there is not, also at an end of a range ``first...last``."""
        from opgrid.definitions.partitions import DynamicPartitionsDefinition, PartitionKeyRange

        self._partitioned()
        given: object = partition_key
        span = PartitionKeyRange.parse(given) if isinstance(given, str) else None
        dimensions = getattr(self.partitions_def, "partitions_defs", {"": self.partitions_def}).values()
        if span is None:
            self.partitions_def.validate_partition_key(partition_key, current_time, dynamic_partitions_store)
        elif any(isinstance(each, DynamicPartitionsDefinition) for each in dimensions):
            raise InvariantViolationError(
                f"Job {self.name!r} has dynamic partitions, of which there are no ranges: what is between two of them "
                "changes. Name each partition."
            )
        else:
            self.partitions_def.get_partition_keys_in_range(span, current_time, dynamic_partitions_store)

    def _partitioned(self) -> Any:
        if self.partitions_def is None:
            raise NotPartitionedError(
                f"Job {self.name!r} ({self.location}) is not partitioned: give it config=PartitionedConfig(...) or "
                f"partitions_def=."
            )
        from opgrid.definitions.partitioned_config import partitioned_config_of

        return partitioned_config_of(self)

    # ---- running ------------------------------------------------------------------------------------------

    def execute_in_process(
        self,
        run_config: Any = None,
        instance: Any = None,
        partition_key: str | None = None,
        raise_on_error: bool = True,
        op_selection: Sequence[str] | None = None,
        run_id: str | None = None,
        input_values: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        resources: Mapping[str, Any] | None = None,
    ) -> ExecuteInProcessResult:
        """Runs it here and now, with outputs in memory; gives an ExecuteInProcessResult."""
        from opgrid.doors import through

        _check_input_names(self.graph, input_values, f"Job {self.name!r} ({self.graph.location})")
        result: ExecuteInProcessResult = through("execute_in_process")(
            self,
            run_config=run_config,
            instance=instance,
            partition_key=partition_key,
            raise_on_error=raise_on_error,
            op_selection=op_selection,
            run_id=run_id,
            input_values=input_values,
            tags=tags,
            resources=resources,
        )
        return result

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        composition = current()
        if composition is not None:
            raise InvariantViolationError(
                f"{composition.at()}: job {self.name!r} ({self.location}) was invoked inside it. A job cannot be part "
                "of another: make the "
                f"shared part a @graph, and use that in both."
            )
        raise InvariantViolationError(
            f"Job {self.name!r} ({self.location}) was called like a function. To run it: "
            f"{self.name}.execute_in_process()."
        )

    def __repr__(self) -> str:
        return f"JobDefinition({self.name!r})"


_DERIVED: Final = frozenset(
    {"_structure", "structure_hash", "op_table", "required_resource_keys", "unsatisfied_inputs"}
)


def _is_a(value: object, module: str, name: str) -> bool:
    """Without importing a module that nobody has imported yet."""
    found = sys.modules.get(module)
    kind = getattr(found, name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _resources(given: Mapping[str, Any] | None, what: str) -> dict[str, ResourceDefinition]:
    if not given:
        return {}
    from opgrid.definitions.resource import bind_resources

    if not isinstance(given, Mapping):
        raise InvalidDefinitionError(f"{what}: resources are given as a dict by key, not as {given!r}.")
    return bind_resources({check_name(key, f"a resource of {what}"): value for key, value in given.items()})


def _input_values(graph: GraphDefinition, given: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    _check_input_names(graph, given, what)
    return {**graph.input_defaults, **(given or {})}


def _check_input_names(graph: GraphDefinition, given: Mapping[str, Any] | None, what: str) -> None:
    for name in given or ():
        if name not in graph.ins:
            raise InvalidDefinitionError(
                f"{what}: input_values has {name!r}, which is no input of the job.{nearest(name, graph.ins)} "
                f"Its inputs are: {listed(list(graph.ins))}."
            )


# ---- the decorator ---------------------------------------------------------------------------------------


@overload
def job(compose_fn: Callable[..., Any]) -> JobDefinition: ...
@overload
def job(
    compose_fn: None = None,
    *,
    name: str | None = ...,
    description: str | None = ...,
    resource_defs: Mapping[str, Any] | None = ...,
    config: Any = ...,
    tags: Mapping[str, Any] | None = ...,
    run_tags: Mapping[str, Any] | None = ...,
    metadata: Mapping[str, Any] | None = ...,
    logger_defs: Mapping[str, Any] | None = ...,
    executor_def: ExecutorDefinition | None = ...,
    hooks: Iterable[HookDefinition] | None = ...,
    op_retry_policy: RetryPolicy | None = ...,
    partitions_def: Any = ...,
    input_values: Mapping[str, Any] | None = ...,
    owners: Sequence[str] | None = ...,
) -> Callable[[Callable[..., Any]], JobDefinition]: ...
def job(
    compose_fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    resource_defs: Mapping[str, Any] | None = None,
    config: Any = None,
    tags: Mapping[str, Any] | None = None,
    run_tags: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    logger_defs: Mapping[str, Any] | None = None,
    executor_def: ExecutorDefinition | None = None,
    hooks: Iterable[HookDefinition] | None = None,
    op_retry_policy: RetryPolicy | None = None,
    partitions_def: Any = None,
    input_values: Mapping[str, Any] | None = None,
    owners: Sequence[str] | None = None,
) -> Any:
    """Makes a job of a function that calls ops and graphs.

    @job
    def do_stuff():
        add_one(return_five())
    """

    def decorated(function: Any) -> JobDefinition:
        if not callable(function) or isinstance(function, Invocable | JobDefinition):
            raise InvalidDefinitionError(
                f"@job goes on a function, not on {function!r}. For a job of a graph: graph.to_job()."
            )
        called = name if name is not None else function.__name__
        made = JobDefinition(
            graph_def=GraphDefinition(
                called, composition_fn=function, description=inspect.getdoc(function), kind="job"
            ),
            name=called,
            description=description,
            resource_defs=resource_defs,
            config=config,
            tags=tags,
            run_tags=run_tags,
            metadata=metadata,
            logger_defs=logger_defs,
            executor_def=executor_def,
            hook_defs=hooks,
            op_retry_policy=op_retry_policy,
            partitions_def=partitions_def,
            input_values=input_values,
            owners=owners,
        )
        update_wrapper(made, function, updated=())
        return made

    return decorated if compose_fn is None else decorated(compose_fn)
