"""Going on from a log after the process that drove a run has died."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import pytest

from opgrid.contracts.events import AnyEvent, RunCanceling, RunStarted, StepDispatched, StepEvent, StepLost, StepStarted
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.structure import JobStructure, Retry
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.ids import NodePath, RunId, StepKey
from orchestrator.engine import parts
from orchestrator.engine.commands import Cancel
from orchestrator.engine.loop import LiveRun, drive
from orchestrator.engine.recovery import replay, resume
from orchestrator.planner.compile import compile
from orchestrator.planner.plan import Plan
from tests.unit.engine.fakes import RUN, Boom, FakeClock, FakeExecutor, MemoryLog, brief
from tests.unit.engine.jobs import call, chain, fan_out_job, job, op, snapshot


class Killed(BaseException):
    """The coordinator dies here."""


class DyingLog(MemoryLog):
    """Dies before or after a certain turn became durable."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.left = turns

    def append(self, run_id: RunId, events: Sequence[AnyEvent]) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed
        super().append(run_id, events)


def plan_of(structure: JobStructure) -> Plan:
    return compile(snapshot(structure))


class LocalExecutor(FakeExecutor):
    """Nothing of it survives."""

    def recover(self, run: RunBrief) -> None:
        return None


class RemoteExecutor(FakeExecutor):
    """All of it survives."""

    def recover(self, run: RunBrief) -> frozenset[tuple[StepKey, int]]:
        return frozenset((task.step, task.attempt) for task in self.queue)


