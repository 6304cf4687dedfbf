"""Runs on local executors: each is driven by a process of its own, which is started again when it dies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from opgrid.contracts.events import RunFailed
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.coordinator.ownership import RunIsDriven, driving
from orchestrator.storage.protocols import Store

#: Times that the process of one run is started, before the run fails.
STARTS: Final = 3

_log = logging.getLogger("opgrid.orchestrator")


class Children:
    def __init__(self, store: Store, home: Path, environ: Mapping[str, str]) -> None:
        self._store = store
        self._logs = home / "logs"
        self._environ = {**os.environ, **environ}
        self._running: dict[RunId, subprocess.Popen[bytes]] = {}
        self._starts: dict[RunId, int] = {}

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._running

    def start(self, run_id: RunId) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._starts[run_id] = self._starts.get(run_id, 0) + 1
        with (self._logs / f"{run_id}.log").open("ab") as log:
            self._running[run_id] = subprocess.Popen(
                [sys.executable, "-P", "-m", "opgrid", "_drive", run_id],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
            )

    def kill(self, run_id: RunId, start_again: bool) -> None:
        """End the process of a run, whatever it does."""
        process = self._running[run_id]
        process.kill()
        process.wait()
        if start_again:
            self._starts[run_id] = min(self._starts[run_id], STARTS - 1)
        else:
            del self._running[run_id]
            self._starts.pop(run_id, None)

    def look(self) -> None:
        """Start again those that ended before their run; after some times the run fails."""
        for run_id, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[run_id]
            run = self._store.run(run_id)
            if run is None or run.status.is_final:
                self._starts.pop(run_id, None)
                continue
            _log.warning("The process of run %s ended with %s before the run.", run_id, code)
            if self._starts[run_id] < STARTS:
                self.start(run_id)
            else:
                self._fail(run_id, code)

    def _fail(self, run_id: RunId, code: int) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        last = self._last_line(run_id)
        reason = f"The process that drove the run was started {STARTS} times, and the last {how}.{last}"
        try:
            with driving(self._store, run_id) as log, log.turn() as turn:
                now = time.time()
                turn.append(run_id, [RunFailed(run_id=run_id, at=now, reason=reason)])
                turn.set_status(run_id, RunStatus.FAILURE, now)
        except RunIsDriven:
            _log.warning("Run %s is driven by somebody else.", run_id)
        self._starts.pop(run_id, None)

    def _last_line(self, run_id: RunId) -> str:
        path = self._logs / f"{run_id}.log"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        return f" Its last words: {lines[-1]} ({path})" if lines else ""

    def stop(self) -> None:
        """The runs stay as they are: who takes over goes on with them."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
