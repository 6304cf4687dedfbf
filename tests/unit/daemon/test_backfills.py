"""Backfills: some at a time, in order, to their end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opgrid import Config, Definitions, job, op, static_partitioned_config
from opgrid.contracts.events import ErrorInfo, RunStarted
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import CodeTarget
from opgrid.definitions.partitions.base import in_ranges
from opgrid.errors import BackwardsRange, InvariantViolationError, UnknownPartitionError
from opgrid.ids import RunId
from orchestrator.daemon.backfills import Backfills
from orchestrator.daemon.retries import Retries
from orchestrator.locations.process import LocationAway, LocationBroken
from orchestrator.sections import RunRetries
from orchestrator.services import backfills
from orchestrator.services.submission import again
from orchestrator.storage.service_records import Backfill, BackfillOptions, BackfillStatus
from orchestrator.storage.sql.store import SqlStore
from tests.unit.daemon.here import Here

KEYS = [f"k{number:05}" for number in range(10_000)]


class Of(Config):
    key: str


@op
def work(config: Of) -> None: ...


@static_partitioned_config(KEYS)
def of_key(key: str) -> dict[str, Any]:
    if key == "k00666":
        raise ValueError("not this one")
    return {"ops": {"work": {"config": {"key": key}}}}


@job(config=of_key)
def many() -> None:
    work()


@static_partitioned_config([f"s{number}" for number in range(6)])
def alike(key: str) -> dict[str, Any]:
    return {"ops": {"work": {"config": {"key": "any"}}}}


@job(config=alike)
def same() -> None:
    work()


CODE = CodeTarget(module=__name__)
defs = Definitions(jobs=[many, same])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    yield made
    made.close()


def duty(store: SqlStore, clock: Callable[[], float] = time.time, here: Here | None = None) -> Backfills:
    locations: Any = [here or Here(store, CODE)]
    return Backfills(store, locations, clock, 10.0)


def ask(store: SqlStore, keys: list[str], **options: Any) -> Backfill:
    return backfills.request(store, CODE.location, "many", keys, BackfillOptions(**options))


def end(store: SqlStore, run_id: RunId, status: RunStatus) -> None:
    with store.turn() as turn:
        turn.append(run_id, [RunStarted(run_id=run_id, at=1.0)])
        turn.set_status(run_id, status, 2.0)


def state(store: SqlStore, backfill: Backfill) -> BackfillStatus:
    return backfills.find(store, backfill.backfill_id).status


def test_one_after_the_other(store: SqlStore) -> None:
    made = ask(store, KEYS[:4], at_once=1, tags={"why": "test"})
    daemon = duty(store)
    for number in range(4):
        daemon.turn()
        daemon.turn()
        launched = store.launched(made.origin)
        assert list(launched) == KEYS[: number + 1]
        run = store.run(launched[KEYS[number]])
        assert run is not None
        assert run.tags["opgrid/partition"] == KEYS[number]
        assert (run.tags["why"], run.tags["opgrid/backfill"]) == ("test", made.backfill_id)
        assert run.run_config == {"ops": {"work": {"config": {"key": KEYS[number]}}}}
        end(store, run.run_id, RunStatus.SUCCESS)
    daemon.turn()
    assert state(store, made) is BackfillStatus.COMPLETED_SUCCESS


def test_never_more_at_once_than_asked_for_and_none_twice_whoever_dies(store: SqlStore) -> None:
    chance = random.Random(3)
    made = ask(store, KEYS[:60], at_once=7)
    going: set[RunId] = set()
    daemon = duty(store)
    for _ in range(400):
        if chance.random() < 0.3:
            daemon = duty(store)
        daemon.turn()
        going |= {run_id for run_id in store.launched(made.origin).values()}
        statuses = store.statuses(sorted(going))
        open_ones = [run_id for run_id, status in statuses.items() if not status.is_final]
        assert len(open_ones) <= 7
        if open_ones:
            end(store, chance.choice(open_ones), RunStatus.SUCCESS)
        if state(store, made).is_final:
            break
    assert state(store, made) is BackfillStatus.COMPLETED_SUCCESS
    assert list(store.launched(made.origin)) == KEYS[:60]
    assert len(store.runs()) == 60


def test_a_failure_and_going_on_from_it(store: SqlStore) -> None:
    made = ask(store, KEYS[:3])
    daemon = duty(store)
    daemon.turn()
    first, second, third = store.launched(made.origin).values()
    for run_id, status in ((first, RunStatus.SUCCESS), (second, RunStatus.FAILURE), (third, RunStatus.SUCCESS)):
        end(store, run_id, status)
    daemon.turn()
    assert state(store, made) is BackfillStatus.COMPLETED_FAILED
    repeated = backfills.again(store, backfills.find(store, made.backfill_id))
    assert repeated.partitions == (KEYS[1],)
    daemon.turn()
    (run_id,) = store.launched(repeated.origin).values()
    run = store.run(run_id)
    assert run is not None
    assert (run.parent_run_id, run.tags["opgrid/partition"]) == (second, KEYS[1])


def test_cancel(store: SqlStore) -> None:
    made = ask(store, KEYS[:10], at_once=3)
    daemon = duty(store)
    daemon.turn()
    backfills.stop(store, backfills.find(store, made.backfill_id))
    daemon.turn()
    daemon.turn()
    assert state(store, made) is BackfillStatus.CANCELED
    assert {run.status for run in store.runs()} == {RunStatus.CANCELED}
    assert len(store.runs()) == 3
    with pytest.raises(InvariantViolationError, match="CANCELED"):
        backfills.stop(store, made)


def fail(store: SqlStore, run_id: RunId) -> None:
    assert store.fail_unstarted(run_id, "on purpose", time.time())


def retrying(store: SqlStore, times: int = 1) -> Callable[[], None]:
    """What failed is run again, from now on, when it is called."""
    made = Retries(store, RunRetries(enabled=True, max_retries=times))
    made.turn(store.instigators())
    return lambda: made.turn(store.instigators())


def test_one_that_was_canceled_is_not_run_again(store: SqlStore) -> None:
    retry, daemon = retrying(store), duty(store)
    made = ask(store, KEYS[:3])
    daemon.turn()
    before, after, _ = store.launched(made.origin).values()
    fail(store, before)
    retry()
    fail(store, after)
    backfills.stop(store, backfills.find(store, made.backfill_id))
    for _ in range(4):
        daemon.turn()
        retry()
    assert state(store, made) is BackfillStatus.CANCELED
    assert len(store.runs()) == 4
    assert all(run.status.is_final for run in store.runs())


def test_what_somebody_runs_again_by_hand_of_one_that_was_canceled_is_retried(store: SqlStore) -> None:
    retry, daemon = retrying(store), duty(store)
    made = ask(store, KEYS[:1])
    daemon.turn()
    (first,) = store.launched(made.origin).values()
    fail(store, first)
    backfills.stop(store, backfills.find(store, made.backfill_id))
    for _ in range(3):
        daemon.turn()
        retry()
    assert [run.run_id for run in store.runs()] == [first]
    (parent,) = store.runs()
    (by_hand,) = store.launch([again(store, parent)])
    fail(store, by_hand)
    retry()
    assert len(store.runs()) == 3


def test_one_that_is_canceled_while_a_run_of_it_is_run_again_cancels_that(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry, daemon = retrying(store), duty(store)
    made = ask(store, KEYS[:1])
    daemon.turn()
    fail(store, store.launched(made.origin)[KEYS[0]])
    commit = store.commit_tick

    def late(*given: Any) -> Any:
        backfills.stop(store, backfills.find(store, made.backfill_id))
        for _ in range(3):
            daemon.turn()
        return commit(*given)

    monkeypatch.setattr(store, "commit_tick", late)
    retry()
    for _ in range(3):
        daemon.turn()
    assert state(store, made) is BackfillStatus.CANCELED
    assert sorted(run.status for run in store.runs()) == [RunStatus.CANCELED, RunStatus.FAILURE]


@pytest.mark.parametrize("dies", [False, True])
def test_retries_count_among_those_at_once_and_their_end_as_that_of_the_partition(store: SqlStore, dies: bool) -> None:
    retry, daemon = retrying(store), duty(store)
    made = ask(store, KEYS[:3], at_once=1)
    for number in range(6):
        for _ in range(3):
            daemon = duty(store) if dies else daemon
            daemon.turn()
        going = [run for run in store.runs() if not run.status.is_final]
        assert [run.tags["opgrid/partition"] for run in going] == [KEYS[number // 2]]
        (run,) = going
        if number % 2:
            end(store, run.run_id, RunStatus.SUCCESS)
        else:
            fail(store, run.run_id)
            daemon.turn()
            retry()
    daemon.turn()
    assert state(store, made) is BackfillStatus.COMPLETED_SUCCESS
    assert store.launch_counts([made.origin]) == {made.origin: {RunStatus.SUCCESS: 3}}


def test_who_goes_on_from_a_failure_goes_on_from_the_last_retry(store: SqlStore) -> None:
    retry, daemon = retrying(store), duty(store)
    made = ask(store, KEYS[:1])
    for _ in range(2):
        daemon.turn()
        daemon.turn()
        assert state(store, made) is BackfillStatus.REQUESTED
        (run_id,) = store.latest_by([made.origin])[made.origin].values()
        fail(store, run_id)
        retry()
    daemon.turn()
    assert state(store, made) is BackfillStatus.COMPLETED_FAILED
    repeated = backfills.again(store, backfills.find(store, made.backfill_id))
    daemon.turn()
    (again,) = store.launched(repeated.origin).values()
    run = store.run(again)
    assert run is not None
    assert run.parent_run_id == run_id
    fail(store, again)
    retry()
    assert store.latest_by([repeated.origin])[repeated.origin][KEYS[0]] != again  # its retries are counted anew


def test_a_partition_that_cannot_be_run_ends_it_with_the_reason(store: SqlStore) -> None:
    made = ask(store, KEYS[660:670])
    duty(store).turn()
    found = backfills.find(store, made.backfill_id)
    assert found.status is BackfillStatus.COMPLETED_FAILED
    assert found.error is not None
    assert "'k00666' cannot be run" in found.error
    assert "not this one" in found.error
    assert list(store.launched(made.origin)) == KEYS[660:666]


def test_one_whose_code_nobody_has_waits_and_says_so(store: SqlStore) -> None:
    made = backfills.request(store, "elsewhere.py", "many", KEYS[:2], BackfillOptions())
    duty(store).turn()
    found = backfills.find(store, made.backfill_id)
    assert found.status is BackfillStatus.REQUESTED
    assert found.error == f"The daemon has no code location 'elsewhere.py'. It has: {CODE.location}."


def test_one_whose_code_does_not_load_yet_waits_for_it(store: SqlStore) -> None:
    made = ask(store, KEYS[:2])
    here = Here(store, CODE)
    here.loaded, here.error = None, ErrorInfo("SyntaxError", "invalid syntax (jobs.py, line 3)")
    daemon = duty(store, here=here)
    daemon.turn()
    found = backfills.find(store, made.backfill_id)
    assert found.status is BackfillStatus.REQUESTED
    assert found.error is not None
    assert found.error.endswith("is not loaded: invalid syntax (jobs.py, line 3)")
    here.loaded = 1.0
    daemon.turn()
    assert list(store.launched(made.origin)) == KEYS[:2]
    assert backfills.find(store, made.backfill_id).error is None


def test_a_process_that_breaks_is_asked_again_and_not_for_ever(store: SqlStore) -> None:
    now = [1000.0]
    breaks = [2]

    def mortal() -> None:
        if breaks[0]:
            breaks[0] -= 1
            raise LocationBroken("The process of code location 'jobs.py' ended with exit code 1.")

    for times, end_of_it in ((2, BackfillStatus.REQUESTED), (3, BackfillStatus.COMPLETED_FAILED)):
        made = ask(store, KEYS[:2])
        breaks[0] = times
        daemon = duty(store, lambda: now[0], Here(store, CODE, mortal))
        daemon.turn()
        assert "exit code 1. It is tried again." in str(backfills.find(store, made.backfill_id).error)
        daemon.turn()
        assert breaks[0] == times - 1  # it rests
        for _ in range(3):
            now[0] += 11
            daemon.turn()
        found = backfills.find(store, made.backfill_id)
        assert found.status is end_of_it
        assert (found.error is None) == (times == 2)
        assert len(store.launched(made.origin)) == (2 if times == 2 else 0)
        backfills.stop(store, found) if not found.status.is_final else None
        daemon.turn()


def test_a_code_server_that_is_away_is_waited_for(store: SqlStore) -> None:
    now, away = [1000.0], [True]

    def mortal() -> None:
        if away[0]:
            raise LocationAway("The code server at 10.0.0.7:4000 cannot be reached: refused.")

    made = ask(store, KEYS[:2])
    daemon = duty(store, lambda: now[0], Here(store, CODE, mortal))
    for _ in range(9):
        daemon.turn()
        assert "refused. It is tried again." in str(backfills.find(store, made.backfill_id).error)
        now[0] += 11
    away[0] = False
    daemon.turn()
    assert list(store.launched(made.origin)) == KEYS[:2]


def test_choosing_from_many_partitions_takes_no_time() -> None:
    keys = [f"k{number}" for number in range(50_000)]
    begin = time.process_time()
    assert backfills.chosen(keys, only=keys[10:], start=keys[5], end=keys[-1]) == keys[10:]
    assert time.process_time() - begin < 1.0


def test_which_partitions(store: SqlStore) -> None:
    made = ask(store, ["k00001", "k00002", "k00003"])
    duty(store).turn()
    for key, run_id in store.launched(made.origin).items():
        end(store, run_id, RunStatus.FAILURE if key == "k00002" else RunStatus.SUCCESS)
    last = backfills.last_runs(store, CODE.location, "many", KEYS)
    keys = KEYS[:6]
    assert backfills.chosen(keys) == keys
    assert backfills.chosen(keys, only=["k00003", "k00001"]) == ["k00001", "k00003"]
    assert backfills.chosen(keys, start="k00002", end="k00004") == ["k00002", "k00003", "k00004"]
    assert backfills.chosen(keys, last=last, missing=True) == ["k00000", "k00004", "k00005"]
    assert backfills.chosen(keys, last=last, failed=True) == ["k00002"]
    assert backfills.chosen(keys, end="k00004", last=last, failed=True, missing=True) == [
        "k00000",
        "k00002",
        "k00004",
    ]
    with pytest.raises(UnknownPartitionError, match="'k0002'. Did you mean"):
        backfills.chosen(keys, start="k0002")
    with pytest.raises(BackwardsRange, match="'k00004' to 'k00002' runs backwards"):
        backfills.chosen(keys, start="k00004", end="k00002")
    with pytest.raises(InvariantViolationError, match="no partition of 'many'"):
        ask(store, [])


def test_ten_thousand_partitions_do_not_slow_the_turn(store: SqlStore) -> None:
    """The work of a turn is bounded by what it launches, not by how many partitions there are."""
    made = ask(store, KEYS)
    daemon = duty(store)
    reads: list[int] = []
    before = store.statuses

    def counted(run_ids: Any) -> Any:
        reads.append(len(run_ids))
        return before(run_ids)

    store.statuses = counted  # type: ignore[method-assign]
    for _ in range(6):
        daemon.turn()
    assert len(store.launched(made.origin)) == 100
    assert max(reads) <= 100


def test_a_run_for_several_partitions_counts_for_each_of_them(store: SqlStore) -> None:
    keys = [f"s{number}" for number in range(6)]
    assert in_ranges(["s0", "s1", "s3", "s5", "s4"], keys) == ["s0...s1", "s3...s5"]
    made = backfills.request(store, CODE.location, "same", ["s0...s1", "s3...s5"], BackfillOptions())
    daemon = duty(store)
    daemon.turn()
    launched = store.launched(made.origin)
    assert list(launched) == ["s0...s1", "s3...s5"]
    run = store.run(launched["s3...s5"])
    assert run is not None
    assert run.tags["opgrid/partition_range"] == "s3...s5"
    end(store, launched["s0...s1"], RunStatus.FAILURE)
    end(store, launched["s3...s5"], RunStatus.SUCCESS)
    last = backfills.last_runs(store, CODE.location, "same", keys)
    assert {key: each.status.value for key, each in last.items()} == {
        **dict.fromkeys(["s0", "s1"], "FAILURE"),
        **dict.fromkeys(["s3", "s4", "s5"], "SUCCESS"),
    }
    assert backfills.chosen(keys, last=last, missing=True) == ["s2"]
    single = backfills.request(store, CODE.location, "same", ["s1"], BackfillOptions())
    daemon.turn()
    daemon.turn()
    end(store, store.launched(single.origin)["s1"], RunStatus.SUCCESS)
    assert backfills.chosen(keys, last=backfills.last_runs(store, CODE.location, "same", keys), failed=True) == ["s0"]


def test_partitions_of_a_job_with_the_same_name_elsewhere_do_not_count(store: SqlStore) -> None:
    made = ask(store, ["k00001"])
    duty(store).turn()
    end(store, store.launched(made.origin)["k00001"], RunStatus.SUCCESS)
    assert list(backfills.last_runs(store, CODE.location, "many", KEYS)) == ["k00001"]
    assert not backfills.last_runs(store, "elsewhere.py", "many", KEYS)


def test_a_key_that_is_too_long_to_launch_by_is_refused(store: SqlStore) -> None:
    with pytest.raises(InvariantViolationError, match="has 256 characters; in a backfill it may have 255"):
        backfills.request(store, "here", "many", ["short", "x" * 256], BackfillOptions())


def test_a_run_for_several_partitions_goes_on_once(store: SqlStore) -> None:
    keys = [f"s{number}" for number in range(6)]
    ranges = backfills.request(store, CODE.location, "same", ["s0...s1", "s2...s4", "s5"], BackfillOptions())
    daemon = duty(store)
    daemon.turn()
    runs = store.launched(ranges.origin)
    for run_id in runs.values():
        end(store, run_id, RunStatus.FAILURE)
    once = backfills.request(store, CODE.location, "same", ["s3"], BackfillOptions())
    daemon.turn()
    end(store, store.launched(once.origin)["s3"], RunStatus.SUCCESS)

    last = backfills.last_runs(store, CODE.location, "same", keys)
    wanted = backfills.chosen(keys, last=last, failed=True)
    assert wanted == ["s0", "s1", "s2", "s4", "s5"]
    asked, parents = backfills.from_failure(wanted, keys, last)
    assert asked == ["s0...s1", "s2", "s4", "s5"]  # of the second range one has succeeded since
    assert parents == {"s0...s1": runs["s0...s1"], "s5": runs["s5"]}
    assert backfills.from_failure(["s1"], keys, last) == (["s1"], {})

    options = BackfillOptions(parents=parents, spans=backfills.spans(asked, keys))
    repeated = backfills.request(store, CODE.location, "same", asked, options)
    assert backfills.find(store, repeated.backfill_id).size == 5
    daemon.turn()
    made = {run.run_id: run for run in store.runs()}
    found = [made[run_id] for run_id in store.launched(repeated.origin).values()]
    about = [
        (run.tags.get("opgrid/partition_range") or run.tags["opgrid/partition"], run.parent_run_id) for run in found
    ]
    assert about == [("s0...s1", runs["s0...s1"]), ("s2", None), ("s4", None), ("s5", runs["s5"])]

    end(store, store.launched(repeated.origin)["s2"], RunStatus.SUCCESS)
    assert backfills.again(store, repeated).size == 4
