"""What executors are given to run steps: a task each, some with others that travel with them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import msgspec

from opgrid.contracts.tasks import Source, StepTask, TaskInput
from opgrid.ids import NodePath, RunId, StepKey
from orchestrator.engine.fusing import Expect, crew, small_crew, way
from orchestrator.engine.instances import Absent, Instances, Step
from orchestrator.planner.plan import NEVER, StepSpec


class Tasks:
    """Of one run."""

    def __init__(self, run_id: RunId, instances: Instances) -> None:
        self._run_id = run_id
        self._instances = instances
        self._steps = instances.steps
        self._known: dict[NodePath, StepTask] = {}

    def of(
        self,
        step: Step,
        inputs: tuple[TaskInput, ...] | Absent | None = None,
        after: tuple[StepKey, ...] = (),
        needs: tuple[Source, ...] = (),
        fused: bool = False,
    ) -> StepTask:
        if inputs is None:
            inputs = self._instances.inputs(step)
        assert not isinstance(inputs, Absent), f"{step.key} was launched without {inputs.input}"
        known = self._known.get(step.spec.key) or self._known_of(step.spec)
        return msgspec.structs.replace(
            known,
            step=step.key,
            attempt=step.attempt,
            retry_number=step.retry_number,
            mapping_keys=step.keys,
            inputs=inputs,
            after=after,
            needs=needs,
            fused=fused,
        )

    def _known_of(self, spec: StepSpec) -> StepTask:
        """What is the same in all tasks of a node: to take it over takes a fifth of the time."""
        made = self._known[spec.key] = StepTask(
            run_id=self._run_id,
            step=StepKey(spec.key),
            node=spec.key,
            queue=spec.queue,
            priority=spec.priority,
            timeout=spec.timeout,
            start_timeout=spec.start_timeout,
            executor=spec.executor,
            alone=spec.fuse == NEVER,
            op=spec.op,
        )
        return made

    def with_crews(
        self, tasks: Sequence[StepTask], expect: Expect = lambda spec: None, sooner_alone: float = 0.0
    ) -> list[StepTask]:
        """The tasks, some with further steps that may travel with them, or with others of these tasks. Steps that are
        no task yet are not out before those that they wait for are accepted. ``expect``, ``sooner_alone``: what their
        executor says of ``Executor.expects`` and ``Executor.sooner_alone``.
        """
        found: list[StepTask] = []
        groups: dict[object, list[StepTask]] = {}
        for task in tasks:
            step = self._steps[task.step]
            alone = not step.waiters and step.spec.fuse in ("", NEVER)  # nobody goes on from it: as most of a fan-out
            if alone or _leads_nobody(step, task):
                found.append(task)
                continue
            together = task.attempt == 1 and (step.spec.fuse or sooner_alone)
            groups.setdefault(way(step) if together and step.spec.fuse != NEVER else task.id, []).append(task)
        for group in groups.values():
            leaders = [self._steps[task.step] for task in group]
            if leaders[0].spec.fuse or sooner_alone in (0.0, inf):
                found += self._with_crew(group, crew(leaders, one_place=sooner_alone == inf))
            elif aboard := small_crew(leaders, expect, sooner_alone):
                found += self._with_crew(group, aboard)
            else:
                for task, leader in zip(group, leaders, strict=True):
                    found += self._with_crew([task], small_crew([leader], expect, sooner_alone) or crew([leader]))
        return found

    def _with_crew(self, group: list[StepTask], aboard: list[Step]) -> list[StepTask]:
        leaders = [self._steps[task.step] for task in group]
        first, others = group[0], group[1:]
        promised = {step.key for step in leaders}
        members = [task for step in aboard if (task := self._promised(step, promised)) is not None]
        if not members and not others:
            return group
        for step in leaders[1:]:
            step.aboard = True
        fused = leaders[0].spec.fuse not in ("", NEVER)
        then = [*(msgspec.structs.replace(task, fused=fused) for task in others), *members]
        return [msgspec.structs.replace(first, then=tuple(then), fused=fused), *others]

    def _promised(self, step: Step, promised: set[StepKey]) -> StepTask | None:
        """Its task, for when those of ``promised`` have succeeded; it is one of them now. None where it, or one that it
        needs, will be skipped.
        """
        after: dict[StepKey, None] = {}
        for source in self._instances.sources(step):
            if source.key in promised:
                after[source.key] = None
            elif not source.done:
                return None
        inputs = self._instances.inputs(step, promised)
        if isinstance(inputs, Absent):
            return None
        step.aboard = True
        promised.add(step.key)
        needs = self._instances.needs(step, promised)
        return self.of(step, inputs, tuple(after), needs, fused=bool(step.spec.fuse))


def _leads_nobody(step: Step, task: StepTask) -> bool:
    """Who goes on from it was sent with it, or waits for more than this attempt."""
    return step.again or (step.aboard and task.attempt == 1)
