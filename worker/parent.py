"""What the worker's own process does for its children: keeps the watch process, ticks, tells how they ended."""

from __future__ import annotations

import contextlib
import logging
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from opgrid.errors import OpGridError
from worker.along import Adopted, words
from worker.settings import WorkerSettings
from worker.watch import BYE, EXIT, LENGTH, READY, SERVES, TICK, WORD, Serves

_log = logging.getLogger("opgrid.worker")


class WatchDidNotStart(OpGridError):
    """The process that beats for this worker ended while it started; its own message is above."""

    exit_code = 1


class Parent:
    """Started before the first child is forked. The tick touches no network and no lock that anybody else holds."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="opgrid-worker-"))  # mode 0700
        self._stopped = threading.Event()
        self._is_ready = self._is_leaving = False
        self._listen: Callable[[], object] = lambda: None
        self._serves: Callable[[], Serves | None] = self._as_told
        self._ticking: threading.Thread | None = None
        hearing, self.speaking = words()
        self.adopted = Adopted(hearing)  #: messages that children take along
        try:
            self._process, self.connection = self._start()
        except BaseException:
            self.speaking.close()
            self.adopted.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def tick(self, serves: Callable[[], Serves | None] | None = None) -> None:
        """Begin to tick, from a thread. ``serves``: what this worker takes by now, None where it is to end; it touches
        nothing either.
        """
        if serves is not None:
            self._serves = serves
        self._ticking = threading.Thread(target=self._tick, name="opgrid-tick", daemon=True)
        self._ticking.start()

    def ready(self) -> None:
        """This worker takes messages."""
        self._is_ready = True
        self._send(READY)

    def leave(self) -> None:
        """It takes none any more."""
        self._is_leaving = True

    def follow(self, pool: Any, hub: Any) -> None:
        """Exchange with the watch process: it tells at once that a child has ended, we tell how.

        Celery itself notices the end of a child that replaced another only when it looks every five seconds.
        """
        self._listen = lambda: self._hear(hub, pool)
        self._listen()
        self.adopted.listen(hub)
        before = pool.on_process_down

        def on_process_down(process: Any) -> None:
            self._send(EXIT, process.pid, process.exitcode or 0)
            self.adopted.has_died(process.pid)
            if before is not None:
                before(process)

        pool.on_process_down = on_process_down

    def _hear(self, hub: Any, pool: Any) -> None:
        if self.connection.fileno() >= 0:  # else the watch process has ended, and is heard once it was started again
            hub.add_reader(self.connection, self._on_word, hub, pool)

    def _on_word(self, hub: Any, pool: Any) -> None:
        try:
            heard = self.connection.recv(4096)
        except OSError:
            heard = b""
        if heard:
            pool.maintain_pool()
        else:
            hub.remove(self.connection)  # it has ended; the next tick starts it again

    def stop(self) -> None:
        """The children have ended. May be called twice."""
        self._stopped.set()
        self._send(BYE)
        self.connection.close()
        self.speaking.close()
        self.adopted.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _send(self, word: bytes, pid: int = 0, status: int = 0) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(WORD.pack(word, pid, status))

    def _tick(self) -> None:
        interval = min(1.0, self.settings.longest_silence / 4)
        while not self._stopped.wait(interval):
            try:
                self.connection.send(WORD.pack(TICK, 0, 0))
                self._tell_what_it_serves()
            except OSError:
                if not self._stopped.is_set():
                    self._start_again()

    def _tell_what_it_serves(self) -> None:
        """Where that is something else than it was."""
        serves = None if self._is_leaving else self._serves()
        if serves is None:
            serves = Serves((), self.settings.concurrency)
        if serves == self._as_told():
            return
        queues, concurrency = serves.queues, serves.concurrency
        self.settings = msgspec.structs.replace(self.settings, queues=queues, concurrency=concurrency)
        said = msgspec.json.encode(serves)
        self.connection.sendall(WORD.pack(SERVES, 0, len(said)) + said)

    def _as_told(self) -> Serves:
        """What the watch process knows: with the settings, or since."""
        return Serves(self.settings.queues, self.settings.concurrency)

    def _start_again(self) -> None:
        _log.error("The watch process has ended (code %s); it is started again.", self._process.wait())
        with contextlib.suppress(OSError, WatchDidNotStart):
            self.connection.close()
            self._process, self.connection = self._start()
            self._listen()
            if self._is_ready:
                self._send(READY)

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "worker.watch", str(self.folder), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a signal to the worker's group must not end it first
            )
        told = msgspec.json.encode(self.settings)
        ours.settimeout(30.0)
        said = b""
        try:
            ours.sendall(LENGTH.pack(len(told)) + told)
            said = ours.recv(1)
        except TimeoutError:
            process.kill()
        except OSError:
            pass  # it has ended before it had read that
        if said != TICK:
            ours.close()
            process.wait()
            raise WatchDidNotStart(f"The watch process ended with code {process.returncode} while it started.")
        ours.settimeout(None)
        return process, ours