@pytest.mark.parametrize("turns", range(2, 7))
def test_a_run_whose_coordinator_dies_at_any_turn_goes_on_from_its_log(turns: int) -> None:
    plan, log, clock = plan_of(fan_out_job()), DyingLog(turns), FakeClock()
    bodies = {"keys": lambda task: ["k1", "k2", "k3"]}
    with pytest.raises(Killed):
        drive([LiveRun.new(brief(), plan)], {"fake": LocalExecutor(clock, bodies)}, log, clock=clock)
    done = {key for key, step in replay(RUN, plan, log.read(RUN)).steps.items() if step.status is StepStatus.SUCCESS}
    executor = LocalExecutor(clock, bodies)
    run = resume(brief(), plan, log.read(RUN), {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    run.machine.check()
    assert not done & {task.step for task in executor.submitted}
    assert replay(RUN, plan, log.read(RUN)).view() == run.machine.view()


def test_what_a_remote_executor_still_has_is_neither_lost_nor_sent_again() -> None:
    plan, clock, log = plan_of(fan_out_job()), FakeClock(), DyingLog(5)
    executor = RemoteExecutor(clock, {"keys": lambda task: ["k1", "k2", "k3"]})
    with pytest.raises(Killed):
        drive([LiveRun.new(brief(), plan)], {"fake": executor}, log, clock=clock)
    sent = len(executor.submitted)
    lost = executor.submitted[3]  # its event died with the coordinator: no stream kept it
    run = resume(brief(), plan, log.read(RUN), {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    again = executor.submitted[sent:]
    assert [(task.step, task.attempt) for task in again] == [(lost.step, 1), ("total", 1)]


@pytest.mark.parametrize("kind", [LocalExecutor, RemoteExecutor])
@pytest.mark.parametrize("turns", [3, 4, 5, 6])
def test_what_of_a_large_fan_out_was_not_recorded_yet_is_recorded_by_who_goes_on(
    turns: int, kind: type[FakeExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "AT_FIRST", 1)
    monkeypatch.setattr(kind, "crosses_processes", True)
    plan, log, clock = plan_of(fan_out_job()), DyingLog(turns), FakeClock()
    bodies = {"keys": lambda task: [f"k{number}" for number in range(40)]}
    with pytest.raises(Killed):
        drive([LiveRun.new(brief(), plan)], {"fake": kind(clock, bodies)}, log, clock=clock)
    recorded = Counter(event.step for event in log.read(RUN) if isinstance(event, StepDispatched))
    assert 1 < len(recorded) < 41
    executor = kind(clock, bodies)
    run = resume(brief(), plan, log.read(RUN), {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    sent = Counter(event.step for event in log.read(RUN) if isinstance(event, StepDispatched))
    assert set(sent.values()) == {1}
    assert set(sent) == set(run.machine.steps)
    first = {event.step: type(event) for event in reversed(log.read(RUN)) if isinstance(event, StepEvent)}
    assert set(first.values()) == {StepDispatched}


@pytest.mark.parametrize("canceling", [False, True])
def test_what_had_begun_is_not_lost_where_its_executor_may_find_it_again(canceling: bool) -> None:
    class Emptied(FakeExecutor):
        asked: Collection[tuple[StepKey, int]] = ()

        def recover(self, run: RunBrief) -> frozenset[tuple[StepKey, int]]:
            return frozenset({(StepKey("known"), 1)})

        def may_go_on(self, run: RunBrief, begun: Collection[tuple[StepKey, int]]) -> frozenset[tuple[StepKey, int]]:
            self.asked = begun
            return frozenset({(StepKey("found"), 1)})

    steps = ["known", "found", "gone", "sent"]
    log: list[AnyEvent] = [RunStarted(run_id=RUN, at=0.0)]
    log += [StepDispatched(run_id=RUN, at=1.0, step=StepKey(step), attempt=1) for step in steps]
    log += [StepStarted(run_id=RUN, at=2.0, step=StepKey(step), attempt=1) for step in steps[:3]]
    if canceling:
        log.append(RunCanceling(run_id=RUN, at=3.0, reason="enough"))
    executor = Emptied(FakeClock())
    plan = plan_of(job(map(op, steps), *map(call, steps)))
    run = resume(brief(), plan, log, {"fake": executor}, 4.0)
    assert set(executor.asked) == (set() if canceling else {("found", 1), ("gone", 1)})  # nobody wants it to go on
    lost = {event.step for event in run.first if isinstance(event, StepLost)}
    assert lost == ({"found", "gone"} if canceling else {"gone"})
    stopped = {command.step for command in run.orders if isinstance(command, Cancel)}
    assert stopped == ({"known", "sent"} if canceling else set())  # who drove the run may be about to send it
    assert {task.step for task in run.out} == (set() if canceling else {"known", "found"})


def test_an_executor_that_still_has_a_step_is_given_its_task_again() -> None:
    class Forgetful(RemoteExecutor):
        def __init__(self, clock: FakeClock) -> None:
            super().__init__(clock)
            self.told: list[tuple[StepKey, int]] = []

        def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
            self.told += [(task.step, task.attempt) for task in tasks]
            super().submit(run, tasks)

    plan, clock, log = plan_of(chain(2)), FakeClock(), MemoryLog()
    events: list[AnyEvent] = [
        RunStarted(run_id=RUN, at=1.0),
        StepStarted(run_id=RUN, at=2.0, step=StepKey("s0"), attempt=1),
    ]
    executor = Forgetful(clock)
    executor.queue.append(StepTask(RUN, StepKey("s0"), NodePath("s0")))
    run = resume(brief(), plan, events, {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert executor.told == [("s0", 1), ("s1", 1)]


def test_a_step_that_was_running_here_is_a_loss() -> None:
    plan, clock = plan_of(chain(1)), FakeClock()
    machine_log: list[AnyEvent] = [
        RunStarted(run_id=RUN, at=1.0),
        StepStarted(run_id=RUN, at=2.0, step=StepKey("s0"), attempt=1),
    ]
    executor, log = LocalExecutor(clock), MemoryLog()
    run = resume(brief(), plan, machine_log, {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert [task.attempt for task in executor.submitted] == [2]
    assert isinstance(log.events[RUN][0], StepLost)


def test_a_retry_waits_for_the_time_that_was_noted() -> None:
    plan, clock = plan_of(chain(1, Retry(1, 100.0))), FakeClock()
    log, starts = DyingLog(3), list[float]()

    def body(task: StepTask) -> None:
        starts.append(clock.now)
        if task.retry_number == 0:
            raise Boom("first")
        raise Killed

    with pytest.raises(Killed):
        drive([LiveRun.new(brief(), plan)], {"fake": LocalExecutor(clock, {"s0": body})}, log, clock=clock)
    failed_at = starts[0]
    clock.now = failed_at + 30
    executor = LocalExecutor(clock)
    run = resume(brief(), plan, log.read(RUN), {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert executor.clock.now == pytest.approx(failed_at + 100, abs=1.0)


@pytest.mark.parametrize("kind", [LocalExecutor, RemoteExecutor])
def test_a_run_that_was_being_canceled_is_canceled(kind: type[FakeExecutor]) -> None:
    plan, clock, log = plan_of(chain(3)), FakeClock(), MemoryLog()
    events: list[AnyEvent] = [
        RunStarted(run_id=RUN, at=1.0),
        StepStarted(run_id=RUN, at=2.0, step=StepKey("s0"), attempt=1),
        RunCanceling(run_id=RUN, at=3.0),
    ]
    executor = kind(clock)
    executor.queue.append(StepTask(RUN, StepKey("s0"), NodePath("s0")))
    run = resume(brief(), plan, events, {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.CANCELED}
    assert executor.canceled == ([("s0", 1)] if kind is RemoteExecutor else [])
    assert not executor.submitted
    run.machine.check()


def test_a_run_that_had_ended_is_left_alone() -> None:
    plan, clock, log = plan_of(chain(2)), FakeClock(), MemoryLog()
    drive([LiveRun.new(brief(), plan)], {"fake": LocalExecutor(clock)}, log, clock=clock)
    before = log.read(RUN)
    executor = LocalExecutor(clock)
    run = resume(brief(), plan, before, {"fake": executor}, clock())
    assert drive([run], {"fake": executor}, log, clock=clock) == {RUN: RunStatus.SUCCESS}
    assert log.read(RUN) == before
    assert not executor.submitted


def test_the_stream_is_read_on_from_where_it_was_left() -> None:
    class Streaming(FakeExecutor):
        def resume_at(self, position: str) -> None:
            self.resumed = position

    plan, clock, log = plan_of(chain(1)), FakeClock(), MemoryLog()
    log.positions["shard/fake"] = "17-0"
    executor = Streaming(clock)
    drive([LiveRun.new(brief(), plan)], {"fake": executor}, log, clock=clock, stream="shard")
    assert executor.resumed == "17-0"
