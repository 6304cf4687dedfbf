"""The end of a Redis stream, and waiting for what comes there."""

from __future__ import annotations

import select
import time
from typing import Any, Final, NamedTuple

import redis

from opgrid.broker.connection import SOCKET_TIMEOUT
from opgrid.steps.bell import Bell

#: Entries that one read takes at most.
MOST: Final = 2000
#: Seconds that Redis is asked to wait; it has to answer before its connection counts as broken.
_BLOCK: Final = 2.0
_SILENT: Final = "it has not answered for {:.0f} s"


class Entry(NamedTuple):
    position: str
    fields: dict[bytes, bytes]


class Tail:
    """Who waits for entries can be woken without a word to Redis: what it was asked stays asked, and the answer is
    read by whoever waits next. For one thread, but for ``ring``.
    """

    def __init__(self, client: redis.Redis, stream: str) -> None:
        self._pool: Any = client.connection_pool
        self._stream = stream
        self._connection: Any = None  #: ours alone
        self._asked: tuple[str, float] | None = None  #: what Redis has still to answer: entries after which, since when
        self._bell = Bell()

    def ring(self) -> None:
        """For other threads and signal handlers: a ``read`` that waits, or the next one, returns at once."""
        self._bell.ring()

    def pause(self, seconds: float) -> bool:
        """Wait, and do not read; whether it was rung."""
        return self._bell.wait(seconds)

    def read(self, after: str, wait: float) -> tuple[list[Entry], bool]:
        """Entries after that position, and whether it was rung. Waits so many seconds for the first of them, or until
        it is rung. Raises what redis-py raises, when it has tried as often as the client does.
        """
        if self._asked is not None and self._asked[0] != after:
            self.hang_up()
        if self._connection is None:
            self._connection = self._pool.get_connection()
        until = time.monotonic() + wait
        try:
            found: tuple[list[Entry], bool] = self._connection.retry.call_with_retry(
                lambda: self._listen(after, until), lambda error: self.hang_up()
            )
        except BaseException:
            self.hang_up()  # nobody knows how much of the answer was read
            raise
        return found

    def hang_up(self) -> None:
        """What was asked is asked no more."""
        self._asked = None
        if self._connection is not None:
            self._connection.disconnect()

    def close(self) -> None:
        self.hang_up()
        self._bell.close()

    def _listen(self, after: str, until: float) -> tuple[list[Entry], bool]:
        while True:
            left = until - time.monotonic()
            if self._asked is None:
                self._ask(after, waits=left > 0)
                if left <= 0:
                    return self._answer(), self._bell.wait(0.0)
            answered, rung = self._wait(max(left, 0.0))
            entries = self._answer() if answered else []
            if entries or rung or time.monotonic() >= until:
                return entries, rung

    def _ask(self, after: str, waits: bool) -> None:
        block = ("BLOCK", round(_BLOCK * 1000)) if waits else ()
        self._connection.send_command("XREAD", "COUNT", MOST, *block, "STREAMS", self._stream, after)
        self._asked = after, time.monotonic()

    def _wait(self, seconds: float) -> tuple[bool, bool]:
        """Whether Redis has answered, and whether somebody rang. Raises redis.TimeoutError."""
        assert self._asked is not None
        given_up = self._asked[1] + SOCKET_TIMEOUT
        if self._connection.can_read():  # it was read from the socket already
            return True, self._bell.wait(0.0)
        socket = self._connection._sock
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        ready = {number for number, _ in poll.poll(max(0.0, min(seconds, given_up - time.monotonic())) * 1000)}
        if self._bell.fileno() in ready:
            self._bell.hear()
        answered = socket.fileno() in ready
        if not answered and time.monotonic() >= given_up:
            raise redis.TimeoutError(_SILENT.format(SOCKET_TIMEOUT))
        return answered, self._bell.fileno() in ready

    def _answer(self) -> list[Entry]:
        """Takes as long as a connection may be silent, at most."""
        answer = self._connection.read_response()
        self._asked = None
        streams = answer.values() if isinstance(answer, dict) else [each[1] for each in answer or []]  # of RESP3, RESP2
        return [
            Entry(position.decode(), dict(zip(fields[::2], fields[1::2], strict=True)))
            for entries in streams
            for position, fields in entries
        ]
