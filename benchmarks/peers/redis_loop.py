"""The floor: two processes that take steps off a list of Redis and report on a stream; no Celery, no log, no claims."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import redis

from benchmarks.peers.celery_app import BODIES, STREAM, client
from benchmarks.peers.celery_side import Step, StreamDriver
from benchmarks.speaking import Outcome, serve
from benchmarks.workloads import Workload

_QUEUE = "bench-loop"
_PROCESSES = 2


def main() -> None:
    serve(RedisLoop(), ["redis"])


class RedisLoop:
    def __init__(self) -> None:
        self._driver = StreamDriver(_send)
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._processes:
            each.terminate()
            each.join()

    def coordinator(self) -> int:
        return os.getpid()

    def workers(self) -> Sequence[int]:
        return [each.pid for each in self._processes if each.pid is not None]

    def measure(self, workload: Workload) -> Outcome:
        if not self._processes:
            context = multiprocessing.get_context("spawn")
            self._processes = [context.Process(target=_work, daemon=True) for _ in range(_PROCESSES)]
            for each in self._processes:
                each.start()
        began = time.perf_counter()
        value = self._driver.run(workload)
        took = time.perf_counter() - began
        self._driver.clean()
        return Outcome(took, value)


def _send(steps: Sequence[tuple[Step, list[Any]]]) -> None:
    if steps:
        client().lpush(_QUEUE, *[json.dumps([step.key, step.body, arguments]) for step, arguments in steps])


def _work() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    mine = redis.Redis.from_url(os.environ["BENCH_STREAM"], socket_timeout=None)
    while True:
        _, message = mine.brpop(_QUEUE)  # type: ignore[misc]
        key, body, arguments = json.loads(message)
        mine.xadd(STREAM, {"d": json.dumps([key, BODIES[body](*arguments)])})


if __name__ == "__main__":
    main()
