"""Definitions from modules and packages."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from opgrid import (
    Definitions,
    InvalidDefinitionError,
    JobDefinition,
    ScheduleDefinition,
    graph,
    in_process_executor,
    load_definitions_from_module,
    load_definitions_from_modules,
    load_definitions_from_package_name,
    op,
    repository,
)

_FILES = {
    "__init__.py": "",
    "first.py": """
        from opgrid import job, op
        @op
        def work() -> int: return 1
        @job
        def one():
            work()
        same = one
    """,
    "deep/__init__.py": "",
    "deep/second.py": """
        from opgrid import ScheduleDefinition, load_definitions_from_current_module, graph, job, sensor
        from PACKAGE.first import one, work
        @graph
        def alone():
            work()
        two = alone.to_job(name="two")
        daily = ScheduleDefinition(job=two, cron_schedule="@daily")
        @sensor(job=one)
        def looks(context): ...
        defs = load_definitions_from_current_module()
    """,
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"package_{abs(hash(str(tmp_path)))}"
    for path, text in _FILES.items():
        file = tmp_path / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).replace("PACKAGE", name))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_package_with_all_below_it(package: str) -> None:
    defs = load_definitions_from_package_name(package, executor=in_process_executor)
    assert sorted(defs.job_names) == ["one", "two"]
    assert [each.name for each in defs.schedules] == ["two_schedule"]
    assert [each.name for each in defs.sensors] == ["looks"]
    assert defs.get_job_def("one").executor_def is in_process_executor
    assert defs.get_job_def("two").execute_in_process().output_for_node("work") == 1


def test_modules_and_the_current_one(package: str) -> None:
    first = importlib.import_module(f"{package}.first")
    second = importlib.import_module(f"{package}.deep.second")
    assert load_definitions_from_module(first).job_names == ["one"]
    assert sorted(load_definitions_from_modules([first, second]).job_names) == ["one", "two"]
    assert sorted(second.defs.job_names) == ["one", "two"]
    assert isinstance(sys.modules[f"{package}.deep"], ModuleType)
    with pytest.raises(InvalidDefinitionError, match="from modules"):
        load_definitions_from_modules(["first"])  # type: ignore[list-item]


def test_a_function_in_a_repository_is_called_when_its_job_is_asked_for() -> None:
    built: list[str] = []

    def make(name: str) -> JobDefinition:
        built.append(name)
        return _lazy_graph.to_job(name=name)

    @repository
    def lazily() -> dict[str, Any]:
        return {
            "jobs": {
                "first": lambda: make("first"),
                "second": lambda: make("second"),
                "graph": lambda: built.append("graph") or _lazy_graph.to_job(name="graph"),
                "there": _lazy_graph.to_job(name="there"),
            }
        }

    assert lazily.job_names == ["first", "second", "graph", "there"]
    assert lazily.has_job("second")
    assert built == []
    assert lazily.get_job("second").execute_in_process().success
    assert lazily.get_job("second") is lazily.get_job("second")
    assert built == ["second"]
    merged = Definitions.merge(lazily, Definitions())
    assert built == ["second"]
    assert [each.name for each in merged.jobs] == ["first", "second", "graph", "there"]
    assert built == ["second", "first", "graph"]


def test_what_a_repository_holds_is_called_by_its_name() -> None:
    @repository
    def misnamed() -> dict[str, Any]:
        return {"jobs": {"one": lambda: _lazy_graph.to_job(name="other"), "none": lambda: 5}}

    with pytest.raises(InvalidDefinitionError, match=r"'misnamed' has under the key 'one'.*'other'.*test_load_from.py"):
        misnamed.get_job("one")
    with pytest.raises(InvalidDefinitionError, match="5, which is no job"):
        misnamed.get_job("none")
    with pytest.raises(InvalidDefinitionError, match="under the key 'one'"):

        @repository
        def at_once() -> dict[str, Any]:
            return {"jobs": {"one": _lazy_graph.to_job(name="other")}}


def test_a_lazy_job_that_a_schedule_targets_is_one_job() -> None:
    target = _lazy_graph.to_job(name="target")

    @repository
    def targeted() -> dict[str, Any]:
        return {
            "jobs": {"target": lambda: target},
            "schedules": {"daily": lambda: ScheduleDefinition(job=target, cron_schedule="@daily", name="daily")},
        }

    assert [each.name for each in targeted.schedules] == ["daily"]
    assert targeted.jobs == [target]


@op
def _nothing() -> None: ...


@graph
def _lazy_graph() -> None:
    _nothing()
