"""A code location on another machine: the same questions and answers over the network, to ``opgrid code-server``."""

from __future__ import annotations

import contextlib
import select
import socket
from typing import Final, NamedTuple

import msgspec

from opgrid.contracts.wording import span
from opgrid.io.keys import KeyRing
from orchestrator.locations.messages import Answer, Asked, Failed, decode_answer, encode
from orchestrator.locations.process import LocationAway, LocationBroken
from orchestrator.locations.secure import Channel, NotTrusted

_CONNECT: Final = 5.0  #: seconds, and as many until it greets us
_SLACK: Final = 5.0  #: that an answer may take longer than its question allows, for the way


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class RemoteProcess:
    """A process with user code that a code server has started for us. Connects when it is first asked."""

    def __init__(self, name: str, address: Address, ring: KeyRing) -> None:
        self.name, self.used, self.answers = name, 0.0, 0
        self.memory = self.loaded_with = None  # what the server knows
        self._address, self._ring = address, ring
        self._socket: socket.socket | None = None
        self._channel: Channel | None = None

    @property
    def alive(self) -> bool:
        if self._socket is None:
            return False
        try:
            readable, _, _ = select.select([self._socket], [], [], 0)
        except (OSError, ValueError):
            return False
        return not readable  # nothing comes unasked but the end

    def ask(self, asked: Asked, timeout: float) -> Answer:
        """Raises LocationAway, or LocationBroken, after which this connection is gone."""
        try:
            channel, connection = self._connected()
            connection.settimeout(timeout + _SLACK)
            channel.send(encode(asked), timeout)
            body, _ = channel.receive()
            answer = decode_answer(body)
        except TimeoutError:
            self.kill()
            raise LocationBroken(f"The code server at {self._address} took longer than {span(timeout)}.") from None
        except (OSError, NotTrusted, msgspec.ValidationError) as error:
            self.kill()
            raise LocationBroken(f"The code server at {self._address} cannot be talked to: {error}.") from error
        if isinstance(answer, Failed) and answer.error.kind == LocationBroken.__name__:
            self.kill()  # as it did with its process
            raise LocationBroken(answer.error.message)
        if isinstance(answer, Failed) and answer.error.kind == LocationAway.__name__:
            self.kill()
            raise LocationAway(f"The code server at {self._address} has no room: {answer.error.message}")
        return answer

    def _connected(self) -> tuple[Channel, socket.socket]:
        if self._channel is None or self._socket is None:
            try:
                self._socket = socket.create_connection(self._address, _CONNECT)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                channel = Channel.of_client(self._socket, self._ring)
                channel.send(self.name.encode())
            except OSError as error:  # also where something listens, and nobody is there to greet us
                self.kill()
                raise LocationAway(f"The code server at {self._address} cannot be reached: {error}.") from error
            self._channel = channel
        return self._channel, self._socket

    def kill(self) -> None:
        """The server ends the process when the connection ends."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
