from __future__ import annotations

import msgspec
import pytest

from executors.celery.backlog import Backlog, Line, Parcel, Room, Waiting
from opgrid.broker.pace import Pace
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.tasks import JobRef, RunBrief, StepTask
from opgrid.ids import NodePath, RunId, StepKey

LINE, URGENT = Line("q"), Line("q", 5)


def waiting(step: str, run: str = "r", line: Line = LINE, again: bool = False, then: int = 0, **more: float) -> Waiting:
    brief = RunBrief(RunId(run), JobRef("job", "hash"), ExecutorChoice("celery"))
    followers = tuple(StepTask(RunId(run), StepKey(f"{step}+{n}"), NodePath("op")) for n in range(then))
    task = StepTask(RunId(run), StepKey(step), NodePath("op"), op="op", then=followers, **more)  # type: ignore[arg-type]
    return Waiting(brief, "content", task, line, since=0.0, again=again)


def backlog(*all_waiting: Waiting) -> Backlog:
    made = Backlog()
    for each in all_waiting:
        made.put(each)
    return made


def pace(*seconds: float) -> Pace:
    """Of an op that took as long as that, again and again."""
    made = Pace()
    for each in seconds * 20:
        made.learn(("job", "op"), each)
    return made


def steps(parcels: list[Parcel]) -> list[list[str]]:
    return [[each.task.step for each in parcel] for parcel in parcels]


def test_steps_of_which_nothing_is_known_go_alone() -> None:
    waits = backlog(*(waiting(f"s{n}") for n in range(10)))
    assert steps(waits.parcels(LINE, Room(4, 4, 4), Pace())) == [["s0"], ["s1"], ["s2"], ["s3"]]
    assert len(waits) == 6


def test_short_steps_go_many_to_a_message_and_long_ones_alone() -> None:
    many = [waiting(f"s{n}") for n in range(2000)]
    assert [len(each) for each in backlog(*many).parcels(LINE, Room(2, 2, 4), pace(0.00014))] == [256, 256]
    assert [len(each) for each in backlog(*many).parcels(LINE, Room(2, 2, 4), pace(0.002))] == [90, 90]
    assert [len(each) for each in backlog(*many).parcels(LINE, Room(2, 2, 4), pace(0.03))] == [6, 6]
    assert [len(each) for each in backlog(*many).parcels(LINE, Room(2, 2, 4), pace(10.0))] == [1, 1]


def test_who_wants_to_travels_alone() -> None:
    waits = backlog(waiting("a"), shy("shy"), waiting("b"), waiting("c"))
    assert steps(waits.parcels(LINE, Room(9, 9, 1), pace(0.0001))) == [["a"], ["shy"], ["b", "c"]]


def shy(step: str) -> Waiting:
    made = waiting(step)
    return msgspec.structs.replace(made, task=msgspec.structs.replace(made.task, alone=True))


@pytest.mark.parametrize(("seconds", "count"), [(0.0001, 32), (0.005, 10), (0.02, 4), (None, 4)])
def test_of_short_ones_that_travel_alone_there_are_more(seconds: float | None, count: int) -> None:
    room, known = Room(4, 2, 2), Pace() if seconds is None else pace(seconds)
    assert len(backlog(*(shy(f"s{n}") for n in range(100))).parcels(LINE, room, known)) == count


def test_no_slot_starves_where_there_is_little() -> None:
    few = [waiting(f"s{n}") for n in range(8)]
    assert [len(each) for each in backlog(*few).parcels(LINE, Room(4, 4, 4), pace(0.01))] == [2, 2, 2, 2]
    assert [len(each) for each in backlog(*few).parcels(LINE, Room(4, 4, 4), pace(0.01, 0.04))] == [1, 1, 1, 1]


def test_so_little_that_one_message_takes_less_time_than_two_is_not_divided() -> None:
    few = [waiting(f"s{n}") for n in range(20)]
    assert [len(each) for each in backlog(*few).parcels(LINE, Room(4, 4, 4), pace(0.0001))] == [13, 7]
    assert [len(each) for each in backlog(*few).parcels(LINE, Room(4, 4, 4), pace(0.0018))] == [5, 5, 5, 5]


def test_little_stays_here_while_nobody_is_idle_and_is_divided_so_that_all_end_at_once() -> None:
    waits = backlog(*(waiting(f"s{n}") for n in range(12)))
    assert waits.parcels(LINE, Room(2, 0, 2, 0.1), pace(0.01)) == []
    assert [len(each) for each in waits.parcels(LINE, Room(2, 1, 2, 0.04), pace(0.01))] == [8]
    assert [len(each) for each in waits.parcels(LINE, Room(1, 1, 2, 0.08), pace(0.01))] == [4]


