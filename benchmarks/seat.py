"""The benchmark's half of the talk with a subject: its process is started, asked, weighed and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from benchmarks import processes
from benchmarks.environments import ROOT
from benchmarks.subjects import Subject

#: Seconds until a subject that does not answer is killed.
_PATIENCE: Final = 300.0


def _is_left_out(variable: str) -> bool:
    """Settings of opgrid, and the one with which Python compiles what it imports anew in each process."""
    return variable.startswith("OPGRID_") or variable == "PYTHONDONTWRITEBYTECODE"


class SubjectFailed(Exception):
    """A measurement ended with an error, or with its process."""


class Seat:
    def __init__(self, subject: Subject, environ: Mapping[str, str], redis_pid: int | None = None) -> None:
        """Raises NotInstalled and SubjectFailed."""
        self.subject = subject
        self._redis_pid = redis_pid
        self._pids: tuple[int, list[int]] | None = None
        self._log = tempfile.NamedTemporaryFile(prefix=f"bench-{subject.key}-", suffix=".log")  # noqa: SIM115
        self._process = subprocess.Popen(
            subject.command(),
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not _is_left_out(name)} | {**environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            text=True,
        )
        try:
            self.versions: Mapping[str, str] = self._hear()["versions"]
        except SubjectFailed:
            self.close()
            raise

    def measure(self, workload: str, size: int) -> dict[str, Any]:
        """Seconds, steps and what else the subject tells; and, but for the first time, what it cost. Raises
        SubjectFailed.
        """
        coordinator, children, everybody = self._clear()
        before = [processes.cpu_seconds(each) for each in (coordinator, everybody, self._redis)]
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"workload": workload, "size": size}) + "\n")
            self._process.stdin.flush()
        answer = self._hear()
        if "error" in answer:
            raise SubjectFailed(answer["error"])
        drives, workers = answer.pop("coordinator"), answer.pop("workers")
        if self._pids == (drives, workers):
            after = [processes.cpu_seconds(each) for each in (coordinator, everybody, self._redis)]
            used = [late - early for late, early in zip(after, before, strict=True)]
            costs = {"coordinator_mib": processes.peak_mib(coordinator), "coordinator_cpu": used[0]}
            if workers:
                costs |= {"worker_mib": processes.peak_mib(children), "worker_cpu": used[1]}
            if self._redis:
                costs["redis_cpu"] = used[2]
            answer = {**costs, **answer}
        self._pids = drives, workers
        return answer

    @property
    def resident_mib(self) -> float:
        """Of what decides, now."""
        return processes.resident_mib(self._pids[0]) if self._pids else 0.0

    @property
    def _redis(self) -> list[int]:
        return [self._redis_pid] if self._redis_pid is not None and self.subject.redis is not None else []

    def _clear(self) -> tuple[list[int], list[int], list[int]]:
        """The process that decides, those that run ops, and those with their parents; their peaks begin anew."""
        if self._pids is None:
            return [], [], []
        coordinator, workers = [self._pids[0]], self._pids[1]
        children = processes.leaves(workers)
        everybody = [pid for worker in workers for pid in processes.family(worker)]
        processes.clear_peaks([*coordinator, *children])
        return coordinator, children, everybody

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        patience = threading.Timer(_PATIENCE, self._kill)
        patience.start()
        line = self._process.stdout.readline()
        patience.cancel()
        if not line:
            raise SubjectFailed(f"{self.subject.title} ended with {self._process.wait()}: {self._said()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _said(self) -> str:
        self._log.flush()
        with open(self._log.name, errors="replace") as log:
            return log.read()[-2000:].strip()

    def close(self) -> None:
        """It, and all that it started, is gone then; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._kill()  # also what it leaves behind: commands that start a worker may end before it
        self._process.wait()
        self._log.close()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
