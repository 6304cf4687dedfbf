"""How a running step is told to stop: a signal becomes ``ExecutionInterruptedError``, in user code and nowhere else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import Any, TypeAlias

from opgrid.errors import ExecutionInterruptedError

Handler: TypeAlias = Callable[[int, FrameType | None], Any]

_main = threading.main_thread().ident  #: where signals arrive
_armed = False
_pending: str | None = None
_asked = False


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[None]:
    """While it lasts, these signals (SIGTERM if none is named) interrupt the step that runs, or the next one to
    start.
    """
    before = {each: signal.signal(each, _interrupt) for each in signals or (signal.SIGTERM,)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def passed_on() -> Iterator[None]:
    """While it lasts, SIGINT and SIGTERM still reach the handlers that the caller has set, and interrupt the step too.

    Python's own handlers stay: a KeyboardInterrupt is one without help, and an unhandled SIGTERM ends the process.
    """
    before: dict[signal.Signals, Handler] = {}
    if _in_main_thread():
        for each in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(each)
            if callable(handler) and handler is not signal.default_int_handler:
                before[each] = handler
                signal.signal(each, _after(handler))
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Interrupt the step that runs after so many seconds. Without effect outside the main thread, where no signal
    arrives.
    """
    if seconds is None or not _in_main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        forget()


def arm() -> bool:
    """User code begins: from here on a signal is raised at once. Gives what ``disarm`` wants back."""
    global _armed, _asked
    if get_ident() != _main:
        return False  # no signal arrives here
    if not _armed:
        _asked = _pending is not None
    before, _armed = _armed, True
    if _pending is not None:
        _raise(_pending)
    return before


def disarm(before: bool = False) -> None:
    """User code is over: a signal that comes now is too late."""
    global _armed
    if get_ident() == _main:
        _armed = before


@contextmanager
def shielded() -> Iterator[None]:
    """A signal that comes while this lasts is raised at its end: for what must not stop half-way."""
    global _armed
    if not _armed or not _in_main_thread():
        yield
        return
    _armed = False
    try:
        yield
    finally:
        arm()


def forget() -> None:
    """A signal that arrived between two steps was not meant for the next one."""
    global _asked, _pending
    _asked, _pending = False, None


def is_one(error: BaseException) -> bool:
    """Whether somebody interrupts the step that raised this."""
    return by_keyboard(error) or isinstance(error, ExecutionInterruptedError)


def by_keyboard(error: BaseException) -> bool:
    """A KeyboardInterrupt where no SIGINT arrives is an error of user code like any other."""
    return isinstance(error, KeyboardInterrupt) and callable(signal.getsignal(signal.SIGINT))


def asked() -> bool:
    """Whether the step that runs is to end: it was told so, or its time is over. For any thread of it."""
    return _asked


def _in_main_thread() -> bool:
    return get_ident() == _main


def _forked() -> None:
    """The thread that forked is the main thread of the child."""
    global _main
    _main = get_ident()


os.register_at_fork(after_in_child=_forked)


def _after(handler: Handler) -> Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        handler(number, frame)
        if _armed:
            _interrupt(number, frame)

    return handle


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked, _pending
    _asked = True
    reason = f"interrupted by {signal.Signals(number).name}"
    if _armed:
        _raise(reason)
    _pending = reason


def _raise(reason: str) -> None:
    global _pending
    _pending = None
    raise ExecutionInterruptedError(reason)
