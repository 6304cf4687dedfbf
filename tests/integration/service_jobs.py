"""Jobs that the tests of the service launch."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

from opgrid import Config, In, Nothing, OpExecutionContext, approval_op, job, op


class Marked(Config):
    mark: str = ""  #: a file that gets a line an attempt
    seconds: float = 0.0
    gate: str = ""  #: a file without which it does not end


def _take_part(context: OpExecutionContext, config: Marked) -> None:
    if config.mark:
        with Path(config.mark).open("a") as file:
            file.write(f"{context.step_key}\n")
    time.sleep(config.seconds)
    until = time.monotonic() + 200
    while config.gate and not Path(config.gate).exists() and time.monotonic() < until:
        time.sleep(0.02)


@op
def first(context: OpExecutionContext, config: Marked) -> int:
    _take_part(context, config)
    return 1


@op
def second(context: OpExecutionContext, config: Marked, x: int) -> int:
    _take_part(context, config)
    return x + 1


@op
def breaks(x: int) -> int:
    raise ValueError("on purpose")


@job(tags={"opgrid/fuse": "false"})
def two() -> None:
    second(first())


sign_off = approval_op("sign_off", "Go on?")


@op(ins={"start": In(Nothing)})
def last() -> None: ...


@job
def signed() -> None:
    last(start=sign_off(start=first()))


@job
def broken() -> None:
    breaks(first())


@job
def quick() -> None:
    first()


@job
def alike() -> None:
    first()


@op(tags={"opgrid/executor": "celery"})
def there(context: OpExecutionContext, config: Marked) -> None:
    _take_part(context, config)


@op(tags={"opgrid/executor": "in_process"})
def here(context: OpExecutionContext, config: Marked) -> None:
    _take_part(context, config)


@job
def both_places() -> None:
    there()
    here()


@op
def deaf(context: OpExecutionContext, config: Marked) -> None:
    """Does not let itself be interrupted, nor what it has started."""
    child = subprocess.Popen(["sleep", "1000"])
    Path(config.mark).write_text(f"{child.pid}\n")
    while True:
        with suppress(BaseException):
            time.sleep(60)


@job
def stubborn() -> None:
    deaf()
