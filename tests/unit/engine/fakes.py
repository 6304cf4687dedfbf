"""A log in memory, a clock that is set, and an executor that runs plain functions when it is polled."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    LossCause,
    StepCanceled,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, Polled, Position
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, OutputRef, RunBrief, StepTask
from opgrid.errors import ExecutorUnavailable
from opgrid.ids import RunId, StepKey
from orchestrator.engine.pools import Slot

RUN = RunId("run-1")


def brief(run_id: RunId = RUN, executor: str = "fake", **config: object) -> RunBrief:
    return RunBrief(run_id, JobRef("the_job", "hash"), ExecutorChoice(executor, dict(config)))


class MemoryLog:
    """Keeps all it is given. A turn whose block raises leaves nothing."""

    def __init__(self) -> None:
        self.events: dict[RunId, list[AnyEvent]] = defaultdict(list)
        self.statuses: dict[RunId, list[RunStatus]] = defaultdict(list)
        self.positions: dict[str, Position] = {}
        self.turns = 0
        self.freed: list[Slot] = []
        self._held: list[tuple[RunId, Sequence[AnyEvent]]] = []

    @contextmanager
    def turn(self) -> Iterator[MemoryLog]:
        self._held = []
        yield self
        self.turns += 1
        for run_id, events in self._held:
            self.events[run_id].extend(events)

    def append(self, run_id: RunId, events: Sequence[AnyEvent]) -> None:
        self._held.append((run_id, list(events)))

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        self.statuses[run_id].append(status)

    def free_slots(self, slots: Sequence[Slot]) -> None:
        self.freed.extend(slots)

    def set_position(self, stream: str, position: Position) -> None:
        self.positions[stream] = position

    def read(self, run_id: RunId) -> list[AnyEvent]:
        return list(self.events[run_id])

    def position(self, stream: str) -> Position:
        return self.positions.get(stream, "")


class FakeClock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Boom(Exception):
    """What a body raises to fail."""


class Lost(Exception):
    """What a body raises to die without a word."""


Result = Mapping[str, object] | list[str] | None
Body = Callable[[StepTask], Result]


def refs(task: StepTask, result: Result) -> tuple[OutputRef, ...]:
    """None: the output ``result``. A list: its mapping keys. A mapping: these outputs."""
    if isinstance(result, list):
        return tuple(OutputRef(task.run_id, task.step, "result", key, task.attempt) for key in result)
    names = ["result"] if result is None else list(result)
    return tuple(OutputRef(task.run_id, task.step, name, None, task.attempt) for name in names)


class FakeExecutor(Executor):
    """Runs one step a poll, on the caller's thread; time passes only while it is polled in vain."""

    crosses_processes = False

    def __init__(self, clock: FakeClock, bodies: Mapping[str, Body] | None = None) -> None:
        self.clock = clock
        self.bodies = bodies or {}
        self.submitted: list[StepTask] = []
        self.batches: list[int] = []
        self.canceled: list[tuple[StepKey, int]] = []
        self.released: list[RunId] = []
        self.acknowledged: list[Position] = []
        self.unavailable = 0
        self.queue: deque[StepTask] = deque()
        self.events: deque[AnyEvent] = deque()
        self.out_at_once = 0
        self.stream = ""
        self.taken = 0

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        if self.unavailable:
            self.unavailable -= 1
            raise ExecutorUnavailable("nobody at home")
        self.batches.append(len(tasks))
        self.submitted.extend(tasks)
        self.queue.extend(tasks)
        self.out_at_once = max(self.out_at_once, len(self.queue))

    def poll(self, timeout: float) -> Polled:
        if not self.queue and not self.events:
            self.clock.now += max(timeout, 0.001)
        elif self.queue and not self.events:
            self.events.extend(self._run(self.queue.popleft()))
        self.taken += bool(self.events)
        events = list(self.events)
        self.events.clear()
        return Polled(events, str(self.taken) if self.taken else "")

    def acknowledge(self, position: Position) -> None:
        self.acknowledged.append(position)

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        self.canceled.extend(steps)
        gone = [task for task in self.queue if task.run_id == run_id and (task.step, task.attempt) in set(steps)]
        for task in gone:
            self.queue.remove(task)
            self.events.append(StepCanceled(run_id=run_id, at=self.clock.now, step=task.step, attempt=task.attempt))

    def release(self, run_id: RunId) -> None:
        self.released.append(run_id)

    def _run(self, task: StepTask) -> list[AnyEvent]:
        run, at, step, attempt = task.run_id, self.clock.now, task.step, task.attempt
        started = StepStarted(run_id=run, at=at, step=step, attempt=attempt)
        end: AnyEvent
        try:
            body = self.bodies.get(task.node)
            outputs = refs(task, None if body is None else body(task))
        except Boom as error:
            end = StepFailed(run_id=run, at=at, step=step, attempt=attempt, error=ErrorInfo.of(error))
        except Lost as error:
            cause = LossCause(str(error) or "it was killed", signal=9)
            end = StepLost(run_id=run, at=at, step=step, attempt=attempt, cause=cause)
        else:
            end = StepSucceeded(run_id=run, at=at, step=step, attempt=attempt, outputs=outputs)
        return [started, end]
