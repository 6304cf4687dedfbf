"""The jobs that faults hit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from opgrid import (
    Config,
    DefaultSensorStatus,
    Definitions,
    DynamicOut,
    DynamicOutput,
    OpExecutionContext,
    RetryPolicy,
    RunRequest,
    SkipReason,
    celery_executor,
    in_process_executor,
    job,
    op,
    sensor,
)
from tests.faults.wide import DEEP, WIDE

WIDTH = 10


class Work(Config):
    seconds: float = 0.2
    mark: str = ""  #: a folder that gets a line an attempt


def _mark(context: OpExecutionContext, config: Work) -> None:
    if config.mark:
        name = context.step_key.replace("[", "-").replace("]", "")
        with open(os.path.join(config.mark, name), "a") as file:
            file.write(f"{time.time()}\n")


@op(out=DynamicOut(int))
def spread(context: OpExecutionContext, config: Work) -> Iterator[DynamicOutput[int]]:
    _mark(context, config)
    for number in range(WIDTH):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def work(context: OpExecutionContext, config: Work, number: int) -> int:
    _mark(context, config)
    time.sleep(config.seconds)
    return number


@op
def follow(context: OpExecutionContext, config: Work, number: int) -> int:
    _mark(context, config)
    time.sleep(config.seconds / 4)
    return number * 2


@op
def total(context: OpExecutionContext, config: Work, numbers: list[int]) -> int:
    _mark(context, config)
    if config.mark:
        with open(os.path.join(config.mark, "sum"), "w") as file:
            file.write(str(sum(numbers)))
    return sum(numbers)


@job(executor_def=celery_executor)
def mixed() -> None:
    """A fan-out of chains: 10 x (work -> follow), and their sum, 90."""
    total(spread().map(lambda number: follow(work(number))).collect())


@op(tags={"opgrid/timeout": "1"}, retry_policy=RetryPolicy(max_retries=1))
def hang(context: OpExecutionContext) -> int:
    """The first attempt holds the interpreter for ever."""
    if context.retry_number == 0:
        sum(1 for _ in iter(int, 1))
    return 1


@job(executor_def=celery_executor)
def hanging() -> None:
    hang()


@op
def poison() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@op(retry_policy=RetryPolicy(max_retries=2))
def moody(context: OpExecutionContext, number: int) -> int:
    """Fails at first."""
    if context.retry_number < 2:
        raise ValueError("not yet")
    return number


@job(executor_def=celery_executor)
def flaky() -> None:
    total(spread().map(moody).collect())


@op
def broken(numbers: list[int]) -> None:
    raise ValueError("never")


@job(executor_def=celery_executor)
def failing() -> None:
    broken(spread().map(work).collect())


@op
def below(number: int) -> int:
    return number


@job(executor_def=celery_executor)
def poisoned() -> None:
    below(poison())
    total(spread().map(work).collect())


@op
def large(size: int) -> bytes:
    return os.urandom(size)  # what does not compress


@op
def measure(data: bytes) -> int:
    return len(data)


@job(executor_def=celery_executor)
def heavy() -> None:
    measure(large())


@op(out=DynamicOut(int))
def many() -> Iterator[DynamicOutput[int]]:
    for number in range(WIDE):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def same(number: int) -> int:
    return number


@op
def count(numbers: list[int]) -> int:
    return len(numbers)


@job(executor_def=celery_executor)
def wide() -> None:
    rows = many()
    for _ in range(DEEP):
        rows = rows.map(same)
    count(rows.collect())


@op(tags={"opgrid/queue": "nobody"})
def nowhere() -> int:
    return 1


@job(executor_def=celery_executor)
def unserved() -> None:
    nowhere()


@job(executor_def=in_process_executor)
def small() -> None:
    below.alias("one")()


@sensor(job=small, minimum_interval_seconds=0, default_status=DefaultSensorStatus.RUNNING)
def counting(context: object) -> RunRequest | SkipReason:
    number = int(context.cursor or 0) + 1  # type: ignore[attr-defined]
    if number > 12:
        return SkipReason("enough")
    context.update_cursor(str(number))  # type: ignore[attr-defined]
    return RunRequest(run_key=str(number), run_config={"ops": {"one": {"inputs": {"number": number}}}})


defs = Definitions(jobs=[mixed, hanging, poisoned, flaky, failing, heavy, wide, unserved, small], sensors=[counting])
