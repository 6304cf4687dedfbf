"""What user code is given: the context of an op, and that of a hook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from opgrid.errors import InvariantViolationError
from opgrid.ids import split_step_key
from opgrid.io.context import partition_of
from opgrid.steps import interrupts
from opgrid.steps.attempt import CURRENT, Attempt

if TYPE_CHECKING:
    from opgrid.definitions.hooks import HookDefinition
    from opgrid.definitions.job import JobDefinition
    from opgrid.definitions.nodes import Node
    from opgrid.definitions.op import OpDefinition
    from opgrid.steps.logs import StepLogger
    from opgrid.steps.resources import Resources


class RunView(NamedTuple):
    """The run as its steps know it."""

    run_id: str
    job_name: str
    tags: Mapping[str, str]
    run_config: Any
    root_run_id: str | None
    parent_run_id: str | None


class StepContext:
    """What the contexts of ops and hooks have in common."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def run_id(self) -> str:
        return self._attempt.task.run_id

    @property
    def run(self) -> RunView:
        brief = self._attempt.brief
        return RunView(brief.run_id, self.job_name, brief.tags, self.run_config, brief.root_run_id, brief.parent_run_id)

    @property
    def run_tags(self) -> Mapping[str, str]:
        return self._attempt.brief.tags

    @property
    def run_config(self) -> Any:
        config = self._attempt.brief.run_config
        return {} if config is None else config

    @property
    def job_name(self) -> str:
        return self._attempt.job_name

    @property
    def job_def(self) -> JobDefinition:
        return self._attempt.scope.job

    @property
    def op(self) -> Node:
        """This invocation of the op: its ``name`` is the alias, its ``definition`` the op."""
        return self._attempt.invocation

    @property
    def op_def(self) -> OpDefinition:
        return self._attempt.node.op

    @property
    def op_config(self) -> Any:
        return self._attempt.op_config

    @property
    def step_key(self) -> str:
        return self._attempt.task.step

    @property
    def log(self) -> StepLogger:
        return self._attempt.log

    @property
    def instance(self) -> Any:
        return self._attempt.instance

    @property
    def retry_number(self) -> int:
        """How many retries came before this attempt; attempts whose process died do not count."""
        return self._attempt.task.retry_number


