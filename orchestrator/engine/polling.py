"""Waiting for executors: for one on this thread, for several on a thread each. Nothing here sleeps and looks again."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from opgrid.contracts.executor import Executor, Polled
from opgrid.errors import ExecutorUnavailable
from orchestrator.engine.inbox import Inbox

#: The longest time in one ``poll``, in seconds: nothing depends on it where an executor can be woken.
LONGEST = 60.0
#: The same for executors without ``wake``: what the loop is told by another thread waits as long as this.
LONGEST_DEAF = 0.25
#: Between tries to reach an executor that cannot be polled.
UNREACHABLE = 1.0


class Heard(NamedTuple):
    name: str
    polled: Polled


class Ears(Protocol):
    def wait(self, timeout: float) -> list[Heard]:
        """Blocks until an executor has something, the inbox rings or ``timeout`` is over."""
        ...

    def talking(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Inside, the executor is not being polled by another thread."""
        ...

    def close(self) -> None: ...


def ears(executors: Mapping[str, Executor], inbox: Inbox, busy: Callable[[str], bool]) -> Ears:
    """``busy(name)`` tells whether an executor that works on this thread has something to do."""
    if len(executors) == 1:
        ((name, executor),) = executors.items()
        return OneEar(name, executor, inbox)
    return ManyEars(executors, inbox, busy)


class OneEar:
    def __init__(self, name: str, executor: Executor, inbox: Inbox) -> None:
        self._name, self._executor, self._inbox = name, executor, inbox
        self._longest = _longest(executor)
        self._rung = threading.Event()
        inbox.attach(self._ring)

    def wait(self, timeout: float) -> list[Heard]:
        self._rung.clear()
        if self._inbox.waiting:
            return []
        try:
            return [Heard(self._name, _poll_here(self._executor, min(timeout, self._longest), self._inbox))]
        except ExecutorUnavailable:
            self._rung.wait(min(timeout, UNREACHABLE))
            return []

    def talking(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def close(self) -> None:
        self._inbox.attach(None)

    def _ring(self) -> None:
        self._rung.set()
        self._executor.wake()


class ManyEars:
    """Executors that run user code here are polled on the loop's own thread, when they have something to do."""

    def __init__(self, executors: Mapping[str, Executor], inbox: Inbox, busy: Callable[[str], bool]) -> None:
        self._inbox, self._busy = inbox, busy
        self._heard: _Ear = queue.SimpleQueue()
        self._here = {name: executor for name, executor in executors.items() if not executor.crosses_processes}
        self._listeners = {
            name: _Listener(name, executor, self._heard)
            for name, executor in executors.items()
            if name not in self._here
        }
        inbox.attach(lambda: self._heard.put(None))
        for listener in self._listeners.values():
            listener.start()

    def wait(self, timeout: float) -> list[Heard]:
        heard: list[Heard] = []
        for name, executor in self._here.items():
            if self._busy(name) and not self._inbox.waiting:
                heard.append(Heard(name, _poll_here(executor, 0.0, self._inbox)))
        with contextlib.suppress(queue.Empty):
            given = self._heard.get(timeout=0.0 if heard or self._inbox.waiting else min(timeout, LONGEST))
            while True:
                if isinstance(given, BaseException):
                    raise given
                if given is not None:
                    heard.append(given)
                given = self._heard.get_nowait()
        return heard

    def talking(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if name in self._here else self._listeners[name].paused()

    def close(self) -> None:
        self._inbox.attach(None)
        for listener in self._listeners.values():
            listener.stop()
        for listener in self._listeners.values():
            listener.join()


_Ear = queue.SimpleQueue["Heard | BaseException | None"]


class _Listener(threading.Thread):
    """Polls one executor, except while the loop talks to it: executors need not be thread-safe, but for ``wake``."""

    def __init__(self, name: str, executor: Executor, heard: _Ear) -> None:
        super().__init__(name=f"opgrid-poll-{name}", daemon=True)
        self._key, self._executor, self._heard = name, executor, heard
        self._longest = _longest(executor)
        self._turn = threading.Condition()
        self._talkers = 0
        self._polling = False
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            with self._turn:
                self._turn.wait_for(lambda: not self._talkers)
                self._polling = True
            reached = self._listen()
            with self._turn:
                self._polling = False
                self._turn.notify_all()
            if not reached:
                self._stopped.wait(UNREACHABLE)

    def _listen(self) -> bool:
        try:
            polled = self._executor.poll(self._longest)
        except ExecutorUnavailable:
            return False
        except BaseException as error:
            self._heard.put(error)
            self._stopped.set()
            return True
        if polled.events or polled.position:
            self._heard.put(Heard(self._key, polled))
        return True

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        with self._turn:
            self._talkers += 1
            self._executor.wake()
            self._turn.wait_for(lambda: not self._polling)
        try:
            yield
        finally:
            with self._turn:
                self._talkers -= 1
                self._turn.notify_all()

    def stop(self) -> None:
        self._stopped.set()
        self._executor.wake()


def _poll_here(executor: Executor, timeout: float, inbox: Inbox) -> Polled:
    if executor.crosses_processes:
        return executor.poll(timeout)
    with inbox.runs_user_code():
        return Polled([], "") if inbox.waiting else executor.poll(timeout)  # what came since interrupts nothing


def _longest(executor: Executor) -> float:
    return LONGEST_DEAF if type(executor).wake is Executor.wake else LONGEST
