"""``opgrid daemon`` in processes of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.ids import RunId
from opgrid.loading import load_job
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.storage.records import RunsFilter
from orchestrator.storage.service_records import Instigator, InstigatorKind, Tick, TickStatus
from tests.integration.service import Service, until

FILE = Path(__file__).with_name("automation_code.py")
NAME = FILE.name


@pytest.fixture
def service(tmp_path: Path, database_url: str) -> Iterator[Service]:
    (tmp_path / "opgrid.yaml").write_text("daemon: {tick_timeout_seconds: 5}")
    made = Service(tmp_path, database_url, None)
    yield made
    made.close()


def command(service: Service, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "opgrid", *args], env=service.environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


#: Sensors, the kind of their error and a word of it.
FAILURES = (
    ("raises", "KeyError", "nothing there"),
    ("exits", "LocationBroken", "exit code"),
    ("hangs", "LocationBroken", "longer"),
)


def failure(service: Service, sensor: str, kind: str, word: str) -> Tick:
    """The tick of this sensor that failed so; a machine under load may let others of it take too long."""
    found: list[Tick] = []

    def there() -> bool:
        ticks = service.store.ticks(NAME, sensor)
        assert {tick.status for tick in ticks} <= {TickStatus.FAILURE}
        found[:] = [tick for tick in ticks if tick.error and tick.error.kind == kind and word in tick.error.message]
        return bool(found)

    until(there, 100, service.logs)
    return found[0]


def test_each_sensor_goes_its_way_whatever_the_others_do(service: Service) -> None:
    service.start("orchestrator")
    service.start("daemon", "run", "-f", str(FILE))
    store = service.store
    origin = f"sensor:{NAME}:"
    until(lambda: len(store.launched(f"{origin}numbers")) == 12, 100, service.logs)
    until(lambda: len(store.launched(f"{origin}on_failure")) == 1, 100, service.logs)
    until(lambda: any(tick.reason == "saw report" for tick in store.ticks(NAME, "on_success")), 100, service.logs)
    (failed,) = store.launched(f"{origin}once").values()
    assert service.status(failed) is RunStatus.FAILURE
    (reported,) = store.launched(f"{origin}on_failure").values()
    report = store.run(reported)
    assert report is not None
    assert report.tags["of"] == failed
    (raised, exited, hung) = (failure(service, *each) for each in FAILURES)
    assert raised.log == ("WARNING: about to raise",)
    assert exited.error is not None
    assert "exit code 7" in exited.error.message
    assert hung.error is not None
    assert "longer than 5 s" in hung.error.message


@pytest.mark.timeout(500)  # four daemons that load their code
def test_a_daemon_that_is_killed_launches_nothing_twice(service: Service) -> None:
    store, origin = service.store, f"sensor:{NAME}:numbers"
    for kill_at in (2, 5, 8):
        daemon = service.start("daemon", "run", "-f", str(FILE))
        until(lambda at=kill_at: len(store.launched(origin)) >= at, 100, service.logs)  # type: ignore[misc]
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    service.start("daemon", "run", "-f", str(FILE))
    until(lambda: len(store.launched(origin)) == 12, 100, service.logs)
    runs = store.runs(RunsFilter(tags={"opgrid/sensor_name": "numbers"}))
    assert sorted(int(run.tags["opgrid/run_key"]) for run in runs) == list(range(1, 13))


def test_a_tick_that_the_daemon_is_asked_to_stop_in_is_asked_again_by_the_next(service: Service) -> None:
    code, begun = service.home / "thinks.py", service.home / "begun"
    code.write_text(f"""
import pathlib, time
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
@schedule(job=plain, cron_schedule="* * * * *")
def thinks(context):
    if not pathlib.Path({str(begun)!r}).exists():
        pathlib.Path({str(begun)!r}).touch()
        time.sleep(1000)
    return RunRequest()
