"""The executor on a real Redis, with no worker but what a test does in its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from executors.celery import executor as celery_executor
from executors.celery.executor import CeleryExecutor
from opgrid.broker.connection import connect
from opgrid.broker.deployment import QUIET, STREAM_TTL, OtherDatabase, take_over
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.messages import seal_events, seal_returned
from opgrid.broker.protocol import Attempt, Beat, Protocol, Said
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import (
    AnyEvent,
    EngineNote,
    LossCause,
    StepCanceled,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.executor import ExecutorSetup
from opgrid.contracts.tasks import CodeTarget, JobRef, RunBrief, StepTask
from opgrid.errors import BrokerUnreachable
from opgrid.ids import NodePath, RunId, StepKey
from tests.unit.broker.claims import claim

RUN, STREAM = RunId("r"), "s"
BRIEF = RunBrief(RUN, JobRef("job", "hash"), ExecutorChoice("celery"), stream=STREAM)


def task(step: str) -> StepTask:
    return StepTask(RUN, StepKey(step), NodePath("op"), op="op")


def at(step: str) -> Attempt:
    return Attempt(RUN, STREAM, step, 1)


@pytest.fixture
def executor(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CeleryExecutor]:
    monkeypatch.setenv("OPGRID_LEASE_TTL", "0.4")
    code = CodeTarget(module="tests.none", working_directory=str(tmp_path))
    made = CeleryExecutor.create(ExecutorSetup({}, str(tmp_path), code, None, redis_url, STREAM, None))
    yield made
    made.close()


@pytest.fixture
def worker(redis_url: str, executor: CeleryExecutor) -> Iterator[Protocol]:
    made = Protocol(redis_url, executor.keys, "worker")
    yield made
    made.close()


def messages(executor: CeleryExecutor, worker: Protocol) -> int:
    """That wait for a worker."""
    lists = executor.keys.queue_lists("opgrid")
    return sum(int(worker.client.llen(each)) for each in lists)  # type: ignore[arg-type]


def heard(executor: CeleryExecutor, kind: type[AnyEvent], step: str) -> AnyEvent:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        for event in executor.poll(0.1).events:
            if isinstance(event, kind) and event.step == step:  # type: ignore[attr-defined]
                return event
    raise AssertionError(f"no {kind.__name__} of {step}")


def until_told(executor: CeleryExecutor, worker: Protocol) -> None:
    until = time.monotonic() + 20
    while not worker.told_all(STREAM):
        assert time.monotonic() < until
        executor.poll(0.05)


def fails_once(monkeypatch: pytest.MonkeyPatch, protocol: Protocol, name: str, after_its_work: bool) -> None:
    whole, failures = getattr(protocol, name), [1]

    def shaky(*args: Any, **more: Any) -> Any:
        if failures and not after_its_work:
            failures.pop()
            raise BrokerUnreachable(protocol.url, "for a test")
        said = whole(*args, **more)
        if failures:
            failures.pop()
            raise BrokerUnreachable(protocol.url, "for a test")
        return said

    monkeypatch.setattr(protocol, name, shaky)


def test_a_canceled_step_is_watched_though_nobody_knew_that_it_was_sent(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_once(monkeypatch, executor._protocol, "publish", after_its_work=True)
    with pytest.raises(BrokerUnreachable):
        executor.submit(BRIEF, [task("a")])
    assert claim(worker, at("a"), "c1", "w", b"") is Said.OK
    executor.cancel(RUN, [(StepKey("a"), 1)])  # a worker has it: it is told, and dies
    heard(executor, StepCanceled, "a")


def test_an_attempt_whose_end_was_read_before_it_is_submitted_again_is_lost_though_nothing_else_comes(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    executor.submit(BRIEF, [task("a")])
    assert claim(worker, at("a"), "c1", "w", b"") is Said.OK
    done = StepSucceeded(run_id=RUN, at=time.time(), step=StepKey("a"), attempt=1)
    assert worker.finish(at("a"), "c1", seal_events([done], executor.ring)) is Said.OK
    heard(executor, StepSucceeded, "a")
    position = executor.poll(0.0).position
    heir = CeleryExecutor.create(executor.setup)
    try:
        heir.resume_at(position)
        heir.submit(BRIEF, [task("a")])
        heard(heir, StepLost, "a")
    finally:
        heir.close()


@pytest.fixture
def own_server() -> Iterator[EmbeddedRedis]:
    """Whose settings a test may change, and which knows ann, whose password is a secret."""
    with EmbeddedRedis.start() as server:
        with connect(server.url) as client:
            rights: Any = {"commands": ["+@all"], "keys": ["*"], "channels": ["*"]}
            client.acl_setuser("ann", enabled=True, passwords=["+secret"], **rights)
        yield server


@pytest.fixture
def own_executor(own_server: EmbeddedRedis, tmp_path: Path) -> Iterator[CeleryExecutor]:
    url = own_server.url.replace("://", "://ann:secret@")
    code = CodeTarget(module="tests.none", working_directory=str(tmp_path))
    made = CeleryExecutor.create(ExecutorSetup({}, str(tmp_path), code, None, url, STREAM, None))
    yield made
    made.close()


def is_nearly_full(client: redis.Redis) -> None:
    client.setrange("much", 2**24, b"x")  # beside which it does not matter what connections take
    used: Any = client.info("memory")
    client.config_set("maxmemory", int(used["used_memory"] * 1.1))


def evicts(client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")


@pytest.mark.parametrize(("unfit", "why"), [(is_nearly_full, "nearly full"), (evicts, "allkeys-lru")])
def test_what_waits_for_a_redis_that_is_sent_no_steps_is_told_of_and_can_be_canceled(
    own_server: EmbeddedRedis,
    own_executor: CeleryExecutor,
    caplog: pytest.LogCaptureFixture,
    unfit: Callable[[redis.Redis], None],
    why: str,
) -> None:
    executor = own_executor
    with connect(own_server.url) as client:
        unfit(client)
        executor.submit(BRIEF, [task("a"), task("b")])
        told = [event for _ in range(5) for event in executor.poll(0.05).events]
        assert [type(event) for event in told] == [EngineNote]
        assert why in told[0].message  # type: ignore[union-attr]
        assert "secret" not in told[0].message  # type: ignore[union-attr]
        assert [why in message for message in caplog.messages] == [True]
        executor.cancel(RUN, [(StepKey("a"), 1)])
        heard(executor, StepCanceled, "a")
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        executor.poll(0)
        assert sum(client.llen(each) for each in executor.keys.queue_lists("opgrid")) == 1  # type: ignore[misc]


def test_what_travels_with_a_step_that_ended_before_it_was_known_to_be_sent_is_canceled_with_it(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_once(monkeypatch, executor._protocol, "publish", after_its_work=True)
    tasks = [msgspec.structs.replace(task("a"), then=(msgspec.structs.replace(task("b"), after=(StepKey("a"),)),))]
    with pytest.raises(BrokerUnreachable):
        executor.submit(BRIEF, tasks)
    assert claim(worker, at("a"), "c1", "w", b"") is Said.OK
    done = StepSucceeded(run_id=RUN, at=time.time(), step=StepKey("a"), attempt=1)
    assert worker.finish(at("a"), "c1", seal_events([done], executor.ring)) is Said.OK
    executor.submit(BRIEF, tasks)
    executor.cancel(RUN, [(StepKey("a"), 1)])
    assert claim(worker, at("b"), "c2", "w", b"") is not Said.OK


def test_what_is_read_counts_though_what_came_back_with_it_cannot_be_canceled_yet(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.submit(BRIEF, [task("a"), task("b")])
    for step in "ab":
        assert claim(worker, at(step), f"c-{step}", "w", b"") is Said.OK
    executor.cancel(RUN, [(StepKey("b"), 1)])
    done = StepSucceeded(run_id=RUN, at=time.time(), step=StepKey("a"), attempt=1)
    fails_once(monkeypatch, executor._protocol, "cancel", after_its_work=False)
    worker.exchange(
        RUN,
        STREAM,
        "w",
        returned=[(at("b").step, "c-b")],
        notice=seal_returned([(RUN, StepKey("b"), 1)], executor.ring),
    )
    assert worker.finish(at("a"), "c-a", seal_events([done], executor.ring)) is Said.OK
    heard(executor, StepSucceeded, "a")
    heard(executor, StepCanceled, "b")


def test_all_that_comes_back_of_a_canceled_run_is_canceled_in_one_go(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ["a", "b", "c"]
    executor.submit(BRIEF, [task(step) for step in steps])
    for step in steps:
        assert claim(worker, at(step), f"c-{step}", "w", b"") is Said.OK
    executor.cancel(RUN, [(StepKey(step), 1) for step in steps])
    notice = seal_returned([(RUN, StepKey(step), 1) for step in steps], executor.ring)
    worker.exchange(RUN, STREAM, "w", returned=[(step, f"c-{step}") for step in steps], notice=notice)
    told: list[int] = []
    cancel = executor._protocol.cancel

    def counted(run_id: str, stream: str, marks: Any) -> list[Said]:
        told.append(len(marks))
        return cancel(run_id, stream, marks)

    monkeypatch.setattr(executor._protocol, "cancel", counted)
    assert isinstance(heard(executor, StepCanceled, "a"), StepCanceled)
    assert told == [3]


def test_what_is_given_back_twice_is_sent_again_once(executor: CeleryExecutor, worker: Protocol) -> None:
    executor.submit(BRIEF, [task("a")])
    assert claim(worker, at("a"), "c1", "w", b"") is Said.OK
    notice = seal_returned([(RUN, StepKey("a"), 1)], executor.ring)
    for _ in range(2):
        worker.exchange(RUN, STREAM, "w", returned=[(at("a").step, "c1")], notice=notice)
    executor.poll(0.2)
    assert len(executor._flights) == 1
    assert claim(worker, at("a"), "c2", "another", b"") is Said.OK


def test_a_start_that_is_read_again_after_its_claim_was_given_back_costs_no_attempt(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    executor.submit(BRIEF, [task("a")])
    start = StepStarted(run_id=RUN, at=time.time(), step=StepKey("a"), attempt=1, claim="c1")
    sealed = seal_events([start], executor.ring)
    assert claim(worker, at("a"), "c1", "w", sealed) is Said.OK
    notice = seal_returned([(RUN, StepKey("a"), 1)], executor.ring)
    worker.exchange(RUN, STREAM, "w", returned=[("a", "c1")], notice=notice)
    events: list[AnyEvent] = []

    def poll_until_there_are(wanted: int) -> None:
        until = time.monotonic() + 20
        while messages(executor, worker) < wanted and time.monotonic() < until:
            events.extend(executor.poll(0.1).events)

    poll_until_there_are(2)
    worker.append(STREAM, sealed)
    poll_until_there_are(3)
    assert [type(event) for event in events] == [StepStarted, StepStarted]
    assert claim(worker, at("a"), "c2", "another", b"") is Said.OK


def test_what_redis_has_not_yet_answered_is_not_taken_for_nothing(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step has ended when it is submitted again; no ring breaks off to read that from a slow Redis."""
    fails_once(monkeypatch, executor._protocol, "publish", after_its_work=True)
    with pytest.raises(BrokerUnreachable):
        executor.submit(BRIEF, [task("a")])
    assert claim(worker, at("a"), "c1", "w", b"") is Said.OK
    done = StepSucceeded(run_id=RUN, at=time.time(), step=StepKey("a"), attempt=1)
    assert worker.finish(at("a"), "c1", seal_events([done], executor.ring)) is Said.OK
    executor.submit(BRIEF, [task("a")])
    assert executor._over
    with monkeypatch.context() as patch:
        patch.setattr(executor._hearing._tail, "_wait", lambda seconds: (False, True))
        assert executor._read(10.0) == [done]
    assert not executor._over


