"""What the steps of one run share in one process: the job, its nodes ready to be called, resources, IO managers."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Self

from opgrid.contracts.config import NodeConfig
from opgrid.contracts.tasks import OutputRef, PythonLogs, RunBrief
from opgrid.definitions.hooks import HookDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.op import OpDefinition
from opgrid.definitions.ports import In, Out
from opgrid.definitions.resource import ResourceDefinition, config_of_port
from opgrid.definitions.structure import OpNode
from opgrid.definitions.types import Type
from opgrid.doors import through
from opgrid.io.bundles import Bundles
from opgrid.io.context import Port
from opgrid.io.keys import KeyRing
from opgrid.io.manager import IOManager
from opgrid.io.pending import Pending
from opgrid.io.selection import DEFAULT_KEY, default_manager
from opgrid.io.setup import IOSetup


@dataclass(slots=True)
class LocalRun:
    """What a run has only in its caller's own process: inputs that are no JSON, and what it leaves behind there."""

    input_values: Mapping[str, Any] = field(default_factory=dict)
    instance: object | None = None
    capture: bool = True  #: keep every output, whatever IO manager it went to
    #: (step key, output, mapping key) -> value
    outputs: dict[tuple[str, str, str | None], Any] = field(default_factory=dict)
    #: (step key, attempt) -> what user code raised
    errors: dict[tuple[str, int], BaseException] = field(default_factory=dict)


_NOTHING_SET: Final = NodeConfig()


class Read(NamedTuple):
    """How an input takes an output."""

    manager: str  #: the resource key
    port: Port
    writer: Port


class OpFacts:
    """What all nodes of an op have in common in one run."""

    __slots__ = ("checked_ins", "checked_outs", "is_async", "opens", "plain", "reads", "resource_keys", "writes")

    def __init__(self, op: OpDefinition, bound: Mapping[str, ResourceDefinition]) -> None:
        """``bound``: the resources of the job."""
        body = op.compute_fn
        self.is_async = inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(body)
        self.checked_ins: dict[str, Type] = {name: port.type for name, port in op.ins.items() if not port.type.is_any}
        self.checked_outs: dict[str, Type] = {name: port.type for name, port in op.outs.items() if not port.type.is_any}
        self.writes = {
            name: Port(
                name,
                out.type,
                None,
                out.metadata,
                manager=out.io_manager_key,
                schema=config_of_port(bound.get(out.io_manager_key), "output"),
            )
            for name, out in op.outs.items()
        }
        self.reads: dict[tuple[str, OpDefinition, str], Read] = {}  #: by input, and the op and output that it takes
        self.plain: Node | None = None  #: the first of its nodes without config
        self.resource_keys = frozenset(op.required_resource_keys)
        needed = {port.io_manager_key for port in op.outs.values()}
        needed |= {port.input_manager_key for port in op.ins.values() if port.input_manager_key}
        self.opens = self.resource_keys | {key for key in needed if key != DEFAULT_KEY or key in bound}


class Node:
    """An op at its place in a job, or at several that are alike: everything looked up that all attempts at it need."""

    __slots__ = (
        "checked_ins",
        "checked_outs",
        "config",
        "hooks",
        "ins",
        "is_async",
        "op",
        "opens",
        "outs",
        "reads",
        "resource_keys",
        "retry",
        "signature",
        "tags",
        "writes",
    )

    def __init__(self, node: OpNode, facts: OpFacts, config: NodeConfig) -> None:
        op = node.op
        self.op = op
        self.tags = node.tags
        self.retry = node.retry
        self.config = config
        self.ins: Mapping[str, In] = op.ins
        self.outs: Mapping[str, Out] = op.outs
        self.signature = op.signature
        self.is_async = facts.is_async
        self.checked_ins, self.checked_outs = facts.checked_ins, facts.checked_outs
        self.writes = facts.writes  #: its outputs as their IO managers see them
        if isinstance(config.outputs, dict):
            self.writes = {name: port._replace(config=config.outputs.get(name)) for name, port in facts.writes.items()}
        self.reads = {} if config.inputs else facts.reads
        self.resource_keys = facts.resource_keys
        self.hooks: tuple[HookDefinition, ...] = ()
        self.opens = facts.opens  #: every resource that has to be open before this op runs
        if node.hooks:
            self.hooks = tuple(sorted(node.hooks, key=lambda hook: hook.name))
            self.opens = facts.opens.union(*(hook.required_resource_keys for hook in self.hooks))

    def is_like(self, node: OpNode) -> bool:
        """Whether the same is said of both, where config says nothing."""
        return self.tags == node.tags and self.retry == node.retry and not self.hooks and not node.hooks


