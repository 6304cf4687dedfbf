"""What is still to be told to one executor, in order. While it cannot be reached this waits, and runs do not fail.

There is no table behind this: what is in here follows from the log. A step that replay shows as dispatched and that the
executor does not know was not submitted, or was lost: it is submitted again as the same attempt, which is harmless
because ``submit`` is idempotent. The same holds for cancels (the run is CANCELING and the attempt is out).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from opgrid.contracts.events import AnyEvent, EngineNote, ErrorInfo, HookErrored, StepCanceled
from opgrid.contracts.executor import Executor
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.errors import ExecutorUnavailable
from opgrid.ids import RunId, StepKey

FIRST_DELAY = 0.5
LONGEST_DELAY = 15.0


class Submit(NamedTuple):
    run: RunBrief
    tasks: Sequence[StepTask]


class Stop(NamedTuple):
    run_id: RunId
    steps: Sequence[tuple[StepKey, int]]


class Hooks(NamedTuple):
    run: RunBrief
    task: StepTask
    hooks: Sequence[str]
    error: ErrorInfo | None


class Release(NamedTuple):
    run_id: RunId


Message = Submit | Stop | Hooks | Release


class Outbox:
    def __init__(self, name: str, executor: Executor) -> None:
        self.name = name
        self.executor = executor
        self.retry_at: float | None = None
        self._messages: deque[Message] = deque()
        self._delay = FIRST_DELAY
        self._tried = False  #: the first message: it may have arrived

    @property
    def waiting(self) -> bool:
        return bool(self._messages)

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def withdraw(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> set[tuple[StepKey, int]]:
        """Take back tasks that were never submitted. Where submitting failed, nobody knows whether they were."""
        wanted, found = set(steps), set[tuple[StepKey, int]]()
        for place, message in enumerate(self._messages):
            if place == 0 and self._tried:
                continue
            if isinstance(message, Submit) and message.run.run_id == run_id:
                kept = [task for task in message.tasks if (task.step, task.attempt) not in wanted]
                found |= {(task.step, task.attempt) for task in message.tasks} & wanted
                self._messages[place] = Submit(message.run, kept)
        return found

    def flush(self, now: float) -> list[AnyEvent]:
        """Tell the executor all it can be told now. Returns what has to be recorded about it."""
        events: list[AnyEvent] = []
        try:
            while self._messages:
                self._tried = True
                events.extend(self._tell(self._messages[0], now))
                self._messages.popleft()
                self._tried = False
        except ExecutorUnavailable as problem:
            events.extend(self._postpone(problem, now))
        else:
            self.retry_at, self._delay = None, FIRST_DELAY
        return events

    def _postpone(self, problem: ExecutorUnavailable, now: float) -> list[AnyEvent]:
        first = self.retry_at is None
        self.retry_at = now + self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY)
        if not first:
            return []
        runs = {message.run.run_id for message in self._messages if isinstance(message, Submit)}
        error = ErrorInfo(type(problem).__name__, str(problem))
        text = f"The executor {self.name!r} cannot be reached; steps wait and are sent again."
        return [EngineNote(run_id=run_id, at=now, message=text, error=error) for run_id in sorted(runs)]

    def _tell(self, message: Message, now: float) -> list[AnyEvent]:
        match message:
            case Submit(run, tasks):
                if tasks:
                    self.executor.submit(run, tasks)
            case Stop(run_id, steps):
                self.executor.cancel(run_id, steps)
            case Release(run_id):
                self.executor.release(run_id)
            case Hooks(run, task, hooks, error):
                if not self.executor.run_hooks(run, task, error):
                    return _hooks_not_run(task, hooks, now)
        return []


def never_started(run_id: RunId, step: StepKey, attempt: int, now: float) -> AnyEvent:
    return StepCanceled(run_id=run_id, at=now, step=step, attempt=attempt)


def _hooks_not_run(task: StepTask, hooks: Sequence[str], now: float) -> list[AnyEvent]:
    error = ErrorInfo(
        "HookLost", "The process that ran the step died, and its executor cannot run hooks in another one."
    )
    return [
        HookErrored(run_id=task.run_id, at=now, step=task.step, attempt=task.attempt, hook=hook, error=error)
        for hook in hooks
    ]
