"""opgrid as a subject: as a service does it on Celery, as ``opgrid job execute`` does it on local executors, and as
``execute_in_process`` without a log.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from benchmarks import processes
from benchmarks.jobs import job_for, job_of, last_nodes
from benchmarks.speaking import Outcome, Stamp, planned, serve
from benchmarks.workloads import Shape, Workload
from opgrid import JobDefinition
from opgrid.broker.fleet import WorkerProcess, start_worker
from opgrid.contracts.executor import Executor, ExecutorSetup
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing
from opgrid.plugins import executor_class
from opgrid.steps.scope import RunScope
from orchestrator.cli.memory import collect_rarely
from orchestrator.planner.compile import compile
from orchestrator.planner.snapshot import take
from orchestrator.services.execute import drive_here
from orchestrator.services.launching import Prepared, Request, drive_new, prepare
from orchestrator.services.removal import Removal
from orchestrator.services.results import JobExecutionResult
from orchestrator.services.submission import queued
from orchestrator.storage.sql.store import SqlStore

_ROOT = Path(__file__).parents[1]
_CODE = CodeTarget(module="benchmarks.jobs", working_directory=str(_ROOT))
_PROCESSES = 2
_PATIENCE = 120.0
_LOOK = 0.02  #: seconds; what is measured is written down by others, and who looks takes the processor from them


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ours", description=__doc__)
    parser.add_argument("executor", choices=["celery", "multiprocess", "in_process", "in_memory"])
    parser.add_argument("--single", action="store_true", help="one step a message")
    parser.add_argument("--postgresql", action="store_true", help="the log in BENCH_DATABASE instead of SQLite")
    given = parser.parse_args()
    packages = ["celery", "redis", "SQLAlchemy"]
    if given.executor == "in_memory":
        serve(InMemory(), packages)
    else:
        database = os.environ["BENCH_DATABASE"] if given.postgresql else None
        serve(Durable(given.executor, given.single, os.environ.get("BENCH_REDIS"), database), packages)


class Durable:
    """With the log in a database. Workers and connections stay from one run to the next, as those of a service do."""

    def __init__(self, executor: str, single: bool, redis: str | None, database: str | None) -> None:
        self._executor, self._single = executor, single
        self._redis, self._given_database = redis, database
        self._closing = ExitStack()
        self._worker: WorkerProcess | None = None
        self._open: dict[str, Executor] = {}
        self._service: subprocess.Popen[bytes] | None = None
        self._drives: int = os.getpid()

    def __enter__(self) -> Self:
        self._home = Path(self._closing.enter_context(tempfile.TemporaryDirectory(prefix="opgrid-bench-")))
        self._database = self._given_database or f"sqlite:///{self._home / 'opgrid.db'}"
        KeyRing.load(str(self._home))
        self._stamp = Stamp()
        self._store = SqlStore(self._database)
        self._closing.callback(self._store.close)
        collect_rarely()  # as the service and the command line do
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def coordinator(self) -> int:
        return self._drives

    def workers(self) -> Sequence[int]:
        return [self._worker.pid] if self._worker is not None else []

    def measure(self, workload: Workload) -> Outcome:
        self._drives = os.getpid()
        match workload.shape:
            case Shape.PLAN:
                return planned(workload, lambda: _define_and_plan(workload))
            case Shape.FIRST | Shape.RUNS if self._executor == "celery":
                return self._through_the_service(workload)
            case Shape.FIRST:
                return self._first(workload)
            case Shape.RUNS:
                return self._one_after_the_other(workload)
            case _:
                return self._run(workload)

    def repeat(self, workload: Workload) -> None:
        """Run it once more, and look at nothing that came of it."""
        self._drive(self._prepare(job_for(workload.key, self._single)))

    # ---- runs ------------------------------------------------------------------------------------------------------

    def _run(self, workload: Workload) -> Outcome:
        job = job_for(workload.key, self._single)
        if self._executor == "celery":
            self._start_worker()
        before = processes.cpu_seconds_below(os.getpid())
        began = time.perf_counter()
        prepared = self._drive(self._prepare(job))
        took = time.perf_counter() - began
        used = processes.cpu_seconds_below(os.getpid()) - before
        record = self._store.run(prepared.brief.run_id)
        assert record is not None
        assert record.started is not None
        assert record.ended is not None
        figures = {"run_seconds": record.ended - record.started}
        if self._executor == "multiprocess":
            figures["worker_cpu"] = used
        value, more = self._value(workload, prepared)
        if workload.shape is Shape.PAYLOAD:  # as the others forget what is large
            Removal(self._store, self._home, self._redis).remove([prepared.brief.run_id])
        return Outcome(took, value, figures={**figures, **more})

    def _prepare(self, job: JobDefinition) -> Prepared:
        return prepare(Request(job, executor=self._executor, code=_CODE))

    def _drive(self, prepared: Prepared) -> Prepared:
        if self._executor != "celery":
            drive_here(prepared, self._store, self._home, None)
            return prepared
        executor = self._open.get("celery") or self._make_executor()
        brief = msgspec.structs.replace(prepared.brief, stream="bench")
        prepared = Prepared(brief, prepared.plan, prepared.snapshot, prepared.job, prepared.code)
        drive_new(prepared, {"celery": executor}, self._store)
        return prepared

    def _make_executor(self) -> Executor:
        setup = ExecutorSetup({}, str(self._home), _CODE, None, self._redis, "bench", None)
        executor = executor_class("celery").create(setup)
        self._open["celery"] = executor
        self._closing.callback(executor.close)
        return executor

    def _value(self, workload: Workload, prepared: Prepared) -> tuple[Any, dict[str, float]]:
        record = self._store.run(prepared.brief.run_id)
        assert record is not None
        with ExitStack() as closing:
            scope = RunScope(prepared.brief, prepared.job, home=str(self._home), broker_url=self._redis)
            closing.enter_context(scope)
            events = list(self._store.read(prepared.brief.run_id))
            return _value(workload, JobExecutionResult(prepared.job, record, events, scope.load, lambda: None))

    def _first(self, workload: Workload) -> Outcome:
        began = self._stamp.clear()
        self._drive(self._prepare(job_for(workload.key)))
        return Outcome(self._stamp.read() - began, 1)

    def _one_after_the_other(self, workload: Workload) -> Outcome:
        began = time.perf_counter()
        done = 0
        for _ in range(workload.size):
            prepared = self._drive(self._prepare(job_for(workload.key)))
            record = self._store.run(prepared.brief.run_id)
            done += record is not None and record.status.value == "SUCCESS"
        return Outcome(time.perf_counter() - began, done)

    # ---- the service -----------------------------------------------------------------------------------------------

    def _through_the_service(self, workload: Workload) -> Outcome:
        """The runs go into the queue of an orchestrator, as those of ``opgrid job launch`` and of schedules do."""
        self._start_worker()
        service = self._start_service()
        self._drives = service.pid
        job = job_for(workload.key)
        began = self._stamp.clear()
        new = [queued(self._prepare(job)) for _ in range(workload.size)]
        self._store.launch(new)
        until = time.monotonic() + _PATIENCE
        while self._store.open_runs():
            if time.monotonic() > until:
                raise TimeoutError(f"the runs are not over after {_PATIENCE:.0f} s")
            time.sleep(_LOOK)
        records = [self._store.run(each.record.run_id) for each in new]
        done = [each for each in records if each is not None and each.status.value == "SUCCESS"]
        if workload.shape is Shape.FIRST:
            return Outcome(self._stamp.read() - began, len(done))
        return Outcome(max(each.ended or 0.0 for each in done) - began, len(done))

    def _start_worker(self) -> None:
        if self._worker is None:
            assert self._redis is not None
            log = self._home / "worker.log"
            self._worker = start_worker(self._redis, _CODE, str(self._home), concurrency=_PROCESSES, log=log)
            self._closing.callback(self._worker.stop)

    def _start_service(self) -> subprocess.Popen[bytes]:
        if self._service is None:
            (self._home / "opgrid.yaml").write_text("concurrency: {runs: {max_concurrent_runs: 100}}\n")
            environ = {
                **os.environ,
                "OPGRID_HOME": str(self._home),
                "OPGRID_BROKER_URL": str(self._redis),
                "OPGRID_DATABASE_URL": self._database,
            }
            command = [sys.executable, "-P", "-m", "opgrid", "orchestrator"]
            with (self._home / "orchestrator.log").open("wb") as log:
                service = subprocess.Popen(command, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            self._service = service

            def stop() -> None:
                service.terminate()
                service.wait()

            self._closing.callback(stop)
        return self._service


class InMemory:
    """``execute_in_process``: no database, no files, outputs in memory."""

    def __enter__(self) -> Self:
        self._stamp = Stamp()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def coordinator(self) -> int:
        return os.getpid()

    def workers(self) -> Sequence[int]:
        return []

    def measure(self, workload: Workload) -> Outcome:
        if workload.shape is Shape.PLAN:
            return planned(workload, lambda: _define_and_plan(workload))
        job = job_for(workload.key)
        began = time.perf_counter()
        launched = self._stamp.clear()
        if workload.shape is Shape.RUNS:
            done = sum(job.execute_in_process().success for _ in range(workload.size))
            return Outcome(time.perf_counter() - began, done)
        result = job.execute_in_process()
        took = time.perf_counter() - began
        if workload.shape is Shape.FIRST:
            return Outcome(self._stamp.read() - launched, 1)
        value, more = _value(workload, result)
        return Outcome(took, value, figures=more)


def _define_and_plan(workload: Workload) -> object:
    job = job_of(workload)
    resolution = job.resolve(None)
    return job, compile(take(job, resolution, {}, ()))


def _value(workload: Workload, result: JobExecutionResult) -> tuple[Any, dict[str, float]]:
    """What came out, and what else it tells."""
    if not result.success:
        raise AssertionError(f"run {result.run_id} ended as {result.run.status.value}: {result.all_events[-3:]}")
    found = [result.output_for_node(name) for name in last_nodes(workload)]
    if workload.shape is Shape.FIBO:
        return found[0][0], {"body_seconds": found[0][1]}
    if workload.shape is Shape.LAYERS:
        return sum(found), {}
    return found if workload.shape is Shape.PAYLOAD else found[0], {}


if __name__ == "__main__":
    main()
