from __future__ import annotations

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from executors.celery.flights import owner_of
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.keys import Keys, priority_step
from opgrid.broker.protocol import ABOARD, Attempt, Beat, Finished, Handed, Living, Outgoing, Protocol, Said, Wanted
from opgrid.errors import BrokerUnreachable
from opgrid.io.pending import Store
from tests.unit.broker.claims import claim

RUN, STREAM = "run-1", "s"
FIRST, SECOND = Attempt(RUN, STREAM, "a", 1), Attempt(RUN, STREAM, "a", 2)


@pytest.fixture
def protocol(redis_url: str) -> Iterator[Protocol]:
    made = Protocol(redis_url, Keys(), "test")
    yield made
    made.close()


def publish(protocol: Protocol, *attempts: Attempt, again: bool = False) -> list[Said]:
    outgoing = [Outgoing("queue", f"{at.step}{at.attempt}".encode(), [(at.step, at.attempt)]) for at in attempts]
    return protocol.publish(RUN, STREAM, outgoing, again)


def queue(protocol: Protocol) -> list[bytes]:
    return list(protocol.client.lrange("queue", 0, -1))


def events(protocol: Protocol) -> list[bytes]:
    return [fields[b"d"] for _, fields in protocol.client.xrange(protocol.keys.events(STREAM))]


def test_the_life_of_an_attempt(protocol: Protocol) -> None:
    assert publish(protocol, FIRST) == [Said.SENT]
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.OK
    assert protocol.begin_report(FIRST, "c1", b"log")() is Said.OK
    assert protocol.beat([Beat(FIRST, "c1", 1, "w")]) == [Said.OK]
    assert protocol.finish(FIRST, "c1", b"done") is Said.OK
    assert events(protocol) == [b"started", b"log", b"done"]
    assert not protocol.client.exists(protocol.keys.leases(STREAM))


def test_every_call_may_arrive_twice(protocol: Protocol) -> None:
    assert [publish(protocol, FIRST) for _ in range(2)] == [[Said.SENT], [Said.KNOWN]]
    assert queue(protocol) == [b"a1"]
    assert [claim(protocol, FIRST, "c1", "w", b"started") for _ in range(2)] == [Said.OK] * 2
    assert [protocol.finish(FIRST, "c1", b"done") for _ in range(2)] == [Said.OK] * 2
    assert events(protocol) == [b"started", b"done"]
    assert publish(protocol, FIRST) == [Said.STALE]


