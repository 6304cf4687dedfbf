"""Steps that travel in one message to a Celery worker: on a real one."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from opgrid import OpExecutionContext, execute_job, fleet_for_test, graph, job, op
from opgrid.contracts.events import EngineNote, StepLost, StepStarted

pytestmark = pytest.mark.celery


@op
def one() -> int:
    return os.getpid()


@op
def same(x: int) -> int:
    assert x == os.getpid(), "another process"
    time.sleep(0.05)
    return os.getpid()


@op
def joined(a: int, b: int) -> int:
    assert a == b == os.getpid(), "another process"
    return a


@graph(tags={"opgrid/fuse": "true"})
def diamond() -> None:
    x = one()
    joined(same(x), same(x))


@op
def breaks(x: int) -> int:
    raise ValueError("on purpose")


@op
def seconds(x: int) -> int:
    time.sleep(0.4)
    return x


@op(config_schema={"folder": str})
def dies_once(context: OpExecutionContext, x: int) -> int:
    mark = Path(context.op_config["folder"]) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@job
def whole() -> None:
    diamond()


@job
def chain() -> None:
    same(same(same(one())))


@job
def broken() -> None:
    same(breaks(same(one())))


@job
def slow() -> None:
    x = one()
    for _ in range(5):
        x = seconds(x)


@job
def crashing() -> None:
    seconds(dies_once(seconds(one())))


def test_a_fused_graph_and_a_chain_run_in_one_process() -> None:
    with fleet_for_test(concurrency=2) as fleet:
        for each in (whole, chain):
            with execute_job(each, fleet.instance, executor="celery") as result:
                assert result.success
                starts = result.filter_events(lambda event: isinstance(event, StepStarted))
                assert len({event.pid for event in starts if isinstance(event, StepStarted)}) == 1
                assert len(starts) == 4


def test_what_follows_a_failure_stays_untouched() -> None:
    with fleet_for_test() as fleet, execute_job(broken, fleet.instance, executor="celery") as result:
        assert result.get_failed_step_keys() == {"breaks"}
        assert result.is_node_success("same")
        assert result.is_node_untouched("same_2")


def test_a_chain_that_takes_long_goes_back_into_the_queue() -> None:
    """From which it is taken at once, and not missed first, as one that was lost would be."""
    with fleet_for_test(lease_ttl=60.0) as fleet, execute_job(slow, fleet.instance, executor="celery") as result:
        assert result.success
        assert not result.filter_events(lambda event: isinstance(event, EngineNote))
        started = [event.at for event in result.all_events]
        assert started[-1] - started[0] < 15  # a quarter of the lease, after which messages are missed


def test_a_process_that_dies_on_the_way_loses_one_attempt(tmp_path: Path) -> None:
    config = {"ops": {"dies_once": {"config": {"folder": str(tmp_path)}}}}
    with (
        fleet_for_test(concurrency=2) as fleet,
        execute_job(crashing, fleet.instance, run_config=config, executor="celery") as result,
    ):
        assert result.success
        lost = result.filter_events(lambda event: isinstance(event, StepLost))
        assert [event.step for event in lost if isinstance(event, StepLost)] == ["dies_once"]
        starts = [event.step for event in result.all_events if isinstance(event, StepStarted)]
        assert sorted(starts) == ["dies_once", "dies_once", "one", "seconds", "seconds_2"]
