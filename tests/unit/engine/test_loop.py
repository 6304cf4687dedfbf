"""The run loop, driven for real with a fake executor and a log in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import pytest

from opgrid.contracts.events import (
    AnyEvent,
    EngineNote,
    LogMessage,
    RunStarted,
    RunSucceeded,
    StepCanceled,
    StepDispatched,
    StepEvent,
    StepOutput,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.executor import Polled
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.structure import Retry
from opgrid.contracts.tasks import Gathered, RunBrief, StepTask
from opgrid.contracts.told import decode_reports, encode_reports, unfolded
from opgrid.errors import ExecutorUnavailable, UnknownExecutor
from opgrid.ids import NodePath, RunId, StepKey
from orchestrator.engine import loop
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import LiveRun, drive
from orchestrator.engine.outbox import FIRST_DELAY
from orchestrator.engine.recovery import resume
from orchestrator.planner.compile import compile
from tests.unit.engine.fakes import RUN, Boom, FakeClock, FakeExecutor, Lost, MemoryLog, brief
from tests.unit.engine.jobs import call, chain, collected, fan_in, fan_out_job, job, mapped, op, snapshot


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


def test_a_chain_runs_in_order_and_its_log_tells_the_story(clock: FakeClock, log: MemoryLog) -> None:
    executor = FakeExecutor(clock)
    run = LiveRun.new(brief(), compile(snapshot(chain(5))))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    run.machine.check()
    assert [task.step for task in executor.submitted] == ["s0", "s1", "s2", "s3", "s4"]
    assert isinstance(log.events[RUN][0], RunStarted)
    assert isinstance(log.events[RUN][-1], RunSucceeded)
    assert log.statuses[RUN] == [RunStatus.STARTED, RunStatus.SUCCESS]
    assert executor.released == [RUN]


def test_an_executor_hears_how_broad_a_run_will_be_before_its_first_step(clock: FakeClock, log: MemoryLog) -> None:
    class Foreseeing(FakeExecutor):
        def foresee(self, run: RunBrief, breadth: int) -> None:
            foreseen.append((run.run_id, breadth, len(self.submitted)))

    foreseen: list[tuple[RunId, int, int]] = []
    structure = job([op("a"), op("inc", "x")], call("a"), *(call(f"inc{n}", "inc", x="a") for n in range(3)))
    plan = compile(snapshot(structure))
    drive([LiveRun.new(brief(), plan)], {"fake": Foreseeing(clock)}, log, clock=clock)
    assert foreseen == [(RUN, 3, 0)]
    elsewhere = [msgspec.structs.replace(spec, executor="other") for spec in plan.steps[2:]]
    run = LiveRun.new(brief(), msgspec.structs.replace(plan, steps=(*plan.steps[:2], *elsewhere)))
    drive([run], {"fake": Foreseeing(clock), "other": FakeExecutor(clock)}, MemoryLog(), clock=clock)
    assert foreseen[1:] == [(RUN, 1, 0)]  # the others are not its own


def test_a_fan_out_of_a_thousand_is_submitted_as_one_batch_and_collected_in_order(
    clock: FakeClock, log: MemoryLog
) -> None:
    keys = [f"k{n}" for n in range(1000)]
    executor = FakeExecutor(clock, {"keys": lambda task: keys})
    run = LiveRun.new(brief(), compile(snapshot(fan_out_job())))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    run.machine.check()
    assert executor.batches == [1, 1000, 1]
    total = executor.submitted[-1]
    assert total.step == "total"
    assert isinstance(total.inputs[0].source, Gathered)
    assert [ref.step for ref in total.inputs[0].source.items] == [f"work[{key}]" for key in keys]


class Apart(FakeExecutor):
    """One whose steps run elsewhere: what is out need not wait for what is still to be recorded."""

    crosses_processes = True

    def __init__(self, clock: FakeClock, log: MemoryLog, then: Callable[[int], object] = lambda count: None) -> None:
        super().__init__(clock, {"keys": lambda task: [f"k{n}" for n in range(1000)]})
        self.log, self.then = log, then
        self.recorded: list[int] = []  #: steps that were recorded as dispatched, at each submission

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        self.recorded.append(sum(isinstance(event, StepDispatched) for event in self.log.events[RUN]))
        super().submit(run, tasks)
        self.then(len(self.submitted))


def test_a_large_fan_out_is_sent_in_parts_that_grow_each_after_it_was_recorded(
    clock: FakeClock, log: MemoryLog
) -> None:
    executor = Apart(clock, log)
    run = LiveRun.new(brief(), compile(snapshot(fan_out_job())))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    run.machine.check()
    assert executor.batches == [1, 100, 200, 400, 300, 1]
    assert executor.recorded == [1, 101, 301, 701, 1001, 1002]
    assert [task.step for task in executor.submitted] == ["keys", *(f"work[k{n}]" for n in range(1000)), "total"]


def test_a_cancel_amid_a_large_fan_out_reaches_all_of_it(clock: FakeClock, log: MemoryLog) -> None:
    inbox = Inbox()
    executor = Apart(clock, log, lambda count: inbox.request_cancel(RUN, "enough") if count == 101 else None)
    run = LiveRun.new(brief(), compile(snapshot(fan_out_job())))
    assert drive([run], {"fake": executor}, log, clock=clock, inbox=inbox) == {RUN: RunStatus.CANCELED}
    run.machine.check()
    ends = Counter(event.step for event in log.events[RUN] if isinstance(event, StepCanceled | StepSucceeded))
    assert set(ends) == {"keys", *(f"work[k{n}]" for n in range(1000))}
    assert set(ends.values()) == {1}


def test_what_is_skipped_of_very_much_is_skipped_at_once(clock: FakeClock, log: MemoryLog) -> None:
    ops = [op("keys", out=("one", "other"), required=False), op("inc", "x")]
    structure = job(ops, call("keys"), *(call(f"s{n}", "inc", x="keys.other") for n in range(1000)))
    executor = Apart(clock, log)
    executor.bodies = {"keys": lambda task: {"one": 1}}
    run = LiveRun.new(brief(), compile(snapshot(structure)))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    run.machine.check()
    assert sum(isinstance(event, StepSkipped) for event in log.events[RUN]) == 1000
    assert isinstance(log.events[RUN][-1], RunSucceeded)
    assert log.statuses[RUN] == [RunStatus.STARTED, RunStatus.SUCCESS]


def test_a_step_that_was_sent_with_the_one_before_it_is_recorded_as_sent_before_it_has_ended(
    clock: FakeClock, log: MemoryLog
) -> None:
    class Along(Apart):
        def _run(self, task: StepTask) -> list[AnyEvent]:
            told = super()._run(task)
            if task.step == "s0":
                told += super()._run(StepTask(RUN, StepKey("s1000"), NodePath("s1000")))
            return told

    ops = [op("first"), op("inc", "x")]
    executor = Along(clock, log)
    structure = job(ops, call("s0", "first"), *(call(f"s{n}", "inc", x="s0") for n in range(1, 1001)))
    run = LiveRun.new(brief(), compile(snapshot(structure)))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    said = [type(event) for event in log.events[RUN] if isinstance(event, StepEvent) and event.step == "s1000"]
    assert said == [StepDispatched, StepStarted, StepSucceeded]
    assert "s1000" not in {task.step for task in executor.submitted}


def test_a_run_that_was_ended_over_the_loops_head_is_stopped_and_nothing_of_it_recorded(
    clock: FakeClock, log: MemoryLog
) -> None:
    ended: list[RunId] = []
    inbox = Inbox(on_end=ended.append)
    executor = Apart(clock, log, lambda count: inbox.drop(RUN) if count == 101 else None)
    run = LiveRun.new(brief(), compile(snapshot(fan_out_job())))
    drive([run], {"fake": executor}, log, clock=clock, inbox=inbox)
    assert len(executor.submitted) == 101
    assert {step for step, _ in executor.canceled} == {f"work[k{n}]" for n in range(100)}
    assert executor.released == ended == [RUN]
    kinds = Counter(type(event) for event in log.events[RUN])
    assert kinds == {RunStarted: 1, StepDispatched: 101, StepStarted: 1, StepSucceeded: 1}
    inbox.drop(RUN)  # it is known no more
    other = LiveRun.new(brief(), compile(snapshot(chain(2))))
    assert drive([other], {"fake": FakeExecutor(clock)}, MemoryLog(), clock=clock) == {RUN: RunStatus.SUCCESS}


@pytest.mark.parametrize("count", [101, 301])
def test_who_takes_over_amid_a_large_fan_out_sends_the_rest(clock: FakeClock, log: MemoryLog, count: int) -> None:
    inbox, plan = Inbox(), compile(snapshot(fan_out_job()))
    first = Apart(clock, log, lambda sent: inbox.leave() if sent == count else None)
    drive([LiveRun.new(brief(), plan)], {"fake": first}, log, clock=clock, inbox=inbox)
    assert len(first.submitted) == count
    second = Apart(clock, log)
    run = resume(brief(), plan, log.read(RUN), {"fake": second}, clock.now)
    assert drive([run], {"fake": second}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    run.machine.check()
    assert len({task.step for task in second.submitted}) == len(second.submitted)


def test_steps_that_differ_in_priority_are_sent_at_once_the_highest_first(clock: FakeClock, log: MemoryLog) -> None:
    ops = [op(f"s{n}", tags={"opgrid/priority": "5"} if n == 900 else {}) for n in range(1000)]
    executor = Apart(clock, log)
    run = LiveRun.new(brief(), compile(snapshot(job(ops, *(call(each.name) for each in ops)))))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert executor.batches == [1000]
    assert executor.submitted[0].step == "s900"


def test_what_is_done_is_recorded_before_anything_acts_on_it(clock: FakeClock, log: MemoryLog) -> None:
    seen: list[str] = []

    def body(task: StepTask) -> None:
        done = {event.step for event in log.events[RUN] if isinstance(event, StepSucceeded)}
        seen.append(f"{task.step} after {sorted(done)}")

    executor = FakeExecutor(clock, {"s0": body, "s1": body})
    drive([LiveRun.new(brief(), compile(snapshot(chain(2))))], {"fake": executor}, log, clock=clock)
    assert seen == ["s0 after []", "s1 after ['s0']"]


def test_observers_see_what_is_durable(clock: FakeClock, log: MemoryLog) -> None:
    seen: list[AnyEvent] = []

    def watch(events: Sequence[AnyEvent]) -> None:
        seen.extend(events)
        assert log.events[RUN] == seen

    run = LiveRun.new(brief(), compile(snapshot(chain(3))))
    drive([run], {"fake": FakeExecutor(clock)}, log, clock=clock, watch=watch)
    assert seen == log.events[RUN]


def test_a_failed_step_is_retried_after_its_delay(clock: FakeClock, log: MemoryLog) -> None:
    attempts: list[tuple[int, int, float]] = []

    def flaky(task: StepTask) -> None:
        attempts.append((task.attempt, task.retry_number, clock.now))
        if task.retry_number < 2:
            raise Boom("not yet")

    run = LiveRun.new(brief(), compile(snapshot(chain(1, Retry(3, delay=10.0)))))
    assert drive([run], {"fake": FakeExecutor(clock, {"s0": flaky})}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert [entry[:2] for entry in attempts] == [(1, 0), (2, 1), (3, 2)]
    assert attempts[1][2] - attempts[0][2] == pytest.approx(10, abs=0.1)
    assert sum(isinstance(event, StepUpForRetry) for event in log.events[RUN]) == 2


def test_two_retries_due_at_once_both_start(clock: FakeClock, log: MemoryLog) -> None:
    def flaky(task: StepTask) -> None:
        if task.retry_number == 0:
            raise Boom("once")

    ops = [op("a", retry=Retry(1, 5.0)), op("b", retry=Retry(1, 5.0))]
    executor = FakeExecutor(clock, {"a": flaky, "b": flaky})
    run = LiveRun.new(brief(), compile(snapshot(job(ops, call("a"), call("b")))))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}


def test_a_lost_attempt_costs_no_retry(clock: FakeClock, log: MemoryLog) -> None:
    seen: list[tuple[int, int]] = []

    def dies_twice(task: StepTask) -> None:
        seen.append((task.attempt, task.retry_number))
        if task.attempt < 3:
            raise Lost

    run = LiveRun.new(brief(), compile(snapshot(chain(1))))
    assert drive([run], {"fake": FakeExecutor(clock, {"s0": dies_twice})}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert seen == [(1, 0), (2, 0), (3, 0)]


def test_steps_below_a_failure_stay_untouched_while_other_branches_go_on(clock: FakeClock, log: MemoryLog) -> None:
    def bad(task: StepTask) -> None:
        raise Boom("no")

    structure = job(
        [op("bad"), op("below", "x"), op("good"), op("after", "x"), op("both", "xs")],
        call("bad"),
        call("below", x="bad"),
        call("good"),
        call("after", x="good"),
        call("both", xs=fan_in("bad", "good")),
    )
    run = LiveRun.new(brief(), compile(snapshot(structure)))
    assert drive([run], {"fake": FakeExecutor(clock, {"bad": bad})}, log, clock=clock) == {RUN: RunStatus.FAILURE}
    statuses = {key: step.status for key, step in run.machine.steps.items()}
    assert statuses == {
        "bad": StepStatus.FAILURE,
        "below": StepStatus.PENDING,
        "good": StepStatus.SUCCESS,
        "after": StepStatus.SUCCESS,
        "both": StepStatus.PENDING,
    }
    touched = {getattr(event, "step", None) for event in log.events[RUN]}
    assert not touched & {"below", "both"}


def test_many_runs_share_one_loop_and_one_executor(clock: FakeClock, log: MemoryLog) -> None:
    ids = [RunId(f"run-{n}") for n in range(20)]
    runs = [LiveRun.new(brief(run_id), compile(snapshot(chain(4)))) for run_id in ids]
    executor = FakeExecutor(clock)
    assert drive(runs, {"fake": executor}, log, clock=clock) == dict.fromkeys(ids, RunStatus.SUCCESS)
    assert executor.released == ids


def test_one_run_may_use_several_executors(clock: FakeClock, log: MemoryLog) -> None:
    ops = [op("here"), op("there", "x", tags={"opgrid/executor": "other"}), op("back", "x")]
    structure = job(ops, call("here"), call("there", x="here"), call("back", x="there"))
    fake, other = FakeExecutor(clock), FakeExecutor(clock)
    run = LiveRun.new(brief(), compile(snapshot(structure)))
    assert drive([run], {"fake": fake, "other": other}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert [task.step for task in other.submitted] == ["there"]
    assert [task.step for task in fake.submitted] == ["here", "back"]
    assert other.released == [RUN]


def test_an_executor_that_is_not_there_is_named_before_anything_starts(clock: FakeClock, log: MemoryLog) -> None:
    run = LiveRun.new(brief(executor="celry"), compile(snapshot(chain(1))))
    with pytest.raises(UnknownExecutor, match=r"Did you mean 'celery'"):
        drive([run], {"celery": FakeExecutor(clock)}, log, clock=clock)
    assert not log.events


def test_an_executor_out_of_reach_delays_a_run_and_does_not_fail_it(clock: FakeClock, log: MemoryLog) -> None:
    executor = FakeExecutor(clock)
    executor.unavailable = 4
    run = LiveRun.new(brief(), compile(snapshot(chain(2))))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert [task.step for task in executor.submitted] == ["s0", "s1"]
    notes = [event for event in log.events[RUN] if isinstance(event, EngineNote)]
    assert len(notes) == 1
    assert notes[0].error is not None
    assert notes[0].error.message == "nobody at home"


def test_positions_are_recorded_with_the_events_and_acknowledged_after(clock: FakeClock, log: MemoryLog) -> None:
    executor = FakeExecutor(clock)
    run = LiveRun.new(brief(), compile(snapshot(chain(3))))
    drive([run], {"fake": executor}, log, clock=clock, stream="shard-7")
    assert log.positions == {"shard-7/fake": "3"}
    assert executor.acknowledged == ["1", "2", "3"]


def test_a_turn_that_cannot_be_recorded_starts_nothing(clock: FakeClock) -> None:
    class Refusing(MemoryLog):
        def append(self, run_id: RunId, events: object) -> None:
            raise RuntimeError("the lease is lost")

    executor = FakeExecutor(clock)
    with pytest.raises(RuntimeError, match="the lease is lost"):
        drive([LiveRun.new(brief(), compile(snapshot(chain(1))))], {"fake": executor}, Refusing(), clock=clock)
    assert not executor.submitted


def test_a_run_that_is_canceled_stops_what_is_out_and_starts_nothing_more(clock: FakeClock, log: MemoryLog) -> None:
    inbox = Inbox()
    structure = job([op("a"), op("b"), op("c", "x")], call("a"), call("b"), call("c", x="a"))
    executor = FakeExecutor(clock, {"a": lambda task: inbox.request_cancel(RUN, "enough")})
    run = LiveRun.new(brief(), compile(snapshot(structure)))
    assert drive([run], {"fake": executor}, log, clock=clock, inbox=inbox) == {RUN: RunStatus.CANCELED}
    run.machine.check()
    assert executor.canceled == [("a", 1), ("b", 1)]
    statuses = [step.status for step in run.machine.steps.values()]
    assert statuses == [StepStatus.SUCCESS, StepStatus.CANCELED, StepStatus.PENDING]
    assert log.statuses[RUN] == [RunStatus.STARTED, RunStatus.CANCELING, RunStatus.CANCELED]


def test_a_cancel_reaches_executors_before_the_end_that_was_heard_with_it(clock: FakeClock, log: MemoryLog) -> None:
    class Canceling(FakeExecutor):
        def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
            super().cancel(run_id, steps)
            before.extend(log.statuses[run_id])

    inbox, before = Inbox(), list[RunStatus]()
    executor = Canceling(clock, {"s0": lambda task: inbox.request_cancel(RUN, "enough")})
    run = LiveRun.new(brief(), compile(snapshot(chain(2))))
    assert drive([run], {"fake": executor}, log, clock=clock, inbox=inbox) == {RUN: RunStatus.CANCELED}
    run.machine.check()
    assert executor.canceled == [("s0", 1)]
    assert before == [RunStatus.STARTED, RunStatus.CANCELING]  # with no step out, it would be over
    assert [event.step for event in log.events[RUN] if isinstance(event, StepSucceeded)] == ["s0"]


def test_an_executor_that_is_heard_again_is_told_before_what_it_says_is_taken(clock: FakeClock, log: MemoryLog) -> None:
    class Away(FakeExecutor):
        polls = 0

        def poll(self, timeout: float) -> Polled:
            self.polls += 1
            if self.polls == 1:
                inbox.request_cancel(RUN, "enough")
                return Polled([], "")
            return super().poll(timeout)

        def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
            told.append(list(log.statuses[run_id]))
            if len(told) == 1:
                raise ExecutorUnavailable("nobody at home")

    inbox, told = Inbox(), list[list[RunStatus]]()
    run = LiveRun.new(brief(), compile(snapshot(chain(2))))
    assert drive([run], {"fake": Away(clock)}, log, clock=clock, inbox=inbox) == {RUN: RunStatus.CANCELED}
    run.machine.check()
    assert told == [[RunStatus.STARTED, RunStatus.CANCELING]] * 2
    assert clock.now < 1000.0 + FIRST_DELAY  # it is not waited until it would be tried again


def test_an_interrupt_cancels_all_runs(clock: FakeClock, log: MemoryLog) -> None:
    def interrupted(task: StepTask) -> None:
        # as run_step does: the step reports that it was canceled, then the interrupt goes on
        canceled = StepCanceled(run_id=task.run_id, at=clock.now, step=task.step, attempt=task.attempt)
        executor.events.append(canceled)
        raise KeyboardInterrupt

    executor = FakeExecutor(clock, {"s0": interrupted})
    run = LiveRun.new(brief(), compile(snapshot(job([op("s0"), op("s1")], call("s0"), call("s1")))))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.CANCELED}
    run.machine.check()
    assert executor.canceled == [("s0", 1), ("s1", 1)]


@pytest.mark.parametrize(("seconds", "told"), [(0.5, 0), (7.5, 1)])
def test_what_could_not_be_interrupted_in_time_is_told(
    clock: FakeClock, log: MemoryLog, seconds: float, told: int
) -> None:
    inbox = Inbox()

    def goes_on(task: StepTask) -> None:
        due = clock.now
        with suppress(KeyboardInterrupt):
            inbox.time_is_over(RUN, "too long", due)
        clock.now = due + seconds

    executor = FakeExecutor(clock, {"s0": goes_on})
    run = LiveRun.new(brief(), compile(snapshot(chain(2))))
    assert drive([run], {"fake": executor}, log, clock=clock, inbox=inbox) == {RUN: RunStatus.FAILURE}
    notes = [event.message for event in log.read(RUN) if isinstance(event, EngineNote)]
    assert [note.partition(":")[0] for note in notes] == told * [
        "A step went on for 7.5 s when the time of the run was over"
    ]


def test_limits_by_tag_hold_steps_back(clock: FakeClock, log: MemoryLog) -> None:
    keys = [f"k{n}" for n in range(10)]
    ops = [op("keys", dynamic=True), op("work", "x", tags={"db": "main"}), op("total", "xs")]
    nodes = [call("keys"), call("work", x=mapped("keys")), call("total", xs=collected("work"))]
    limit = {"key": "db", "limit": 3}
    executor = FakeExecutor(clock, {"keys": lambda task: keys})
    run = LiveRun.new(brief(tag_concurrency_limits=[limit]), compile(snapshot(job(ops, *nodes))))
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert executor.out_at_once == 3
    notes = [event.message for event in log.read(RUN) if isinstance(event, EngineNote)]
    assert notes == ["Steps wait for others with the tag 'db': at most 3 of them run at once."]


def test_a_loop_with_an_open_inbox_takes_runs_while_it_runs(clock: FakeClock, log: MemoryLog) -> None:
    inbox = Inbox(open=True)
    second = LiveRun.new(brief(RunId("run-2")), compile(snapshot(chain(2))))

    def body(task: StepTask) -> None:
        if task.run_id == RUN:
            inbox.add([second])
            inbox.close()

    executor = FakeExecutor(clock, {"s0": body})
    first = LiveRun.new(brief(), compile(snapshot(chain(2))))
    statuses = drive([first], {"fake": executor}, log, clock=clock, inbox=inbox)
    assert statuses == {RUN: RunStatus.SUCCESS, RunId("run-2"): RunStatus.SUCCESS}


def test_a_run_that_comes_while_the_loop_waits_starts_in_that_turn(clock: FakeClock, log: MemoryLog) -> None:
    plan = compile(snapshot(chain(1)))
    inbox = Inbox(open=True)

    class Woken(FakeExecutor):
        def poll(self, timeout: float) -> Polled:
            if self.taken:
                return super().poll(timeout)
            inbox.add([LiveRun.new(brief(), plan)])
            inbox.close()
            self.taken += 1
            return Polled((), "1")  # it has read the word that woke it

    drive([], {"fake": Woken(clock)}, log, clock=clock, inbox=inbox)
    assert log.positions == {"fake": "2"}
    assert log.turns == 2  # it has started, and its step with it; both have ended


def test_of_what_a_late_attempt_tells_by_the_way_only_its_lines_are_kept(clock: FakeClock, log: MemoryLog) -> None:
    told: list[AnyEvent] = [
        StepOutput(run_id=RUN, at=1.0, step=StepKey("s0"), attempt=7, output="result"),
        LogMessage(run_id=RUN, at=1.0, message="still here", step=StepKey("s0"), attempt=7),
    ]
    seen: list[AnyEvent] = []

    class Telling(FakeExecutor):
        def poll(self, timeout: float) -> Polled:
            polled = super().poll(timeout)
            ours = [msgspec.structs.replace(event, attempt=1) for event in told]
            return Polled([*decode_reports(encode_reports([*told, *ours])), *polled.events], polled.position)

    run = LiveRun.new(brief(), compile(snapshot(chain(1))))
    drive([run], {"fake": Telling(clock)}, log, clock=clock, watch=seen.extend)
    recorded = list(unfolded(log.events[RUN]))
    assert seen == recorded
    assert [event.attempt for event in recorded if isinstance(event, LogMessage)][:2] == [7, 1]
    assert {event.attempt for event in recorded if isinstance(event, StepOutput)} == {1}


def test_a_run_that_is_announced_after_its_end_is_not_driven_again(clock: FakeClock, log: MemoryLog) -> None:
    inbox = Inbox(open=True)
    plan = compile(snapshot(chain(1)))

    def body(task: StepTask) -> None:
        if task.run_id == RunId("run-2"):
            inbox.add([LiveRun.new(brief(), plan)])
            inbox.close()
        else:
            inbox.add([LiveRun.new(brief(RunId("run-2")), plan)])

    executor = FakeExecutor(clock, {"s0": body})
    statuses = drive([LiveRun.new(brief(), plan)], {"fake": executor}, log, clock=clock, inbox=inbox)
    assert statuses == {RUN: RunStatus.SUCCESS, RunId("run-2"): RunStatus.SUCCESS}
    assert sum(isinstance(event, RunStarted) for event in log.events[RUN]) == 1


def test_a_loop_that_goes_on_for_ever_forgets_runs_that_have_ended(
    clock: FakeClock, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_REMEMBERED", 2)
    inbox = Inbox(open=True)
    plan = compile(snapshot(chain(1)))

    def body(task: StepTask) -> None:
        number = int(task.run_id.split("-")[1])
        if number == 6:
            inbox.close()
        else:
            inbox.add([LiveRun.new(brief(RunId(f"run-{number + 1}")), plan)])

    executor = FakeExecutor(clock, {"s0": body})
    statuses = drive([LiveRun.new(brief(RunId("run-0")), plan)], {"fake": executor}, log, clock=clock, inbox=inbox)
    assert len(log.statuses) == 7
    assert RunId("run-0") not in statuses
    assert len(statuses) <= 4