def test_who_waits_for_a_broker_that_is_away_is_woken(
    executor: CeleryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def away(block: float) -> list[AnyEvent]:
        looked.set()
        raise BrokerUnreachable(executor.url, "for a test")

    monkeypatch.setattr(executor, "_read", away)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(executor.poll, 55.0)
        assert looked.wait(20)
        executor.wake()
        assert list(waiting.result(30).events) == []


def test_steps_that_are_out_together_are_one_message(executor: CeleryExecutor, worker: Protocol) -> None:
    after = msgspec.structs.replace(task("c"), after=(StepKey("a"), StepKey("b")))
    executor.submit(BRIEF, [msgspec.structs.replace(task("a"), then=(task("b"), after)), task("b")])
    assert messages(executor, worker) == 1
    assert {flight.at.step for flight in executor._flights} == {"a", "b"}
    for step in "ab":
        assert claim(worker, at(step), f"c-{step}", "w", b"") is Said.OK


def test_who_is_given_back_before_it_was_out_is_sent_when_it_is(executor: CeleryExecutor, worker: Protocol) -> None:
    after = msgspec.structs.replace(task("c"), after=(StepKey("a"),))
    executor.submit(BRIEF, [msgspec.structs.replace(task("a"), then=(after,))])
    assert claim(worker, at("a"), "c-a", "w", b"") is Said.OK
    worker.exchange(RUN, STREAM, "w", notice=seal_returned([(RUN, StepKey("c"), 1)], executor.ring))
    executor.poll(0.2)
    assert messages(executor, worker) == 1
    executor.submit(BRIEF, [task("c")])
    assert messages(executor, worker) == 2
    assert claim(worker, at("c"), "c-c", "w", b"") is Said.OK


def test_a_message_that_was_lost_is_not_sent_again_with_what_is_sent_on_its_own(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    executor.submit(BRIEF, [msgspec.structs.replace(task("a"), then=(task("b"),)), task("b")])
    worker.client.delete(*executor.keys.queue_lists("opgrid"))
    until = time.monotonic() + 20
    while not messages(executor, worker) and time.monotonic() < until:
        executor.poll(0.1)
    flights = {flight.at.step: flight for flight in executor._flights}
    assert flights.keys() == {"a", "b"}
    assert not any(flight.task.then for flight in flights.values() if flight.task is not None)


def test_what_came_claimed_to_a_process_that_has_died_is_sent_again(executor: CeleryExecutor, worker: Protocol) -> None:
    """It waited for more of the run, and got the message into its hand with its last breath."""
    content = executor._briefs.stored(BRIEF).content
    hand, queue = executor.keys.hand("of the dead"), executor.keys.queue("opgrid", 0)
    worker.client.set(f"{hand}:open", "c1 w 1")
    worker.client.rpush(executor.keys.hands(content, queue), hand)
    executor.submit(BRIEF, [task("a")])
    assert claim(worker, at("a"), "c2", "w", b"") is Said.TAKEN
    assert messages(executor, worker) == 0
    until = time.monotonic() + 20
    while not messages(executor, worker):
        assert time.monotonic() < until
        executor.poll(0.05)
    assert claim(worker, at("a"), "c2", "w", b"") is Said.OK


def test_with_a_message_that_was_lost_its_brief_is_stored_again(executor: CeleryExecutor, worker: Protocol) -> None:
    """Who does not find it throws the message away."""
    executor.submit(BRIEF, [task("a")])
    (brief,) = worker.client.keys(executor.keys.brief("*"))  # type: ignore[misc]
    lists = executor.keys.queue_lists("opgrid")
    worker.client.delete(brief, *lists)
    until = time.monotonic() + 20
    while not messages(executor, worker) and time.monotonic() < until:
        executor.poll(0.05)
    assert messages(executor, worker) == 1
    assert worker.client.exists(brief)


@pytest.mark.parametrize("after_its_work", [False, True])
def test_what_was_published_though_nobody_heard_of_it_is_in_the_queue_once(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch, after_its_work: bool
) -> None:
    fails_once(monkeypatch, executor._protocol, "publish", after_its_work)
    behind = msgspec.structs.replace(task("b"), after=(StepKey("a"),))
    tasks = [msgspec.structs.replace(task("a"), then=(behind,))]
    with pytest.raises(BrokerUnreachable):
        executor.submit(BRIEF, tasks)
    executor.submit(BRIEF, tasks)
    executor.submit(BRIEF, [task("b")])  # what it waited for was accepted meanwhile
    assert messages(executor, worker) == 1
    assert worker.client.keys(executor.keys.brief("*"))


def test_a_redis_that_was_emptied_is_told_of_all_that_is_out_and_knows_so(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    """Whose end was heard is not out any more: its worker, which may not have heard that, has to learn it."""
    behind = msgspec.structs.replace(task("c"), after=(StepKey("b"),))
    executor.submit(BRIEF, [task("a"), msgspec.structs.replace(task("b"), then=(behind,))])
    for step in "ab":
        assert claim(worker, at(step), f"c-{step}", "w", b"") is Said.OK
    done = [StepSucceeded(run_id=RUN, at=time.time(), step=StepKey(step), attempt=1) for step in "abc"]
    ends = [seal_events([each], executor.ring) for each in done]
    assert worker.finish(at("a"), "c-a", ends[0]) is Said.OK
    heard(executor, StepSucceeded, "a")
    before = worker.told_all(STREAM)
    assert before
    worker.client.flushdb()
    assert worker.told_all(STREAM) == b""
    until_told(executor, worker)
    assert worker.told_all(STREAM) != before
    assert worker.finish(at("a"), "c-a", ends[0]) is Said.UNKNOWN
    assert worker.finish(at("c"), "c-c", ends[2]) is Said.OK  # it travels with one that is out
    assert worker.finish(at("b"), "c-b", ends[1]) is Said.OK


def test_a_redis_that_goes_away_while_it_is_told_is_told_of_every_run_when_it_is_back(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [RunId("r"), RunId("r2"), RunId("r3")]
    for run in runs:
        brief = msgspec.structs.replace(BRIEF, run_id=run)
        executor.submit(brief, [msgspec.structs.replace(task("a"), run_id=run)])
        assert claim(worker, at("a")._replace(run_id=run), "c", "w", b"") is Said.OK
    until_told(executor, worker)
    worker.client.flushdb()
    fails_once(monkeypatch, executor._protocol, "publish", after_its_work=False)
    until_told(executor, worker)
    for run in runs:
        end = seal_events([StepSucceeded(run_id=run, at=time.time(), step=StepKey("a"), attempt=1)], executor.ring)
        assert worker.finish(at("a")._replace(run_id=run), "c", end) is Said.OK


def test_what_was_canceled_by_who_took_over_is_not_sent_by_who_was_frozen_as_it_did_so(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    heir = CeleryExecutor.create(executor.setup._replace(stream=executor.stream))
    assert heir.recover(BRIEF) == frozenset()
    heir.cancel(RUN, [(StepKey("a"), 1)])
    assert [type(event) for event in heir.poll(5.0).events] == [StepCanceled]
    executor.submit(BRIEF, [task("a")])
    assert not messages(executor, worker)
    assert claim(worker, at("a"), "c", "w", b"") is Said.DONE
    heir.close()


def test_what_who_took_over_has_released_is_not_sent_by_who_was_frozen_as_it_did_so(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    heir = CeleryExecutor.create(executor.setup._replace(stream=executor.stream))
    brief = msgspec.structs.replace(BRIEF, created=1000.0)
    assert heir.recover(brief) == frozenset()
    heir.release(RUN)
    executor.submit(brief, [task("a")])
    assert not messages(executor, worker)
    assert claim(worker, at("a"), "c", "w", b"") is Said.GONE
    heir.close()


def test_a_redis_that_is_emptied_is_told_again_what_who_took_over_has_canceled(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    assert executor.recover(BRIEF) == frozenset()
    executor.cancel(RUN, [(StepKey("a"), 1)])
    worker.client.flushdb()
    assert isinstance(heard(executor, StepCanceled, "a"), StepCanceled)


def test_with_nothing_out_a_redis_that_was_emptied_is_told_so_too(executor: CeleryExecutor, worker: Protocol) -> None:
    executor.submit(BRIEF, [task("a")])
    assert claim(worker, at("a"), "c-a", "w", b"") is Said.OK
    end = seal_events([StepSucceeded(run_id=RUN, at=time.time(), step=StepKey("a"), attempt=1)], executor.ring)
    assert worker.finish(at("a"), "c-a", end) is Said.OK
    heard(executor, StepSucceeded, "a")
    executor.release(RUN)
    worker.client.flushdb()
    until_told(executor, worker)
    assert worker.finish(at("a"), "c-a", end) is Said.UNKNOWN


def succeeded(executor: CeleryExecutor, step: str) -> bytes:
    return seal_events([StepSucceeded(run_id=RUN, at=time.time(), step=StepKey(step), attempt=1)], executor.ring)


def test_what_waits_at_who_took_over_is_known_to_redis_before_it_is_sent(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what another had sent, and Redis has lost, some waits here for a free worker, while one has it."""
    monkeypatch.setattr(executor, "_dispatch", lambda: None)
    executor.recover(BRIEF)
    executor.submit(BRIEF, [task("a"), task("b")])
    executor.poll(0.0)
    assert worker.told_all(STREAM)
    assert worker.finish(at("a"), "c-a", succeeded(executor, "a")) is Said.OK
    assert worker.finish(at("other"), "c", succeeded(executor, "other")) is Said.UNKNOWN
    monkeypatch.undo()
    heard(executor, StepSucceeded, "a")
    executor.poll(0.0)
    assert messages(executor, worker) == 1  # for the other one
    assert claim(worker, at("b"), "c-b", "w", b"") is Said.OK


def test_what_waits_at_who_took_over_is_told_to_the_next_redis_too(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "_dispatch", lambda: None)
    executor.recover(BRIEF)
    executor.submit(BRIEF, [task("a")])
    until_told(executor, worker)
    worker.client.flushdb()
    until_told(executor, worker)
    assert worker.finish(at("a"), "c-a", succeeded(executor, "a")) is Said.OK


def test_what_waits_to_be_sent_again_is_told_to_the_next_redis_too(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have claimed it meanwhile, and Redis have lost that."""
    executor.submit(BRIEF, [task("a")])
    until_told(executor, worker)
    monkeypatch.setattr(executor, "_dispatch", lambda: None)
    executor._send_again(list(executor._flights))
    worker.client.flushdb()
    until_told(executor, worker)
    assert worker.finish(at("a"), "c-a", succeeded(executor, "a")) is Said.OK


def test_what_had_begun_before_redis_was_emptied_goes_on_where_its_worker_lives(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    """And is sent again where it does not."""
    assert executor.recover(BRIEF) == frozenset()
    begun = {(StepKey("a"), 1), (StepKey("b"), 1)}
    assert executor.may_go_on(BRIEF, begun) == begun
    executor.submit(BRIEF, [task("a"), task("b")])
    assert not messages(executor, worker)
    until, number = time.monotonic() + 20, 0
    while not messages(executor, worker) and time.monotonic() < until:
        number += 1
        assert worker.beat([Beat(at("a"), "c-a", number, "w")]) == [Said.OK]
        executor.poll(0.05)
    assert messages(executor, worker) == 1
    assert claim(worker, at("b"), "c-b", "w", b"") is Said.OK
    assert worker.finish(at("a"), "c-a", succeeded(executor, "a")) is Said.OK
    heard(executor, StepSucceeded, "a")


def test_what_had_begun_before_redis_was_emptied_is_lost_once_its_worker_is_silent(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    executor.recover(BRIEF)
    executor.may_go_on(BRIEF, {(StepKey("a"), 1)})
    executor.submit(BRIEF, [task("a")])
    assert worker.beat([Beat(at("a"), "c-a", 1, "w")]) == [Said.OK]
    heard(executor, StepLost, "a")


def test_a_redis_that_has_lost_nothing_is_not_told_again_of_what_waits(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    until_told(executor, worker)
    monkeypatch.setattr(executor, "_all_is_told", False)  # as who takes over begins
    monkeypatch.setattr(executor, "_dispatch", lambda: None)
    executor.recover(BRIEF)
    executor.submit(BRIEF, [task("a")])
    assert not worker.client.exists(executor.keys.run(RUN))


def test_while_what_it_took_over_cannot_be_submitted_nobody_is_told_that_all_is_known(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.recover(BRIEF)
    fails_once(monkeypatch, executor._protocol, "publish", after_its_work=False)
    with pytest.raises(BrokerUnreachable):
        executor.submit(BRIEF, [task("a")])
    monkeypatch.setattr(executor, "_dispatch", lambda: None)
    executor.poll(0.0)
    assert worker.told_all(STREAM) == b""
    executor.submit(BRIEF, [task("a")])
    executor.poll(0.0)
    assert worker.told_all(STREAM)


def test_with_a_process_that_died_the_rest_of_its_message_is_sent_again_at_once(
    executor: CeleryExecutor, worker: Protocol
) -> None:
    executor.submit(BRIEF, [msgspec.structs.replace(task("a"), then=(task("b"),)), task("b")])
    worker.client.delete(*executor.keys.queue_lists("opgrid"))
    assert claim(worker, at("a"), "c", "w", b"") is Said.OK
    lost = StepLost(run_id=RUN, at=1.0, step=StepKey("a"), attempt=1, cause=LossCause("killed", 9))
    assert worker.finish(at("a"), "c", seal_events([lost], executor.ring)) is Said.OK
    assert list(executor.poll(5.0).events) == [lost]
    assert messages(executor, worker) == 1


def test_a_message_that_is_lost_again_and_again_says_how_often_and_why_until_its_step_fails(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_executor, "_TOO_OFTEN", 4)
    executor.submit(BRIEF, [task("a")])
    said = []
    for _ in range(3):
        until = time.monotonic() + 20
        while not messages(executor, worker):
            assert time.monotonic() < until
            executor.poll(0.05)
        worker.client.delete(*executor.keys.queue_lists("opgrid"))
        note = heard(executor, EngineNote, "a")
        assert isinstance(note, EngineNote)
        said.append(note.message)
    first, second, third = said
    assert first == "The message of step 'a', attempt 1, was lost: it is sent again."
    assert second == "The message of step 'a', attempt 1, was lost, 2 times by now: it is sent again."
    assert "lost, 3 times by now" in third and "queue 'opgrid'" in third and "opgrid/start_timeout" in third
    until = time.monotonic() + 20
    while not messages(executor, worker):
        assert time.monotonic() < until
        executor.poll(0.05)
    worker.client.delete(*executor.keys.queue_lists("opgrid"))
    end = heard(executor, StepFailed, "a")
    assert isinstance(end, StepFailed)
    assert end.error.message.startswith(
        "No worker has started step 'a': its message was lost 4 times. Something takes messages out of the queue"
    )
    assert end.orphaned and not end.timed_out
    assert not len(executor._flights) and not messages(executor, worker)


def test_a_message_that_redis_forgot_with_its_run_is_sent_however_often_it_was_lost(
    executor: CeleryExecutor, worker: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_executor, "_TOO_OFTEN", 1)
    executor.submit(BRIEF, [task("a")])
    worker.client.delete(*executor.keys.queue_lists("opgrid"), executor.keys.run(RUN))
    until = time.monotonic() + 20
    while not messages(executor, worker):
        assert time.monotonic() < until
        executor.poll(0.05)
    assert claim(worker, at("a"), "c", "w", b"") is Said.OK


def of_database(url: str, home: Path, database: str) -> CeleryExecutor:
    code = CodeTarget(module="tests.none", working_directory=str(home))
    return CeleryExecutor.create(ExecutorSetup({}, str(home), code, None, url, STREAM, database=database))


@pytest.fixture
def shard(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CeleryExecutor]:
    """An executor of a service, whose database has the id a."""
    monkeypatch.setenv("OPGRID_LEASE_TTL", "0.4")
    made = of_database(redis_url, tmp_path, "a")
    yield made
    made.close()


def until_claimed_by(executor: CeleryExecutor, client: redis.Redis, database: bytes) -> None:
    until = time.monotonic() + 20
    while not (client.get(executor.keys.database) or b"").startswith(database):  # type: ignore[union-attr]
        assert time.monotonic() < until
        executor.poll(0.05)


def test_a_stream_of_shards_is_read_for_one_database(
    shard: CeleryExecutor, redis_url: str, tmp_path: Path, executor: CeleryExecutor
) -> None:
    with pytest.raises(OtherDatabase):
        of_database(redis_url, tmp_path, "b")
    of_database(redis_url, tmp_path, "a").close()  # another orchestrator of the same service
    assert shard.poll(0.0).events == executor.poll(0.0).events == []  # who has a stream of its own agrees on none


def test_while_a_stream_is_read_its_database_stays(shard: CeleryExecutor, redis_url: str) -> None:
    with connect(redis_url) as client:
        client.expire(shard.keys.database, 100)
        until = time.monotonic() + 20
        while client.ttl(shard.keys.database) <= 100:  # type: ignore[operator]
            assert time.monotonic() < until
            shard.poll(0.05)
        client.delete(shard.keys.database)
        until_claimed_by(shard, client, b"a ")


def test_who_has_a_stream_of_its_own_does_not_keep_the_database(executor: CeleryExecutor, redis_url: str) -> None:
    with connect(redis_url) as client:
        client.set(executor.keys.database, "a elsewhere", ex=100)
        executor._next_look = 0.0
        executor.poll(0.0)
        assert executor._next_look
        assert client.ttl(executor.keys.database) <= 100  # type: ignore[operator]


def test_a_redis_that_was_emptied_learns_the_database_again(shard: CeleryExecutor, redis_url: str) -> None:
    with connect(redis_url) as client:
        client.flushdb()
        until_claimed_by(shard, client, b"a ")


def test_whose_database_was_replaced_reads_no_more_and_throws_nothing_away(
    shard: CeleryExecutor, redis_url: str, worker: Protocol
) -> None:
    until_told(shard, worker)
    shard._next_look = time.monotonic() + 60  # it was looking just now
    with connect(redis_url) as client:
        client.expire(shard.keys.database, STREAM_TTL - QUIET)
        take_over(client, shard.keys, "b")
        note = EngineNote(run_id=RUN, at=1.0, message="of the other service")
        for _ in range(2):
            worker.append(STREAM, seal_events([note], shard.ring))
            polled = shard.poll(1.0)
            assert polled.events == [note]
        shard.acknowledge(polled.position)
        shard._next_trim = 0.0
        shard.poll(0.0)
        shard._next_look = 0.0
        with pytest.raises(OtherDatabase):
            shard.poll(1.0)
        shard.close()
        assert client.xlen(shard.keys.events(STREAM)) == 2


def test_a_stream_stays_whose_last_reader_closes_after_the_next_has_begun(
    shard: CeleryExecutor, worker: Protocol
) -> None:
    """One that was frozen while its lease ended, say."""
    until_told(shard, worker)
    worker.append(STREAM, seal_events([EngineNote(run_id=RUN, at=1.0, message="hi")], shard.ring))
    heir = CeleryExecutor.create(shard.setup)
    try:
        shard.close()
        names = [heir.keys.events(STREAM), heir.keys.told(STREAM)]
        until = time.monotonic() + 20
        while [worker.client.ttl(name) for name in names] != [-1, -1]:
            assert time.monotonic() < until
            heir.poll(0.05)
    finally:
        heir.close()


def test_the_stream_of_a_run_whose_process_dies_goes_in_time(executor: CeleryExecutor, worker: Protocol) -> None:
    until_told(executor, worker)
    worker.append(STREAM, seal_events([EngineNote(run_id=RUN, at=1.0, message="hi")], executor.ring))
    executor._next_look = 0.0
    executor.poll(0.0)  # the last thing that it does
    for name in (executor.keys.events(STREAM), executor.keys.told(STREAM)):
        assert 0 < worker.client.ttl(name) <= STREAM_TTL  # type: ignore[operator]


def test_who_goes_on_with_one_run_does_not_say_that_an_empty_redis_knows_of_all_others(
    shard: CeleryExecutor, worker: Protocol
) -> None:
    until_told(shard, worker)
    guest = CeleryExecutor.create(shard.setup._replace(guest=True))
    try:
        guest.recover(BRIEF)
        before = guest._hearing.generation
        worker.client.flushdb()
        until = time.monotonic() + 20
        while guest._hearing.generation == before:
            assert time.monotonic() < until
            guest.poll(0.05)
        assert not worker.told_all(STREAM)
    finally:
        guest.close()


def test_a_broker_that_is_away_is_asked_once_and_not_for_each_thing_that_is_due(
    executor: CeleryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time may take as long as a silent connection is waited for."""
    asked: list[str] = []

    def away(name: str) -> None:
        asked.append(name)
        raise BrokerUnreachable(executor.url, "for a test")

    monkeypatch.setattr(executor._serving, "tell_backlog", lambda _: away("figures"))
    monkeypatch.setattr(executor, "_look", lambda _: away("leases"))
    executor._next_look = 0.0
    assert executor.poll(0.0).events == []
    assert asked == ["figures"]