""")
    store, schedule = service.store, InstigatorKind.SCHEDULE
    store.set_instigator(Instigator("thinks.py", "thinks", schedule, running=True, since=time.time() - 61.0))
    daemon = service.start("daemon", "run", "-f", str(code))
    until(begun.exists, 100, service.logs)
    daemon.terminate()
    assert daemon.wait(30) == 0
    assert list(store.ticks("thinks.py", "thinks")) == []
    service.start("daemon", "run", "-f", str(code))
    until(lambda: store.launched("schedule:thinks.py:thinks"), 100, service.logs)
    assert {tick.status for tick in store.ticks("thinks.py", "thinks")} == {TickStatus.SUCCESS}


def test_a_run_that_failed_is_run_again(service: Service) -> None:
    service.start("orchestrator")
    service.start("daemon", "run", "-f", str(FILE))
    code = CodeTarget(file=str(FILE))
    until(lambda: any(each.name == "run_retries" for each in service.store.instigators()), 100, service.logs)
    prepared = prepare(Request(load_job(code, "stubborn"), executor="in_process", code=code))
    (run_id,) = service.store.launch([queued(prepared)])
    chain: list[RunId] = [run_id]

    def all_there() -> bool:
        found = service.store.launched(f"retry:{chain[-1]}")
        chain.extend(found.values())
        return len(chain) == 3 and service.status(chain[-1]).is_final

    until(all_there, 100, lambda: service.all_of(chain[-1]))
    time.sleep(1.5)
    assert service.store.launched(f"retry:{chain[-1]}") == {}
    last = service.store.run(chain[-1])
    assert last is not None
    assert (last.root_run_id, last.parent_run_id) == (chain[0], chain[1])


def test_a_code_location_that_breaks_stays_in_use_and_comes_back(tmp_path: Path) -> None:
    code = tmp_path / "changing.py"
    whole = """
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
@sensor(job=plain, minimum_interval_seconds=0, default_status=DefaultSensorStatus.RUNNING)
def NAME(context): return SkipReason("nothing")
"""
    code.write_text(whole.replace("NAME", "first"))
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    try:
        daemon = service.start("daemon", "run", "-f", str(code), "-f", str(FILE))
        until(lambda: service.store.ticks("changing.py", "first"), 100, service.logs)
        code.write_text("1 / 0")
        daemon.send_signal(signal.SIGHUP)
        until(lambda: "ZeroDivisionError" in service.logs(), 100, service.logs)
        before = len(service.store.ticks("changing.py", "first", 1000))
        until(lambda: len(service.store.ticks("changing.py", "first", 1000)) > before, 100, service.logs)
        code.write_text(whole.replace("NAME", "second"))
        daemon.send_signal(signal.SIGHUP)
        until(lambda: service.store.ticks("changing.py", "second"), 100, service.logs)
        until(lambda: service.store.ticks(NAME, "raises"), 100, service.logs)
    finally:
        service.close()


@pytest.mark.timeout(300)  # a process for each of many commands
def test_the_command_line_of_schedules_and_sensors(tmp_path: Path) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    code = ("-f", str(FILE))
    try:
        assert "minutely  RUNNING  * * * * * UTC  plain" in command(service, "schedule", "list", *code)
        assert command(service, "schedule", "stop", "minutely", *code) == "Stopped schedule minutely.\n"
        assert command(service, "schedule", "list", "--running", *code) == ""
        assert command(service, "schedule", "list", "--stopped", "--name", *code) == "minutely\n"
        command(service, "schedule", "start", "--start-all", *code)
        assert "RUNNING" in command(service, "schedule", "list", *code)
        command(service, "schedule", "reset", "minutely", *code)
        shown = command(service, "schedule", "preview", "minutely", "--at", "2024-01-01 10:00:00", *code)
        assert "Would launch plain: {}" in shown
        assert "Cursor: 4" in command(service, "sensor", "preview", "numbers", "--cursor", "3", *code)
        assert command(service, "sensor", "cursor", "numbers", *code) == "There is no cursor.\n"
        assert command(service, "sensor", "cursor", "numbers", "--set", "7", *code) == "7\n"
        assert command(service, "sensor", "cursor", "numbers", "--delete", *code) == "There is no cursor.\n"
        assert command(service, "sensor", "logs", "numbers", *code) == ""
        assert service.store.runs() == []
        assert "At most 3 steps" in command(service, "instance", "concurrency", "set", "db", "3")
        assert command(service, "instance", "concurrency", "get", "--all") == "db: 0 in use, limit 3\n"
        command(service, "instance", "concurrency", "delete", "db")
        assert command(service, "instance", "concurrency", "get", "--all", "--json") == "[]\n"
        assert "is up to date" in command(service, "instance", "migrate")
        assert "4 jobs, 1 schedules, 7 sensors" in command(service, "definitions", "validate", *code)
    finally:
        service.close()
