"""The census while processes are killed: it ends with the report of an undisturbed one, and no step counts twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from examples.stdlib_census.jobs import census
from opgrid.broker.fleet import WorkerProcess, start_worker
from opgrid.contracts.events import EventType
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing

_ROOT = Path(__file__).parents[2]
_FILES = 250
_KILL_AFTER = 60
_MODULE = "examples.stdlib_census.jobs"


def _config(folder: Path) -> dict[str, Any]:
    return {"ops": {"list_files": {"config": {"limit": _FILES}}, "write_report": {"config": {"output": str(folder)}}}}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    result = census.execute_in_process(run_config=_config(tmp_path_factory.mktemp("expected")))
    digest: str = result.output_for_node("write_report", "digest")
    return digest


class Census:
    """``opgrid job execute`` of the census as a process, whose lines are read while it runs: where nobody reads on, its
    pipe is full before its steps have come to their end.
    """

    def __init__(self, folder: Path, executor: str, broker_url: str | None = None) -> None:
        self.report = folder / "report"
        self.environ = {key: value for key, value in os.environ.items() if not key.startswith("OPGRID_")}
        self.environ["OPGRID_HOME"] = str(folder / "home")
        if broker_url is not None:
            self.environ["OPGRID_BROKER_URL"] = broker_url
        arguments = ["job", "execute", "-m", _MODULE, "-d", str(_ROOT), "-j", "census", "--executor", executor]
        self.process = subprocess.Popen(
            [*self._opgrid(), *arguments, "--config-json", json.dumps(_config(self.report))],
            env=self.environ,
            stdout=subprocess.PIPE,
            pipesize=4096,
            text=True,
        )

    @staticmethod
    def _opgrid() -> list[str]:
        return [sys.executable, "-P", "-m", "opgrid"]

    def read_until_measured(self, count: int) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "STEP_SUCCESS" in line and "measure_file[" in line:
                count -= 1
                if count == 0:
                    return
        raise AssertionError(f"the census ended before; its exit code is {self.process.wait()}")

    def end(self) -> int:
        self.process.communicate(timeout=120)
        return self.process.returncode

    def opgrid(self, *arguments: str) -> str:
        ended = subprocess.run(
            [*self._opgrid(), *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    @property
    def run_id(self) -> str:
        (run,) = json.loads(self.opgrid("run", "list", "--json"))
        found: str = run["run_id"]
        return found

    def check(self, digest: str) -> list[dict[str, Any]]:
        """That the run succeeded with this report, and that every step did once; gives its events."""
        run = json.loads(self.opgrid("run", "show", self.run_id, "--json"))
        assert (run["status"], run["steps"]) == ("SUCCESS", {"SUCCESS": _FILES + 4})
        events: list[dict[str, Any]] = run["events"]
        succeeded = Counter(event["step"] for event in events if event["type"] == "STEP_SUCCESS")
        assert len(succeeded) == _FILES + 4
        assert set(succeeded.values()) == {1}
        assert json.loads((self.report / "report.json").read_text())["digest"] == digest
        return events


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def workers(redis_url: str, tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    home = tmp_path / "home"
    home.mkdir()
    KeyRing.load(str(home))
    with ExitStack() as stack:
        started = []
        for name in ("one", "two"):
            worker = start_worker(
                redis_url,
                CodeTarget(module=_MODULE, working_directory=str(_ROOT)),
                str(home),
                name=f"{name}-{os.getpid()}",
                environ={"OPGRID_LEASE_TTL": "2"},
                log=home / f"{name}.log",
                wait=False,
            )
            stack.callback(worker.kill)
            started.append(worker)
        for worker in started:
            worker.wait_until_ready()
        yield started


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_a_killed_pool_child(tmp_path: Path, expected: str) -> None:
    running = Census(tmp_path, "multiprocess")
    running.read_until_measured(_KILL_AFTER)
    os.kill(_children(running.process.pid)[0], signal.SIGKILL)
    assert running.end() == 0
    events = running.check(expected)
    lost = [event for event in events if event["type"] == "STEP_LOST"]
    assert len(lost) <= 1  # none, when it was between two steps
    assert all("SIGKILL" in json.dumps(event) for event in lost)


def test_a_killed_worker(tmp_path: Path, redis_url: str, workers: list[WorkerProcess], expected: str) -> None:
    running = Census(tmp_path, "celery", redis_url)
    running.read_until_measured(_KILL_AFTER)
    workers[0].kill()
    assert running.end() == 0
    running.check(expected)


@pytest.mark.parametrize("executor", ["multiprocess", "celery"])
def test_a_killed_coordinator_is_resumed(
    executor: str, tmp_path: Path, redis_url: str, expected: str, request: pytest.FixtureRequest
) -> None:
    if executor == "celery":
        request.getfixturevalue("workers")
    running = Census(tmp_path, executor, redis_url if executor == "celery" else None)
    running.read_until_measured(_KILL_AFTER)
    running.process.kill()
    running.process.communicate()
    run_id = running.run_id
    before = json.loads(running.opgrid("run", "show", run_id, "--json"))
    assert before["status"] == "STARTED"
    running.opgrid("run", "resume", run_id)
    events = running.check(expected)
    assert sum(event["type"] == EventType.RUN_START.value for event in events) == 1
