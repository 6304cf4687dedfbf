"""What a finished run tells the Python code that ran it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

from opgrid.contracts.events import (
    AnyEvent,
    EventType,
    RunFailed,
    RunSucceeded,
    StepEvent,
    StepFailed,
    StepOutput,
    StepSkipped,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.facts import AssetMaterialization, AssetObservation, ExpectationResult
from opgrid.contracts.status import RunStatus
from opgrid.contracts.structure import FanIn, FromNode, Wire
from opgrid.contracts.tasks import OutputRef
from opgrid.definitions.job import JobDefinition
from opgrid.errors import InvariantViolationError, listed, nearest
from opgrid.ids import NodePath, node_of, split_step_key
from orchestrator.services.tables import table
from orchestrator.storage.records import RunRecord

E = TypeVar("E", bound=AnyEvent)
Load = Callable[[OutputRef], Any]


class JobExecutionResult:
    """``with`` it, to close what reading outputs has opened."""

    def __init__(
        self, job: JobDefinition, record: RunRecord, events: Sequence[AnyEvent], load: Load, close: Callable[[], None]
    ) -> None:
        self.job_def = job
        self.run = record
        self._events = events
        self._load, self._close = load, close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _repr_html_(self) -> str:
        """In a notebook: the run, and a row for each step."""
        return table(self.run, self.all_events)

    @property
    def success(self) -> bool:
        return self.run.status is RunStatus.SUCCESS

    @property
    def run_id(self) -> str:
        return self.run.run_id

    # ---- events ----------------------------------------------------------------------------------------------------

    @cached_property
    def all_events(self) -> Sequence[AnyEvent]:
        return [event.of_job(self.run.job) for event in self._events]

    @property
    def all_node_events(self) -> list[StepEvent]:
        return [event for event in self.all_events if isinstance(event, StepEvent) and event.step]

    def filter_events(self, event_filter: Callable[[AnyEvent], bool]) -> list[AnyEvent]:
        return [event for event in self.all_events if event_filter(event)]

    def events_of_type(self, type: EventType) -> list[AnyEvent]:
        return [event for event in self.all_events if event.TYPE is type]

    def events_for_node(self, node_name: str) -> list[StepEvent]:
        """Of an op, or of all ops of a graph."""
        self._check(node_name)
        inside = f"{node_name}."
        return [event for event in self.all_node_events if event.node == node_name or event.node.startswith(inside)]

    compute_events_for_handle = events_for_node

    def get_step_success_events(self) -> list[StepSucceeded]:
        return [event for event in self.all_events if isinstance(event, StepSucceeded)]

    def get_step_failure_events(self) -> list[StepFailed]:
        """Final failures; attempts that were retried are StepUpForRetry."""
        return list(self._failures())

    def get_step_skipped_events(self) -> list[StepSkipped]:
        return [event for event in self.all_events if isinstance(event, StepSkipped)]

    def get_failed_step_keys(self) -> set[str]:
        return {event.step for event in self._failures()}

    def get_run_failure_event(self) -> RunFailed:
        return self._only(RunFailed)

    def get_run_success_event(self) -> RunSucceeded:
        return self._only(RunSucceeded)

    def asset_materializations_for_node(self, node_name: str) -> list[AssetMaterialization]:
        """As the op told them."""
        told = [event.asset_materialization for event in self.events_for_node(node_name)]
        return [each for each in told if each is not None]

    def asset_observations_for_node(self, node_name: str) -> list[AssetObservation]:
        told = [event.asset_observation for event in self.events_for_node(node_name)]
        return [each for each in told if each is not None]

    def expectation_results_for_node(self, node_str: str) -> list[ExpectationResult]:
        told = [event.step_expectation_result_data for event in self.events_for_node(node_str)]
        return [each.expectation_result for each in told if each is not None]

    # ---- nodes -----------------------------------------------------------------------------------------------------

    def is_node_success(self, node_str: str) -> bool:
        return any(isinstance(event, StepSucceeded) for event in self.events_for_node(node_str))

    def is_node_failed(self, node_str: str) -> bool:
        failed = self.get_failed_step_keys()
        return any(event.step in failed for event in self.events_for_node(node_str))

    def is_node_skipped(self, node_str: str) -> bool:
        return any(isinstance(event, StepSkipped) for event in self.events_for_node(node_str))

    def is_node_untouched(self, node_str: str) -> bool:
        return not self.events_for_node(node_str)

    def failure_data_for_node(self, node_str: str) -> StepFailed | None:
        """The last failure of an op; None when it did not fail."""
        failed = [event for event in self.events_for_node(node_str) if isinstance(event, StepFailed)]
        return failed[-1] if failed and self.is_node_failed(node_str) else None

    def retry_attempts_for_node(self, node_str: str) -> int:
        return sum(isinstance(event, StepUpForRetry) for event in self.events_for_node(node_str))

    # ---- outputs ---------------------------------------------------------------------------------------------------

    def output_for_node(self, node_str: str, output_name: str = "result") -> Any:
        """The value; for a dynamic output, and for an op that was mapped, a dict by mapping key.

        Raises InvariantViolationError for an unknown node, and for an output that was not yielded.
        """
        self._check(node_str)
        node, output_name = self._leaf(node_str, output_name)
        found: dict[tuple[str, ...], Any] = {}
        dynamic = False
        for event in self._successes.get(NodePath(node), ()):
            _, keys = split_step_key(event.step)
            for ref in event.outputs:
                if ref.output == output_name:
                    dynamic = dynamic or bool(keys) or ref.mapping_key is not None
                    found[(*keys, *([ref.mapping_key] if ref.mapping_key is not None else []))] = self._load(ref)
        if dynamic:
            return {",".join(keys): value for keys, value in found.items()}
        if not found:
            raise InvariantViolationError(
                f"Op {node!r} has no output {output_name!r} in this run: it was not yielded, or the step did not "
                "succeed."
            )
        return found[()]

    def output_value(self, output_name: str = "result") -> Any:
        """An output of the job's own graph."""
        for output in self.job_def.structure.graphs[self.job_def.structure.graph].outputs:
            if output.name == output_name:
                return self._wired(output.source)
        raise InvariantViolationError(f"Job {self.job_def.name!r} has no output {output_name!r}.")

    def _wired(self, source: Wire) -> Any:
        if isinstance(source, FanIn):
            return [self._wired(item) for item in source.items]
        if isinstance(source, FromNode):
            return self.output_for_node(source.node, source.output)
        raise InvariantViolationError(f"That output of job {self.job_def.name!r} is an input passed through.")

    def _leaf(self, node: str, output: str) -> tuple[str, str]:
        """Follow the output of a graph down to the op that yields it."""
        if node in self._paths:
            return node, output
        structure = self.job_def.structure
        graph = structure.graphs[structure.graph]
        for name in node.split("."):
            inner = next(each for each in graph.nodes if each.name == name)
            graph = structure.graphs[inner.definition]
        for each in graph.outputs:
            if each.name == output and isinstance(each.source, FromNode):
                return self._leaf(f"{node}.{each.source.node}", each.source.output)
        raise InvariantViolationError(f"Graph {node!r} has no output {output!r}.")

    # ---- helpers ---------------------------------------------------------------------------------------------------

    @cached_property
    def _successes(self) -> dict[NodePath, list[StepSucceeded]]:
        """By op: who asks for the outputs of all would look through all events each time."""
        found: dict[NodePath, list[StepSucceeded]] = {}
        for event in self.get_step_success_events():
            found.setdefault(node_of(event.step), []).append(event)
        return found

    @property
    def _paths(self) -> Sequence[str]:
        return list(self.job_def.op_table)

    def _check(self, node: str) -> None:
        paths = self._paths
        if node not in paths and not any(path.startswith(f"{node}.") for path in paths):
            raise InvariantViolationError(
                f"Job {self.job_def.name!r} has no node {node!r}.{nearest(node, paths)} There are: {listed(paths)}."
            )

    def _failures(self) -> Iterator[StepFailed]:
        retried = {(event.step, event.attempt) for event in self.all_events if isinstance(event, StepUpForRetry)}
        for event in self.all_events:
            if isinstance(event, StepFailed) and (event.step, event.attempt) not in retried:
                yield event

    def _only(self, type: type[E]) -> E:
        for event in reversed(self.all_events):
            if isinstance(event, type):
                return event
        raise InvariantViolationError(
            f"Run {self.run_id} has no {type.TYPE.name} event: it is {self.run.status.value}."
        )


class ExecuteInProcessResult(JobExecutionResult):
    """Of ``job.execute_in_process``: values are at hand as they were returned."""

    def get_job_success_event(self) -> RunSucceeded:
        return self.get_run_success_event()

    def get_job_failure_event(self) -> RunFailed:
        return self.get_run_failure_event()

    def get_output_events_for_node(self, node: str) -> list[StepOutput]:
        return [event for event in self.events_for_node(node) if isinstance(event, StepOutput)]
