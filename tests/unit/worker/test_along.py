"""What a process tells the worker's own about messages that it has taken."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest

from opgrid.broker.keys import Keys
from opgrid.broker.protocol import Protocol
from opgrid.io.keys import KeyRing
from worker.along import Along, words


@pytest.fixture
def ends(redis_url: str) -> Iterator[tuple[Along, socket.socket]]:
    hearing, speaking = words()
    protocol = Protocol(redis_url, Keys(), "test")
    with hearing, speaking:
        yield Along(protocol, KeyRing(b"a" * 32), ["q"], speaking), hearing
    protocol.close()


def listen(hearing: socket.socket, count: int) -> list[str]:
    hearing.settimeout(20.0)
    return [msgspec.json.decode(hearing.recv(1 << 16))[1] for _ in range(count)]


def test_words_of_several_threads_are_said_once_and_in_order(ends: tuple[Along, socket.socket]) -> None:
    along, hearing = ends

    def go_on(name: str) -> None:
        for number in range(1000):
            along.ended(f"{name}{number}", "")
            along.speak(patiently=True)

    threads = [threading.Thread(target=go_on, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    said = listen(hearing, 2000)
    for thread in threads:
        thread.join()
    for name in "ab":
        assert [word for word in said if word.startswith(name)] == [f"{name}{number}" for number in range(1000)]


def test_who_is_through_waits_for_the_other_to_listen(
    ends: tuple[Along, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    along, hearing = ends
    monkeypatch.setattr("worker.along._PATIENCE", 20.0)
    for number in range(400):
        along.ended(str(number), "x" * 2000)  # more than a socket holds
    hearer: list[str] = []
    thread = threading.Timer(0.05, lambda: hearer.extend(listen(hearing, 400)))
    thread.start()
    along.speak(patiently=True)
    thread.join()
    assert hearer == [str(number) for number in range(400)]


def test_where_nobody_listens_for_long_the_last_words_are_kept(ends: tuple[Along, socket.socket]) -> None:
    along, hearing = ends
    for number in range(3000):
        along.ended(str(number), "x" * 2000)
    along.speak()
    heard = []
    hearing.settimeout(0.0)
    while True:
        try:
            heard.append(msgspec.json.decode(hearing.recv(1 << 16))[1])
        except BlockingIOError:
            break
    along.speak(patiently=True)
    rest = listen(hearing, 1)
    assert heard == [str(number) for number in range(len(heard))]
    assert int(rest[0]) == 2000


def test_where_the_other_has_gone_nobody_waits(ends: tuple[Along, socket.socket]) -> None:
    along, hearing = ends
    hearing.close()
    for number in range(400):
        along.ended(str(number), "x" * 2000)
    along.speak(patiently=True)
    along.speak()
