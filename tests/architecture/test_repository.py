"""What must be true of the repository itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opgrid.doors import GROUP, KNOWN

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

#: Hosts of package registries, split so that this file does not name them either.
REGISTRIES = re.compile(
    r"\b(?:" + "|".join(("py" + "pi", "python" + "hosted", "npm" + "js", "yarn" + "pkg")) + r")\.\w+"
)

#: Folders in which people keep their checkouts. The images' own user is no developer.
HOMES = re.compile(r"(?<![\w.~$}/-])/(?:home/(?!opgrid\b)|Users/|root/)[\w.-]+")


def tracked() -> Iterator[tuple[str, str]]:
    """Each tracked text file: its name and what it says."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content[:8192]:
                yield name, content.decode(errors="replace")


def offenders(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in tracked()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_name_no_server_and_hash_everything(lock: Path) -> None:
    text = lock.read_text()

    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in entry, entry


def test_no_file_names_a_package_registry() -> None:
    assert offenders(REGISTRIES) == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert offenders(HOMES) == []


def test_no_file_names_this_checkout() -> None:
    if len(ROOT.parts) < 3:
        pytest.skip(f"{ROOT} is too short to be looked for")
    assert offenders(re.compile(re.escape(str(ROOT)) + r"(?![\w-])")) == []


def test_no_file_is_what_a_merge_leaves_behind() -> None:
    assert [name for name, _ in tracked() if name.endswith((".orig", ".rej"))] == []


def test_worker_needs_a_part_of_what_the_whole_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert set(project["dependency-groups"]["worker"]) <= set(project["project"]["dependencies"])


@pytest.mark.parametrize("lock", ["worker.txt", "dev.txt"])
def test_locks_agree_with_runtime(lock: str) -> None:
    runtime, other = pins("runtime.txt"), pins(lock)

    assert {name: other[name] for name in runtime.keys() & other.keys()} == {
        name: runtime[name] for name in runtime.keys() & other.keys()
    }


def test_every_zero_version_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [*project["project"]["dependencies"], *flat(project["dependency-groups"])]

    assert [line for line in lines if re.search(r">=0\.", line) and "<" not in line] == []


def test_worker_stays_light() -> None:
    loaded = loaded_by("import worker.tasks")

    assert not loaded & {"orchestrator", "sqlalchemy", "alembic", "strawberry", "starlette", "uvicorn"}


def test_language_stays_light() -> None:
    loaded = loaded_by("import opgrid")

    assert not loaded & {"orchestrator", "executors", "worker", "celery", "redis", "sqlalchemy", "starlette", "flower"}


def test_help_stays_light() -> None:
    loaded = loaded_by(
        "import runpy\nsys.argv = ['opgrid', '--help']\ntry:\n    runpy.run_module('opgrid', run_name='__main__', "
        "alter_sys=True)\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )

    assert not loaded & {"celery", "redis", "sqlalchemy", "pydantic", "orchestrator", "worker", "executors"}


@pytest.mark.parametrize(
    "command", ["['run', 'list']", "['instance', 'info']", "['job', 'execute', '-f', CODE, '-j', 'j']"]
)
def test_who_needs_no_broker_and_no_models_stays_light(command: str, tmp_path: Path) -> None:
    """Redis and pydantic take a third of what a short command takes."""
    code = tmp_path / "jobs.py"
    code.write_text("from opgrid import job, op\n\n@op\ndef a(): ...\n\n@job\ndef j():\n    a()\n")
    loaded = loaded_by(
        f"import os, runpy\nCODE = {str(code)!r}\nos.environ.pop('OPGRID_BROKER_URL', None)\n"
        f"os.environ.update(OPGRID_HOME={str(tmp_path)!r}, OPGRID_DATABASE_URL={f'sqlite:///{tmp_path}/opgrid.db'!r})\n"
        f"sys.argv = ['opgrid', *{command}]\ntry:\n    runpy.run_module('opgrid', run_name='__main__', "
        "alter_sys=True)\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    )

    assert "sqlalchemy" in loaded
    assert not loaded & {"redis", "pydantic", "celery", "strawberry", "unittest"}


@pytest.mark.parametrize("module", ["orchestrator.api.app", "orchestrator.daemon.daemon", "orchestrator.wiring"])
def test_who_serves_and_schedules_needs_no_broker(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"redis", "celery"}


def test_a_child_of_a_pool_stays_light() -> None:
    """It is started in each run: neither the command line nor the installation's metadata is read for it."""
    loaded = loaded_by(
        "import runpy\nsys.argv = ['opgrid', '_pool-child', 'no descriptor']\ntry:\n    runpy.run_module('opgrid', "
        "run_name='__main__', alter_sys=True)\nexcept ValueError as error:\n    assert 'no descriptor' in str(error)\n"
        "assert 'executors.multiprocess.child' in sys.modules\nassert 'importlib.metadata' not in sys.modules\n"
    )

    assert not loaded & {"click", "email", "pydantic", "redis", "celery", "sqlalchemy", "orchestrator", "worker"}


def test_doors_that_are_known_beforehand_lead_where_the_installation_says() -> None:
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]

    assert {name: entries[name] for name in KNOWN} == KNOWN


def loaded_by(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter holds after running `code`."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            f"import sys\n{code}\nprint('loaded:', *{{m.split('.')[0] for m in sys.modules}})",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE))


def flat(groups: dict[str, list[Any]]) -> Iterator[str]:
    for lines in groups.values():
        yield from (line for line in lines if isinstance(line, str))


def test_images_are_built_of_nothing_that_was_installed_or_built_here() -> None:
    """COPY of a folder takes all of it, and would lay it over what the stages before have made."""
    left_out = (ROOT / ".dockerignore").read_text().split()
    assert {"**/node_modules", "**/__pycache__", "orchestrator/api/static/ui", ".env"} <= set(left_out)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-from=.dockerignore"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert listed.stdout == ""


def test_types_are_decoded_into_where_threads_wait_for_each_other() -> None:
    own = "opgrid/contracts/decoding.py"
    made = re.compile(r"\bDecoder\(|msgspec\.convert\(|\bdecode\([^()]*(?:\([^()]*\)[^()]*)*\btype=")
    packages = ("opgrid/", "orchestrator/", "executors/", "worker/")
    found = {
        name for name, text in tracked() if name.startswith(packages) and name.endswith(".py") and made.search(text)
    }
    assert found == {own}
