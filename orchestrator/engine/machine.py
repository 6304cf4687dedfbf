"""The life of one run: events in, commands out. No clock, no I/O, no threads.

One status per step, in one place. Two numbers that are never mixed: ``attempt`` fences (every start has its own),
``retry_number`` counts the retries that were granted. Replaying a log gives the machine that wrote it: recovery is
replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, NamedTuple, get_args

from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    Event,
    FirstFailure,
    HookCompleted,
    HookErrored,
    HookSkipped,
    LossCause,
    RetryDue,
    RunCanceled,
    RunCanceling,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepCanceled,
    StepDispatched,
    StepEvent,
    StepFailed,
    StepLost,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.structure import Delivery, TriggerRule
from opgrid.contracts.tasks import OutputRef, StepTask, TaskInput
from opgrid.contracts.told import Report, Told
from opgrid.contracts.wording import loss, span
from opgrid.errors import listed
from opgrid.ids import RunId, StepKey
from orchestrator.engine.commands import Cancel, Command, Finish, Launch, Note, WakeAt
from orchestrator.engine.hooks import Hooks
from orchestrator.engine.instances import Absent, Instances, Step
from orchestrator.engine.retries import granted, share_of
from orchestrator.engine.tasks import Tasks
from orchestrator.planner.plan import FromStep, FromSteps, KnownStep, Plan, StepSpec

#: Lost attempts of one step that are started again; the one that uses the budget up fails the step.
LOSS_BUDGET = 3
#: Times that a step runs again because its outputs were lost.
AGAIN_BUDGET = 3
#: Seconds that the end of a run waits for hooks that have not reported.
HOOK_PATIENCE = 30.0

_ENDED = frozenset(status for status in RunStatus if status.is_final)
_OUT = frozenset({StepStatus.DISPATCHED, StepStatus.RUNNING})
#: For what is asked of every event: to look for a status in a set calls a function of its class, which takes as long as
#: all else.
_STARTED, _PENDING, _SKIPPED = RunStatus.STARTED, StepStatus.PENDING, StepStatus.SKIPPED
_DISPATCHED, _RUNNING = StepStatus.DISPATCHED, StepStatus.RUNNING
_ACTIVE = _OUT | {StepStatus.WAITING}


class StepView(NamedTuple):
    """What displays and tests see of a step."""

    status: StepStatus
    attempt: int
    retry_number: int
    losses: int
    due: float | None
    outputs: tuple[OutputRef, ...]


class RunMachine:
    def __init__(
        self, run_id: RunId, plan: Plan, *, loss_budget: int = LOSS_BUDGET, hook_patience: float = HOOK_PATIENCE
    ) -> None:
        self.run_id = run_id
        self.plan = plan
        self.loss_budget = loss_budget
        self.status = RunStatus.NOT_STARTED
        self.started_at: float | None = None
        self._timeout: str | None = None  #: why it is ended, where its time is over
        self._instances = Instances(plan)
        self.steps: Mapping[StepKey, Step] = self._instances.steps
        self.tasks = Tasks(run_id, self._instances)
        #: Of steps that become ready together and are alike, so many are launched at once, and the others by ``more``.
        self.at_first: int | None = None
        self._held: dict[StepKey, Step] = {}  #: ready, and not launched so far
        self._sure = frozenset(spec.key for spec in plan.steps if _never_skipped(spec))
        self._active = 0  #: steps that are out, wait for a retry, or are held
        self._failed: list[StepKey] = []
        self._first: StepFailed | None = None  #: of the step that failed first
        self._awaits: dict[StepKey, set[StepKey]] = {}  #: steps whose inputs are made again, and by which
        self._hooks = Hooks(run_id, self.steps, self.tasks, hook_patience)

    @property
    def finished(self) -> bool:
        return self.status.is_final

    def handle(self, event: AnyEvent, now: float) -> list[Command]:
        """Apply one event. Late and repeated events change nothing."""
        return self.take(event, now) or []

    def take(self, event: Report, now: float) -> list[Command] | None:
        """As ``handle``; None for an event that is late, repeated or this machine's own, and is not to be recorded."""
        decide = _DECIDE.get(type(event))
        if decide is None:
            return [] if type(event) not in TOLD or self.hears(event) else None
        return decide(self, event, now) if self.status is _STARTED or self.status not in _ENDED else None

    def hears(self, event: Any) -> bool:
        """Whether to record what an attempt says about itself (``TOLD``), which decides nothing. Without a step it is
        about the run.
        """
        if not event.step:
            return True
        step = self.steps.get(event.step)
        if step is None or step.attempt != event.attempt:
            return False
        return step.status is not _PENDING and step.status is not _SKIPPED

    # ---- the run

    def _start(self, event: RunStarted, now: float) -> list[Command] | None:
        if self.status is not RunStatus.NOT_STARTED:
            return None
        self.status, self.started_at = RunStatus.STARTED, event.at
        return [*self._deadline(), *self._advance(self._instances.begin(), now)]

    def _deadline(self) -> list[Command]:
        if self.plan.max_runtime is None or self.started_at is None:
            return []
        due = self.started_at + self.plan.max_runtime
        reason = f"The run took longer than its limit of {span(self.plan.max_runtime)}."
        return [WakeAt(due, RunCanceling(run_id=self.run_id, at=due, reason=reason, is_timeout=True))]

    def _cancel(self, event: RunCanceling, now: float) -> list[Command] | None:
        if self.status is RunStatus.CANCELING:
            return None
        started = self.status is RunStatus.STARTED
        self.status = RunStatus.CANCELING
        self._timeout = event.reason if event.is_timeout else None
        if not started:
            return self._settle(now)
        commands: list[Command] = []
        for step in self.steps.values():
            if step.status in _OUT:
                commands.append(Cancel(step.key, step.attempt, step.spec.executor))
            elif step.status is StepStatus.WAITING:
                commands.append(self._canceled(step, now))
        return commands + self._settle(now)

    # ---- a step: what its executor reports

    def vetted(self, event: Report) -> Report:
        """The event; a loss for the success of a step that went on with what a step before it in its message had made,
        where that was not accepted in the end.
        """
        if type(event) is not StepSucceeded or not event.after:
            return event
        for key, claim in event.after:
            maker = self.steps.get(key)
            refs = () if maker is None else (*maker.outputs, *maker.earlier)
            if refs and not any(ref.claim == claim for ref in refs):  # without outputs, nothing was taken
                cause = LossCause(f"it went on with what an attempt at {key!r} had made that was not accepted")
                return StepLost(run_id=event.run_id, at=event.at, step=event.step, attempt=event.attempt, cause=cause)
        return event

    def _step_started(self, event: StepStarted, now: float) -> list[Command] | None:
        step = self._out(event)
        if step is None or step.status is _RUNNING:
            return None
        step.status = _RUNNING
        return []

    def _step_succeeded(self, event: StepSucceeded, now: float) -> list[Command] | None:
        step = self._out(event)
        if step is None:
            return None
        if step.again:
            step.earlier += step.outputs
        step.outputs = event.outputs
        self._end(step, StepStatus.SUCCESS)
        self._hooks.expect(step)
        if step.again:
            return self._renewed(step, now)
        return self._advance(self._instances.release(step), now)

    def _step_failed(self, event: StepFailed, now: float) -> list[Command] | None:
        step = self._out(event)
        return None if step is None else self._fail(step, event, now, orphaned=event.orphaned)

    def _step_lost(self, event: StepLost, now: float) -> list[Command] | None:
        step = self._out(event)
        if step is None:
            return self._hooks_lost(event)
        if event.gone and self.status is RunStatus.STARTED:
            return self._recompute(step, event, now)
        return self._lose(step, event.cause, now)

    def _step_canceled(self, event: StepCanceled, now: float) -> list[Command] | None:
        step = self._out(event)
        if step is None:
            return None
        if self.status is not RunStatus.CANCELING:
            return self._lose(step, LossCause("it was stopped, though nobody canceled the run"), now)
        self._end(step, StepStatus.CANCELED)
        return self._settle(now)

    def _out(self, event: StepEvent) -> Step | None:
        """The step, if this event is about the attempt that is out."""
        step = self.steps.get(event.step)
        if step is None or step.attempt != event.attempt:
            return None
        return step if step.status is _RUNNING or step.status is _DISPATCHED else None

    # ---- failures, losses, retries

    def _fail(self, step: Step, failure: StepFailed, now: float, orphaned: bool = True) -> list[Command]:
        seconds = None
        if self.plan.retries:
            share = share_of(self.run_id, step.key, step.attempt)
            seconds = granted(step.spec.retry, failure, step.retry_number, share)
        if seconds is not None and self.status is RunStatus.STARTED:
            return self._retry(step, failure, seconds, now)
        self._end(step, StepStatus.FAILURE)
        self._failed.append(step.key)
        self._first = self._first or failure
        if step.again:
            return self._not_renewed(step, failure, now)
        if seconds is None:  # else its process expects a retry, and keeps the hooks for the last attempt
            self._hooks.expect(step)
        hooks = self._hooks.elsewhere(step, failure.error) if orphaned else []
        return [*hooks, *self._advance(self._instances.give_up(step), now)]

    def _retry(self, step: Step, failure: StepFailed, seconds: float, now: float) -> list[Command]:
        note = Note(
            StepUpForRetry(
                run_id=self.run_id, at=now, step=step.key, attempt=step.attempt, delay=seconds, error=failure.error
            )
        )
        step.attempt += 1
        step.retry_number += 1
        restart = RetryDue(run_id=self.run_id, at=now + seconds, step=step.key, attempt=step.attempt)
        if seconds <= 0:
            return [note, Note(restart), *self._launch(step, now)]
        step.status, step.due, step.delay = StepStatus.WAITING, restart.at, seconds
        return [note, WakeAt(restart.at, restart)]

    def _retry_due(self, event: RetryDue, now: float) -> list[Command] | None:
        step = self.steps.get(event.step)
        if step is None or step.attempt != event.attempt or step.status is not StepStatus.WAITING:
            return None
        return self._launch(step, now)

    def _retry_noted(self, event: StepUpForRetry, now: float) -> None:
        """When a log is replayed: the delay counts from the coordinator's clock, as it did."""
        step = self.steps.get(event.step)
        if step is not None and step.status is StepStatus.WAITING and step.attempt == event.attempt + 1:
            step.due = event.at + event.delay
            step.delay = event.delay

    def _lose(self, step: Step, cause: LossCause, now: float) -> list[Command]:
        step.losses += 1
        if self.status is RunStatus.CANCELING:
            return [self._canceled(step, now), *self._settle(now)]
        if step.losses < self.loss_budget:
            step.attempt += 1
            return self._launch(step, now)
        times = f"{step.losses} attempts of this step were lost" if step.losses > 1 else "The attempt was lost"
        error = ErrorInfo("PoisonStep", f"{times}; the last because {loss(cause)}.")
        failure = StepFailed(run_id=self.run_id, at=now, step=step.key, attempt=step.attempt, error=error)
        return [Note(failure), *self._fail(step, failure, now)]

    # ---- outputs that were lost

    def _recompute(self, step: Step, event: StepLost, now: float) -> list[Command]:
        """What the step needs is gone: whoever made it runs again, then this one."""
        makers = self._makers(event.gone)
        if isinstance(makers, str):
            return self._cannot(step, makers, event, now)
        step.attempt += 1
        step.anew += 1
        if not makers:
            return self._launch(step, now)
        self._end(step, StepStatus.PENDING)
        self._awaits[step.key] = {maker.key for maker in makers}
        commands: list[Command] = []
        for maker in makers:
            if maker.again:
                continue
            maker.again = True
            maker.attempt += 1
            maker.anew += 1
            maker.redone += 1
            self._active += 1
            commands += self._launch(maker, now)
        return commands

    def _makers(self, gone: Sequence[OutputRef]) -> list[Step] | str:
        """Those that have to make them, or do so already; or why that cannot be."""
        found: dict[StepKey, Step] = {}
        for ref in gone:
            maker = self.steps.get(ref.step) if ref.run_id == self.run_id else None
            if maker is None:
                return f"run {ref.run_id} has made it, another than this"
            if not maker.done:
                return f"step {maker.key!r} failed when it ran again"
            if maker.again or ref in maker.outputs:  # else it has made it again since
                found[maker.key] = maker
        for maker in found.values():
            if not maker.again and not maker.spec.recompute:
                return f"step {maker.key!r} is not to run again (opgrid/recompute)"
            if not maker.again and maker.redone >= AGAIN_BUDGET:
                return f"step {maker.key!r} ran again {AGAIN_BUDGET} times for it"
        return list(found.values())

    def _cannot(self, step: Step, reason: str, event: StepLost, now: float) -> list[Command]:
        error = ErrorInfo("OutputGone", f"{event.cause.reason} It cannot be made again: {reason}.")
        failure = StepFailed(
            run_id=self.run_id, at=now, step=step.key, attempt=step.attempt, error=error, allow_retries=False
        )
        return [Note(failure), *self._fail(step, failure, now)]

    def _renewed(self, maker: Step, now: float) -> list[Command]:
        """A step has made its outputs again: those that waited for nothing else are launched."""
        maker.again = False
        self._instances.renew(maker)
        commands: list[Command] = []
        for step in self._awaiting(maker):
            self._awaits[step.key].discard(maker.key)
            if self._awaits[step.key] or self.status is not RunStatus.STARTED:
                continue
            del self._awaits[step.key]
            self._active += 1
            absent = self._instances.inputs(step)
            if isinstance(absent, Absent):
                step.status = StepStatus.DISPATCHED
                commands += self._missed(step, maker, f"did not give {absent.output!r} again", now)
            else:
                commands += self._launch(step, now)
        return commands + self._settle(now)

    def _not_renewed(self, maker: Step, failure: StepFailed, now: float) -> list[Command]:
        """It failed this time, and with it those that waited for it."""
        maker.again = False
        commands: list[Command] = []
        for step in self._awaiting(maker):
            del self._awaits[step.key]
            self._active += 1
            step.status = StepStatus.DISPATCHED
            commands += self._missed(step, maker, f"failed when it ran again: {failure.error.message}", now)
        return commands + self._settle(now)

    def _missed(self, step: Step, maker: Step, what: str, now: float) -> list[Command]:
        error = ErrorInfo("OutputGone", f"An output of step {maker.key!r} was lost, and it {what}")
        failed = StepFailed(
            run_id=self.run_id, at=now, step=step.key, attempt=step.attempt, error=error, allow_retries=False
        )
        return [Note(failed), *self._fail(step, failed, now)]

    def _awaiting(self, maker: Step) -> list[Step]:
        return [self.steps[key] for key, makers in self._awaits.items() if maker.key in makers]

    # ---- going on

    def _advance(self, ready: list[Step], now: float) -> list[Command]:
        """Launch or skip what is ready, and what that makes ready."""
        commands: list[Command] = []
        if ready and self.status is RunStatus.STARTED:
            left = self._at_once(ready)
            for step in ready:  # grows while it is walked
                inputs = () if left <= 0 and step.spec.key in self._sure else self._inputs(step)
                if isinstance(inputs, str):
                    commands.append(self._skip(step, inputs, now))
                    ready.extend(self._instances.release(step))
                    continue
                self._active += 1
                if left > 0:
                    commands += self._launch(step, now, inputs)
                else:
                    self._held[step.key] = step
                left -= 1
        return commands if self._active else commands + self._settle(now)

    def _at_once(self, ready: Sequence[Step]) -> float:
        """How many of them are launched at once. All, where one is more urgent than another, and while outputs are made
        again, which the others are to be given as they are now.
        """
        if self.at_first is None or len(ready) <= self.at_first or self._awaits:
            return inf
        return self.at_first if len({step.spec.priority for step in ready}) == 1 else inf

    @property
    def held(self) -> bool:
        """Whether there is ``more``."""
        return bool(self._held)

    def holds(self, step: StepKey | None) -> bool:
        """Whether this one is ready, and not launched so far."""
        return step in self._held

    def more(self, count: int | None, now: float) -> list[Command]:
        """Launch so many of the steps that are held, or all: which is to be done before any event is handled that says
        of a step that it does not go well, or is about one that is held. Then it is as if none had been.
        """
        commands: list[Command] = []
        for key in list(islice(self._held, count)):
            commands += self._launch(self._held.pop(key), now)
        return commands

    def _inputs(self, step: Step) -> tuple[TaskInput, ...] | str:
        """Of a step that is ready; or why it is skipped instead of launched."""
        if step.ruled and not self._instances.agrees(step):
            return f"Its trigger rule is {step.spec.trigger.value!r}, and the steps above it ended otherwise."
        inputs = self._instances.inputs(step)
        if isinstance(inputs, Absent):
            return f"Its input {inputs.input!r} needs {inputs.step}.{inputs.output}, which was not yielded."
        return inputs

    def _launch(self, step: Step, now: float, inputs: tuple[TaskInput, ...] | None = None) -> list[Command]:
        step.status, step.due = _DISPATCHED, None
        note = StepDispatched(run_id=self.run_id, at=now, step=step.key, attempt=step.attempt)
        return [Note(note), Launch(self.tasks.of(step, inputs))]

    def out(self) -> list[StepKey]:
        """Steps of which an attempt is still to report its end."""
        return [step.key for step in self.steps.values() if step.status in _OUT]

    def is_out(self, task: StepTask) -> bool:
        """Whether this attempt is still to report its end."""
        step = self.steps[task.step]
        return (step.status is _DISPATCHED or step.status is _RUNNING) and step.attempt == task.attempt

    def _skip(self, step: Step, reason: str, now: float) -> Note:
        step.status = StepStatus.SKIPPED
        return Note(StepSkipped(run_id=self.run_id, at=now, step=step.key, attempt=step.attempt, reason=reason))

    def _canceled(self, step: Step, now: float) -> Note:
        self._end(step, StepStatus.CANCELED)
        return Note(StepCanceled(run_id=self.run_id, at=now, step=step.key, attempt=step.attempt))

    def _end(self, step: Step, status: StepStatus) -> None:
        step.status, step.due = status, None
        step.again = step.again and status is not StepStatus.CANCELED
        self._active -= 1

    def _settle(self, now: float) -> list[Command]:
        """The run ends when nothing is out, nothing waits for a retry and all hooks have reported."""
        if self._active or self.finished:
            return []
        if self._hooks.missing:
            return self._hooks.overdue(now)
        event: RunSucceeded | RunFailed | RunCanceled
        if self._timeout is not None:
            self.status, event = RunStatus.FAILURE, RunFailed(run_id=self.run_id, at=now, reason=self._timeout)
        elif self.status is RunStatus.CANCELING:
            self.status, event = RunStatus.CANCELED, RunCanceled(run_id=self.run_id, at=now)
        elif self._first is not None:
            reason = f"Steps failed: {listed(self._failed)}."
            first = FirstFailure(self._first.step, self._first.attempt, self._first.at)
            self.status = RunStatus.FAILURE
            event = RunFailed(run_id=self.run_id, at=now, reason=reason, error=self._first.error, first=first)
        else:
            self.status, event = RunStatus.SUCCESS, RunSucceeded(run_id=self.run_id, at=now)
        return [Note(event), Finish(self.status)]

    # ---- hooks

    def _hook_reported(self, event: HookCompleted | HookSkipped | HookErrored, now: float) -> list[Command] | None:
        step = self.steps.get(event.step)
        if step is None or step.attempt != event.attempt or not self._hooks.reported(event.step, event.hook):
            return None
        return [] if self._active or self._hooks.missing else self._settle(now)

    def _hooks_lost(self, event: StepLost) -> list[Command] | None:
        step = self.steps.get(event.step)
        return None if step is None or step.attempt != event.attempt else self._hooks.lost(step, event.cause)

    # ---- for others to see

    def outstanding(self, now: float) -> list[Command]:
        """What a coordinator that takes over has to see to: everything that was asked for and has not been answered."""
        if self.finished or self.status is RunStatus.NOT_STARTED:
            return []
        commands: list[Command] = self._deadline()
        for step in self.steps.values():
            if step.status in _OUT:
                canceling = self.status is RunStatus.CANCELING
                commands.append(
                    Cancel(step.key, step.attempt, step.spec.executor) if canceling else Launch(self.tasks.of(step))
                )
            elif step.status is StepStatus.WAITING and step.due is not None:
                due = min(step.due, now + step.delay)  # the clock of who noted it may have been ahead of ours
                event = RetryDue(run_id=self.run_id, at=due, step=step.key, attempt=step.attempt)
                commands.append(WakeAt(due, event))
        return commands + self._hooks.outstanding(now)

    def counts(self) -> Counter[StepStatus]:
        """Steps by status. Steps in fan-outs count once they exist."""
        return Counter(step.status for step in self.steps.values())

    def view(self) -> dict[StepKey, StepView]:
        return {
            key: StepView(step.status, step.attempt, step.retry_number, step.losses, step.due, step.outputs)
            for key, step in self.steps.items()
        }

    def failed(self) -> list[StepKey]:
        return list(self._failed)

    def known(self) -> list[KnownStep]:
        """What a re-execution of this run may count as done."""
        anew: set[StepKey] = set()  #: a trigger rule lets steps succeed below some that did not, which run again
        for key, step in self.steps.items():
            if not step.done or (anew and any(up.key in anew for up in self._instances.sources(step))):
                anew.add(key)
        return [
            KnownStep(key, step.outputs, step.status is StepStatus.SKIPPED)
            for key, step in self.steps.items()
            if key not in anew
        ]

    def check(self) -> None:
        """Raises AssertionError when what this machine holds contradicts itself."""
        steps = self.steps.values()
        active = sum(step.status in _ACTIVE for step in steps) + len(self._held)
        assert self._active == active, "steps that are active were counted wrong"
        assert sorted(self._failed) == sorted(step.key for step in steps if step.status is StepStatus.FAILURE)
        for step in steps:
            waits = self._instances.waits_for(step)
            if step.status is StepStatus.PENDING and not any(up.redone for up in self._instances.sources(step)):
                assert step.missing == waits, f"{step.key} waits for {waits}"
            assert (step.status is StepStatus.WAITING) == (step.due is not None), f"{step.key}: {step.due}"
            most = 1 + step.retry_number + step.losses + step.anew
            assert 1 + step.retry_number + step.anew <= step.attempt <= most, f"{step.key}: attempts"
            if step.status is StepStatus.PENDING and self.status in (RunStatus.STARTED, RunStatus.SUCCESS):
                known = step.key in self._awaits or step.key in self._held
                assert step.missing or known, f"{step.key} is ready and was not launched"
        if self.finished:
            assert not self._active, "the run has ended before its steps"
            assert not self._hooks.missing, "the run has ended before its hooks"
        if self.status is RunStatus.SUCCESS:
            assert all(step.done for step in steps), "a run with unfinished steps is no success"


