from __future__ import annotations

import pytest

from executors.celery.backlog import Line, Room
from executors.celery.flights import Flight, Flights
from opgrid.broker.protocol import Attempt
from opgrid.contracts.events import ErrorInfo, LossCause, StepCanceled, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import StepTask
from opgrid.ids import NodePath, RunId, StepKey

RUN, TTL = RunId("r"), 8.0
LINE = Line("q")


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


def test_a_step_that_its_worker_has_sent_on_waits_behind_messages_that_were_sent_later() -> None:
    flights = Flights(TTL)
    then = (StepTask(RUN, StepKey("b"), NodePath("b"), after=(StepKey("a"),)),)
    flights.departs(Attempt(RUN, "s", "a", 1), StepTask(RUN, StepKey("a"), NodePath("a"), then=then), LINE, 0.0)
    depart(flights, "c")
    start(flights, "a")
    flights.handle(StepSucceeded(run_id=RUN, at=0, step=StepKey("a"), attempt=1), 4.0)
    sent_on = depart(flights, "b", 4.0)
    start(flights, "c", 4.0)
    assert [flights.lost({"q": 1}, now) for now in (10.0, 15.0, 20.0)] == [[], [], []]
    assert [flights.lost({"q": 0}, now) for now in (25.0, 30.0)] == [[], [sent_on]]


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


# ---- crews


def crew(flights: Flights) -> list[StepTask]:
    """``a`` and ``b`` are out; ``c`` waits for ``a``, ``d`` for ``b``, ``e`` for ``c`` and ``d``."""
    after = {"b": "", "c": "a", "d": "b", "e": "cd"}
    then = tuple(
        StepTask(RUN, StepKey(step), NodePath(step), after=tuple(map(StepKey, needs))) for step, needs in after.items()
    )
    leader = StepTask(RUN, StepKey("a"), NodePath("a"), then=then)
    order = flights.new_order()
    for task in (leader, then[0]):
        flights.departs(Attempt(RUN, "s", task.step, 1), task, Line("q"), 0.0, order)
    return [*then[1:]]


def test_whoever_ends_a_step_of_a_crew_may_go_on_with_any_other_of_it() -> None:
    flights = Flights(TTL)
    c, _, _ = crew(flights)
    assert flights.mates(RUN, {StepKey("a")}) == {"b", "c", "d", "e"}
    assert flights.mates(RUN, {StepKey("a"), StepKey("b")}) == {"c", "d", "e"}
    flights.handle(StepSucceeded(run_id=RUN, at=0, step=StepKey("a"), attempt=1), 1.0)
    assert flights.is_aboard(c)
    flights.departs(Attempt(RUN, "s", "c", 1), c, Line("q"), 1.0)
    assert flights.mates(RUN, {StepKey("b"), StepKey("c")}) == {"d", "e"}  # the leader has ended
    flights.handle(StepSucceeded(run_id=RUN, at=0, step=StepKey("d"), attempt=1), 1.0)  # before it was known to be out
    assert flights.mates(RUN, {StepKey("b"), StepKey("c")}) == {"e"}
    assert flights.mates(RUN, ()) == set()


def test_what_travels_is_stopped_with_a_step_whose_end_has_come_meanwhile() -> None:
    flights = Flights(TTL)
    crew(flights)
    for step in ("a", "b"):
        flights.handle(StepSucceeded(run_id=RUN, at=0, step=StepKey(step), attempt=1), 1.0)
    assert flights.mates(RUN, {StepKey("b")}) == {"c", "d", "e"}


def test_what_is_out_and_what_travels_with_it_are_known_until_they_end() -> None:
    flights = Flights(TTL)
    c, d, e = crew(flights)
    assert [flights.task(RUN, task.step) for task in (c, d, e)] == [c, d, e]
    assert flights.task(RUN, StepKey("a")) is not None
    for ended in (StepKey("a"), d.step):  # the second before it was known to be out
        flights.handle(StepSucceeded(run_id=RUN, at=0, step=ended, attempt=1), 1.0)
        assert flights.task(RUN, ended) is None
    assert flights.task(RUN, e.step) == e
    assert flights.task(RUN, StepKey("other")) is None


def test_what_travels_with_a_step_that_another_process_sent_is_stopped_with_it() -> None:
    flights = Flights(TTL)
    depart(flights, "a")
    flights.drifts(RUN, StepKey("b"))
    assert flights.mates(RUN, {StepKey("a")}) == {"b"}
    assert flights.mates(RUN, ()) == set()
    flights.forget(RUN)
    assert flights.mates(RUN, {StepKey("a")}) == set()


def test_what_was_given_back_may_travel_again_and_is_stopped_with_its_leader() -> None:
    """That it was given back is read after its leader was sent once more, and took it along."""
    flights = Flights(TTL)
    c, _, _ = crew(flights)
    flights.comes_back(RUN, c.step)
    assert not flights.is_aboard(c)  # whoever submits it has it sent
    assert flights.mates(RUN, {StepKey("a"), StepKey("b")}) == {"c", "d", "e"}


def test_a_failure_leaves_those_of_its_crew_that_do_not_wait_for_it() -> None:
    flights = Flights(TTL)
    c, d, e = crew(flights)
    boom = ErrorInfo("Boom", "boom")
    flights.handle(StepFailed(run_id=RUN, at=0, step=StepKey("a"), attempt=1, error=boom), 1.0)
    assert [flights.is_aboard(each) for each in (c, d, e)] == [False, True, False]
    leader = StepTask(RUN, StepKey("a"), NodePath("a"), 2, then=(c, e))
    flights.departs(Attempt(RUN, "s", "a", 2), leader, Line("q"), 2.0)  # it is tried again, and takes along some
    assert [flights.is_aboard(each) for each in (c, d, e)] == [True, True, True]
    flights.handle(StepLost(run_id=RUN, at=0, step=StepKey("a"), attempt=2, cause=LossCause("killed")), 3.0)
    assert not any(flights.is_aboard(each) for each in (c, d, e))


