"""The census: the parts that count, and the job with the same numbers on every executor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from examples.stdlib_census.analysis import Import, measure
from examples.stdlib_census.imports import link
from examples.stdlib_census.jobs import census
from examples.stdlib_census.sources import find_sources, mapping_keys

_ROOT = Path(__file__).parents[2]
_FILES = 60


def _config(folder: Path, limit: int = _FILES) -> dict[str, Any]:
    return {
        "ops": {"list_files": {"config": {"limit": limit}}, "write_report": {"config": {"output": str(folder)}}},
    }


def test_what_is_counted() -> None:
    found = measure(
        dedent(
            '''
            """A module."""
            import os, json.decoder
            from . import sibling
            from xml import dom

            class Public:
                def told(self):
                    """Yes."""
                    def inner(): pass
                    return [x for x in y if x and z]

                def untold(self):
                    import lazy
                    for x in y:
                        if x: pass
                        elif z: pass

            def _private(): pass
            '''
        ).encode(),
        "pkg.module",
    )
    assert (found.functions, found.classes, found.problem) == (4, 1, None)
    assert (found.documentable, found.documented) == (4, 2)  # the module, Public, told, untold
    assert found.hardest is not None
    assert (found.hardest.name, found.hardest.complexity) == ("Public.told", 4)
    assert found.branches == 6  # comprehension, its if, and; for, if, elif
    assert Import("lazy", lazy=True) in found.imports
    assert Import("pkg", ("sibling",)) in found.imports


@pytest.mark.parametrize("content", [b"def broken(:", b"\xff\xfe\x00", b"x = '\x00'"])
def test_a_file_that_is_no_python_is_reported_not_raised(content: bytes) -> None:
    assert measure(content, "odd").problem is not None


def test_edges_go_to_the_nearest_module_that_there_is() -> None:
    graph = link([measure(b"from b.c import d", "a"), measure(b"import os", "b"), measure(b"", "b.c")])
    assert {(edge.source, edge.target) for edge in graph.modules} == {("a", "b.c")}


def test_mapping_keys_differ_even_where_case_does_not_count(tmp_path: Path) -> None:
    keys = mapping_keys(["a.b", "a_b", "A_b", "plain"])
    assert len({key.lower() for key in keys}) == 4
    assert keys[3] == "plain"
    (tmp_path / "pkg").mkdir()
    for name in ("pkg/__init__.py", "pkg/x.py", "one.py"):
        (tmp_path / name).write_text("")
    assert [source.module for source in find_sources(tmp_path)] == ["one", "pkg", "pkg.x"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a small census in this process."""
    folder = tmp_path_factory.mktemp("expected")
    result = census.execute_in_process(run_config=_config(folder))
    digest: str = result.output_for_node("write_report", "digest")
    assert len(result.output_for_node("list_files")) == _FILES
    report = json.loads((folder / "report.json").read_text())
    assert report["digest"] == digest
    assert report["total"]["modules"] == _FILES
    page = (folder / "report.md").read_text()
    assert f"**{_FILES}** modules" in page
    for picture in ("packages.svg", "imports.svg"):
        assert (folder / picture).read_text().startswith("<svg")
        assert picture in page
    return digest


@pytest.mark.parametrize("executor", ["in_process", "multiprocess", "celery"])
def test_every_executor_writes_the_same_report(executor: str, expected: str, tmp_path: Path) -> None:
    command = ["job", "execute", "-m", "examples.stdlib_census.jobs", "-d", str(_ROOT), "-j", "census"]
    command += ["--executor", executor, "--json", "--config-json", json.dumps(_config(tmp_path / "report"))]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OPGRID_")}
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "opgrid", *command],
        env={**environ, "OPGRID_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert (told["status"], told["executor"], told["steps"]) == ("SUCCESS", executor, {"SUCCESS": _FILES + 4})
    assert json.loads((tmp_path / "report" / "report.json").read_text())["digest"] == expected


@pytest.mark.celery
def test_ctrl_c_ends_the_demo_and_all_that_it_started(tmp_path: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OPGRID_")}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "examples.stdlib_census.demo"],
        env={**environ, "OPGRID_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        told = []
        for line in demo.stdout:
            told.append(line)
            if "STEP_SUCCESS" in line and "list_files" in line:
                os.killpg(demo.pid, signal.SIGINT)
    assert demo.returncode == 130, "".join(told)
    assert "RUN_CANCELED" in "".join(told)
    assert "Traceback" not in "".join(told)
    with pytest.raises(ProcessLookupError):
        os.killpg(demo.pid, 0)
