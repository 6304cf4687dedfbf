"""What travels: signed batches of step tasks inside Celery messages, and signed batches of events on the stream."""

from __future__ import annotations

import base64
import socket
import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from opgrid.broker.keys import Keys, priority_step
from opgrid.contracts.compact import compacted, compressed, restored
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import AnyEvent
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.told import Report, decode_reports, encode_reports
from opgrid.contracts.wire import decode_tasks, encode_brief, encode_tasks, hash_of
from opgrid.errors import PayloadRejected
from opgrid.ids import RunId, StepKey, split_step_key
from opgrid.io.envelope import open_sealed, seal
from opgrid.io.keys import KeyRing

TASK: Final = "opgrid.steps"  #: the Celery task that runs steps
#: Longer lists of tasks are compressed: many that are alike take a fortieth of the room. What is longer than that is
#: stored beside the message, which then holds its hash.
LONGEST_TASKS: Final = 1200
LONGEST_PACKED: Final = 4096
_LONGEST_UNPACKED: Final = 128 * 1024  #: of what is longer, tasks are seldom so much alike
_PACKED: Final = "KLUv/"  #: that they begin with then, and JSON does not
#: Bytes of a run brief that may travel with the first messages of its run, so that nobody has to fetch it.
LONGEST_BRIEF: Final = 2000
BRIEF: Final = "opgrid_brief"  #: the header that holds it
#: The header that says whose steps these are, by the hash of their brief: who runs others of them may take them along.
ALONG: Final = "opgrid_along"
_PURPOSE_TASKS: Final = "dispatch"
_PURPOSE_EVENTS: Final = "event"
_PURPOSE_RETURNED: Final = "returned"
#: Run, step and attempt.
Attempted = tuple[RunId, StepKey, int]
_json = msgspec.json.Encoder().encode
_returned = json_decoder(list[Attempted]).decode


class Dispatch(NamedTuple):
    """What a worker gets."""

    brief: str  #: content hash
    tasks: str  #: JSON; or that compressed, in base64; or, when ``stored``, the hash of the JSON
    stored: bool
    key: str  #: id of the key that signed, hex
    mac: str  #: hex


def encode_run(brief: RunBrief) -> tuple[str, bytes]:
    """A brief and the hash that it is stored under."""
    data = encode_brief(brief)
    return hash_of(data), data


def sign_tasks(brief: str, tasks: Sequence[StepTask], ring: KeyRing) -> tuple[Dispatch, bytes | None]:
    """A dispatch, and the bytes that must be stored beside it, if any."""
    text = encode_tasks(tasks)
    shown = _short(text)
    stored = not shown
    shown = shown or hash_of(text)
    mac = ring.sign(_PURPOSE_TASKS, _framed(brief, shown, stored))
    return Dispatch(brief, shown, stored, ring.active.hex(), mac.hex()), text if stored else None


def _short(text: bytes) -> str:
    """What may travel with the message itself; nothing where that would be too long."""
    if len(text) <= LONGEST_TASKS:
        return text.decode()
    if len(text) > _LONGEST_UNPACKED:
        return ""
    packed = compressed(text)
    return base64.b64encode(packed).decode() if len(packed) <= LONGEST_PACKED else ""


def verify_dispatch(dispatch: Dispatch, ring: KeyRing) -> None:
    """Raises PayloadRejected."""
    try:
        key, mac = bytes.fromhex(dispatch.key), bytes.fromhex(dispatch.mac)
    except ValueError as error:
        raise PayloadRejected("no signed message: key or signature are not hexadecimal") from error
    ring.verify(_PURPOSE_TASKS, key, mac, _framed(dispatch.brief, dispatch.tasks, dispatch.stored))


def open_tasks(dispatch: Dispatch, data: bytes | None) -> list[StepTask]:
    """The tasks of a verified dispatch; ``data``: what was stored beside it. Raises PayloadRejected."""
    if not dispatch.stored:
        packed = dispatch.tasks.startswith(_PACKED)
        return decode_tasks(restored(base64.b64decode(dispatch.tasks)) if packed else dispatch.tasks)
    if data is None or hash_of(data) != dispatch.tasks:
        raise PayloadRejected("the stored step tasks of a message are missing or were changed")
    return decode_tasks(data)


def seal_events(events: Sequence[AnyEvent], ring: KeyRing) -> bytes:
    return seal(_PURPOSE_EVENTS, [compacted(encode_reports(events))], ring)


