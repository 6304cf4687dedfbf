"""``opgrid dev``: one process that starts and ends all others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.ids import RunId
from opgrid.loading import load_job
from orchestrator.cli.dev import _Worker
from orchestrator.locations.location import Source
from orchestrator.locations.workspace import of_workspace
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.settings import Settings
from orchestrator.wiring import open_loader, open_store
from tests.integration.service import Service, until

pytestmark = pytest.mark.celery

CODE = """
from opgrid import *

@op
def say() -> str:
    return "WORD"

@job(executor_def=celery_executor)
def remote(): say()

@job(executor_def=in_process_executor)
def local(): say()

@sensor(job=local, minimum_interval_seconds=0, default_status=DefaultSensorStatus.RUNNING)
def NAME(context): return RunRequest(run_key="once", tags={"earlier": str(len(context.instance.get_runs()))})
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    yield made
    made.close()


def processes_of(home: Path) -> set[int]:
    """All that were started for this home."""
    found = set()
    for name in os.listdir("/proc"):
        try:
            environ = Path("/proc", name, "environ").read_bytes()
        except (OSError, ValueError):
            continue
        if name.isdigit() and f"OPGRID_HOME={home}".encode() in environ:
            found.add(int(name))
    return found


def test_all_of_it_in_one_terminal(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "code" / "devjobs.py"
    file.parent.mkdir()
    file.write_text(CODE.replace("NAME", "first"))
    code = CodeTarget(file=str(file), working_directory=str(file.parent))
    service.environ["PYTHONWARNINGS"] = "default"
    dev = service.start("dev", "-f", str(file), "-d", str(file.parent), "-c", "1", "-p", "0")
    until(lambda: service.store.launched("sensor:devjobs.py:first"), say=service.logs)
    (run_id,) = service.store.launched("sensor:devjobs.py:first").values()
    assert service.ended(run_id) is RunStatus.SUCCESS
    remote: list[RunId] = service.store.launch(
        [queued(prepare(Request(load_job(code, name), code=code))) for name in ("remote", "local")]
    )
    assert {service.ended(each) for each in remote} == {RunStatus.SUCCESS}
    file.write_text(CODE.replace("NAME", "second").replace("WORD", "longer"))
    until(lambda: service.store.launched("sensor:devjobs.py:second"), say=service.logs)
    dev.send_signal(signal.SIGINT)
    assert dev.wait(29) == 0, service.logs()  # a worker that does not stop is killed after 30
    until(lambda: not processes_of(tmp_path), say=lambda: f"{processes_of(tmp_path)}")
    assert not re.search("(Resource|Deprecation)Warning", service.logs())


def launched(service: Service, code: CodeTarget, job: str) -> RunId:
    (run_id,) = service.store.launch([queued(prepare(Request(load_job(code, job), code=code)))])
    return run_id


def test_the_worker_serves_what_loads_beside_code_that_does_not(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    good, other = (
        CodeTarget(file=str(folder / name), working_directory=str(folder)) for name in ("good.py", "other.py")
    )
    (folder / "good.py").write_text(CODE.replace("NAME", "first"))
    (folder / "other.py").write_text("def (:")
    service.start("dev", "-f", str(good.file), "-f", str(other.file), "-d", str(folder), "-c", "1", "-p", "0")
    assert service.ended(launched(service, good, "remote")) is RunStatus.SUCCESS
    (folder / "other.py").write_text(CODE.replace("NAME", "second").replace("remote", "far"))
    assert service.ended(launched(service, other, "far")) is RunStatus.SUCCESS


def test_the_worker_finds_code_as_the_workspace_names_it(service: Service, tmp_path: Path) -> None:
    entries = []
    for name, attribute in (("one", "defs"), ("two", "others")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_text(f"{CODE.replace('NAME', name)}\n{attribute} = Definitions(jobs=[remote])")
        entries.append({"python_file": {"relative_path": f"{name}/{name}.py", "attribute": attribute,
                                        "working_directory": name, "location_name": name}})  # fmt: skip
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(json.dumps({"load_from": entries}))
    codes = [source.code for source in of_workspace(workspace)]
    service.start("dev", "-w", str(workspace), "-c", "1", "-p", "0")
    assert {service.ended(launched(service, code, "remote")) for code in codes} == {RunStatus.SUCCESS}


def test_a_worker_that_dies_is_started_again(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "code" / "devjobs.py"
    file.parent.mkdir()
    file.write_text(CODE.replace("NAME", "first"))
    code = CodeTarget(file=str(file), working_directory=str(file.parent))
    service.start("dev", "-f", str(file), "-d", str(file.parent), "-c", "1", "-p", "0")
    assert service.ended(launched(service, code, "remote")) is RunStatus.SUCCESS
    killed = []
    for pid in processes_of(tmp_path):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if b"\0worker\0start\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    assert killed
    assert service.ended(launched(service, code, "remote")) is RunStatus.SUCCESS


def test_a_worker_that_does_not_start_is_tried_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPGRID_IO_MAX_BYTES", "1MB")
    file = tmp_path / "devjobs.py"
    file.write_text(CODE)
    settings = Settings(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", broker_url="redis://127.0.0.1:1")
    with ExitStack() as stack:
        loader = open_loader(settings, [Source("devjobs", CodeTarget(file=str(file), working_directory=str(tmp_path)))])
        stack.callback(loader.close)
        assert loader.load(loader.locations[0])
        worker = _Worker(settings, stack.enter_context(closing(open_store(settings))), loader, 1)
        stack.callback(worker.stop)

        def attempt(now: float) -> subprocess.Popen[bytes]:
            worker.look(now)
            assert worker._process is not None
            worker._process.process.wait(100)
            return worker._process.process

        first, second = attempt(100), attempt(101)
        assert first is not second and second.returncode == 2
        assert attempt(102) is second and attempt(110) is second
        assert attempt(111) is not second
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == [f"The worker has ended, with exit code 2: see {tmp_path / 'worker.log'}. It is started again."] * 2


def test_code_that_does_not_load_is_told(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import nothing_of_that_name")
    service.start("dev", "-f", str(file), "-p", "0")
    until(lambda: "nothing_of_that_name" in service.logs(), say=service.logs)
