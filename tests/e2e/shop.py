"""What the tests look at in a browser: a small shop, on Celery and here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from opgrid import (
    AssetMaterialization,
    Config,
    DailyPartitionsDefinition,
    Definitions,
    DynamicOut,
    DynamicOutput,
    Failure,
    In,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Output,
    RetryPolicy,
    RunRequest,
    ScheduleDefinition,
    approval_op,
    celery_executor,
    graph,
    in_process_executor,
    job,
    op,
    sensor,
)


class Orders(Config):
    count: int = 4
    seconds: float = 0.05


class Packing(Config):
    fail: bool = False


@op(description="Reads the orders of a day.", out=DynamicOut(int))
def orders(context: OpExecutionContext, config: Orders) -> Iterator[DynamicOutput[int]]:
    context.log.info("Reading orders")
    for number in range(config.count):
        yield DynamicOutput(number, f"n{number}")


@op
def pack(config: Packing, order: int) -> Output[int]:
    print(f"packing {order}")
    time.sleep(0.05)
    if config.fail and order == 2:
        raise Failure("The box is too small.", metadata={"order": MetadataValue.int(order)})
    return Output(order * 10, metadata={"weight": order * 10, "label": "[docs](https://example.org)"})


@op(retry_policy=RetryPolicy(max_retries=1, delay=0.1))
def ship(boxes: list[int]) -> int:
    return sum(boxes)


@graph
def packing() -> Any:
    return orders().map(pack).collect()


@job(description="Packs and ships.", executor_def=celery_executor, tags={"team": "shop"})
def shipping() -> None:
    ship(packing())


@op
def slowly(context: OpExecutionContext) -> None:
    for _ in range(6000):  # longer than a browser on a slow machine takes to cancel it
        time.sleep(0.05)
        if context.is_cancelled:
            return


@job(executor_def=celery_executor)
def slow() -> None:
    slowly()


@op
def count(context: OpExecutionContext) -> None:
    for number in range(600):
        context.log.info(f"counted {number}")
    for number in range(1200):
        print(f"printed {number}")
    while not context.is_cancelled:
        time.sleep(0.05)


@job(executor_def=celery_executor)
def stocktaking() -> None:
    count()


@op
def prepare() -> None: ...


@op(ins={"start": In(Nothing)})
def deliver() -> str:
    return "delivered"


sign_off = approval_op("sign_off", "Are the boxes good?")


@job(executor_def=celery_executor)
def releasing() -> None:
    deliver(start=sign_off(start=prepare()))


@op
def count_day(context: OpExecutionContext) -> str:
    return context.partition_key


@job(partitions_def=DailyPartitionsDefinition("2026-01-01", end_date="2026-01-13"), executor_def=in_process_executor)
def counting() -> None:
    count_day()


LONG = "a_name_that_goes_on_and_on" * 4


@job(name=LONG, executor_def=in_process_executor)
def tiresome() -> None:
    prepare()


@op(tags={"opgrid/queue": "gpu"})
def learn() -> None: ...


@job(executor_def=celery_executor)
def learning() -> None:
    learn()


class Said(Config):
    texts: list[str] = []


@op(description="Prints what it is told, <script>window.hit=1</script>.")
def say(context: OpExecutionContext, config: Said) -> None:
    for text in config.texts:
        context.log.info(text)
        print(text)
    told: dict[str, Any] = {f"said {number}": text for number, text in enumerate(config.texts)}
    told["a key" + "_that_goes_on" * 8] = "its value"
    told["url"] = MetadataValue.url("javascript:window.hit=1")
    context.log_event(AssetMaterialization("said", metadata=told))
    raise Failure("".join(config.texts), metadata={str(number): text for number, text in enumerate(config.texts)})


@job(description="Prints labels, and runs out of paper.", executor_def=in_process_executor)
def labels() -> None:
    say()


@sensor(job=counting, minimum_interval_seconds=60)
def arrivals(context: Any) -> RunRequest:
    return RunRequest(run_key="one", partition_key="2026-01-05")


@sensor(jobs=[slow, learning])
def returns(context: Any) -> None: ...


defs = Definitions(
    jobs=[shipping, slow, stocktaking, counting, releasing, learning, labels, tiresome],
    schedules=[ScheduleDefinition(name="nightly", job=shipping, cron_schedule="0 3 * * *")],
    sensors=[arrivals, returns],
)
