"""``opgrid code-server``: the code of a location, for a service on other machines. Each connection that knows the key
gets a process of its own.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from opgrid.contracts.events import ErrorInfo
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing
from opgrid.trouble import Trouble
from orchestrator.locations.messages import Answer, Describe, Failed, decode_asked, encode
from orchestrator.locations.process import LocationAway, LocationBroken, LocationProcess
from orchestrator.locations.secure import Channel, NotTrusted

_GREETING: Final = 5.0  #: seconds that it may take to show the key
_MOST: Final = 64  #: connections that know the key, at a time; and as many that do not yet
_LOOK: Final = 0.5
_LOADING: Final = 120.0  #: seconds that the first look at the code may take
#: Who says nothing for a minute is asked whether it is there; who reads nothing of an answer for a minute is not.
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}

_log = logging.getLogger("opgrid.code")


class CodeServer:
    """Serves from ``run`` until ``stop``. ``bound`` is a listening socket, which this closes."""

    def __init__(self, bound: socket.socket, code: CodeTarget, ring: KeyRing, environ: Mapping[str, str]) -> None:
        self._bound, self._code, self._ring, self._environ = bound, code, ring, environ
        self._stopped = threading.Event()
        self._free = threading.BoundedSemaphore(_MOST)
        self._open: set[socket.socket] = set()
        self._strangers: dict[socket.socket, float] = {}  #: who has yet to show the key, and since when
        self._lock = threading.Lock()
        self._full = Trouble(_log)

    def run(self) -> None:
        threading.Thread(target=self._try, daemon=True).start()
        self._bound.listen(_MOST)
        self._bound.settimeout(_LOOK)
        with self._bound:
            while not self._stopped.is_set():
                with contextlib.suppress(TimeoutError, ConnectionError):
                    connection, address = self._bound.accept()
                    self._open.add(connection)
                    with self._lock:
                        self._strangers[connection] = time.monotonic()
                    threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()
                self._send_away()
                with self._lock:
                    self._full.is_not_seen("Nobody is refused any more")
        for connection in list(self._open):
            _end(connection)
        until = time.monotonic() + 5.0
        while self._open and time.monotonic() < until:
            time.sleep(0.05)

    def stop(self) -> None:
        self._stopped.set()

    def _send_away(self) -> None:
        """Strangers who take long; where there are many, who has taken longest: others come to their turn."""
        with self._lock:
            late = time.monotonic() - _GREETING
            many = len(self._strangers) - _MOST
            for number, (connection, since) in enumerate(self._strangers.items()):
                if number < many or since < late:
                    _end(connection)

    def _no_stranger(self, connection: socket.socket) -> None:
        with self._lock:
            self._strangers.pop(connection, None)

    def _try(self) -> None:
        """Loads the code once, for who reads the log: those who connect, maybe days later, are told themselves."""
        try:
            process = LocationProcess(self._code.location, self._code, self._environ)
            try:
                answer = process.ask(Describe(), _LOADING)
            finally:
                process.kill()
        except LocationBroken as broken:
            _log.warning("The code cannot be loaded: %s", broken)
            return
        if isinstance(answer, Failed):
            _log.warning("The code cannot be loaded: %s: %s", answer.error.kind, answer.error.message)

    def _serve(self, connection: socket.socket, address: tuple[str, int]) -> None:
        try:
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                channel = Channel.of_server(connection, self._ring)
                name = channel.receive()[0].decode()
                self._no_stranger(connection)
                self._admit(connection, channel, name)
        except NotTrusted as error:
            _log.warning("%s:%s is refused: %s.", *address[:2], error)
        except (OSError, UnicodeDecodeError, msgspec.ValidationError):
            pass  # it has gone, or talks nonsense
        finally:
            self._no_stranger(connection)
            self._open.discard(connection)

    def _admit(self, connection: socket.socket, channel: Channel, name: str) -> None:
        if not self._free.acquire(blocking=False):
            self._refuse(connection, channel)
            return
        try:
            _notice_its_end(connection)
            self._answer(connection, channel, name)
        finally:
            self._free.release()

    def _refuse(self, connection: socket.socket, channel: Channel) -> None:
        """In answer to its first question: nobody hears what is said before."""
        open_now = f"{_MOST} connections are open, as many as it serves at a time."
        with self._lock:
            self._full.is_there(f"Others are refused: {open_now}")
        connection.settimeout(_GREETING)
        channel.receive()
        hint = "It goes on when one ends; another code server of the same code may serve some of them."
        channel.send(encode(Failed(ErrorInfo(LocationAway.__name__, f"{open_now} {hint}"))))

    def _answer(self, connection: socket.socket, channel: Channel, name: str) -> None:
        process = LocationProcess(name, self._code, self._environ)
        try:
            while True:
                body, timeout = channel.receive()
                asked = decode_asked(body)
                watched = threading.Event()
                watcher = threading.Thread(target=_kill_when_gone, args=(connection, process, watched), daemon=True)
                watcher.start()
                try:
                    answer: Answer = process.ask(asked, timeout)
                except LocationBroken as broken:
                    channel.send(encode(Failed(ErrorInfo(type(broken).__name__, str(broken)))))
                    return
                finally:
                    watched.set()
                    watcher.join()
                channel.send(encode(answer))
        finally:
            process.kill()


def _kill_when_gone(connection: socket.socket, process: LocationProcess, done: threading.Event) -> None:
    """User code that hangs does not outlive who asked."""
    while not done.wait(_LOOK):
        readable, _, _ = select.select([connection], [], [], 0)
        if readable and not connection.recv(1, socket.MSG_PEEK):
            process.kill()
            return


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _notice_its_end(connection: socket.socket) -> None:
    """Also where the machine of who asks is gone, and says so no more: its place is for others."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
