"""Signals that a thread hears, whatever the main thread does meanwhile."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading
from collections.abc import Iterator

import pytest

from orchestrator.engine.signals import hear

WAIT = 30.0


@pytest.fixture
def calls() -> Iterator[queue.SimpleQueue[int]]:
    made: queue.SimpleQueue[int] = queue.SimpleQueue()
    undo = hear({signal.SIGUSR1: made.put})
    yield made
    undo()


def test_a_listener_is_called_while_the_main_thread_holds_what_it_needs() -> None:
    lock, seen = threading.Lock(), threading.Event()

    def listen(number: int) -> None:
        with lock:
            seen.set()

    undo = hear({signal.SIGUSR1: listen})
    with lock:
        signal.raise_signal(signal.SIGUSR1)  # a handler would wait here for ever
    assert seen.wait(WAIT)
    undo()


def test_signals_come_one_by_one_and_others_are_not_told(calls: queue.SimpleQueue[int]) -> None:
    before = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    try:
        for number in (signal.SIGUSR2, signal.SIGUSR1):
            signal.raise_signal(number)
        assert calls.get(timeout=WAIT) == signal.SIGUSR1
        assert calls.empty()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_who_takes_the_signals_of_the_process_away_leaves_these(calls: queue.SimpleQueue[int]) -> None:
    async def listens() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, calls.put, signal.SIGUSR2)

    asyncio.run(listens())
    for _ in range(2):
        signal.raise_signal(signal.SIGUSR1)
        assert calls.get(timeout=WAIT) == signal.SIGUSR1
    assert calls.empty()


def test_all_is_as_it_was_afterwards() -> None:
    before = signal.getsignal(signal.SIGUSR1), threading.active_count()
    descriptors = len(os.listdir("/dev/fd"))
    outer = hear({signal.SIGUSR1: lambda number: None})
    inner = hear({signal.SIGUSR1: lambda number: None})
    inner()
    assert signal.getsignal(signal.SIGUSR1) != before[0]
    outer()
    assert (signal.getsignal(signal.SIGUSR1), threading.active_count()) == before
    assert signal.set_wakeup_fd(-1) == -1
    assert len(os.listdir("/dev/fd")) == descriptors


def test_a_forked_child_ends_by_a_signal_that_its_parent_does_not_hear(calls: queue.SimpleQueue[int]) -> None:
    child = os.fork()
    if child == 0:
        signal.raise_signal(signal.SIGUSR1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGUSR1
    signal.raise_signal(signal.SIGUSR1)
    assert calls.get(timeout=WAIT) == signal.SIGUSR1
    assert calls.empty()
