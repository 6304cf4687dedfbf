"""What the steps of one run share in one process: the job, its nodes ready to be called, resources, IO managers."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from opgrid.contracts.config import NodeConfig
from opgrid.contracts.tasks import OutputRef, RunBrief
from opgrid.definitions.hooks import HookDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.ports import In, Out
from opgrid.definitions.types import Type
from opgrid.doors import through
from opgrid.ids import split_step_key
from opgrid.io.keys import KeyRing
from opgrid.io.manager import IOManager
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


class Node:
    """An op at its place in a job, with everything looked up that all attempts at it need."""

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
        "path",
        "resource_keys",
        "retry",
        "signature",
        "tags",
    )

    def __init__(self, path: str, job: JobDefinition, config: NodeConfig) -> None:
        node = job.node(path)
        self.path = path
        self.op = node.op
        self.tags = node.tags
        self.hooks: tuple[HookDefinition, ...] = tuple(sorted(node.hooks, key=lambda hook: hook.name))
        self.retry = node.retry
        self.config = config
        self.ins: Mapping[str, In] = node.op.ins
        self.outs: Mapping[str, Out] = node.op.outs
        self.signature = node.op.signature
        body = node.op.compute_fn
        self.is_async = inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(body)
        self.checked_ins: dict[str, Type] = {name: port.type for name, port in self.ins.items() if not port.type.is_any}
        self.checked_outs: dict[str, Type] = {
            name: port.type for name, port in self.outs.items() if not port.type.is_any
        }
        self.resource_keys = frozenset(node.op.required_resource_keys)
        bound = job.resource_defs
        managers = {port.io_manager_key for port in self.outs.values()}
        managers |= {port.input_manager_key for port in self.ins.values() if port.input_manager_key}
        hooks = {key for hook in self.hooks for key in hook.required_resource_keys}
        #: every resource that has to be open before this op runs
        self.opens = self.resource_keys | hooks | {key for key in managers if key != DEFAULT_KEY or key in bound}


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
    ) -> None:
        self.brief = brief
        self.job = job
        self.io = IOSetup(home, broker_url, keys)
        self.lifetime = lifetime
        self.local = local
        self.opened: dict[str, Any] = {}  #: resources that live as long as the run
        self.failed: dict[str, BaseException] = {}  #: those that could not be opened
        self.stack = ExitStack()
        self.lock = threading.RLock()  #: of what is opened once a run: async steps share a process
        self._nodes: dict[str, Node] = {}
        self._default_io: IOManager | None = None
        self._loggers: list[logging.Logger] | None = None

    def node(self, path: str) -> Node:
        found = self._nodes.get(path)
        if found is None:
            config = self.brief.config.nodes.get(path) or NodeConfig()
            found = self._nodes[path] = Node(path, self.job, config)
        return found

    @property
    def default_io(self) -> IOManager:
        """Stands behind ``io_manager`` where the job binds none."""
        with self.lock:
            if self._default_io is None:
                self._default_io = default_manager(self.brief.io)
            return self._default_io

    @property
    def instance(self) -> Any:
        """The caller's own, or the one of this process's environment, where there is an orchestrator to give one."""
        if self.local is not None and self.local.instance is not None:
            return self.local.instance
        return through("instance").get()

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

    def manager_key(self, ref: OutputRef) -> str:
        """The resource key of the IO manager that stored an output."""
        return self.node(split_step_key(ref.step)[0]).outs[ref.output].io_manager_key

    def load(self, ref: OutputRef) -> Any:
        """The value of an accepted output, for whoever reads results after the run. Opens its IO manager for this
        one call.
        """
        from opgrid.steps.reading import load_output

        return load_output(self, ref)

    def close(self) -> None:
        """May be called twice. Errors of resources that end are logged by their own stack, the last one is raised."""
        self.opened = {}
        self.stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
