"""The same work as Celery canvas: a chain, and a chord over a group. Worker: ``celery -A benchmarks.canvas worker``."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, chain, chord

from benchmarks.workloads import CHAIN, FAN

app: Any = Celery(
    "canvas",
    broker=os.environ.get("CANVAS_BROKER"),
    backend=os.environ.get("CANVAS_BACKEND"),
)
app.conf.update(worker_hijack_root_logger=False, task_default_queue="canvas")


@app.task  # type: ignore[untyped-decorator]
def zero() -> int:
    return 0


@app.task  # type: ignore[untyped-decorator]
def increment(number: int) -> int:
    return number + 1


@app.task  # type: ignore[untyped-decorator]
def total(numbers: list[int]) -> int:
    return sum(numbers)


def run_chain() -> int:
    """Send a chain and wait for its last result."""
    result: int = chain(zero.s(), *[increment.s() for _ in range(CHAIN - 1)])().get(timeout=120)
    return result


def run_fan() -> int:
    """Send a chord and wait for the result of its body."""
    result: int = chord([increment.s(number) for number in range(FAN)])(total.s()).get(timeout=120)
    return result
