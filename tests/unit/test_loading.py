"""User code into definitions, and the errors when it is not where or what it should be."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opgrid import loading
from opgrid.contracts.tasks import CodeTarget, JobRef
from opgrid.errors import LoadError, ShadowedPackage, UnknownName
from opgrid.loading import CodeMismatch, check_packages, job_for, load, load_job

JOBS = """
from opgrid import Definitions, job, op

@op
def five():
    return 5

@job
def small():
    five()

@job
def other():
    five()
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture(autouse=True)
def clean_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setattr(loading, "_loaded", {})
    yield
    for name in set(sys.modules) - before:
        if not name.startswith(("opgrid", "executors", "_pytest")):
            del sys.modules[name]


def names(target: CodeTarget) -> set[str]:
    return {job.name for job in load(target).resolve_all_job_defs()}


def test_a_file_with_definitions(write: Write) -> None:
    path = write("jobs_a.py", JOBS + "defs = Definitions(jobs=[small])")
    assert names(CodeTarget(file=str(path))) == {"small"}
    assert load_job(CodeTarget(file=str(path)), "small").name == "small"


def test_a_file_without_definitions_gives_its_jobs(write: Write) -> None:
    assert names(CodeTarget(file=str(write("jobs_b.py", JOBS)))) == {"small", "other"}


def test_a_file_is_relative_to_the_working_directory_and_sees_its_neighbours(write: Write, tmp_path: Path) -> None:
    write("app/helper_c.py", JOBS)
    write("app/jobs_c.py", "from helper_c import small")
    assert names(CodeTarget(file="app/jobs_c.py", working_directory=str(tmp_path))) == {"small"}


def test_modules_and_packages(write: Write, tmp_path: Path) -> None:
    write("pack_d/__init__.py", "from pack_d.inner import small")
    write("pack_d/inner.py", JOBS)
    assert names(CodeTarget(package="pack_d", working_directory=str(tmp_path))) == {"small"}
    assert names(CodeTarget(module="pack_d.inner", working_directory=str(tmp_path))) == {"small", "other"}


def test_an_attribute_may_be_a_job_or_a_function(write: Write) -> None:
    path = write("jobs_e.py", JOBS + "def make():\n    return Definitions(jobs=[other])\n")
    assert names(CodeTarget(file=str(path), attribute="small")) == {"small"}
    assert names(CodeTarget(file=str(path), attribute="make")) == {"other"}
    with pytest.raises(UnknownName, match="small"):
        load(CodeTarget(file=str(path), attribute="smal"))
    with pytest.raises(LoadError, match=r"TypedOp"):
        load(CodeTarget(file=str(path), attribute="five"))


def test_a_module_is_loaded_once(write: Write, tmp_path: Path) -> None:
    path = write("jobs_f.py", JOBS + f"with open({str(tmp_path / 'count')!r}, 'a') as file:\n    file.write('.')\n")
    load(CodeTarget(file=str(path)))
    load(CodeTarget(file=str(path)))
    load(CodeTarget(file=str(path), attribute="small"))
    assert (tmp_path / "count").read_text() == "."


def test_a_file_that_is_named_like_a_module_of_python(write: Write) -> None:
    assert names(CodeTarget(file=str(write("queue.py", JOBS)))) == {"small", "other"}
    import queue

    assert hasattr(queue, "Queue")


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_a_missing_file_names_its_neighbours(write: Write, tmp_path: Path) -> None:
    write("jobs_g.py", JOBS)
    with pytest.raises(LoadError, match=r"no file .*job_g\.py.*'jobs_g\.py'"):
        load(CodeTarget(file=str(tmp_path / "job_g.py")))


def test_a_missing_module_and_a_missing_import_are_told_apart(write: Write, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no module 'nothing_h'"):
        load(CodeTarget(module="nothing_h", working_directory=str(tmp_path)))
    write("jobs_h.py", "import nothing_at_all")
    with pytest.raises(LoadError, match=r"(?s)jobs_h.*import nothing_at_all.*No module named"):
        load(CodeTarget(module="jobs_h", working_directory=str(tmp_path)))


@pytest.mark.parametrize("text", ["1 / 0", "def broken(:", "raise SystemExit(3)"])
def test_code_that_raises_shows_the_users_traceback(write: Write, text: str) -> None:
    path = write("jobs_i.py", text)
    with pytest.raises(LoadError) as caught:
        load(CodeTarget(file=str(path)))
    assert "jobs_i.py" in str(caught.value)
    assert "importlib" not in str(caught.value)
    assert "opgrid/loading.py" not in str(caught.value)


def test_a_definition_error_is_told_with_its_place(write: Write) -> None:
    path = write("jobs_j.py", "from opgrid import op\n\n@op(name='a b')\ndef wrong(): ...\n")
    with pytest.raises(LoadError, match=r"(?s)'a b'.*jobs_j.py"):
        load(CodeTarget(file=str(path)))


def test_several_definitions_and_none(write: Write) -> None:
    both = write("jobs_k.py", JOBS + "a = Definitions(jobs=[small])\nb = Definitions(jobs=[other])\n")
    with pytest.raises(LoadError, match="'a', 'b'"):
        load(CodeTarget(file=str(both)))
    assert names(CodeTarget(file=str(both), attribute="b")) == {"other"}
    with pytest.raises(LoadError, match="no jobs"):
        load(CodeTarget(file=str(write("jobs_l.py", "x = 1"))))


def test_a_target_names_one_thing() -> None:
    with pytest.raises(LoadError):
        load(CodeTarget())
    with pytest.raises(LoadError):
        load(CodeTarget(file="a.py", module="b"))
    with pytest.raises(LoadError, match="working directory"):
        load(CodeTarget(module="x", working_directory="/nowhere/at/all"))


def test_another_structure_is_noticed(write: Write) -> None:
    target = CodeTarget(file=str(write("jobs_m.py", JOBS)))
    job = load_job(target, "small")
    assert job_for(JobRef("small", job.structure_hash), target) is job
    with pytest.raises(CodeMismatch, match="small"):
        job_for(JobRef("small", "0" * 32), target)


# ---- our own packages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["worker.py", "executors/__init__.py", "orchestrator.py", "opgrid/__init__.py"])
def test_a_stranger_in_the_way_is_named(write: Write, tmp_path: Path, name: str) -> None:
    stranger = write(name, "")
    with pytest.raises(ShadowedPackage) as caught:
        check_packages([str(tmp_path)])
    assert str(stranger) in str(caught.value)
    assert caught.value.exit_code == 3


def test_loading_code_beside_a_stranger_stops(write: Write, tmp_path: Path) -> None:
    write("worker.py", "")
    path = write("jobs_n.py", JOBS)
    with pytest.raises(ShadowedPackage, match="worker"):
        load(CodeTarget(file=str(path)))


def test_ours_are_loaded_whatever_the_path_says(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text("raise ImportError('the stranger')")
    code = (
        "import sys; from opgrid.loading import check_packages; check_packages();"
        f"sys.path.insert(0, {str(tmp_path)!r}); import worker; print(worker.__file__)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str(Path(loading.__file__).parent.parent / "worker" / "__init__.py")