def test_a_second_message_finds_the_step_taken_then_done(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.OK
    assert claim(protocol, FIRST, "c2", "v", b"started again") is Said.TAKEN
    protocol.finish(FIRST, "c1", b"done")
    assert claim(protocol, FIRST, "c2", "v", b"started again") is Said.DONE
    assert events(protocol) == [b"started", b"done"]


def test_a_newer_attempt_fences_the_older_one(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started 1")
    publish(protocol, SECOND)
    assert protocol.finish(FIRST, "c1", b"late") is Said.STALE
    assert claim(protocol, FIRST, "c9", "w", b"late") is Said.STALE
    assert protocol.beat([Beat(FIRST, "c1", 1, "w")]) == [Said.STALE]
    assert claim(protocol, SECOND, "c2", "w", b"started 2") is Said.OK
    assert protocol.begin_report(FIRST, "c1", b"late")() is Said.STALE
    assert protocol.finish(SECOND, "c2", b"done 2") is Said.OK
    assert publish(protocol, FIRST) == [Said.STALE]
    assert events(protocol) == [b"started 1", b"started 2", b"done 2"]


def test_a_lease_expires_only_when_it_reads_as_it_was_seen(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    seen = protocol.client.hget(protocol.keys.leases(STREAM), FIRST.field)
    assert seen == b"1 c1 0 w"
    protocol.beat([Beat(FIRST, "c1", 1, "w")])
    assert protocol.expire(FIRST, seen, b"lost") is Said.STALE
    seen = protocol.client.hget(protocol.keys.leases(STREAM), FIRST.field)
    assert seen is not None
    assert protocol.expire(FIRST, seen, b"lost") is Said.OK
    assert protocol.finish(FIRST, "c1", b"late") is Said.STALE
    assert events(protocol) == [b"started", b"lost"]


def test_nothing_is_accepted_without_its_outputs(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    protocol.client.set("out:1", "x")
    assert protocol.finish(FIRST, "c1", b"done", ["out:1", "out:2"]) is Said.MISSING
    protocol.client.set("out:2", "x")
    assert protocol.finish(FIRST, "c1", b"done", ["out:1", "out:2"]) is Said.OK


def test_very_many_outputs_are_asked_for_in_pieces(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    outputs = [f"out:{number}" for number in range(2_500)]
    stored = [Store(key, b"x", "index", 60) for key in outputs if key != "out:1700"]
    for last, word in (
        (Store("other", b"x", "index", 60), Said.MISSING),
        (Store("out:1700", b"x", "index", 60), Said.OK),
    ):
        said = protocol.exchange(
            RUN, STREAM, "w", stored=[*stored, last], finished=[Finished(FIRST, "c1", outputs)], events=b"done"
        )
        assert said.finished == [word]
    assert events(protocol) == [b"started", b"done"]
    assert protocol.client.scard("index") == 2_501


def test_what_is_canceled_in_the_queue_never_starts(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    assert [protocol.cancel(RUN, STREAM, [("a", 1, b"canceled")]) for _ in range(2)] == [[Said.CANCELED], [Said.DONE]]
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.DONE
    assert publish(protocol, FIRST) == [Said.STALE]
    assert events(protocol) == [b"canceled"]


def test_what_was_never_sent_is_canceled_for_good(protocol: Protocol) -> None:
    assert protocol.cancel(RUN, STREAM, [("a", 1, b"canceled")]) == [Said.CANCELED]
    assert publish(protocol, FIRST) == [Said.STALE]


def test_what_runs_is_told_by_its_beat(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    assert protocol.cancel(RUN, STREAM, [("a", 1, b"canceled")]) == [Said.RUNNING]
    assert protocol.beat([Beat(FIRST, "c1", 1, "w")]) == [Said.CANCEL]
    assert protocol.finish(FIRST, "c1", b"stopped") is Said.OK
    assert events(protocol) == [b"started", b"stopped"]


def test_a_lost_message_is_sent_again_but_not_beside_a_claim(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    protocol.client.delete("queue")
    assert publish(protocol, FIRST, again=True) == [Said.SENT]
    assert queue(protocol) == [b"a1"]
    claim(protocol, FIRST, "c1", "w", b"started")
    assert publish(protocol, FIRST, again=True) == [Said.KNOWN]


def test_redis_that_lost_everything_takes_leases_and_ends_once_it_was_told_the_fence(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    protocol.client.flushdb()
    assert protocol.beat([Beat(FIRST, "c1", 7, "w")]) == [Said.OK]
    assert protocol.finish(FIRST, "c1", b"done") is Said.UNKNOWN
    assert protocol.publish(RUN, STREAM, [Outgoing("", b"", [("a", 1)])]) == [Said.SENT]
    assert claim(protocol, FIRST, "c2", "v", b"started") is Said.TAKEN
    assert protocol.finish(FIRST, "c1", b"done") is Said.OK


def test_what_a_redis_was_told_of_is_known_to_that_one_alone(protocol: Protocol) -> None:
    first = protocol.generation()
    assert protocol.generation() == first
    assert protocol.told_all(STREAM) == b""
    protocol.all_is_told(STREAM, first)
    assert protocol.told_all(STREAM) == first
    assert protocol.told_all("another") == b""
    protocol.client.delete(protocol.keys.generation)  # it has come back as it was some time ago
    assert protocol.generation() != first
    assert protocol.told_all(STREAM) == b""


def test_what_messages_name_is_stored_with_them(protocol: Protocol) -> None:
    outgoing = [Outgoing("queue", b"a1", [("a", 1)]), Outgoing("queue", b"b1", [("b", 1), ("c", 1)])]
    stored = {protocol.keys.brief("b"): b"\xffwhat it says", protocol.keys.tasks("b", "t"): b"tasks"}
    assert protocol.publish(RUN, STREAM, outgoing, stored=stored) == [Said.SENT] * 3
    assert queue(protocol) == [b"b1", b"a1"]
    assert protocol.client.mget(list(stored)) == list(stored.values())
    assert min(protocol.client.ttl(key) for key in stored) > 1000


def test_nothing_is_published_where_redis_is_full(protocol: Protocol) -> None:
    message = [Outgoing("queue", b"a1", [("a", 1)])]
    memory: Any = protocol.client.info("memory")
    protocol.client.config_set("maxmemory", memory["used_memory"] * 4)
    try:
        stored = {protocol.keys.brief("b"): b"what it says"}
        assert protocol.publish(RUN, STREAM, message, stored=stored, full=0.1) == [Said.FULL]
        assert not protocol.client.exists("queue", protocol.keys.run(RUN), protocol.keys.brief("b"))
        assert protocol.publish(RUN, STREAM, message, full=0.9) == [Said.SENT]
    finally:
        protocol.client.config_set("maxmemory", 0)
    protocol.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert protocol.publish(RUN, STREAM, message, again=True, full=0.9) == [Said.FULL]
    finally:
        protocol.client.config_set("maxmemory-policy", "noeviction")
    assert queue(protocol) == [b"a1"]


def test_a_redis_that_is_full_takes_beats_cancels_and_ends_and_nothing_that_begins() -> None:
    queued, third = Attempt(RUN, STREAM, "b", 1), Attempt(RUN, STREAM, "c", 1)
    with EmbeddedRedis.start() as server, contextlib.closing(Protocol(server.url, Keys(), "test")) as protocol:
        publish(protocol, FIRST, queued, third)
        claim(protocol, FIRST, "c1", "w", b"started")
        protocol.client.config_set("maxmemory", 1)
        assert protocol.beat([Beat(FIRST, "c1", 1, "w")]) == [Said.OK]
        assert protocol.cancel(RUN, STREAM, [("a", 1, b""), ("b", 1, b"canceled")]) == [Said.RUNNING, Said.CANCELED]
        assert protocol.beat([Beat(FIRST, "c1", 2, "w")]) == [Said.CANCEL]
        assert protocol.finish(FIRST, "c1", b"ended") is Said.OK
        assert events(protocol) == [b"started", b"canceled", b"ended"]
        with pytest.raises(BrokerUnreachable):
            claim(protocol, third, "c2", "w", b"started")
        with pytest.raises(BrokerUnreachable):
            publish(protocol, SECOND)
        assert protocol.release(RUN, STREAM)


class Waiting:
    """A process that waits for more of a run, in a thread."""

    def __init__(self, protocol: Protocol, seconds: float = 20.0, queue: str = "q", brief: str = "b") -> None:
        self.protocol, self.name = protocol, uuid.uuid4().hex
        self.found: list[Handed | None] = []
        self._where = brief, queue, self.name, seconds
        before = self._blocked()
        self.thread = threading.Thread(target=self._wait)
        self.thread.start()
        until = time.monotonic() + 10
        while self._blocked() <= before and self.thread.is_alive() and time.monotonic() < until:
            time.sleep(0.001)

    def _blocked(self) -> int:
        clients: Any = self.protocol.client.info("clients")
        return int(clients["blocked_clients"])

    def _wait(self) -> None:
        self.found.append(self.protocol.wait_at_hand(*self._where, f"claim-of-{self.name}", "w 1"))

    def end(self) -> bytes | None:
        """The message."""
        self.thread.join()
        return None if self.found[0] is None else self.found[0].message


def send(protocol: Protocol, step: str, queue: str = "q", priority: int = 0, brief: str = "b") -> list[Said]:
    outgoing = [Outgoing(protocol.keys.queue(queue, priority_step(priority)), step.encode(), [(step, 1)])]
    return protocol.publish(RUN, STREAM, outgoing, hands=protocol.keys.hands(brief))


def queued(protocol: Protocol, queue: str = "q") -> list[bytes]:
    found: list[bytes] = []
    for name in protocol.keys.queue_lists(queue):
        found += protocol.client.lrange(name, 0, -1)  # type: ignore[arg-type]
    return found


def test_who_waits_for_more_of_a_run_gets_the_next_message_by_hand(protocol: Protocol) -> None:
    first, second = Waiting(protocol), Waiting(protocol)
    assert send(protocol, "a") == [Said.SENT]
    assert send(protocol, "b", priority=7) == [Said.SENT]
    assert (second.end(), first.end()) == (b"a", b"b")  # who came last has what was made last
    send(protocol, "c")
    assert queued(protocol) == [b"c"]
    assert not protocol.client.keys("*:hand:*")


def test_a_step_that_is_alone_in_a_message_by_hand_comes_claimed(protocol: Protocol) -> None:
    waiting = Waiting(protocol)
    assert [send(protocol, "a") for _ in range(2)] == [[Said.SENT], [Said.KNOWN]]
    waiting.thread.join()
    assert waiting.found == [Handed(b"a", is_claimed=True)]
    mine = f"claim-of-{waiting.name}"
    assert protocol.client.hgetall(protocol.keys.leases(STREAM)) == {FIRST.field.encode(): f"1 {mine} 0 w 1".encode()}
    assert claim(protocol, FIRST, "another", "w", b"started") is Said.TAKEN
    assert claim(protocol, FIRST, mine, "w 1", b"started") is Said.OK  # who wants inputs with it asks as always
    assert protocol.beat([Beat(FIRST, mine, 1, "w 1")]) == [Said.OK]
    assert protocol.finish(FIRST, mine, b"done") is Said.OK
    assert events(protocol) == [b"done"]


def test_what_is_canceled_once_it_is_claimed_is_not_dropped_by_who_asks_again(protocol: Protocol) -> None:
    """Nobody would tell of its end: it starts, and is told to stop with its first beat."""
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    assert protocol.cancel(RUN, STREAM, [("a", 1, b"canceled")]) == [Said.RUNNING]
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.OK
    assert claim(protocol, FIRST, "c2", "w", b"started") is Said.CANCELED
    assert protocol.beat([Beat(FIRST, "c1", 1, "w")]) == [Said.CANCEL]


def test_several_steps_by_hand_are_still_to_be_claimed(protocol: Protocol) -> None:
    waiting = Waiting(protocol)
    outgoing = [Outgoing(protocol.keys.queue("q", 0), b"both", [("a", 1), ("b", 1)])]
    protocol.publish(RUN, STREAM, outgoing, hands=protocol.keys.hands("b"))
    waiting.thread.join()
    assert waiting.found == [Handed(b"both", is_claimed=False)]
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.OK


def test_what_is_to_be_canceled_does_not_come_claimed(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    assert protocol.cancel(RUN, STREAM, [("a", 1, b"canceled")]) == [Said.RUNNING]
    protocol.exchange(RUN, STREAM, "", returned=[("a", "c1")], notice=b"back")
    protocol.client.delete(*protocol.keys.queue_lists("q"))
    waiting = Waiting(protocol)
    outgoing = [Outgoing(protocol.keys.queue("q", 0), b"a", [("a", 1)])]
    assert protocol.publish(RUN, STREAM, outgoing, again=True, hands=protocol.keys.hands("b")) == [Said.SENT]
    waiting.thread.join()
    assert waiting.found == [Handed(b"a", is_claimed=False)]
    assert claim(protocol, FIRST, "c2", "w", b"started") is Said.CANCELED


@pytest.mark.parametrize("other", [{"brief": "another"}, {"queue": "another"}])
def test_of_another_run_or_queue_it_gets_nothing(protocol: Protocol, other: dict[str, str]) -> None:
    waiting = Waiting(protocol, **other)
    send(protocol, "a")
    assert queued(protocol) == [b"a"]
    protocol.client.delete(*protocol.keys.queue_lists("q"))
    send(protocol, "b", **other)
    assert waiting.end() == b"b"


@pytest.mark.parametrize("priority", [-5, 0, 10])
def test_nothing_goes_by_hand_past_what_waits(protocol: Protocol, priority: int) -> None:
    protocol.client.lpush(protocol.keys.queue("q", priority_step(priority)), "of another run")
    waiting = Waiting(protocol)
    send(protocol, "a")
    assert sorted(queued(protocol)) == [b"a", b"of another run"]
    protocol.client.delete(*protocol.keys.queue_lists("q"))
    send(protocol, "b")
    assert waiting.end() == b"b"


def test_who_has_waited_in_vain_gets_nothing_any_more(protocol: Protocol) -> None:
    assert Waiting(protocol, 0.02).end() is None
    send(protocol, "a")
    assert queued(protocol) == [b"a"]
    assert not protocol.client.exists(protocol.keys.hands("b", protocol.keys.queue("q", 0)))


def test_what_was_put_into_the_hand_of_who_has_died_does_not_stay(protocol: Protocol) -> None:
    hand = protocol.keys.hand("gone")
    protocol.client.set(f"{hand}:open", 1)
    protocol.client.rpush(protocol.keys.hands("b", protocol.keys.queue("q", 0)), hand)
    send(protocol, "a")
    assert protocol.client.lrange(hand, 0, -1) == [b"a"]
    assert 0 < int(protocol.client.ttl(hand)) <= 60  # type: ignore[arg-type]


def test_who_loses_the_connection_does_not_wait_again(protocol: Protocol) -> None:
    errors: list[BrokerUnreachable] = []

    class Broken(Waiting):
        def _wait(self) -> None:
            with pytest.raises(BrokerUnreachable) as caught:
                super()._wait()
            errors.append(caught.value)

    waiting = Broken(protocol)
    protocol.client.client_kill_filter(_type="normal", skipme=True)
    waiting.thread.join()
    assert errors
    assert protocol.client.llen(protocol.keys.hands("b", protocol.keys.queue("q", 0))) == 1


def test_each_message_goes_to_one_of_those_who_come_and_go(protocol: Protocol, redis_url: str) -> None:
    """However close to its end a wait is met."""
    found: list[bytes] = []
    over = threading.Event()

    def wait(worker: str) -> None:
        own = Protocol(redis_url, Keys(), worker)
        for number in itertools.count():
            if over.is_set():
                break
            handed = own.wait_at_hand("b", "q", f"{worker}:{number}", 0.002, f"{worker}:{number}", worker)
            if handed is not None:
                found.append(handed.message)
        own.close()

    threads = [threading.Thread(target=wait, args=(f"w{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    sent = [f"s{number}" for number in range(600)]
    for step in sent:
        send(protocol, step)
        found += [each for name in protocol.keys.queue_lists("q") if (each := protocol.client.rpop(name))]  # type: ignore[misc]
    time.sleep(0.1)
    over.set()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(step.encode() for step in sent)


def test_a_released_run_takes_nothing_more(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    protocol.release(RUN, STREAM, ["a"])
    assert protocol.beat([Beat(FIRST, "c1", 1, "w")]) == [Said.STALE]
    assert protocol.finish(FIRST, "c1", b"late") is Said.STALE
    assert claim(protocol, FIRST, "c2", "w", b"late") is Said.GONE
    assert not protocol.client.exists(protocol.keys.leases(STREAM))


def test_who_was_about_to_send_when_its_run_was_released_sends_nothing(protocol: Protocol) -> None:
    late = [Outgoing("queue", b"late", [("a", 1), ("b", 1)])]
    protocol.release(RUN, STREAM, created=1.5)
    said = protocol.publish(RUN, STREAM, late, again=True, stored={"value": b"v"}, created=1.5)
    assert said == [Said.STALE] * 2
    assert queue(protocol) == []
    assert not protocol.client.exists("value")
    assert claim(protocol, FIRST, "c1", "w", b"late") is Said.GONE
    assert protocol.publish(RUN, STREAM, late, created=2.5) == [Said.SENT] * 2  # another run of that id
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.OK
    protocol.release(RUN, STREAM)  # by who does not know when it was created
    assert protocol.publish(RUN, STREAM, late) == [Said.SENT] * 2


def test_what_a_released_run_leaves_lives_for_its_time(protocol: Protocol) -> None:
    client, brief = protocol.client, protocol.keys.brief("b")
    client.set(brief, b"brief")
    for count, all_told in ((3, True), (3000, False)):
        for number in range(count):
            client.set(f"value-{number}", b"x")
            client.sadd("index", f"value-{number}")
        assert protocol.release(RUN, STREAM, [], Living("index", 6000, "b", 3000)) is all_told
        told = sum(client.ttl(f"value-{number}") > 5000 for number in range(count))
        assert told == count if all_told else 0 < told < count  # no call takes long
    assert client.ttl("index") > 5000
    assert 2000 < client.ttl(brief) <= 3000


def test_what_was_to_go_before_the_time_of_a_released_run_does(protocol: Protocol) -> None:
    client = protocol.client
    for name, seconds in (("short", 100), ("long", 9000)):
        client.set(name, b"x", ex=seconds)
        client.sadd("index", name)
    assert protocol.release(RUN, STREAM, [], Living("index", 6000))
    assert client.ttl("short") <= 100
    assert 5000 < client.ttl("long") <= 6000


def test_a_worker_with_other_code_hands_back_until_patience_ends(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    protocol.client.delete("queue")
    back = "queue", b"a1"
    assert protocol.refuse(FIRST, 60, *back, b"note", b"failed", "w") is Said.BACK
    assert protocol.refuse(FIRST, 60, *back, b"note", b"failed", "w") is Said.BACK
    assert queue(protocol) == [b"a1", b"a1"]
    assert protocol.refuse(FIRST, 0, *back, b"note", b"failed", "w") is Said.FAILED
    assert protocol.refuse(FIRST, 0, *back, b"note", b"failed", "w") is Said.STALE
    assert events(protocol) == [b"note", b"failed"]


def test_scripts_come_back_after_redis_forgot_them(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    protocol.client.script_flush()
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.OK


def test_a_lease_of_an_earlier_attempt_holds_nothing(protocol: Protocol) -> None:
    """A Redis that was rolled back has it, when the fence is raised again."""

    def rolled_back() -> None:
        protocol.client.flushdb()
        publish(protocol, FIRST)
        claim(protocol, FIRST, "c1", "w", b"started")
        publish(protocol, SECOND)
        protocol.client.delete("queue")

    rolled_back()
    assert publish(protocol, SECOND, again=True) == [Said.SENT]
    assert claim(protocol, SECOND, "c2", "w", b"started 2") is Said.OK
    rolled_back()
    assert protocol.cancel(RUN, STREAM, [("a", 2, b"canceled")]) == [Said.CANCELED]
    rolled_back()
    assert protocol.expire(SECOND, b"", b"lost") is Said.OK
    rolled_back()
    assert protocol.expire(SECOND, b"1 c1 0 w", b"lost") is Said.OK  # as the coordinator saw it last
    rolled_back()
    assert protocol.beat([Beat(SECOND, "c2", 5, "w")]) == [Said.OK]
    assert protocol.finish(SECOND, "c2", b"done") is Said.OK


OTHER = Attempt(RUN, STREAM, "b", 1)


def test_a_message_of_several_is_pushed_when_one_of_them_is_to_run(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    assert protocol.publish(RUN, STREAM, [Outgoing("queue", b"both", [("a", 1), ("b", 1)])]) == [Said.KNOWN, Said.SENT]
    assert queue(protocol) == [b"both", b"a1"]
    assert protocol.publish(RUN, STREAM, [Outgoing("queue", b"again", [("a", 1), ("b", 1)])]) == [Said.KNOWN] * 2
    assert queue(protocol) == [b"both", b"a1"]


def test_what_is_said_of_a_step_twice_in_one_call_is_said_in_order(protocol: Protocol) -> None:
    along, alone = Outgoing(ABOARD, b"", [("a", 1)]), Outgoing("queue", b"m", [("a", 1)])
    assert protocol.publish(RUN, STREAM, [along, alone, alone]) == [Said.KNOWN, Said.SENT, Said.KNOWN]
    assert queue(protocol) == [b"m"]
    assert claim(protocol, FIRST, "c1", "w", b"started") is Said.OK


def test_redis_finds_the_steps_of_a_large_run_by_their_names(protocol: Protocol) -> None:
    key = protocol.keys.run(RUN)
    publish(protocol, FIRST)
    assert protocol.client.object("encoding", key) != b"hashtable"
    many = [(f"a[{number}]", 1) for number in range(600)]
    assert protocol.publish(RUN, STREAM, [Outgoing("queue", b"m", many[:40])]) == [Said.SENT] * 40
    assert protocol.client.object("encoding", key) == b"hashtable"
    assert protocol.publish(RUN, STREAM, [Outgoing("queue", b"m", many)]) == [Said.KNOWN] * 40 + [Said.SENT] * 560
    assert queue(protocol) == [b"m", b"m", b"a1"]


def test_redis_finds_many_leases_by_their_names(protocol: Protocol) -> None:
    key = protocol.keys.leases(STREAM)
    many = [Attempt(RUN, STREAM, f"a[{number}]", 1) for number in range(40)]
    protocol.publish(RUN, STREAM, [Outgoing("queue", b"m", [(at.step, 1) for at in many])])
    assert claim(protocol, many[0], "c", "w", b"started") is Said.OK
    assert protocol.client.object("encoding", key) != b"hashtable"
    few = [Wanted(at, "few") for at in many[:16]]
    protocol.exchange(RUN, STREAM, "w:1", returned=[(many[0].step, "c")], wanted=few)
    assert protocol.client.object("encoding", key) != b"hashtable"
    protocol.exchange(RUN, STREAM, "w:1", returned=[(each.at.step, each.claim) for each in few])
    wanted = [Wanted(at, f"c{at.step}") for at in many[1:18]]
    assert set(protocol.exchange(RUN, STREAM, "w:1", wanted=wanted).claimed) == {Said.OK}
    assert protocol.client.object("encoding", key) == b"hashtable"
    lease = protocol.client.hget(key, many[1].field)
    assert lease is not None
    assert owner_of(lease) == "w:1"
    assert protocol.exchange(RUN, STREAM, "w:1", wanted=wanted).claimed == [Said.OK] * 17
    assert protocol.expire(many[1], lease, b"lost") is Said.OK
    assert protocol.finish(many[2], f"c{many[2].step}", b"done") is Said.OK


def test_each_start_is_told_of_that_is_to_be(protocol: Protocol) -> None:
    publish(protocol, FIRST, OTHER)
    third = Attempt(RUN, STREAM, "third", 1)
    publish(protocol, third)
    wanted = [Wanted(FIRST, "c1", b"\xffone"), Wanted(OTHER, "c2"), Wanted(third, "c3", b"\xffthree")]
    assert protocol.exchange(RUN, STREAM, "w", wanted=wanted).claimed == [Said.OK] * 3
    assert events(protocol) == [b"\xffone", b"\xffthree"]


def test_one_exchange_stores_tells_gives_back_and_claims(protocol: Protocol) -> None:
    publish(protocol, FIRST, OTHER)
    said = protocol.exchange(RUN, STREAM, "w", wanted=[Wanted(FIRST, "c1", b"started"), Wanted(OTHER, "c2")])
    assert said.claimed == [Said.OK, Said.OK]
    said = protocol.exchange(
        RUN,
        STREAM,
        "w",
        stored=[Store("out:1", b"value", "names", 60)],
        fetch=["out:1", "none"],
        finished=[Finished(FIRST, "c1", ["out:1"])],
        events=b"done",
        returned=[(OTHER.step, "c2")],
        notice=b"back",
        wanted=[Wanted(OTHER, "c3", b"started b")],
    )
    assert (said.finished, said.claimed, said.fetched) == ([Said.OK], [Said.OK], {"out:1": b"value"})
    assert protocol.client.smembers("names") == {b"out:1"}
    told = [dict(fields) for _, fields in protocol.client.xrange(protocol.keys.events(STREAM))]
    assert told == [{b"d": b"started"}, {b"d": b"done"}, {b"r": b"back"}, {b"d": b"started b"}]


def test_what_has_ended_is_told_together_or_not_at_all(protocol: Protocol) -> None:
    publish(protocol, FIRST, OTHER)
    protocol.exchange(RUN, STREAM, "w", wanted=[Wanted(FIRST, "c1"), Wanted(OTHER, "c2")])
    both = [Finished(FIRST, "c1"), Finished(OTHER, "c9")]
    assert protocol.exchange(RUN, STREAM, "w", finished=both, events=b"both").finished == [Said.OK, Said.STALE]
    assert events(protocol) == []
    assert protocol.finish(FIRST, "c1", b"a") is Said.OK
    both = [Finished(FIRST, "c1"), Finished(OTHER, "c2")]
    for _ in range(2):
        assert protocol.exchange(RUN, STREAM, "w", finished=both, events=b"b").finished == [Said.OK, Said.OK]
    assert events(protocol) == [b"a", b"b"]


def test_hooks_on_their_own_begin_once_and_not_after_the_run(protocol: Protocol) -> None:
    protocol.publish(RUN, STREAM, [Outgoing("q", b"m", [("a", 1)])])
    assert protocol.begins_hooks(RUN, "a", 1)
    assert not protocol.begins_hooks(RUN, "a", 1)
    assert protocol.begins_hooks(RUN, "a", 2)
    protocol.release(RUN, STREAM)
    assert not protocol.begins_hooks(RUN, "b", 1)


def test_only_its_holder_gives_a_lease_back(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    protocol.exchange(RUN, STREAM, "v", returned=[(FIRST.step, "c9")], notice=b"back")
    assert claim(protocol, FIRST, "c2", "v", b"started again") is Said.TAKEN
    protocol.exchange(RUN, STREAM, "w", returned=[(FIRST.step, "c1")], notice=b"back")
    assert claim(protocol, FIRST, "c2", "v", b"started again") is Said.OK
    assert protocol.finish(FIRST, "c1", b"late") is Said.STALE


def test_a_beat_that_was_on_its_way_brings_no_lease_back_that_was_given_back(protocol: Protocol) -> None:
    publish(protocol, FIRST)
    claim(protocol, FIRST, "c1", "w", b"started")
    protocol.exchange(RUN, STREAM, "w", returned=[(FIRST.step, "c1")], notice=b"back")
    assert protocol.beat([Beat(FIRST, "c1", 1, "w")]) == [Said.STALE]
    assert claim(protocol, FIRST, "c2", "v", b"started again") is Said.OK
    protocol.client.delete(protocol.keys.leases(STREAM))
    assert protocol.beat([Beat(FIRST, "c2", 1, "v")]) == [Said.OK]  # Redis has lost it


def test_a_redis_that_forgot_the_scripts_changes_no_order(protocol: Protocol) -> None:
    publish(protocol, FIRST, OTHER)
    claim(protocol, FIRST, "c1", "w", b"started")
    protocol.client.script_flush()
    protocol.exchange(
        RUN,
        STREAM,
        "w",
        stored=[Store("out:1", b"value", "names", 60)],
        finished=[Finished(FIRST, "c1", ["out:1"])],
        events=b"done",
        wanted=[Wanted(OTHER, "c2", b"started b")],
    )
    assert events(protocol) == [b"started", b"done", b"started b"]


def test_a_message_is_taken_in_its_turn_by_who_runs_its_run(protocol: Protocol) -> None:
    def wait(name: str, step: int, message: bytes) -> None:
        protocol.client.lpush(protocol.keys.queue(name, step), message)

    assert protocol.take("q", ["q", "other"], b"mine") is None
    for message in (b"mine 1", b"mine 2", b"another", b"mine 3"):
        wait("q", 10, message)
    wait("other", 11, b"another")  # less urgent
    assert [protocol.take("q", ["q", "other"], b"mine") for _ in range(3)] == [b"mine 1", b"mine 2", None]
    assert protocol.client.rpop(protocol.keys.queue("q", 10)) == b"another"
    wait("q", 0, b"urgent")
    assert protocol.take("q", ["q", "other"], b"mine") is None
    assert protocol.take("q", ["q", "other"], b"urgent") == b"urgent"
    wait("other", 10, b"another")  # it may have its turn
    assert protocol.take("q", ["q", "other"], b"mine") is None
    assert protocol.take("q", ["q"], b"mine") == b"mine 3"
