"""What the in-process executor puts into one turn: quick steps together, those of a chain too; slow ones are seen."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from executors import in_process
from executors.in_process import InProcessExecutor
from opgrid import (
    JobDefinition,
    OpExecutionContext,
    Out,
    Output,
    execute_job,
    graph,
    in_process_executor,
    job,
    op,
)
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    RunCanceled,
    RunCanceling,
    RunFailed,
    StepCanceled,
    StepDispatched,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.executor import ExecutorSetup
from opgrid.contracts.fusing import promise
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief, StepTask, Stored, TaskInput
from opgrid.ids import NodePath, RunId, StepKey
from orchestrator.engine.inbox import Inbox
from orchestrator.instance import Instance
from orchestrator.services.submission import cancel
from orchestrator.storage.memory import MemoryStore
from orchestrator.storage.service_protocols import ServiceStore
from tests.unit.executors.small_ops import increment, zero


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    @contextmanager
    def turn(self) -> Iterator[Any]:
        self.turns += 1
        with super().turn() as turn:
            yield turn


@op
def look(context: OpExecutionContext, number: int) -> int:
    """What is recorded while it runs."""
    SEEN.append([(type(event), event.step) for event in recorded(context) if isinstance(event, KINDS)])
    return number


@op
def look_slowly(context: OpExecutionContext, number: int) -> int:
    SEEN.append([(type(event), event.step) for event in recorded(context) if isinstance(event, KINDS)])
    time.sleep(0.03)
    return number


KINDS = (StepStarted, StepSucceeded)
SEEN: list[list[tuple[type, str]]] = []
ALARMS: list[threading.Timer] = []
STORES: list[ServiceStore] = []
SILENT: list[bool] = []  #: whether nothing interrupted it
TWICE = threading.Event()  #: it was to be interrupted a second time


def the_alarm() -> threading.Timer:
    """Of the limit of time of the run that is under way."""
    (alarm,) = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    return alarm


def ring(alarm: threading.Timer) -> None:
    """The time is over, now."""
    threading.Thread(target=alarm.function, args=alarm.args, kwargs=alarm.kwargs).start()


def recorded(context: OpExecutionContext) -> list[AnyEvent]:
    return list(context.instance.store.read(context.run_id))


def chain(length: int) -> JobDefinition:
    @graph(name=f"chain_{length}")
    def made() -> None:
        number = zero()
        for _ in range(length - 1):
            number = increment(number)

    return made.to_job()


@pytest.fixture
def all_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the machine takes for a step."""
    for name in ("_TURN", "_SLOW"):
        monkeypatch.setattr(in_process, name, 60.0)


@pytest.mark.usefixtures("all_are_quick")
def test_a_chain_of_quick_steps_takes_few_turns() -> None:
    store = CountingStore()
    done = chain(64).execute_in_process(instance=Instance(store))
    assert done.output_for_node("increment_63") == 63
    assert store.turns < 20
    for step in ("increment", "increment_20", "increment_63"):
        kinds = [type(event) for event in done.all_node_events if event.step == step]
        assert kinds[:2] == [StepDispatched, StepStarted]
        assert kinds[-1] is StepSucceeded


@pytest.mark.usefixtures("all_are_quick")
def test_the_turns_of_a_chain_grow_slower_than_its_steps() -> None:
    turns = {}
    for length in (64, 256):
        store = CountingStore()
        chain(length).execute_in_process(instance=Instance(store))
        turns[length] = store.turns
    assert turns[256] < 256 / 4


@op
def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.usefixtures("all_are_quick")
def test_layers_of_quick_steps_go_on_without_a_turn_for_each() -> None:
    @job
    def layers() -> None:
        values = [zero.alias(f"at_0_{place}")() for place in range(6)]
        for layer in range(1, 12):
            values = [add.alias(f"at_{layer}_{at}")(values[at], values[(at + 1) % 6]) for at in range(6)]

    store = CountingStore()
    done = layers.execute_in_process(instance=Instance(store))
    assert done.success
    assert store.turns < 12
    begun = [event.step for event in done.all_node_events if isinstance(event, StepStarted)]
    assert begun == [f"at_{layer}_{at}" for layer in range(12) for at in range(6)]


def test_what_fails_stops_no_step_beside_it() -> None:
    @op
    def fail(number: int) -> int:
        raise ValueError(number)

    @job
    def partly() -> None:
        values = [zero.alias(f"at_0_{place}")() for place in range(3)]
        bad, good = fail(values[0]), [increment(value) for value in values]
        add.alias("below")(bad, good[0])
        add.alias("beside")(add(good[0], good[1]), good[2])

    done = partly.execute_in_process(raise_on_error=False)
    assert done.output_for_node("beside") == 3
    failed = [event.step for event in done.all_node_events if isinstance(event, StepFailed)]
    assert failed == ["fail"]
    assert not done.events_for_node("below")


