"""Jobs that other processes load by name, or are made there again."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from opgrid import (
    Failure,
    InvalidSubsetError,
    InvariantViolationError,
    JobDefinition,
    RunFailedError,
    build_reconstructable_job,
    execute_job,
    instance_for_test,
    job,
    op,
    reconstructable,
)


@op
def one() -> int:
    return 1


@op
def two() -> int:
    return 2


@job
def pair() -> None:
    one()
    two()


@job
def plain() -> None:
    one()


@op
def give_up() -> None:
    raise Failure("no use")


@job
def failing() -> None:
    give_up()


def make_job() -> JobDefinition:
    return plain


def test_a_job_at_the_top_of_a_module() -> None:
    with (
        instance_for_test() as instance,
        execute_job(reconstructable(plain), instance, executor="multiprocess") as done,
    ):
        assert done.output_for_node("one") == 1


def test_a_function_that_gives_one() -> None:
    assert reconstructable(make_job).get_definition().name == "plain"


def test_a_subset_of_a_job() -> None:
    whole = reconstructable(pair)
    part = whole.get_subset(op_selection=["one"])
    assert part.get_definition().op_selection == ("one",)
    with instance_for_test() as instance, execute_job(part, instance, executor="multiprocess") as done:
        assert [event.step for event in done.get_step_success_events()] == ["one"]
        assert len(execute_job(part.get_subset(), instance).get_step_success_events()) == 2
    with pytest.raises(InvalidSubsetError, match="three"):
        whole.get_subset(op_selection=["three"]).get_definition()


def test_what_cannot_be_found_again() -> None:
    @job
    def nested() -> None:
        one()

    for wrong in (nested, lambda: plain, 3):
        with pytest.raises(InvariantViolationError):
            reconstructable(wrong)  # type: ignore[arg-type]


def test_a_job_that_is_made_with_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "factory.py").write_text(
        dedent(
            """
            from opgrid import job, op

            def make(count, suffix=""):
                @op
                def number() -> int:
                    return count

                @job(name=f"made{suffix}")
                def made():
                    for at in range(count):
                        number.alias(f"number_{at}")()

                return made
            """
        )
    )
    made: Any = build_reconstructable_job(
        "factory", "make", (3,), {"suffix": "_here"}, reconstructor_working_directory=str(tmp_path)
    )
    assert made.get_definition().name == "made_here"
    with instance_for_test() as instance, execute_job(made, instance, executor="multiprocess") as result:
        assert result.output_for_node("number_2") == 3


def test_what_an_op_raised_comes_out_where_it_ran_in_this_process() -> None:
    with instance_for_test() as instance:
        with pytest.raises(Failure, match="no use"):
            execute_job(reconstructable(failing), instance, executor="in_process", raise_on_error=True)
        with pytest.raises(RunFailedError, match="no use"):
            execute_job(reconstructable(failing), instance, executor="multiprocess", raise_on_error=True)
