"""Runs that repeat earlier ones: what runs again, with which outputs, config, executor and tags."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from opgrid import (
    Config,
    DynamicOut,
    DynamicOutput,
    Failure,
    InvalidSubsetError,
    InvariantViolationError,
    JobDefinition,
    RunNotFoundError,
    in_process_executor,
    job,
    op,
)
from opgrid.io.kept import storage_of
from opgrid.reconstruction import build_reconstructable_job, reconstructable
from orchestrator.instance import Instance
from orchestrator.services.execute import execute_job
from orchestrator.services.reexecution import ReexecutionOptions
from orchestrator.services.results import JobExecutionResult


class Weak(Config):
    breaks: list[str] = []
    offset: int = 0


@op(out=DynamicOut())
def parts() -> Iterator[DynamicOutput[int]]:
    for number, key in enumerate("abc"):
        yield DynamicOutput(number, mapping_key=key)


@op
def shaky(config: Weak, number: int) -> int:
    if str(number) in config.breaks:
        raise Failure(description="as told")
    return number + config.offset


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@op
def aside() -> str:
    return "done"


@job(executor_def=in_process_executor)
def wide() -> None:
    total(parts().map(shaky).collect())
    aside()


def made(offset: int, name: str = "made") -> JobDefinition:
    @op
    def give() -> int:
        return offset

    @job(name=name, executor_def=in_process_executor)
    def built() -> None:
        give()

    return built


@pytest.fixture
def instance() -> Iterator[Instance]:
    with Instance.local_temp() as made_here:
        yield made_here


def _config(**values: Any) -> dict[str, Any]:
    return {"ops": {"shaky": {"config": values}}}


def _started(result: JobExecutionResult) -> list[str]:
    return [event.step for event in result.get_step_success_events()]


def test_from_failure_with_other_config_runs_what_is_missing_of_a_fan_out(instance: Instance) -> None:
    failed = execute_job(wide, instance, _config(breaks=["1"]), tags={"team": "a", "kept": "yes"})
    assert not failed.success
    assert failed.get_failed_step_keys() == {"shaky[b]"}

    options = ReexecutionOptions.from_failure(failed.run_id, instance)
    with execute_job(
        wide, instance, _config(offset=10), tags={"team": "b"}, reexecution_options=options, raise_on_error=True
    ) as again:
        assert _started(again) == ["shaky[b]", "total"]
        assert again.output_for_node("total") == 0 + 11 + 2
    assert again.run.brief.parent_run_id == again.run.brief.root_run_id == failed.run_id
    assert again.run.brief.tags == {"team": "b", "kept": "yes"}

    third = execute_job(wide, instance, reexecution_options=ReexecutionOptions(again.run_id))
    assert len(_started(third)) == 6  # all of it, with the config of its parent
    assert third.run.brief.run_config == again.run.brief.run_config
    assert third.run.brief.root_run_id == failed.run_id


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_another_executor_finds_the_outputs_of_the_first(executor: str, instance: Instance) -> None:
    target = reconstructable(wide)
    failed = execute_job(target, instance, _config(breaks=["0", "2"]), executor="multiprocess")
    with execute_job(
        target,
        instance,
        _config(),
        executor=executor,
        reexecution_options=ReexecutionOptions.from_failure(failed.run_id, instance),
    ) as again:
        assert sorted(_started(again)) == ["shaky[a]", "shaky[c]", "total"]
        assert again.output_for_node("total") == 3


def test_chosen_steps_use_the_outputs_of_the_parent(instance: Instance) -> None:
    first = execute_job(wide, instance)
    options = ReexecutionOptions(first.run_id, step_selection=["shaky[b]", "total"])
    with execute_job(wide, instance, _config(offset=100), reexecution_options=options) as again:
        assert _started(again) == ["shaky[b]", "total"]
        assert again.output_for_node("total") == 0 + 101 + 2


def test_an_output_of_the_parent_that_is_gone_is_named(instance: Instance) -> None:
    first = execute_job(wide, instance)
    assert instance.home is not None
    shutil.rmtree(storage_of(instance.home / "storage", first.run_id))
    options = ReexecutionOptions(first.run_id, step_selection=["total"])
    again = execute_job(wide, instance, _config(), reexecution_options=options)
    assert again.get_failed_step_keys() == {"total"}
    failure = again.failure_data_for_node("total")
    assert failure is not None
    told = failure.error.to_string()
    assert "'shaky[a]'" in told
    assert "is gone" in told
    assert first.run_id in told


def test_what_cannot_be_repeated_is_refused(instance: Instance) -> None:
    done = execute_job(wide, instance)
    with pytest.raises(InvariantViolationError, match="SUCCESS"):
        ReexecutionOptions.from_failure(done.run_id, instance)
    with pytest.raises(RunNotFoundError):
        ReexecutionOptions.from_failure("nobody", instance)
    options = ReexecutionOptions(done.run_id, step_selection=["total"])
    with pytest.raises(InvariantViolationError, match="not both"):
        execute_job(wide, instance, op_selection=["aside"], reexecution_options=options)
    with pytest.raises(InvalidSubsetError, match="nothing_such"):
        execute_job(wide, instance, reexecution_options=ReexecutionOptions(done.run_id, ["nothing_such"]))
    with Instance.ephemeral() as ephemeral:
        memory = wide.execute_in_process(_config(breaks=["1"]), instance=ephemeral, raise_on_error=False)
        options = ReexecutionOptions.from_failure(memory.run_id, ephemeral)
        with pytest.raises(InvariantViolationError, match="memory"):
            execute_job(wide, ephemeral, reexecution_options=options)


def test_an_ephemeral_instance_is_enough_for_this_process() -> None:
    with Instance.ephemeral() as instance:
        with execute_job(wide, instance) as result:
            assert result.output_for_node("total") == 3
        with pytest.raises(InvariantViolationError, match="ephemeral"):
            execute_job(wide, instance, executor="multiprocess")


def test_generated_jobs_are_made_again_in_other_processes(instance: Instance) -> None:
    target = build_reconstructable_job(
        __name__, "made", (5,), {"name": "five"}, reconstructor_working_directory=_folder()
    )
    assert target.get_definition().name == "five"
    with execute_job(target, instance, executor="multiprocess", raise_on_error=True) as result:
        assert result.output_for_node("give") == 5


def _folder() -> str:
    from pathlib import Path

    file = sys.modules[__name__].__file__
    assert file is not None
    folder = Path(file).parent
    for _ in range(__name__.count(".")):
        folder = folder.parent
    return str(folder)


def test_what_other_processes_cannot_load_is_refused() -> None:
    @job
    def inner() -> None:
        aside()

    with pytest.raises(InvariantViolationError, match="__qualname__"):
        reconstructable(inner)
    with pytest.raises(InvariantViolationError, match="lambda"):
        reconstructable(lambda: wide)
    with pytest.raises(InvariantViolationError, match="top level"):
        reconstructable(aside.to_job if hasattr(aside, "to_job") else JobDefinition(graph_def=wide.graph, name="lost"))


@op
def stops(config: Weak) -> None:
    if config.breaks:
        raise Failure(description="as told")


@job(executor_def=in_process_executor)
def loose() -> None:
    aside()
    stops()


@pytest.mark.parametrize("from_failure", [True, False])
def test_a_subset_stays_one_when_it_is_run_again(from_failure: bool, instance: Instance) -> None:
    config = {"ops": {"stops": {"config": {"breaks": ["x"]}}}}
    failed = execute_job(loose, instance, run_config=config, op_selection=["stops"])
    assert not failed.success
    options = ReexecutionOptions(failed.run_id, failed_only=from_failure)
    again = execute_job(loose, instance, run_config={}, reexecution_options=options)
    assert again.success
    assert {event.step for event in again.all_node_events} == {"stops"}
    other = execute_job(
        loose, instance, run_config={}, op_selection=["aside"], reexecution_options=ReexecutionOptions(failed.run_id)
    )
    assert {event.step for event in other.all_node_events} == {"aside"}


@op(out=DynamicOut())
def doubled(number: int) -> Iterator[DynamicOutput[int]]:
    yield DynamicOutput(2 * number, mapping_key="x")


@op
def beside(config: Weak, number: int) -> int:
    return shaky(config, number)


@op
def both(part: int, side: int) -> int:
    return part + side


@job
def nested() -> None:
    def below(number: Any) -> None:
        side = beside(number)
        doubled(number).map(lambda part: both(part, side))

    parts().map(below)


def test_one_step_of_a_fan_out_runs_again_though_others_never_had_what_they_need(instance: Instance) -> None:
    failed = execute_job(nested, instance, {"ops": {"beside": {"config": {"breaks": ["1"]}}}})
    assert failed.get_failed_step_keys() == {"beside[b]"}
    options = ReexecutionOptions(failed.run_id, step_selection=["both[c,x]"])
    again = execute_job(nested, instance, reexecution_options=options)
    assert again.success
    assert _started(again) == ["both[c,x]"]


@job
def by_default() -> None:
    total(parts().map(shaky).collect())


_HERE: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
_POOL: dict[str, Any] = {"execution": {"config": {"multiprocess": {"max_concurrent": 1}}}}


@pytest.mark.parametrize(
    ("first", "second", "executor"),
    [(_HERE, None, "in_process"), (_HERE, _HERE, "in_process"), (_POOL, _HERE, "in_process")],
    ids=["that of the parent", "the same", "another"],
)
def test_run_config_that_chooses_an_executor_does_so_again(
    first: dict[str, Any], second: dict[str, Any] | None, executor: str, instance: Instance
) -> None:
    done = execute_job(reconstructable(by_default), instance, first)
    options = ReexecutionOptions(done.run_id, step_selection=["total"])
    again = execute_job(reconstructable(by_default), instance, second, reexecution_options=options)
    assert _started(again) == ["total"]
    assert again.run.brief.executor.name == executor


@pytest.mark.parametrize(
    ("selection", "steps"),
    [
        ("shaky[?]", ["shaky[a]", "shaky[b]", "shaky[c]"]),
        ("shaky[?]+", ["shaky[a]", "shaky[b]", "shaky[c]", "total"]),
        ("+shaky[?]", ["parts", "shaky[a]", "shaky[b]", "shaky[c]"]),
    ],
)
def test_a_question_mark_stands_for_each_instance(selection: str, steps: list[str], instance: Instance) -> None:
    first = execute_job(wide, instance)
    again = execute_job(wide, instance, reexecution_options=ReexecutionOptions(first.run_id, [selection]))
    assert sorted(_started(again)) == steps
