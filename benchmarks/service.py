"""``python -P -m benchmarks.service``: what an idle service costs, and how fast a full queue drains.

Idle: orchestrator and daemon with 200 schedules and 50 sensors that tick every 30 s; CPU as a share of one core over a
minute, memory as the proportional share (PSS) of all processes. Queue: 1,000 runs of one op on Celery, two at a time
for each of ten tags.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import start_worker
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing
from opgrid.loading import load_job
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.storage.sql.store import SqlStore

_ROOT = Path(__file__).parents[1]
_CODE = CodeTarget(module="benchmarks.service_code", working_directory=str(_ROOT))
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="that the idle service is watched")
    parser.add_argument("--runs", type=int, default=1000)
    given = parser.parse_args()
    _idle(given.seconds)
    _queue(given.runs)


@contextmanager
def _services(home: Path, broker_url: str, *commands: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    environ = {**os.environ, "OPGRID_HOME": str(home), "OPGRID_BROKER_URL": broker_url, "PYTHONPATH": str(_ROOT)}
    with ExitStack() as stack:
        started = []
        for command in commands:
            log = stack.enter_context((home / f"{command[0]}.log").open("wb"))
            args = [sys.executable, "-P", "-m", "opgrid", *command]
            started.append(subprocess.Popen(args, env=environ, stdout=log, stderr=log, cwd=home))
        try:
            yield started
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait()


def _idle(seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="opgrid-bench-") as folder, EmbeddedRedis.start() as redis:
        home = Path(folder)
        daemon = ("daemon", "run", "-m", "benchmarks.service_code")
        with _services(home, redis.url_of(0), ("orchestrator",), daemon) as started:
            time.sleep(20)  # code is loaded, and every sensor has ticked
            before = {each.pid: _cpu(each.pid) for each in started}
            time.sleep(seconds)
            total, cores = 0.0, 0.0
            for name, process in zip(("orchestrator", "daemon"), started, strict=True):
                cpu = (_cpu(process.pid) - before[process.pid]) / seconds
                memory = sum(_memory(pid) for pid in _tree(process.pid))
                total, cores = total + memory, cores + cpu
                print(f"idle {name:<13} {cpu:6.2%} of a core  {memory:6.1f} MiB")
            print(f"idle {'both':<13} {cores:6.2%} of a core  {total:6.1f} MiB", flush=True)


def _queue(count: int) -> None:
    limits = "{key: group, limit: 2, per_value: true}"
    with tempfile.TemporaryDirectory(prefix="opgrid-bench-") as folder, EmbeddedRedis.start() as redis:
        home = Path(folder)
        (home / "opgrid.yaml").write_text(
            f"concurrency: {{runs: {{max_concurrent_runs: 20, tag_concurrency_limits: [{limits}]}}}}"
        )
        KeyRing.load(str(home))
        store = SqlStore(f"sqlite:///{home / 'opgrid.db'}")
        job = load_job(_CODE, "one")
        new = [
            queued(prepare(Request(job, executor="celery", code=_CODE, tags={"group": str(number % 10)})))
            for number in range(count)
        ]
        worker = start_worker(redis.url_of(0), _CODE, str(home), concurrency=2, log=home / "worker.log")
        try:
            store.launch(new)
            begin = time.monotonic()
            with _services(home, redis.url_of(0), ("orchestrator",)):
                while store.open_runs():
                    time.sleep(0.05)
                seconds = time.monotonic() - begin
        finally:
            worker.stop()
            store.close()
    print(f"queue: {count} runs, 20 at a time, 2 of each of 10 tags: {seconds:.1f} s, {count / seconds:.0f} runs/s")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += _tree(int(child))
    return found


def _cpu(pid: int) -> float:
    """Seconds that a process and all below it have used."""
    total = 0.0
    for each in _tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def _memory(pid: int) -> float:
    """Proportional share, MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
