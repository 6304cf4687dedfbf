"""What comes from Redis may be anything: it is refused with one of our errors, and nothing is unpickled that was not
signed. ``make fuzz`` tries a million inputs of each kind; here are some.
"""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import cloudpickle
import msgspec
import pytest

from opgrid.broker.messages import (
    Dispatch,
    encode_run,
    open_events,
    open_returned,
    open_tasks,
    seal_events,
    seal_returned,
    sign_tasks,
    verify_dispatch,
)
from opgrid.contracts.compact import compacted, restored
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import ErrorInfo, HandledOutput, StepFailed, StepOutput, StepStarted, StepSucceeded
from opgrid.contracts.tasks import JobRef, OutputRef, RunBrief, StepTask, Stored, TaskInput
from opgrid.contracts.told import decode_reports, encode_reports, unfolded
from opgrid.contracts.wire import decode_brief, decode_events, hash_of
from opgrid.errors import PayloadRejected
from opgrid.ids import NodePath, RunId, StepKey, split_step_key, step_key
from opgrid.io.kept import path_part
from opgrid.io.keys import KeyRing
from opgrid.io.parcels import Entry, Parcel, opened
from opgrid.io.payload import pack, plain, unpack
from opgrid.io.serializers import serializer

COUNT = int(os.environ.get("OPGRID_FUZZ", "3000"))
RING = KeyRing(b"k" * 32)
RUN = RunId("run")
REF = OutputRef(RUN, StepKey("make[a]"), "result", "a", 2, "claim", {"size": 3})
REFUSED = (PayloadRejected, msgspec.ValidationError)
#: Of what is looked at only once its hash, or the database, vouches for it.
MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError)


class Unpickled(BaseException):
    """Something reached the unpickler."""


