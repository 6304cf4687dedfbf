"""The life of one run, event by event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    Event,
    HookCompleted,
    HookErrored,
    LogMessage,
    LossCause,
    RetryDue,
    RetryRequest,
    RunCanceled,
    RunCanceling,
    RunFailed,
    RunStarted,
    StepCanceled,
    StepFailed,
    StepLost,
    StepOutput,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepUpForRetry,
)
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.structure import Backoff, FanIn, InputInfo, Jitter, JobStructure, NodeInfo, Retry
from opgrid.contracts.tasks import FromDefault, Gathered, OutputRef, Stored
from opgrid.ids import RunId, StepKey
from orchestrator.engine.commands import Cancel, Command, Finish, Launch, Note, RunHook, WakeAt
from orchestrator.engine.machine import RunMachine
from orchestrator.engine.recovery import replay
from orchestrator.engine.retries import share_of
from orchestrator.planner.compile import compile
from orchestrator.planner.snapshot import JobSnapshot
from tests.unit.engine.fakes import RUN
from tests.unit.engine.jobs import call, chain, collected, fan_in, fan_out_job, job, mapped, op, snapshot

BOOM = ErrorInfo("Boom", "no")
Start = Callable[..., "Driven"]


class Driven:
    """A machine, and events for it in few words."""

    def __init__(self, machine: RunMachine, now: float = 100.0) -> None:
        self.machine, self.now = machine, now
        self.log: list[AnyEvent] = []

    def take(self, event: AnyEvent) -> list[Command]:
        """The commands that an event leads to, without notes; these are in ``notes``."""
        commands = self.machine.take(event, self.now)
        self.accepted = commands is not None
        self.notes = [command.event for command in commands or [] if isinstance(command, Note)]
        if commands is not None:
            self.log += [event, *self.notes]
        return [command for command in commands or [] if not isinstance(command, Note)]

    def begin(self) -> list[Command]:
        return self.take(RunStarted(run_id=RUN, at=self.now))

    def started(self, step: str, attempt: int = 1) -> list[Command]:
        return self.take(self.about(StepStarted, step, attempt))

    def ok(self, step: str, *keys: str, attempt: int = 1, outputs: tuple[str, ...] = ("result",)) -> list[Command]:
        refs = tuple(_ref(step, key, attempt) for key in keys) or tuple(
            OutputRef(RUN, StepKey(step), name, None, attempt) for name in outputs
        )
        return self.take(self.about(StepSucceeded, step, attempt, outputs=refs))

    def fail(self, step: str, attempt: int = 1, **more: Any) -> list[Command]:
        return self.take(self.about(StepFailed, step, attempt, error=BOOM, **more))

    def lose(self, step: str, attempt: int = 1) -> list[Command]:
        return self.take(self.about(StepLost, step, attempt, cause=LossCause("its process died", signal=9)))

    def canceled(self, step: str, attempt: int = 1) -> list[Command]:
        return self.take(self.about(StepCanceled, step, attempt))

    def due(self, step: str, attempt: int) -> list[Command]:
        return self.take(self.about(RetryDue, step, attempt))

    def cancel(self) -> list[Command]:
        return self.take(RunCanceling(run_id=RUN, at=self.now, reason="enough"))

    def about(self, kind: type[Any], step: str, attempt: int, **more: Any) -> Any:
        return kind(run_id=RUN, at=self.now, step=StepKey(step), attempt=attempt, **more)

    def status(self, step: str) -> StepStatus:
        return self.machine.steps[StepKey(step)].status


def _ref(step: str, key: str | None = None, attempt: int = 1, output: str = "result") -> OutputRef:
    return OutputRef(RUN, StepKey(step), output, key, attempt)


def names(commands: list[Command]) -> list[tuple[str, int]]:
    """(step, attempt) of the launches; all commands must be launches."""
    return [(c.task.step, c.task.attempt) for c in commands if isinstance(c, Launch)]


@pytest.fixture
def run() -> Iterator[Start]:
    """Starts a job; what is left of it is checked in the end, and replayed."""
    made: list[Driven] = []

    def start(structure: JobStructure | JobSnapshot, begin: bool = True, **how: Any) -> Driven:
        given = structure if isinstance(structure, JobSnapshot) else snapshot(structure)
        driven = Driven(RunMachine(RUN, compile(given, **how)))
        made.append(driven)
        if begin:
            driven.begin()
        return driven

    yield start
    for driven in made:
        driven.machine.check()
        again = replay(RUN, driven.machine.plan, driven.log)
        assert again.view() == driven.machine.view()
        assert again.status is driven.machine.status


def test_a_run_starts_with_the_steps_that_need_nothing(run: Start) -> None:
    driven = run(job([op("a"), op("b"), op("c", "x")], call("a"), call("b"), call("c", x="a")), begin=False)
    assert names(driven.begin()) == [("a", 1), ("b", 1)]
    assert driven.begin() == []
    assert not driven.accepted


def test_an_empty_run_ends_as_it_starts(run: Start) -> None:
    assert run(job([]), begin=False).begin() == [Finish(RunStatus.SUCCESS)]


def test_a_task_says_all_that_an_executor_needs(run: Start) -> None:
    tags = {"opgrid/queue": "slow", "opgrid/priority": "4", "opgrid/executor": "celery"}
    structure = job(
        [op("a"), op("f", "x", InputInfo("y", has_default=True), tags=tags, timeout=9.0)], call("a"), call("f", x="a")
    )
    (launch,) = run(structure).ok("a")
    assert isinstance(launch, Launch)
    task = launch.task
    assert (task.queue, task.priority, task.executor, task.timeout) == ("slow", 4, "celery", 9.0)
    assert [given.source for given in task.inputs] == [Stored(_ref("a")), FromDefault()]


def test_inputs_that_only_order_are_not_in_the_task(run: Start) -> None:
    structure = job([op("a"), op("f", InputInfo("after", nothing=True))], call("a"), call("f", after="a"))
    driven = run(structure)
    (launch,) = driven.ok("a")
    assert isinstance(launch, Launch)
    assert launch.task.inputs == ()


def test_late_and_repeated_events_change_nothing_and_are_not_to_be_recorded(run: Start) -> None:
    driven = run(chain(2))
    driven.started("s0")
    driven.ok("s0")
    before = driven.machine.view()
    for event in (driven.ok, driven.started, driven.fail, driven.lose, driven.canceled):
        assert event("s0") == []
        assert not driven.accepted
    assert driven.machine.view() == before


def test_what_a_step_tells_about_itself_is_recorded_for_its_attempt_only(run: Start) -> None:
    driven = run(chain(1))
    driven.started("s0")
    driven.take(driven.about(StepOutput, "s0", 1, output="result"))
    assert driven.accepted
    driven.lose("s0")
    driven.take(driven.about(StepOutput, "s0", 1, output="result"))
    assert not driven.accepted
    driven.take(LogMessage(run_id=RUN, at=1.0, message="still here", step=StepKey("s0"), attempt=1))
    assert driven.accepted


def test_what_the_machine_told_itself_is_ignored(run: Start) -> None:
    driven = run(chain(1))
    for event in driven.log[1:]:
        assert driven.machine.take(event, 0.0) is None


class TestFailures:
    def test_a_failure_without_a_policy_ends_the_step_and_then_the_run(self, run: Start) -> None:
        driven = run(chain(3))
        assert driven.fail("s0") == [Finish(RunStatus.FAILURE)]
        (note,) = driven.notes
        assert isinstance(note, RunFailed)
        assert note.reason == "Steps failed: 's0'."
        assert [driven.status(step) for step in ("s0", "s1", "s2")] == [StepStatus.FAILURE] + [StepStatus.PENDING] * 2

    def test_a_retry_has_an_attempt_of_its_own_and_waits(self, run: Start) -> None:
        driven = run(chain(1, Retry(1, delay=5.0)))
        (wake,) = driven.fail("s0")
        assert isinstance(wake, WakeAt)
        assert wake.due == 105.0
        assert isinstance(driven.notes[0], StepUpForRetry)
        assert driven.status("s0") is StepStatus.WAITING
        assert driven.fail("s0") == []
        assert names(driven.due("s0", 2)) == [("s0", 2)]
        assert driven.due("s0", 2) == []
        assert driven.fail("s0", 2) == [Finish(RunStatus.FAILURE)]

    def test_a_retry_without_a_delay_starts_at_once(self, run: Start) -> None:
        driven = run(chain(1, Retry(1)))
        assert names(driven.fail("s0")) == [("s0", 2)]
        assert [type(note).__name__ for note in driven.notes] == ["StepUpForRetry", "RetryDue", "StepDispatched"]

    def test_a_failure_may_forbid_retries(self, run: Start) -> None:
        assert run(chain(1, Retry(5))).fail("s0", allow_retries=False) == [Finish(RunStatus.FAILURE)]

    def test_a_step_may_ask_for_a_retry_whatever_its_policy(self, run: Start) -> None:
        driven = run(chain(1))
        (wake,) = driven.fail("s0", retry=RetryRequest(1, 2.0))
        assert isinstance(wake, WakeAt)
        driven.due("s0", 2)
        assert driven.fail("s0", 2, retry=RetryRequest(1, 2.0)) == [Finish(RunStatus.FAILURE)]

    def test_an_executor_that_was_told_not_to_retry_does_not(self, run: Start) -> None:
        choice = ExecutorChoice("fake", {"retries": {"disabled": {}}})
        driven = run(snapshot(chain(1, Retry(5)), executor=choice))
        assert driven.fail("s0", retry=RetryRequest(3)) == [Finish(RunStatus.FAILURE)]

    def test_a_timeout_is_a_failure_like_others(self, run: Start) -> None:
        assert names(run(chain(1, Retry(1))).fail("s0", timed_out=True)) == [("s0", 2)]


class TestLosses:
    def test_a_lost_attempt_is_started_again_at_once_and_is_no_retry(self, run: Start) -> None:
        driven = run(chain(1))
        driven.started("s0")
        (launch,) = driven.lose("s0")
        assert isinstance(launch, Launch)
        assert (launch.task.attempt, launch.task.retry_number) == (2, 0)
        assert driven.ok("s0") == []
        assert driven.ok("s0", attempt=2) == [Finish(RunStatus.SUCCESS)]

    def test_the_third_loss_is_poison_with_the_cause(self, run: Start) -> None:
        driven = run(chain(1))
        driven.lose("s0")
        driven.lose("s0", 2)
        assert driven.lose("s0", 3) == [Finish(RunStatus.FAILURE)]
        poison = driven.notes[0]
        assert isinstance(poison, StepFailed)
        assert poison.error.kind == "PoisonStep"
        assert (
            poison.error.message == "3 attempts of this step were lost; the last because its process died (signal 9)."
        )

    def test_poison_meets_the_retry_policy_and_the_budget_is_not_given_twice(self, run: Start) -> None:
        driven = run(chain(1, Retry(1)))
        driven.lose("s0")
        driven.lose("s0", 2)
        assert names(driven.lose("s0", 3)) == [("s0", 4)]
        assert driven.lose("s0", 4) == [Finish(RunStatus.FAILURE)]
        step = driven.machine.steps[StepKey("s0")]
        assert (step.retry_number, step.losses) == (1, 4)

    def test_a_step_that_is_stopped_while_its_run_goes_on_was_lost(self, run: Start) -> None:
        assert names(run(chain(1)).canceled("s0")) == [("s0", 2)]


class TestSkips:
    def optional(self) -> JobStructure:
        """branch -> left | right; both -> join; left -> below"""
        branch = op("branch", out=("left", "right"), required=False)
        return job(
            [branch, op("f", "x"), op("join", "xs")],
            call("branch"),
            call("l", "f", x="branch.left"),
            call("r", "f", x="branch.right"),
            call("below", "f", x="r"),
            call("join", xs=fan_in("l", "below")),
        )

    def test_an_output_that_was_not_yielded_skips_what_needs_it_recursively(self, run: Start) -> None:
        driven = run(self.optional())
        assert names(driven.ok("branch", outputs=("left",))) == [("l", 1)]
        skipped = {note.step: note.reason for note in driven.notes if isinstance(note, StepSkipped)}
        assert set(skipped) == {"r", "below"}
        assert skipped[StepKey("r")] == "Its input 'x' needs branch.right, which was not yielded."
        (join,) = driven.ok("l")
        assert isinstance(join, Launch)
        assert join.task.inputs[0].source == Gathered((_ref("l"),))
        assert driven.ok("join") == [Finish(RunStatus.SUCCESS)]

    def test_a_list_of_which_nothing_is_left_is_skipped(self, run: Start) -> None:
        driven = run(self.optional())
        assert driven.ok("branch", outputs=("neither",)) == [Finish(RunStatus.SUCCESS)]
        assert driven.status("join") is StepStatus.SKIPPED

    def test_an_empty_list_runs(self, run: Start) -> None:
        driven = run(job([op("join", "xs")], call("join", xs=FanIn(()))), begin=False)
        (launch,) = driven.begin()
        assert isinstance(launch, Launch)
        assert launch.task.inputs[0].source == Gathered(())

    def test_a_step_below_a_failure_and_a_skip_stays_untouched(self, run: Start) -> None:
        structure = job(
            [op("bad"), op("opt", required=False), op("both", "x", "y")],
            call("bad"),
            call("opt"),
            call("both", x="bad", y="opt"),
        )
        driven = run(structure)
        driven.ok("opt", outputs=("nothing",))
        assert driven.fail("bad") == [Finish(RunStatus.FAILURE)]
        assert driven.status("both") is StepStatus.PENDING


class TestFanOuts:
    def test_instances_come_when_the_keys_are_accepted(self, run: Start) -> None:
        driven = run(fan_out_job())
        assert names(driven.ok("keys", "k1", "k2")) == [("work[k1]", 1), ("work[k2]", 1)]
        assert driven.ok("work[k2]") == []
        (total,) = driven.ok("work[k1]")
        assert isinstance(total, Launch)
        assert total.task.inputs[0].source == Gathered((_ref("work[k1]"), _ref("work[k2]")))

    def test_each_instance_gets_the_value_of_its_key(self, run: Start) -> None:
        launches = run(fan_out_job()).ok("keys", "k1", "k2")
        sources = [launch.task.inputs[0].source for launch in launches if isinstance(launch, Launch)]
        assert sources == [Stored(_ref("keys", "k1")), Stored(_ref("keys", "k2"))]

    def test_no_keys_collect_to_an_empty_list(self, run: Start) -> None:
        driven = run(fan_out_job())
        (total,) = driven.ok("keys", outputs=())
        assert isinstance(total, Launch)
        assert total.task.inputs[0].source == Gathered(())

    def test_a_mapped_step_that_is_skipped_is_left_out_of_the_list(self, run: Start) -> None:
        driven = run(_with_filter())
        driven.ok("keys", "k1", "k2")
        driven.ok("filter[k1]", outputs=())
        driven.ok("filter[k2]")
        (total,) = driven.ok("work[k2]")
        assert isinstance(total, Launch)
        assert total.task.inputs[0].source == Gathered((_ref("work[k2]"),))

    def test_a_list_of_skipped_steps_only_is_skipped(self, run: Start) -> None:
        driven = run(_with_filter())
        driven.ok("keys", "k1")
        assert driven.ok("filter[k1]", outputs=()) == [Finish(RunStatus.SUCCESS)]
        assert driven.status("total") is StepStatus.SKIPPED

    def test_a_failed_instance_blocks_collect_while_its_siblings_finish(self, run: Start) -> None:
        driven = run(fan_out_job())
        driven.ok("keys", "k1", "k2")
        assert driven.fail("work[k1]") == []
        assert driven.ok("work[k2]") == [Finish(RunStatus.FAILURE)]
        assert driven.status("total") is StepStatus.PENDING

    def test_a_failed_instance_leaves_its_branch_untouched(self, run: Start) -> None:
        driven = run(_with_filter())
        driven.ok("keys", "k1", "k2")
        driven.fail("filter[k1]")
        driven.ok("filter[k2]")
        assert driven.status("work[k1]") is StepStatus.PENDING
        assert driven.ok("work[k2]") == [Finish(RunStatus.FAILURE)]

    def test_branches_do_not_wait_for_each_other(self, run: Start) -> None:
        driven = run(_with_filter())
        driven.ok("keys", "k1", "k2")
        assert names(driven.ok("filter[k2]")) == [("work[k2]", 1)]

    def test_a_lost_step_that_yields_keys_makes_them_when_it_is_accepted(self, run: Start) -> None:
        driven = run(fan_out_job())
        driven.lose("keys")
        assert driven.ok("keys", "old") == []
        assert names(driven.ok("keys", "new", attempt=2)) == [("work[new]", 1)]

    def test_fan_outs_nest(self, run: Start) -> None:
        structure = job(
            [op("keys", dynamic=True), op("parts", "x", dynamic=True), op("f", "x"), op("join", "xs")],
            call("keys"),
            call("parts", x=mapped("keys")),
            call("f", x=mapped("parts")),
            call("join", xs=collected("f")),
            call("all", "join", xs=collected("join")),
        )
        driven = run(structure)
        driven.ok("keys", "a", "b")
        assert names(driven.ok("parts[a]", "x", "y")) == [("f[a,x]", 1), ("f[a,y]", 1)]
        assert names(driven.ok("parts[b]", outputs=())) == [("join[b]", 1)]
        driven.ok("f[a,x]")
        assert names(driven.ok("f[a,y]")) == [("join[a]", 1)]
        driven.ok("join[b]")
        (last,) = driven.ok("join[a]")
        assert isinstance(last, Launch)
        assert last.task.inputs[0].source == Gathered((_ref("join[a]"), _ref("join[b]")))


def _with_filter() -> JobStructure:
    return job(
        [op("keys", dynamic=True), op("filter", "x", required=False), op("work", "x"), op("total", "xs")],
        call("keys"),
        call("filter", x=mapped("keys")),
        call("work", x="filter"),
        call("total", xs=collected("work")),
    )


class TestCancel:
    def test_what_is_out_is_stopped_what_waits_ends_and_the_rest_is_untouched(self, run: Start) -> None:
        structure = job([op("a"), op("b", retry=Retry(1, 60.0)), op("c", "x")], call("a"), call("b"), call("c", x="a"))
        driven = run(structure)
        driven.started("a")
        driven.fail("b")
        assert driven.cancel() == [Cancel(StepKey("a"), 1)]
        assert driven.machine.status is RunStatus.CANCELING
        assert driven.status("b") is StepStatus.CANCELED
        assert driven.due("b", 2) == []
        assert driven.canceled("a") == [Finish(RunStatus.CANCELED)]
        assert driven.status("c") is StepStatus.PENDING

    def test_a_step_that_wins_the_race_counts_and_starts_nothing(self, run: Start) -> None:
        driven = run(chain(2))
        driven.cancel()
        assert driven.ok("s0") == [Finish(RunStatus.CANCELED)]
        assert driven.status("s0") is StepStatus.SUCCESS
        assert driven.status("s1") is StepStatus.PENDING

    def test_failures_and_losses_are_not_tried_again(self, run: Start) -> None:
        driven = run(job([op("a", retry=Retry(9)), op("b")], call("a"), call("b")))
        driven.cancel()
        assert driven.fail("a") == []
        assert driven.lose("b") == [Finish(RunStatus.CANCELED)]
        assert driven.status("b") is StepStatus.CANCELED

    def test_a_run_that_waits_for_retries_only_ends_at_once(self, run: Start) -> None:
        driven = run(chain(1, Retry(1, 60.0)))
        driven.fail("s0")
        assert driven.cancel() == [Finish(RunStatus.CANCELED)]

    def test_a_run_that_has_not_started_ends_at_once(self, run: Start) -> None:
        driven = run(chain(1), begin=False)
        assert driven.cancel() == [Finish(RunStatus.CANCELED)]
        assert isinstance(driven.notes[-1], RunCanceled)
        assert driven.begin() == []

    def test_a_run_that_has_ended_stays_as_it_is(self, run: Start) -> None:
        driven = run(chain(1))
        driven.ok("s0")
        assert driven.cancel() == []
        assert not driven.accepted
        assert driven.machine.status is RunStatus.SUCCESS

    def test_a_run_may_have_a_time_limit(self, run: Start) -> None:
        driven = run(snapshot(chain(1), tags={"opgrid/max_runtime": "30"}), begin=False)
        wake = driven.begin()[0]
        assert isinstance(wake, WakeAt)
        assert wake.due == 130.0
        assert driven.take(wake.event) == [Cancel(StepKey("s0"), 1)]
        assert driven.cancel() == []
        driven.take(driven.about(StepCanceled, "s0", 1))
        assert driven.machine.status is RunStatus.FAILURE
        (ended,) = [event for event in driven.log if isinstance(event, RunFailed)]
        assert ended.reason == "The run took longer than its limit of 30 s."


class TestLostOutputs:
    """What a step needs is gone: who made it runs again, then the step."""

    def gone(self, driven: Driven, step: str, *refs: OutputRef, attempt: int = 1) -> list[Command]:
        cause = LossCause("it is gone")
        return driven.take(driven.about(StepLost, step, attempt, cause=cause, gone=refs))

    def ref(self, step: str, attempt: int = 1, run: str = RUN) -> OutputRef:
        return OutputRef(RunId(run), StepKey(step), "result", None, attempt)

    def test_the_maker_runs_again_and_then_the_step_with_what_it_made(self, run: Start) -> None:
        driven = run(chain(3))
        driven.ok("s0")
        assert names(driven.ok("s1")) == [("s2", 1)]
        assert names(self.gone(driven, "s2", self.ref("s1"))) == [("s1", 2)]
        (launched,) = driven.ok("s1", attempt=2)
        assert isinstance(launched, Launch)
        assert (launched.task.step, launched.task.attempt) == ("s2", 2)
        assert launched.task.inputs[0].source == Stored(self.ref("s1", 2))
        driven.ok("s2", attempt=2)
        assert driven.machine.status is RunStatus.SUCCESS
        assert driven.machine.steps[StepKey("s2")].losses == 0

    def test_what_the_maker_needs_may_be_gone_too(self, run: Start) -> None:
        driven = run(chain(3))
        driven.ok("s0")
        driven.ok("s1")
        self.gone(driven, "s2", self.ref("s1"))
        assert names(self.gone(driven, "s1", self.ref("s0"), attempt=2)) == [("s0", 2)]
        assert names(driven.ok("s0", attempt=2)) == [("s1", 3)]
        assert names(driven.ok("s1", attempt=3)) == [("s2", 2)]

    def test_it_ran_again_for_another_already(self, run: Start) -> None:
        driven = run(job([op("a"), op("b", "x"), op("c", "x")], call("a"), call("b", x="a"), call("c", x="a")))
        driven.ok("a")
        assert names(self.gone(driven, "b", self.ref("a"))) == [("a", 2)]
        assert names(self.gone(driven, "c", self.ref("a"))) == []
        assert sorted(names(driven.ok("a", attempt=2))) == [("b", 2), ("c", 2)]
        assert names(self.gone(driven, "b", self.ref("a"), attempt=2)) == [("b", 3)]  # that was the first one's

    def test_a_step_that_fails_this_time_fails_what_waits_for_it(self, run: Start) -> None:
        driven = run(chain(3))
        driven.ok("s0")
        self.gone(driven, "s1", self.ref("s0"))
        driven.fail("s0", attempt=2)
        assert driven.machine.status is RunStatus.FAILURE
        assert driven.machine.failed() == ["s0", "s1"]
        (failed,) = [event for event in driven.log if isinstance(event, StepFailed) and event.step == "s1"]
        assert "'s0' was lost" in failed.error.message
        assert driven.machine.steps[StepKey("s2")].status is StepStatus.PENDING

    def test_not_for_ever(self, run: Start) -> None:
        driven = run(chain(2))
        driven.ok("s0")
        for attempt in range(1, 4):
            assert names(self.gone(driven, "s1", self.ref("s0", attempt), attempt=attempt)) == [("s0", attempt + 1)]
            driven.ok("s0", attempt=attempt + 1)
        self.gone(driven, "s1", self.ref("s0", 4), attempt=4)
        assert driven.machine.status is RunStatus.FAILURE
        (failed,) = [event for event in driven.log if isinstance(event, StepFailed)]
        assert failed.error.message == "it is gone It cannot be made again: step 's0' ran again 3 times for it."

    def test_not_where_the_op_says_so_nor_of_another_run(self, run: Start) -> None:
        quiet = job([op("a"), op("b", "x")], NodeInfo("a", "a", tags={"opgrid/recompute": "false"}), call("b", x="a"))
        driven = run(quiet)
        driven.ok("a")
        self.gone(driven, "b", self.ref("a"))
        assert driven.machine.status is RunStatus.FAILURE
        driven = run(chain(2))
        driven.ok("s0")
        self.gone(driven, "s1", self.ref("s0", run="earlier"))
        assert driven.machine.status is RunStatus.FAILURE

    def test_a_fan_out_that_gives_other_keys_this_time(self, run: Start) -> None:
        driven = run(fan_out_job())
        driven.ok("keys", "a", "b")
        (made,) = [key for key in driven.machine.steps if key.endswith("[a]")]
        ref = OutputRef(RUN, StepKey("keys"), "result", "a", 1)
        assert names(self.gone(driven, made, ref)) == [("keys", 2)]
        driven.ok("keys", "b", "c", attempt=2)
        (failed,) = [event for event in driven.log if isinstance(event, StepFailed)]
        assert failed.step == made
        assert "did not give" in failed.error.message


class TestHooks:
    def hooked(self) -> JobStructure:
        return job([op("a"), op("b", "x")], NodeInfo("a", "a", hooks=("tell", "log")), call("b", x="a"))

    def hook(self, driven: Driven, name: str, kind: type[Event] = HookCompleted) -> list[Command]:
        return driven.take(driven.about(kind, "a", 1, hook=name))

    def test_the_run_waits_for_them_but_steps_do_not(self, run: Start) -> None:
        driven = run(self.hooked())
        assert names(driven.ok("a")) == [("b", 1)]
        wakes = driven.ok("b")
        assert all(isinstance(wake, WakeAt) and isinstance(wake.event, HookErrored) for wake in wakes)
        assert self.hook(driven, "tell") == []
        assert self.hook(driven, "log") == [Finish(RunStatus.SUCCESS)]

    def test_each_reports_once(self, run: Start) -> None:
        driven = run(self.hooked())
        driven.ok("a")
        self.hook(driven, "tell")
        self.hook(driven, "tell")
        assert not driven.accepted

    def test_one_that_stays_silent_is_given_up(self, run: Start) -> None:
        driven = run(self.hooked())
        wakes = driven.fail("a")
        assert [wake.due for wake in wakes if isinstance(wake, WakeAt)] == [130.0, 130.0]
        assert isinstance(wakes[0], WakeAt)
        assert isinstance(wakes[1], WakeAt)
        assert driven.take(wakes[0].event) == []
        assert driven.take(wakes[1].event) == [Finish(RunStatus.FAILURE)]

    def test_those_of_a_step_whose_process_died_run_elsewhere(self, run: Start) -> None:
        driven = run(self.hooked())
        driven.lose("a")
        driven.lose("a", 2)
        hook, *_ = driven.lose("a", 3)
        assert isinstance(hook, RunHook)
        assert hook.hooks == ("log", "tell")
        assert hook.error is not None
        assert hook.error.kind == "PoisonStep"
        driven.take(driven.about(HookCompleted, "a", 3, hook="tell"))
        assert driven.take(driven.about(HookCompleted, "a", 3, hook="log")) == [Finish(RunStatus.FAILURE)]

    def test_a_process_that_dies_in_its_hooks_leaves_them_to_another(self, run: Start) -> None:
        driven = run(self.hooked())
        driven.ok("a")
        self.hook(driven, "log")
        (hook,) = driven.lose("a")
        assert isinstance(hook, RunHook)
        assert (hook.hooks, hook.error) == (("tell",), None)
        assert driven.lose("a") == []

    def test_those_of_a_failure_that_nobody_is_there_for_run_elsewhere(self, run: Start) -> None:
        driven = run(self.hooked())
        hook, *_ = driven.fail("a", orphaned=True)
        assert isinstance(hook, RunHook)
        assert (hook.hooks, hook.error) == (("log", "tell"), BOOM)

    def test_who_takes_over_has_those_run_that_nobody_has_reported(self, run: Start) -> None:
        driven = run(self.hooked())
        asked, *_ = driven.fail("a", orphaned=True)
        assert asked in driven.machine.outstanding(200.0)
        driven.take(driven.about(HookCompleted, "a", 1, hook="tell"))
        (again,) = (each for each in driven.machine.outstanding(200.0) if isinstance(each, RunHook))
        assert (again.hooks, again.error) == (("log",), BOOM)
        driven.take(driven.about(HookCompleted, "a", 1, hook="log"))
        assert driven.machine.outstanding(200.0) == []

    def test_a_failure_that_would_be_retried_has_none(self, run: Start) -> None:
        structure = job([op("a", retry=Retry(1, 5.0))], NodeInfo("a", "a", hooks=("tell",)))
        driven = run(structure)
        driven.cancel()
        assert driven.fail("a") == [Finish(RunStatus.CANCELED)]


class TestReexecution:
    def parent(self) -> RunMachine:
        driven = Driven(RunMachine(RUN, compile(snapshot(fan_out_job()))))
        driven.begin()
        driven.ok("keys", "k1", "k2", "k3")
        driven.ok("work[k1]")
        driven.fail("work[k2]")
        driven.ok("work[k3]")
        return driven.machine

    def test_from_failure_runs_what_failed_and_what_is_below(self, run: Start) -> None:
        driven = run(fan_out_job(), begin=False, known=self.parent().known())
        assert names(driven.begin()) == [("work[k2]", 1)]
        (total,) = driven.ok("work[k2]")
        assert isinstance(total, Launch)
        refs = total.task.inputs[0].source
        assert refs == Gathered((_ref("work[k1]"), _ref("work[k2]"), _ref("work[k3]")))
        assert driven.ok("total") == [Finish(RunStatus.SUCCESS)]

    def test_a_selected_instance_runs_again_with_what_is_below(self, run: Start) -> None:
        parent = self.parent()
        with pytest.raises(Exception, match=r"work\[k2\]"):
            compile(snapshot(fan_out_job()), step_selection=["work[k1]*"], known=parent.known())
        driven = run(fan_out_job(), begin=False, step_selection=["work[k1]", "work[k2]*"], known=parent.known())
        assert names(driven.begin()) == [("work[k1]", 1), ("work[k2]", 1)]
        driven.ok("work[k1]")
        assert names(driven.ok("work[k2]")) == [("total", 1)]

    def test_what_was_skipped_stays_skipped(self, run: Start) -> None:
        first = run(_with_filter())
        first.ok("keys", "k1", "k2")
        first.ok("filter[k1]", outputs=())
        first.ok("filter[k2]")
        first.ok("work[k2]")
        first.fail("total")
        again = run(_with_filter(), begin=False, known=first.machine.known())
        (total,) = again.begin()
        assert isinstance(total, Launch)
        assert total.task.inputs[0].source == Gathered((_ref("work[k2]"),))
        assert again.status("work[k1]") is StepStatus.SKIPPED

    def test_one_that_failed_before_its_keys_makes_them_anew(self, run: Start) -> None:
        first = run(fan_out_job())
        first.fail("keys")
        again = run(fan_out_job(), begin=False, known=first.machine.known())
        assert names(again.begin()) == [("keys", 1)]
        assert names(again.ok("keys", "k9")) == [("work[k9]", 1)]

    def test_when_all_is_known_there_is_nothing_to_do(self, run: Start) -> None:
        first = run(chain(2))
        first.ok("s0")
        first.ok("s1")
        assert run(chain(2), begin=False, known=first.machine.known()).begin() == [Finish(RunStatus.SUCCESS)]


class TestDelays:
    @pytest.mark.parametrize(
        ("policy", "delays"),
        [
            (Retry(3), [0, 0, 0]),
            (Retry(3, 2.0), [2, 2, 2]),
            (Retry(3, 2.0, Backoff.LINEAR), [2, 4, 6]),
            (Retry(3, 2.0, Backoff.EXPONENTIAL), [2, 6, 14]),
            (Retry(3, 2.0, Backoff.LINEAR, Jitter.FULL), [0.5, 1, 1.5]),
            (Retry(3, 2.0, Backoff.LINEAR, Jitter.PLUS_MINUS), [1, 3, 5]),
        ],
    )
    def test_delays(self, policy: Retry, delays: list[float]) -> None:
        assert [policy.before(number, 0.25) for number in (1, 2, 3)] == delays

    def test_jitter_is_spread_evenly_and_the_same_at_every_replay(self) -> None:
        shares = [share_of(RUN, StepKey(f"s{n}"), 1) for n in range(1000)]
        assert shares == [share_of(RUN, StepKey(f"s{n}"), 1) for n in range(1000)]
        assert all(0 <= share < 1 for share in shares)
        assert sum(shares) / 1000 == pytest.approx(0.5, abs=0.05)


def test_counts_are_for_displays(run: Start) -> None:
    driven = run(fan_out_job())
    driven.ok("keys", "k1", "k2")
    driven.ok("work[k1]")
    assert driven.machine.counts() == {StepStatus.SUCCESS: 2, StepStatus.DISPATCHED: 1, StepStatus.PENDING: 1}