def _never_skipped(spec: StepSpec) -> bool:
    """It takes nothing but values of the fan-outs that it is in, and those are there if it is."""
    wires = [given.feed for given in spec.inputs if isinstance(given.feed, FromStep | FromSteps)]
    mapped = all(isinstance(feed, FromStep) and feed.delivery is Delivery.MAPPED for feed in wires)
    return mapped and spec.trigger is TriggerRule.ALL_SUCCESS


def _own(machine: RunMachine, event: Event, now: float) -> None:
    """What this machine told itself."""


_Decide = Callable[[RunMachine, Any, float], "list[Command] | None"]

#: What the machine decides on, by class of event; all others are only recorded.
_DECIDE: dict[type, _Decide] = {
    RunStarted: RunMachine._start,
    RunCanceling: RunMachine._cancel,
    StepStarted: RunMachine._step_started,
    StepSucceeded: RunMachine._step_succeeded,
    StepFailed: RunMachine._step_failed,
    StepLost: RunMachine._step_lost,
    StepCanceled: RunMachine._step_canceled,
    RetryDue: RunMachine._retry_due,
    HookCompleted: RunMachine._hook_reported,
    HookSkipped: RunMachine._hook_reported,
    HookErrored: RunMachine._hook_reported,
    StepUpForRetry: RunMachine._retry_noted,
    StepDispatched: _own,
    StepSkipped: _own,
    RunSucceeded: _own,
    RunFailed: _own,
    RunCanceled: _own,
}

#: What attempts say about themselves.
TOLD = frozenset({Told, *(kind for kind in get_args(AnyEvent) if issubclass(kind, StepEvent) and kind not in _DECIDE)})
