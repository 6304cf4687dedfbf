"""One trial: a database, a Redis behind proxies, orchestrators and workers as processes, and what is asked of a run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from opgrid.broker.address import BrokerAddress
from opgrid.broker.connection import connect
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import WorkerProcess, start_worker
from opgrid.contracts.events import AnyEvent, StepCanceled, StepEvent, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.ids import RunId, StepKey
from opgrid.io.keys import KeyRing
from opgrid.loading import load_job
from orchestrator.coordinator.shard_names import all_shards
from orchestrator.coordinator.shards import plan_of
from orchestrator.engine.recovery import replay
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.storage.sql.store import SqlStore
from tests.faults.proxy import Proxy

ROOT = Path(__file__).parents[2]
CODE = CodeTarget(module="tests.faults.jobs", working_directory=str(ROOT))
LEASE_TTL = 1.0
PATIENCE = 90.0
CONFIG = "concurrency: {runs: {max_concurrent_runs: 20, tag_concurrency_limits: [{key: held, limit: 0}]}}"
WORKERS = {
    "OPGRID_LEASE_TTL": str(LEASE_TTL),
    "OPGRID_IO_MAX_BYTES": str(100 * 2**20),
    "OPGRID_IO_SPILL_ABOVE": str(2**40),
}


class Broken(AssertionError):
    """The outcome is not what was promised."""


class Late(Broken):
    """It is, and was seen later than promised: on a busy machine that happens."""


class Arena:
    """Serves one trial after the other, for as long as they end as promised. ``chance`` decides the moments."""

    def __init__(self, folder: Path, database_url: str, stack: ExitStack) -> None:
        self.folder = folder
        self.database_url = database_url
        self.environ: dict[str, str] = {}  #: more, of processes that are started from now on
        self.clocks: list[Path] = []  #: one a worker or service, where they were given wrong ones
        self._stack = stack
        self.processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[WorkerProcess] = []
        self._started = 0
        self._logs: dict[int, Path] = {}  #: by process
        KeyRing.load(str(folder))
        (folder / "opgrid.yaml").write_text(CONFIG)
        self.redis = stack.enter_context(EmbeddedRedis.start(data=folder / "redis"))
        self._target = Path(BrokerAddress.parse(self.redis.url).place)
        self.to_workers = self._proxy("w.sock")
        self.to_orchestrators = self._proxy("o.sock")
        self.store = stack.enter_context(closing(SqlStore(database_url)))
        stack.callback(self._end)
        self.crash_file = folder / "crash"
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Another trial."""
        self.chance = random.Random(seed)
        self.marks = Path(tempfile.mkdtemp(prefix="marks-", dir=self.folder))
        self.fault_at = 0.0  #: Unix seconds
        self.figures: dict[str, float] = {}
        for each in self.folder.glob(f"{self.crash_file.name}*"):
            each.unlink()

    def tidy(self) -> bool:
        """After a trial: nothing of it goes on. False where that does not come about."""
        for run in self.store.open_runs():
            self.store.request_cancel(run.run_id, "the trial is over")
        try:
            self.until(lambda: not self.store.open_runs(), "", 5)
        except Broken:
            return False
        shutil.rmtree(self.marks, ignore_errors=True)
        return True

    # ---- who takes part --------------------------------------------------------------------------------------------

    def _proxy(self, name: str) -> Proxy:
        made = Proxy(self.redis.folder / name, self._target)
        self._stack.callback(made.close)
        return made

    def give_wrong_clocks(self) -> None:
        """To what is started from now on."""
        self.environ["PYTHONPATH"] = f"{ROOT / 'tests' / 'faults' / 'skewed'}{os.pathsep}{ROOT}"

    def set_clock(self, clock: Path, off: float) -> None:
        with clock.open("r+b") as file:
            file.write(struct.pack("d", off))

    def _more_environ(self) -> dict[str, str]:
        if "PYTHONPATH" not in self.environ:
            return self.environ
        clock = self.folder / f"clock-{len(self.clocks)}"
        clock.write_bytes(bytes(8))
        self.clocks.append(clock)
        return {**self.environ, "OPGRID_TEST_CLOCK": str(clock)}

    def worker(self, concurrency: int = 2) -> WorkerProcess:
        name = f"w{self._started}"
        self._started += 1
        made = start_worker(
            f"redis+socket://{self.to_workers.path}?virtual_host=0",
            CODE,
            str(self.folder),
            name=name,
            concurrency=concurrency,
            environ={**WORKERS, "OPGRID_CRASH_AT": str(self.crash_file), **self._more_environ()},
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
            "OPGRID_CRASH_AT": str(self.crash_file),
            "PYTHONPATH": str(ROOT),
            **self._more_environ(),
        }
        self._started += 1
        path = self.folder / f"{command[0]}-{self._started}.log"
        with path.open("wb") as log:
            args = [sys.executable, "-P", "-m", "opgrid", *command]
            made = subprocess.Popen(args, env=environ, stdout=log, stderr=log, cwd=self.folder)
        self._logs[made.pid] = path
        if command[0] == "orchestrator":
            self.processes.append(made)
        else:
            self._stack.callback(_end, made)
        return made

    def service(self, orchestrators: int = 1, workers: int = 2) -> None:
        """So many of each, what is left of the trial before among them; returns when they are ready."""
        self.processes = [each for each in self.processes if each.poll() is None]
        self.workers = [each for each in self.workers if each.process.poll() is None]
        while len(self.processes) > orchestrators:
            _end(self.processes.pop())
        while len(self.workers) > workers:
            self._end_worker(self.workers.pop())
        for _ in range(orchestrators - len(self.processes)):
            self.start("orchestrator")
        for _ in range(workers - len(self.workers)):
            self.worker()
        for each in self.workers:
            each.wait_until_ready()
        names = {*all_shards(), "queue"}
        self.until(lambda: names <= self._held(), "no orchestrator came up")
        for process in self.processes:
            log = self._logs[process.pid]
            self.until(lambda log=log: _is_ready(log.read_text()), "an orchestrator did not come up")  # type: ignore[misc]

    def _held(self) -> set[str]:
        """Leases that living orchestrators have."""
        there = {str(each.pid) for each in self.processes if each.poll() is None}
        return {name for name, lease in self.store.held().items() if lease.owner.split(":")[1] in there}

    def holder(self) -> subprocess.Popen[bytes]:
        """The orchestrator that has the queue, and mostly all shards."""
        pid = self.store.held()["queue"].owner.split(":")[1]
        return next(each for each in self.processes if str(each.pid) == pid)

    def busiest(self) -> tuple[subprocess.Popen[bytes], int]:
        """The orchestrator that has most shards, and how many."""
        owners = [lease.owner.split(":")[1] for name, lease in self.store.held().items() if name in all_shards()]
        counts = {each: owners.count(str(each.pid)) for each in self.processes}
        found = max(counts, key=lambda each: counts[each])
        return found, counts[found]

    def _end_worker(self, worker: WorkerProcess) -> None:
        family = descendants(worker.pid)
        worker.kill()
        for pid in family:
            kill(pid)

    def _end(self) -> None:
        for worker in self.workers:
            self._end_worker(worker)
        for process in self.processes:
            _end(process)

    # ---- points at which processes die -----------------------------------------------------------------------------

    def crash_at(self, point: str, times: int, fails: bool = False) -> None:
        """Who comes there for that time is killed, or told that its call has failed."""
        made = self.folder / "crash-next"
        made.write_text(f"{point} {times}{' error' if fails else ''}")
        made.rename(self.crash_file)

    def crashed(self, seconds: float = 20.0) -> None:
        """Wait for that; who was killed is dead by then."""
        self.until(lambda: not self.crash_file.exists(), "nobody came to that point", seconds)
        for taken in self.folder.glob(f"{self.crash_file.name}.*"):
            if not taken.read_text().endswith(" error"):
                pid = int(taken.suffix[1:])
                self.until(lambda pid=pid: not alive(pid), "who came to that point lives")
            taken.unlink()

    # ---- runs ------------------------------------------------------------------------------------------------------

    def launch(self, job: str = "mixed", run_config: Any = None, **more: Any) -> RunId:
        if job == "mixed" and run_config is None:
            given = {"config": {"mark": str(self.marks)}}
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
        found = (self.marks / "sum").read_text()
        if found != "90":
            raise Broken(f"the sum is {found}, not 90")

    def sound(self, run_id: RunId) -> None:
        starts = Counter((event.step, event.attempt) for event in self.of(run_id, StepStarted))
        twice = [key for key, count in starts.items() if count > 1]
        if twice:
            raise Broken(f"attempts were recorded twice: {twice}")
        lost = {(event.step, event.attempt) for event in self.of(run_id, StepLost)}
        ends = Counter(
            (event.step, event.attempt)
            for event in self.events(run_id)
            if isinstance(event, StepEvent) and event.TYPE.value in _ENDS and not _is_verdict(event, lost)
        )
        twice = [key for key, count in ends.items() if count > 1]
        if twice:
            raise Broken(f"attempts ended twice: {twice}")
        record = self.store.run(run_id)
        assert record is not None
        machine = replay(run_id, plan_of(self.store, record), self.events(run_id))
        machine.check()
        if machine.status is not record.status:
            raise Broken(f"the log says {machine.status.value}, the run {record.status.value}")

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


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait()


_ENDS = frozenset({"STEP_SUCCESS", "STEP_FAILURE", "STEP_LOST", "STEP_CANCELED"})


def _is_verdict(event: AnyEvent, lost: set[tuple[StepKey, int]]) -> bool:
    """On an attempt that was lost: it was one too many, or its run is canceled."""
    if isinstance(event, StepCanceled):
        return (event.step, event.attempt) in lost
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


def _is_ready(log: str) -> bool:
    """Whether an orchestrator drives runs, or would take over from who does."""
    return " is ours." in log or " stands by." in log
