"""One attempt at one step while it runs: what the stages of the pipeline, contexts and IO managers share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opgrid.config import plain_values
from opgrid.contracts.executor import EventSink
from opgrid.contracts.tasks import OutputRef, RunBrief, StepTask
from opgrid.doors import through
from opgrid.errors import InvariantViolationError
from opgrid.steps import forks

if TYPE_CHECKING:
    from opgrid.definitions.nodes import Node as Invocation
    from opgrid.definitions.op import OpDefinition
    from opgrid.steps.context import OpExecutionContext
    from opgrid.steps.logs import StepLogger
    from opgrid.steps.resources import Resources
    from opgrid.steps.scope import Node, RunScope

#: The attempt whose user code runs here: what ``OpExecutionContext.get()`` and the logging bridge look at.
CURRENT: ContextVar[Attempt | None] = ContextVar("opgrid_attempt", default=None)


class Attempt:
    def __init__(self, task: StepTask, scope: RunScope, node: Node, sink: EventSink, claim: str) -> None:
        self.task = task
        self.scope = scope
        self.io = scope.io
        self.node = node
        self.sink = sink
        self.claim = claim
        self.process = forks.here()
        self.opened: Mapping[str, Any] = {}  #: resources by key
        self.configs = scope.configs  #: what they were opened with
        self.stack: ExitStack | None = None  #: ends the resources that live as long as the step
        self.refs: list[OutputRef] = []
        self.yielded: dict[str, set[str] | None] = {}  #: output -> mapping keys, None for one that is not dynamic
        self.values: dict[str, Any] = {}  #: for hooks
        self.metadata: dict[str, Any] = {}  #: of outputs, for hooks
        self._context: OpExecutionContext | None = None
        self.added: dict[tuple[str, str | None], dict[str, Any]] = {}  #: context.add_output_metadata

    # ---- what IO managers see (opgrid.io.context.Surroundings) -------------------------------------------------------

    @property
    def brief(self) -> RunBrief:
        return self.scope.brief

    @property
    def job_name(self) -> str:
        return self.scope.job.name

    @property
    def op_def(self) -> OpDefinition:
        return self.node.op

    @property
    def invocation(self) -> Invocation:
        return self.scope.job.node(self.task.node).node

    @property
    def run_tags(self) -> Mapping[str, str]:
        return self.scope.brief.tags

    @property
    def step_context(self) -> OpExecutionContext:
        return self.context

    @property
    def context(self) -> OpExecutionContext:
        if self._context is None:
            from opgrid.steps.context import OpExecutionContext

            self._context = OpExecutionContext(self)
        return self._context

    @cached_property
    def log(self) -> StepLogger:
        from opgrid.steps.logs import StepLogger

        return StepLogger(self)

    @cached_property
    def instance(self) -> Any:
        """As that of the scope, but one that is opened here lives as long as the resources do."""
        scope = self.scope
        if scope.lifetime == "run" or (scope.local is not None and scope.local.instance is not None):
            return scope.instance
        self.stack = self.stack or ExitStack()
        return self.stack.enter_context(through("instance").get())

    def end(self) -> None:
        """What was made for user code refers back to it: it goes at once then, and need not be found as a cycle."""
        self._context = None
        self.__dict__.pop("log", None)
        self.__dict__.pop("instance", None)

    @property
    def whose(self) -> str:
        """For messages: the step, and where its op is defined."""
        return f"{self.task.step!r}{self._where}"

    @property
    def named_op(self) -> str:
        """For messages: the op, and where it is defined."""
        return f"{self.node.op.name!r}{self._where}"

    @property
    def _where(self) -> str:
        location = getattr(self.node.op, "location", "")
        return f" ({location})" if location else ""

    @cached_property
    def resources(self) -> Resources:
        from opgrid.steps.resources import Resources

        return Resources({key: self.opened[key] for key in self.node.resource_keys}, f"step {self.whose}")

    def resources_of(self, manager: str) -> Resources:
        """What an IO manager requires, by its key, open beside it; the op's own where that is nothing."""
        definition = self.scope.job.resource_defs.get(manager) if manager else None
        keys = () if definition is None else definition.required_resource_keys
        if not keys:
            return self.resources
        from opgrid.steps.resources import Resources

        return Resources({key: self.opened[key] for key in keys}, f"resource {manager!r}")

    def config_of(self, manager: str) -> Any:
        """What an IO manager was opened with, by its key, as plain data."""
        if manager not in self.scope.job.resource_defs:
            return self.scope.brief.config.resources.get(manager)
        return plain_values(self.configs[manager])

    @cached_property
    def config(self) -> Any:
        """What the op's config parameter gets. References to the environment are resolved here, in the step's own
        process.
        """
        op = self.node.op
        while op.base is not None:  # run config was taken through the functions of ``configured`` when it was resolved
            op = op.base
        field = op.config_field
        raw = self.node.config.config
        return raw if field is None else field.load(raw)

    @property
    def op_config(self) -> Any:
        """The same as plain data."""
        return plain_values(self.config)

    def log_event(self, event: Any) -> None:
        from opgrid.steps.outputs import report

        report(self, event)

    # ---- metadata of outputs -----------------------------------------------------------------------------------------

    def add_metadata(self, metadata: Mapping[str, Any], output: str | None, mapping_key: str | None) -> None:
        name = self._output(output)
        if mapping_key is None and name in self.yielded and self.yielded[name] is None:
            raise InvariantViolationError(
                f"Output {name!r} of step {self.whose} was yielded already: add its metadata before."
            )
        if mapping_key is not None and mapping_key in (self.yielded.get(name) or ()):
            raise InvariantViolationError(
                f"Output {name!r} of step {self.whose} was yielded already for mapping key {mapping_key!r}: "
                f"add its metadata before."
            )
        self.added.setdefault((name, mapping_key), {}).update(metadata)

    def _output(self, name: str | None) -> str:
        outs = self.node.outs
        if name is None:
            if len(outs) != 1:
                raise InvariantViolationError(
                    f"Op {self.node.op.name!r} has {len(outs)} outputs: say which one, with output_name=."
                )
            return next(iter(outs))
        if name not in outs:
            raise InvariantViolationError(f"Op {self.node.op.name!r} has no output {name!r}.")
        return name
