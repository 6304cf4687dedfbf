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
from typing import Any, Final, NamedTuple, TypeAlias

from opgrid.errors import ExecutionInterruptedError

Handler: TypeAlias = Callable[[int, FrameType | None], Any]

_main = threading.main_thread().ident  #: where signals arrive
_armed = False
_pending: BaseException | None = None
_asked = False

_URGENT: Final = signal.SIGURG  #: sent by ``interrupt``; systems ignore it where nobody handles it
_lock = threading.RLock()  #: nobody is sent one who is just leaving
_reachable: list[_Reachable] = []  #: the innermost last
_late: tuple[_Reachable, BaseException] | None = None  #: what the last one left pending, and for whom
_due: float | None = None  #: when the time of the step that runs is over
_owed: _Owed | None = None  #: what has canceled the run within a step is still to interrupt that step


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[None]:
    """While it lasts, these signals (SIGTERM if none is named) interrupt the step that runs, or the next one to
    start.
    """
    interrupt = _interrupter()
    before = {each: signal.signal(each, interrupt) for each in signals or (signal.SIGTERM,)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class _Reachable:
    __slots__ = ("heard", "open", "owner")

    def __init__(self, owner: object) -> None:
        self.owner, self.open, self.heard = owner, True, False


class _Owed(NamedTuple):
    depth: int  #: how many were reachable where the step runs
    reason: str


class _Within(KeyboardInterrupt):
    """For the step around a run: that is canceled first, as by the keyboard."""


@contextmanager
def reachable(owner: object) -> Iterator[None]:
    """While it lasts, ``interrupt(owner)`` reaches user code that runs in this thread, or begins in it. Without effect
    outside the main thread, and where code that is not Python handles the signal.

    A step may do this, too: what interrupts that step meanwhile does so in what runs here, or at the end.
    """
    global _armed, _asked
    if not _in_main_thread() or (handler := signal.getsignal(_URGENT)) is None:
        yield
        return
    armed, asked, _armed = _armed, _asked, False
    here = _Reachable(owner)
    _reachable.append(here)
    signal.signal(_URGENT, _urge)
    try:
        yield
    finally:
        with _lock:
            _reachable.remove(here)
        signal.signal(_URGENT, handler)  # which hears first what is on its way
        if _late is not None and _late[0] is here and _pending is _late[1]:
            forget()
        if armed:
            _armed, _asked = True, asked or _pending is not None
            arm()


@contextmanager
def passing_through() -> Iterator[None]:
    """While it lasts, a whole run is driven, be it within a step: what interrupts that step meanwhile cancels the run,
    and is raised when that has ended.
    """
    global _owed
    try:
        yield
    finally:
        if _owed is not None and _in_main_thread():
            (depth, reason), _owed = _owed, None
            if _armed or depth < len(_reachable):
                _stop(depth, reason)


def interrupt(owner: object) -> None:
    """Stop the user code of who made itself ``reachable``, once each time: what that does before it ends is to be done.
    From any thread, or a signal handler.
    """
    with _lock:
        for each in _reachable:
            if each.owner is owner and each.open:
                each.open = False
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
    """Interrupt the step that runs after so many seconds, or when the time of a step around its run is over. Without
    effect outside the main thread, where no signal arrives.
    """
    global _due
    outer, due = _due, None if seconds is None else time.monotonic() + seconds
    if due is None or not _in_main_thread() or (outer is not None and outer <= due):
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupter())
    _ring_at(due)
    try:
        yield
    finally:
        _ring_at(None)
        signal.signal(signal.SIGALRM, before)
        forget()
        _ring_at(outer)


def _ring_at(due: float | None) -> None:
    global _due
    _due = due
    signal.setitimer(signal.ITIMER_REAL, 0 if due is None else max(due - time.monotonic(), 1e-6))


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
        if _owed is not None:
            _settle(len(_reachable))


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
    _settle(len(_reachable))
    if _owed is None:
        _asked, _pending = False, None


def is_one(error: BaseException) -> bool:
    """Whether somebody interrupts the step that raised this."""
    return by_keyboard(error) or isinstance(error, ExecutionInterruptedError)


def by_keyboard(error: BaseException) -> bool:
    """A KeyboardInterrupt where no SIGINT arrives is an error of user code like any other."""
    return isinstance(error, _Within) or (
        isinstance(error, KeyboardInterrupt) and callable(signal.getsignal(signal.SIGINT))
    )


def asked() -> bool:
    """Whether the step that runs is to end: it was told so, or its time is over. For any thread of it."""
    return _asked


def _in_main_thread() -> bool:
    return get_ident() == _main


def _forked() -> None:
    """The thread that forked is the main thread of the child."""
    global _main, _lock, _due
    _main, _lock, _due = get_ident(), threading.RLock(), None  # a child inherits no timers
    _reachable.clear()


os.register_at_fork(after_in_child=_forked)


def _after(handler: Handler) -> Handler:
    interrupt = _interrupter()

    def handle(number: int, frame: FrameType | None) -> None:
        handler(number, frame)
        if _armed:
            interrupt(number, frame)

    return handle


def _interrupter() -> Handler:
    """For the step that runs here, and not for one of a run within it."""
    depth = len(_reachable)

    def interrupt(number: int, frame: FrameType | None) -> None:
        _stop(depth, f"interrupted by {signal.Signals(number).name}")

    return interrupt


def _urge(number: int, frame: FrameType | None) -> None:
    global _late
    urged = [each for each in _reachable if not each.open and not each.heard]
    if not urged:
        return
    for each in urged:
        each.heard = True
    outermost = urged[0]  # the others end with it
    depth = _reachable.index(outermost) + 1
    if _armed and _asked and depth == len(_reachable):
        return  # it is being stopped
    before = _pending
    _stop(depth, "interrupted")
    if _pending is not None and _pending is not before:
        _late = outermost, _pending


def _stop(depth: int, reason: str) -> None:
    global _asked, _pending, _owed
    error: BaseException
    if depth < len(_reachable):
        if _owed is not None and _owed.depth <= depth:
            return  # it is being stopped
        _owed, error = _Owed(depth, reason), _Within()
    else:
        error = ExecutionInterruptedError(reason)
    _asked = True
    if _armed:
        raise error
    _pending = error


def _settle(depth: int) -> None:
    """Steps that run there owe nothing any more."""
    global _owed
    if _owed is not None and _owed.depth >= depth:
        _owed = None
