"""Who watches and does not read, says what is no message, or goes away, costs others nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from opgrid.contracts.events import LogMessage
from opgrid.ids import RunId
from orchestrator.api import app as asgi
from orchestrator.api.access import Access
from orchestrator.api.backend import Asking
from orchestrator.api.connections import Watching
from orchestrator.api.graphql import live
from orchestrator.api.graphql.schema import schema
from orchestrator.cli.web import Serving, listening
from tests.integration.service import until
from tests.unit.api.conftest import Api

LOGS = """subscription ($id: ID!) { pipelineRunLogs(runId: $id) {
  ... on PipelineRunLogsSubscriptionSuccess { messages { ... on MessageEvent { message } } }
} }"""
PING, CONTINUATION, TEXT = 9, 0, 1


@pytest.fixture
def serving(api: Api) -> Iterator[tuple[Serving, tuple[str, int]]]:
    """With where it listens."""
    with listening("127.0.0.1", 0) as bound:
        made = Serving(asgi.make_app(api.backend, Access(api.backend.settings.web, environ={})), bound)
        yield made, bound.getsockname()
        made.stop()


@pytest.fixture
def place(serving: tuple[Serving, tuple[str, int]]) -> tuple[str, int]:
    return serving[1]


def watching(place: tuple[str, int]) -> ClientConnection:
    made = connect("ws://{}:{}/graphql".format(*place), subprotocols=[Subprotocol("graphql-transport-ws")])
    made.send('{"type": "connection_init"}')
    assert "connection_ack" in str(made.recv(timeout=10))
    return made


def silent(place: tuple[str, int]) -> socket.socket:
    """A connection that nobody reads from."""
    made = socket.create_connection(place, 30)
    made.sendall(
        b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    )
    assert made.recv(2000).startswith(b"HTTP/1.1 101")
    return made


def frame(kind: int, body: bytes = b"", is_last: bool = True) -> bytes:
    """Of a client, masked with nothing."""
    size = bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0xFE]) + struct.pack(">H", len(body))
    return bytes([kind | (0x80 if is_last else 0)]) + size + b"\0\0\0\0" + body


def test_of_all_that_one_connection_asks_one_message_is_made_ahead(api: Api) -> None:
    first, second = api.launch(), api.launch()
    connection = Asking(api.backend, api.viewer)

    async def read() -> None:
        ahead: Any = await schema.subscribe(LOGS, {"id": first}, connection)
        behind: Any = await schema.subscribe(LOGS, {"id": second}, connection)
        assert (await anext(ahead)).errors is None  # and is not read: nobody asks for the next
        waiting = asyncio.ensure_future(anext(behind))
        others: Any = await schema.subscribe(LOGS, {"id": second}, Asking(api.backend, api.viewer))
        assert (await anext(others)).errors is None
        assert not waiting.done()
        going_on = asyncio.ensure_future(anext(ahead))
        assert (await waiting).errors is None
        for each in going_on, waiting:
            each.cancel()

    with closing(api.backend.heart):
        asyncio.run(read())


def test_messages_of_many_connections_are_made_one_a_turn(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are answered between them."""
    run_id, turn, made = api.launch(), [0], []
    read_all, rest = threading.Barrier(3), live.run_of

    def noting(*given: Any) -> Any:
        made.append(turn[0])
        return rest(*given)

    def together(*given: Any) -> Any:
        read_all.wait(30)
        return live_page(*given)

    live_page = live.events_page
    monkeypatch.setattr(live, "run_of", noting)
    monkeypatch.setattr(live, "events_page", together)

    async def count() -> None:
        while True:
            turn[0] += 1
            await asyncio.sleep(0)

    async def read() -> None:
        counting = asyncio.ensure_future(count())
        streams: list[Any] = [
            await schema.subscribe(LOGS, {"id": run_id}, Asking(api.backend, api.viewer)) for _ in range(3)
        ]
        await api.backend.making.acquire()  # all of them have read by the time that the first may be made
        asking = [asyncio.ensure_future(anext(each)) for each in streams]
        while len(api.backend.making._waiters or ()) < 3:
            await asyncio.sleep(0)
        api.backend.making.release()
        assert [(await each).errors for each in asking] == [None] * 3
        counting.cancel()

    with closing(api.backend.heart):
        asyncio.run(read())
    assert len(made) == len(set(made)) == 3


def test_pings_that_nobody_wants_answered_are_not_kept(serving: tuple[Serving, tuple[str, int]]) -> None:
    serves, place = serving
    with silent(place) as connection:
        (at_server,) = (each for each in serves._server.server_state.connections if isinstance(each, Watching))
        while at_server.writable.is_set():
            connection.sendall(frame(PING, b"x" * 125) * 1000)
        kept = at_server.transport.get_write_buffer_size()
        for _ in range(50):
            connection.sendall(frame(PING, b"x" * 125) * 1000)
        assert at_server.transport.get_write_buffer_size() <= kept
        connection.sendall(frame(PING, b"the last"))
        said = b""
        while b"the last" not in said:
            part = connection.recv(1 << 20)
            assert part
            said = said[-100:] + part


def test_a_message_comes_in_so_many_parts_and_no_more(place: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watching, "parts", 3)
    with watching(place) as connection:
        parts = b'{"type"', b":", b'"ping"}'
        connection.socket.sendall(frame(TEXT, parts[0], False) + frame(CONTINUATION, parts[1], False))
        connection.socket.sendall(frame(CONTINUATION, parts[2]))
        assert json.loads(connection.recv(timeout=10)) == {"type": "pong"}
        connection.socket.sendall(frame(TEXT, b"", False) + frame(CONTINUATION, b"", False) * 4)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1009, "more than 3 parts")


@pytest.mark.parametrize(
    "said",
    [
        '["subscribe"]',
        "null",
        '{"type": 5}',
        '{"type": "complete", "id": {}}',
        '{"type": "subscribe", "id": ["x"], "payload": {"query": "subscription { changes { topics } }"}}',
        '{"type": "subscribe", "id": "1", "payload": 5}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "subscription { changes { topics } }", "variables": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "subscription { changes { topics } }", '
        '"operationName": ["x"]}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "subscription { pipelineRunLogs(runId: \\"\\ud800\\") '
        '{ __typename } }"}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused_and_not_logged(
    place: tuple[str, int], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(place) as connection:
        connection.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_what_is_no_text_is_refused_and_not_logged(place: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    with watching(place) as connection:
        connection.socket.sendall(frame(TEXT, b"\xff\xfe"))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("vanishes", [True, False])
def test_who_goes_away_while_much_is_told_is_no_error(
    api: Api, serving: tuple[Serving, tuple[str, int]], caplog: pytest.LogCaptureFixture, vanishes: bool
) -> None:
    serves, place = serving
    run_id = RunId(api.launch())
    with api.store.turn() as turn:
        told = [LogMessage(run_id=run_id, at=1.0, level=20, message=os.urandom(1000).hex()) for _ in range(9000)]
        turn.append(run_id, told)
    asked = {"id": "1", "type": "subscribe", "payload": {"query": LOGS, "variables": {"id": run_id}}}
    with silent(place) as connection:
        for each in {"type": "connection_init"}, asked:
            connection.sendall(frame(TEXT, json.dumps(each).encode()))
        (at_server,) = (each for each in serves._server.server_state.connections if isinstance(each, Watching))
        until(lambda: not at_server.writable.is_set())
        if vanishes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:  # it does not answer pings, and then reads what there is
            at_server.loop.call_soon_threadsafe(at_server.keepalive_timeout)
            while connection.recv(1 << 20):
                pass
    until(lambda: not serves._server.server_state.tasks)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
