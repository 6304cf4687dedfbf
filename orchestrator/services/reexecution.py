"""Running a run again: all of it, from where it failed, or chosen steps; as it was, or with changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from opgrid.contracts.status import RunStatus
from opgrid.definitions.job import JobDefinition
from opgrid.errors import InvariantViolationError
from orchestrator.instance import Instance
from orchestrator.planner.flatten import flatten
from orchestrator.planner.plan import Plan
from orchestrator.planner.snapshot import JobSnapshot
from orchestrator.services.known import known_of
from orchestrator.services.launching import Request
from orchestrator.storage.records import RunRecord

#: What the run config of a job with no executor of its own chooses from.
_CHOICES = ({"in_process"}, {"multiprocess"})
_FAILED = (RunStatus.FAILURE, RunStatus.CANCELED)


@dataclass(frozen=True, slots=True)
class ReexecutionOptions:
    """What of an earlier run is run again. Steps that are not take part with the outputs that they had there."""

    parent_run_id: str
    step_selection: Sequence[str] = ()  #: clauses such as ``b*`` or ``mapped[key]``; empty: all steps
    failed_only: bool = False  #: what did not succeed, and what never ran

    @classmethod
    def from_failure(cls, run_id: str, instance: Instance) -> Self:
        """Raises InvariantViolationError unless the run failed or was canceled."""
        _check_failed(instance.record(run_id))
        return cls(run_id, failed_only=True)


def reexecution(instance: Instance, options: ReexecutionOptions, job: JobDefinition, **changed: Any) -> Request:
    """A request that repeats the parent run; ``changed`` are fields of Request that are not to be the parent's.

    Tags are added to the parent's. Raises RunNotFoundError, InvariantViolationError.
    """
    parent = instance.record(options.parent_run_id)
    given = {name: value for name, value in changed.items() if value is not None}
    if options.step_selection and given.get("op_selection"):
        raise InvariantViolationError(
            "A re-execution takes a step selection or an op selection, not both: the steps of the parent run that are "
            "not selected count as done, whereas ops that are not selected are not there."
        )
    if options.failed_only:
        _check_failed(parent)
    if parent.brief.io == "memory" and (options.failed_only or options.step_selection):
        raise InvariantViolationError(
            f"Run {parent.run_id} kept its outputs in memory and they are gone, so that only all of it can run again."
        )
    request = Request(
        job=job,
        run_config=parent.brief.run_config,
        executor=None if _chooses(given.get("run_config", parent.brief.run_config)) else parent.brief.executor.name,
        op_selection=_subset(instance, parent),
        step_selection=options.step_selection or None,
        known=known_of(instance.store, parent) if options.failed_only or options.step_selection else None,
        resume=options.failed_only,
        code=parent.code,
        io=parent.brief.io if options.failed_only or options.step_selection else None,
        root_run_id=parent.brief.root_run_id or parent.run_id,
        parent_run_id=parent.run_id,
    )
    tags: Mapping[str, str] = {**parent.brief.tags, **(given.pop("tags", None) or {})}
    return replace(request, tags=tags, **given)


def _chooses(run_config: Any) -> bool:
    """Whether it says itself which executor its execution config is for."""
    execution = run_config.get("execution") if isinstance(run_config, Mapping) else None
    if not isinstance(execution, Mapping):
        return False
    config = execution.get("config")
    return "executor" in execution or (isinstance(config, Mapping) and config.keys() in _CHOICES)


def _subset(instance: Instance, parent: RunRecord) -> list[str] | None:
    """The ops that the parent run had, where it had not all of them."""
    plan = Plan.from_json(instance.store.content(parent.plan))
    whole = JobSnapshot.from_json(instance.store.content(parent.snapshot)).structure
    taken = {spec.key for spec in plan.steps}
    return sorted(taken) if len(taken) < len(list(flatten(whole))) else None


def _check_failed(parent: RunRecord) -> None:
    if parent.status not in _FAILED:
        raise InvariantViolationError(
            f"Run {parent.run_id} is {parent.status.value}: only a run that failed or was canceled can be run again "
            "from its failure. To run all of it again, leave that out."
        )
