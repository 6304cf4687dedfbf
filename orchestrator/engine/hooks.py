"""Hooks of steps that have ended: which have not reported, and which another process is to run."""

from __future__ import annotations

from collections.abc import Mapping

from opgrid.contracts.events import ErrorInfo, HookErrored, LossCause
from opgrid.contracts.status import StepStatus
from opgrid.contracts.wording import loss, span
from opgrid.ids import RunId, StepKey
from orchestrator.engine.commands import Command, RunHook, WakeAt
from orchestrator.engine.instances import Step
from orchestrator.engine.tasks import Tasks


class Hooks:
    """Of one run. ``patience``: seconds that the end of the run waits for those that have not reported."""

    def __init__(self, run_id: RunId, steps: Mapping[StepKey, Step], tasks: Tasks, patience: float) -> None:
        self._run_id, self._steps, self._tasks, self._patience = run_id, steps, tasks, patience
        self.missing: dict[StepKey, set[str]] = {}  #: by step, those that have not reported
        self._elsewhere: dict[StepKey, ErrorInfo | None] = {}  #: whose hooks another process is to run; their errors

    def expect(self, step: Step) -> None:
        """It has ended, and its process, as far as anybody knows, runs them."""
        if step.spec.hooks:
            self.missing[step.key] = set(step.spec.hooks)

    def reported(self, step: StepKey, hook: str) -> bool:
        """Whether that was still to come."""
        missing = self.missing.get(step)
        if missing is None or hook not in missing:
            return False
        missing.discard(hook)
        if not missing:
            del self.missing[step]
        return True

    def lost(self, step: Step, cause: LossCause) -> list[Command] | None:
        """The process died after its step had ended, but before its hooks were done. None where it had none to run."""
        if step.key not in self.missing or step.key in self._elsewhere:
            return None
        failed = step.status is StepStatus.FAILURE
        return self.elsewhere(
            step, ErrorInfo("StepFailed", f"The step failed; then {loss(cause)}.") if failed else None
        )

    def elsewhere(self, step: Step, error: ErrorInfo | None) -> list[Command]:
        """Those of a step that has no process, or none any more, are run by another."""
        if step.key not in self.missing:
            return []
        self._elsewhere[step.key] = error
        return [self._run(step.key)]

    def overdue(self, now: float) -> list[Command]:
        """Nothing but hooks is left: those that stay silent are given up, so that no run waits for ever."""
        due = now + self._patience
        error = ErrorInfo(
            "HookLost", f"The hook did not report within {span(self._patience)} after the run's last step."
        )
        return [
            WakeAt(
                due,
                HookErrored(
                    run_id=self._run_id, at=due, step=key, attempt=self._steps[key].attempt, hook=hook, error=error
                ),
            )
            for key, hooks in self.missing.items()
            for hook in sorted(hooks)
        ]

    def outstanding(self, now: float) -> list[Command]:
        """What a coordinator that takes over has to see to: those that are to run elsewhere perhaps do."""
        again: list[Command] = [self._run(key) for key in self._elsewhere if key in self.missing]
        return again + (self.overdue(now) if self.missing else [])

    def _run(self, key: StepKey) -> RunHook:
        return RunHook(self._tasks.of(self._steps[key]), tuple(sorted(self.missing[key])), self._elsewhere[key])
