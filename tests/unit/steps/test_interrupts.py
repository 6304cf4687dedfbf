"""Who is interrupted from another thread: user code of who asks for it, and nothing that comes before or after."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial

import pytest

from opgrid import JobDefinition, OpDefinition, job, op
from opgrid.errors import ExecutionInterruptedError
from opgrid.steps import interrupts


@contextmanager
def user_code() -> Iterator[None]:
    before = interrupts.armed()
    try:
        interrupts.arm()
        yield
    finally:
        interrupts.disarm(before)


def interrupt(owner: object) -> None:
    """From another thread; it has arrived when this returns."""
    thread = threading.Thread(target=interrupts.interrupt, args=(owner,))
    thread.start()
    thread.join()
    time.sleep(0)


def test_user_code_is_interrupted_while_it_waits() -> None:
    timer = threading.Timer(0.05, interrupts.interrupt, ["loop"])
    timer.start()
    with interrupts.reachable("loop"), user_code(), pytest.raises(ExecutionInterruptedError):
        time.sleep(60)
    assert interrupts.asked()


def test_a_signal_that_the_main_thread_does_not_notice_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    send, sent = interrupts._send, itertools.count()
    monkeypatch.setattr(interrupts, "_send", lambda: send() if next(sent) else None)
    timer = threading.Timer(0.05, interrupts.interrupt, ["loop"])
    timer.start()
    with interrupts.reachable("loop"), user_code(), pytest.raises(ExecutionInterruptedError):
        time.sleep(60)
    assert next(sent) >= 2


def test_what_is_not_user_code_goes_on_and_the_next_does_not_begin() -> None:
    with interrupts.reachable("loop"):
        interrupt("loop")
        with pytest.raises(ExecutionInterruptedError), user_code():
            raise AssertionError("it has begun")
        assert not interrupts.armed()


def test_what_came_too_late_interrupts_nobody() -> None:
    with interrupts.reachable("loop"):
        interrupt("loop")
    with interrupts.reachable("another"), user_code():
        assert not interrupts.asked()
    interrupt("loop")
    with interrupts.reachable("loop"), user_code():
        interrupt("another")


def test_who_was_interrupted_is_left_to_clean_up() -> None:
    cleaned = []
    with interrupts.reachable("loop"):
        with pytest.raises(ExecutionInterruptedError), user_code():
            try:
                interrupt("loop")
            finally:
                interrupt("loop")
                cleaned.append(True)
        with user_code():
            interrupt("loop")
    assert cleaned


def test_a_run_within_a_step_has_interrupts_of_its_own() -> None:
    with interrupts.reachable("outer"), user_code():
        with interrupts.reachable("inner"):
            interrupt("inner")  # its loop is no user code
            with pytest.raises(ExecutionInterruptedError), user_code():
                raise AssertionError("it has begun")
        with interrupts.reachable("inner"):
            interrupt("inner")
        time.sleep(0)


def test_a_run_within_a_step_is_canceled_when_that_is_interrupted() -> None:
    outer, inner = interrupts.reachable("outer"), interrupts.reachable("inner")
    with outer, user_code(), inner, pytest.raises(KeyboardInterrupt), user_code():
        interrupt("outer")
    outer, inner = interrupts.reachable("outer"), interrupts.reachable("inner")
    with outer, user_code(), pytest.raises(KeyboardInterrupt), inner:
        interrupt("outer")


def test_a_signal_for_the_step_waits_for_the_run_within_it() -> None:
    terminated, inner = interrupts.interruptible(signal.SIGTERM), interrupts.reachable("inner")
    with terminated, user_code(), pytest.raises(KeyboardInterrupt), inner:
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("around", "happens"),
    [
        (partial(interrupts.interruptible, signal.SIGTERM), terminate),
        (interrupts.passed_on, terminate),
        (partial(interrupts.reachable, "outer"), partial(interrupt, "outer")),
        (partial(interrupts.deadline, 0.1), partial(time.sleep, 60)),
    ],
)
@pytest.mark.parametrize("levels", [1, 2])
def test_the_runs_within_a_step_are_canceled_and_then_the_step_is_interrupted(
    around: Callable[[], AbstractContextManager[None]], happens: Callable[[], None], levels: int
) -> None:
    begun, ended = [], []

    @op
    def inner() -> None:
        begun.append(True)
        happens()

    @op
    def middle() -> None:
        ended.append(job_of(inner).execute_in_process(raise_on_error=False))

    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with around(), pytest.raises(ExecutionInterruptedError), user_code():
            ended.append(job_of(inner if levels == 1 else middle).execute_in_process(raise_on_error=False))
        with user_code():
            time.sleep(0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (len(begun), ended) == (1, [])


def job_of(only: OpDefinition) -> JobDefinition:
    @job
    def one() -> None:
        only()

    return one


def test_a_time_limit_within_another_ends_with_it_and_leaves_it_running() -> None:
    with pytest.raises(ExecutionInterruptedError), interrupts.deadline(0.05), user_code(), interrupts.deadline(60):
        time.sleep(60)
    with pytest.raises(ExecutionInterruptedError), interrupts.deadline(0.2), user_code():
        with pytest.raises(ExecutionInterruptedError), interrupts.deadline(0.05):
            time.sleep(60)
        time.sleep(60)


def test_who_is_interrupted_along_with_the_run_within_it_does_not_miss_it() -> None:
    outer, inner = interrupts.reachable("outer"), interrupts.reachable("inner")
    around, within = interrupts.passing_through(), suppress(KeyboardInterrupt)
    with outer, pytest.raises(ExecutionInterruptedError), user_code(), around, within, inner, user_code():
        with blocked():
            interrupt("outer")
            interrupt("inner")
        raise AssertionError("it goes on")


@contextmanager
def blocked() -> Iterator[None]:
    """As code that is not Python keeps signals waiting."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGURG])


def test_other_handlers_of_the_signal_are_put_back() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGURG, lambda number, frame: heard.append(number))
    try:
        with interrupts.reachable("loop"):
            interrupt("loop")
        assert not heard
        signal.raise_signal(signal.SIGURG)
        assert heard == [signal.SIGURG]
    finally:
        signal.signal(signal.SIGURG, before)


def test_a_thread_is_not_interrupted() -> None:
    ended = []

    def run() -> None:
        with interrupts.reachable("thread"), user_code():
            interrupts.interrupt("thread")
            ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended
