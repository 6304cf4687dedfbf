"""What workers tell a coordinator: its stream in Redis, and how far that was read, acknowledged and trimmed."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

import msgspec

from executors.celery.tail import MOST, Tail
from opgrid.broker.connection import reaching
from opgrid.broker.messages import Attempted, open_events, open_returned
from opgrid.broker.protocol import Protocol
from opgrid.contracts.executor import Position
from opgrid.contracts.told import Report
from opgrid.contracts.wire import hash_of
from opgrid.crash_points import reach
from opgrid.errors import PayloadRejected
from opgrid.io.keys import KeyRing

_START: Final = "0-0"
_TRIM_EVERY: Final = 1.0  #: seconds
_EVENTS: Final = b"d"
_RETURNED: Final = b"r"

_log = logging.getLogger("opgrid.celery")


class Heard(NamedTuple):
    events: list[Report]
    returned: list[Attempted]  #: by workers, to be sent elsewhere
    was_rung: bool
    is_all: bool  #: there was no more, where that was asked


class Hearing:
    """For one thread, but for ``wake``."""

    def __init__(self, protocol: Protocol, stream: str, ring: KeyRing, database: str, guest: bool) -> None:
        """``database``, ``guest``: see ``ExecutorSetup``."""
        self.generation = b""  #: of the Redis that positions are of
        self._protocol, self._ring, self._stream = protocol, ring, stream
        self._database, self._guest = database, guest
        self._tail = Tail(protocol.client, protocol.keys.events(stream))
        self._entry = self._acknowledged = self._trimmed = _START
        self._next_trim = 0.0

    @property
    def position(self) -> Position:
        return f"{self._place}/{self._entry}"

    def acknowledge(self, position: Position) -> None:
        if self._guest:
            return
        place, _, entry = position.rpartition("/")
        self._acknowledged = entry if entry and place == self._place else _START

    def resume_at(self, position: Position) -> None:
        """Entries of a Redis that has lost its data since may have any number: then all that is there is new."""
        place, _, entry = position.rpartition("/")
        self._entry = entry if entry and place in ("", self._place) else _START

    def start_over(self) -> None:
        self._entry = _START

    def read(self, wait: float, to_the_end: bool = False) -> Heard:
        """What has come since; waits so many seconds for it, or until it is rung. ``to_the_end``: what has come by now,
        without waiting. Raises BrokerUnreachable.
        """
        if to_the_end:
            self._tail.hang_up()  # what waits there has no answer while nothing comes
            wait = 0.0
        with reaching(self._protocol.url):
            entries, rung = self._tail.read(self._entry, wait)
        reach("read")
        heard = Heard([], [], rung, is_all=to_the_end and len(entries) < MOST)
        for position, fields in entries:
            self._entry = position
            self._open(fields, heard)
        return heard

    def wake(self) -> None:
        """A ``read`` or ``pause`` that waits, or the next one, returns at once."""
        self._tail.ring()

    def pause(self, seconds: float) -> bool:
        """Wait, and do not read; whether it was rung."""
        return self._tail.pause(seconds)

    def trim(self, now: float) -> None:
        """Every now and then, of what was acknowledged. Raises BrokerUnreachable."""
        if now >= self._next_trim and self._acknowledged != self._trimmed:
            self._next_trim = now + _TRIM_EVERY
            self._trim()

    def close(self) -> None:
        """Raises BrokerUnreachable."""
        self._tail.close()
        self._trim()

    def _trim(self) -> None:
        reach("trim before")
        self._protocol.trim(self._stream, self._acknowledged, self._database)
        reach("trim after")
        self._trimmed = self._acknowledged

    def _open(self, fields: dict[bytes, bytes], heard: Heard) -> None:
        try:
            if _RETURNED in fields:
                heard.returned.extend(open_returned(fields[_RETURNED], self._ring))
            else:
                heard.events.extend(open_events(fields.get(_EVENTS, b""), self._ring))
        except (PayloadRejected, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.error("An entry of stream %s was thrown away: %s", self._stream, error)

    @property
    def _place(self) -> str:
        """A word for the generation that positions are of."""
        return hash_of(self.generation)[:8]
