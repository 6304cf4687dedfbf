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
from opgrid.errors import OpGridError
from opgrid.io.keys import KeyRing
from orchestrator.locations.messages import Answer, Asked, Describe, Described, Failed, LocationInfo
from orchestrator.locations.process import LocationBroken, LocationProcess
from orchestrator.locations.remote import Address, RemoteProcess

#: Questions that a location answers at a time, each in a process of its own.
PROCESSES: Final = 4
_PATIENCE: Final = 1.0  #: seconds without an answer to anybody, after which a question gets a process of its own
_MOST_PATIENCE: Final = 10.0  #: the most that it waits while others get theirs
_HESITATION: Final = 0.05  #: the same, before it takes a second one that is there: one is enough for quick questions
_KEPT: Final = 60.0  #: seconds that a process is kept that nobody needs
_LOAD: Final = 120.0  #: seconds that the code may take to load
#: Of one process: code that leaks gets a fresh one after so many answers, or when it has grown by so many bytes.
_MOST_ANSWERS: Final = 1000
_MOST_GROWTH: Final = 512 * 2**20

_Process = LocationProcess | RemoteProcess


class LocationClosed(OpGridError):
    """The service that asks a code location is about to end: there is no answer, and nothing is wrong with the code."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a location comes from."""

    name: str
    code: CodeTarget
    server: Address | None = None  #: a code server that has the code


class Location:
    """May be asked from several threads. Nothing starts before ``load``. One on a code server needs the ``ring``."""

    def __init__(self, source: Source, environ: Mapping[str, str] | None = None, ring: KeyRing | None = None) -> None:
        self.source = source
        self.info = LocationInfo(source.name)
        self.error: ErrorInfo | None = None  #: of the last time that it was loaded
        self.loaded: float | None = None  #: when the version in use was, Unix seconds
        self._environ = dict(environ or {})
        self._ring = ring
        self._idle: list[_Process] = []
        self._asked: set[_Process] = set()
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._is_closed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._out = 0  #: processes that answer, or are to
        self._version = 0
        self._has_come_back = False  #: the last of the idle ones, a moment ago
        self._moved = 0.0  #: when a process last answered, or was begun, monotonic: one that hangs holds up nobody
        self._patience = _PATIENCE  #: who waits no longer than a new process takes to start loses nothing

    @property
    def name(self) -> str:
        return self.source.name

    def load(self, timeout: float = _LOAD) -> bool:
        """Load the code anew, in a new process; where it cannot be loaded, ``error`` says why and all stays as it
        was.
        """
        try:
            process, answer = self._started(timeout)
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
        if self._is_closed:
            self.close()
        return True

    def ask(self, asked: Asked, timeout: float, apart: bool = False) -> Answer:
        """Raises LocationBroken for an answer that does not come; LocationClosed where ``close`` is why.
        ``apart``: of a process that nobody else needs.
        """
        try:
            return self._answer(asked, timeout, apart)
        except LocationBroken:
            if self._is_closed:
                raise LocationClosed(f"The code location {self.name!r} is not asked any more.") from None
            raise

    def _answer(self, asked: Asked, timeout: float, apart: bool) -> Answer:
        process, version = self._take(apart)
        with self._lock:
            self._asked.add(process)
        kept = None
        try:
            answer = process.ask(asked, timeout)
            process.answers += 1
            kept = None if _is_worn(process) else process
        finally:
            with self._lock:
                self._asked.discard(process)
            self._put_back(kept, version)
            if kept is None:
                process.kill()
        return answer

    def submit(self, work: Callable[[], None], lane: str) -> Future[None]:
        """Do something that asks this location, in another thread. Each lane has a few: work of one does not wait for
        that of another.
        """
        with self._lock:
            threads = self._lanes.get(lane)
            if threads is None:
                threads = self._lanes[lane] = ThreadPoolExecutor(PROCESSES, f"opgrid-{self.name}-{lane}")
        return threads.submit(work)

    def _take(self, apart: bool) -> tuple[_Process, int]:
        """One that is free, or will be soon; otherwise, and for what is asked ``apart``, a new one."""
        begun = time.monotonic()
        with self._changed:
            while not apart:
                now = time.monotonic()
                waited = now - begun
                if not self._out or self._has_come_back or waited >= _HESITATION:
                    self._has_come_back = False
                    while self._idle:
                        process = self._idle.pop()
                        if process.alive:
                            self._out += 1
                            return process, self._version
                until = min(begun + self._patience, max(begun, self._moved) + _PATIENCE)
                if not self._out or now >= until:
                    break
                self._changed.wait((begun + _HESITATION if waited < _HESITATION else until) - now)
            version = self._version
            self._out += 1
            self._moved = time.monotonic()  # others may get along with the one that is about to start
        try:
            new, _ = self._started(_LOAD)
        except LocationBroken:
            self._put_back(None, version)
            raise
        return new, version

    def _started(self, timeout: float) -> tuple[_Process, Answer]:
        """A process of its own, with what it says about its code. Raises LocationBroken."""
        begun = time.monotonic()
        process = self._new()
        with self._lock:
            self._asked.add(process)
        try:
            answer = process.ask(Describe(), timeout)
            self._patience = min(max(_PATIENCE, time.monotonic() - begun), _MOST_PATIENCE)
        finally:
            with self._lock:
                self._asked.discard(process)
        process.loaded_with = process.memory
        return process, answer

    def _put_back(self, process: _Process | None, version: int) -> None:
        gone = None
        with self._changed:
            self._out -= 1
            self._moved = time.monotonic()
            if process is not None and version == self._version and not self._is_closed:
                process.used = time.monotonic()
                self._idle.append(process)
                self._has_come_back = True
            else:
                gone = process
            self._changed.notify()
        if gone is not None:
            gone.kill()

    def retire(self) -> None:
        """End the processes that nobody has needed for a while, but for one."""
        with self._lock:
            extra = self._idle if self._out else self._idle[:-1]
            gone = [each for each in extra if time.monotonic() - each.used > _KEPT]
            self._idle = [each for each in self._idle if each not in gone]
        for process in gone:
            process.kill()

    def rest(self) -> None:
        """End the processes that nobody is asking; the next question starts one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()

    def close(self) -> None:
        """End its processes, whatever they do."""
        with self._lock:
            self._is_closed = True
            there, self._idle = [*self._idle, *self._asked], []
            lanes = list(self._lanes.values())
        for threads in lanes:
            threads.shutdown(wait=False, cancel_futures=True)
        for process in there:
            process.kill()

    def _new(self) -> _Process:
        """Raises LocationBroken."""
        if self.source.server is not None and self._ring is not None:
            return RemoteProcess(self.name, self.source.server, self._ring)
        return LocationProcess(self.name, self.source.code, self._environ, self.source.code.python)


def _is_worn(process: _Process) -> bool:
    if process.answers >= _MOST_ANSWERS:
        return True
    now, then = process.memory, process.loaded_with
    return now is not None and then is not None and now - then > _MOST_GROWTH
