"""One trial: a database, a Redis behind proxies, orchestrators and workers as processes, and what is asked of a run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from opgrid.broker.connection import BrokerAddress, connect
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import WorkerProcess, start_worker
from opgrid.contracts.events import AnyEvent, StepEvent, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.ids import RunId
from opgrid.io.keys import KeyRing
from opgrid.loading import load_job
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.storage.sql.store import SqlStore
from tests.faults.proxy import Proxy

ROOT = Path(__file__).parents[2]
CODE = CodeTarget(module="tests.faults.jobs", working_directory=str(ROOT))
LEASE_TTL = 1.0
PATIENCE = 90.0


class Broken(AssertionError):
    """The outcome is not what was promised."""


class Arena:
    """Made anew for each trial. ``chance`` decides the moments."""

    def __init__(self, folder: Path, database_url: str, seed: int, stack: ExitStack) -> None:
        self.folder = folder
        self.database_url = database_url
        self.chance = random.Random(seed)
        self._stack = stack
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[WorkerProcess] = []
        KeyRing.load(str(folder))
        self.redis = stack.enter_context(EmbeddedRedis.start(data=folder / "redis"))
        self._target = Path(BrokerAddress.parse(self.redis.url).place)
        self.to_workers = self._proxy("w.sock")
        self.to_orchestrators = self._proxy("o.sock")
        self.store = stack.enter_context(closing(SqlStore(database_url)))
        stack.callback(self._end)
        (folder / "marks").mkdir()
        self.fault_at = 0.0  #: Unix seconds
        self.figures: dict[str, float] = {}

    # ---- who takes part --------------------------------------------------------------------------------------------

    def _proxy(self, name: str) -> Proxy:
        made = Proxy(self.redis.folder / name, self._target)
        self._stack.callback(made.close)
        return made

    def worker(self, concurrency: int = 2, environ: dict[str, str] | None = None) -> WorkerProcess:
        name = f"w{len(self.workers)}"
        made = start_worker(
            f"redis+socket://{self.to_workers.path}?virtual_host=0",
            CODE,
            str(self.folder),
            name=name,
            concurrency=concurrency,
            environ={"OPGRID_LEASE_TTL": str(LEASE_TTL), **(environ or {})},
            options=["--cancel-grace", "1"],
            log=self.folder / f"{name}.log",
            wait=False,
        )
        self.workers.append(made)
        return made

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("OPGRID_")}
        environ |= {
            "OPGRID_HOME": str(self.folder),
            "OPGRID_DATABASE_URL": self.database_url,
            "OPGRID_BROKER_URL": f"redis+socket://{self.to_orchestrators.path}?virtual_host=0",
            "OPGRID_LEASE_TTL": str(LEASE_TTL),
            "PYTHONPATH": str(ROOT),
        }
        with (self.folder / f"{command[0]}-{len(self.processes)}.log").open("wb") as log:
            args = [sys.executable, "-P", "-m", "opgrid", *command]
            made = subprocess.Popen(args, env=environ, stdout=log, stderr=log, cwd=self.folder)
        self.processes.append(made)
        return made

    def service(self, orchestrators: int = 1, workers: int = 2) -> None:
        """Start them; returns when they are ready."""
        for _ in range(orchestrators):
            self.start("orchestrator")
        for _ in range(workers):
            self.worker()
        for each in self.workers:
            each.wait_until_ready()
        self.until(lambda: "queue" in self.store.held(), "no orchestrator came up")

    def _end(self) -> None:
        for worker in self.workers:
            family = descendants(worker.pid)
            worker.kill()
            for pid in family:
                kill(pid)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    # ---- runs ------------------------------------------------------------------------------------------------------

    def launch(self, job: str = "mixed", run_config: Any = None, **more: Any) -> RunId:
        if job == "mixed" and run_config is None:
            given = {"config": {"mark": str(self.folder / "marks")}}
            run_config = {"ops": dict.fromkeys(("spread", "work", "follow", "total"), given)}
        request = Request(load_job(CODE, job), run_config, code=CODE, **more)
        (run_id,) = self.store.launch([queued(prepare(request))])
        return run_id

    def events(self, run_id: RunId) -> list[AnyEvent]:
        return list(self.store.read(run_id))

    def of(self, run_id: RunId, kind: type[Any]) -> list[Any]:
        return [event for event in self.events(run_id) if isinstance(event, kind)]

    def status(self, run_id: RunId) -> RunStatus:
        run = self.store.run(run_id)
        if run is None:
            raise Broken(f"run {run_id} is gone")
        return run.status

    def ended(self, run_id: RunId, seconds: float = PATIENCE) -> RunStatus:
        self.until(lambda: self.status(run_id).is_final, "the run goes on for ever", seconds)
        return self.status(run_id)

    def until(self, there: Callable[[], object], otherwise: str, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not there():
            if time.monotonic() > end:
                raise Broken(otherwise)
            time.sleep(0.02)

    def a_moment_in(self, run_id: RunId, least: int = 1, most: int = 18) -> None:
        """Wait until some of its steps have started, and a little longer."""
        wanted = self.chance.randint(least, most)
        self.until(
            lambda: len(self.of(run_id, StepStarted)) >= wanted or self.status(run_id).is_final, "steps do not start"
        )
        time.sleep(self.chance.random() * 0.1)

    def running(self, run_id: RunId) -> list[StepStarted]:
        """Attempts that have begun and not ended, of those that were recorded."""
        going: dict[str, StepStarted] = {}
        for event in self.events(run_id):
            if isinstance(event, StepStarted):
                going[event.step] = event
            elif isinstance(event, StepEvent) and event.TYPE.value in _ENDS and event.step in going:
                del going[event.step]
        return list(going.values())

    # ---- what is asked ---------------------------------------------------------------------------------------------

    def succeeded(self, run_id: RunId, once: bool = True) -> None:
        """SUCCESS, with the right sum; ``once``: every step succeeded once. And, whatever happened: no attempt number
        came twice, and nothing succeeded in an attempt that had ended.
        """
        status = self.ended(run_id)
        if status is not RunStatus.SUCCESS:
            raise Broken(f"the run ended {status.value}")
        self.sound(run_id)
        wins = Counter(event.step for event in self.of(run_id, StepSucceeded))
        if len(wins) != 22:
            raise Broken(f"{len(wins)} steps succeeded, not 22")
        if once and set(wins.values()) != {1}:
            raise Broken(f"steps succeeded more than once: {wins}")
        found = (self.folder / "marks" / "sum").read_text()
        if found != "90":
            raise Broken(f"the sum is {found}, not 90")

    def sound(self, run_id: RunId) -> None:
        starts = Counter((event.step, event.attempt) for event in self.of(run_id, StepStarted))
        twice = [key for key, count in starts.items() if count > 1]
        if twice:
            raise Broken(f"attempts were recorded twice: {twice}")
        ends = Counter(
            (event.step, event.attempt)
            for event in self.events(run_id)
            if isinstance(event, StepEvent) and event.TYPE.value in _ENDS and not _is_verdict(event)
        )
        twice = [key for key, count in ends.items() if count > 1]
        if twice:
            raise Broken(f"attempts ended twice: {twice}")

    def fault(self, of: Callable[[], object]) -> None:
        self.fault_at = time.time()
        of()

    def measure(self, run_id: RunId) -> None:
        """Seconds from the fault to its discovery, and to the next attempt of what was lost."""
        lost = [event for event in self.of(run_id, StepLost) if event.at >= self.fault_at]
        if not lost:
            return
        self.figures["detection"] = min(event.at for event in lost) - self.fault_at
        again = [
            event.at
            for event in self.of(run_id, StepStarted)
            if event.at >= self.fault_at
            and any(event.step == each.step and event.attempt > each.attempt for each in lost)
        ]
        if again:
            self.figures["recovery"] = min(again) - self.fault_at

    def flush(self, client_calls: Callable[[Any], Any]) -> Any:
        with closing(connect(self.redis.url)) as client:
            return client_calls(client)


_ENDS = frozenset({"STEP_SUCCESS", "STEP_FAILURE", "STEP_LOST", "STEP_CANCELED"})


def _is_verdict(event: AnyEvent) -> bool:
    """That an attempt that was lost was one too many."""
    return isinstance(event, StepFailed) and event.error.kind == "PoisonStep"


def descendants(pid: int) -> list[int]:
    """Process ids of a family, the eldest first."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents.setdefault(int(fields[1]), []).append(int(name))
    family = [pid]
    for each in family:
        family += parents.get(each, [])
    return family


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        kill(pid, number)


def alive(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
