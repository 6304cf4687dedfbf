from __future__ import annotations

import random

import pytest

from tests.simulation.batches import Fleet

_LONG = 10.0


def mixture(seed: int) -> tuple[int, list[float]]:
    """Processes, and steps of a millisecond among which some take ten seconds."""
    chance = random.Random(seed)
    long = chance.choice([0.0, 0.002, 0.02, 0.2, 0.5])
    short = chance.choice([0.0001, 0.001, 0.005, 0.02])
    steps = chance.choice([5, 50, 400, 2000])
    return chance.choice([1, 2, 8, 50]), [_LONG if chance.random() < long else short for _ in range(steps)]


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_a_mixture_takes_no_longer_than_one_step_a_message(first: int) -> None:
    for seed in range(first, first + 20):
        processes, seconds = mixture(seed)
        batched, alone = Fleet(processes, seconds).run(), Fleet(processes, seconds, alone=True).run()
        assert batched <= alone * 1.02 + 0.1, f"seed {seed}: {batched:.3f} s, one by one {alone:.3f} s"


def test_every_step_ends_once_and_short_ones_share_messages() -> None:
    fleet = Fleet(4, [0.0001] * 2000)
    took = fleet.run()
    assert len(fleet.ended) == 2000
    assert fleet.messages < 150
    alone = Fleet(4, [0.0001] * 2000, alone=True)
    assert alone.run() > 3 * took
    assert alone.messages == 2000


def test_short_steps_do_not_wait_for_a_long_one_in_front_of_them() -> None:
    seconds = [0.001] * 300
    seconds[150] = _LONG
    fleet = Fleet(2, seconds)
    fleet.run()
    assert sorted(fleet.ended.values())[-2] < 1.0


def test_steps_of_some_milliseconds_keep_all_busy_in_few_messages() -> None:
    fleet = Fleet(2, [0.01] * 1000)
    assert fleet.run() < 1.02 * 5.0
    assert fleet.messages < 70


@pytest.mark.parametrize("processes", [2, 8, 50])
def test_steps_that_differ_are_divided_so_that_all_end_at_once(processes: int) -> None:
    for seed in range(10):
        chance = random.Random(seed)
        seconds = [chance.uniform(0.002, 0.03) for _ in range(40 * processes)]
        ideal = sum(seconds) / processes
        assert Fleet(processes, seconds).run() < 1.02 * ideal + 0.06, f"seed {seed}"
