"""A connection between processes that have the same secret key: both sides prove that, and each message is signed for
its place in the conversation. Nothing is hidden: what has to be needs a network that hides it.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
from typing import Final, Self

from opgrid.errors import OpGridError, PayloadRejected
from opgrid.io.keys import ID_SIZE, MAC_SIZE, KeyRing

_PURPOSE: Final = "code server"
_SESSION: Final = "code server session"
_NONCE: Final = 32
_HELLO: Final = b"opgrid code server 1"
_FRAME: Final = struct.Struct(">dI")
_LONGEST: Final = 256 * 2**20


class NotTrusted(OpGridError):
    """The other side has not the same key, or somebody changed what it said."""


class Channel:
    """Messages of bytes, each with a number of seconds. Used by one thread at a time."""

    def __init__(self, connection: socket.socket, session: bytes, mine: bytes, theirs: bytes) -> None:
        self._connection, self._session, self._mine, self._theirs = connection, session, mine, theirs
        self._sent = self._received = 0

    @classmethod
    def of_server(cls, connection: socket.socket, ring: KeyRing) -> Self:
        """Raises NotTrusted, OSError."""
        ours = secrets.token_bytes(_NONCE)
        connection.sendall(_HELLO + ours)
        key, theirs, mac = _split(_exactly(connection, ID_SIZE + _NONCE + MAC_SIZE))
        _check(ring, key, mac, b"client", ours, theirs)
        connection.sendall(ring.active + ring.sign(_PURPOSE, b"server", ours, theirs))
        return cls(connection, ring.derive(_SESSION, key, ours, theirs), b"server", b"client")

    @classmethod
    def of_client(cls, connection: socket.socket, ring: KeyRing) -> Self:
        """Raises NotTrusted, OSError."""
        hello = _exactly(connection, len(_HELLO) + _NONCE)
        if not hello.startswith(_HELLO):
            raise NotTrusted("what answers there is no opgrid code server of this version")
        theirs, ours = hello[len(_HELLO) :], secrets.token_bytes(_NONCE)
        connection.sendall(ring.active + ours + ring.sign(_PURPOSE, b"client", theirs, ours))
        try:
            answer = _exactly(connection, ID_SIZE + MAC_SIZE)
        except ConnectionError:
            raise NotTrusted("it does not accept our key: both sides need the same OPGRID_SECRET_KEY") from None
        _check(ring, answer[:ID_SIZE], answer[ID_SIZE:], b"server", theirs, ours)
        return cls(connection, ring.derive(_SESSION, ring.active, theirs, ours), b"client", b"server")

    def send(self, body: bytes, seconds: float = 0.0) -> None:
        """Raises OSError."""
        head = _FRAME.pack(seconds, len(body))
        mac = self._mac(self._mine, self._sent, head, body)
        self._sent += 1
        self._connection.sendall(head + mac + body)

    def receive(self) -> tuple[bytes, float]:
        """Raises ConnectionError when the other side has gone, NotTrusted, OSError."""
        head = _exactly(self._connection, _FRAME.size)
        seconds, length = _FRAME.unpack(head)
        if length > _LONGEST:
            raise NotTrusted(f"a message of {length} bytes")
        mac = _exactly(self._connection, MAC_SIZE)
        body = _exactly(self._connection, length)
        if not hmac.compare_digest(mac, self._mac(self._theirs, self._received, head, body)):
            raise NotTrusted("a message was changed on its way")
        self._received += 1
        return body, seconds

    def _mac(self, side: bytes, number: int, head: bytes, body: bytes) -> bytes:
        made = hmac.new(self._session, side + struct.pack(">Q", number) + head, "sha256")
        made.update(body)
        return made.digest()


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    return data[:ID_SIZE], data[ID_SIZE : ID_SIZE + _NONCE], data[ID_SIZE + _NONCE :]


def _check(ring: KeyRing, key: bytes, mac: bytes, *parts: bytes) -> None:
    try:
        ring.verify(_PURPOSE, key, mac, *parts)
    except PayloadRejected as error:
        raise NotTrusted(str(error)) from error


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = connection.recv(min(count - len(found), 2**20))
        if not part:
            raise ConnectionResetError("the other side has closed the connection")
        found += part
    return bytes(found)
