"""How a running step is told to stop: a signal becomes ``ExecutionInterruptedError``, in user code and nowhere else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import Any, Final, TypeAlias

from opgrid.errors import ExecutionInterruptedError

Handler: TypeAlias = Callable[[int, FrameType | None], Any]

_main = threading.main_thread().ident  #: where signals arrive
_armed = False
_pending: BaseException | None = None
_asked = False

_URGENT: Final = signal.SIGURG  #: sent by ``interrupt``; systems ignore it where nobody handles it
_lock = threading.RLock()  #: nobody is sent one who is just leaving
_reachable: list[_Reachable] = []  #: the innermost last
_urged: _Reachable | None = None  #: for whom the last one was
_late: BaseException | None = None  #: what it left pending


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


class _Reachable:
    __slots__ = ("heard", "open", "owner")

    def __init__(self, owner: object) -> None:
        self.owner, self.open, self.heard = owner, True, False


@contextmanager
def reachable(owner: object) -> Iterator[None]:
    """While it lasts, ``interrupt(owner)`` reaches user code that runs in this thread, or begins in it. Without effect
    outside the main thread, and where code that is not Python handles the signal.

    A step may do this, too: what interrupts that step meanwhile does so in what runs here, or at the end.
    """
    global _armed
    if not _in_main_thread() or (handler := signal.getsignal(_URGENT)) is None:
        yield
        return
    armed, _armed = _armed, False
    here = _Reachable(owner)
    _reachable.append(here)
    signal.signal(_URGENT, _urge)
    try:
        yield
    finally:
        with _lock:
            _reachable.remove(here)
        signal.signal(_URGENT, handler)  # which hears first what is on its way
        if _urged is here and _pending is not None and _pending is _late:
            forget()
        if armed:
            arm()


def interrupt(owner: object) -> None:
    """Stop the user code of who made itself ``reachable``, once each time: what that does before it ends is to be done.
    From any thread, or a signal handler.
    """
    global _urged
    with _lock:
        for each in _reachable:
            if each.owner is owner and each.open:
                each.open, _urged = False, each
                _send()
                if not _in_main_thread():
                    threading.Thread(target=_insist, args=[each], name="opgrid-interrupt", daemon=True).start()


def _send() -> None:
    if _main is not None:
        signal.pthread_kill(_main, _URGENT)


def _insist(on: _Reachable) -> None:
    """A signal that comes just before the main thread begins to wait outside Python is heard when that is over, or with
    the next signal.
    """
    pause = 0.01
    while True:
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
        with _lock:
            if on.heard or on not in _reachable:
                return
            _send()


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


def armed() -> bool:
    """Whether user code runs in this thread, and a signal is raised at once; what ``disarm`` wants back."""
    return _armed and get_ident() == _main


def arm() -> None:
    """User code begins: from here on a signal is raised at once, as is one that came before. Who calls this disarms,
    also when it raises.
    """
    global _armed, _asked, _pending
    if get_ident() != _main:
        return  # no signal arrives here
    if not _armed:
        _asked = _pending is not None
    _armed = True
    if _pending is not None:
        error, _pending = _pending, None
        raise error


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
    global _main, _lock
    _main, _lock = get_ident(), threading.RLock()
    _reachable.clear()


os.register_at_fork(after_in_child=_forked)


def _after(handler: Handler) -> Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        handler(number, frame)
        if _armed:
            _interrupt(number, frame)

    return handle


def _interrupt(number: int, frame: FrameType | None) -> None:
    _stop(ExecutionInterruptedError(f"interrupted by {signal.Signals(number).name}"))


def _urge(number: int, frame: FrameType | None) -> None:
    global _late
    if _urged is None or _urged.heard or _urged not in _reachable:
        return
    _urged.heard = True
    if _armed and _asked:
        return  # it is being stopped
    inside = _urged is not _reachable[-1]  # a run within a step of its own: canceled first, as by the keyboard
    _late = KeyboardInterrupt() if inside else ExecutionInterruptedError("interrupted")
    _stop(_late)


def _stop(error: BaseException) -> None:
    global _asked, _pending
    _asked = True
    if _armed:
        raise error
    _pending = error
