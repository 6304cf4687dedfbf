"""What the ops do, the same for every subject. Only the standard library, and numpy where arrays are made."""

from __future__ import annotations

import os
import time
from typing import Any


def pause(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


def increment(number: int, seconds: float = 0.0) -> int:
    pause(seconds)
    return number + 1


def combine(left: int, right: int, seconds: float = 0.0) -> int:
    pause(seconds)
    return (left + right) % 1_000_003


def wait(seconds: float) -> int:
    pause(seconds)
    return 1


def array(values: int) -> Any:
    import numpy

    return numpy.arange(values, dtype=numpy.float64)


def total(values: Any) -> float:
    return float(values.sum())


def fibo(number: int) -> int:
    return number if number < 2 else fibo(number - 1) + fibo(number - 2)


def timed_fibo(before: tuple[int, float] | list[float], number: int) -> tuple[int, float]:
    """Adds the Fibonacci number, and the seconds that computing it took."""
    sum_, spent = before
    began = time.perf_counter()
    found = fibo(number)
    return int(sum_) + found, spent + time.perf_counter() - began


def stamp() -> int:
    """Writes down when it was called, into the file that BENCH_STAMP names."""
    now = time.time()
    with open(os.environ["BENCH_STAMP"], "a") as file:
        file.write(f"{now}\n")
    return 1
