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
    cleaned = threading.Event()
    future = asyncio.run_coroutine_threadsafe(_tell(body, cleaned), event_loop())
    thread = threading.get_ident()
    _running[thread] = future
    try:
        result = future.result()
    except CancelledError as canceled:
        cleaned.wait(_CLEANING)
        raise ExecutionInterruptedError("The step was canceled.") from canceled
    except BaseException:
        if future.cancel():
            cleaned.wait(_CLEANING)
        raise
    finally:
        _running.pop(thread, None)
    if type(result) is _Canceled:
        raise result.error
    return result


def cancel(thread: int) -> None:
    """Stop the body that this thread waits for, if it waits for one."""
    future = _running.get(thread)
    if future is not None:
        future.cancel()


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


class _Canceled(NamedTuple):
    """A body raised this on its own: nobody has canceled it."""

    error: asyncio.CancelledError


async def _tell(body: Coroutine[Any, Any, Any], cleaned: threading.Event) -> Any:
    try:
        return await body
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return _Canceled(error)
    finally:
        cleaned.set()


async def _next(body: AsyncIterator[Any]) -> Any:
    return await anext(body, _END)


async def _close(body: AsyncGenerator[Any, Any]) -> None:
    await body.aclose()


def _forget() -> None:
    """A forked child has no thread that would run its parent's loop."""
    global _loop, _lock
    _loop, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
