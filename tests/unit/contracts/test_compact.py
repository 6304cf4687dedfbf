from __future__ import annotations

import threading

import pytest

from opgrid.contracts.compact import LONG, compacted, restored


@pytest.mark.parametrize("text", [b"", b"[]", b"[" + b"1," * (LONG // 2 - 2) + b"1]"])
def test_what_is_short_stays_as_it_is(text: bytes) -> None:
    assert compacted(text) is text
    assert restored(text) is text


@pytest.mark.parametrize("count", [LONG, LONG + 1, 1_000_000])
def test_what_is_long_comes_back(count: int) -> None:
    text = (b'{"step": "a"},' * count)[:count]
    packed = compacted(text)
    assert len(packed) < len(text) / 10
    assert restored(packed) == text


def test_threads_do_not_meet() -> None:
    wrong: list[int] = []

    def go_on(number: int) -> None:
        for at in range(200):
            text = b"%d %d," % (number, at) * 2000
            if restored(compacted(text)) != text:
                wrong.append(number)

    threads = [threading.Thread(target=go_on, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
