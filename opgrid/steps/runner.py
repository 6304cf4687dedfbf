"""Running one step, the same everywhere: load its inputs, call the op, store its outputs, report."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from opgrid.contracts.events import (
    ErrorInfo,
    LossCause,
    RetryRequest,
    StepCanceled,
    StepFailed,
    StepLost,
    StepSucceeded,
)
from opgrid.contracts.executor import EventSink
from opgrid.contracts.metadata import metadata_to_json
from opgrid.contracts.tasks import PythonLogs, StepTask
from opgrid.crash_points import reach
from opgrid.definitions.events import Failure, RetryRequested
from opgrid.errors import InvalidConfigError, ResourceFunctionError, TypeCheckDidNotPass, UserCodeExecutionError
from opgrid.ids import node_of
from opgrid.steps import interrupts, reports
from opgrid.steps.attempt import CURRENT, Attempt
from opgrid.steps.call import call_op
from opgrid.steps.forks import end_copies
from opgrid.steps.hooks import run_hooks
from opgrid.steps.inputs import InputsGone, load_inputs
from opgrid.steps.logs import bridge
from opgrid.steps.outputs import not_stored, store_outputs, write_outputs
from opgrid.steps.prints import end_lines, tell_prints
from opgrid.steps.reading import Deaf
from opgrid.steps.resources import open_resources
from opgrid.steps.scope import RunScope

Terminal = StepSucceeded | StepFailed | StepCanceled | StepLost


class Outcome:
    """How an attempt ended, with what its hooks need. ``close`` it, whether its finish was accepted or not."""

    def __init__(self, event: Terminal, attempt: Attempt | None, error: BaseException | None) -> None:
        self.event = event
        self.error = error  #: what user code raised
        self._attempt = attempt

    @property
    def ok(self) -> bool:
        return isinstance(self.event, StepSucceeded)

    @property
    def has_hooks(self) -> bool:
        """Whether hooks are to be run once the finish was accepted."""
        attempt = self._attempt
        return attempt is not None and bool(attempt.node.hooks) and isinstance(self.event, StepSucceeded | StepFailed)

    @property
    def lingers(self) -> bool:
        """Whether anything is to be done once the finish was accepted or refused: hooks to run, resources to close."""
        attempt = self._attempt
        return attempt is not None and (bool(attempt.node.hooks) or attempt.stack is not None)

    def run_hooks(self, sink: EventSink) -> None:
        """Once the finish was accepted. Raises nothing: a hook's own error is an event."""
        attempt = self._attempt
        if attempt is not None and attempt.node.hooks and isinstance(self.event, StepSucceeded | StepFailed):
            run_hooks(attempt, self.event, self.error, sink)

    def close(self) -> None:
        """End the resources that live as long as the step. May be called twice."""
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        if attempt.stack is not None:
            stack, attempt.stack = attempt.stack, None
            try:
                stack.close()
            except BaseException as error:  # the outcome stands: what a resource does at its end cannot change it
                if interrupts.by_keyboard(error):
                    raise
                attempt.log.error("A resource of step %r raised when it was closed.", attempt.task.step, exc_info=error)
        attempt.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_step(task: StepTask, scope: RunScope, sink: EventSink, *, claim: str = "") -> Outcome:
    """Run one attempt; its last event is the outcome's. Raises KeyboardInterrupt alone, after it was reported, and that
    only where the keyboard interrupts this process.
    """
    started = time.monotonic()
    attempt: Attempt | None = None
    error: BaseException | None = None
    event: Terminal
    token = None
    armed = interrupts.armed()
    try:
        attempt = Attempt(task, scope, scope.node(task.node), sink, claim)
        token = CURRENT.set(attempt)
        if scope.listens:
            _listen(scope.brief.python_logs)
        _pipeline(attempt, armed)
        event = StepSucceeded(
            run_id=task.run_id,
            at=time.time(),
            step=task.step,
            attempt=task.attempt,
            outputs=tuple(attempt.refs),
            seconds=time.monotonic() - started,
        )
    except InputsGone as gone:
        error = gone
        cause = LossCause(str(gone))
        event = StepLost(
            run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, cause=cause, gone=gone.refs
        )
    except BaseException as raised:  # whatever user code raises, its attempt has ended
        interrupts.disarm(armed)  # as may be left to do, where a signal came just then
        if interrupts.is_one(raised):
            error = raised
            event = reports.canceled(task)
        else:
            error = _users(raised)
            event = _failed(task, raised, time.monotonic() - started)
            if scope.local is not None:
                scope.local.errors[task.step, task.attempt] = error
    finally:
        if attempt is not None:
            end_copies(attempt, error)  # in a resource, a type check, an IO manager
        if token is not None:
            if scope.listens:
                end_lines()
            CURRENT.reset(token)
    sink.emit(event)
    outcome = Outcome(event, attempt, error)
    if error is not None and interrupts.by_keyboard(error):
        outcome.close()
        raise error
    return outcome


