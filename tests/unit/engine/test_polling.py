"""Several executors at once, on real threads; signals; what reaches the loop from outside."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from opgrid.contracts.events import AnyEvent, StepCanceled, StepStarted, StepSucceeded
from opgrid.contracts.executor import Executor, Polled
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import OutputRef, RunBrief, StepTask
from opgrid.errors import ExecutionInterruptedError, ExecutorUnavailable
from opgrid.ids import RunId, StepKey
from opgrid.steps import interrupts
from orchestrator.engine.inbox import Inbox, cancel_on_signals
from orchestrator.engine.loop import LiveRun, drive
from orchestrator.planner.compile import compile
from tests.unit.engine.fakes import RUN, Body, FakeClock, FakeExecutor, MemoryLog, brief
from tests.unit.engine.jobs import call, chain, job, op, snapshot


class ThreadExecutor(Executor):
    """Steps run on threads; ``poll`` blocks on a queue. Fails when it is talked to while it is polled."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[AnyEvent | None] = queue.SimpleQueue()
        self.stuck = threading.Event()
        self.hold: set[str] = set()
        self.polling = False
        self.out: list[StepTask] = []
        self.unreachable = 0

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        assert not self.polling
        self.out.extend(tasks)
        for task in tasks:
            threading.Thread(target=self._run, args=(task,), daemon=True).start()

    def poll(self, timeout: float) -> Polled:
        if self.unreachable:
            self.unreachable -= 1
            raise ExecutorUnavailable("no broker")
        self.polling = True
        try:
            event = self.said.get(timeout=timeout)
        except queue.Empty:
            event = None
        finally:
            self.polling = False
        return Polled([event] if event is not None else [], "")

    def wake(self) -> None:
        self.said.put(None)

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        assert not self.polling
        for step, attempt in steps:
            self.said.put(StepCanceled(run_id=run_id, at=time.time(), step=step, attempt=attempt))

    def _run(self, task: StepTask) -> None:
        run, step, attempt = task.run_id, task.step, task.attempt
        self.said.put(StepStarted(run_id=run, at=time.time(), step=step, attempt=attempt))
        if step in self.hold:
            self.stuck.set()
            return
        outputs = (OutputRef(run, step, "result", None, attempt),)
        self.said.put(StepSucceeded(run_id=run, at=time.time(), step=step, attempt=attempt, outputs=outputs))


def mixed() -> LiveRun:
    """Steps that alternate between three executors."""
    names = ["one", "two", "here"]
    ops = [op("first")] + [op(f"on_{name}", "x", tags={"opgrid/executor": name}) for name in names]
    nodes = [call("s0", "first")]
    nodes += [call(f"s{n}", f"on_{names[n % 3]}", x=f"s{n - 1}") for n in range(1, 60)]
    return LiveRun.new(brief(executor="one"), compile(snapshot(job(ops, *nodes))))


def best(of: Callable[[], None], enough: float) -> float:
    """Seconds, of several tries where it has to be: machines are busy."""
    took: list[float] = []
    while not took or (min(took) >= enough and len(took) < 5):
        began = time.monotonic()
        of()
        took.append(time.monotonic() - began)
    return min(took)


def test_a_run_goes_back_and_forth_between_executors_without_delay() -> None:
    def run() -> None:
        executors = {"one": ThreadExecutor(), "two": ThreadExecutor(), "here": FakeExecutor(FakeClock())}
        assert drive([mixed()], executors, MemoryLog()) == {RUN: RunStatus.SUCCESS}

    assert best(run, 2.0) < 2.0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("opgrid-poll")]


def test_an_error_of_an_executor_ends_the_loop_whatever_thread_it_comes_from() -> None:
    class Broken(ThreadExecutor):
        def poll(self, timeout: float) -> Polled:
            raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        drive([mixed()], {"one": Broken(), "two": ThreadExecutor(), "here": FakeExecutor(FakeClock())}, MemoryLog())


def test_an_executor_that_cannot_be_polled_for_a_while_is_polled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.engine.polling.UNREACHABLE", 0.01)
    alone = ThreadExecutor()
    alone.unreachable = 3
    run = LiveRun.new(brief(executor="one"), compile(snapshot(chain(3))))
    assert drive([run], {"one": alone}, MemoryLog()) == {RUN: RunStatus.SUCCESS}
    executors = {"one": ThreadExecutor(), "two": ThreadExecutor(), "here": FakeExecutor(FakeClock())}
    for each in ("one", "two"):
        executors[each].unreachable = 2  # type: ignore[attr-defined]
    assert drive([mixed()], executors, MemoryLog()) == {RUN: RunStatus.SUCCESS}


