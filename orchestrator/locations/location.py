"""A code location as the service sees it: what is in it, and whom to ask. Its last good version stays in use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from opgrid.contracts.events import ErrorInfo
from opgrid.contracts.tasks import CodeTarget
from orchestrator.locations.messages import Answer, Asked, Describe, Described, Failed, LocationInfo
from orchestrator.locations.process import LocationBroken, LocationProcess

#: Questions that a location answers at a time, each in a process of its own.
PROCESSES: Final = 4
_LOAD: Final = 120.0  #: seconds that the code may take to load


@dataclass(frozen=True, slots=True)
class Source:
    """Where a location comes from."""

    name: str
    code: CodeTarget
    python: str | None = None  #: the interpreter; None: this one


class Location:
    """May be asked from several threads. Nothing starts before ``load``."""

    def __init__(self, source: Source, environ: Mapping[str, str] | None = None) -> None:
        self.source = source
        self.info = LocationInfo(source.name)
        self.error: ErrorInfo | None = None  #: of the last time that it was loaded
        self.loaded: float | None = None  #: when the version in use was, Unix seconds
        self._environ = dict(environ or {})
        self._idle: list[LocationProcess] = []
        self._asked: set[LocationProcess] = set()
        self._threads = ThreadPoolExecutor(PROCESSES, f"opgrid-{source.name}")
        self._is_closed = False
        self._lock = threading.Lock()
        self._version = 0

    @property
    def name(self) -> str:
        return self.source.name

    def load(self, timeout: float = _LOAD) -> bool:
        """Load the code anew, in a new process; where it cannot be loaded, ``error`` says why and all stays as it
        was.
        """
        process = self._new()
        try:
            answer = process.ask(Describe(), timeout)
        except LocationBroken as broken:
            self.error = ErrorInfo.of(broken)
            return False
        if not isinstance(answer, Described):
            self.error = answer.error if isinstance(answer, Failed) else ErrorInfo("LocationBroken", repr(answer))
            process.kill()
            return False
        with self._lock:
            self._version += 1
            before, self._idle = self._idle, [process]
            self.info, self.error, self.loaded = answer.info, None, time.time()
        for old in before:
            old.kill()
        return True

    def ask(self, asked: Asked, timeout: float) -> Answer:
        """Raises LocationBroken for an answer that does not come."""
        process, version = self._take()
        with self._lock:
            self._asked.add(process)
        try:
            answer = process.ask(asked, timeout)
        finally:
            with self._lock:
                self._asked.discard(process)
        self._give_back(process, version)
        return answer

    def submit(self, work: Callable[[], None]) -> Future[None]:
        """Do something that asks this location, in a thread of its own: others need not wait for one that hangs."""
        return self._threads.submit(work)

    def _take(self) -> tuple[LocationProcess, int]:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    return process, self._version
            version = self._version
        process = self._new()
        process.ask(Describe(), _LOAD)
        return process, version

    def _give_back(self, process: LocationProcess, version: int) -> None:
        with self._lock:
            if version == self._version and not self._is_closed:
                self._idle.append(process)
                return
        process.kill()

    def close(self) -> None:
        """End its processes, whatever they do."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_closed = True
            there, self._idle = [*self._idle, *self._asked], []
        for process in there:
            process.kill()

    def _new(self) -> LocationProcess:
        return LocationProcess(self.name, self.source.code, self._environ, self.source.python)
