"""Workers as processes of ours: for ``opgrid job execute`` without a broker of its own, for demos and for tests."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from opgrid.broker.connection import connect, reaching
from opgrid.broker.keys import DEFAULT_QUEUE, Keys
from opgrid.broker.tied import tied
from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import OpGridError

_SECONDS_TO_START: Final = 60.0


class WorkerDidNotStart(OpGridError):
    """A worker process ended, or did not take messages in time."""

    exit_code = 4

    def __init__(self, name: str, code: int | None, output: str) -> None:
        super().__init__(name, code, output)
        self.name, self.code, self.output = name, code, output

    def describe(self) -> str:
        how = f"ended with code {self.code}" if self.code is not None else "does not take messages"
        return f"The worker {self.name!r} {how}. It said:\n{self.output.strip() or '(nothing)'}"


class WorkerProcess:
    """A worker that was started. ``stop()`` lets running steps end first."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, url: str, log: Path | None) -> None:
        self.process = process
        self.name = name
        self.url = url
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_ready(self, seconds: float = _SECONDS_TO_START) -> None:
        """Raises WorkerDidNotStart."""
        until = time.monotonic() + seconds
        key = Keys.load().worker(self.name)
        with contextlib.closing(connect(self.url)) as client, reaching(self.url):
            while not client.exists(key):
                code = self.process.poll()
                if code is not None or time.monotonic() > until:
                    self.kill()
                    raise WorkerDidNotStart(self.name, code, self.output[-4000:])
                time.sleep(0.02)

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log is not None and self.log.exists() else ""

    def stop(self, seconds: float = 30.0) -> None:
        """May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


def start_worker(
    url: str,
    code: CodeTarget | None,
    home: str,
    *,
    name: str | None = None,
    concurrency: int = 1,
    queues: Sequence[str] = (DEFAULT_QUEUE,),
    environ: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    log: Path | None = None,
    wait: bool = True,
    outlive: bool = False,
) -> WorkerProcess:
    """Start ``opgrid worker start`` for the broker at ``url``; it takes messages when this returns.

    ``log``: a file for what it writes; without it that goes to our own standard error. ``outlive``: it goes on when
    this process dies; otherwise it then lets its running steps end, and ends.
    """
    full = f"{name or f'own-{os.getpid()}'}@local"
    command = [
        sys.executable,
        "-P",
        "-m",
        "worker",
        "start",
        "-n",
        full,
        "-q",
        ",".join(queues),
    ]
    if "--autoscale" not in options:
        command += ["-c", str(concurrency)]
    command += _code_options(code) + list(options)
    output: IO[Any] | None = log.open("ab") if log is not None else None
    try:
        start = subprocess.Popen if outlive else tied
        process = start(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            env={**os.environ, **(environ or {}), "OPGRID_BROKER_URL": url, "OPGRID_HOME": home},
            start_new_session=True,  # Ctrl-C is for the one who started it, who then stops it in order
        )
    finally:
        if output is not None:
            output.close()
    started = WorkerProcess(process, full, url, log)
    if wait:
        started.wait_until_ready()
    return started


def _code_options(code: CodeTarget | None) -> list[str]:
    if code is None:
        return []
    options = ["-d", code.working_directory] if code.working_directory else []
    options += ["-a", code.attribute] if code.attribute else []
    if code.file:
        return [*options, "-f", code.file]
    return [*options, "-m", code.module or code.package or ""]
