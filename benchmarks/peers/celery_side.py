"""Celery as a subject: canvas, and a driver that sends a message a step and hears from a Redis stream."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

from celery import chain, chord, group

from benchmarks.peers import celery_app as tasks
from benchmarks.speaking import Outcome, Stamp, planned, serve
from benchmarks.workloads import CONSUMERS, PER_MIB, WIDTH, Shape, Workload, lengths

_PROCESSES = 2
_PATIENCE = 300


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.celery_side", description=__doc__)
    parser.add_argument("form", choices=["canvas", "stream"])
    form = Canvas() if parser.parse_args().form == "canvas" else StreamDriver(send_by_celery)
    serve(CelerySide(form), ["celery", "kombu", "redis"])


class CelerySide:
    """One worker of two processes, with the events that Flower needs."""

    def __init__(self, form: Canvas | StreamDriver) -> None:
        self._form = form
        self._closing = ExitStack()
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._stamp = Stamp()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def coordinator(self) -> int:
        return os.getpid()

    def workers(self) -> Sequence[int]:
        return [self._worker.pid] if self._worker is not None else []

    def measure(self, workload: Workload) -> Outcome:
        if workload.shape is Shape.PLAN:
            # flat, in its favour: building chords within chords takes the square of their number
            return planned(workload, lambda: _fan(workload.size, 0.0))
        self._start_worker()
        launched = self._stamp.clear()
        began = time.perf_counter()
        value = self._form.run(workload)
        took = time.perf_counter() - began
        self._form.clean()
        if workload.shape is Shape.FIRST:
            return Outcome(self._stamp.read() - launched, value)
        if workload.shape is Shape.FIBO:
            return Outcome(took, value[0], figures={"body_seconds": value[1]})
        return Outcome(took, value, self._form.steps(workload))

    def _start_worker(self) -> None:
        if self._worker is not None:
            return
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_app", "worker"]
        command += ["-c", str(_PROCESSES), "-Q", tasks.QUEUE, "-E", "-l", "warning", "-n", f"bench-{os.getpid()}@local"]
        environ = {**os.environ, "C_FORCE_ROOT": "1"}  # nobody else writes to this Redis; arrays need pickle
        with tempfile.TemporaryFile() as log:
            self._worker = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._closing.callback(self._stop_worker)
        tasks.zero.delay(0.0).get(timeout=60)

    def _stop_worker(self) -> None:
        assert self._worker is not None
        self._worker.terminate()
        self._worker.wait(30)


class Canvas:
    """chain, chord, and a group a layer; results in Redis."""

    def steps(self, workload: Workload) -> int:
        return workload.steps - (workload.shape in (Shape.FAN, Shape.MIXED))  # a chord needs no step that spreads

    def run(self, workload: Workload) -> Any:
        pause, size = workload.pause, workload.size
        match workload.shape:
            case Shape.CHAIN:
                return _got(chain(tasks.zero.s(pause), *[tasks.increment.s(pause) for _ in range(size - 1)])())
            case Shape.FAN:
                return _got(_fan(size, pause)())
            case Shape.MIXED:
                return _got(chord([tasks.wait.s(each) for each in lengths(size)])(tasks.total.s(0.0)))
            case Shape.LAYERS:
                return sum(_got(_layers(size, pause)()))
            case Shape.PAYLOAD:
                first = tasks.array.s(size * PER_MIB).set(serializer="pickle")
                rest = group(tasks.total_of.s().set(serializer="pickle") for _ in range(CONSUMERS))
                return _got((first | rest)())
            case Shape.FIBO:
                number = workload.number
                first = tasks.fibo.s((0, 0.0), number)
                return _got(chain(first, *[tasks.fibo.s(number) for _ in range(size - 1)])())
            case Shape.FIRST:
                return _got(tasks.stamp.delay())
            case Shape.RUNS:
                sent = [tasks.stamp.delay() for _ in range(size)]
                return sum(_got(each) for each in sent)
            case _:
                raise ValueError(workload.shape)

    def clean(self) -> None:
        """Results would stay for a day."""
        tasks.app.backend.client.flushdb()


def _fan(size: int, pause: float) -> Any:
    return chord([tasks.increment.s(number, pause) for number in range(size)], tasks.total.s(pause))


def _layers(layers: int, pause: float) -> Any:
    """A chord a layer: canvas has nothing nearer to two inputs than the whole list of the layer before."""
    parts = [group(tasks.place.s(number, pause) for number in range(WIDTH)), tasks.gather.s()]
    for _ in range(layers - 1):
        parts += [group(tasks.combine.s(at, pause) for at in range(WIDTH)), tasks.gather.s()]
    return chain(*parts)


def _got(result: Any) -> Any:
    return result.get(timeout=_PATIENCE)


class Step(NamedTuple):
    """``needs``: keys of steps whose values are its first arguments."""

    key: int
    body: str
    needs: tuple[int, ...]
    arguments: tuple[Any, ...]


#: Sends steps, each with its arguments.
Send = Callable[[Sequence[tuple[Step, list[Any]]]], None]


class StreamDriver:
    """A graph in plain dictionaries, a message a step, no log and no retries: what any orchestrator on Celery pays."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._last = "0"

    def steps(self, workload: Workload) -> int:
        return workload.steps

    def run(self, workload: Workload) -> Any:
        if workload.shape is Shape.FIRST or workload.shape is Shape.RUNS:
            return sum(self._drive([Step(n, "stamp", (), ()) for n in range(workload.size)]).values())
        steps = _steps(workload)
        values = self._drive(steps)
        match workload.shape:
            case Shape.LAYERS:
                return sum(values[each.key] for each in steps[-WIDTH:])
            case Shape.PAYLOAD:
                return [values[each.key] for each in steps[-CONSUMERS:]]
            case _:
                return values[steps[-1].key]

    def _drive(self, steps: Sequence[Step]) -> dict[int, Any]:
        missing = {each.key: len(each.needs) for each in steps}
        followers: dict[int, list[Step]] = {}
        for each in steps:
            for need in each.needs:
                followers.setdefault(need, []).append(each)
        values: dict[int, Any] = {}
        client = tasks.client()
        ready = [each for each in steps if not each.needs]
        while len(values) < len(steps):
            self._send([(each, [*(values[need] for need in each.needs), *each.arguments]) for each in ready])
            ready = []
            for key, value in self._heard(client):
                values[key] = value
                for each in followers.get(key, ()):
                    missing[each.key] -= 1
                    if not missing[each.key]:
                        ready.append(each)
        return values

    def _heard(self, client: Any) -> list[Any]:
        answer = client.xread({tasks.STREAM: self._last}, count=1000, block=_PATIENCE * 1000)
        if not answer:
            raise TimeoutError(f"nothing was heard for {_PATIENCE} s")
        ((_, entries),) = answer.items() if isinstance(answer, dict) else answer
        entries = entries[0] if entries and isinstance(entries[0], list) else entries
        self._last = entries[-1][0]
        return [json.loads(fields[b"d"]) for _, fields in entries]

    def clean(self) -> None:
        tasks.client().delete(tasks.STREAM, "array")
        self._last = "0"


