# mypy: ignore-errors
"""dask.distributed as a subject: graphs on two worker processes. Run by an interpreter that has it."""

import os
import time
from contextlib import ExitStack

from dask._task_spec import convert_legacy_graph
from dask.order import order
from distributed import Client, LocalCluster

from benchmarks import bodies
from benchmarks.speaking import Outcome, Stamp, planned, serve
from benchmarks.workloads import CONSUMERS, PER_MIB, WIDTH, Shape, lengths

_PROCESSES = 2


def main():
    serve(DaskSide(), ["dask", "distributed"])


class DaskSide:
    def __init__(self):
        self._closing = ExitStack()
        self._client = None
        self._workers = []

    def __enter__(self):
        self._stamp = Stamp()
        return self

    def __exit__(self, *exc):
        self._closing.close()

    def coordinator(self):
        return os.getpid()  # the scheduler is a thread of it

    def workers(self):
        return self._workers

    def measure(self, workload):
        if workload.shape is Shape.PLAN:
            return planned(workload, lambda: planned_graph(workload))
        client = self._start()
        while client.run_on_scheduler(_tasks):  # what it still has of the last round would not be computed again
            time.sleep(0.01)
        launched = self._stamp.clear()
        began = time.perf_counter()
        value = self._run(client, workload)
        took = time.perf_counter() - began
        if workload.shape is Shape.FIRST:
            return Outcome(self._stamp.read() - launched, value)
        if workload.shape is Shape.FIBO:
            return Outcome(took, value[0], figures={"body_seconds": value[1]})
        return Outcome(took, value)

    def _start(self):
        if self._client is None:
            cluster = LocalCluster(
                n_workers=_PROCESSES, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            )
            self._closing.enter_context(cluster)
            self._client = self._closing.enter_context(Client(cluster))
            self._client.wait_for_workers(_PROCESSES)
            self._workers = list(self._client.run(os.getpid).values())
        return self._client

    def _run(self, client, workload):
        if workload.shape is Shape.FIRST:
            return client.submit(bodies.stamp, pure=False).result()
        if workload.shape is Shape.RUNS:
            return sum(client.gather([client.submit(bodies.stamp, pure=False) for _ in range(workload.size)]))
        made, wanted = graph(workload)
        found = client.get(made, wanted)
        return sum(found) if workload.shape is Shape.LAYERS else found


def _tasks(dask_scheduler):
    return len(dask_scheduler.tasks)


def planned_graph(workload):
    """As far as the scheduler would go: tasks, and their order."""
    made, _ = layers(workload.size // WIDTH, 0.0)
    tasks = convert_legacy_graph(made)
    return tasks, order(tasks)


def graph(workload):
    """In dask's own form, which costs less than delayed calls do; and the keys of what is wanted."""
    pause, size = workload.pause, workload.size
    match workload.shape:
        case Shape.CHAIN:
            chain = {f"c{n}": (bodies.increment, f"c{n - 1}", pause) for n in range(1, size)}
            return {"c0": (place, 0, pause), **chain}, f"c{size - 1}"
        case Shape.FAN:
            many = {f"f{n}": (offset, "start", n, pause) for n in range(size)}
            return {"start": (place, 0, pause), **many, "total": (total, list(many), pause)}, "total"
        case Shape.MIXED:
            many = {f"m{n}": (bodies.wait, each) for n, each in enumerate(lengths(size))}
            return {**many, "total": (total, list(many), 0.0)}, "total"
        case Shape.LAYERS:
            return layers(size, pause)
        case Shape.PAYLOAD:
            sums = {f"s{n}": (bodies.total, "array") for n in range(CONSUMERS)}
            return {"array": (bodies.array, size * PER_MIB), **sums}, list(sums)
        case Shape.FIBO:
            rest = {f"n{n}": (bodies.timed_fibo, f"n{n - 1}", workload.number) for n in range(1, size)}
            return {"n0": (first_fibo, workload.number), **rest}, f"n{size - 1}"
    raise ValueError(workload.shape)


def layers(count, pause):
    made = {f"l0-{i}": (place, i, pause) for i in range(WIDTH)}
    for n in range(1, count):
        for i in range(WIDTH):
            made[f"l{n}-{i}"] = (bodies.combine, f"l{n - 1}-{i}", f"l{n - 1}-{(i + 1) % WIDTH}", pause)
    return made, [f"l{count - 1}-{i}" for i in range(WIDTH)]


def first_fibo(number):
    return bodies.timed_fibo((0, 0.0), number)


def place(number, pause):
    bodies.pause(pause)
    return number


def offset(start, number, pause):
    return bodies.increment(start + number, pause)


def total(numbers, pause):
    bodies.pause(pause)
    return sum(numbers)


if __name__ == "__main__":
    main()
