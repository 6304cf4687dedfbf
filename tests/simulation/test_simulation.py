"""A thousand worlds, and that rules which were taken away are missed."""

from __future__ import annotations

import pytest

from tests.simulation.rides import Violated
from tests.simulation.world import simulate

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
    [
        "no epoch",
        "nothing is sent again",
        "nobody notices a wipe",
        "nothing is recovered",
        "outputs without claims",
        "a takeover knows no tasks",
        "a returned step costs an attempt",
        "a given-back step runs twice",
        "the rest of a batch is lost with its message",
        "what was read before a call failed is forgotten",
        "an outage counts as silence",
        "a step that comes back has not heard that it is canceled",
        "an end that came too early counts",
        "a beat takes back what was given back",
    ],
)
def test_a_rule_that_is_missing_is_missed(mutant: str) -> None:
    for seed in range(1200):
        try:
            simulate(seed, mutant)
        except Violated:
            return
    pytest.fail(f"1,200 worlds did not notice: {mutant}")


def test_a_seed_makes_the_same_world() -> None:
    assert simulate(17) == simulate(17)
