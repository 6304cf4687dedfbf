"""Signals that a thread hears: Python's handlers wait for the main thread, which may wait for something else, or hold
the lock that the handler would take.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], object]
Listeners: TypeAlias = Mapping[signal.Signals, Callable[[int], object]]

_END = b"\0"  #: no signal has this number
_inherited: dict[int, Any] = {}  #: what a forked child has in place of these handlers, by signal


def hear(listeners: Listeners, handler: Handler | None = None) -> Callable[[], None]:
    """From here on each of these signals calls its listener, with its number, in a thread; ``handler`` is called in the
    main thread as well, when that gets to it. Gives what undoes this. A forked child has none of it. Main thread only.
    """
    ear, hand = os.pipe()
    os.set_blocking(hand, False)
    thread = threading.Thread(target=_listen, args=(ear, listeners), name="opgrid-signals", daemon=True)
    thread.start()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if signal.set_wakeup_fd(hand, warn_on_full_buffer=False) != hand:  # an event loop that was here took it along
            os.write(hand, bytes([number]))
        if handler is not None:
            handler(number, frame)

    before = {number: signal.signal(number, on_signal) for number in listeners}
    outer, outers = signal.set_wakeup_fd(hand, warn_on_full_buffer=False), dict(_inherited)
    _inherited.update((number, outers.get(number, was)) for number, was in before.items())

    def undo() -> None:
        signal.set_wakeup_fd(outer)
        _inherited.clear()
        _inherited.update(outers)
        _put_back(before)
        os.write(hand, _END)
        thread.join()
        os.close(hand)
        os.close(ear)

    return undo


def _listen(ear: int, listeners: Listeners) -> None:
    while True:
        for number in os.read(ear, 64):
            if number == _END[0]:
                return
            listener = listeners.get(number)  # type: ignore[call-overload]
            if listener is not None:
                listener(number)


def _forked() -> None:
    """What reaches the child is not for its parent."""
    if _inherited:
        signal.set_wakeup_fd(-1)
        _put_back(_inherited)
        _inherited.clear()


def _put_back(handlers: Mapping[Any, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None:  # else it is none of Python's, which knows no way to set it
            signal.signal(number, handler)


os.register_at_fork(after_in_child=_forked)
