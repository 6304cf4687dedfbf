from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from celery import Celery
from kombu import Queue

from opgrid.broker.address import BrokerAddress
from opgrid.broker.connection import connect
from opgrid.broker.keys import PRIORITY_STEPS, Keys, priority_step
from opgrid.broker.messages import (
    TASK,
    CeleryMessages,
    label,
    may_go_along,
    open_events,
    open_tasks,
    read_message,
    seal_events,
    sign_tasks,
    verify_dispatch,
)
from opgrid.contracts.compact import LONG, compacted
from opgrid.contracts.events import StepSucceeded
from opgrid.contracts.tasks import Gathered, OutputRef, StepTask, TaskInput
from opgrid.contracts.wire import encode_events, encode_tasks, hash_of
from opgrid.errors import PayloadRejected
from opgrid.ids import NodePath, RunId, StepKey
from opgrid.io.envelope import seal
from opgrid.io.keys import KeyRing

RING, OTHER = KeyRing(b"a" * 32), KeyRing(b"b" * 32)
BRIEF = hash_of(b"brief")
RUN = RunId("0123456789abcdef")


def task(step: str = "clean[k1]") -> StepTask:
    return StepTask(RUN, StepKey(step), NodePath("clean"), 2)


def build(priority: int = 0) -> tuple[str, dict[str, Any]]:
    dispatch, _ = sign_tasks(BRIEF, [task()], RING)
    key, message = CeleryMessages(Keys()).build(dispatch, label("job", [task()]), "q", priority)
    return key, json.loads(message)


def test_a_message_has_the_parts_of_one_that_celery_publishes(redis_url: str) -> None:
    app = Celery("test", set_as_current=False)
    app.conf.update(
        broker_url=BrokerAddress.parse(redis_url).celery_url,
        broker_transport_options={"global_keyprefix": "p:", "priority_steps": list(PRIORITY_STEPS)},
        task_queues=[Queue("q", routing_key="q")],
    )
    app.send_task(TASK, args=["x"], queue="q", priority=3, ignore_result=True, task_id="t")
    app.close()
    with connect(redis_url) as client:
        (theirs,) = (json.loads(each) for each in client.lrange("p:q\x06\x163", 0, -1))
    _, ours = build()
    assert set(ours) == set(theirs)
    assert set(ours["headers"]) == set(theirs["headers"])
    assert set(ours["properties"]) == set(theirs["properties"])
    body, theirs_body = (json.loads(base64.b64decode(each["body"])) for each in (ours, theirs))
    assert [type(part) for part in body] == [type(part) for part in theirs_body]
    assert body[2] == theirs_body[2]
    differ = {"id", "root_id", "shadow", "argsrepr", "origin"}
    assert {name for name in ours["headers"] if ours["headers"][name] != theirs["headers"][name]} == differ


def test_a_message_is_small_and_readable_in_flower() -> None:
    _, message = build()
    headers = message["headers"]
    assert (headers["id"], headers["shadow"]) == ("01234567.clean[k1].2", "job.clean")
    assert headers["argsrepr"] == f"run={RUN} step=clean[k1] try=2"
    assert len(json.dumps(message)) < 2048


def test_how_many_steps_a_message_has_makes_no_names_in_flower() -> None:
    assert label("job", [task("clean[k1]")]).name == label("job", [task(f"clean[k{n}]") for n in range(3)]).name
    shown = label("job", [task("clean[k1]"), msgspec.structs.replace(task("clean[k2]"), then=(task("store[k2]"),))])
    assert shown == ("01234567.clean[k1].2+2", "job.clean", f"run={RUN} step=clean[k1]+2 try=2")


def test_higher_priorities_are_served_first() -> None:
    assert [priority_step(each) for each in (99, 10, 1, 0, -1, -99)] == [0, 0, 9, 10, 11, 15]
    assert build(10)[0] == "opgrid:mq1:q"
    assert build(0)[0] == "opgrid:mq1:q\x06\x1610"


def gathering(keys: Sequence[str]) -> StepTask:
    refs = tuple(OutputRef(RUN, StepKey(f"a[{key}]")) for key in keys)
    return StepTask(RUN, StepKey("b"), NodePath("b"), inputs=(TaskInput("all", Gathered(refs)),))


