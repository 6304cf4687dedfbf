"""The fleet that users' tests start, and the faults that they can make in it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opgrid import Config, DynamicOut, DynamicOutput, execute_job, fleet_for_test, job, op
from opgrid.contracts.events import EventType
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


def run(fleet: Fleet, folder: Path, fault: Callable[[], Any], after: int = 2, seconds: float = 0.15) -> Any:
    """The job on the fleet, with a fault once some of its steps have started."""
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
            assert set(ended.values()) == {1}
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


def test_doubled_messages_start_nothing_twice(tmp_path: Path) -> None:
    doubled: list[int] = []
    with fleet_for_test(workers=2) as fleet:
        run(fleet, tmp_path, lambda: doubled.append(fleet.double_messages()))
    assert doubled[0] > 0
    assert set(started(tmp_path).values()) == {1}


def test_a_broker_that_restarts_loses_nothing(tmp_path: Path) -> None:
    with fleet_for_test(workers=1) as fleet:
        run(fleet, tmp_path, lambda: fleet.restart_broker(0.3))
