"""A daemon whose code is elsewhere: on a code server, in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

from opgrid.io.keys import KeyRing
from tests.integration.service import Service, until

CODE = """
from opgrid import *
@op
def nothing(): ...
@job
def load(): nothing()
@job
def report(): nothing()
@schedule("* * * * *", job=load)
def minutely(): return RunRequest()
@sensor(job=load, minimum_interval_seconds=1, default_status=DefaultSensorStatus.RUNNING)
def once(context): yield RunRequest(run_key="only")
defs = Definitions(jobs=[load, report], schedules=[minutely], sensors=[once, run_after(report, load)],
                   executor=in_process_executor)
"""


def served(service: Service) -> Path:
    """A workspace, whose code is on a code server that was started."""
    code = service.home / "far.py"
    code.write_text(CODE)
    KeyRing.load(str(service.home))
    service.start("code-server", "start", "-f", str(code), "--port", "0")
    log = service.last_log
    until(lambda: "is at" in log.read_text(), say=service.logs)
    found = re.search(r"is at 127.0.0.1:(\d+)", log.read_text())
    assert found is not None
    workspace = service.home / "workspace.yaml"
    workspace.write_text(f"load_from: [{{code_server: {{port: {found[1]}, location_name: far.py}}}}]")
    return workspace


def test_code_that_is_elsewhere_is_validated_there(tmp_path: Path) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    try:
        workspace = served(service)
        assert service.start("definitions", "validate", "-w", str(workspace)).wait(100) == 0, service.logs()
        assert service.last_log.read_text() == "far.py: 2 jobs, 1 schedules, 2 sensors\n"
    finally:
        service.close()


def test_sensors_and_chains_of_code_that_is_elsewhere(tmp_path: Path, database_url: str) -> None:
    service = Service(tmp_path, database_url, None)
    try:
        workspace = served(service)
        service.start("orchestrator")
        service.start("daemon", "run", "-w", str(workspace))
        until(lambda: service.store.launched("sensor:far.py:report_after_load"), 100, service.logs)
        (loaded,) = service.store.launched("sensor:far.py:once").values()
        assert service.ended(loaded).value == "SUCCESS"
        ((key, reported),) = service.store.launched("sensor:far.py:report_after_load").items()
        assert key == loaded
        assert service.ended(reported).value == "SUCCESS"
        run = service.store.run(reported)
        assert run is not None
        assert run.tags["opgrid/upstream_run_id"] == loaded
    finally:
        service.close()


def test_code_that_cannot_be_loaded_is_told_where_it_is_served(tmp_path: Path, database_url: str) -> None:
    KeyRing.load(str(tmp_path))
    service = Service(tmp_path, database_url, None)
    try:
        service.start("code-server", "start", "-f", str(tmp_path / "missing.py"), "--port", "0")
        log = service.last_log
        until(lambda: f"cannot be loaded: LoadError: There is no file {tmp_path}/missing.py" in log.read_text())
        assert "is at" in log.read_text()  # it may be there later: each connection loads it anew
    finally:
        service.close()
