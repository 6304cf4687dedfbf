"""The service in processes of its own, for tests."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select, update

from opgrid.broker.connection import connect
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.ids import RunId
from opgrid.loading import load_job
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.tables import events

CODE = CodeTarget(file=str(Path(__file__).with_name("service_jobs.py")))


class Service:
    """Starts ``opgrid`` commands over one database, home and broker; ``close`` ends what is left of them."""

    def __init__(self, home: Path, database_url: str, broker_url: str | None) -> None:
        self.home = home
        self.environ = {**os.environ, "OPGRID_HOME": str(home), "OPGRID_DATABASE_URL": database_url}
        self.environ.pop("OPGRID_BROKER_URL", None)
        if broker_url is not None:
            self.environ["OPGRID_BROKER_URL"] = broker_url
        self.environ["OPGRID_LEASE_TTL"] = "2"
        self.store: ServiceStore = SqlStore(database_url)
        self.last_log = home / "none.log"  #: of the command that was started last
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        self.last_log = self.home / f"{command[0]}-{len(self._started)}.log"
        with self.last_log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "opgrid", *command], env=self.environ, stdout=log, stderr=log
            )
        self._started.append(process)
        return process

    @property
    def last(self) -> subprocess.Popen[bytes]:
        """The command that was started last."""
        return self._started[-1]

    def launch(self, job: str, executor: str | None = None, **more: object) -> RunId:
        prepared = prepare(Request(load_job(CODE, job), executor=executor, code=CODE, **more))  # type: ignore[arg-type]
        (run_id,) = self.store.launch([queued(prepared)])
        return run_id

    def status(self, run_id: str) -> RunStatus:
        run = self.store.run(run_id)
        assert run is not None
        return run.status

    def ended(self, run_id: str, seconds: float = 100.0) -> RunStatus:
        until(lambda: self.status(run_id).is_final, seconds, lambda: self.all_of(run_id))
        return self.status(run_id)

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.home.rglob("*.log")))

    def all_of(self, run_id: RunId | str) -> str:
        """What there is to say about a run that does not end."""
        lines = [repr(self.store.run(RunId(run_id))), repr(self.store.held())]
        lines += map(repr, self.store.read(RunId(run_id)))
        if url := self.environ.get("OPGRID_BROKER_URL"):
            with connect(url) as client:
                for key in sorted(client.scan_iter()):
                    match client.type(key):
                        case b"hash":
                            lines.append(f"{key!r}: {client.hgetall(key)!r}")
                        case b"list":
                            lines.append(f"{key!r}: {client.llen(key)} entries")
                        case b"stream":
                            lines.append(f"{key!r}: {client.xinfo_stream(key)!r}")
                        case kind:
                            lines.append(f"{key!r}: {kind!r}")
        for process in self._started:
            lines.append(f"{process.args!r}: {process.poll()}")
        return "\n".join([*lines, self.logs()])

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.store.close()


def spoil_log(store: object, run_id: str) -> None:
    """Make the last entry of a run one that no version of opgrid has written."""
    assert isinstance(store, SqlStore)
    with store._writing() as connection:
        last = select(func.max(events.c.id)).where(events.c.run_id == run_id).scalar_subquery()
        connection.execute(update(events).where(events.c.id == last).values(body='{"type": "FROM_THE_FUTURE"}'))


def until(there: Callable[[], object], seconds: float = 100.0, say: Callable[[], str] = str) -> None:
    """Wait for something to be true."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, say()
        time.sleep(0.05)


def free_port() -> int:
    """None of those that the system gives to connections, and to servers that take any: somebody might get it next."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
