"""Runs on local executors: each is driven by a process of its own, which is started again when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from opgrid.contracts.events import RunFailed
from opgrid.contracts.status import RunStatus
from opgrid.errors import OpGridError
from opgrid.ids import RunId
from opgrid.io.kept import log_of
from orchestrator.coordinator.ownership import RunIsDriven, driving
from orchestrator.storage.protocols import Store

#: Times that the process of one run is started, before the run fails.
STARTS: Final = 3

_log = logging.getLogger("opgrid.orchestrator")


class CannotStart(OpGridError):
    """The process of a run."""


class Children:
    def __init__(self, store: Store, home: Path, environ: Mapping[str, str]) -> None:
        self._store = store
        self._home = home
        self._environ = {**os.environ, **environ}
        self._running: dict[RunId, subprocess.Popen[bytes]] = {}
        self._starts: dict[RunId, int] = {}
        self._pythons: dict[RunId, str | None] = {}

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._running

    def start(self, run_id: RunId, python: str | None = None) -> None:
        """``python``: the interpreter of its code; None: this one. Raises CannotStart."""
        self._log_of(run_id).parent.mkdir(parents=True, exist_ok=True)
        self._starts[run_id] = self._starts.get(run_id, 0) + 1
        command = [python or sys.executable, "-P", "-m", "opgrid", "_drive", run_id]
        try:
            with self._log_of(run_id).open("ab") as log:
                # In a session of its own: ending it ends all that its ops have started, and Ctrl-C is not for it.
                self._running[run_id] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environ,
                    start_new_session=True,
                )
        except OSError as error:
            self._starts.pop(run_id, None)
            raise CannotStart(f"{command[0]} cannot be started: {error.strerror}.") from error
        self._pythons[run_id] = python

    def kill(self, run_id: RunId, start_again: bool) -> None:
        """End the process of a run, whatever it does."""
        process = self._running[run_id]
        _end(process)
        if start_again:
            self._starts[run_id] = min(self._starts[run_id], STARTS - 1)
        else:
            del self._running[run_id]
            self._forget(run_id)

    def look(self) -> None:
        """Start again those that ended before their run; after some times the run fails."""
        for run_id, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            run = self._store.run(run_id)
            del self._running[run_id]
            if run is None or run.status.is_final:
                self._forget(run_id)
                continue
            _end(process)  # what its ops have started
            _log.warning("The process of run %s ended with %s before the run.", run_id, code)
            try:
                if self._starts[run_id] < STARTS:
                    self.start(run_id, self._pythons[run_id])
                else:
                    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                    last = self._last_line(run_id)
                    raise CannotStart(
                        f"The process that drove the run was started {STARTS} times, and the last {how}.{last}"
                    )
            except CannotStart as error:
                self._fail(run_id, str(error))

    def _fail(self, run_id: RunId, reason: str) -> None:
        try:
            with driving(self._store, run_id) as log, log.turn() as turn:
                now = time.time()
                turn.append(run_id, [RunFailed(run_id=run_id, at=now, reason=reason)])
                turn.set_status(run_id, RunStatus.FAILURE, now)
        except RunIsDriven:
            _log.warning("Run %s is driven by somebody else.", run_id)
        self._forget(run_id)

    def _forget(self, run_id: RunId) -> None:
        self._starts.pop(run_id, None)
        self._pythons.pop(run_id, None)
        path = self._log_of(run_id)
        with contextlib.suppress(OSError):
            if not path.stat().st_size:
                path.unlink()

    def _log_of(self, run_id: RunId) -> Path:
        return log_of(self._home, run_id)

    def _last_line(self, run_id: RunId) -> str:
        path = self._log_of(run_id)
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return f" Its last words: {lines[-1]} ({path})" if lines else ""

    def stop(self) -> None:
        """The runs stay as they are: who takes over goes on with them."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            _end(process)
        self._running.clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    """With what is left of all that it started; it may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
