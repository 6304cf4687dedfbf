"""The fleet that users' tests start, and the faults that they can make in it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opgrid import Config, DynamicOut, DynamicOutput, execute_job, fleet_for_test, job, op
from opgrid.contracts.events import EventType, StepLost
from opgrid.testing.fleet import Fleet

pytestmark = pytest.mark.celery


class Folder(Config):
    path: str
    seconds: float = 0.0


@op(out=DynamicOut(int))
def spread() -> Iterator[DynamicOutput[int]]:
    for number in range(12):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def work(config: Folder, number: int) -> int:
    with open(os.path.join(config.path, f"{number}"), "a") as file:
        file.write("started\n")
    time.sleep(config.seconds)
    return number


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@job
def many() -> None:
    total(spread().map(work).collect())


@op(tags={"opgrid/recompute": "false"})
def pay() -> int:
    return 1


@op
def wait(config: Folder, number: int) -> int:
    with open(os.path.join(config.path, "wait"), "a") as file:
        file.write("started\n")
    time.sleep(config.seconds)
    return number


@op
def last(paid: int, number: int) -> int:
    return paid + number


@job(tags={"opgrid/fuse": "false"})
def once_only() -> None:
    paid = pay()
    last(paid, wait(paid))


def run(
    fleet: Fleet, folder: Path, fault: Callable[[], Any], after: int = 2, seconds: float = 0.15, once: bool = True
) -> Any:
    """The job on the fleet, with a fault once some of its steps have started. ``once``: no step succeeds twice."""
    config = {"ops": {"work": {"config": {"path": str(folder), "seconds": seconds}}}}

    def wait_and_break() -> None:
        until = time.monotonic() + 60
        while len(list(folder.iterdir())) < after and time.monotonic() < until:
            time.sleep(0.02)
        fault()

    breaking = threading.Thread(target=wait_and_break)
    breaking.start()
    try:
        with execute_job(many, fleet.instance, run_config=config, executor="celery") as result:
            assert result.success
            assert result.output_for_node("total") == sum(range(12))
            ended = Counter(event.step for event in result.get_step_success_events())
            assert not once or set(ended.values()) == {1}
            return result
    finally:
        breaking.join()


def started(folder: Path) -> Counter[str]:
    return Counter({file.name: len(file.read_text().splitlines()) for file in folder.iterdir()})


def test_a_fleet_and_its_instance(tmp_path: Path) -> None:
    with fleet_for_test(workers=1) as fleet:
        assert os.environ["OPGRID_BROKER_URL"] == fleet.broker_url
        run(fleet, tmp_path, lambda: None, seconds=0.0)
        assert fleet.instance.get_runs_count() == 1
        assert set(started(tmp_path).values()) == {1}
    assert "OPGRID_BROKER_URL" not in os.environ


def test_a_killed_worker_costs_attempts_and_nothing_else(tmp_path: Path) -> None:
    with fleet_for_test(workers=2) as fleet:
        result = run(fleet, tmp_path, fleet.kill_worker)
        assert [event for event in result.all_events if event.TYPE is EventType.STEP_LOST]


def test_a_frozen_worker_is_overtaken(tmp_path: Path) -> None:
    with fleet_for_test(workers=2, lease_ttl=1.0) as fleet:
        run(fleet, tmp_path, fleet.freeze_worker)
        fleet.thaw_worker()


def test_lost_messages_are_sent_again(tmp_path: Path) -> None:
    lost: list[int] = []
    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:
        run(fleet, tmp_path, lambda: lost.append(fleet.lose_messages()))
    assert lost[0] > 0


def test_messages_that_come_late_start_nothing_twice(tmp_path: Path) -> None:
    late: list[int] = []
    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:
        run(fleet, tmp_path, lambda: late.append(fleet.delay_messages(2.5)))
    assert late[0] > 0
    assert set(started(tmp_path).values()) == {1}


TEST_WITH_FIXTURE = """
import pytest

@pytest.mark.opgrid_fleet("opgrid.testing.contract_jobs", workers=2)
def test_two(opgrid_fleet):
    opgrid_fleet.kill_worker()
    assert [worker.process.poll() is None for worker in opgrid_fleet.workers] == [False, True]

def test_one(opgrid_fleet):
    assert len(opgrid_fleet.workers) == 1
"""


def test_the_published_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_WITH_FIXTURE)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["opgrid.testing.plugin"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_doubled_messages_start_nothing_twice(tmp_path: Path) -> None:
    doubled: list[int] = []
    with fleet_for_test(workers=2) as fleet:
        run(fleet, tmp_path, lambda: doubled.append(fleet.double_messages()))
    assert doubled[0] > 0
    assert set(started(tmp_path).values()) == {1}


def test_a_broker_that_restarts_loses_nothing(tmp_path: Path) -> None:
    with fleet_for_test(workers=1) as fleet:
        run(fleet, tmp_path, lambda: fleet.restart_broker(0.3))


@pytest.mark.parametrize("after", [1, 7, 12])
def test_a_broker_that_loses_everything_costs_attempts(tmp_path: Path, after: int) -> None:
    with fleet_for_test(workers=1, concurrency=2, lease_ttl=1.0) as fleet:
        result = run(fleet, tmp_path, fleet.empty_broker, after, once=False)
        again = [event for event in result.all_events if isinstance(event, StepLost) and event.gone]
        assert {event.step for event in again} & {"total", *(f"work[{number}]" for number in range(12))}
        ended = Counter(event.step for event in result.get_step_success_events())
        assert max(ended.values()) == 2  # of spread, where no process had read its values before


def test_a_broker_that_is_rolled_back_costs_attempts(tmp_path: Path) -> None:
    copies: list[Path] = []

    def fault() -> None:
        copies.append(fleet.copy_broker())
        until = time.monotonic() + 30
        while len(started(tmp_path)) < 8 and time.monotonic() < until:
            time.sleep(0.02)
        fleet.roll_back_broker(copies[0])

    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:
        run(fleet, tmp_path, fault, once=False)


def test_what_ops_do_not_want_to_run_again_fails_the_run(tmp_path: Path) -> None:
    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:
        config = {"ops": {"wait": {"config": {"path": str(tmp_path), "seconds": 2.0}}}}

        def lose() -> None:
            until = time.monotonic() + 60
            while not list(tmp_path.iterdir()) and time.monotonic() < until:
                time.sleep(0.02)
            fleet.empty_broker()
            fleet.kill_worker()  # and with it what its process has kept
            fleet.start_worker()

        breaking = threading.Thread(target=lose)
        breaking.start()
        with execute_job(once_only, fleet.instance, run_config=config, executor="celery") as result:
            breaking.join()
            assert not result.success
            failed = result.failure_data_for_node("wait")
            assert "not to run again" in failed.error.message
