"""A subject's half of the talk with the benchmark: a JSON line asks for a measurement, a JSON line answers.

Each subject runs in a process of its own, with an interpreter of its own; only the standard library is needed here.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from benchmarks.workloads import WORKLOADS, Workload


@dataclass(frozen=True, slots=True)
class Outcome:
    seconds: float
    value: Any  #: has to be what the workload expects
    steps: int | None = None  #: where they are not as many as the workload says
    figures: Mapping[str, float] = field(default_factory=dict)  #: what else was measured


class Side(Protocol):
    """What a subject has to offer. Services are started when the first workload needs them."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def measure(self, workload: Workload) -> Outcome: ...
    def workers(self) -> Sequence[int]:
        """Processes whose children run ops, or that run them."""
        ...

    def coordinator(self) -> int:
        """The process that decides what runs next."""
        ...


def serve(side: AbstractContextManager[Side], packages: Sequence[str]) -> None:
    """Answer until the benchmark closes our standard input."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what others print is not for the benchmark
    out.write(json.dumps({"versions": {name: version(name) for name in packages}}) + "\n")
    with side as it:
        for line in sys.stdin:
            out.write(json.dumps(_answer(it, json.loads(line))) + "\n")


def _answer(side: Side, request: dict[str, Any]) -> dict[str, Any]:
    workload = WORKLOADS[request["workload"]]
    if request.get("size"):
        workload = workload.sized(request["size"])
    try:
        outcome = side.measure(workload)
        if outcome.value != workload.expected:
            raise AssertionError(f"{workload.key} gave {outcome.value!r}, not {workload.expected!r}")
        return {
            "seconds": outcome.seconds,
            "steps": outcome.steps or workload.steps,
            "coordinator": side.coordinator(),
            "workers": list(side.workers()),
            **outcome.figures,
        }
    except Exception:
        return {"error": traceback.format_exc()}


def planned(workload: Workload, plan: Callable[[], Any]) -> Outcome:
    """Times ``plan`` and weighs what it returns."""
    before = _resident()
    began = time.perf_counter()
    made = plan()
    took = time.perf_counter() - began
    grown = _resident() - before
    del made
    return Outcome(took, workload.size, figures={"bytes_a_step": grown / workload.size})


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Stamp:
    """The file into which the op of a job of one op writes when it began."""

    def __init__(self) -> None:
        handle, self.path = tempfile.mkstemp(prefix="stamp-")
        os.close(handle)
        atexit.register(os.unlink, self.path)
        os.environ["BENCH_STAMP"] = self.path

    def clear(self) -> float:
        """Now."""
        os.truncate(self.path, 0)
        return time.time()

    def read(self) -> float:
        return float(Path(self.path).read_text().split()[0])
