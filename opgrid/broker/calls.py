"""Commands and their answers on connections that are kept: what redis-py's clients do around each call takes longer
than to send it and to read what comes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import redis
from hiredis import pack_command

from opgrid.broker.connection import HEALTH_CHECK_INTERVAL

Command = Sequence[str | bytes | int]
#: What becomes of a connection that was lost, as redis-py says it.
_BROKEN: Final = (redis.ConnectionError, redis.TimeoutError)
_pack: Final[Any] = pack_command  #: which takes more than one word, whatever its types say


class Calls:
    """For several threads, not for several processes. Its connections are closed with the client."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool: Any = client.connection_pool
        self._kept: list[tuple[Any, float]] = []  #: connections that nobody uses, and since when

    def ask(self, *commands: Command) -> list[Any]:
        """Their answers, in one round trip; that of a command which is refused is an exception. Tries again like the
        client: commands may arrive twice. Raises what redis-py raises where the server cannot be reached.
        """
        connection = self._connection()
        try:
            return list(
                connection.retry.call_with_retry(
                    lambda: _asked(connection, commands), lambda _: connection.disconnect()
                )
            )
        except BaseException:
            connection.disconnect()  # what is still to be read there answers nobody
            raise
        finally:
            self._keep(connection)

    def ask_once(self, *commands: Command) -> list[Any]:
        """The same, but for what is not to arrive twice: it is not tried again."""
        connection = self._connection()
        try:
            return _asked(connection, commands)
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._keep(connection)

    def begin(self, *commands: Command) -> Asked:
        """The same, for who has something else to do meanwhile. Raises nothing: ``Asked.answers`` does."""
        connection = self._connection_at_hand()
        if connection is not None:
            try:
                _send(connection, commands)
            except _BROKEN:
                self._give_up(connection)
                connection = None
            except BaseException:
                self._give_up(connection)  # half of it may have been sent
                raise
        return Asked(self, connection, commands)

    def _keep(self, connection: Any) -> None:
        self._kept.append((connection, time.monotonic()))

    def _give_up(self, connection: Any) -> None:
        """What is still to be read there answers nobody."""
        connection.disconnect()
        self._keep(connection)

    def _connection_at_hand(self) -> Any:
        """None where there is none, and none can be made."""
        try:
            return self._connection()
        except _BROKEN:
            return None

    def _connection(self) -> Any:
        try:
            connection, since = self._kept.pop()
        except IndexError:
            return self._pool.get_connection()
        if time.monotonic() - since > HEALTH_CHECK_INTERVAL:
            self._pool.release(connection)
            return self._pool.get_connection()  # which looks whether the server has closed it
        return connection


class Asked:
    """Commands that are on their way. One of ``answers`` and ``drop`` is to be called, once."""

    __slots__ = ("_calls", "_commands", "_connection")

    def __init__(self, calls: Calls, connection: Any, commands: Sequence[Command]) -> None:
        self._calls, self._connection, self._commands = calls, connection, commands

    def answers(self) -> list[Any]:
        """As of ``Calls.ask``, which they are given to where their connection has broken."""
        connection = self._connection
        if connection is not None:
            try:
                answers = _read(connection, self._commands)
                self._calls._keep(connection)
                return answers
            except _BROKEN:
                self._calls._give_up(connection)
            except BaseException:
                self._calls._give_up(connection)
                raise
        return self._calls.ask(*self._commands)

    def drop(self) -> None:
        """Nobody wants to know."""
        if self._connection is not None:
            self._calls._give_up(self._connection)


def _asked(connection: Any, commands: Sequence[Command]) -> list[Any]:
    _send(connection, commands)
    return _read(connection, commands)


def _send(connection: Any, commands: Sequence[Command]) -> None:
    connection.send_packed_command([b"".join([_pack(tuple(command)) for command in commands])])


def _read(connection: Any, commands: Sequence[Command]) -> list[Any]:
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(connection.read_response())
        except redis.ResponseError as error:
            answers.append(error)
    return answers
