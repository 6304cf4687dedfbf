"""What the pool and its children say to each other: frames of one kind byte and a payload, each behind its length."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from opgrid.contracts.events import AnyEvent, ErrorInfo
from opgrid.contracts.tasks import CodeTarget, StepTask
from opgrid.ids import StepKey

# From the pool to a child.
SETUP: Final = b"S"  #: Setup
JOB: Final = b"J"  #: a job by value: cloudpickle
RUN: Final = b"R"  #: RunBrief; once a run, before its first task
DO: Final = b"D"  #: a list of Do, to be done one after another
BACK: Final = b"B"  #: what has not begun is wanted back
# From a child to the pool.
READY: Final = b"I"  #: the child waits for its first task
TOLD: Final = b"E"  #: events of the step that it runs
ENDED: Final = b"O"  #: the events up to the outcome; its hooks follow
DONE: Final = b"F"  #: Done; the child goes on with the next it was told to do
GIVEN: Final = b"G"  #: a list of claims: what it gives back

#: Runs that a child knows at a time; the pool forgets with it and tells it again.
RUNS_KEPT: Final = 8

_HEAD: Final = struct.Struct(">Ic")


class Setup(msgspec.Struct, frozen=True, omit_defaults=True):
    home: str
    broker_url: str | None = None
    code: CodeTarget | None = None
    one_host: bool = False


class After(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a step ended whose own process died."""

    error: ErrorInfo | None = None


class Do(msgspec.Struct, frozen=True, omit_defaults=True):
    task: StepTask
    claim: str = ""
    after: After | None = None  #: not the step, only its hooks


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last events of a step."""

    events: list[AnyEvent]
    then: StepKey | None = None  #: the step of the same crew that begins now
    imported: dict[str, str] = {}  #: modules that the child had not said to have, and their files


def claim_of(first: str, place: int) -> str:
    """Of a step of a crew, by its place behind the first."""
    return f"{first}-{place}" if place else first


def send(to: socket.socket, kind: bytes, payload: bytes = b"") -> None:
    to.sendall(_HEAD.pack(len(payload), kind) + payload)


def receive(of: socket.socket) -> tuple[bytes, bytes] | None:
    """One frame; None when the other side has gone."""
    head = _exactly(of, _HEAD.size)
    if head is None:
        return None
    length, kind = _HEAD.unpack(head)
    payload = _exactly(of, length)
    return None if payload is None else (kind, payload)


def _exactly(of: socket.socket, length: int) -> bytes | None:
    if length == 0:
        return b""
    data = of.recv(length)
    if len(data) == length:
        return data
    parts = [data]
    missing = length - len(data)
    while missing and data:
        data = of.recv(min(missing, 1 << 20))
        parts.append(data)
        missing -= len(data)
    return None if missing else b"".join(parts)


class Incoming:
    """Bytes as they arrive, into whole frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(buffer, at)
            end = at + _HEAD.size + length
            if len(buffer) < end:
                break
            yield kind, bytes(buffer[at + _HEAD.size : end])
            at = end
        del buffer[:at]
