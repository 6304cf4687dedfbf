"""Connections of the web: who asks nothing, asks byte by byte, or does not read the answer, holds none for long."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any, ClassVar, Final, cast

import h11
import uvicorn
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

#: Connections that are taken before others of this process get their turn.
AT_ONCE: Final = 32
#: Descriptors that are left for what is no connection, and for those that come before one that is closed has gone.
_SPARE: Final = 64 + 4 * AT_ONCE
_WAITING: Final = 1024  #: connections that the system keeps meanwhile
_UNREAD: Final = 60  #: seconds that nothing of an answer is read


class Connection(H11Protocol):
    """Where there are as many as this process may have, the one goes that has been waited on for longest."""

    patience: ClassVar[float] = 20.0  #: seconds that the head of a request may take, and what is left of the one before

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._since: float | None = None  #: when it began to be waited on
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait()
        if len(self.connections) > _most():
            self._make_room()

    def handle_events(self) -> None:
        super().handle_events()
        if self._since is not None and not getattr(self.cycle, "response_complete", True):  # there may be none
            self._wait_no_more()

    def on_response_complete(self) -> None:
        self._wait()
        super().on_response_complete()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._wait_no_more()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._wait_no_more()
        self._since = self.loop.time()
        self._late = self.loop.call_later(self.patience, self._go)

    def _wait_no_more(self) -> None:
        self._since = None
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _go(self) -> None:
        """What it still has to read of an answer, it may."""
        self._wait_no_more()
        self.transport.close()

    def _make_room(self) -> None:
        others = (each for each in self.connections if isinstance(each, Connection) and each._since is not None)
        min(others, key=lambda each: each._since or 0.0)._go()


class Watching(WebSocketsSansIOProtocol):
    """A connection over which changes are told: it keeps no more for who does not read, or sends crumbs, than for
    others.
    """

    parts: ClassVar[int] = 1000  #: that a message may come in

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._pong = b""  #: to be sent when there is room

    def handle_ping(self) -> None:
        """Of several that nobody reads, the last is answered, as the protocol allows."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self._pong = b"".join(self.conn.data_to_send()) or self._pong

    def resume_writing(self) -> None:
        if self._pong:
            self.transport.write(self._pong)
            self._pong = b""
        super().resume_writing()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < self.parts:
            super().handle_cont(event)
        elif not self.close_sent:
            self.frames = []
            self.conn.fail(1009, f"more than {self.parts} parts")
            self.handle_parser_exception()

    def send_receive_event_to_app(self) -> None:
        """What says that it is text, and is none, is refused, and is nothing to be logged."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            self.conn.fail(1007)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        await self.writable.wait()
        if self.close_sent and message["type"] == "websocket.send":
            raise ClientDisconnected  # it did not answer, or was refused
        await super().send(message)


class Server(uvicorn.Server):
    """Takes connections a few at a time, and lets others wait before they are taken."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_WAITING)


def close_unread(listening: socket.socket) -> None:
    """Connections whose other end reads nothing of what was sent are closed by the system, where it can."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD * 1000)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _most() -> int:
    may_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(may_open - _SPARE, may_open // 4) if may_open != resource.RLIM_INFINITY else 1 << 30
