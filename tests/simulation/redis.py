"""What Redis keeps of a run, by the rules of the scripts in ``opgrid.broker.scripts``; it may lose all of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.fusing import out_with
from opgrid.contracts.tasks import StepTask
from opgrid.ids import StepKey


class Returned(NamedTuple):
    """A worker had these attempts and has not begun them."""

    steps: tuple[tuple[StepKey, int], ...]


Entry = AnyEvent | Returned
#: Steps that share a message, each perhaps with others to go on with.
Message = tuple[StepTask, ...]


class Claim(NamedTuple):
    step: StepKey
    attempt: int
    claim: str


class Finished(NamedTuple):
    claim: Claim
    events: Sequence[AnyEvent]
    needs_output: bool


class Lease(NamedTuple):
    attempt: int
    claim: str
    beat: int

    @property
    def text(self) -> bytes:
        return f"{self.attempt} {self.claim} {self.beat} w".encode()


class Fence(NamedTuple):
    attempt: int
    ended: str | None = None  #: the claim that ended it; "-" for none
    aboard: bool = False  #: it travels with a step that it waits for, or waits at who took over


@dataclass
class Redis:
    generation: int = 1
    fences: dict[StepKey, Fence] = field(default_factory=dict)
    marks: dict[StepKey, int] = field(default_factory=dict)  #: attempts that are canceled
    leases: dict[StepKey, Lease] = field(default_factory=dict)
    queue: list[Message] = field(default_factory=list)
    stream: list[tuple[int, Entry]] = field(default_factory=list)
    returned: dict[StepKey, str] = field(default_factory=dict)  #: the claim that was given back last
    outputs: set[tuple[StepKey, int, str]] = field(default_factory=set)
    last: int = 0
    is_over: bool = False
    told: int = 0  #: the generation that was told of all that is out

    @property
    def knowing(self) -> int:
        """This generation, if it was told of all that is out."""
        return self.generation if self.told == self.generation else 0

    # ---- scripts ---------------------------------------------------------------------------------------------------

    def publish(self, messages: Sequence[Message], again: bool) -> list[bool]:
        """For each step, whether it is on its way now."""
        said: list[bool] = []
        if self.is_over:
            return [False for message in messages for first in message for _ in out_with(first)]
        for message in messages:
            is_sent = False
            for task in (each for first in message for each in out_with(first)):
                known, step = self.fences.get(task.step), task.step
                same = known is not None and known.attempt == task.attempt
                if known is not None and (known.attempt > task.attempt or (same and known.ended)):
                    said.append(False)
                    continue
                said.append(True)
                if same and known is not None and (self.held(step, task.attempt) or not (again or known.aboard)):
                    self.fences[step] = Fence(task.attempt)
                    continue
                self.fences[step] = Fence(task.attempt)
                is_sent = True
            if is_sent:
                self.queue.append(message)
        return said

    def aboard(self, steps: Sequence[tuple[StepKey, int]]) -> None:
        """They travel with others that they wait for, or wait at who took over: a worker may have them."""
        for step, attempt in () if self.is_over else steps:
            if step not in self.fences or self.fences[step].attempt < attempt:
                self.fences[step] = Fence(attempt, aboard=True)

    def fence(self, step: StepKey, attempt: int) -> bool:
        """Of an attempt that a worker has, or has the message of: nothing is sent. False where it has ended."""
        known = self.fences.get(step)
        if self.is_over or (
            known is not None and (known.attempt > attempt or (known.attempt == attempt and known.ended))
        ):
            return False
        self.fences[step] = Fence(attempt)
        return True

    def exchange(
        self, ended: Sequence[Finished], back: Sequence[Claim], notice: Returned | None, wanted: Sequence[Finished]
    ) -> tuple[list[str], list[str]]:
        """What has ended is told, all of it or nothing; then leases are given back; then others are claimed."""
        said = [self._verdict(each) for each in ended]
        if all(word == "ok" for word in said):
            for each in ended:
                step, attempt, claim = each.claim
                if self.fences[step] == Fence(attempt, claim):
                    continue
                for event in each.events:
                    self.tell(event)
                self.leases.pop(step, None)
                self.fences[step] = Fence(attempt, claim)
        for step, _, claim in back:
            if step in self.leases and self.leases[step].claim == claim:
                del self.leases[step]
                self.returned[step] = claim
        if notice is not None:
            self.tell(notice)
        return said, [self._claim(each.claim, each.events) for each in wanted]

    def _verdict(self, each: Finished) -> str:
        step, attempt, claim = each.claim
        fence = self.fences.get(step)
        if fence is None:
            return "stale" if self.is_over else "unknown"
        if fence.attempt == attempt and fence.ended == claim:
            return "ok"
        lease = self.held(step, attempt)
        if fence.attempt != attempt or fence.ended or (lease is not None and lease.claim != claim):
            return "stale"
        return "missing" if each.needs_output and each.claim not in self.outputs else "ok"

    def _claim(self, wanted: Claim, events: Sequence[AnyEvent]) -> str:
        step, attempt, claim = wanted
        fence = self.fences.get(step)
        if fence is None or fence.attempt != attempt or fence.ended:
            return "stale"
        lease = self.held(step, attempt)
        if self.marks.get(step, 0) >= attempt and (lease is None or lease.claim != claim):
            return "canceled"
        if lease is not None:
            return "ok" if lease.claim == claim else "taken"
        self.leases[step] = Lease(attempt, claim, 0)
        for event in events:
            self.tell(event)
        return "ok"

    def report(self, claim: Claim, event: AnyEvent) -> None:
        lease = self.leases.get(claim.step)
        if lease is not None and lease.claim == claim.claim:
            self.tell(event)

    def beat(self, step: StepKey, attempt: int, claim: str, number: int) -> str:
        fence, lease = self.fences.get(step), self.held(step, attempt)
        stale = fence is not None and (fence.attempt != attempt or fence.ended)
        if lease is None and self.returned.get(step) == claim:
            return "stale"
        if stale or (lease is not None and lease.claim != claim) or self.is_over:
            if lease is not None and lease.claim == claim:
                del self.leases[step]
            return "stale"
        self.leases[step] = Lease(attempt, claim, number)
        return "cancel" if self.marks.get(step, 0) >= attempt else "ok"

    def expire(self, step: StepKey, attempt: int, lease: bytes, event: AnyEvent) -> bool:
        """False where that attempt has ended, or its lease reads otherwise."""
        fence, seen, held = self.fences.get(step), self.leases.get(step), self.held(step, attempt)
        if fence is None:
            return True
        if fence.attempt != attempt or fence.ended:
            return False
        if lease not in (seen.text if seen else b"", held.text if held else b""):
            return False
        self.tell(event)
        self.leases.pop(step, None)
        self.fences[step] = Fence(attempt, "-")
        return True

    def cancel(self, step: StepKey, attempt: int, event: AnyEvent) -> bool:
        """Whether somebody works on it, who is told."""
        fence = self.fences.get(step)
        if fence is not None and (fence.attempt > attempt or (fence.attempt == attempt and fence.ended)):
            return False
        self.marks[step] = attempt
        if fence is not None and fence.attempt == attempt and self.held(step, attempt):
            return True
        self.fences[step] = Fence(attempt, "-")
        self.tell(event)
        return False

    def release(self) -> None:
        self.fences.clear()
        self.marks.clear()
        self.leases.clear()
        self.returned.clear()
        self.is_over = True

    def held(self, step: StepKey, attempt: int) -> Lease | None:
        """One of an earlier attempt is none: a Redis that was rolled back may still have it."""
        lease = self.leases.get(step)
        return None if lease is None or lease.attempt < attempt else lease

    def tell(self, event: Entry) -> None:
        self.last += 1
        self.stream.append((self.last, event))

    # ---- what goes wrong -------------------------------------------------------------------------------------------

    def copy(self) -> Redis:
        return copy.deepcopy(self)

    def wiped(self) -> Redis:
        return Redis(generation=self.generation + 1)