def test_a_step_that_was_killed_for_its_time_takes_its_crew_along() -> None:
    flights = Flights(TTL)
    crewmates = crew(flights)
    late = ErrorInfo("StepTimedOut", "late")
    flights.handle(StepFailed(run_id=RUN, at=0, step=StepKey("a"), attempt=1, error=late, timed_out=True), 1.0)
    assert not any(flights.is_aboard(each) for each in crewmates)


def message(flights: Flights, *steps: str, each: float = 0.01) -> None:
    order = flights.new_order()
    for step in steps:
        task = StepTask(RUN, StepKey(step), NodePath(step))
        flights.departs(Attempt(RUN, "s", step, 1), task, LINE, 0.0, order, each)


def succeed(flights: Flights, step: str, now: float) -> None:
    flights.handle(StepSucceeded(run_id=RUN, at=0, step=StepKey(step), attempt=1), now)


def test_who_has_nothing_to_do_and_who_soon_will_have_is_idle() -> None:
    flights = Flights(TTL)
    assert flights.room(LINE, 2, 0.0) == Room(4, 2, 2)
    message(flights, "a", "b", "c", "d")
    assert flights.room(LINE, 2, 0.0) == Room(3, 1, 2, 0.04)
    message(flights, "e", "f")
    message(flights, "g")
    assert flights.room(LINE, 2, 0.0) == Room(1, 0, 2, pytest.approx(0.07))
    for at, step in enumerate("abc", 1):
        succeed(flights, step, at * 0.01)
    start(flights, "e")
    assert flights.room(LINE, 2, 0.03) == Room(1, 0, 2, pytest.approx(0.04))
    succeed(flights, "e", 0.03)
    succeed(flights, "d", 0.04)
    assert flights.room(LINE, 2, 0.04) == Room(2, 2, 2)
    message(flights, "h", "i")
    message(flights, "j", "k")
    assert flights.room(LINE, 2, 0.04) == Room(0, 0, 2)


def test_short_messages_of_steps_that_travel_alone_leave_room_for_more() -> None:
    flights = Flights(TTL)

    def departs(step: str, each: float) -> None:
        task = StepTask(RUN, StepKey(step), NodePath(step), alone=True)
        flights.departs(Attempt(RUN, "s", step, 1), task, LINE, 0.0, each=each)

    departs("a", 0.001)
    assert flights.room(LINE, 2, 0.0) == Room(3.875, 2, 2)
    departs("b", 0.004)
    assert flights.room(LINE, 2, 0.0) == Room(3.5, 2, 2)
    departs("c", 1.0)
    assert flights.room(LINE, 2, 0.0) == Room(2.5, 1, 2, pytest.approx(1.001))
    for step in "abc":
        succeed(flights, step, 0.0)
    assert flights.room(LINE, 2, 0.0) == Room(4, 2, 2)


def test_the_last_step_of_a_message_may_end_at_any_time_and_so_may_what_is_late() -> None:
    flights = Flights(TTL)
    message(flights, "a", each=1.0)
    assert flights.room(LINE, 1, 0.0) == Room(1, 0, 1, 1.0)
    start(flights, "a")
    assert flights.room(LINE, 1, 0.0) == Room(1, 1, 1)
    message(flights, "b", "c", each=1.0)
    start(flights, "b", 1.0)
    assert flights.room(LINE, 2, 1.0) == Room(2, 1, 2, 2.0)
    assert flights.room(LINE, 2, 3.2) == Room(2, 2, 2)


def test_a_step_that_is_lost_leaves_behind_what_came_with_it_and_was_not_claimed() -> None:
    flights = Flights(TTL)
    order = flights.new_order()
    for step in "abc":
        task = StepTask(RUN, StepKey(step), NodePath(step))
        flights.departs(Attempt(RUN, "s", step, 1), task, Line("q"), 0.0, order)
    depart(flights, "d")
    start(flights, "a")
    start(flights, "b")
    lost = flights.handle(StepLost(run_id=RUN, at=0, step=StepKey("b"), attempt=1, cause=LossCause("killed")), 1.0)
    assert lost is not None
    assert flights.left_behind(lost) == [(RUN, "c", 1)]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_step_that_is_lost_leaves_behind_the_next_message_too_where_its_process_had_taken_that_along(
    at_once: bool,
) -> None:
    flights = Flights(TTL)
    for steps in ("a", "bc", "de", "fg"):
        message(flights, *steps)
    start(flights, "a")
    start(flights, "f")
    came_back = [(RUN, StepKey("b"), 1), (RUN, StepKey("f"), 1)]  # the second from who lives, and has the rest
    if not at_once:
        for run_id, step, _ in came_back:
            flights.comes_back(run_id, step)
            flight = flights.get(run_id, step)
            assert flight is not None
            flights.returns(flight)
    lost = flights.handle(StepLost(run_id=RUN, at=0, step=StepKey("a"), attempt=1, cause=LossCause("killed")), 1.0)
    assert lost is not None
    left = {step for _, step, _ in flights.left_behind(lost, came_back if at_once else ())}
    assert left == ({"b", "c"} if at_once else {"c"})
    start(flights, "c")  # somebody has it after all
    assert "c" not in {step for _, step, _ in flights.left_behind(lost)}