@pytest.mark.usefixtures("all_are_quick")
def test_a_chain_goes_on_without_turns_beside_what_fails_is_skipped_or_async() -> None:
    @op
    def fail(number: int) -> int:
        raise ValueError(number)

    @op(out=Out(int, is_required=False))
    def maybe(number: int) -> Iterator[Output[int]]:
        yield from ()

    @op
    async def later(number: int) -> int:
        return number + 1

    @job
    def beside() -> None:
        first = zero()
        for number, other in enumerate((fail, maybe, later)):
            increment.alias(f"below_{number}")(other(first))
        number = first
        for _ in range(100):
            number = increment(number)

    store = CountingStore()
    done = beside.execute_in_process(instance=Instance(store), raise_on_error=False)
    assert done.output_for_node("increment_100") == 100
    assert done.output_for_node("below_2") == 2
    assert not done.events_for_node("below_0")
    assert [type(event) for event in done.events_for_node("below_1")] == [StepSkipped]
    assert store.turns < 30


def test_a_step_that_is_not_known_to_be_quick_begins_when_those_before_it_are_recorded() -> None:
    SEEN.clear()

    @job
    def unknown() -> None:
        look(increment(increment(zero())))

    unknown.execute_in_process()
    assert (StepSucceeded, "increment_2") in SEEN[0]


@pytest.mark.usefixtures("all_are_quick")
def test_an_op_that_has_not_run_here_is_seen_to_start_behind_quick_ones_too() -> None:
    """It may take hours."""

    @op
    def unknown(context: OpExecutionContext, number: int) -> int:
        return look.compute_fn(context, number)

    @job
    def chained() -> None:
        unknown(increment(increment(zero())))

    SEEN.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_process, "_SLOW", 60.0)  # so that all others count as quick
        assert chained.execute_in_process(instance=Instance(MemoryStore())).success
    assert (StepStarted, "unknown") in SEEN[0]


def test_an_op_that_was_quick_in_a_run_before_needs_no_turn_of_its_own() -> None:
    numbers = [op(name=f"number_{number}")(lambda: 1) for number in range(8)]

    @job
    def several() -> None:
        for number in numbers:
            number()

    turns = []
    for _ in range(2):
        store = CountingStore()
        assert several.execute_in_process(instance=Instance(store)).success
        turns.append(store.turns)
    assert turns[0] > len(numbers)
    assert turns[1] == 2, "the run starts; its steps run"


def test_a_step_that_was_slow_is_seen_while_it_runs() -> None:
    SEEN.clear()

    @job
    def slow() -> None:
        look_slowly(increment(increment(look_slowly(zero()))))

    slow.execute_in_process()
    assert (StepSucceeded, "increment_2") in SEEN[1]
    assert (StepStarted, "look_slowly_2") in SEEN[1]


# ---- the executor alone


WAKES: list[InProcessExecutor] = []


@op
def wake() -> int:
    """As a signal handler does that asks for the end of the run."""
    for executor in WAKES:
        executor.wake()
    return 0


@job
def waking() -> None:
    increment(increment(wake()))


@job
def plain() -> None:
    increment(increment(zero()))


def task(step: str, above: str = "", *then: StepTask) -> StepTask:
    inputs = (TaskInput("number", Stored(promise(StepKey(above), "result"))),) if above else ()
    after = (StepKey(above),) if above else ()
    return StepTask(RunId("r"), StepKey(step), NodePath(step), inputs=inputs, after=after, then=then)


def brief(of: JobDefinition) -> RunBrief:
    return RunBrief(RunId("r"), JobRef(of.name, of.structure_hash), ExecutorChoice("in_process"), io="memory")


@pytest.fixture
def executor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[InProcessExecutor]:
    made = InProcessExecutor.create(ExecutorSetup({}, str(tmp_path), None, request.param, None, ""))
    WAKES.append(made)
    yield made
    WAKES.clear()
    made.close()


def run_until(executor: InProcessExecutor, step: str) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    for _ in range(20):
        events += executor.poll(0).events
        if any(isinstance(event, StepSucceeded) and event.step == step for event in events):
            return events
    raise AssertionError(events)


@pytest.mark.parametrize("executor", [plain], indirect=True)
def test_steps_that_were_sent_along_run_once_though_they_are_submitted_too(executor: InProcessExecutor) -> None:
    members = task("increment", "zero"), task("increment_2", "increment")
    executor.submit(brief(plain), [task("zero", "", *members)])
    zero_ref = next(e for e in run_until(executor, "zero") if isinstance(e, StepSucceeded)).outputs[0]
    executor.submit(brief(plain), [_with(task("increment"), zero_ref)])
    events = run_until(executor, "increment_2")  # it goes on with what was sent along with the first
    executor.submit(brief(plain), [task("increment_2", "increment")])
    assert not executor.poll(0).events
    assert [event.step for event in events if isinstance(event, StepStarted)] == ["increment", "increment_2"]