@pytest.mark.parametrize("others", [0, 1])
def test_a_cancel_from_another_thread_is_obeyed_at_once(others: int) -> None:
    def run_and_cancel() -> None:
        executor, inbox = ThreadExecutor(), Inbox()
        executor.hold.add("s1")
        executors = {"one": executor} | ({"two": ThreadExecutor()} if others else {})

        def cancel() -> None:
            assert executor.stuck.wait(60)
            inbox.request_cancel(RUN)

        threading.Thread(target=cancel, daemon=True).start()
        run = LiveRun.new(brief(executor="one"), compile(snapshot(chain(3))))
        assert drive([run], executors, MemoryLog(), inbox=inbox) == {RUN: RunStatus.CANCELED}

    assert best(run_and_cancel, 1.0) < 1.0


def test_a_signal_cancels_all_runs() -> None:
    executor, inbox = ThreadExecutor(), Inbox()
    executor.hold.add("s0")

    def kill() -> None:
        assert executor.stuck.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=kill, daemon=True).start()
    run, log = LiveRun.new(brief(executor="one"), compile(snapshot(chain(2)))), MemoryLog()
    before = signal.getsignal(signal.SIGTERM)
    with cancel_on_signals(inbox):
        assert drive([run], {"one": executor}, log, inbox=inbox) == {RUN: RunStatus.CANCELED}
    assert signal.getsignal(signal.SIGTERM) is before


def in_user_code(executor: FakeExecutor, clock: FakeClock, body: Callable[[], None]) -> Body:
    """A step that ends as ``body`` does, as run_step reports it."""

    def step(task: StepTask) -> None:
        try:
            interrupts.arm()
            body()
        except ExecutionInterruptedError:
            executor.events.append(StepCanceled(run_id=RUN, at=clock.now, step=task.step, attempt=task.attempt))
        finally:
            interrupts.disarm()

    return step


def test_a_signal_gets_through_to_user_code_on_the_loops_own_thread() -> None:
    inbox, clock = Inbox(), FakeClock()

    def body() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    executor = FakeExecutor(clock)
    executor.bodies = {"s0": in_user_code(executor, clock, body)}
    run = LiveRun.new(brief(), compile(snapshot(chain(2))))
    began = time.monotonic()
    with cancel_on_signals(inbox) as received:
        assert drive([run], {"fake": executor}, MemoryLog(), clock=clock, inbox=inbox) == {RUN: RunStatus.CANCELED}
    assert time.monotonic() - began < 30
    assert received == [signal.SIGINT]


def test_what_is_canceled_just_after_its_step_has_ended_keeps_what_that_told() -> None:
    """User code is over: there is nothing that an interrupt could stop."""
    inbox, clock, log = Inbox(), FakeClock(), MemoryLog()

    def ends(task: StepTask) -> None:
        inbox.request_cancel(RUN, "enough")
        inbox.interrupt()
        time.sleep(0)  # where signals are heard

    executor = FakeExecutor(clock, {"s0": ends})
    run = LiveRun.new(brief(), compile(snapshot(chain(2))))
    assert drive([run], {"fake": executor}, log, clock=clock, inbox=inbox) == {RUN: RunStatus.CANCELED}
    told = [type(event) for event in log.read(RUN)]
    assert told.count(StepSucceeded) == 1


def test_what_is_canceled_just_before_its_step_begins_does_not_begin() -> None:
    inbox, clock = Inbox(), FakeClock()

    class Late(FakeExecutor):
        def poll(self, timeout: float) -> Polled:
            inbox.request_cancel(RUN, "enough")  # the loop has looked for requests
            inbox.interrupt()
            return super().poll(timeout)

    executor, begun = Late(clock), list[str]()
    executor.bodies = {"s0": in_user_code(executor, clock, lambda: begun.append("s0"))}
    run = LiveRun.new(brief(), compile(snapshot(chain(2))))
    assert drive([run], {"fake": executor}, MemoryLog(), clock=clock, inbox=inbox) == {RUN: RunStatus.CANCELED}
    assert not begun
