"""What is measured, as data that every subject can import: no package beyond the standard library is needed.

The ops do next to nothing, so that what is measured is everything but the op.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from benchmarks.bodies import combine

#: Steps of one layer, where steps come in layers.
WIDTH: Final = 20
#: Consumers of the array.
CONSUMERS: Final = 4
#: Values a MiB of float64 has.
PER_MIB: Final = 1024 * 1024 // 8


class Shape(StrEnum):
    CHAIN = "chain"  #: one after the other, the output passed along
    FAN = "fan"  #: 1 -> size mapped -> 1
    LAYERS = "layers"  #: size layers of WIDTH ops, two inputs each from the layer before
    PAYLOAD = "payload"  #: one op makes an array of size MiB, CONSUMERS ops sum it
    FIRST = "first"  #: from launching a job of one op to its first line
    RUNS = "runs"  #: size runs of one op at once
    PLAN = "plan"  #: size steps in layers are defined and planned; nothing runs
    FIBO = "fibo"  #: one after the other, each computes Fibonacci numbers
    MIXED = "mixed"  #: a fan-out of 1 ms ops with some of 5 s among them


@dataclass(frozen=True, slots=True)
class Workload:
    key: str
    group: str  #: W1 to W8
    title: str
    shape: Shape
    size: int
    pause: float = 0.0  #: seconds that every op sleeps
    number: int = 0  #: whose Fibonacci number is computed

    def sized(self, size: int) -> Workload:
        """The same, smaller or larger."""
        return replace(self, size=size)

    @property
    def steps(self) -> int:
        match self.shape:
            case Shape.FAN:
                return self.size + 2
            case Shape.LAYERS:
                return self.size * WIDTH
            case Shape.PAYLOAD:
                return CONSUMERS + 1
            case Shape.FIRST:
                return 1
            case Shape.MIXED:
                return self.size + 2
            case _:
                return self.size

    @property
    def per_step(self) -> bool:
        """Whether figures are given for a step; otherwise for the whole."""
        return self.shape in (Shape.CHAIN, Shape.FAN, Shape.LAYERS, Shape.PLAN)

    @property
    def ideal(self) -> float | None:
        """Seconds that two busy workers cannot go below."""
        match self.shape:
            case Shape.CHAIN:
                return self.size * self.pause or None
            case Shape.FAN:
                return (2 + self.size / 2) * self.pause or None
            case Shape.LAYERS:
                return self.steps / 2 * self.pause or None
            case Shape.MIXED:
                return max(sum(lengths(self.size)) / 2, max(lengths(self.size)))
            case _:
                return None

    @property
    def expected(self) -> Any:
        """What must come out of it."""
        match self.shape:
            case Shape.CHAIN:
                return self.size - 1
            case Shape.FAN:
                return self.size * (self.size + 1) // 2
            case Shape.LAYERS:
                return layered(self.size)
            case Shape.PAYLOAD:
                values = self.size * PER_MIB
                return [float(values * (values - 1) // 2)] * CONSUMERS
            case Shape.FIBO:
                return self.size * fibonacci(self.number)
            case Shape.MIXED | Shape.RUNS | Shape.PLAN:
                return self.size
            case Shape.FIRST:
                return 1


def layered(layers: int) -> int:
    """The sum of the last layer."""
    values = list(range(WIDTH))
    for _ in range(layers - 1):
        values = [combine(values[i], values[(i + 1) % WIDTH]) for i in range(WIDTH)]
    return sum(values)


def fibonacci(number: int) -> int:
    """In no time, where an op takes its time."""
    found, following = 0, 1
    for _ in range(number):
        found, following = following, found + following
    return found


def lengths(count: int) -> list[float]:
    """Seconds of ``count`` ops: 1 ms, and two of 5 s somewhere among them, the same for everybody."""
    found = [0.001] * count
    for at in random.Random(count).sample(range(count), 2):
        found[at] = 5.0
    return found


def _workloads() -> list[Workload]:
    return [
        Workload("chain", "W1", "chain of 200", Shape.CHAIN, 200),
        Workload("chain-10ms", "W1", "chain of 200, 10 ms ops", Shape.CHAIN, 200, 0.01),
        Workload("fan-100", "W2", "1 → 100 → 1", Shape.FAN, 100),
        Workload("fan-1000", "W2", "1 → 1,000 → 1", Shape.FAN, 1000),
        Workload("fan-5000", "W2", "1 → 5,000 → 1", Shape.FAN, 5000),
        Workload("fan-10000", "W2", "1 → 10,000 → 1", Shape.FAN, 10_000),
        Workload("fan-100000", "W2", "1 → 100,000 → 1", Shape.FAN, 100_000),
        Workload("fan-10ms", "W2", "1 → 1,000 → 1, 10 ms ops", Shape.FAN, 1000, 0.01),
        Workload("layers", "W3", "20 layers of 20", Shape.LAYERS, 20),
        Workload("layers-10ms", "W3", "20 layers of 20, 10 ms ops", Shape.LAYERS, 20, 0.01),
        Workload("payload-1", "W4", "1 MiB to four", Shape.PAYLOAD, 1),
        Workload("payload-64", "W4", "64 MiB to four", Shape.PAYLOAD, 64),
        Workload("first", "W5", "first step", Shape.FIRST, 1),
        Workload("runs", "W5", "100 runs of one op", Shape.RUNS, 100),
        Workload("plan-1000", "W6", "1,000 steps planned", Shape.PLAN, 1000),
        Workload("plan-10000", "W6", "10,000 steps planned", Shape.PLAN, 10_000),
        Workload("plan-100000", "W6", "100,000 steps planned", Shape.PLAN, 100_000),
        Workload("fibo-10", "W7", "40 × fibo(10)", Shape.FIBO, 40, number=10),
        Workload("fibo-33", "W7", "10 × fibo(33)", Shape.FIBO, 10, number=33),
        Workload("mixed", "W8", "400 of 1 ms, 2 of 5 s", Shape.MIXED, 402),
    ]


WORKLOADS: Final = {each.key: each for each in _workloads()}
