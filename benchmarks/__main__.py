"""``make bench``: opgrid with its durable log, beside Celery canvas, on one Redis with two worker processes each.

Rounds alternate, so that what else the machine does hits all alike. Medians of seconds from the start of a run to its
end, divided by its steps.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.workloads import CHAIN, FAN, chain, fan
from opgrid import JobDefinition, graph
from opgrid.broker.connection import BrokerAddress
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import start_worker
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing
from orchestrator.instance import Instance
from orchestrator.planner.compile import compile
from orchestrator.planner.snapshot import take
from orchestrator.services.execute import execute_job
from orchestrator.settings import Settings

_ROOT = Path(__file__).parents[1]
_CODE = CodeTarget(module="benchmarks.workloads", working_directory=str(_ROOT))
_PROCESSES = 2

#: From what is measured to the seconds it took.
Measured = Callable[[], float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="opgrid-bench-") as folder, EmbeddedRedis.start() as redis:
        home = Path(folder)
        KeyRing.load(str(home))
        settings = Settings(home, f"sqlite:///{home / 'opgrid.db'}", redis.url_of(0))
        worker = start_worker(redis.url_of(0), _CODE, str(home), concurrency=_PROCESSES, log=home / "worker.log")
        try:
            with Instance.of(settings) as instance, _canvas_worker(redis, home):
                _table(_opgrid(instance) | _canvas(), rounds)
        finally:
            worker.stop()
    _planning(rounds)


def _opgrid(instance: Instance) -> dict[str, tuple[int, Measured]]:
    def run(job: JobDefinition, executor: str) -> Measured:
        def measured() -> float:
            with execute_job(job, instance, code=_CODE, executor=executor, raise_on_error=True) as result:
                record = result.run
            assert record.started is not None
            assert record.ended is not None
            return record.ended - record.started

        return measured

    return {
        f"{name}, {executor}": (steps, run(job, executor))
        for name, steps, job in (("chain", CHAIN, chain), ("fan-out", FAN + 2, fan))
        for executor in ("celery", "multiprocess", "in_process")
    }


def _canvas() -> dict[str, tuple[int, Measured]]:
    from benchmarks import canvas

    def timed(work: Callable[[], int], expected: int) -> Measured:
        def measured() -> float:
            began = time.perf_counter()
            assert work() == expected
            return time.perf_counter() - began

        return measured

    return {
        "chain, Celery canvas": (CHAIN, timed(canvas.run_chain, CHAIN - 1)),
        "fan-out, Celery canvas": (FAN + 2, timed(canvas.run_fan, FAN * (FAN + 1) // 2)),
    }


@contextmanager
def _canvas_worker(redis: EmbeddedRedis, home: Path) -> Iterator[None]:
    os.environ["CANVAS_BROKER"] = BrokerAddress.parse(redis.url_of(1)).celery_url
    os.environ["CANVAS_BACKEND"] = BrokerAddress.parse(redis.url_of(2)).celery_url
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "benchmarks.canvas",
        "worker",
        "-c",
        str(_PROCESSES),
        "-Q",
        "canvas",
    ]
    with (home / "canvas.log").open("wb") as log:
        process = subprocess.Popen([*command, "-l", "warning"], cwd=_ROOT, stdout=log, stderr=log)
    try:
        from benchmarks import canvas

        canvas.zero.delay().get(timeout=60)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _table(works: dict[str, tuple[int, Measured]], rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, (_, measured) in works.items():
            took = measured()
            if number:  # the first round warms up
                seconds[name].append(took)
    print(f"{'':<26}{'ms a step':>10}{'to canvas':>11}    all rounds, s")
    for name, (steps, _) in works.items():
        own = median(seconds[name])
        canvas = median(seconds[f"{name.partition(',')[0]}, Celery canvas"])
        every = " ".join(f"{each:.2f}" for each in seconds[name])
        print(f"{name:<26}{own / steps * 1000:>10.3f}{canvas / own:>10.1f}x    {every}")


def _planning(rounds: int, steps: int = 10_000) -> None:
    from benchmarks.workloads import increment, zero

    took = []
    for _ in range(rounds):
        began = time.perf_counter()

        @graph
        def wide() -> None:
            number = zero()
            for _ in range(steps - 1):
                number = increment(number)

        job = wide.to_job(name="wide")
        compile(take(job, job.resolve(None), {}, ()))
        took.append(time.perf_counter() - began)
    each = median(took) / steps * 1e6
    print(f"\n{steps:,} steps composed, resolved and planned: {median(took):.2f} s ({each:.0f} us a step)")


if __name__ == "__main__":
    main()