def _listen(logs: PythonLogs) -> None:
    for name in logs.loggers:
        bridge(name, logs.level)
    if logs.prints:
        tell_prints()


def _pipeline(attempt: Attempt, before: bool) -> None:
    try:
        interrupts.arm()
        open_resources(attempt)
        inputs = load_inputs(attempt)
        reach("inputs loaded")
        result = call_op(attempt, inputs)
        reach("op returned")
        store_outputs(attempt, result)
        write_outputs(attempt)
        reach("outputs stored")
    finally:
        interrupts.disarm(before)


def unwritten(event: StepSucceeded, scope: RunScope, problem: OSError) -> StepFailed:
    """For who gathers what steps store: this one has ended well, and then its outputs could not be written."""
    task = StepTask(event.run_id, event.step, node_of(event.step), event.attempt)
    attempt = Attempt(task, scope, scope.node(task.node), Deaf(), "")
    error = not_stored(attempt, next(ref for ref in event.outputs if ref.manifest is not None))
    error.__cause__ = problem
    return _failed(task, error, event.seconds)


def _failed(task: StepTask, error: BaseException, seconds: float) -> StepFailed:
    allow_retries, retry = True, None
    metadata = {}
    asked = error.__cause__ if isinstance(error, UserCodeExecutionError) else error
    if isinstance(asked, RetryRequested):
        retry = RetryRequest(asked.max_retries, asked.seconds_to_wait)
    elif isinstance(asked, Failure):
        allow_retries = asked.allow_retries
        metadata = metadata_to_json(asked.metadata)
    elif isinstance(asked, TypeCheckDidNotPass):
        metadata = metadata_to_json(asked.metadata)
    _without_our_frames(error)
    info = ErrorInfo.of(error)
    if metadata:
        info = ErrorInfo(info.kind, info.message, info.traceback, info.cause, metadata)
    return StepFailed(
        run_id=task.run_id,
        at=time.time(),
        step=task.step,
        attempt=task.attempt,
        error=info,
        allow_retries=allow_retries,
        retry=retry,
        seconds=seconds,
    )


def _users(error: BaseException) -> BaseException:
    """What user code raised, without the error of ours that says where; that of a resource says which could not be had,
    and stays, unless its config is to blame.
    """
    cause = error.__cause__
    if isinstance(error, ResourceFunctionError) and not isinstance(cause, InvalidConfigError):
        return error
    return cause if isinstance(error, UserCodeExecutionError) and cause is not None else error


def _without_our_frames(error: BaseException | None) -> None:
    """A user's traceback begins in the user's code."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None and _is_ours(trace):
            trace = trace.tb_next
        error.__traceback__ = trace
        error = error.__cause__


#: Modules between a step and the function of its op.
_OURS: Final = "opgrid.steps.", "opgrid.definitions.signature"


def _is_ours(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__", "")).startswith(_OURS)