def test_long_tasks_that_are_alike_travel_in_their_message() -> None:
    long = gathering([str(number) for number in range(400)])
    dispatch, beside = sign_tasks(BRIEF, [long], RING)
    assert beside is None
    assert len(dispatch.tasks) < 6000 < len(encode_tasks([long]))
    verify_dispatch(dispatch, RING)
    assert open_tasks(dispatch, None) == [long]
    with pytest.raises(PayloadRejected):
        verify_dispatch(dispatch._replace(tasks=dispatch.tasks.swapcase()), RING)


@pytest.mark.parametrize("alike", [False, True])
def test_others_are_stored_beside_it(alike: bool) -> None:
    chance = random.Random(1)  # 300 of them do not become short enough; of 5,000 it is not tried
    keys = [str(number) for number in range(5000)] if alike else [chance.randbytes(16).hex() for _ in range(300)]
    long = gathering(keys)
    dispatch, beside = sign_tasks(BRIEF, [long], RING)
    assert beside is not None
    assert dispatch.stored
    verify_dispatch(dispatch, RING)
    assert open_tasks(dispatch, beside) == [long]
    for changed in (None, beside[:50] + b"x" + beside[51:], beside + b" "):
        with pytest.raises(PayloadRejected):
            open_tasks(dispatch, changed)


def test_a_message_that_was_changed_or_is_a_strangers_is_refused() -> None:
    dispatch, _ = sign_tasks(BRIEF, [task()], RING)
    verify_dispatch(dispatch, RING)
    assert open_tasks(dispatch, None) == [task()]
    forged = [
        dispatch._replace(tasks=dispatch.tasks.replace("k1", "k2")),
        dispatch._replace(brief=hash_of(b"other")),
        dispatch._replace(stored=True),
        dispatch._replace(mac="00" * 32),
        dispatch._replace(mac="zz"),
        dispatch._replace(brief="short"),
    ]
    for each in forged:
        with pytest.raises(PayloadRejected):
            verify_dispatch(each, RING)
    with pytest.raises(PayloadRejected, match="key that this process does not have"):
        verify_dispatch(dispatch, OTHER)


def test_events_are_signed() -> None:
    event = StepSucceeded(run_id=RUN, at=1.0, step=StepKey("a"), attempt=1)
    sealed = seal_events([event], RING)
    assert open_events(sealed, RING) == [event]
    for bad in (sealed[:-1], b"", sealed.replace(b'"a"', b'"b"')):
        with pytest.raises(PayloadRejected):
            open_events(bad, RING)
    with pytest.raises(PayloadRejected):
        open_events(sealed, OTHER)


def test_many_events_take_a_tenth_of_what_they_say() -> None:
    events = [StepSucceeded(run_id=RUN, at=float(at), step=StepKey(f"a[{at}]"), attempt=1) for at in range(100)]
    sealed = seal_events(events, RING)
    assert open_events(sealed, RING) == events
    assert 10 * len(sealed) < len(encode_events(events))
    for bad in (sealed[:-1], sealed[:100] + b"x" + sealed[101:]):
        with pytest.raises(PayloadRejected):
            open_events(bad, RING)


def test_what_is_signed_and_does_not_decompress_is_rejected() -> None:
    packed = compacted(b"[" + b" " * LONG + b"]")
    for broken in (packed[:-1], packed[:6], packed + b"x", packed[:5] + b"\xff" * 8):
        with pytest.raises(PayloadRejected, match="does not decompress"):
            open_events(seal("event", [broken], RING), RING)


@pytest.mark.parametrize("along", [True, False])
def test_who_takes_a_message_without_celery_reads_what_it_says(along: bool) -> None:
    dispatch, _ = sign_tasks(BRIEF, [task()], RING)
    shown = label("job", [task()])
    _, message = CeleryMessages(Keys()).build(dispatch, shown, "q", 0, along=along)
    assert read_message(message) == (shown.task_id, dispatch)
    assert (may_go_along(BRIEF) in message) is along


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"body":"*","headers":{"id":"i"}}', b'{"body":"W10=","headers":{"id":"i"}}']
)
def test_what_is_no_message_is_rejected(data: bytes) -> None:
    with pytest.raises(PayloadRejected, match="no message of ours"):
        read_message(data)
