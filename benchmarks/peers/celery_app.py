"""Celery as canvas uses it, and bare tasks that report on a Redis stream: what its worker loads."""

from __future__ import annotations

import json
import os
import pickle
from typing import Any, Final

from celery import Celery

from benchmarks import bodies
from benchmarks.workloads import WIDTH

QUEUE: Final = "bench"
STREAM: Final = "bench-stream"

app: Any = Celery("bench", broker=os.environ.get("BENCH_BROKER"), backend=os.environ.get("BENCH_BACKEND"))
app.conf.update(
    task_default_queue=QUEUE,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    accept_content=["json", "pickle"],
    result_accept_content=["json", "pickle"],
    result_serializer="pickle",  # arrays are not for JSON; small numbers cost the same either way
)


# ---- canvas --------------------------------------------------------------------------------------------------------


@app.task  # type: ignore[untyped-decorator]
def zero(pause: float) -> int:
    bodies.pause(pause)
    return 0


@app.task  # type: ignore[untyped-decorator]
def increment(number: int, pause: float) -> int:
    return bodies.increment(number, pause)


@app.task  # type: ignore[untyped-decorator]
def total(numbers: list[int], pause: float) -> int:
    bodies.pause(pause)
    return sum(numbers)


@app.task  # type: ignore[untyped-decorator]
def place(number: int, pause: float) -> int:
    bodies.pause(pause)
    return number


@app.task  # type: ignore[untyped-decorator]
def gather(layer: list[int]) -> list[int]:
    return layer


@app.task  # type: ignore[untyped-decorator]
def combine(layer: list[int], at: int, pause: float) -> int:
    return bodies.combine(layer[at], layer[(at + 1) % WIDTH], pause)


@app.task  # type: ignore[untyped-decorator]
def array(values: int) -> Any:
    return bodies.array(values)


@app.task  # type: ignore[untyped-decorator]
def total_of(values: Any) -> float:
    return bodies.total(values)


@app.task  # type: ignore[untyped-decorator]
def fibo(before: tuple[int, float], number: int) -> tuple[int, float]:
    return bodies.timed_fibo(before, number)


@app.task  # type: ignore[untyped-decorator]
def wait(seconds: float) -> int:
    return bodies.wait(seconds)


@app.task  # type: ignore[untyped-decorator]
def stamp() -> int:
    return bodies.stamp()


# ---- driven from a stream ------------------------------------------------------------------------------------------


def _array_into_redis(values: int, key: str) -> str:
    client().set(key, pickle.dumps(bodies.array(values), protocol=5))
    return key


def _total_from_redis(key: str) -> float:
    return bodies.total(pickle.loads(client().get(key)))


def _sum(*numbers: int) -> int:
    return sum(numbers)


BODIES: Final[dict[str, Any]] = {
    "place": lambda number, pause: place(number, pause),
    "increment": bodies.increment,
    "offset": lambda start, number, pause: bodies.increment(start + number, pause),
    "sum": _sum,
    "combine": bodies.combine,
    "array": _array_into_redis,
    "total": _total_from_redis,
    "fibo": bodies.timed_fibo,
    "wait": bodies.wait,
    "stamp": bodies.stamp,
}


@app.task(ignore_result=True)  # type: ignore[untyped-decorator]
def step(key: int, body: str, arguments: list[Any]) -> None:
    """Runs one step and tells the driver what came out."""
    value = BODIES[body](*arguments)
    client().xadd(STREAM, {"d": json.dumps([key, value])})


def client() -> Any:
    """One connection a process."""
    if os.getpid() not in _clients:
        import redis

        _clients[os.getpid()] = redis.Redis.from_url(os.environ["BENCH_STREAM"], socket_timeout=None)
    return _clients[os.getpid()]


_clients: dict[int, Any] = {}
