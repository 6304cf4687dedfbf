"""Going on with a run after the process that drove it has died: replay its log, ask what is still out, drive on.

Commands are never stored. All of them follow from the log, because the machine that reads it is the machine that wrote
it: what is dispatched is submitted again as the same attempt, so that its executor has the task; what was running and
is gone is a loss; a run that is being canceled has what is out stopped again; retries wait for the time that was noted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opgrid.contracts.events import AnyEvent, LossCause, StepDispatched, StepLost
from opgrid.contracts.executor import Executor
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.tasks import RunBrief
from opgrid.ids import RunId, StepKey
from orchestrator.engine.commands import Cancel, Command, Launch, Note
from orchestrator.engine.limits import from_config
from orchestrator.engine.loop import LiveRun
from orchestrator.engine.machine import RunMachine
from orchestrator.planner.plan import Plan


def replay(run_id: RunId, plan: Plan, events: Iterable[AnyEvent]) -> RunMachine:
    """The machine as it was when the last of these events was recorded."""
    machine = RunMachine(run_id, plan)
    for event in events:
        machine.take(event, event.at)
    return machine


def resume(
    brief: RunBrief, plan: Plan, events: Iterable[AnyEvent], executors: Mapping[str, Executor], now: float
) -> LiveRun:
    """A run to be handed to ``drive``; nothing is submitted here. The executors are asked what of it is still out."""
    known = list(events)
    machine = replay(brief.run_id, plan, known)
    told = {(event.step, event.attempt) for event in known if type(event) is StepDispatched}
    run = LiveRun(brief, machine, from_config(brief.executor.config))
    for name, commands in _by_executor(run, machine.outstanding(now)).items():
        attempts = [_attempt(command) for command in commands]
        begun = {each for each in attempts if machine.steps[each[0]].status is StepStatus.RUNNING}
        wanted = begun if machine.status is RunStatus.STARTED else set()
        there = _there(executors.get(name), brief, wanted)
        for command, (key, number) in zip(commands, attempts, strict=True):
            if machine.steps[key].status is StepStatus.DISPATCHED and (key, number) not in told:
                # Of a large fan-out, which is recorded in parts.
                run.untold.append(Note(StepDispatched(run_id=brief.run_id, at=now, step=key, attempt=number)))
            if there is not None and (key, number) in there:
                if run.limits is not None:
                    run.limits.hold(key, number, machine.steps[key].spec.tags)
                if isinstance(command, Launch):
                    run.out.append(command.task)
                else:
                    run.orders.append(command)
            elif there is not None and isinstance(command, Cancel) and (key, number) in told - begun:
                run.orders.append(command)  # who drove the run may have been frozen as it sent it, and go on yet
            elif isinstance(command, Cancel) or (key, number) in begun:
                cause = LossCause("the process that drove the run ended, and the step with it")
                run.first.append(StepLost(run_id=brief.run_id, at=now, step=key, attempt=number, cause=cause))
            else:
                run.orders.append(command)
    return run


def _by_executor(run: LiveRun, commands: Iterable[Command]) -> dict[str, list[Launch | Cancel]]:
    """Those about attempts; the others are for the loop."""
    found: dict[str, list[Launch | Cancel]] = {}
    for command in commands:
        match command:
            case Launch(task):
                found.setdefault(run.executor_of(task.executor), []).append(command)
            case Cancel():
                found.setdefault(run.executor_of(command.executor), []).append(command)
            case _:
                run.orders.append(command)
    return found


def _attempt(command: Launch | Cancel) -> tuple[StepKey, int]:
    if isinstance(command, Launch):
        return command.task.step, command.task.attempt
    return command.step, command.attempt


def _there(
    executor: Executor | None, brief: RunBrief, begun: set[tuple[StepKey, int]]
) -> frozenset[tuple[StepKey, int]] | None:
    """Attempts that will report; of those that had ``begun``, also some that their executor has to find again. None
    where what was out has ended with the process that had sent it.
    """
    known = None if executor is None else executor.recover(brief)
    if executor is None or known is None:
        return None
    forgotten = begun - known
    return known | executor.may_go_on(brief, forgotten) if forgotten else known
