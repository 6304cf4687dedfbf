from __future__ import annotations

import logging

import pytest

from opgrid.trouble import CALM, Trouble

LOG = logging.getLogger("opgrid.test")


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def trouble(time: Time) -> Trouble:
    return Trouble(LOG, time)


def test_it_is_said_at_once_and_then_ever_more_rarely(
    trouble: Trouble, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(600):
        trouble.is_there("It is full.")
        time.now += 1
    lasted = [f"It is full. That has lasted for {seconds} s." for seconds in (60, 120, 240, 480)]
    assert caplog.messages == ["It is full.", *lasted]


def test_who_knows_that_it_is_over_says_so_once(trouble: Trouble, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    trouble.is_over("It is back")
    trouble.is_there("It is away.")
    time.now += 2
    trouble.is_over("It is back")
    trouble.is_over("It is back")
    trouble.is_there("It is away.")
    assert caplog.messages == ["It is away.", "It is back after 2.0 s.", "It is away."]


def test_what_comes_and_goes_is_one_trouble(trouble: Trouble, time: Time, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        trouble.is_there("It is away.")
        time.now += CALM / 2
        trouble.is_not_seen("It is back")
    assert trouble
    time.now += CALM
    trouble.is_not_seen("It is back")
    assert not trouble
    assert caplog.messages == ["It is away.", "It is back after 45.0 s."]
