"""Which queued runs may start."""

from __future__ import annotations

import random
from collections import Counter

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.ids import RunId
from orchestrator.coordinator.queue import QueueLimits, RunPools, RunTagLimit, choose
from orchestrator.storage.records import RunRecord


def run(name: str, job: str = "job", **tags: str) -> RunRecord:
    brief = RunBrief(RunId(name), JobRef(job, "h"), ExecutorChoice("celery"), tags=tags)
    return RunRecord(RunId(name), job, RunStatus.QUEUED, brief, "p", "s")


def started(queued: list[RunRecord], going: list[RunRecord], limits: QueueLimits) -> list[str]:
    return list(choose(queued, going, limits).start)


def test_the_limit_of_all_runs() -> None:
    queued = [run(str(number)) for number in range(5)]
    assert started(queued, [run("x")], QueueLimits(3)) == ["0", "1"]
    assert started(queued, [run("x")], QueueLimits(0)) == []
    assert started(queued, [run("x")], QueueLimits(-1)) == ["0", "1", "2", "3", "4"]
    waiting = choose(queued, [run("x")], QueueLimits(3)).waiting
    assert waiting["4"] == "3 runs go on, and max_concurrent_runs is 3."


def test_higher_priority_first_then_jobs_take_turns() -> None:
    queued = [run("a1", "a"), run("a2", "a"), run("a3", "a"), run("b1", "b")]
    queued.append(run("a4", "a", **{"dagster/priority": "1"}))
    queued.append(run("low", "b", **{"opgrid/priority": "-1"}))
    assert started(queued, [], QueueLimits(-1)) == ["a4", "a1", "b1", "a2", "a3", "low"]


def test_jobs_take_turns_however_few_runs_may_start_at_a_time() -> None:
    """With one slot the job that had its turn goes to the end of the line, whatever it has queued."""
    queued = [run(f"a{number}", "a") for number in range(6)] + [run(f"b{number}", "b") for number in range(2)]
    turns: dict[str, int] = {}
    order: list[str] = []
    while queued:
        (chosen,) = choose(queued, [], QueueLimits(1), turns=turns).start
        (record,) = [each for each in queued if each.run_id == chosen]
        turns[record.job] = len(order)
        order.append(chosen)
        queued.remove(record)
    assert order == ["a0", "b0", "a1", "b1", "a2", "a3", "a4", "a5"]


def test_a_job_whose_oldest_runs_have_to_wait_has_its_turn_with_a_later_one() -> None:
    limits = QueueLimits(3, (RunTagLimit("group", 1),))
    queued = [run(f"a{number}", "a") for number in range(4)]
    queued += [run("b0", "b", group="busy"), run("b1", "b", group="busy"), run("b2", "b")]
    choice = choose(queued, [run("x", group="busy")], limits, turns={"a": 0, "b": 1})
    assert choice.start == ["a0", "b2"]
    assert set(choice.waiting) == {"a1", "a2", "a3", "b0", "b1"}


def test_a_priority_that_cannot_be_read_counts_as_none() -> None:
    assert started([run("bad", **{"opgrid/priority": "high"}), run("good")], [], QueueLimits(-1)) == ["bad", "good"]


def test_tag_limits() -> None:
    limits = QueueLimits(
        -1, (RunTagLimit("db", 1, "small"), RunTagLimit("customer", 1, per_value=True), RunTagLimit("gpu", 2))
    )
    queued = [
        run("1", db="small"),
        run("2", db="small"),
        run("3", db="large"),
        run("4", customer="x"),
        run("5", customer="x"),
        run("6", customer="y"),
        run("7", gpu="a"),
        run("8", gpu="b"),
        run("9", gpu="c"),
    ]
    choice = choose(queued, [], limits)
    assert choice.start == ["1", "3", "4", "6", "7", "8"]
    assert choice.waiting == {
        "2": "1 runs with the tag db=small go on, and their limit is 1.",
        "5": "1 runs with the tag customer=x go on, and their limit is 1.",
        "9": "2 runs with the tag gpu go on, and their limit is 2.",
    }


def test_a_run_that_waits_for_its_tag_lets_others_pass() -> None:
    limits = QueueLimits(1, (RunTagLimit("db", 0),))
    assert started([run("held", db="x"), run("free")], [], limits) == ["free"]


def test_a_thousand_runs_never_exceed_their_limits() -> None:
    chance = random.Random(7)
    limits = QueueLimits(20, (RunTagLimit("db", 3, per_value=True), RunTagLimit("gpu", 2)))
    queued = []
    for number in range(1000):
        tags = {"db": chance.choice("abc")} if chance.random() < 0.5 else {}
        tags |= {"gpu": "1"} if chance.random() < 0.2 else {}
        queued.append(run(str(number), chance.choice(["a", "b"]), **tags))
    going: list[RunRecord] = []
    by_id = {each.run_id: each for each in queued}
    while queued:
        new = choose(queued, going, limits).start
        going += [by_id[each] for each in new]
        queued = [each for each in queued if each.run_id not in set(new)]
        databases = Counter(each.tags["db"] for each in going if "db" in each.tags)
        assert len(going) <= 20
        assert all(count <= 3 for count in databases.values())
        assert sum("gpu" in each.tags for each in going) <= 2
        assert new or going, "nothing moves"
        going.pop(chance.randrange(len(going)))


def test_a_pool_that_holds_back_whole_runs() -> None:
    queued = [run("1"), run("2"), run("3"), run("4")]
    of_run = {RunId("x"): frozenset({"db"}), RunId("1"): frozenset({"db"}), RunId("2"): frozenset({"db", "gpu"})}
    pools = RunPools({"db": 2, "gpu": 0}, {**of_run, RunId("3"): frozenset({"free"})})
    choice = choose(queued, [run("x")], QueueLimits(-1), pools)
    assert choice.start == ["1", "3", "4"]
    assert choice.waiting == {"2": "2 runs that need pool 'db' go on, and it has 2 slots."}
