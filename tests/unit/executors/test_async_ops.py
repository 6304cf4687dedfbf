"""Async ops of one process run at the same time, and can be stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from executors import in_process
from opgrid import (
    ConfigurableResource,
    DynamicOut,
    DynamicOutput,
    OpExecutionContext,
    RetryPolicy,
    execute_job,
    in_process_executor,
    job,
    op,
)
from opgrid.contracts.events import StepCanceled
from opgrid.ids import RunId
from orchestrator.instance import Instance
from orchestrator.services.submission import cancel

running: list[int] = []
most: list[int] = []
wanted = [0]  #: how many fetches are to wait at the same time


@pytest.fixture(autouse=True)
def _forget() -> None:
    running.clear()
    most.clear()
    wanted[0] = 0


@op(out=DynamicOut(int))
def spread() -> Iterator[DynamicOutput[int]]:
    for number in range(40):
        yield DynamicOutput(number, mapping_key=str(number))


@op
async def fetch(context: OpExecutionContext, number: int) -> int:
    """Ends when as many have waited at the same time as are wanted."""
    running.append(number)
    most.append(len(running))
    until = time.monotonic() + 20
    while max(most) < wanted[0] and time.monotonic() < until:
        await asyncio.sleep(0.005)
    running.remove(number)
    context.log.info("fetched %d", number)
    return number * 2


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@job
def fetches() -> None:
    total(spread().map(fetch).collect())


def test_they_wait_together() -> None:
    wanted[0] = 40
    result = fetches.execute_in_process()
    assert result.output_for_node("total") == 2 * sum(range(40))
    assert max(most) == 40
    logged = [event for event in result.all_events if event.TYPE.name == "LOG_MESSAGE"]
    assert {event.step for event in logged} == {f"fetch[{number}]" for number in range(40)}  # type: ignore[union-attr]


def test_sync_steps_go_on_meanwhile() -> None:
    order: list[str] = []

    @op
    async def slow() -> None:
        until = time.monotonic() + 20
        while "after" not in order and time.monotonic() < until:
            await asyncio.sleep(0.005)
        order.append("slow")

    @op
    def quick() -> int:
        order.append("quick")
        return 1

    @op
    def after(number: int) -> None:
        order.append("after")

    @job
    def both() -> None:
        slow()
        after(quick())

    assert both.execute_in_process().success
    assert order == ["quick", "after", "slow"]


def test_a_failure_and_a_retry_are_those_of_one_step() -> None:
    calls: list[str] = []

    @op(retry_policy=RetryPolicy(max_retries=2))
    async def flaky() -> int:
        calls.append("flaky")
        if len([each for each in calls if each == "flaky"]) < 2:
            raise ConnectionError("again")
        return 1

    @op
    async def broken() -> None:
        raise ValueError("on purpose")

    @job
    def mixed() -> None:
        flaky()
        broken()

    result = mixed.execute_in_process(raise_on_error=False)
    assert result.is_node_success("flaky")
    assert result.get_failed_step_keys() == {"broken"}
    with pytest.raises(ValueError, match="on purpose"):
        mixed.execute_in_process()


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError("by itself")])
def test_what_a_body_raises_that_would_end_an_event_loop_ends_its_step_alone(error: BaseException) -> None:
    @op(timeout=20.0)
    async def leaves() -> None:
        raise error

    @op(timeout=20.0)
    async def leaves_by_a_task() -> None:
        async def inner() -> None:
            raise error

        await asyncio.create_task(inner())

    @op(timeout=20.0)
    async def stays() -> int:
        await asyncio.sleep(0)
        return 1

    @job
    def three() -> None:
        leaves()
        leaves_by_a_task()
        stays()

    result = three.execute_in_process(raise_on_error=False)
    assert result.get_failed_step_keys() == {"leaves", "leaves_by_a_task"}
    assert result.output_for_node("stays") == 1
    for name in ("leaves", "leaves_by_a_task"):
        failure = result.failure_data_for_node(name)
        assert failure is not None
        assert failure.error.kind == type(error).__name__


def test_a_timeout_ends_what_waits() -> None:
    ended: list[str] = []

    @op(timeout=0.1)
    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    @job
    def waits() -> None:
        endless()

    before = time.monotonic()
    result = waits.execute_in_process(raise_on_error=False)
    failure = result.failure_data_for_node("endless")
    assert failure is not None
    assert failure.timed_out
    assert ended == ["cleaned up"]
    assert time.monotonic() - before < 10


def test_a_resource_of_the_run_is_opened_once_for_all() -> None:
    opened: list[int] = []

    class Pool(ConfigurableResource):
        def setup_for_execution(self, context: Any) -> None:
            time.sleep(0.02)
            opened.append(1)

    @op
    async def uses(pool: Pool, number: int) -> None:
        await asyncio.sleep(0)

    @job(resource_defs={"pool": Pool()})
    def many() -> None:
        spread().map(uses)

    assert many.execute_in_process().success
    assert opened == [1]


def test_async_generators_give_outputs_as_they_come() -> None:
    @op(out=DynamicOut(int))
    async def stream() -> AsyncIterator[DynamicOutput[int]]:
        for number in range(3):
            await asyncio.sleep(0)
            yield DynamicOutput(number, mapping_key=str(number))

    @job
    def streams() -> None:
        total(stream().map(fetch).collect())

    assert streams.execute_in_process().output_for_node("total") == 6


def test_a_step_that_is_to_end_knows_it() -> None:
    seen: list[bool] = []

    @op(timeout=1.0)
    def long(context: OpExecutionContext) -> None:
        seen.append(context.is_cancelled)
        try:
            time.sleep(30)
        finally:
            seen.append(context.is_cancelled)

    @op
    def after(context: OpExecutionContext) -> None:
        seen.append(context.is_cancelled)

    @job
    def two() -> None:
        long()
        after()

    two.execute_in_process(raise_on_error=False)
    assert seen == [False, True, False]


def test_those_for_which_no_thread_is_free_are_canceled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would run to their end, one after another, before the run could end."""
    monkeypatch.setattr(in_process, "_BESIDE", 1)
    begun: list[str] = []

    with Instance.local_temp() as instance:

        @op
        async def lasts(context: OpExecutionContext) -> None:
            begun.append(context.op_handle)
            record = instance.store.run(RunId(context.run_id))
            assert record is not None
            cancel(instance.store, record, "enough")  # type: ignore[arg-type]
            await asyncio.sleep(60)

        @job(executor_def=in_process_executor)
        def many() -> None:
            for number in range(3):
                lasts.alias(f"lasts_{number}")()

        with execute_job(many, instance) as result:
            ended = [event.step for event in result.all_events if isinstance(event, StepCanceled)]
    assert begun == ["lasts_0"]
    assert sorted(ended) == ["lasts_0", "lasts_1", "lasts_2"]
