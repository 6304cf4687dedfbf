"""The job that the executor contract runs: an op for each way in which a step can end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opgrid.contracts.facts import AssetMaterialization
from opgrid.definitions.definitions import Definitions
from opgrid.definitions.events import DynamicOutput, Failure, Output
from opgrid.definitions.hooks import failure_hook, success_hook
from opgrid.definitions.job import job
from opgrid.definitions.op import op
from opgrid.definitions.ports import DynamicOut, Out
from opgrid.steps.context import HookContext, OpExecutionContext

#: A run tag that names a folder where ops leave traces for the test.
FOLDER = "contract/folder"


@success_hook
def applaud(context: HookContext) -> None:
    assert context.op_exception is None


@failure_hook
def console(context: HookContext) -> None:
    assert context.op_exception is not None


@success_hook
def linger(context: HookContext) -> None:
    """Until there is a file ``hooks-go-on``."""
    until = time.monotonic() + 60
    while not Path(context.run_tags[FOLDER], "hooks-go-on").exists() and time.monotonic() < until:
        time.sleep(0.005)


@success_hook
def die(context: HookContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@op
def five() -> int:
    return 5


@op
def add_one(number: int) -> int:
    return number + 1


@op
def total(numbers: list[Any]) -> int:
    return sum(numbers)


@op(out={"low": Out(int), "high": Out(int, is_required=False)})
def split() -> Iterator[Any]:
    yield Output(1, "low", metadata={"rows": 1})


@op(out=DynamicOut(int))
def spread() -> Iterator[DynamicOutput[int]]:
    for number in range(3):
        yield DynamicOutput(number, mapping_key=f"k{number}")


@op
def fail() -> None:
    raise ValueError("no luck")


@op
def fail_for_good() -> None:
    raise Failure("never again", metadata={"cause": "test"}, allow_retries=False)


@op
def start_a_process() -> None:
    started = multiprocessing.get_context("spawn").Process(target=os._exit, args=[3])
    started.start()
    started.join()
    assert started.exitcode == 3


@op
def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@op
def leave() -> None:
    os._exit(7)


def _start_child(context: OpExecutionContext) -> None:
    """Its number is in a file that is whole from the moment on in which it is there."""
    child = subprocess.Popen(["sleep", "300"])
    trace = Path(context.run_tags[FOLDER], f"child-{context.attempt}")
    unfinished = trace.with_suffix(".unfinished")
    unfinished.write_text(str(child.pid))
    unfinished.rename(trace)


@op
def sleep_alone() -> None:
    time.sleep(60)


@op
def sleep_long(context: OpExecutionContext) -> None:
    """Starts a process too: it has to go with the step."""
    _start_child(context)
    time.sleep(60)


@op
def ignore_interrupts(context: OpExecutionContext) -> None:
    """Only a kill ends it, and what it started."""
    _start_child(context)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            time.sleep(1)
        except BaseException:
            continue


@op
def ignore_signals() -> None:
    """As libraries do that want to end in order."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)


@op
def wander() -> None:
    """Leaves its process in a folder that is gone, and deaf."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
    os.umask(0o777)
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


@op
def look_around(context: OpExecutionContext) -> None:
    """Writes down where it is, and who may read its files."""
    trace = Path(context.run_tags[FOLDER], f"around-{context.attempt}")
    trace.touch()
    trace.write_text(f"{os.getcwd()} {trace.stat().st_mode:o}")


@op
def speak(context: OpExecutionContext) -> None:
    context.log.info("hello from %s", context.step_key)


class Odd(BaseException):
    """No Exception, and without words."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@op
def fail_oddly(context: OpExecutionContext) -> None:
    context.log.info("a file: \udcff")  # as a name that is not UTF-8 reads
    context.log_event(AssetMaterialization("table", metadata={"seen": {True: 1, None: 2}}))
    raise Odd


@op
def count(context: OpExecutionContext) -> int:
    """How often it ran."""
    with Path(context.run_tags[FOLDER], "count").open("a") as file:
        file.write(".")
    return Path(context.run_tags[FOLDER], "count").stat().st_size


@op
def pause() -> None:
    time.sleep(0.2)


@op
def vary(context: OpExecutionContext) -> str:
    """Quick, unless its step's key says ``long`` or ``killed``; leaves a trace of each start. A long one ends when
    there is a file ``go-on``.
    """
    folder = Path(context.run_tags[FOLDER])
    with (folder / "vary").open("a") as file:
        file.write(f"{context.step_key}\n")
    if "killed" in context.step_key:
        os.kill(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + 60
    while "long" in context.step_key and not (folder / "go-on").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return context.step_key


@job(hooks={applaud, console})
def contract() -> None:
    add_one(five())
    total([five.alias("other_five")(), add_one.alias("another_one")(five.alias("third_five")())])
    split()
    spread().map(add_one.alias("add_to_each"))
    fail()
    fail_for_good()
    start_a_process()
    be_killed()
    leave()
    sleep_alone()
    sleep_long()
    ignore_interrupts()
    ignore_signals()
    wander()
    look_around()
    speak()
    fail_oddly()
    count()
    pause()
    vary()
    vary.alias("celebrated").with_hooks({linger})()
    five.alias("mourned").with_hooks({die})()


defs = Definitions(jobs=[contract])
