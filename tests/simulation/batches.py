"""A fleet that works through a fan-out, in simulated time: the real backlog and the real guesses, workers as a model.

What is simulated is what decides how long it takes: messages cost time, a process takes one after the other, and what
waits behind a step that takes long is given back. What is left out (claims, Redis, losses) is in ``world``.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from executors.celery.backlog import Backlog, Line, Parcel, Waiting, each_of
from executors.celery.flights import Flights
from opgrid.broker.pace import Pace
from opgrid.broker.protocol import Attempt
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import AnyEvent, StepStarted, StepSucceeded
from opgrid.contracts.tasks import JobRef, RunBrief, StepTask
from opgrid.ids import NodePath, RunId, StepKey
from worker.ride import SLOW

MESSAGE: Final = 0.001  #: seconds that a process spends on a message, whatever is in it
TURN: Final = 0.002  #: seconds until the coordinator has heard of something, and what it sends is there
_LINE: Final = Line("q")
_RUN: Final = RunBrief(RunId("r"), JobRef("job", "hash"), ExecutorChoice("celery"))


@dataclass
class Fleet:
    """Steps of one op that take ``seconds``, all ready at once, on so many processes."""

    processes: int
    seconds: Sequence[float]
    alone: bool = False  #: one step a message
    ended: dict[int, float] = field(default_factory=dict)
    messages: int = 0

    def __post_init__(self) -> None:
        self._backlog, self._flights, self._pace = Backlog(), Flights(8.0), Pace()
        for number in range(len(self.seconds)):
            task = StepTask(RunId("r"), StepKey(str(number)), NodePath("op"), op="op", alone=self.alone)
            self._backlog.put(Waiting(_RUN, "content", task, _LINE, 0.0))
        self._queue: deque[Parcel] = deque()
        self._idle = self.processes
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, str, object]] = []

    def run(self) -> float:
        """How long it took."""
        self._dispatch(0.0)
        now = 0.0
        while self._agenda:
            now, _, what, about = heapq.heappop(self._agenda)
            if what == "arrive":
                self._queue.append(about)  # type: ignore[arg-type]
            elif what == "free":
                self._idle += 1
            else:
                self._heard(about, now)  # type: ignore[arg-type]
            while self._idle and self._queue:
                self._idle -= 1
                self._work(self._queue.popleft(), now)
        return max(self.ended.values())

    def _dispatch(self, now: float) -> None:
        while parcels := self._backlog.parcels(_LINE, self._flights.room(_LINE, self.processes, now), self._pace):
            for parcel in parcels:
                order, each = self._flights.new_order(), each_of(parcel, self._pace)
                for waiting in parcel:
                    self._flights.departs(_at(waiting), waiting.task, _LINE, now, order, each)
                self.messages += 1
                self._later(now + TURN, "arrive", parcel)

    def _work(self, parcel: Parcel, now: float) -> None:
        """A process takes a message; what comes of it is put on the agenda."""
        at = now + MESSAGE
        first = parcel[0].task
        begun = StepStarted(run_id=first.run_id, at=at, step=first.step, attempt=first.attempt)
        self._later(at + TURN, "tell", (begun, None, []))
        for place, waiting in enumerate(parcel):
            seconds = self.seconds[int(waiting.task.step)]
            rest = parcel[place + 1 :]
            if seconds > SLOW and rest:
                self._later(at + SLOW + TURN, "tell", (None, None, rest))
                rest = []
            at += seconds
            task = waiting.task
            ended = StepSucceeded(run_id=task.run_id, at=at, step=task.step, attempt=task.attempt, seconds=seconds)
            self._later(at + TURN, "tell", (ended, waiting, []))
            if not rest:
                break
        self._later(at, "free", None)

    def _heard(self, about: tuple[AnyEvent | None, Waiting | None, Parcel], now: float) -> None:
        event, ended, given_back = about
        if event is not None:
            self._flights.handle(event, now)
        if ended is not None and event is not None:
            self.ended[int(ended.task.step)] = event.at
            self._pace.learn(ended.kind, self.seconds[int(ended.task.step)])
        for each in given_back:
            flight = self._flights.get(each.task.run_id, each.task.step)
            assert flight is not None
            self._flights.returns(flight)
        self._backlog.put_back([msgspec.structs.replace(each, again=True) for each in given_back])
        self._dispatch(now)

    def _later(self, at: float, what: str, about: object) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), what, about))


def _at(waiting: Waiting) -> Attempt:
    return Attempt(waiting.task.run_id, "s", waiting.task.step, waiting.task.attempt)
