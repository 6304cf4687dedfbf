from __future__ import annotations

import msgspec

from executors.celery.backlog import Backlog, Line, Parcel, Waiting
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


def pace(seconds: float) -> Pace:
    made = Pace()
    made.learn(("job", "op"), seconds)
    return made


def steps(parcels: list[Parcel]) -> list[list[str]]:
    return [[each.task.step for each in parcel] for parcel in parcels]


def test_steps_of_which_nothing_is_known_go_alone() -> None:
    waits = backlog(*(waiting(f"s{n}") for n in range(10)))
    assert steps(waits.parcels(LINE, 4, 4, Pace())) == [["s0"], ["s1"], ["s2"], ["s3"]]
    assert len(waits) == 6


def test_short_steps_go_many_to_a_message_and_long_ones_alone() -> None:
    many = [waiting(f"s{n}") for n in range(1000)]
    assert [len(each) for each in backlog(*many).parcels(LINE, 2, 4, pace(0.00014))] == [128, 128]
    assert [len(each) for each in backlog(*many).parcels(LINE, 2, 4, pace(0.002))] == [45, 45]
    assert [len(each) for each in backlog(*many).parcels(LINE, 2, 4, pace(0.03))] == [3, 3]
    assert [len(each) for each in backlog(*many).parcels(LINE, 2, 4, pace(10.0))] == [1, 1]


def test_who_wants_to_travels_alone() -> None:
    shy = waiting("shy")
    shy = shy._replace(task=msgspec.structs.replace(shy.task, alone=True))
    waits = backlog(waiting("a"), shy, waiting("b"), waiting("c"))
    assert steps(waits.parcels(LINE, 9, 1, pace(0.0001))) == [["a"], ["shy"], ["b", "c"]]


def test_no_slot_starves_where_there_is_little() -> None:
    few = [waiting(f"s{n}") for n in range(8)]
    assert [len(each) for each in backlog(*few).parcels(LINE, 4, 4, pace(0.01))] == [2, 2, 1, 1]


def test_so_little_that_one_message_takes_less_time_than_two_is_not_divided() -> None:
    few = [waiting(f"s{n}") for n in range(20)]
    assert [len(each) for each in backlog(*few).parcels(LINE, 4, 4, pace(0.0001))] == [13, 7]
    assert [len(each) for each in backlog(*few).parcels(LINE, 4, 4, pace(0.0018))] == [5, 4, 3, 2]


def test_a_chain_counts_with_all_its_steps() -> None:
    chains = [waiting(f"s{n}", then=80) for n in range(8)]
    assert [len(each) for each in backlog(*chains).parcels(LINE, 1, 1, pace(0.00001))] == [1]


def test_runs_take_turns() -> None:
    waits = backlog(waiting("a0", "a"), waiting("a1", "a"), waiting("b0", "b"))
    assert steps(waits.parcels(LINE, 1, 4, Pace())) == [["a0"]]
    assert steps(waits.parcels(LINE, 1, 4, Pace())) == [["b0"]]
    assert steps(waits.parcels(LINE, 1, 4, Pace())) == [["a1"]]
    assert waits.parcels(LINE, 1, 4, Pace()) == []


def test_the_most_urgent_line_comes_first() -> None:
    assert backlog(waiting("a"), waiting("b", line=URGENT)).lines() == [URGENT, LINE]


def test_what_comes_back_goes_first_and_never_with_what_is_new() -> None:
    waits = backlog(waiting("new"), waiting("newer"))
    waits.put_back([waiting("back", again=True), waiting("too", again=True)])
    assert steps(waits.parcels(LINE, 4, 1, pace(0.0001))) == [["back", "too"]]
    assert steps(waits.parcels(LINE, 4, 1, pace(0.0001))) == [["new", "newer"]]


def test_what_is_here_twice_is_here_once() -> None:
    waits = backlog(waiting("a"), waiting("a"))
    waits.put_back([waiting("a")])
    assert steps(waits.parcels(LINE, 4, 4, Pace())) == [["a"]]
    waits.put(waiting("a"))
    assert len(waits) == 1


def test_canceled_steps_and_ended_runs_leave_nothing() -> None:
    waits = backlog(waiting("a"), waiting("b"), waiting("c", "other"), waiting("d", line=URGENT))
    waits.withdraw(RunId("r"), {StepKey("a"), StepKey("d")})
    assert steps(waits.parcels(LINE, 1, 4, Pace())) == [["b"]]
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


def test_a_later_attempt_takes_the_place_of_an_earlier_one_and_never_the_other_way() -> None:
    old, new = waiting("a"), waiting("a", attempt=2)
    for waits in (backlog(old, new), backlog(new, old)):
        waits.put_back([old])
        assert len(waits) == 1
        assert [each.task.attempt for parcel in waits.parcels(LINE, 9, 1, pace(0.0001)) for each in parcel] == [2]
        assert len(waits) == 0
