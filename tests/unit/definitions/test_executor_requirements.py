"""What an executor definition requires of a run, checked before the run starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opgrid import (
    ExecutorDefinition,
    ExecutorRequirement,
    InitExecutorContext,
    Instance,
    InvalidDefinitionError,
    JobDefinition,
    UnmetExecutorRequirementsError,
    execute_job,
    executor,
    instance_for_test,
    job,
    mem_io_manager,
    multiple_process_executor_requirements,
    op,
    reconstructable,
)

_BY_NAME, _HOME, _KEPT = multiple_process_executor_requirements()


@op
def one() -> int:
    return 1


@job
def plain() -> None:
    one()


def demanding(*needs: ExecutorRequirement) -> ExecutorDefinition:
    """The executor of this process, asking for more than its class does."""

    @executor(name="in_process", config_schema=dict, requirements=list(needs))
    def of_mine(init_context: InitExecutorContext) -> Any: ...

    return of_mine


@pytest.fixture
def instance() -> Iterator[Instance]:
    with instance_for_test() as made:
        yield made


def refused(made: JobDefinition, instance: Instance, match: str) -> None:
    with pytest.raises(UnmetExecutorRequirementsError, match=match):
        execute_job(made, instance)
    assert instance.get_runs_count() == 0


def test_the_three_of_them() -> None:
    assert [each.name for each in multiple_process_executor_requirements()] == [
        "RECONSTRUCTABLE_PIPELINE",
        "NON_EPHEMERAL_INSTANCE",
        "PERSISTENT_OUTPUTS",
    ]
    assert ExecutorRequirement.RECONSTRUCTABLE_JOB is _BY_NAME


def test_a_job_that_no_other_process_can_load_by_name(instance: Instance) -> None:
    refused(plain.with_executor_def(demanding(_BY_NAME)), instance, r"load job 'plain'.*reconstructable\(job\)")
    with execute_job(reconstructable(loadable), instance) as result:
        assert result.success


def loadable() -> JobDefinition:
    return plain.with_executor_def(demanding(*multiple_process_executor_requirements()))


def test_an_instance_that_no_other_process_can_open(instance: Instance) -> None:
    asks = plain.with_executor_def(demanding(_HOME))
    with Instance.ephemeral() as nowhere:
        refused(asks, nowhere, "this one is ephemeral")
    with execute_job(asks, instance) as result:
        assert result.success


def test_outputs_in_memory(instance: Instance) -> None:
    asks = plain.with_executor_def(demanding(_KEPT))
    refused(asks.with_resources({"io_manager": mem_io_manager}), instance, "requires outputs that persist")
    with execute_job(asks, instance) as result:
        assert result.success


def test_another_executor_than_the_definition_s_has_its_own_needs(instance: Instance) -> None:
    asks = plain.with_executor_def(demanding(_BY_NAME, _HOME, _KEPT))
    with execute_job(asks, instance, executor="multiprocess") as result:
        assert result.success


def test_configured_ones_ask_for_the_same(instance: Instance) -> None:
    asked = demanding(_BY_NAME)
    for configured in (asked.configured({}), asked.configured(lambda _: {}, config_schema={"n": int})):
        given = {"execution": {"config": {"n": 1}}} if configured.config_fn else None
        with pytest.raises(UnmetExecutorRequirementsError, match="by name"):
            execute_job(plain.with_executor_def(configured), instance, run_config=given)


def test_they_may_depend_on_the_config(instance: Instance) -> None:
    @executor(
        name="in_process", config_schema=dict, requirements=lambda config: [_BY_NAME] if config.get("far") else []
    )
    def depends(_: InitExecutorContext) -> Any: ...

    made = plain.with_executor_def(depends)
    with execute_job(made, instance) as result:
        assert result.success
    with pytest.raises(UnmetExecutorRequirementsError, match="by name"):
        execute_job(made, instance, run_config={"execution": {"config": {"far": True}}})


def test_what_is_no_requirement_is_refused() -> None:
    with pytest.raises(InvalidDefinitionError, match="'PERSISTENT_OUTPUTS'.*multiple_process_executor_requirements"):
        executor(name="in_process", requirements=["PERSISTENT_OUTPUTS"])(len)
