"""A thousand worlds, and that rules which were taken away are missed."""

from __future__ import annotations

import pytest

from tests.simulation.world import Violated, simulate

WORLDS = 1000


@pytest.mark.parametrize("part", range(4))
def test_every_promise_holds_in_every_world(part: int) -> None:
    for seed in range(part * WORLDS // 4, (part + 1) * WORLDS // 4):
        try:
            simulate(seed)
        except Exception as problem:
            pytest.fail(f"seed {seed}: {problem!r}")


@pytest.mark.parametrize(
    "mutant",
    ["no epoch", "nothing is sent again", "nobody notices a wipe", "nothing is recovered", "outputs without claims"],
)
def test_a_rule_that_is_missing_is_missed(mutant: str) -> None:
    for seed in range(400):
        try:
            simulate(seed, mutant)
        except Violated:
            return
    pytest.fail(f"400 worlds did not notice: {mutant}")


def test_a_seed_makes_the_same_world() -> None:
    assert simulate(17) == simulate(17)
