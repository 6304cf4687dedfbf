"""Hooks: what users want done once a step has succeeded or failed for good. They cannot change how it ended."""

from __future__ import annotations

import time
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from opgrid.contracts.events import ErrorInfo, HookCompleted, HookErrored, HookSkipped, StepFailed, StepSucceeded
from opgrid.contracts.executor import EventSink
from opgrid.contracts.tasks import StepTask
from opgrid.errors import HookExecutionError, SubprocessError
from opgrid.steps.attempt import CURRENT, Attempt
from opgrid.steps.context import HookContext
from opgrid.steps.forks import end_copies
from opgrid.steps.interrupts import by_keyboard
from opgrid.steps.resources import open_resources

if TYPE_CHECKING:
    from opgrid.definitions.hooks import HookDefinition
    from opgrid.steps.scope import Node, RunScope


def run_hooks(
    attempt: Attempt, event: StepSucceeded | StepFailed, error: BaseException | None, sink: EventSink
) -> None:
    """A failure that is going to be retried is no failure yet: its hooks wait for the last attempt."""
    if isinstance(event, StepFailed) and will_be_retried(event, attempt.task, attempt.node, attempt.scope):
        return
    attempt.sink = sink
    token = CURRENT.set(attempt)
    try:
        _run_all(attempt, isinstance(event, StepSucceeded), error)
    finally:
        CURRENT.reset(token)


def run_hooks_elsewhere(
    task: StepTask, scope: RunScope, sink: EventSink, error: ErrorInfo | None, success: bool
) -> None:
    """For a step whose own process died: its outputs are not at hand, and its error is known as data."""
    node = scope.node(task.node)
    attempt = Attempt(task, scope, node, sink, "")
    raised = None if error is None else SubprocessError(f"{error.kind}: {error.message}")
    with ExitStack() as stack:
        attempt.stack = stack
        try:
            open_resources(attempt, hooks_only=True)
        except BaseException as problem:
            for hook in node.hooks:
                _errored(attempt, hook, problem)
            if by_keyboard(problem):
                raise
            return
        _run_all(attempt, success, raised)


def will_be_retried(event: StepFailed, task: StepTask, node: Node, scope: RunScope) -> bool:
    """What the machine is going to decide, from the same facts."""
    if "disabled" in (scope.brief.executor.config.get("retries") or {}):
        return False
    if event.retry is not None:
        return task.retry_number < event.retry.max_retries
    policy = node.retry
    return event.allow_retries and policy is not None and task.retry_number < policy.max_retries


def _run_all(attempt: Attempt, success: bool, error: BaseException | None) -> None:
    left = deque(attempt.node.hooks)
    try:
        while left:
            _run(attempt, left[0], success, error)
            left.popleft()
    except BaseException as problem:  # the keyboard; the end of the run waits for none of them
        for hook in left:
            _errored(attempt, hook, problem)
        raise


def _run(attempt: Attempt, hook: HookDefinition, success: bool, error: BaseException | None) -> None:
    task = attempt.task
    if (hook.kind == "success") is not success:
        attempt.sink.emit(
            HookSkipped(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, hook=hook.name)
        )
        return
    call: Any = hook.fn
    try:
        try:
            call(HookContext(attempt, hook, error))
        finally:
            end_copies(attempt)
    except BaseException as problem:
        if by_keyboard(problem):
            raise
        _errored(attempt, hook, problem)
    else:
        attempt.sink.emit(
            HookCompleted(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, hook=hook.name)
        )


def _errored(attempt: Attempt, hook: HookDefinition, problem: BaseException) -> None:
    task = attempt.task
    told = HookExecutionError(f"Hook {hook.name!r} raised after step {task.step!r}.")
    told.__cause__ = problem
    attempt.sink.emit(
        HookErrored(
            run_id=task.run_id,
            at=time.time(),
            step=task.step,
            attempt=task.attempt,
            hook=hook.name,
            error=ErrorInfo.of(told),
        )
    )
