"""Definitions from modules and packages."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

from opgrid import (
    InvalidDefinitionError,
    in_process_executor,
    load_definitions_from_module,
    load_definitions_from_modules,
    load_definitions_from_package_name,
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
