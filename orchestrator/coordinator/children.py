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
from typing import IO, Final

from opgrid.contracts.events import RunFailed
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.errors import OpGridError
from opgrid.ids import RunId
from opgrid.io.kept import log_of
from opgrid.zygote.nursery import Forked, Nursery, is_on, nursery
from orchestrator.coordinator.ownership import RunIsDriven, driving
from orchestrator.storage.protocols import Store

#: Times that the process of one run is started, before the run fails.
STARTS: Final = 3
#: What the process of a run does.
_DOOR: Final = "drive"
#: And what those do that it starts, on the default executor.
_ITS_CHILDREN: Final = "pool-child"

_log = logging.getLogger("opgrid.orchestrator")


class CannotStart(OpGridError):
    """The process of a run."""


class Children:
    def __init__(self, store: Store, home: Path, environ: Mapping[str, str]) -> None:
        self._store = store
        self._home = home
        self._environ = {**os.environ, **environ}
        self._forks = is_on()
        self._running: dict[RunId, subprocess.Popen[bytes] | Forked] = {}
        self._starts: dict[RunId, int] = {}
        self._codes: dict[RunId, CodeTarget] = {}

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._running

    def start(self, run_id: RunId, code: CodeTarget) -> None:
        """Raises CannotStart."""
        self._starts[run_id] = self._starts.get(run_id, 0) + 1
        self._codes[run_id] = code
        self._start(run_id, self._nursery_of(code))

    def _start(self, run_id: RunId, nursery: Nursery | None) -> None:
        """In a session of its own: ending it ends all that its ops have started, and Ctrl-C is not for it."""
        try:
            with self._output_of(run_id) as log:
                forked = None
                if nursery is not None:
                    forked = nursery.birth(_DOOR, [run_id], output=(log.fileno(), log.fileno()), asks=True)
                self._running[run_id] = forked or self._from_nothing(run_id, log)
        except OSError as error:
            del self._starts[run_id], self._codes[run_id]
            raise CannotStart(f"A process cannot be started: {error.strerror}.") from error

    def _from_nothing(self, run_id: RunId, log: IO[bytes]) -> subprocess.Popen[bytes]:
        python = self._codes[run_id].python or sys.executable
        command = [python, "-P", "-m", "opgrid", f"_{_DOOR}", run_id]
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environ, start_new_session=True
            )
        except OSError as error:
            del self._starts[run_id], self._codes[run_id]
            raise CannotStart(f"{python} cannot be started: {error.strerror}.") from error

    def _nursery_of(self, code: CodeTarget) -> Nursery | None:
        """Where what its runs import is ready after the first."""
        if not self._forks or code.python is not None:
            return None
        return nursery([_DOOR, _ITS_CHILDREN], code, environ=self._environ)

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
            if process.poll() is None:
                continue
            code = process.wait()
            if isinstance(process, Forked) and not self._was_born(process, run_id):
                continue
            run = self._store.run(run_id)
            del self._running[run_id]
            if run is None or run.status.is_final:
                self._forget(run_id)
                continue
            _end(process)  # what its ops have started
            _log.warning("The process of run %s %s before the run.", run_id, _how(code))
            try:
                if self._starts[run_id] < STARTS:
                    self.start(run_id, self._codes[run_id])
                else:
                    last = self._last_line(run_id)
                    raise CannotStart(
                        f"The process that drove the run was started {STARTS} times, and the last {_how(code)}.{last}"
                    )
            except CannotStart as error:
                self._fail(run_id, str(error))

    def _was_born(self, process: Forked, run_id: RunId) -> bool:
        """What could not be forked is started from nothing."""
        nursery = self._nursery_of(self._codes[run_id])
        if not process.stillborn:
            if nursery is not None:
                nursery.thrives()
            return True
        if nursery is not None:
            nursery.stillborn()
        try:
            self._start(run_id, None)
        except CannotStart as error:
            del self._running[run_id]
            self._fail(run_id, str(error))
        return False

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
        self._codes.pop(run_id, None)
        path = self._log_of(run_id)
        with contextlib.suppress(OSError):
            if not path.stat().st_size:
                path.unlink()

    def _output_of(self, run_id: RunId) -> IO[bytes]:
        """Where that cannot be written, as with a full disk, the run goes on without; others are not to wait for it."""
        path = self._log_of(run_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("ab")
        except OSError as error:
            _log.warning("What the process of run %s writes is lost: %s", run_id, error)
            return Path(os.devnull).open("ab")

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


def _end(process: subprocess.Popen[bytes] | Forked) -> None:
    """With what is left of all that it started; it may be gone already."""
    if process.pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _how(code: int | None) -> str:
    if code is None:
        return "ended, nobody knows how,"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