@pytest.fixture
def nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: object, **__: object) -> None:
        raise Unpickled

    for module in (pickle, cloudpickle):
        monkeypatch.setattr(module, "loads", loads)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Never the same as before."""
    found = bytearray(data)
    while True:
        for _ in range(chance.choice([1, 1, 2, 8])):
            how = chance.randrange(6)
            at = chance.randrange(len(found) + 1)
            if how == 0 and found:
                found[at % len(found)] ^= 1 << chance.randrange(8)
            elif how == 1:
                del found[at:]
            elif how == 2:
                found[at:at] = chance.randbytes(chance.choice([1, 4, 40]))
            elif how == 3:
                del found[at : at + chance.choice([1, 4, 40])]
            elif how == 4:
                found[at : at + 4] = chance.choice([b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
            else:
                found = bytearray(chance.randbytes(chance.randrange(200)))
        if bytes(found) != data:
            return bytes(found)
        found = bytearray(data)


class Target(NamedTuple):
    seeds: list[bytes]
    decode: Callable[[bytes], Any]
    must_refuse: bool  #: whatever was changed; otherwise it may decode to something


def _compressed(data: bytes) -> Any:
    """Where nobody has signed it, as in a row of the log."""
    try:
        return [*unfolded(decode_reports(restored(data)))]
    except PayloadRejected as error:
        raise msgspec.DecodeError(str(error)) from error


EVENTS = [
    StepStarted(run_id=RUN, at=1.0, step=StepKey("a[b]"), attempt=2, claim="c", worker="w", pid=3),
    StepOutput(run_id=RUN, at=1.0, step=StepKey("a[b]"), attempt=1, output="y"),
    HandledOutput(run_id=RUN, at=1.0, step=StepKey("a[b]"), attempt=1, output="y", metadata={"bytes": 5}),
    StepSucceeded(run_id=RUN, at=1.0, step=StepKey("a[b]"), attempt=1, outputs=(REF,), seconds=2.0),
    StepFailed(run_id=RUN, at=1.0, step=StepKey("a"), attempt=1, error=ErrorInfo("Boom", "no", "trace")),
]
TASKS = [StepTask(RUN, StepKey("b"), NodePath("b"), 3, inputs=(TaskInput("x", Stored(REF)),))]
BRIEF = RunBrief(RUN, JobRef("job", "hash", "place"), ExecutorChoice("celery", {"queue": "q"}), tags={"a": "b"})
DISPATCHES = [sign_tasks(hash_of(b"brief"), tasks, RING)[0] for tasks in (TASKS, TASKS * 20)]
PACKED = pack(plain({"value": [1, 2, 3]}, serializer("cloudpickle")), REF, RING)
BODY = b"".join(bytes(part) for part in PACKED.body)
HEADER_SIZE = len(PACKED.header)
PARCEL = Parcel(RUN, 60, RING)
for _number in range(3):
    PARCEL.add(Entry.of(REF, "json", [1], [b"%d" % _number]))


def _dispatch(data: bytes) -> list[StepTask]:
    try:
        fields = msgspec.json.decode(data, type=list[Any])
        dispatch = Dispatch(*fields)
    except (*MALFORMED, TypeError) as error:
        raise PayloadRejected(str(error)) from error
    if not all(isinstance(each, str) for each in (dispatch.brief, dispatch.tasks, dispatch.key, dispatch.mac)):
        raise PayloadRejected("fields of another type")
    if tuple(dispatch) in map(tuple, DISPATCHES):
        raise PayloadRejected("it says the same in other words")
    verify_dispatch(dispatch, RING)
    return open_tasks(dispatch, None)


TARGETS = {
    "events": Target([seal_events(EVENTS, RING)], lambda data: open_events(data, RING), True),
    "what is given back": Target(
        [seal_returned([(RUN, StepKey("make[a]"), 2)], RING)], lambda data: open_returned(data, RING), True
    ),
    "messages": Target([msgspec.json.encode(list(DISPATCHES[0]))], _dispatch, True),
    "messages with many steps": Target([msgspec.json.encode(list(DISPATCHES[1]))], _dispatch, True),
    "values": Target(
        [PACKED.header + BODY], lambda data: unpack(data[:HEADER_SIZE], data[HEADER_SIZE:], REF, RING), True
    ),
    "values that share a key": Target([PARCEL.sealed()], lambda data: opened(data, RUN, PARCEL.name, RING), True),
    "briefs": Target([encode_run(BRIEF)[1]], decode_brief, False),
    "what is told by the way": Target([encode_reports(EVENTS)], lambda data: [*unfolded(decode_reports(data))], False),
    "what was compressed": Target([compacted(encode_reports(EVENTS * 20))], _compressed, False),
    "the log": Target([msgspec.json.encode(EVENTS)], decode_events, False),
}


@pytest.mark.usefixtures("nothing_is_unpickled")
@pytest.mark.parametrize("name", TARGETS)
def test_what_was_changed_is_refused(name: str) -> None:
    target, chance = TARGETS[name], random.Random(7)
    for _ in range(COUNT):
        data = mutated(chance.choice(target.seeds), chance)
        refused: tuple[type[Exception], ...] = REFUSED if target.must_refuse else MALFORMED
        try:
            found = target.decode(data)
        except refused:
            continue
        # A signature in capital letters is the same signature.
        assert not target.must_refuse or found in (TASKS, TASKS * 20), (data, found)


def test_what_was_not_changed_is_not_refused() -> None:
    for name in ("events", "briefs", "the log"):
        assert TARGETS[name].decode(TARGETS[name].seeds[0])
    assert unpack(PACKED.header, BODY, REF, RING) == {"value": [1, 2, 3]}
    assert opened(PARCEL.sealed(), RUN, PARCEL.name, RING) == PARCEL.entries
    for dispatch in DISPATCHES:
        verify_dispatch(dispatch, RING)


@pytest.mark.usefixtures("nothing_is_unpickled")
def test_a_bomb_that_nobody_signed_does_not_go_off() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("true",)

    bomb = pickle.dumps(Bomb())
    stranger = KeyRing(b"x" * 32)
    forged = pack(plain(0, serializer("cloudpickle")), REF, stranger)
    for header in (forged.header, PACKED.header, b"", bomb):
        with pytest.raises(PayloadRejected):
            unpack(header, bomb, REF, RING)


WILD = "ab.-_/\\\0%[],: \n\u202eé~"


def wild(chance: random.Random, longest: int = 12) -> str:
    return "".join(chance.choice(WILD) for _ in range(chance.randrange(longest)))


def test_paths_stay_where_they_are() -> None:
    chance = random.Random(11)
    seen: dict[str, str] = {}
    for _ in range(COUNT):
        text = chance.choice(["", ".", "..", "../", "/etc", "~"]) + wild(chance, 400 if chance.random() < 0.05 else 12)
        part = path_part(text)
        assert part not in ("", ".", "..")
        assert "/" not in part
        assert "\0" not in part
        assert len(part.encode()) <= 255
        assert PurePosixPath("root", part).parent == PurePosixPath("root")
        assert seen.setdefault(part, text) == text, "two texts have one path"


def test_step_keys_come_back() -> None:
    chance = random.Random(13)
    names = "abc_0"
    for _ in range(COUNT):
        node = ".".join("".join(chance.choices(names, k=3)) for _ in range(chance.randint(1, 3)))
        keys = tuple("".join(chance.choices("ab_1", k=chance.randint(1, 4))) for _ in range(chance.randrange(4)))
        assert split_step_key(step_key(node, keys)) == (node, keys)
    for _ in range(COUNT):
        with suppress(ValueError):
            split_step_key(wild(chance))