def open_events(data: bytes, ring: KeyRing) -> list[Report]:
    """Raises PayloadRejected; msgspec.MsgspecError and UnicodeDecodeError for what no version of opgrid wrote."""
    (sealed,) = open_sealed(data, _PURPOSE_EVENTS, ring)
    return decode_reports(restored(sealed))


def seal_returned(returned: Sequence[Attempted], ring: KeyRing) -> bytes:
    """What a worker gives back without having begun it, for its coordinator to send again."""
    return seal(_PURPOSE_RETURNED, [_json(returned)], ring)


def open_returned(data: bytes, ring: KeyRing) -> list[Attempted]:
    """Raises PayloadRejected; msgspec.MsgspecError and UnicodeDecodeError for what no version of opgrid wrote."""
    (text,) = open_sealed(data, _PURPOSE_RETURNED, ring)
    return _returned(text)


class Label(NamedTuple):
    """How Flower shows a message."""

    task_id: str
    name: str
    arguments: str


def label(job: str, tasks: Sequence[StepTask]) -> Label:
    """Names carry no mapping keys, and not how many steps there are: they become labels of metrics."""
    first = tasks[0]
    others = sum(1 + len(task.then) for task in tasks) - 1
    more = f"+{others}" if others else ""
    op, _ = split_step_key(first.step)
    return Label(
        f"{first.run_id[:8]}.{first.step}.{first.attempt}{more}",
        f"{job}.{op}",
        f"run={first.run_id} step={first.step}{more} try={first.attempt}",
    )


class CeleryMessages:
    """Messages as kombu's Redis transport writes them, seven times cheaper than ``apply_async``."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.origin = f"opgrid@{socket.gethostname()}"

    def build(
        self,
        dispatch: Dispatch,
        shown: Label,
        queue: str,
        priority: int,
        brief: bytes | None = None,
        along: bool = False,
    ) -> tuple[str, bytes]:
        """The key of the list that it belongs on, and the message. ``brief``: of the run, to travel along if it is
        small. It needs no signature of its own: the dispatch says its hash. ``along``: a process that runs others of
        that run may take it from its queue (``Protocol.take``).
        """
        step = priority_step(priority)
        body = _json([list(dispatch), {}, _NO_CANVAS])
        message = {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                **_HEADERS,
                "id": shown.task_id,
                "root_id": shown.task_id,
                "shadow": shown.name,
                "argsrepr": shown.arguments,
                "origin": self.origin,
                **({} if brief is None or len(brief) > LONGEST_BRIEF else {BRIEF: brief.decode()}),
                **({ALONG: dispatch.brief} if along else {}),
            },
            "properties": {
                "correlation_id": shown.task_id,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": step,
                "body_encoding": "base64",
                "delivery_tag": uuid.uuid4().hex,
            },
        }
        return self.keys.queue(queue, step), _json(message)


def may_go_along(content: str) -> bytes:
    """What is written in messages with steps of this brief that may be taken along."""
    return _json({ALONG: content})[1:-1]


def read_message(data: bytes) -> tuple[str, Dispatch]:
    """The id and the dispatch of what ``CeleryMessages.build`` has made. Raises PayloadRejected."""
    try:
        message = _decode_message(data)
        arguments, _, _ = _decode_body(base64.b64decode(message.body))
        return message.headers.id, Dispatch(*arguments)
    except (msgspec.MsgspecError, ValueError) as error:
        raise PayloadRejected(f"no message of ours: {error}") from error


class _Headers(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    body: str
    headers: _Headers


_decode_message = json_decoder(_Message).decode
_decode_body = json_decoder(tuple[tuple[str, str, bool, str, str], dict[str, object], object]).decode
_NO_CANVAS: Final[dict[str, None]] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_HEADERS: Final[dict[str, Any]] = {
    "lang": "py",
    "task": TASK,
    "eta": None,
    "expires": None,
    "group": None,
    "group_index": None,
    "retries": 0,
    "timelimit": [None, None],
    "parent_id": None,
    "kwargsrepr": "{}",
    "ignore_result": True,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
}


def _framed(brief: str, tasks: str, stored: bool) -> bytes:
    """``brief`` is of fixed length, so that nothing can run into each other."""
    if len(brief) != 32:
        raise PayloadRejected("no hash of a run brief")
    return f"{brief}{int(stored)}{tasks}".encode()
