"""The contract of executors, as a suite: subclass :class:`ExecutorContract` and give it an executor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    HookCompleted,
    HookSkipped,
    LogMessage,
    StepCanceled,
    StepEvent,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, ExecutorSetup
from opgrid.contracts.tasks import (
    CodeTarget,
    Gathered,
    JobRef,
    OutputRef,
    RunBrief,
    Source,
    StepTask,
    Stored,
    TaskInput,
)
from opgrid.contracts.told import unfolded
from opgrid.ids import NodePath, StepKey, new_run_id
from opgrid.testing.contract_jobs import FOLDER, contract

#: Where the job of the suite is loaded from; workers that are started for it need the same.
CODE = CodeTarget(module="opgrid.testing.contract_jobs")
Terminal = StepSucceeded | StepFailed | StepLost | StepCanceled
_PATIENCE = 30.0


def contract_setup(home: Path, broker_url: str | None = None, stream: str = "", **config: object) -> ExecutorSetup:
    """What an executor under test is created from."""
    return ExecutorSetup(config=config, home=str(home), code=CODE, job=contract, broker_url=broker_url, stream=stream)


class Conversation:
    """One run with an executor: tasks in, events out, and patience with an end."""

    def __init__(self, executor: Executor, folder: Path, stream: str = "", **brief: Any) -> None:
        self.executor = executor
        name = type(executor).__name__
        self.brief = RunBrief(
            run_id=new_run_id(),
            job=JobRef(contract.name, contract.structure_hash, CODE.location),
            executor=ExecutorChoice(name),
            tags={FOLDER: str(folder)},
            io=executor.default_io,
            stream=stream,
            **brief,
        )
        self.events: list[AnyEvent] = []

    def task(self, node: str, attempt: int = 1, step: str | None = None, **fields: Any) -> StepTask:
        return StepTask(self.brief.run_id, StepKey(step or node), NodePath(node), attempt, **fields)

    def submit(self, *tasks: StepTask) -> None:
        self.executor.submit(self.brief, tasks)

    def start(self, node: str, **fields: Any) -> StepTask:
        task = self.task(node, **fields)
        self.submit(task)
        return task

    def run(self, node: str, **fields: Any) -> Terminal:
        return self.end_of(self.start(node, **fields))

    def poll(self, timeout: float = 0.2) -> Sequence[AnyEvent]:
        polled = self.executor.poll(timeout)
        events = list(unfolded(polled.events))
        self.events += events
        self.executor.acknowledge(polled.position)
        return events

    def of(self, task: StepTask) -> list[StepEvent]:
        """The events of one attempt, in the order in which they came."""
        return [
            event
            for event in self.events
            if isinstance(event, StepEvent) and (event.run_id, event.step, event.attempt) == task.id
        ]

    def end_of(self, task: StepTask) -> Terminal:
        end: Terminal = self.wait(task, StepSucceeded | StepFailed | StepLost | StepCanceled)
        return end

    def wait(self, task: StepTask, kind: Any) -> Any:
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            for event in self.of(task):
                if isinstance(event, kind):
                    return event
            self.poll()
        raise AssertionError(f"{task.step!r} gave no {kind} in {_PATIENCE:g} s; it gave {self.of(task)}")

    def value_of(self, task: StepTask) -> OutputRef:
        end = self.end_of(task)
        assert isinstance(end, StepSucceeded), end
        (ref,) = end.outputs
        return ref


def given(**sources: Source) -> tuple[TaskInput, ...]:
    return tuple(TaskInput(name, source) for name, source in sources.items())


class ExecutorContract:
    """Whatever runs steps has to pass this.

    ``class TestMine(ExecutorContract)`` with a fixture ``executor`` that makes one from :func:`contract_setup` and
    closes it.
    """

    #: What a coordinator would give as its own stream (``RunBrief.stream``).
    stream = ""

    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[Executor]:
        raise NotImplementedError("give a fixture: executor")

    @pytest.fixture
    def run(self, executor: Executor, tmp_path: Path) -> Conversation:
        return Conversation(executor, tmp_path, self.stream)

    # ---- how steps end -----------------------------------------------------------------------------------------------

    def test_success(self, run: Conversation) -> None:
        task = run.start("five")
        end = run.end_of(task)
        assert isinstance(end, StepSucceeded)
        (ref,) = end.outputs
        assert (ref.run_id, ref.step, ref.output, ref.attempt) == (*task.id[:2], "result", 1)
        assert ref.manifest is not None
        assert end.seconds >= 0

    def test_events_of_an_attempt_come_in_order(self, run: Conversation) -> None:
        task = run.start("five")
        run.end_of(task)
        events = run.of(task)
        assert isinstance(events[0], StepStarted)
        assert sum(isinstance(event, StepStarted) for event in events) == 1
        kinds = [event.TYPE.value for event in events]
        assert kinds.index("STEP_START") < kinds.index("STEP_OUTPUT") < kinds.index("HANDLED_OUTPUT")
        assert kinds.index("HANDLED_OUTPUT") < kinds.index("STEP_SUCCESS")

    def test_failure_says_what_was_raised_and_where(self, run: Conversation) -> None:
        end = run.run("fail")
        assert isinstance(end, StepFailed)
        assert end.allow_retries
        assert not end.timed_out
        raised = _innermost(end.error)
        assert (raised.kind, raised.message) == ("ValueError", "no luck")
        assert "contract_jobs.py" in raised.traceback

    def test_whatever_a_step_writes_and_raises_is_told(self, run: Conversation) -> None:
        end = run.run("fail_oddly")
        assert isinstance(end, StepFailed), end
        assert end.error.kind == "Odd"
        _eventually(lambda: any(isinstance(event, LogMessage) for event in run.events), run)
        assert isinstance(run.run("five"), StepSucceeded)

    def test_failure_for_good(self, run: Conversation) -> None:
        end = run.run("fail_for_good")
        assert isinstance(end, StepFailed)
        assert not end.allow_retries
        assert "cause" in end.error.metadata

    def test_ops_may_start_processes(self, run: Conversation) -> None:
        assert isinstance(run.run("start_a_process"), StepSucceeded)

    def test_loss_costs_its_own_step_only(self, run: Conversation) -> None:
        if not run.executor.crosses_processes:
            pytest.skip("a step that kills this executor's process kills the test")
        others = [run.start("pause", step=f"pause_{number}") for number in range(3)]
        end = run.run("be_killed")
        assert isinstance(end, StepLost)
        assert end.cause.signal == signal.SIGKILL
        assert end.cause.pid > 0
        assert all(isinstance(run.end_of(task), StepSucceeded) for task in others)
        left = run.run("leave")
        assert isinstance(left, StepLost)
        assert left.cause.exit_code == 7
        assert isinstance(run.run("five"), StepSucceeded)

    def test_the_attempt_after_a_loss_runs(self, run: Conversation) -> None:
        if not run.executor.crosses_processes:
            pytest.skip("a step that kills this executor's process kills the test")
        assert isinstance(run.run("be_killed"), StepLost)
        assert isinstance(run.run("be_killed", attempt=2), StepLost)

    def test_what_an_op_makes_of_its_process_is_not_the_next_ones(self, run: Conversation, tmp_path: Path) -> None:
        if not run.executor.crosses_processes:
            pytest.skip("this executor's process is the test's")
        assert isinstance(run.run("look_around"), StepSucceeded)
        assert isinstance(run.run("wander"), StepSucceeded)
        assert isinstance(run.run("look_around", attempt=2), StepSucceeded)
        assert (tmp_path / "around-1").read_text() == (tmp_path / "around-2").read_text()

    def test_a_step_whose_time_runs_out_fails(self, run: Conversation) -> None:
        end = run.run("sleep_alone", timeout=0.5)
        assert isinstance(end, StepFailed)
        assert end.timed_out

    def test_a_job_that_is_not_the_planned_one_fails_its_step(self, executor: Executor, tmp_path: Path) -> None:
        if not executor.crosses_processes:
            pytest.skip("this executor is handed the job itself")
        run = Conversation(executor, tmp_path, self.stream)
        run.brief = _with_job(run.brief, JobRef(contract.name, "another structure", CODE.location))
        end = run.run("five")
        assert isinstance(end, StepFailed)
        assert "structure" in end.error.message

    # ---- values ------------------------------------------------------------------------------------------------------

    def test_a_later_step_reads_what_an_earlier_one_stored(self, run: Conversation) -> None:
        five = run.value_of(run.start("five"))
        six = run.value_of(run.start("add_one", inputs=given(number=Stored(five))))
        end = run.run("total", inputs=given(numbers=Gathered((five, six, five))))
        assert isinstance(end, StepSucceeded), end

    def test_outputs_that_were_not_yielded_are_not_reported(self, run: Conversation) -> None:
        end = run.run("split")
        assert isinstance(end, StepSucceeded)
        assert [ref.output for ref in end.outputs] == ["low"]

    def test_dynamic_outputs_carry_their_keys(self, run: Conversation) -> None:
        end = run.run("spread")
        assert isinstance(end, StepSucceeded)
        assert [ref.mapping_key for ref in end.outputs] == ["k0", "k1", "k2"]
        mapped = run.run(
            "add_to_each", step="add_to_each[k2]", mapping_keys=("k2",), inputs=given(number=Stored(end.outputs[2]))
        )
        assert isinstance(mapped, StepSucceeded)

    # ---- submitting and polling --------------------------------------------------------------------------------------

    def test_submitting_twice_starts_once(self, run: Conversation, tmp_path: Path) -> None:
        task = run.task("count")
        run.submit(task, task)
        run.submit(task)
        run.end_of(task)
        run.submit(task)
        _idle(run)
        assert (tmp_path / "count").read_text() == "."

    def test_another_attempt_is_another_start(self, run: Conversation, tmp_path: Path) -> None:
        run.run("count")
        run.run("count", attempt=2)
        assert (tmp_path / "count").read_text() == ".."

    def test_many_steps(self, run: Conversation) -> None:
        tasks = [run.task("five", step=f"five_{number}") for number in range(60)]
        run.submit(*tasks)
        assert all(isinstance(run.end_of(task), StepSucceeded) for task in tasks)
        _idle(run)
        starts = [event.step for event in run.events if isinstance(event, StepStarted)]
        assert sorted(starts) == sorted(task.step for task in tasks)

    def test_runs_do_not_mix(self, executor: Executor, tmp_path: Path) -> None:
        first, second = (Conversation(executor, tmp_path, self.stream) for _ in range(2))
        tasks = [first.start("five"), second.start("five")]
        until = time.monotonic() + _PATIENCE
        events: list[AnyEvent] = []
        while sum(isinstance(event, StepSucceeded) for event in events) < 2 and time.monotonic() < until:
            events += unfolded(executor.poll(0.2).events)
        ended = {event.run_id for event in events if isinstance(event, StepSucceeded)}
        assert ended == {task.run_id for task in tasks}
        executor.release(first.brief.run_id)
        executor.release(first.brief.run_id)

    def test_poll_blocks_no_longer_than_it_may(self, run: Conversation) -> None:
        started = time.monotonic()
        assert not run.poll(0)
        assert not run.poll(0.2)
        assert time.monotonic() - started < 2

    def test_poll_returns_as_soon_as_there_is_something(self, run: Conversation) -> None:
        run.run("five")
        task = run.start("five", attempt=2)
        started = time.monotonic()
        while not any(isinstance(event, StepSucceeded) for event in run.of(task)):
            run.poll(10)
        assert time.monotonic() - started < 5

    # ---- cancel, logs, hooks, close ----------------------------------------------------------------------------------

    def test_cancel_what_has_not_started(self, run: Conversation, tmp_path: Path) -> None:
        tasks = [run.task("count", step=f"count_{number}") for number in range(40)]
        run.submit(*tasks)
        run.executor.cancel(run.brief.run_id, [(task.step, task.attempt) for task in tasks])
        ends = [run.end_of(task) for task in tasks]
        assert any(isinstance(end, StepCanceled) for end in ends)
        started = {event.step for event in run.events if isinstance(event, StepStarted)}
        assert all(
            task.step in started for task, end in zip(tasks, ends, strict=True) if isinstance(end, StepSucceeded)
        )

    def test_cancel_what_runs(self, run: Conversation, tmp_path: Path) -> None:
        if not run.executor.crosses_processes:
            pytest.skip("the step runs in the thread that would cancel it")
        task = run.start("sleep_long")
        run.wait(task, StepStarted)
        trace = tmp_path / "child-1"
        _eventually(trace.exists, run)
        run.executor.cancel(run.brief.run_id, [(task.step, task.attempt)])
        assert isinstance(run.end_of(task), StepCanceled)
        _eventually(lambda: not _alive(int(trace.read_text())), run)
        assert isinstance(run.run("five"), StepSucceeded)

    def test_cancel_what_who_drove_the_run_before_may_be_about_to_send(self, run: Conversation) -> None:
        if run.executor.recover(run.brief) is None:
            pytest.skip("nothing that this executor runs survives who drives the run")
        task = run.task("count", step="count_1")
        run.executor.cancel(run.brief.run_id, [(task.step, task.attempt)])
        assert isinstance(run.end_of(task), StepCanceled)
        run.submit(task)
        assert isinstance(run.run("five"), StepSucceeded)
        assert not [event for event in run.events if isinstance(event, StepStarted) and event.step == task.step]

    def test_logs_arrive(self, run: Conversation) -> None:
        task = run.start("speak")
        run.end_of(task)
        _eventually(lambda: any(isinstance(event, LogMessage) for event in run.events), run)
        told = [event for event in run.events if isinstance(event, LogMessage)]
        assert [(event.message, event.step) for event in told] == [("hello from speak", "speak")]

    def test_hooks_run_after_the_outcome(self, run: Conversation) -> None:
        for node, hook in (("five", "applaud"), ("fail", "console")):
            task = run.start(node)
            run.end_of(task)
            _eventually(lambda task=task: any(isinstance(event, HookCompleted) for event in run.of(task)), run)
            (done,) = [event for event in run.of(task) if isinstance(event, HookCompleted)]
            assert done.hook == hook

    def test_a_process_that_dies_in_a_hook_takes_nothing_back(self, run: Conversation) -> None:
        if not run.executor.crosses_processes:
            pytest.skip("a hook that kills this executor's process kills the test")
        task = run.start("mourned")
        assert isinstance(run.end_of(task), StepSucceeded)
        lost = run.wait(task, StepLost)
        assert lost.after_end
        assert lost.cause.signal == signal.SIGKILL
        assert isinstance(run.run("five"), StepSucceeded)

    def test_hooks_of_a_step_whose_process_died_run_elsewhere(self, run: Conversation) -> None:
        if run.executor.crosses_processes:
            task = run.start("be_killed")
            run.end_of(task)
        else:
            task = run.task("be_killed")  # its process would be that of the test
        if not run.executor.run_hooks(run.brief, task, ErrorInfo("Boom", "it died")):
            pytest.skip("this executor runs hooks where their step ran, and nowhere else")
        done = run.wait(task, HookCompleted)
        assert done.hook == "console"
        assert {event.hook for event in run.of(task) if isinstance(event, HookSkipped)} == {"applaud"}

    def test_close_twice(self, run: Conversation) -> None:
        run.run("five")
        run.executor.close()
        run.executor.close()

    def test_close_ends_what_runs(self, run: Conversation, tmp_path: Path) -> None:
        if not run.executor.crosses_processes:
            pytest.skip("nothing runs while nobody polls")
        run.wait(run.start("sleep_long"), StepStarted)
        trace = tmp_path / "child-1"
        _eventually(trace.exists, run)
        pid = int(trace.read_text())
        run.executor.close()
        until = time.monotonic() + _PATIENCE
        while _alive(pid):
            assert time.monotonic() < until, "what the step started outlived the executor"
            time.sleep(0.01)


def _innermost(error: ErrorInfo) -> ErrorInfo:
    while error.cause is not None:
        error = error.cause
    return error


def _with_job(brief: RunBrief, job: JobRef) -> RunBrief:
    import msgspec

    return msgspec.structs.replace(brief, job=job)


def _idle(run: Conversation) -> None:
    for _ in range(3):
        run.poll(0.1)


def _eventually(holds: Any, run: Conversation) -> None:
    until = time.monotonic() + _PATIENCE
    while not holds():
        assert time.monotonic() < until, "waited in vain"
        run.poll(0.05)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


__all__ = ["CODE", "Conversation", "ExecutorContract", "contract_setup", "given"]
