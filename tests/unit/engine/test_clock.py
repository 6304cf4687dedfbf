"""The run loop's clock never jumps, and never goes back."""

from __future__ import annotations

import pytest

from orchestrator.engine.clock import SteadyClock


class Machine:
    def __init__(self) -> None:
        self.wall, self.elapsed = 1000.0, 5.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> SteadyClock:
    return SteadyClock(lambda: machine.wall, lambda: machine.elapsed)


def test_it_shows_what_the_wall_clock_shows(machine: Machine, clock: SteadyClock) -> None:
    for _ in range(3):
        machine.passes(7.0)
        assert clock() == pytest.approx(machine.wall)


@pytest.mark.parametrize("jump", [7200.0, -7200.0])
def test_a_wall_clock_that_is_set_is_followed_slowly(machine: Machine, clock: SteadyClock, jump: float) -> None:
    machine.wall += jump
    assert clock() == 1000.0
    machine.passes(10.0)
    assert clock() == pytest.approx(1010.0 + (1.0 if jump > 0 else -1.0))
    for _ in range(8000):
        machine.passes(10.0)
        before, now = clock(), clock()
        assert now >= before
    assert clock() == pytest.approx(machine.wall)
