"""How contracts travel: as JSON, decoded strictly into the same frozen classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import AnyEvent
from opgrid.contracts.structure import JobStructure
from opgrid.contracts.tasks import RunBrief, StepTask

#: Of what orchestrators and workers say to each other, and share in Redis. Raised when an older reader could misread
#: what a newer one writes; new optional fields do not raise it. Each version has queues of its own (``Keys.celery``),
#: so that nobody gets what it does not understand. What workers of the version before still tell has to be understood.
VERSION = 1

_encode = msgspec.json.Encoder().encode
_ordered = msgspec.json.Encoder(order="deterministic").encode
_event = json_decoder(AnyEvent)
_events = json_decoder(list[AnyEvent])
_task = json_decoder(StepTask)
_tasks = json_decoder(list[StepTask])
_brief = json_decoder(RunBrief)


def encode_legibly(value: object) -> bytes:
    """As JSON, whatever users wrote: what is no text, as in names of files that are not UTF-8, is written out; keys are
    what ``json`` makes of them.
    """
    try:
        return _encode(value)
    except (UnicodeEncodeError, TypeError):
        return _encode(_legible(msgspec.to_builtins(value, enc_hook=repr)))


def legible(text: str) -> str:
    """With what is no text written out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _legible(value: Any) -> Any:
    if isinstance(value, str):
        return legible(value)
    if isinstance(value, dict):
        return {_key(key): _legible(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_legible(each) for each in value]
    return value


def _key(key: Any) -> Any:
    return json.dumps(key) if key is None or isinstance(key, bool) else _legible(key)


def encode_event(event: AnyEvent) -> str:
    """As ``encode_legibly``."""
    try:
        return _encode(event).decode()
    except (UnicodeEncodeError, TypeError):
        return encode_legibly(event).decode()


def decode_event(data: bytes | str) -> AnyEvent:
    """Raises msgspec.ValidationError for what no version of opgrid wrote."""
    found: AnyEvent = _event.decode(data)
    return found


def encode_events(events: Sequence[AnyEvent]) -> bytes:
    return encode_legibly(list(events))


def decode_events(data: bytes | str) -> list[AnyEvent]:
    return _events.decode(data)


def encode_tasks(tasks: Sequence[StepTask]) -> bytes:
    return _encode(list(tasks))


def decode_task(data: bytes | str) -> StepTask:
    return _task.decode(data)


def decode_tasks(data: bytes | str) -> list[StepTask]:
    return _tasks.decode(data)


def encode_brief(brief: RunBrief) -> bytes:
    return _ordered(brief)


def decode_brief(data: bytes | str) -> RunBrief:
    return _brief.decode(data)


def content_hash(value: object) -> str:
    """Hex digest over the ordered JSON of a contract: equal content, equal hash, in any process."""
    return hash_of(_ordered(value))


def hash_of(data: bytes) -> str:
    """Hex digest of bytes; of ordered JSON, the content hash of what it says."""
    return hashlib.sha256(data).hexdigest()[:32]


def structure_hash(structure: JobStructure) -> str:
    return content_hash(structure)


def code_version(jobs: Iterable[tuple[str, str]]) -> str:
    """Of the names of all jobs and the hashes of their structures: equal wherever the same code is loaded."""
    return content_hash(sorted(jobs))[:12]
