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
            self._kept.append((connection, time.monotonic()))

    def _connection(self) -> Any:
        try:
            connection, since = self._kept.pop()
        except IndexError:
            return self._pool.get_connection()
        if time.monotonic() - since > HEALTH_CHECK_INTERVAL:
            self._pool.release(connection)
            return self._pool.get_connection()  # which looks whether the server has closed it
        return connection


def _asked(connection: Any, commands: Sequence[Command]) -> list[Any]:
    connection.send_packed_command([b"".join([_pack(tuple(command)) for command in commands])])
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(connection.read_response())
        except redis.ResponseError as error:
            answers.append(error)
    return answers
