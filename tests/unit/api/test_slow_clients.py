"""Who is slow, or says nothing, is waited for so long and no longer."""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from orchestrator.api import app as asgi
from orchestrator.api import connections
from orchestrator.api.access import Access
from orchestrator.api.connections import Connection
from orchestrator.cli.web import Serving, listening
from tests.unit.api.conftest import Api

HEADERS = b"Host: localhost\r\nAuthorization: Bearer secret\r\nContent-Type: application/json\r\n"
LOGIN = b"POST /login HTTP/1.1\r\n" + HEADERS + b"Content-Length: %d\r\n\r\n"


@pytest.fixture
def place(api: Api) -> Iterator[tuple[str, int]]:
    """Where it listens."""
    with listening("127.0.0.1", 0) as bound:
        access = Access(api.backend.settings.web, environ={"OPGRID_WEB_TOKEN": "secret"})
        serving = Serving(asgi.make_app(api.backend, access), bound)
        yield bound.getsockname()
        serving.stop()


def end_of(connection: socket.socket) -> bytes:
    """What comes until it is closed."""
    with connection.makefile("rb") as said:
        return said.read()


def test_a_request_that_does_not_begin_is_not_waited_for(
    place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "patience", 0.3)
    with socket.create_connection(place, 10) as silent, socket.create_connection(place, 10) as dripping:
        began = time.monotonic()
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        while _takes_more(dripping):
            assert time.monotonic() < began + 10
        assert end_of(silent) == b""


def _takes_more(connection: socket.socket) -> bool:
    """Another byte of a header, a twentieth of a second later, unless it was closed meanwhile."""
    connection.settimeout(0.05)
    try:
        connection.sendall(b"X")
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_what_is_left_of_a_refused_request_is_not_waited_for(
    place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "patience", 0.3)
    with socket.create_connection(place, 10) as connection:
        connection.sendall(LOGIN % 1_000_000 + b" " * 5000)
        began = time.monotonic()
        while _takes_more(connection):
            assert time.monotonic() < began + 10


def test_who_has_asked_is_answered_however_long_that_takes(
    place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, "patience", 0.1)
    with socket.create_connection(place, 10) as connection:
        connection.sendall(LOGIN % 14 + b'{"token": "?"}')  # it thinks about a wrong one for half a second
        assert connection.recv(100).startswith(b"HTTP/1.1 401")


def test_who_watches_may_be_silent(place: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "patience", 0.1)
    headers = {"Authorization": "Bearer secret"}
    protocol = Subprotocol("graphql-transport-ws")
    with connect("ws://{}:{}/graphql".format(*place), subprotocols=[protocol], additional_headers=headers) as watching:
        with pytest.raises(TimeoutError):
            watching.recv(timeout=0.5)
        watching.send('{"type": "connection_init"}')
        assert "connection_ack" in watching.recv(timeout=10)


def test_a_body_that_does_not_end_is_not_waited_for(place: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_COMES_WITHIN", 0.1)
    with socket.create_connection(place, 10) as connection:
        connection.sendall(LOGIN % 100 + b"{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_nobody_sends_much_to_learn_that_it_is_no_token(place: tuple[str, int]) -> None:
    with socket.create_connection(place, 10) as connection:
        connection.sendall(LOGIN % 1_000_000 + b" " * 5000)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("path", [b"graphql", b"login"])
def test_who_goes_away_while_asking_is_no_error(
    place: tuple[str, int], caplog: pytest.LogCaptureFixture, path: bytes
) -> None:
    with socket.create_connection(place, 10) as connection:
        connection.sendall(LOGIN.replace(b"login", path) % 100 + b"{")
    with socket.create_connection(place, 10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert end_of(connection).startswith(b"HTTP/1.1 200")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system knows no such limit")
def test_an_answer_that_nobody_reads_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_UNREAD", 1)
    with listening("127.0.0.1", 0) as bound, socket.create_connection(bound.getsockname(), 10):
        answering, _ = bound.accept()
        with answering:
            answering.setblocking(False)
            with pytest.raises(BlockingIOError):
                while answering.send(b" " * 65536):
                    pass
            watching = select.poll()
            watching.register(answering, select.POLLERR)
            assert watching.poll(20_000)
