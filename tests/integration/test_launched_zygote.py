"""Processes of launched runs, and those that these start in turn, are forked from a zygote of the orchestrator."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.ids import RunId
from opgrid.io.kept import log_of
from opgrid.io.keys import KeyRing
from opgrid.loading import load_job
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from tests.integration.service import Service, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")

JOBS = """
import json, os, time
from pathlib import Path
from opgrid import job, op

FOLDER = Path(__file__).parent
VERSION = 1

@op
def look():
    os.write(1, b"said by the op\\n")
    above = Path(f"/proc/{os.getppid()}/stat").read_text().rsplit(")", 1)[1].split()
    (FOLDER / "seen").write_text(json.dumps({"pid": os.getpid(), "parent": os.getppid(), "grandparent": int(above[1]),
        "version": VERSION, "session": os.getsid(0), "home": os.environ["OPGRID_HOME"]}))
    while (FOLDER / "hold").exists():
        time.sleep(0.02)

@job
def looks():
    look()
"""


class Launched:
    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        (folder / "looking.py").write_text(JOBS)
        self.orchestrator = service.start("orchestrator")

    def launch(self, executor: str) -> RunId:
        (self.folder / "seen").unlink(missing_ok=True)
        code = CodeTarget(file=str(self.folder / "looking.py"), working_directory=str(self.folder))
        prepared = prepare(Request(load_job(code, "looks"), executor=executor, code=code))
        (run_id,) = self.service.store.launch([queued(prepared)])
        return run_id

    def seen(self) -> dict[str, Any]:
        path = self.folder / "seen"
        until(lambda: path.exists() and path.read_text().endswith("}"), say=self.service.logs)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def look(self, executor: str) -> dict[str, Any]:
        run_id = self.launch(executor)
        assert self.service.ended(run_id) is RunStatus.SUCCESS
        return {**self.seen(), "log": log_of(self.service.home, run_id)}


@pytest.fixture
def launched(tmp_path: Path, database_url: str) -> Iterator[Launched]:
    (tmp_path / "home").mkdir()
    KeyRing.load(str(tmp_path / "home"))
    service = Service(tmp_path / "home", database_url, None)
    yield Launched(service, tmp_path)
    service.close()


def test_launched_runs_and_their_steps_are_forked_from_one_zygote(launched: Launched) -> None:
    seen = [launched.look(executor) for executor in ("in_process", "multiprocess", "multiprocess", "in_process")]
    (zygote,) = {each["parent"] for each in seen}
    assert {each["grandparent"] for each in seen} == {launched.orchestrator.pid}
    assert len({each["pid"] for each in seen}) == 4
    assert all(each["session"] == each["pid"] for each in seen)
    assert {each["home"] for each in seen} == {str(launched.service.home)}
    assert all("said by the op" in each["log"].read_text() for each in seen)
    (launched.folder / "looking.py").write_text(JOBS.replace("VERSION = 1", "VERSION = 22"))
    after = [launched.look(executor) for executor in ("in_process", "multiprocess")]
    assert [each["version"] for each in (*seen, *after)] == [1, 1, 1, 1, 22, 22]
    launched.orchestrator.terminate()
    assert launched.orchestrator.wait(100) == 0
    until(lambda: not Path(f"/proc/{zygote}").exists())


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_a_run_goes_on_when_the_zygote_is_killed(launched: Launched, executor: str) -> None:
    (launched.folder / "hold").touch()
    run_id = launched.launch(executor)
    zygote = launched.seen()["parent"]
    os.kill(zygote, signal.SIGKILL)
    (launched.folder / "hold").unlink()
    assert launched.service.ended(run_id) is RunStatus.SUCCESS
    another = launched.look(executor)
    assert another["parent"] != zygote
    assert another["grandparent"] == launched.orchestrator.pid


def test_a_zygote_stays_for_runs_that_outlive_their_orchestrator(launched: Launched) -> None:
    (launched.folder / "hold").touch()
    run_id = launched.launch("multiprocess")
    zygote = launched.seen()["parent"]
    launched.orchestrator.kill()
    launched.orchestrator.wait()
    (launched.folder / "hold").unlink()
    assert launched.service.ended(run_id) is RunStatus.SUCCESS
    until(lambda: not Path(f"/proc/{zygote}").exists())


def test_processes_of_runs_can_be_started_from_nothing(launched: Launched) -> None:
    launched.service.environ["OPGRID_ZYGOTE"] = "off"
    launched.orchestrator.terminate()
    launched.orchestrator.wait()
    launched.orchestrator = launched.service.start("orchestrator")
    assert launched.look("in_process")["parent"] == launched.orchestrator.pid
