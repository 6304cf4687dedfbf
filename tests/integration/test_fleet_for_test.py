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
from opgrid.broker.connection import connect
from opgrid.broker.keys import DEFAULT_QUEUE, Keys
from opgrid.contracts.events import EventType, StepLost, StepStarted, StepSucceeded
from opgrid.errors import LoadError
from opgrid.testing.fleet import Fleet

pytestmark = pytest.mark.celery


class Folder(Config):
    path: str
    seconds: float = 0.0
    hold: int = 0  #: from so many on, steps end after the fault; 0: whenever they like
    processes: int = 1  #: as many have begun a step before one ends


@op(out=DynamicOut(int))
def spread() -> Iterator[DynamicOutput[int]]:
    for number in range(12):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def work(config: Folder, number: int) -> int:
    with open(os.path.join(config.path, f"{number}"), "a") as file:
        file.write(f"{os.getpid()}\n")
    is_held = 0 < config.hold <= len(os.listdir(config.path))
    time.sleep(config.seconds)
    eventually(lambda: len({pid for pids in lines(config.path) for pid in pids}) >= config.processes)
    eventually(lambda: not is_held or is_over(config.path).exists())
    return number


def lines(folder: str) -> list[list[str]]:
    return [file.read_text().splitlines() for file in Path(folder).iterdir()]


def is_over(folder: str) -> Path:
    """There once the fault has happened."""
    return Path(f"{folder}-over")


def eventually(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)


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
    fleet: Fleet,
    folder: Path,
    fault: Callable[[], Any],
    after: int = 2,
    seconds: float = 0.15,
    once: bool = True,
    hold: int | None = None,
    processes: int = 1,
) -> Any:
    """The job on the fleet, with a fault once some of its steps have started, and before all have ended. ``once``: no
    step succeeds twice.
    """
    hold = after if hold is None else hold
    folder = folder / "steps"
    folder.mkdir()
    of_work = {"path": str(folder), "seconds": seconds, "hold": hold, "processes": processes}
    config = {"ops": {"work": {"config": of_work}}}

    def wait_and_break() -> None:
        try:
            eventually(lambda: len(os.listdir(folder)) >= after)
            fault()
        finally:
            is_over(str(folder)).touch()

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


def messages_wait(fleet: Fleet) -> bool:
    with connect(fleet.broker_url) as client:
        return any(client.llen(name) for name in Keys.load().queue_lists(DEFAULT_QUEUE))


def started(folder: Path) -> Counter[str]:
    return Counter({file.name: len(file.read_text().splitlines()) for file in (folder / "steps").iterdir()})


def test_a_fleet_and_its_instance(tmp_path: Path) -> None:
    with fleet_for_test(workers=1) as fleet:
        assert os.environ["OPGRID_BROKER_URL"] == fleet.broker_url
        run(fleet, tmp_path, lambda: None, seconds=0.0)
        assert fleet.instance.get_runs_count() == 1
        assert set(started(tmp_path).values()) == {1}
    assert "OPGRID_BROKER_URL" not in os.environ


@pytest.mark.parametrize("executor", ["celery", "multiprocess"])
def test_a_job_that_cannot_travel_is_refused_before_it_runs(executor: str) -> None:
    lock = threading.Lock()

    @op
    def locked() -> int:
        with lock:
            return 1

    @job
    def stays() -> None:
        locked()

    with fleet_for_test(workers=0) as fleet:
        with pytest.raises(LoadError, match=r"'stays' cannot be pickled.*lock.*reconstructable"):
            execute_job(stays, fleet.instance, executor=executor)
        assert fleet.instance.get_runs_count() == 0


def test_a_killed_worker_costs_attempts_and_nothing_else(tmp_path: Path) -> None:
    with fleet_for_test(workers=2) as fleet:
        result = run(fleet, tmp_path, fleet.kill_worker, hold=1)  # both are at a step
        assert [event for event in result.all_events if event.TYPE is EventType.STEP_LOST]


def test_a_frozen_worker_is_overtaken(tmp_path: Path) -> None:
    with fleet_for_test(workers=2, lease_ttl=1.0) as fleet:
        run(fleet, tmp_path, fleet.freeze_worker, hold=1)
        fleet.thaw_worker()


def test_lost_messages_are_sent_again(tmp_path: Path) -> None:
    lost: list[int] = []
    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:

        def fault() -> None:
            eventually(lambda: messages_wait(fleet))
            lost.append(fleet.lose_messages())

        run(fleet, tmp_path, fault)
    assert lost[0] > 0


def test_messages_that_come_late_start_nothing_twice(tmp_path: Path) -> None:
    late: list[int] = []
    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:

        def fault() -> None:
            eventually(lambda: messages_wait(fleet))
            going_on = threading.Timer(0.5, is_over(str(tmp_path / "steps")).touch)  # while they are missed
            going_on.start()
            late.append(fleet.delay_messages(2.5))
            going_on.join()

        run(fleet, tmp_path, fault)
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

        def fault() -> None:
            eventually(lambda: messages_wait(fleet))
            doubled.append(fleet.double_messages())

        run(fleet, tmp_path, fault, hold=1)
    assert doubled[0] > 0
    assert set(started(tmp_path).values()) == {1}


def test_a_broker_that_restarts_loses_nothing(tmp_path: Path) -> None:
    with fleet_for_test(workers=1) as fleet:
        run(fleet, tmp_path, lambda: fleet.restart_broker(0.3))


@pytest.mark.parametrize("after", [1, 7, 12])
def test_a_broker_that_loses_everything_costs_attempts(tmp_path: Path, after: int) -> None:
    with fleet_for_test(workers=1, concurrency=2, lease_ttl=1.0) as fleet:

        def have_ended() -> set[int]:
            """Processes of which a step has: nobody else has kept what it made."""
            (record,) = fleet.instance.store.runs()
            events = list(fleet.instance.store.read(record.run_id))
            ended = {event.step for event in events if isinstance(event, StepSucceeded)} - {"spread"}
            return {event.pid for event in events if isinstance(event, StepStarted) and event.step in ended}

        def fault() -> None:
            eventually(lambda: after == 1 or len(have_ended()) == 2)
            fleet.empty_broker()

        result = run(fleet, tmp_path, fault, after, once=False, processes=2)
        again = [event for event in result.all_events if isinstance(event, StepLost) and event.gone]
        assert {event.step for event in again} & {"total", *(f"work[{number}]" for number in range(12))}
        ended = Counter(event.step for event in result.get_step_success_events())
        assert max(ended.values()) == 2  # of spread, where no process had read its values before


def test_a_broker_that_is_rolled_back_costs_attempts(tmp_path: Path) -> None:
    copies: list[Path] = []

    def fault() -> None:
        copies.append(fleet.copy_broker())
        eventually(lambda: len(started(tmp_path)) >= 8)
        fleet.roll_back_broker(copies[0])

    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:
        run(fleet, tmp_path, fault, once=False, hold=8)


def test_what_ops_do_not_want_to_run_again_fails_the_run(tmp_path: Path) -> None:
    with fleet_for_test(workers=1, lease_ttl=1.0) as fleet:
        config = {"ops": {"wait": {"config": {"path": str(tmp_path), "seconds": 60.0}}}}

        def lose() -> None:
            eventually(lambda: os.listdir(tmp_path))
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
