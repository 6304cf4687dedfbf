"""A bench for single steps: one job, one scope, one attempt after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opgrid.contracts.config import ExecutorChoice, NodeConfig, ResolvedConfig
from opgrid.contracts.events import StepFailed, StepSucceeded
from opgrid.contracts.tasks import JobRef, OutputRef, RunBrief, Source, StepTask, Stored, TaskInput
from opgrid.definitions.job import JobDefinition
from opgrid.ids import NodePath, RunId, StepKey
from opgrid.steps.runner import Outcome, run_step
from opgrid.steps.scope import LocalRun, RunScope
from opgrid.testing.fakes import RecordingSink


class Bench:
    """Runs steps of ``job`` in this process, outputs in memory."""

    def __init__(self, job: JobDefinition, home: Path, **more: Any) -> None:
        self.job = job
        self.local = LocalRun(input_values=more.pop("input_values", {}))
        lifetime = more.pop("lifetime", "step")
        io = more.pop("io", "memory")
        tags = more.pop("tags", {})
        self.brief = RunBrief(
            RunId("r1"),
            JobRef(job.name, job.structure_hash),
            ExecutorChoice("in_process"),
            ResolvedConfig(**more),
            io=io,
            tags=tags,
        )
        self.scope = RunScope(self.brief, job, home=str(home), lifetime=lifetime, local=self.local)
        self.sink = RecordingSink()

    def task(self, node: str, sources: dict[str, Source] | None = None, **fields: Any) -> StepTask:
        inputs = tuple(TaskInput(name, source) for name, source in (sources or {}).items())
        step = fields.pop("step", node)
        return StepTask(RunId("r1"), StepKey(step), NodePath(node), inputs=inputs, **fields)

    def run(self, node: str, **sources: Source) -> Outcome:
        return self.do(self.task(node, sources))

    def do(self, task: StepTask) -> Outcome:
        """The step, and its hooks, as an executor runs them."""
        with run_step(task, self.scope, self.sink, claim="c") as outcome:
            outcome.run_hooks(self.sink)
        return outcome

    def value(self, node: str, **sources: Source) -> Any:
        """What its one output is."""
        (ref,) = self.refs(node, **sources)
        return self.scope.load(ref)

    def stored(self, node: str, **sources: Source) -> Stored:
        (ref,) = self.refs(node, **sources)
        return Stored(ref)

    def refs(self, node: str, **sources: Source) -> tuple[OutputRef, ...]:
        event = self.run(node, **sources).event
        assert isinstance(event, StepSucceeded), getattr(event, "error", event)
        return event.outputs

    def failure(self, node: str, **sources: Source) -> StepFailed:
        event = self.run(node, **sources).event
        assert isinstance(event, StepFailed), event
        return event

    def error(self, node: str, **sources: Source) -> BaseException:
        """What was raised, as ``raise_on_error`` would raise it."""
        self.failure(node, **sources)
        return self.local.errors[node, 1]


BenchMaker = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[BenchMaker]:
    made: list[Bench] = []

    def make(job: JobDefinition, **more: Any) -> Bench:
        made.append(Bench(job, tmp_path, **more))
        return made[-1]

    yield make
    for each in made:
        each.scope.close()


def node_config(**configs: Any) -> dict[str, NodeConfig]:
    return {path: NodeConfig(config=config) for path, config in configs.items()}
