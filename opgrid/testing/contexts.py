"""Contexts to call ops, hooks, IO managers and resources with, outside of any run.

context = build_op_context(resources={"server": server}, op_config={"rows": 3})
assert my_op(context, 5) == 6
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Self, cast

import msgspec

from opgrid.config.env import with_references
from opgrid.config.report import Report
from opgrid.config.schema import ABSENT, plain_values
from opgrid.contracts.config import ExecutorChoice, NodeConfig
from opgrid.contracts.events import AnyEvent, LogMessage
from opgrid.contracts.facts import AssetMaterialization, AssetObservation, ExpectationResult
from opgrid.contracts.tasks import JobRef, OutputRef, RunBrief, StepTask
from opgrid.definitions.hooks import HookDefinition
from opgrid.definitions.logger import InitLoggerContext
from opgrid.definitions.nodes import Node as Invocation
from opgrid.definitions.op import OpDefinition
from opgrid.definitions.resource import InitResourceContext, bind_resources, open_on
from opgrid.definitions.types import resolve_type
from opgrid.doors import through
from opgrid.errors import InvalidInvocationError
from opgrid.ids import NodePath, RunId, StepKey, step_key
from opgrid.io.context import PARTITION_TAG, InputContext, OutputContext
from opgrid.io.setup import IOSetup
from opgrid.steps.attempt import Attempt
from opgrid.steps.context import HookContext, OpExecutionContext
from opgrid.steps.resources import Resources, in_order
from opgrid.steps.scope import Node, RunScope

EPHEMERAL = "EPHEMERAL"
_log = logging.getLogger("opgrid.testing")


def build_op_context(
    resources: Mapping[str, Any] | None = None,
    op_config: Any = None,
    resources_config: Mapping[str, Any] | None = None,
    instance: Any = None,
    config: Any = None,
    partition_key: str | None = None,
    partition_key_range: Any = None,
    mapping_key: str | None = None,
    run_tags: Mapping[str, str] | None = None,
    event_loop: Any = None,
    job_name: str | None = None,
    op: OpDefinition | None = None,
    run_id: str = EPHEMERAL,
) -> DirectOpContext:
    """For calling an op directly. Resources may be plain values or definitions; what has to be closed in the end is
    closed where the context is used in a ``with`` statement.

    ``config`` is an instance of the op's Config class; ``op_config`` a dict of what it holds.
    """
    if config is not None and op_config is not None:
        raise InvalidInvocationError("build_op_context takes config= or op_config=, not both.")
    tags = dict(run_tags or {})
    if partition_key is not None:
        tags[PARTITION_TAG] = partition_key
    attempt = _DirectAttempt(run_id, tags, instance, job_name, op, mapping_key)
    attempt.given_config = with_references(op_config) if config is None else config
    attempt.given_range = partition_key_range
    attempt.open(resources or {}, resources_config or {})
    return DirectOpContext(attempt)


def build_hook_context(
    resources: Mapping[str, Any] | None = None,
    op: OpDefinition | None = None,
    run_id: str | None = None,
    job_name: str | None = None,
    op_exception: BaseException | None = None,
    instance: Any = None,
) -> DirectHookContext:
    """For calling a hook directly: ``my_hook(build_hook_context(...))``."""
    attempt = _DirectAttempt(run_id or EPHEMERAL, {}, instance, job_name, op, None)
    attempt.open(resources or {}, {})
    hook = HookDefinition("hook", lambda context: None, required_resource_keys=set(attempt.opened))
    return DirectHookContext(attempt, hook, op_exception)


def build_output_context(
    step_key: str | None = None,
    name: str | None = None,
    definition_metadata: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    mapping_key: str | None = None,
    config: Any = None,
    type: Any = None,
    resource_config: Any = None,
    resources: Mapping[str, Any] | None = None,
    op_def: OpDefinition | None = None,
    partition_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    job_name: str | None = None,
    instance: Any = None,
    version: str | None = None,
    output_metadata: Mapping[str, Any] | None = None,
) -> DirectOutputContext:
    """For calling ``handle_output`` of an IO manager directly. ``version`` is accepted and says nothing."""
    ref = OutputRef(
        RunId(run_id or EPHEMERAL), StepKey(step_key or "step"), name or "result", mapping_key, claim="", manifest={}
    )
    return DirectOutputContext(
        ref.output,
        ref,
        _surroundings(resources, op_def, partition_key, job_name, instance),
        output_metadata,
        type=resolve_type(type) if type is not None else None,
        config=config,
        definition_metadata=definition_metadata or metadata,
        resource_config=resource_config,
    )


def build_input_context(
    name: str | None = None,
    config: Any = None,
    definition_metadata: Mapping[str, Any] | None = None,
    upstream_output: OutputContext | None = None,
    type: Any = None,
    resource_config: Any = None,
    resources: Mapping[str, Any] | None = None,
    op_def: OpDefinition | None = None,
    partition_key: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    step_key: str | None = None,
    job_name: str | None = None,
    run_id: str | None = None,
    instance: Any = None,
) -> DirectInputContext:
    """For calling ``load_input`` of an IO manager directly."""
    return DirectInputContext(
        name or "input",
        upstream_output,
        _surroundings(resources, op_def, partition_key, job_name, instance),
        run_id=run_id or EPHEMERAL,
        step_key=step_key or "step",
        type=resolve_type(type) if type is not None else None,
        config=config,
        definition_metadata=definition_metadata or metadata,
        resource_config=resource_config,
    )


def build_init_resource_context(
    config: Any = None,
    resources: Mapping[str, Any] | None = None,
    instance: Any = None,
) -> DirectInitResourceContext:
    """For calling a resource function directly."""
    attempt = _DirectAttempt(EPHEMERAL, {}, instance, None, None, None)
    attempt.open(resources or {}, {})
    return DirectInitResourceContext(attempt, config)


def build_init_logger_context(
    logger_config: Any = None, job_def: Any = None, *, run_id: str | None = None
) -> InitLoggerContext:
    """For calling a logger function directly."""
    return InitLoggerContext(logger_config, job_def=job_def, run_id=run_id or EPHEMERAL)


class _Closing:
    """Ends what its resources hold where it is used in a ``with`` statement."""

    __slots__ = ()

    def _opened_for(self) -> Attempt:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        attempt = self._opened_for()
        stack, attempt.stack = attempt.stack, None
        if stack is not None:
            stack.close()


class DirectHookContext(_Closing, HookContext):
    """What :func:`build_hook_context` gives."""

    __slots__ = ()

    def _opened_for(self) -> Attempt:
        return self._attempt


class DirectOutputContext(_Closing, OutputContext):
    """What :func:`build_output_context` gives."""

    __slots__ = ()

    def _opened_for(self) -> Attempt:
        return cast(Attempt, self._around)


class DirectInputContext(_Closing, InputContext):
    """What :func:`build_input_context` gives."""

    __slots__ = ()

    def _opened_for(self) -> Attempt:
        return cast(Attempt, self._around)


class DirectInitResourceContext(_Closing, InitResourceContext):
    """What :func:`build_init_resource_context` gives."""

    def __init__(self, attempt: Attempt, config: Any) -> None:
        super().__init__(
            config,
            attempt.resources,
            run_id=EPHEMERAL,
            log=attempt.log,
            instance=lambda: attempt.scope.instance,
        )
        self._attempt = attempt

    def _opened_for(self) -> Attempt:
        return self._attempt


class DirectOpContext(_Closing, OpExecutionContext):
    """What :func:`build_op_context` gives."""

    __slots__ = ()

    def _opened_for(self) -> Attempt:
        return self._attempt

    @property
    def has_partition_key_range(self) -> bool:
        return cast(_DirectAttempt, self._attempt).given_range is not None or super().has_partition_key_range

    @property
    def partition_key_range(self) -> Any:
        given = cast(_DirectAttempt, self._attempt).given_range
        return given if given is not None else super().partition_key_range

    def get_mapping_key(self) -> str | None:
        return self.mapping_keys[-1] if self.mapping_keys else None

    def get_events(self) -> list[AssetMaterialization | AssetObservation | ExpectationResult]:
        """What the op has told so far, as it told it."""
        found: list[AssetMaterialization | AssetObservation | ExpectationResult] = []
        for event in self.get_log():
            checked = event.step_expectation_result_data
            expectation = None if checked is None else checked.expectation_result
            told = event.asset_materialization or event.asset_observation or expectation
            if told is not None:
                found.append(told)
        return found

    def get_log(self) -> list[AnyEvent]:
        """All events so far, what it logged among them."""
        return cast(_DirectAttempt, self._attempt).told.events

    def bind(self, op: OpDefinition) -> None:
        """From now on it is the context of this op, which is about to be called with it. Raises InvalidConfigError."""
        cast(_DirectAttempt, self._attempt).bind(op)

    def bind_config(self, config: Any) -> None:
        """This is what the op gets for its config parameter."""
        cast(_DirectAttempt, self._attempt).loaded_config = plain_values(config)


class _Told:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def emit(self, event: AnyEvent) -> None:
        self.events.append(event)
        if isinstance(event, LogMessage):
            _log.log(event.level, event.message)


class _DirectAttempt(Attempt):
    """An attempt at no step of no run."""

    def __init__(
        self,
        run_id: str,
        tags: Mapping[str, str],
        instance: Any,
        job_name: str | None,
        op: OpDefinition | None,
        mapping_key: str | None,
    ) -> None:
        name = op.name if op is not None else "op"
        keys = () if mapping_key is None else (mapping_key,)
        task = StepTask(RunId(run_id), step_key(name, keys), NodePath(name), mapping_keys=keys)
        brief = RunBrief(RunId(run_id), JobRef(job_name or "", ""), ExecutorChoice("in_process"), tags=dict(tags))
        scope = _NoScope(
            brief=brief,
            job=_NoJob(job_name),
            io=IOSetup.of_environment(),
            given_instance=instance,
            loggers=lambda: (),
            local=None,
            configs={},
        )
        node = SimpleNamespace(
            path=name,
            op=op,
            ins={} if op is None else op.ins,
            outs={} if op is None else op.outs,
            hooks=(),
            resource_keys=frozenset(),
            config=NodeConfig(),
        )
        self.told = _Told()
        self.given_config: Any = None
        self.loaded_config: Any = None
        self.given_range: Any = None
        super().__init__(task, cast(RunScope, scope), cast(Node, node), self.told, "")

    @property
    def op_config(self) -> Any:
        return self.given_config if self.loaded_config is None else self.loaded_config

    @property
    def op_def(self) -> OpDefinition:
        found: OpDefinition | None = self.node.op
        if found is None:
            raise InvalidInvocationError("The context was built for no op: pass op= when you build it.")
        return found

    @property
    def invocation(self) -> Invocation:
        return Invocation(self.op_def.name, self.op_def, {}, {}, frozenset(), None)

    def bind(self, op: OpDefinition) -> None:
        node: Any = self.node
        node.op, node.ins, node.outs = op, op.ins, op.outs
        keys = self.task.mapping_keys
        step = step_key(op.name, keys)
        self.task = msgspec.structs.replace(self.task, step=step, node=NodePath(op.name))
        field = op.config_field
        if field is None or isinstance(op.config_schema, type):
            return  # a Config class is loaded for its parameter
        report = Report()
        given = ABSENT if self.given_config is None else self.given_config
        checked = field.check(given, "config", report)
        report.raise_if_any(f"The op_config for {op.described()} does not fit")
        self.loaded_config = None if checked is ABSENT else field.load(checked)

    def open(self, resources: Mapping[str, Any], configs: Mapping[str, Any]) -> None:
        definitions = bind_resources(resources)
        opened: dict[str, Any] = {}
        self.stack = ExitStack()
        self.opened = opened
        for key in in_order(frozenset(definitions), definitions, "the context"):
            definition = definitions[key]
            given = configs.get(key)
            raw = given["config"] if isinstance(given, Mapping) and set(given) == {"config"} else given
            context = InitResourceContext(
                resource_config=definition.read_config(raw),
                resources=Resources(
                    {each: opened[each] for each in definition.required_resource_keys}, f"resource {key!r}"
                ),
                resource_def=definition,
                run_id=self.task.run_id,
                log=self.log,
                instance=lambda: self.scope.instance,
            )
            opened[key] = open_on(self.stack, key, definition, context)
        self.__dict__["resources"] = Resources(opened, "the context")

    def add_metadata(self, metadata: Mapping[str, Any], output: str | None, mapping_key: str | None) -> None:
        self.added.setdefault((output or "result", mapping_key), {}).update(metadata)


class _NoScope(SimpleNamespace):
    given_instance: Any
    lifetime = "run"

    @cached_property
    def instance(self) -> Any:
        """What was given, or one that keeps nothing, as where a job is executed in process."""
        return self.given_instance if self.given_instance is not None else through("instance").ephemeral()


class _NoJob:
    partitions_def = None

    def __init__(self, name: str | None) -> None:
        self._name = name

    @property
    def name(self) -> str:
        if self._name is None:
            raise InvalidInvocationError("The context was built for no job: pass job_name= when you build it.")
        return self._name


def _surroundings(
    resources: Mapping[str, Any] | None,
    op: OpDefinition | None,
    partition_key: str | None,
    job_name: str | None,
    instance: Any,
) -> Attempt:
    tags = {} if partition_key is None else {PARTITION_TAG: partition_key}
    attempt = _DirectAttempt(EPHEMERAL, tags, instance, job_name, op, None)
    attempt.open(resources or {}, {})
    return attempt
