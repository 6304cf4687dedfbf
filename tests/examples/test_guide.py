"""The jobs of the op jobs guide, with the import line changed, on every executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from examples.guide.decorator import add_one
from examples.guide.definitions import defs
from examples.guide.from_graph import Server, do_stuff
from opgrid import (
    ConfigurableResource,
    InvalidConfigError,
    JobExecutionResult,
    RunConfig,
    instance_for_test,
)
from opgrid.contracts.events import LogMessage
from opgrid.contracts.tasks import CodeTarget
from orchestrator.instance import Instance
from orchestrator.services.execute import execute_job
from tests.examples.conftest import Fleet

_MODULE = "examples.guide.definitions"
Execute = Callable[..., JobExecutionResult]


@pytest.fixture(params=["in_process", "multiprocess", pytest.param("celery", marks=pytest.mark.celery)])
def execute(request: pytest.FixtureRequest) -> Iterator[Execute]:
    """``execute(job name, ...)`` on one of the executors."""

    def on(instance: Instance) -> Execute:
        def run(name: str, **more: Any) -> JobExecutionResult:
            code = CodeTarget(module=_MODULE)
            job = defs.get_job_def(name)
            return execute_job(job, instance, code=code, executor=request.param, raise_on_error=True, **more)

        return run

    if request.param == "celery":
        fleet: Fleet = request.getfixturevalue("fleet")
        yield on(fleet(_MODULE))
    else:
        with instance_for_test() as instance:
            yield on(instance)


def said(result: JobExecutionResult) -> list[str]:
    """What the ops logged."""
    return [event.message for event in result.all_events if isinstance(event, LogMessage)]


def test_an_op_runs_after_the_one_that_it_depends_on(execute: Execute) -> None:
    with execute("do_stuff") as result:
        assert result.output_for_node("return_five") == 5
        assert result.output_for_node("add_one") == 6
        ended = [event.step for event in result.get_step_success_events()]
    assert ended == ["return_five", "add_one"]


@pytest.mark.parametrize("name", ["do_stuff_prod", "do_stuff_local"])
def test_one_graph_makes_jobs_with_other_resources(execute: Execute, name: str) -> None:
    with execute(name) as result:
        assert result.is_node_success("interact_with_server")


def test_a_job_brings_its_configuration_and_a_launch_overrides_it(execute: Execute) -> None:
    with execute("do_it_all_with_default_config") as result:
        assert said(result) == ["config_param: stuff"]
    other = {"ops": {"do_something": {"config": {"config_param": "other"}}}}
    with execute("do_it_all_with_default_config", run_config=other) as result:
        assert said(result) == ["config_param: other"]


def test_a_partition_configures_the_job(execute: Execute) -> None:
    with execute("count_by_continent", partition_key="asia") as result:
        assert said(result) == ["continent: asia"]
        assert result.output_for_node("count_cities") == 4
        assert result.run.brief.tags["opgrid/partition"] == "asia"


def test_a_config_mapping_narrows_what_is_asked(execute: Execute) -> None:
    config = {"simplified_param": "narrow"}
    with execute("do_it_all_with_simplified_config", run_config=config) as result:
        assert said(result) == ["config_param: narrow"]


def test_an_empty_job_succeeds(execute: Execute) -> None:
    with execute("do_it_all") as result:
        assert result.success
        assert result.get_step_success_events() == []


# ---- in one process, as the guide's tests of jobs do it ------------------------------------------------------------


def test_resources_reach_the_op_by_the_name_of_its_parameter() -> None:
    pinged: list[str] = []

    class Recording(Server):
        name: str

        def ping_server(self) -> None:
            pinged.append(self.name)

    for name in ("prod", "local"):
        job = do_stuff.to_job(resource_defs={"server": Recording(name=name)}, name=name)
        assert job.execute_in_process().success
    assert pinged == ["prod", "local"]
    assert issubclass(Recording, ConfigurableResource)


def test_ops_are_plain_functions_to_a_unit_test() -> None:
    assert add_one(5) == 6


def test_what_a_config_mapping_hides_cannot_be_given() -> None:
    job = defs.get_job_def("do_it_all_with_simplified_config")
    with pytest.raises(InvalidConfigError, match="ops"):
        job.execute_in_process(run_config={"ops": {"do_something": {"config": {"config_param": "x"}}}})
    with pytest.raises(InvalidConfigError, match="simplified_param"):
        job.execute_in_process()


def test_a_run_config_object_overrides_like_a_mapping() -> None:
    from examples.guide.default_config import DoSomethingConfig, do_it_all_with_default_config

    given = RunConfig(ops={"do_something": DoSomethingConfig(config_param="object")})
    assert do_it_all_with_default_config.execute_in_process(run_config=given).success
