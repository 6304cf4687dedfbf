"""``python -P -m benchmarks.profiling``: where the processor time of a step goes, in what decides and in what works.

py-spy looks at both a thousand times a second while a fan-out runs again and again; each look counts for the innermost
part of the code that is named below, and shares are laid over the processor time that the kernel counted. With --write
into docs/explanation/where-the-time-goes.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import processes
from benchmarks.environments import ROOT, interpreter
from benchmarks.ours import Durable
from benchmarks.workloads import WORKLOADS
from opgrid.broker.embedded import EmbeddedRedis

PAGE: Final = ROOT / "docs" / "explanation" / "where-the-time-goes.md"
BEGIN, END = "<!-- profile: begin -->", "<!-- profile: end -->"
_RATE: Final = 1000

#: From a piece of a frame to the part that it belongs to; frames are looked at from the innermost.
Parts = Sequence[tuple[str, str]]
COORDINATOR: Final[Parts] = (
    ("site-packages/redis/", "Redis: client and waiting for it"),
    ("opgrid/broker/scripts", "Redis: client and waiting for it"),
    ("opgrid/broker/protocol", "Redis: client and waiting for it"),
    ("opgrid/io/envelope", "messages and events: encoding, signing, checking"),
    ("opgrid/broker/messages", "messages and events: encoding, signing, checking"),
    ("opgrid/contracts/wire", "messages and events: encoding, signing, checking"),
    ("orchestrator/storage", "database: rows and statements"),
    ("sqlalchemy", "database: rows and statements"),
    ("orchestrator/planner", "planning"),
    ("orchestrator/engine/machine", "deciding: the machine"),
    ("orchestrator/engine/instances", "deciding: the machine"),
    ("orchestrator/engine", "the loop"),
    ("executors/celery", "the executor: batches, flights, leases"),
)
WORKER: Final[Parts] = (
    ("benchmarks/jobs", "the op"),
    ("benchmarks/bodies", "the op"),
    ("site-packages/redis/", "Redis: client and waiting for it"),
    ("opgrid/broker/scripts", "Redis: client and waiting for it"),
    ("opgrid/broker/protocol", "Redis: client and waiting for it"),
    ("opgrid/io", "values: pickling, signing, keys"),
    ("opgrid/broker/messages", "messages and events: encoding, signing, checking"),
    ("opgrid/contracts/wire", "messages and events: encoding, signing, checking"),
    ("opgrid/steps", "the step: inputs, types, contexts, events"),
    ("opgrid/definitions", "the step: inputs, types, contexts, events"),
    ("worker/", "claims, leases, batches"),
    ("billiard", "Celery"),
    ("celery", "Celery"),
)
_REST: Final = "everything else"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("--workload", choices=["chain", "fan-1000", "fan-5000", "layers"], default="fan-5000")
    parser.add_argument("--seconds", type=float, default=15.0, help="of profiling, for each of both ways to send")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    spy = str(Path(interpreter("profiling")).parent / "py-spy")
    parts = []
    for single, title in ((False, "Many steps in a message"), (True, "One step a message")):
        table = "\n".join(_profile(spy, given.workload, single, given.seconds))
        parts.append(f"### {title}, {WORKLOADS[given.workload].title}\n\n{table}")
    text = "\n\n".join(parts)
    print(text)
    if given.write:
        page = PAGE.read_text()
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _profile(spy: str, workload: str, single: bool, seconds: float) -> Iterator[str]:
    work = WORKLOADS[workload]
    with (
        EmbeddedRedis.start() as redis,
        Durable("celery", single, redis.url, None) as side,
        tempfile.TemporaryDirectory(prefix="opgrid-profile-") as folder,
    ):
        side.measure(work)  # whether the results are right
        (main_process,) = side.workers()
        pids = [os.getpid(), *processes.leaves([main_process]), main_process, redis.process.pid]
        before = [processes.cpu_seconds([pid]) for pid in pids]
        watching = [_watch(spy, pid, Path(folder) / str(pid), seconds) for pid in pids[:-1]]
        done = threading.Event()

        def wait() -> None:
            for each in watching:
                each.wait()
            done.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        runs = 0
        while not done.is_set():
            side.repeat(work)
            runs += 1
        waiter.join()
        steps = runs * work.steps
        cpu = [(processes.cpu_seconds([pid]) - early) / steps * 1e6 for pid, early in zip(pids, before, strict=True)]
        stacks = {pid: Path(folder) / str(pid) for pid in pids[:-1]}
        yield "| | µs a step |"
        yield "|---|---|"
        yield f"| **what decides** | **{cpu[0]:,.0f}** |"
        yield from _rows(_shares([stacks[pids[0]]], COORDINATOR), cpu[0])
        children = pids[1:-2]
        worked = sum(cpu[1:-2])
        yield f"| **pool processes of the worker** | **{worked:,.0f}** |"
        yield from _rows(_shares([stacks[pid] for pid in children], WORKER), worked)
        yield f"| **main process of the worker: Celery** | **{cpu[-2]:,.0f}** |"
        yield f"| **Redis** | **{cpu[-1]:,.0f}** |"


def _watch(spy: str, pid: int, path: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [spy, "record", "--format", "raw", "--rate", str(_RATE), "--duration", str(int(seconds)), "--nonblocking"]
    command += ["--pid", str(pid), "--output", str(path)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _shares(files: Sequence[Path], parts: Parts) -> Mapping[str, float]:
    counts: Counter[str] = Counter()
    for file in files:
        if file.exists():
            for line in file.read_text().splitlines():
                stack, _, count = line.rpartition(" ")
                counts[part_of(stack.split(";"), parts)] += int(count)
    every = sum(counts.values()) or 1
    return {name: count / every for name, count in counts.most_common()}


def part_of(stack: Sequence[str], parts: Parts) -> str:
    for frame in reversed(stack):
        for piece, name in parts:
            if piece in frame:
                return name
    return _REST


def _rows(shares: Mapping[str, float], cpu: float) -> Iterator[str]:
    for name, share in shares.items():
        if share >= 0.005:
            yield f"| {name} | {share * cpu:,.0f} |"


if __name__ == "__main__":
    main()