@pytest.mark.parametrize("executor", [waking], indirect=True)
def test_no_step_that_was_sent_along_starts_once_the_loop_has_something_to_say(executor: InProcessExecutor) -> None:
    leader = task("wake")
    executor.submit(brief(waking), [leader])
    ref = next(e for e in run_until(executor, "wake") if isinstance(e, StepSucceeded)).outputs[0]
    executor.submit(brief(waking), [_with(task("increment"), ref)])
    run_until(executor, "increment")  # now both ops are known to be quick
    members = [replace(each, attempt=2) for each in (task("increment", "wake"), task("increment_2", "increment"))]
    executor.submit(brief(waking), [replace(leader, attempt=2, then=tuple(members))])
    events = run_until(executor, "wake")
    assert {event.step for event in events if isinstance(event, StepStarted)} == {"wake"}
    executor.cancel(RunId("r"), [(StepKey("increment"), 2)])
    assert not any(isinstance(event, StepStarted | StepCanceled) for event in executor.poll(0).events)


def _with(task: StepTask, ref: Any) -> StepTask:
    return replace(task, inputs=(TaskInput("number", Stored(ref)),))


@op(timeout=0.05)
def sleep_long() -> None:
    time.sleep(60)


@job
def sleeping() -> None:
    sleep_long()


def test_a_clock_that_is_set_back_makes_no_step_that_timed_out_a_canceled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() - 7200.0 * next(asked))
    result = sleeping.execute_in_process(raise_on_error=False)
    (failure,) = [event for event in result.all_events if isinstance(event, StepFailed)]
    assert failure.timed_out
    assert failure.seconds is not None and failure.seconds > 0.0


@op
def see_alarms() -> None:
    ALARMS.extend(thread for thread in threading.enumerate() if isinstance(thread, threading.Timer))


@job(tags={"opgrid/max_runtime": "1e12"})
def all_the_time_there_is() -> None:
    see_alarms()


def test_a_run_may_take_longer_than_any_alarm_waits() -> None:
    ALARMS.clear()
    assert all_the_time_there_is.execute_in_process().success
    assert len(ALARMS) == 1
    ALARMS[0].join(20)


@op
async def ends_slowly(context: OpExecutionContext) -> None:
    """Canceled, and over once no alarm can come any more."""
    alarm = the_alarm()
    (store,) = STORES
    record = store.run(RunId(context.run_id))
    assert record is not None
    cancel(store, record, "enough")
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.to_thread(alarm.join, 30)
        SILENT.append(not alarm.is_alive())


@job(tags={"opgrid/max_runtime": "600"}, executor_def=in_process_executor)
def canceled_in_time() -> None:
    ends_slowly()


def test_the_alarm_of_a_run_that_is_canceled_interrupts_nobody() -> None:
    SILENT.clear()
    with Instance.local_temp() as instance:
        STORES[:] = [instance.store]  # type: ignore[list-item]
        with execute_job(canceled_in_time, instance) as result:
            events = result.all_events
    assert [event.reason for event in events if isinstance(event, RunCanceling)] == ["enough"]
    assert isinstance(events[-1], RunCanceled)
    assert SILENT == [True]


@op
def cleans_up(context: OpExecutionContext) -> None:
    """Its time is over, and then its run is canceled."""
    try:
        ring(the_alarm())
        time.sleep(60)
    finally:
        (store,) = STORES
        record = store.run(RunId(context.run_id))
        assert record is not None
        cancel(store, record, "enough")
        SILENT.append(TWICE.wait(30))


@job(tags={"opgrid/max_runtime": "600"}, executor_def=in_process_executor)
def cleaned_up() -> None:
    cleans_up()


def test_who_cleans_up_after_an_interrupt_is_not_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt, calls = Inbox.interrupt, itertools.count(1)

    def noted(self: Inbox) -> None:
        interrupt(self)
        if next(calls) == 2:
            TWICE.set()

    monkeypatch.setattr(Inbox, "interrupt", noted)
    TWICE.clear()
    SILENT.clear()
    with Instance.local_temp() as instance:
        STORES[:] = [instance.store]  # type: ignore[list-item]
        with execute_job(cleaned_up, instance) as result:
            assert isinstance(result.all_events[-1], RunFailed)
    assert SILENT == [True]


@op
async def ends_later() -> None:
    """Than its time is over, and any alarm."""
    alarm = the_alarm()
    try:
        ring(alarm)
        await asyncio.sleep(60)
    finally:
        alarm.cancel()
        await asyncio.to_thread(alarm.join)


@job(tags={"opgrid/max_runtime": "600"})
def takes_too_long() -> None:
    ends_later()


def test_a_run_of_async_ops_ends_when_its_time_is_over() -> None:
    for _ in range(5):
        events = takes_too_long.execute_in_process(raise_on_error=False).all_events
        assert [event.reason for event in events if isinstance(event, RunCanceling)] == [
            "The run took longer than its limit of 600 s."
        ]
        assert isinstance(events[-1], RunFailed)


def test_a_step_that_the_keyboard_keeps_from_beginning_ends_with_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(in_process, "run_step", interrupted)
    result = chain(2).execute_in_process(raise_on_error=False)
    assert result.run.status is RunStatus.CANCELED
    assert [event.step for event in result.all_events if isinstance(event, StepCanceled)] == ["zero"]