def send_by_celery(steps: Sequence[tuple[Step, list[Any]]]) -> None:
    with tasks.app.producer_pool.acquire(block=True) as producer:
        for step, arguments in steps:
            tasks.step.apply_async((step.key, step.body, arguments), producer=producer)


def _steps(workload: Workload) -> list[Step]:
    pause, size = workload.pause, workload.size
    match workload.shape:
        case Shape.CHAIN:
            first = Step(0, "place", (), (0, pause))
            return [first] + [Step(n, "increment", (n - 1,), (pause,)) for n in range(1, size)]
        case Shape.FAN:
            many = [Step(n + 1, "offset", (0,), (n, pause)) for n in range(size)]
            return [Step(0, "place", (), (0, pause)), *many, Step(size + 1, "sum", tuple(range(1, size + 1)), ())]
        case Shape.MIXED:
            many = [Step(n + 1, "wait", (), (seconds,)) for n, seconds in enumerate(lengths(size))]
            return [*many, Step(size + 1, "sum", tuple(range(1, size + 1)), ())]
        case Shape.LAYERS:
            found = [Step(n, "place", (), (n, pause)) for n in range(WIDTH)]
            for layer in range(1, size):
                before = (layer - 1) * WIDTH
                found += [
                    Step(layer * WIDTH + n, "combine", (before + n, before + (n + 1) % WIDTH), (pause,))
                    for n in range(WIDTH)
                ]
            return found
        case Shape.PAYLOAD:
            many = [Step(n + 1, "total", (0,), ()) for n in range(CONSUMERS)]
            return [Step(0, "array", (), (size * PER_MIB, "array")), *many]
        case Shape.FIBO:
            first = Step(0, "fibo", (), ((0, 0.0), workload.number))
            return [first] + [Step(n, "fibo", (n - 1,), (workload.number,)) for n in range(1, size)]
        case _:
            raise ValueError(workload.shape)


if __name__ == "__main__":
    main()
