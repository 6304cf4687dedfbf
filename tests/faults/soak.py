"""``make soak``: mixed runs under random kills, for a long time. Every run ends as it has to, and no process grows.

Each second a run may be launched: fan-outs of chains, poison, time-outs, cancels. Each few seconds something is broken:
a pool process, a worker, an orchestrator, Redis; what was killed is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from opgrid.contracts.events import StepSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.services.submission import cancel
from tests.faults.__main__ import write
from tests.faults.arena import ROOT, Arena, Broken, descendants, kill

EXPECTED = {
    "mixed": {RunStatus.SUCCESS},
    "hanging": {RunStatus.SUCCESS},
    "poisoned": {RunStatus.FAILURE},
    "flaky": {RunStatus.SUCCESS},
    "failing": {RunStatus.FAILURE},
    "small": {RunStatus.SUCCESS},
    "canceled": {RunStatus.CANCELED, RunStatus.SUCCESS},  # it may have been over before
}

KINDS = list(EXPECTED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="the figures into docs/reliability.md")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="opgrid-soak-"))
    with ExitStack() as stack:
        arena = Arena(folder, f"sqlite:///{folder / 'opgrid.db'}", stack)
        told = _soak(arena, given.minutes * 60, random.Random(given.seed))
    print(json.dumps(told, indent=2))
    if given.write:
        write({"soak": _worded(told)})
    return 0 if not told["broken"] else 1


def _worded(told: dict[str, Any]) -> str:
    def listed(counts: dict[str, Any]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

    rows = {
        "minutes": told["minutes"],
        "runs": listed(told["runs"]),
        "how they ended": listed(told["ends"]),
        "killed": listed(told["faults"]),
        "runs that ended otherwise than they must": len(told["broken"]),
        "MiB, medians of the first and of the last quarter": listed(told["memory, MiB"]),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _soak(arena: Arena, seconds: float, chance: random.Random) -> dict[str, Any]:
    (arena.folder / "opgrid.yaml").write_text("concurrency: {runs: {max_concurrent_runs: 4}}")
    arena.service(orchestrators=2, workers=2)
    runs: dict[RunId, str] = {}
    faults: Counter[str] = Counter()
    memory: list[tuple[float, dict[str, float]]] = []
    begin = time.monotonic()
    next_fault, next_look = 5.0, 0.0
    while (now := time.monotonic() - begin) < seconds:
        if len(arena.store.open_runs()) < 6:
            kind, run_id = _launch(arena, chance)
            runs[run_id] = kind
        if now >= next_fault:
            faults[_break(arena, chance)] += 1
            next_fault = now + chance.uniform(3.0, 10.0)
        if now >= next_look:
            memory.append((now, _memory(arena)))
            next_look = now + 5.0
        time.sleep(0.3)
    broken = []
    for run_id, kind in runs.items():
        try:
            status = arena.ended(run_id, 120)
            arena.sound(run_id)
            if status not in EXPECTED[kind]:
                raise Broken(f"it ended {status.value}")
            wins = Counter(event.step for event in arena.of(run_id, StepSucceeded))
            if kind == "mixed" and len(wins) != 22:
                raise Broken(f"{len(wins)} of 22 steps succeeded")
        except Broken as error:
            broken.append(f"{kind} {run_id}: {error}")
    return {
        "minutes": round(seconds / 60, 1),
        "runs": dict(Counter(runs.values())),
        "ends": dict(Counter(arena.status(run_id).value for run_id in runs)),
        "faults": dict(faults),
        "memory, MiB": _grown(memory),
        "broken": broken,
    }


def _launch(arena: Arena, chance: random.Random) -> tuple[str, RunId]:
    kind = chance.choices(KINDS, [10, 1, 1, 2, 2, 3, 2])[0]
    if kind == "small":
        return kind, arena.launch("small", {"ops": {"one": {"inputs": {"number": 1}}}})
    if kind != "canceled":
        return kind, arena.launch(kind, {} if kind == "mixed" else None)
    run_id = arena.launch("mixed", {})
    time.sleep(chance.random() * 1.5)
    record = arena.store.run(run_id)
    if record is not None and not record.status.is_final:
        cancel(arena.store, record, "soak")
    return kind, run_id


def _break(arena: Arena, chance: random.Random) -> str:
    fault = chance.choices(["child", "worker", "orchestrator", "redis"], [6, 3, 2, 1])[0]
    if fault == "redis":
        arena.redis.restart(chance.random())
    elif fault == "orchestrator":
        place = chance.randrange(len(arena.processes))
        arena.processes[place].send_signal(signal.SIGKILL)
        arena.processes[place].wait()
        del arena.processes[place]
        arena.start("orchestrator")
    elif fault == "worker":
        place = chance.randrange(len(arena.workers))
        arena.workers[place].kill()
        del arena.workers[place]
        arena.worker()
    else:
        family = descendants(chance.choice(arena.workers).pid)[1:]
        children = [pid for pid in family if b"worker.watch" not in _command(pid)]
        if children:
            kill(chance.choice(children))
    return fault


def _command(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


def _memory(arena: Arena) -> dict[str, float]:
    """The largest of each kind, MiB."""
    found = {
        "orchestrator": max((_resident(each.pid) for each in arena.processes), default=0.0),
        "worker": max((_resident(each.pid) for each in arena.workers), default=0.0),
        "child": max((_resident(pid) for each in arena.workers for pid in descendants(each.pid)[1:]), default=0.0),
    }
    return {name: value for name, value in found.items() if value}


def _resident(pid: int) -> float:
    try:
        lines = Path("/proc", str(pid), "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def _grown(memory: list[tuple[float, dict[str, float]]]) -> dict[str, str]:
    """Medians of the first and of the last quarter."""
    quarter = max(1, len(memory) // 4)
    told = {}
    for name in ("orchestrator", "worker", "child"):
        first = [each[name] for _, each in memory[:quarter] if name in each]
        last = [each[name] for _, each in memory[-quarter:] if name in each]
        if first and last:
            told[name] = f"{median(first):.0f} -> {median(last):.0f}"
    return told


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
