"""The one event loop of this process on which async ops run, on a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any, Final, NamedTuple

from opgrid.errors import ExecutionInterruptedError

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_END: Final = object()
_CLEANING: Final = 5.0  #: seconds that a body that was canceled may take for its ``finally``
_running: dict[int, Future[Any]] = {}  #: by the identity of the thread that waits
_asked: set[int] = set()  #: threads that were canceled while they waited for nothing


def event_loop() -> asyncio.AbstractEventLoop:
    """Started when the first async op needs it."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_go_on, args=(_loop,), name="opgrid-event-loop", daemon=True).start()
        return _loop


def _go_on(loop: asyncio.AbstractEventLoop) -> None:
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt):
            continue  # of a task, which has it too: that ends a step, and not the loop of all others
        return


def run(body: Coroutine[Any, Any, Any]) -> Any:
    """The coroutine's result. It sees the caller's context variables; an interrupt of the caller cancels it.

    Raises ExecutionInterruptedError when :func:`cancel` was called for the thread that waits here.
    """
    progress = _Progress()
    future = asyncio.run_coroutine_threadsafe(_tell(body, progress), event_loop())
    thread = threading.get_ident()
    _running[thread] = future
    if thread in _asked:
        forget(thread)
        future.cancel()
    try:
        result = future.result()
    except CancelledError as canceled:
        _let_clean_up(progress)
        raise ExecutionInterruptedError("The step was canceled.") from canceled
    except BaseException:
        if future.cancel():
            _let_clean_up(progress)
        raise
    finally:
        _running.pop(thread, None)
    if type(result) is _Canceled:
        raise result.error
    return result


def cancel(thread: int) -> None:
    """Stop the body that this thread waits for, or the next that it would wait for."""
    _asked.add(thread)
    future = _running.get(thread)
    if future is not None and future.cancel():
        forget(thread)


def forget(thread: int) -> None:
    """What was canceled there has ended without."""
    _asked.discard(thread)


def iterate(body: AsyncIterator[Any]) -> Iterator[Any]:
    """The items of an async generator, one by one; it is closed when the consumer stops early."""
    try:
        while True:
            item = run(_next(body))
            if item is _END:
                return
            yield item
    finally:
        if isinstance(body, AsyncGenerator):
            run(_close(body))


class _Progress:
    """Of a body."""

    __slots__ = ("begun", "ended", "unwanted")

    def __init__(self) -> None:
        self.begun = self.unwanted = False
        self.ended = threading.Event()


def _let_clean_up(progress: _Progress) -> None:
    """The loop has been told to cancel it. What that has not begun with, it does not begin."""
    progress.unwanted = True
    if progress.begun:
        progress.ended.wait(_CLEANING)


class _Canceled(NamedTuple):
    """A body raised this on its own: nobody has canceled it."""

    error: asyncio.CancelledError


async def _tell(body: Coroutine[Any, Any, Any], progress: _Progress) -> Any:
    progress.begun = True  # before it is looked whether anybody still wants it
    if progress.unwanted:
        body.close()
        progress.ended.set()
        return None
    try:
        return await body
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _Canceled(error)
    finally:
        progress.ended.set()


async def _next(body: AsyncIterator[Any]) -> Any:
    return await anext(body, _END)


async def _close(body: AsyncGenerator[Any, Any]) -> None:
    await body.aclose()


def _forget() -> None:
    """A forked child has no thread that would run its parent's loop."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()
    _asked.clear()


os.register_at_fork(after_in_child=_forget)
