"""What a step tells, on a real Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from opgrid.broker.keys import Keys
from opgrid.broker.messages import open_events
from opgrid.broker.protocol import Attempt, Outgoing, Protocol, Said
from opgrid.contracts.events import AnyEvent, LogMessage, StepSucceeded
from opgrid.contracts.told import unfolded
from opgrid.errors import BrokerUnreachable
from opgrid.ids import RunId, StepKey
from opgrid.io.keys import KeyRing
from tests.unit.broker.claims import claim
from worker import event_stream
from worker.event_stream import EventStream

RING = KeyRing(b"a" * 32)
AT = Attempt("r", "s", "a", 1)


class Away(Protocol):
    """Of a Redis that cannot be reached as often as is said, though it may have heard."""

    failures = 0
    unanswered = 0

    def begin_report(self, at: Attempt, claim: str, events: bytes) -> Callable[[], Said]:
        self.unanswered += 1
        whole = super().begin_report(at, claim, events) if not self.failures else None

        def said() -> Said:
            self.unanswered -= 1
            if whole is None:
                self.failures -= 1
                raise BrokerUnreachable(self.url, "it is away")
            return whole()

        return said


@pytest.fixture
def protocol(redis_url: str) -> Iterator[Away]:
    made = Away(redis_url, Keys(), "test")
    made.publish("r", "s", [Outgoing("", b"", [("a", 1)])])
    claim(made, AT, "c", "w", b"started")
    made.client.delete(made.keys.events("s"))
    yield made
    assert not made.unanswered
    made.close()


def line(number: int) -> LogMessage:
    return LogMessage(run_id=RunId("r"), at=1.0, step=StepKey("a"), attempt=1, message=str(number))


def told(protocol: Protocol) -> list[AnyEvent]:
    found = protocol.client.xrange(protocol.keys.events("s"))
    assert found is not None
    return [event for _, fields in found for event in unfolded(open_events(fields[b"d"], RING))]  # type: ignore[index]


def test_an_op_that_tells_much_goes_on_while_redis_takes_it(protocol: Away) -> None:
    stream = EventStream(AT, "c", protocol, RING)
    said = [line(number) for number in range(1203)]
    for event in said[:500]:
        stream.emit(event)
    assert protocol.unanswered == 1
    for event in said[500:]:
        stream.emit(event)
    assert stream.take() == said[1000:]
    assert told(protocol) == said[:1000]


def test_of_more_than_waits_for_a_redis_that_is_away_the_first_are_kept(
    protocol: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "_KEEP", 600)
    protocol.failures = 1000
    stream = EventStream(AT, "c", protocol, RING)
    said = [line(number) for number in range(3000)]
    for event in said:
        stream.emit(event)
    assert stream.take() == said[:600]


@pytest.mark.parametrize("failures", [1, 2])
def test_what_redis_did_not_take_waits_in_its_order(protocol: Away, failures: int) -> None:
    protocol.failures = failures
    stream = EventStream(AT, "c", protocol, RING)
    said = [line(number) for number in range(1300)]
    for event in said:
        stream.emit(event)
    left = stream.take()
    assert [*told(protocol), *left] == said


def test_that_redis_is_away_is_said_once_and_that_it_is_back(protocol: Away, caplog: pytest.LogCaptureFixture) -> None:
    protocol.failures = 20
    stream = EventStream(AT, "c", protocol, RING)
    stream.emit(line(1))
    for _ in range(21):
        stream.flush()
    assert [message.partition(" after ")[0] for message in caplog.messages] == [
        f"Events of step a wait: {BrokerUnreachable(protocol.url, 'it is away')}",
        "Events of step a were taken",
    ]
    assert told(protocol) == [line(1)]


def test_what_is_flushed_was_taken(protocol: Away) -> None:
    stream = EventStream(AT, "c", protocol, RING)
    said = [line(number) for number in range(501)]
    for event in said:
        stream.emit(event)
    stream.flush()
    assert told(protocol) == said
    assert stream.take() == []


def test_nothing_is_told_of_an_attempt_that_is_somebody_elses(protocol: Away) -> None:
    stream = EventStream(AT, "another", protocol, RING)
    for number in range(1200):
        stream.emit(line(number))
    stream.flush()
    assert told(protocol) == []


def test_the_last_word_is_not_told_on_the_way(protocol: Away) -> None:
    stream = EventStream(AT, "c", protocol, RING)
    stream.emit(StepSucceeded(run_id=RunId("r"), at=1.0, step=StepKey("a"), attempt=1))
    stream.flush()
    assert told(protocol) == []


def test_what_comes_after_the_end_keeps_no_connection(protocol: Away) -> None:
    stream = EventStream(AT, "c", protocol, RING)
    assert stream.take() == []
    for number in range(500):
        stream.emit(line(number))
    assert not protocol.unanswered


def test_a_log_that_tells_itself_holds_up_nobody(protocol: Away) -> None:
    """What is logged about a Redis that is away may become an event, where the run listens to our loggers."""
    protocol.failures = 2
    stream = EventStream(AT, "c", protocol, RING)

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stream.emit(line(-1))

    handler = Listening()
    logging.getLogger("opgrid.worker").addHandler(handler)
    try:
        thread = threading.Thread(target=lambda: [stream.emit(line(number)) for number in range(1100)], daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        left = stream.take()
    finally:
        logging.getLogger("opgrid.worker").removeHandler(handler)
    said = [event for event in [*told(protocol), *left] if isinstance(event, LogMessage)]
    assert [event.message for event in said if event.message != "-1"] == [str(number) for number in range(1100)]
