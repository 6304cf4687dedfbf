"""A code server, and who may talk to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing
from orchestrator.locations import code_server, remote
from orchestrator.locations.code_server import CodeServer
from orchestrator.locations.location import Location, Source
from orchestrator.locations.messages import Describe, Described, DescribeJob, Failed
from orchestrator.locations.process import LocationAway, LocationBroken
from orchestrator.locations.remote import Address, RemoteProcess
from orchestrator.locations.secure import Channel, NotTrusted
from tests.waiting import eventually

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32


@contextmanager
def pair(server: KeyRing, client: KeyRing) -> Iterator[tuple[Channel, Channel, socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    found: list[Channel] = []
    with closing(ours), closing(theirs):
        for each in (ours, theirs):
            each.settimeout(5)

        def serve() -> None:
            try:
                found.append(Channel.of_server(ours, server))
            except NotTrusted:
                ours.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            made = Channel.of_client(theirs, client)
        finally:
            thread.join()
        yield found[0], made, ours, theirs


@pytest.mark.parametrize("server", [KeyRing(NEW), KeyRing(NEW, OLD), KeyRing(OLD, NEW)])
def test_who_has_the_key_may_talk(server: KeyRing) -> None:
    with pair(server, KeyRing(NEW, OLD)) as (here, there, _, _):
        there.send(b"question", 7.0)
        assert here.receive() == (b"question", 7.0)
        here.send(b"answer")
        assert there.receive() == (b"answer", 0.0)


def test_who_has_another_key_may_not() -> None:
    with pytest.raises(NotTrusted, match="same OPGRID_SECRET_KEY"), pair(KeyRing(NEW), KeyRing(OTHER)):
        pass


def test_what_was_changed_repeated_or_sent_back_is_refused() -> None:
    with pair(KeyRing(NEW), KeyRing(NEW)) as (here, there, ours, theirs):
        there.send(b"x" * 10)
        frame = ours.recv(1000)
        theirs.sendall(frame[:-1] + b"y")
        with pytest.raises(NotTrusted, match="changed"):
            here.receive()
    with pair(KeyRing(NEW), KeyRing(NEW)) as (here, there, ours, theirs):
        there.send(b"once")
        frame = ours.recv(1000)
        theirs.sendall(frame + frame)
        assert here.receive()[0] == b"once"
        with pytest.raises(NotTrusted):
            here.receive()
    with pair(KeyRing(NEW), KeyRing(NEW)) as (_, there, ours, theirs):
        there.send(b"back")
        ours.sendall(ours.recv(1000))
        with pytest.raises(NotTrusted):
            there.receive()


@contextmanager
def serving(file: Path, ring: KeyRing) -> Iterator[Address]:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = CodeServer(bound, CodeTarget(file=str(file)), ring, {"OPGRID_HOME": str(file.parent)})
    address = Address(*bound.getsockname())
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while True:
            with socket.socket() as tried:
                if tried.connect_ex(address) == 0:
                    break
            time.sleep(0.02)
        yield address
    finally:
        server.stop()
        thread.join()


JOBS = """
import time
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
@sensor(job=plain)
def hangs(context): time.sleep(1000)
"""


def test_a_location_on_a_code_server(tmp_path: Path) -> None:
    file = tmp_path / "far.py"
    file.write_text(JOBS)
    ring = KeyRing(NEW)
    with serving(file, ring) as address:
        location = Location(Source("far.py", CodeTarget(), server=address), ring=ring)
        assert location.load(), location.error
        assert [job.name for job in location.info.jobs] == ["plain"]
        version = location.info.version
        assert version
        assert isinstance(location.ask(Describe(), 20), Described)
        wrong = location.ask(DescribeJob("plan"), 20)
        assert isinstance(wrong, Failed)
        assert "plain" in wrong.error.message
        file.write_text(JOBS.replace("plain", "another"))
        assert location.load()
        assert [job.name for job in location.info.jobs] == ["another"]
        assert location.info.version != version
        file.write_text("1 / 0")
        assert not location.load()
        assert location.error is not None
        assert "ZeroDivisionError" in str(location.error)
        assert [job.name for job in location.info.jobs] == ["another"]
        location.close()
        stranger = RemoteProcess("far.py", address, KeyRing(OTHER))
        with pytest.raises(LocationBroken, match="same OPGRID_SECRET_KEY"):
            stranger.ask(Describe(), 5)
    gone = RemoteProcess("far.py", address, ring)
    with pytest.raises(LocationAway, match="cannot be reached"):
        gone.ask(Describe(), 5)


def test_who_finds_no_room_is_told_so_and_served_when_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_server, "_MOST", 1)
    file = tmp_path / "far.py"
    file.write_text(JOBS)
    ring = KeyRing(NEW)
    with serving(file, ring) as address:
        one, other = (RemoteProcess("far.py", address, ring) for _ in range(2))
        assert isinstance(one.ask(Describe(), 20), Described)
        with pytest.raises(LocationAway, match=f"{address} has no room: 1 connections are open"):
            other.ask(Describe(), 20)
        one.kill()
        eventually(lambda: _is_served(address, ring))


def _is_served(address: Address, ring: KeyRing) -> bool:
    process = RemoteProcess("far.py", address, ring)
    try:
        return isinstance(process.ask(Describe(), 20), Described)
    except LocationAway:
        return False
    finally:
        process.kill()


def test_a_code_server_that_is_frozen_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = RemoteProcess("far.py", Address(*silent.getsockname()), KeyRing(NEW))
        with pytest.raises(LocationAway, match="cannot be reached: timed out"):
            process.ask(Describe(), 60)
        assert not process.alive


def test_code_that_hangs_is_ended_and_the_next_question_answered(tmp_path: Path) -> None:
    from orchestrator.locations.messages import TickSensor

    file = tmp_path / "far.py"
    file.write_text(JOBS)
    ring = KeyRing(NEW)
    with serving(file, ring) as address:
        location = Location(Source("far.py", CodeTarget(), server=address), ring=ring)
        assert location.load(), location.error
        with pytest.raises(LocationBroken, match="longer than 1 s"):
            location.ask(TickSensor("hangs"), 1.0)
        assert isinstance(location.ask(Describe(), 20), Described)
        location.close()


def test_strangers_cost_little(tmp_path: Path) -> None:
    file = tmp_path / "far.py"
    file.write_text(JOBS)
    with serving(file, KeyRing(NEW)) as address:
        with socket.create_connection(address) as nonsense:
            nonsense.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 200)
            nonsense.settimeout(5)
            with pytest.raises(OSError, match=".*"):
                while nonsense.recv(1000):
                    pass
                raise ConnectionResetError
        process = RemoteProcess("far.py", address, KeyRing(NEW))
        assert isinstance(process.ask(Describe(), 20), Described)
        process.kill()


def test_strangers_who_say_nothing_take_no_place(tmp_path: Path) -> None:
    file = tmp_path / "far.py"
    file.write_text(JOBS)
    with serving(file, KeyRing(NEW)) as address, ExitStack() as strangers:
        silent = [strangers.enter_context(socket.create_connection(address)) for _ in range(code_server._MOST)]
        for each in silent:
            each.settimeout(20)
            assert each.recv(100)  # it is greeted
        process = RemoteProcess("far.py", address, KeyRing(NEW))
        assert isinstance(process.ask(Describe(), 20), Described)
        process.kill()
        assert silent[0].recv(100) == b""


def test_a_stranger_who_speaks_slowly_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_server, "_GREETING", 0.5)
    file = tmp_path / "far.py"
    file.write_text(JOBS)
    with serving(file, KeyRing(NEW)) as address, socket.create_connection(address) as stranger:
        assert stranger.recv(100)
        stranger.settimeout(0.1)
        until = time.monotonic() + 5  # all of it would take longer
        while True:
            assert time.monotonic() < until
            try:
                stranger.sendall(b"x")
                assert stranger.recv(100) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            break


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this system cannot be told")
def test_who_is_gone_without_a_word_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    answer = CodeServer._answer

    def noted(self: CodeServer, connection: socket.socket, *rest: Any) -> None:
        told = (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        asked.append((connection.getsockopt(*told[0]), connection.getsockopt(*told[1])))
        answer(self, connection, *rest)

    monkeypatch.setattr(CodeServer, "_answer", noted)
    file = tmp_path / "far.py"
    file.write_text(JOBS)
    with serving(file, KeyRing(NEW)) as address:
        process = RemoteProcess("far.py", address, KeyRing(NEW))
        assert isinstance(process.ask(Describe(), 20), Described)
        process.kill()
    assert asked == [(1, 60)]
