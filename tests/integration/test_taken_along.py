"""Messages that processes of a real worker take from the queue themselves, and what Flower is told of them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery

from opgrid import DynamicOut, DynamicOutput, execute_job, fleet_for_test, job, op
from opgrid.broker.connection import connect
from opgrid.broker.keys import Keys
from opgrid.contracts.events import EngineNote, StepLost
from opgrid.testing.fleet import Fleet
from worker.app import broker_conf

pytestmark = pytest.mark.celery

_STEPS = 60
_PATIENCE = 60.0


@op(out=DynamicOut())
def numbers() -> Iterator[DynamicOutput[int]]:
    for number in range(_STEPS):
        yield DynamicOutput(number, mapping_key=str(number))


@op
def nap(number: int) -> int:
    time.sleep(0.002)
    return number


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@job(tags={"opgrid/fuse": "false"})
def fan() -> None:
    """A message for each step: the next one waits while one runs."""
    total(numbers().map(nap).collect())


@op
def one() -> int:
    return 1


@op
def more(number: int) -> int:
    return number + 1


@job(tags={"opgrid/fuse": "false"})
def line() -> None:
    """Each message is sent when the one before it is over: it goes to the process that waits for it."""
    number = one()
    for _ in range(_STEPS):
        number = more(number)


@op(out=DynamicOut())
def three(number: int) -> Iterator[DynamicOutput[int]]:
    for index in range(3):
        yield DynamicOutput(number + index, mapping_key=str(index))


@job
def stages() -> None:
    """What follows each fan is a chain that comes by hand."""
    number = one()
    for _ in range(12):
        number = more(more(total(three(number).map(nap).collect())))


class Heard:
    """What Flower would hear."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[str]] = defaultdict(list)  #: of events, by message
        self.listens = False

    def hear(self, event: dict[str, Any]) -> None:
        self.listens = True
        if event["type"].startswith("task-"):
            self.kinds[event["uuid"]].append(event["type"])
        if event["type"] == "task-received":
            assert event["name"]
            assert event["args"]

    def are_over(self, messages: int) -> bool:
        return len(self.kinds) == messages and all(kinds[-1] == "task-succeeded" for kinds in self.kinds.values())


@contextmanager
def listening(app: Celery, heard: Heard) -> Iterator[None]:
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.hear})
        thread = threading.Thread(target=lambda: receiver.capture(wakeup=False))
        thread.start()
        try:
            yield
        finally:
            receiver.should_stop = True
            thread.join()


def waited_for(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


@contextmanager
def heard_by_flower(messages: int) -> Iterator[Fleet]:
    """What runs within is heard of whole."""
    with fleet_for_test(concurrency=1) as fleet:
        app = Celery("test", set_as_current=False)
        app.conf.update(broker_conf(fleet.broker_url, Keys.load(), "test"))
        heard = Heard()
        with listening(app, heard):
            assert waited_for(lambda: heard.listens), "the worker beats for Flower"
            yield fleet
            assert waited_for(lambda: heard.are_over(messages)), dict(heard.kinds)
        assert {tuple(kinds) for kinds in heard.kinds.values()} == {("task-received", "task-started", "task-succeeded")}
        assert list(app.control.inspect(timeout=5.0).active().values()) == [[]]


def test_flower_hears_of_messages_that_were_taken_along_as_of_others() -> None:
    with heard_by_flower(_STEPS + 2) as fleet:
        with execute_job(fan, fleet.instance, executor="celery") as result:
            assert result.output_for_node("total") == _STEPS * (_STEPS - 1) // 2
        with connect(fleet.broker_url) as client:
            stats: Any = client.info("commandstats")
        assert 0 < stats["cmdstat_rpop"]["calls"] < _STEPS + 2, "some were taken along, and not all"


def test_flower_hears_of_messages_that_went_by_hand_as_of_others() -> None:
    with heard_by_flower(_STEPS + 1) as fleet, execute_job(line, fleet.instance, executor="celery") as result:
        assert result.output_for_node(f"more_{_STEPS}") == _STEPS + 1


@pytest.mark.parametrize("processes", [1, 2])
def test_chains_that_come_by_hand_go_on(processes: int) -> None:
    expected = 1
    for _ in range(12):
        expected = 3 * expected + 3 + 2
    with fleet_for_test(concurrency=processes) as fleet:
        for _ in range(3):
            with execute_job(stages, fleet.instance, executor="celery") as result:
                assert result.output_for_node("more_24") == expected
                assert not [event for event in result.all_events if isinstance(event, EngineNote | StepLost)]