class RunScope:
    """One per run and process. Opens nothing until a step needs it; ``close`` ends what lives as long as the run."""

    def __init__(
        self,
        brief: RunBrief,
        job: JobDefinition,
        *,
        home: str,
        broker_url: str | None = None,
        lifetime: Literal["run", "step"] = "step",
        local: LocalRun | None = None,
        keys: KeyRing | None = None,
        pending: Pending | None = None,
        one_host: bool = False,
        gathers: bool = False,
    ) -> None:
        """``one_host``: so are all processes that run steps of this run, and small values may share files. ``gathers``:
        who runs the steps has them written in one go before it tells of any.
        """
        self.brief = brief
        self.job = job
        self.io = IOSetup(home, broker_url, keys, pending, Bundles() if one_host else None)
        self.gathers = gathers
        self.lifetime = lifetime
        self.local = local
        self.opened: dict[str, Any] = {}  #: resources that live as long as the run
        self.configs: dict[str, Any] = {}  #: what they were opened with
        self.failed: dict[str, BaseException] = {}  #: those that could not be opened
        self.stack = ExitStack()
        self._instance: Any = None
        self.lock = threading.RLock()  #: of what is opened once a run: async steps share a process
        self._nodes: dict[str, Node] = {}
        self._facts: dict[OpDefinition, OpFacts] = {}
        self._default_io: IOManager | None = None
        self._loggers: list[logging.Logger] | None = None
        self.listens = brief.python_logs != PythonLogs()  #: to what ops write elsewhere than to ``context.log``

    def node(self, path: str) -> Node:
        found = self._nodes.get(path)
        if found is None:
            found = self._nodes[path] = self._node(path)
        return found

    def _node(self, path: str) -> Node:
        config = self.brief.config
        placed = self.job.node(path)
        facts = self._facts.get(placed.op)
        if facts is None:
            facts = self._facts[placed.op] = OpFacts(placed.op, self.job.resource_defs)
        if path in config.nodes:
            return Node(placed, facts, config.nodes[path])
        if facts.plain is None:
            facts.plain = Node(placed, facts, _NOTHING_SET)
        return facts.plain if facts.plain.is_like(placed) else Node(placed, facts, _NOTHING_SET)

    @property
    def default_io(self) -> IOManager:
        """Stands behind ``io_manager`` where the job binds none."""
        found = self._default_io
        if found is None:
            with self.lock:
                found = self._default_io = self._default_io or default_manager(self.brief.io)
        return found

    @property
    def instance(self) -> Any:
        """The caller's own, or the one of this process's environment, where there is an orchestrator to give one: that
        is closed with what lives as long as the run.
        """
        if self.local is not None and self.local.instance is not None:
            return self.local.instance
        with self.lock:
            if self._instance is None:
                self._instance = self.stack.enter_context(through("instance").get())
            return self._instance

    def loggers(self) -> Sequence[logging.Logger]:
        """Those of the job that the run config names."""
        if self._loggers is None:
            self._loggers = [self._logger(key, config) for key, config in self.brief.config.loggers.items()]
        return self._loggers

    def _logger(self, key: str, config: Any) -> logging.Logger:
        from opgrid.definitions.logger import InitLoggerContext

        definition = self.job.logger_defs[key]
        field = definition.config_field
        context = InitLoggerContext(
            logger_config=config if field is None else field.load(config),
            logger_def=definition,
            job_def=self.job,
            run_id=self.brief.run_id,
        )
        made: logging.Logger = definition.logger_fn(context)
        return made

    def load(self, ref: OutputRef) -> Any:
        """The value of an accepted output, for whoever reads results after the run. Opens its IO manager for this
        one call.
        """
        from opgrid.steps.reading import load_output

        return load_output(self, ref)

    def write(self) -> OSError | None:
        """What steps have stored is written now; or why some of it was not and never will be."""
        if self.io.bundles is not None:
            try:
                self.io.bundles.write()
            except OSError as error:
                self.io.bundles.forgive()
                return error
        return None

    def close(self) -> None:
        """May be called twice. Errors of resources that end are logged by their own stack, the last one is raised."""
        self.opened, self._instance = {}, None
        try:
            self.stack.close()
        finally:
            self.io.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
