"""Connections of the web: who asks nothing, asks byte by byte, or does not read the answer, holds none for long."""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any, ClassVar, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

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


def _most() -> int:
    may_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(may_open - _SPARE, may_open // 4) if may_open != resource.RLIM_INFINITY else 1 << 30
