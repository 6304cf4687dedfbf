"""What Redis keeps of a run, by the rules of the scripts in ``opgrid.broker.scripts``; it may lose all of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from opgrid.contracts.events import AnyEvent
from opgrid.contracts.tasks import StepTask
from opgrid.ids import StepKey


class Message(NamedTuple):
    step: StepKey
    attempt: int
    task: StepTask


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


@dataclass
class Redis:
    generation: int = 1
    fences: dict[StepKey, Fence] = field(default_factory=dict)
    marks: dict[StepKey, int] = field(default_factory=dict)  #: attempts that are canceled
    leases: dict[StepKey, Lease] = field(default_factory=dict)
    queue: list[Message] = field(default_factory=list)
    stream: list[tuple[int, AnyEvent]] = field(default_factory=list)
    outputs: set[tuple[StepKey, int, str]] = field(default_factory=set)
    last: int = 0
    is_over: bool = False

    # ---- scripts ---------------------------------------------------------------------------------------------------

    def publish(self, task: StepTask, again: bool) -> None:
        known = self.fences.get(task.step)
        if known is not None and (known.attempt > task.attempt or (known.attempt == task.attempt and known.ended)):
            return
        if known is not None and known.attempt == task.attempt and (not again or self.held(task.step, task.attempt)):
            return
        self.is_over = False
        self.fences[task.step] = Fence(task.attempt)
        self.queue.append(Message(task.step, task.attempt, task))

    def fence(self, step: StepKey, attempt: int) -> None:
        """Of an attempt that was claimed: nothing is sent."""
        known = self.fences.get(step)
        if known is None or known.attempt < attempt:
            self.fences[step] = Fence(attempt)

    def claim(self, step: StepKey, attempt: int, claim: str, started: AnyEvent) -> bool:
        fence = self.fences.get(step)
        if fence is None or fence.attempt != attempt or fence.ended:
            return False
        if self.marks.get(step, 0) >= attempt:
            return False
        lease = self.held(step, attempt)
        if lease is not None:
            return lease.claim == claim
        self.leases[step] = Lease(attempt, claim, 0)
        self.tell(started)
        return True

    def beat(self, step: StepKey, attempt: int, claim: str, number: int) -> str:
        fence, lease = self.fences.get(step), self.held(step, attempt)
        stale = fence is not None and (fence.attempt != attempt or fence.ended)
        if stale or (lease is not None and lease.claim != claim) or self.is_over:
            if lease is not None and lease.claim == claim:
                del self.leases[step]
            return "stale"
        self.leases[step] = Lease(attempt, claim, number)
        return "cancel" if self.marks.get(step, 0) >= attempt else "ok"

    def finish(self, step: StepKey, attempt: int, claim: str, event: AnyEvent, needs_output: bool) -> str:
        fence = self.fences.get(step)
        if fence is None:
            return "unknown"
        if fence.attempt == attempt and fence.ended == claim:
            return "ok"
        lease = self.held(step, attempt)
        if fence.attempt != attempt or fence.ended or (lease is not None and lease.claim != claim):
            return "stale"
        if needs_output and (step, attempt, claim) not in self.outputs:
            return "missing"
        self.tell(event)
        self.leases.pop(step, None)
        self.fences[step] = Fence(attempt, claim)
        return "ok"

    def expire(self, step: StepKey, attempt: int, lease: bytes, event: AnyEvent) -> None:
        fence, seen, held = self.fences.get(step), self.leases.get(step), self.held(step, attempt)
        if fence is None or fence.attempt != attempt or fence.ended:
            return
        if lease not in (seen.text if seen else b"", held.text if held else b""):
            return
        self.tell(event)
        self.leases.pop(step, None)
        self.fences[step] = Fence(attempt, "-")

    def cancel(self, step: StepKey, attempt: int, event: AnyEvent) -> None:
        fence = self.fences.get(step)
        if fence is not None and (fence.attempt > attempt or (fence.attempt == attempt and fence.ended)):
            return
        self.marks[step] = attempt
        if fence is not None and fence.attempt == attempt and self.held(step, attempt):
            return
        self.fences[step] = Fence(attempt, "-")
        self.tell(event)

    def release(self) -> None:
        self.fences.clear()
        self.marks.clear()
        self.leases.clear()
        self.is_over = True

    def held(self, step: StepKey, attempt: int) -> Lease | None:
        """One of an earlier attempt is none: a Redis that was rolled back may still have it."""
        lease = self.leases.get(step)
        return None if lease is None or lease.attempt < attempt else lease

    def tell(self, event: AnyEvent) -> None:
        self.last += 1
        self.stream.append((self.last, event))

    # ---- what goes wrong -------------------------------------------------------------------------------------------

    def copy(self) -> Redis:
        return copy.deepcopy(self)

    def wiped(self) -> Redis:
        return Redis(generation=self.generation + 1)
