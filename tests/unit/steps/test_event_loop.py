"""Bodies of async ops that are stopped before they begin, and between two of their parts."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from opgrid.errors import ExecutionInterruptedError
from opgrid.steps import event_loop

HERE = threading.get_ident()


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    event_loop.forget(HERE)


async def lasts(begun: list[int]) -> None:
    begun.append(1)
    await asyncio.sleep(60)


def test_who_was_canceled_before_the_body_began_does_not_wait_for_it() -> None:
    began = time.monotonic()
    event_loop.cancel(HERE)
    with pytest.raises(ExecutionInterruptedError):
        event_loop.run(lasts([]))
    assert time.monotonic() - began < 30
    with pytest.raises(TimeoutError):  # the next one is not
        event_loop.run(asyncio.wait_for(lasts([]), 0.01))


def test_a_body_that_the_loop_has_not_begun_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_loop, "_CLEANING", 1000.0)
    held, begun = threading.Event(), list[int]()
    event_loop.event_loop().call_soon_threadsafe(held.wait)
    threading.Timer(0.05, held.set).start()
    event_loop.cancel(HERE)
    with pytest.raises(ExecutionInterruptedError):
        event_loop.run(lasts(begun))
    assert not begun


def test_a_generator_that_is_canceled_between_two_items_ends_and_cleans_up() -> None:
    cleaned = []

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    given = event_loop.iterate(items())
    assert next(given) == 1
    event_loop.cancel(HERE)
    with pytest.raises(ExecutionInterruptedError):
        next(given)
    given.close()  # type: ignore[attr-defined]
    assert cleaned
