"""Ops that fork: who comes back as a copy of the process that runs the step ends there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opgrid import (
    HookContext,
    InputContext,
    Instance,
    IOManager,
    Out,
    Output,
    OutputContext,
    execute_job,
    job,
    op,
    success_hook,
)
from opgrid.contracts.events import StepSucceeded

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@op
def forks() -> int:
    return os.fork()


@op
def after(child: int) -> int:
    return child


@job
def forking() -> None:
    after(forks())


def _raises() -> None:
    raise RuntimeError("in the copy")


@pytest.mark.parametrize(
    ("then", "code"),
    [(lambda: None, 0), (_raises, 1), (lambda: sys.exit(3), 3), (lambda: os._exit(4), 4)],
)
def test_a_copy_ends_where_the_op_ends(then: Callable[[], None], code: int, capfd: pytest.CaptureFixture[str]) -> None:
    @op(name="forks")
    def forks_and_goes_on() -> int:
        child = os.fork()
        if not child:
            then()
        return child

    @job
    def going_on() -> None:
        after(forks_and_goes_on())

    result = going_on.execute_in_process()
    child = result.output_for_node("after")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    said = capfd.readouterr().err
    assert ("'forks'" in said) is (code in (0, 1))
    assert ("RuntimeError: in the copy" in said) is (code == 1)


def test_a_copy_of_a_process_of_the_pool_says_nothing_to_it() -> None:
    for _ in range(5):
        with Instance.local_temp() as instance, execute_job(forking, instance, executor="multiprocess") as result:
            assert result.success
            assert result.output_for_node("after") > 0
            ends = [event.step for event in result.all_events if isinstance(event, StepSucceeded)]
            assert ends == ["forks", "after"]


def test_a_copy_of_an_op_that_yields_stores_nothing() -> None:
    children: list[int] = []

    @op(out={"one": Out(int), "two": Out(int)})
    def yields() -> Iterator[Any]:
        children.append(os.fork())
        yield Output(os.getpid(), "one")
        yield Output(os.getpid(), "two")

    @job
    def yielding() -> None:
        yields()

    result = yielding.execute_in_process()
    assert [result.output_for_node("yields", name) for name in ("one", "two")] == [os.getpid()] * 2
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def test_a_copy_that_an_io_manager_raises_in_has_failed(capfd: pytest.CaptureFixture[str]) -> None:
    children: list[int] = []

    class Forking(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            children.append(os.fork())
            if not children[-1]:
                raise RuntimeError("in the copy")

        def load_input(self, context: InputContext) -> Any:
            return 1

    @op(name="one")
    def one() -> int:
        return 1

    @job(resource_defs={"io_manager": Forking()})
    def storing() -> None:
        one()

    assert storing.execute_in_process().success
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 1
    assert "RuntimeError: in the copy" in capfd.readouterr().err


def test_a_copy_ends_where_a_hook_ends() -> None:
    children: list[int] = []

    @success_hook
    def forks(context: HookContext) -> None:
        children.append(os.fork())

    @op(name="one")
    def one() -> int:
        return 1

    @job(hooks={forks})
    def hooked() -> None:
        one()

    assert hooked.execute_in_process().success
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