def test_much_is_sent_ahead_as_long_as_messages_are_full() -> None:
    waits = backlog(*(waiting(f"s{n}") for n in range(60)))
    assert [len(each) for each in waits.parcels(LINE, Room(4, 0, 2, 0.4), pace(0.01))] == [19, 19]
    assert waits.parcels(LINE, Room(2, 0, 2, 0.4), pace(0.01)) == []


def test_a_chain_counts_with_all_its_steps() -> None:
    chains = [waiting(f"s{n}", then=160) for n in range(8)]
    assert [len(each) for each in backlog(*chains).parcels(LINE, Room(1, 1, 1), pace(0.00001))] == [1]


def test_runs_take_turns() -> None:
    waits = backlog(waiting("a0", "a"), waiting("a1", "a"), waiting("b0", "b"))
    assert steps(waits.parcels(LINE, Room(1, 1, 4), Pace())) == [["a0"]]
    assert steps(waits.parcels(LINE, Room(1, 1, 4), Pace())) == [["b0"]]
    assert steps(waits.parcels(LINE, Room(1, 1, 4), Pace())) == [["a1"]]
    assert waits.parcels(LINE, Room(1, 1, 4), Pace()) == []


def test_the_most_urgent_line_comes_first() -> None:
    assert backlog(waiting("a"), waiting("b", line=URGENT)).lines() == [URGENT, LINE]


def test_what_comes_back_goes_first_and_never_with_what_is_new() -> None:
    waits = backlog(waiting("new"), waiting("newer"))
    waits.put_back([waiting("back", again=True), waiting("too", again=True)])
    assert steps(waits.parcels(LINE, Room(4, 4, 1), pace(0.0001))) == [["back", "too"]]
    assert steps(waits.parcels(LINE, Room(4, 4, 1), pace(0.0001))) == [["new", "newer"]]


def test_what_is_here_twice_is_here_once() -> None:
    waits = backlog(waiting("a"), waiting("a"))
    waits.put_back([waiting("a")])
    assert steps(waits.parcels(LINE, Room(4, 4, 4), Pace())) == [["a"]]
    waits.put(waiting("a"))
    assert len(waits) == 1


def test_canceled_steps_and_ended_runs_leave_nothing() -> None:
    waits = backlog(waiting("a"), waiting("b"), waiting("c", "other"), waiting("d", line=URGENT))
    waits.withdraw(RunId("r"), {StepKey("a"), StepKey("d")})
    assert steps(waits.parcels(LINE, Room(1, 1, 4), Pace())) == [["b"]]
    waits.forget(RunId("other"))
    assert (len(waits), waits.lines()) == (0, [])


def test_what_waits_longer_than_it_may_is_taken_out() -> None:
    waits = backlog(waiting("a", start_timeout=5.0), waiting("b"))
    assert waits.overdue(5.0) == []
    assert [each.task.step for each in waits.overdue(5.1)] == ["a"]
    assert len(waits) == 1


def test_the_pace_of_a_kind_is_not_that_of_the_one_that_was_held_up() -> None:
    known = pace(0.001)
    for _ in range(20):
        known.learn(("job", "op"), 0.001)
    known.learn(("job", "op"), 1.0)
    assert 0.001 < (known.expect(("job", "op")) or 0) < 0.005
    for _ in range(30):
        known.learn(("job", "op"), 1.0)
    assert (known.expect(("job", "op")) or 0) > 0.9


def test_the_spread_of_a_kind_is_what_its_like_differ_by() -> None:
    assert Pace().spread(("job", "op")) == 1.0
    assert pace(0.01).spread(("job", "op")) < 0.02
    assert 0.1 < pace(0.009, 0.011).spread(("job", "op")) < 0.3
    assert pace(0.001, 0.1).spread(("job", "op")) > 1.0


def test_a_later_attempt_takes_the_place_of_an_earlier_one_and_never_the_other_way() -> None:
    old, new = waiting("a"), waiting("a", attempt=2)
    for waits in (backlog(old, new), backlog(new, old)):
        waits.put_back([old])
        assert len(waits) == 1
        (parcel,) = waits.parcels(LINE, Room(9, 9, 1), pace(0.0001))
        assert [each.task.attempt for each in parcel] == [2]
        assert len(waits) == 0