class OpExecutionContext(StepContext):
    """The first parameter of an op that asks for it. ``OpExecutionContext.get()`` finds it from anywhere below the
    op.
    """

    __slots__ = ()

    @classmethod
    def get(cls) -> Self:
        """Of the step that runs here. InvariantViolationError outside of one."""
        attempt = CURRENT.get()
        if attempt is None:
            raise InvariantViolationError(
                "No op is running here: OpExecutionContext.get() works inside the body of an op."
            )
        found = attempt.context
        if not isinstance(found, cls):
            return cls(attempt)
        return found

    @property
    def resources(self) -> Resources:
        return self._attempt.resources

    @property
    def attempt(self) -> int:
        """Numbers every start of this step: with run and step key, it names one execution for ever."""
        return self._attempt.task.attempt

    @property
    def op_handle(self) -> str:
        """The path of this op in its job: ``inc``, ``g.inc_2``."""
        return self._attempt.task.node

    @property
    def node_handle(self) -> str:
        return self._attempt.task.node

    @property
    def alias(self) -> str:
        """The name of this invocation of the op."""
        return self._attempt.task.node.rsplit(".", 1)[-1]

    # ---- tags and partitions -----------------------------------------------------------------------------------------

    def has_tag(self, key: str) -> bool:
        return key in self.run_tags

    def get_tag(self, key: str) -> str | None:
        return self.run_tags.get(key)

    @property
    def has_partition_key(self) -> bool:
        return partition_of(self.run_tags) is not None

    @property
    def partition_key(self) -> str:
        key = partition_of(self.run_tags)
        if key is None and self.has_partition_key_range:
            raise InvariantViolationError(
                f"Run {self.run_id} is for the partitions {self.partition_key_range}: use context.partition_keys, or "
                "context.partition_time_window."
            )
        if key is None:
            raise InvariantViolationError(
                f"Run {self.run_id} has no partition key: it was not launched for a partition of its job. Give one "
                "(partition_key=, --partition), or ask context.has_partition_key first."
            )
        parse = getattr(self._attempt.scope.job.partitions_def, "get_partition_key_from_str", None)
        return key if parse is None else parse(key)

    @property
    def is_cancelled(self) -> bool:
        """Whether the step is to end, because its run is being canceled or its time is over. Its body is interrupted by
        ExecutionInterruptedError at the same moment; this is for threads that it started, and for its ``finally``.
        """
        return interrupts.asked()

    @property
    def has_partition_key_range(self) -> bool:
        """Whether the run is for several partitions that follow one another."""
        return "opgrid/partition_range" in self.run_tags

    @property
    def partition_keys(self) -> list[str]:
        """All that the run is for, in their order."""
        if not self.has_partition_key_range:
            return [self.partition_key]
        return list(self._partitions().get_partition_keys_in_range(self.partition_key_range))

    @property
    def partition_key_range(self) -> Any:
        from opgrid.definitions.partitions import PARTITION_RANGE_TAG, PartitionKeyRange

        span = PartitionKeyRange.parse(self.run_tags.get(PARTITION_RANGE_TAG, ""))
        return span if span is not None else PartitionKeyRange(self.partition_key, self.partition_key)

    @property
    def partition_time_window(self) -> Any:
        """Of the partition; of a range, from the start of the first to the end of the last."""
        from opgrid.definitions.partitions import TimeWindow

        partitions: Any = self._partitions()
        window = getattr(partitions, "time_window_for_partition_key", None)
        if window is None:
            raise InvariantViolationError(f"The partitions of job {self.job_name!r} are no time windows.")
        span = self.partition_key_range
        return TimeWindow(window(span.start).start, window(span.end).end)

    @property
    def multi_partition_key(self) -> Any:
        partitions: Any = self._partitions()
        parse = getattr(partitions, "get_partition_key_from_str", None)
        if parse is None:
            raise InvariantViolationError(f"Job {self.job_name!r} is not partitioned by several dimensions.")
        return parse(self.partition_key)

    def _partitions(self) -> Any:
        partitions = self.job_def.partitions_def
        if partitions is None:
            raise InvariantViolationError(f"Job {self.job_name!r} is not partitioned.")
        return partitions

    # ---- outputs and events ------------------------------------------------------------------------------------------

    def get_mapping_key(self) -> str | None:
        """Of the innermost fan-out that this step is mapped over."""
        keys = split_step_key(self._attempt.task.step)[1]
        return keys[-1] if keys else None

    @property
    def mapping_keys(self) -> tuple[str, ...]:
        """Of all fan-outs around this step, the outermost first."""
        return self._attempt.task.mapping_keys

    @property
    def selected_output_names(self) -> set[str]:
        return set(self._attempt.node.outs)

    def add_output_metadata(
        self, metadata: Mapping[str, Any], output_name: str | None = None, mapping_key: str | None = None
    ) -> None:
        """Attach metadata to an output that is still to come."""
        self._attempt.add_metadata(metadata, output_name, mapping_key)

    def get_output_metadata(self, output_name: str, mapping_key: str | None = None) -> Mapping[str, Any] | None:
        return self._attempt.added.get((output_name, mapping_key))

    def log_event(self, event: Any) -> None:
        """Record an AssetMaterialization, AssetObservation or ExpectationResult."""
        self._attempt.log_event(event)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def describe_op(self) -> str:
        return f"op {self._attempt.task.node!r}"

    @property
    def pdb(self) -> Any:
        """A debugger on the terminal; only where the step runs in the process that owns it."""
        import pdb

        return pdb.Pdb()

    @property
    def has_partitions(self) -> bool:
        return self.job_def.partitions_def is not None

    @property
    def location_name(self) -> str:
        return self._attempt.brief.job.location


class HookContext(StepContext):
    """The parameter of a hook: the step that ended, what it gave and what it raised."""

    __slots__ = ("_hook", "op_exception")

    def __init__(self, attempt: Attempt, hook: HookDefinition, error: BaseException | None) -> None:
        super().__init__(attempt)
        self._hook = hook
        self.op_exception = error

    @property
    def hook_def(self) -> HookDefinition:
        return self._hook

    @property
    def required_resource_keys(self) -> set[str]:
        return set(self._hook.required_resource_keys)

    @property
    def resources(self) -> Resources:
        from opgrid.steps.resources import Resources

        opened = self._attempt.opened
        keys = self._hook.required_resource_keys
        return Resources({key: opened[key] for key in keys if key in opened}, f"hook {self._hook.name!r}")

    @property
    def op_output_values(self) -> Mapping[str, Any]:
        """By output name; of a dynamic output, by mapping key below that."""
        return self._attempt.values

    @property
    def op_output_metadata(self) -> Mapping[str, Any]:
        return self._attempt.metadata
