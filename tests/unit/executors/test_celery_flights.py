from __future__ import annotations

from executors.celery.backlog import Line
from executors.celery.flights import Flight, Flights
from opgrid.broker.scripts import Attempt
from opgrid.contracts.events import LossCause, StepCanceled, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import StepTask
from opgrid.ids import NodePath, RunId, StepKey

RUN, TTL = RunId("r"), 8.0


def depart(flights: Flights, step: str, now: float = 0.0, attempt: int = 1, priority: int = 0) -> Flight:
    task = StepTask(RUN, StepKey(step), NodePath(step), attempt)
    return flights.departs(Attempt(RUN, "s", step, attempt), task, Line("q", priority), now)


def start(flights: Flights, step: str, now: float = 0.0, attempt: int = 1) -> None:
    flights.handle(StepStarted(run_id=RUN, at=0, step=StepKey(step), attempt=attempt), now)


def lease(step: str, beat: int, attempt: int = 1) -> dict[bytes, bytes]:
    return {f"r/{step}".encode(): f"{attempt} claim {beat} w".encode()}


def test_a_lease_that_changes_lives() -> None:
    flights = Flights(TTL)
    depart(flights, "a")
    start(flights, "a")
    for now in range(0, 60, 4):
        assert flights.look(lease("a", now), now) == []


def test_a_lease_that_reads_the_same_for_its_ttl_is_dead() -> None:
    flights = Flights(TTL)
    flight = depart(flights, "a")
    start(flights, "a", 1.0)
    assert flights.look(lease("a", 3), 2.0) == []
    assert flights.look(lease("a", 3), 9.9) == []
    assert flights.look(lease("a", 3), 10.0) == [flight]


def test_a_claim_without_a_lease_dies_too() -> None:
    flights = Flights(TTL)
    flight = depart(flights, "a")
    start(flights, "a", 1.0)
    assert flights.look({}, 8.9) == []
    assert flights.look({}, 9.0) == [flight]


def test_what_waits_in_a_queue_has_no_lease_and_lives() -> None:
    flights = Flights(TTL)
    depart(flights, "a")
    assert flights.look({}, 1000.0) == []


def test_time_when_nothing_could_be_seen_does_not_count() -> None:
    flights = Flights(TTL)
    flight = depart(flights, "a")
    start(flights, "a")
    flights.look(lease("a", 1), 0.0)
    flights.blind(100.0)
    assert flights.look(lease("a", 1), 107.0) == []
    assert flights.look(lease("a", 1), 108.0) == [flight]


def test_what_has_ended_is_no_longer_on_its_way_whatever_comes_late() -> None:
    flights = Flights(TTL)
    depart(flights, "a", attempt=2)
    flights.handle(StepLost(run_id=RUN, at=0, step=StepKey("a"), attempt=1, cause=LossCause("late")), 0.0)
    assert len(flights) == 1
    flights.handle(StepSucceeded(run_id=RUN, at=0, step=StepKey("a"), attempt=2), 0.0)
    start(flights, "a", attempt=2)
    assert len(flights) == 0
    assert flights.queued == []


def test_a_message_that_is_nowhere_twice_is_lost() -> None:
    flights = Flights(TTL)
    flight = depart(flights, "a")
    assert flights.lost({"q": 0}, 5.0) == []
    assert flights.lost({"q": 0}, 10.0) == [flight]
    flights.returns(flight)
    flight = depart(flights, "a", 10.0)
    flights.delay(flight, 1, 10.0)
    assert flights.lost({"q": 0}, 15.0) == []
    assert flights.lost({"q": 0}, 20.0) == []
    assert flights.lost({"q": 0}, 27.0) == []
    assert flights.lost({"q": 0}, 32.0) == [flight]


def test_found_in_between_it_is_no_longer_suspected() -> None:
    flights = Flights(TTL)
    depart(flights, "a")
    assert flights.lost({"q": 0}, 5.0) == []
    assert flights.lost({"q": 1}, 10.0) == []
    assert flights.lost({"q": 0}, 15.0) == []


def test_an_honest_backlog_is_not_sent_again() -> None:
    flights = Flights(TTL)
    for step in "abc":
        depart(flights, step)
    for now in range(5, 500, 5):
        assert flights.lost({"q": 3}, now) == []


def test_of_a_backlog_that_is_too_short_the_oldest_are_sent_again() -> None:
    flights = Flights(TTL)
    first, *_ = [depart(flights, step) for step in "abc"]
    flights.lost({"q": 2}, 5.0)
    assert flights.lost({"q": 2}, 10.0) == [first]


def test_a_message_that_a_later_one_overtook_is_lost_even_in_a_long_queue() -> None:
    flights = Flights(TTL)
    first = depart(flights, "a")
    depart(flights, "b")
    depart(flights, "urgent", priority=3)
    start(flights, "urgent")
    assert flights.lost({"q": 99}, 5.0) == flights.lost({"q": 99}, 10.0) == []
    start(flights, "b")
    assert flights.lost({"q": 99}, 15.0) == []
    assert flights.lost({"q": 99}, 20.0) == [first]


def test_what_was_stopped_stays_so_until_it_has_told_its_end() -> None:
    flights = Flights(TTL)
    flight = depart(flights, "a")
    flights.stop(RunId(flight.at.run_id), StepKey("a"), flight.at.attempt)
    start(flights, "a")
    assert flights.is_stopped(flight)
    assert flights.stops(RunId(flight.at.run_id)) == [("a", flight.at.attempt)]
    canceled = StepCanceled(run_id=RunId(flight.at.run_id), at=1.0, step=StepKey("a"), attempt=flight.at.attempt)
    flights.handle(canceled, 1.0)
    assert flights.stops(RunId(flight.at.run_id)) == []
