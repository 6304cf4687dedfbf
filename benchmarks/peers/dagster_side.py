# mypy: ignore-errors
"""Dagster as a subject, with each of its executors. Run by an interpreter that has it."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from dagster import (
    DagsterInstance,
    DynamicOut,
    DynamicOutput,
    execute_job,
    graph,
    in_process_executor,
    multiprocess_executor,
    op,
)
from dagster._core.definitions.reconstruct import build_reconstructable_job
from dagster._core.execution.api import create_execution_plan
from dagster_celery import celery_executor

from benchmarks import bodies
from benchmarks.speaking import Outcome, Stamp, planned, serve
from benchmarks.workloads import CONSUMERS, PER_MIB, WIDTH, WORKLOADS, Shape, lengths

_PROCESSES = 2
_EXECUTORS = {
    "in_memory": in_process_executor,
    "in_process": in_process_executor,
    "multiprocess": multiprocess_executor,
    "celery": celery_executor,
}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.dagster_side", description=__doc__)
    parser.add_argument("executor", choices=_EXECUTORS)
    serve(DagsterSide(parser.parse_args().executor), ["dagster", "dagster-celery", "celery"])


class DagsterSide:
    def __init__(self, executor):
        self._executor = executor
        self._closing = ExitStack()
        self._worker = None
        self._instance = None

    def __enter__(self):
        self._stamp = Stamp()
        return self

    def __exit__(self, *exc):
        self._closing.close()

    def coordinator(self):
        return os.getpid()

    def workers(self):
        return [self._worker.pid] if self._worker is not None else []

    def measure(self, workload):
        if workload.shape is Shape.PLAN:
            return planned(workload, lambda: create_execution_plan(job_of(workload.key, workload.size, "in_memory")))
        self._start()
        launched = self._stamp.clear()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        if workload.shape is Shape.RUNS:
            done = sum(self._run(workload).success for _ in range(workload.size))
            return Outcome(time.perf_counter() - began, done)
        result = self._run(workload)
        took = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert result.success
        if workload.shape is Shape.FIRST:
            return Outcome(self._stamp.read() - launched, 1)
        figures = {}
        if self._executor == "multiprocess":
            figures["worker_mib"] = after.ru_maxrss / 1024
            figures["worker_cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        value = self._value(workload, result)
        if workload.shape is Shape.FIBO:
            value, figures["body_seconds"] = value
        return Outcome(took, value, figures=figures)

    def _start(self):
        if self._instance is not None or self._executor == "in_memory":
            return
        home = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="dagster-")))
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        os.environ["DAGSTER_HOME"] = str(home)
        self._instance = self._closing.enter_context(DagsterInstance.get())
        if self._executor == "celery":
            self._start_worker(home)

    def _start_worker(self, home):
        config = home / "celery.yaml"
        config.write_text(f"execution: {{config: {{broker: '{_broker()}', backend: '{_backend()}'}}}}\n")
        command = [str(Path(sys.executable).parent / "dagster-celery"), "worker", "start", "-A", "dagster_celery.app"]
        command += ["-y", str(config), "-n", "bench", "--", "-c", str(_PROCESSES), "-E"]
        log = self._closing.enter_context((home / "worker.log").open("wb"))
        environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self._worker = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._closing.callback(self._stop_worker)
        until = time.monotonic() + 60
        while b"ready." not in (home / "worker.log").read_bytes():
            if self._worker.poll() is not None or time.monotonic() > until:
                raise RuntimeError((home / "worker.log").read_text()[-2000:])
            time.sleep(0.1)

    def _stop_worker(self):
        self._worker.terminate()
        try:
            self._worker.wait(10)
        except subprocess.TimeoutExpired:
            self._worker.kill()

    def _run(self, workload):
        if self._executor in ("in_memory", "in_process"):
            job = _kept(workload.key, workload.size, self._executor)
            return job.execute_in_process(instance=self._instance)
        job = build_reconstructable_job(
            "benchmarks.peers.dagster_side", "job_of", (workload.key, workload.size, self._executor)
        )
        config = {"max_concurrent": _PROCESSES} if self._executor == "multiprocess" else _celery()
        result = execute_job(job, self._instance, run_config={"execution": {"config": config}})
        return self._closing.enter_context(result)

    def _value(self, workload, result):
        size = workload.size
        match workload.shape:
            case Shape.CHAIN:
                return result.output_for_node("increment" if size == 2 else f"increment_{size - 1}")
            case Shape.FIBO:
                return result.output_for_node("fibo" if size == 2 else f"fibo_{size - 1}")
            case Shape.FAN | Shape.MIXED:
                return result.output_for_node("total")
            case Shape.LAYERS:
                return sum(result.output_for_node(f"at_{size - 1}_{i}") for i in range(WIDTH))
            case Shape.PAYLOAD:
                return [result.output_for_node(f"sum_{number}") for number in range(CONSUMERS)]
        raise ValueError(workload.shape)


def _broker():
    return os.environ["BENCH_BROKER"]


def _backend():
    return os.environ["BENCH_BACKEND"]


def _celery():
    return {"broker": _broker(), "backend": _backend()}


_made = {}


def _kept(key, size, executor):
    if (key, size) not in _made:
        _made[key, size] = job_of(key, size, executor)
    return _made[key, size]


def job_of(key, size, executor):
    workload = WORKLOADS[key].sized(size)
    made = _MAKERS[workload.shape](workload)
    return made.to_job(name=key.replace("-", "_"), executor_def=_EXECUTORS[executor])


def _chain(workload):
    pause = workload.pause

    @op
    def zero():
        bodies.pause(pause)
        return 0

    @op
    def increment(number):
        return bodies.increment(number, pause)

    @graph
    def made():
        number = zero()
        for _ in range(workload.size - 1):
            number = increment(number)

    return made


def _fan(workload):
    pause = workload.pause

    @op(out=DynamicOut())
    def spread():
        bodies.pause(pause)
        for number in range(workload.size):
            yield DynamicOutput(number, mapping_key=str(number))

    @op
    def increment(number):
        return bodies.increment(number, pause)

    @op
    def total(numbers):
        bodies.pause(pause)
        return sum(numbers)

    @graph
    def made():
        total(spread().map(increment).collect())

    return made


def _mixed(workload):
    @op(out=DynamicOut())
    def spread():
        for number, seconds in enumerate(lengths(workload.size)):
            yield DynamicOutput(seconds, mapping_key=str(number))

    @op
    def wait(seconds):
        return bodies.wait(seconds)

    @op
    def total(numbers):
        return sum(numbers)

    @graph
    def made():
        total(spread().map(wait).collect())

    return made


def _layers(workload):
    layers = workload.size if workload.shape is Shape.LAYERS else workload.size // WIDTH
    pause = workload.pause

    def first(number):
        @op(name=f"first_{number}")
        def place():
            bodies.pause(pause)
            return number

        return place

    @op
    def combine(left, right):
        return bodies.combine(left, right, pause)

    @graph
    def made():
        values = [first(number)() for number in range(WIDTH)]
        for layer in range(1, layers):
            values = [combine.alias(f"at_{layer}_{i}")(values[i], values[(i + 1) % WIDTH]) for i in range(WIDTH)]

    return made


def _payload(workload):
    @op
    def array():
        return bodies.array(workload.size * PER_MIB)

    @op
    def sum_(values):
        return bodies.total(values)

    @graph
    def made():
        values = array()
        for number in range(CONSUMERS):
            sum_.alias(f"sum_{number}")(values)

    return made


def _one(workload):
    @op
    def stamp():
        return bodies.stamp()

    @graph
    def made():
        stamp()

    return made


def _fibo(workload):
    @op
    def begin():
        return bodies.timed_fibo((0, 0.0), workload.number)

    @op
    def fibo(before):
        return bodies.timed_fibo(before, workload.number)

    @graph
    def made():
        found = begin()
        for _ in range(workload.size - 1):
            found = fibo(found)

    return made


_MAKERS = {
    Shape.CHAIN: _chain,
    Shape.FAN: _fan,
    Shape.LAYERS: _layers,
    Shape.PLAN: _layers,
    Shape.PAYLOAD: _payload,
    Shape.FIRST: _one,
    Shape.RUNS: _one,
    Shape.FIBO: _fibo,
    Shape.MIXED: _mixed,
}


if __name__ == "__main__":
    main()
