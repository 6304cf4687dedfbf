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


#: With a world that notices: it is tried first, for to search takes long. Where the worlds have changed, others are.
MUTANTS = {
    "no epoch": 0,
    "nothing is sent again": 14,
    "nobody notices a wipe": 17,
    "nobody believes that all is told": 390,
    "nothing is recovered": 1,
    "outputs without claims": 112,
    "a takeover knows no tasks": 1,
    "a returned step costs an attempt": 228,
    "a given-back step runs twice": 12,
    "the rest of a batch is lost with its message": 779,
    "what was read before a call failed is forgotten": 68,
    "an outage counts as silence": 8550,
    "a step that comes back has not heard that it is canceled": 456,
    "what had begun is lost with Redis": 34,
    "what waits is not told to the next Redis": 202317,
    "an end that came too early counts": 173,
    "a read that was broken off has found nothing": 326,
    "a beat takes back what was given back": 107,
    "what a takeover finds decided is not recorded": 95,
    "a run that is over can be sent": 633,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_that_is_missing_is_missed(mutant: str) -> None:
    for seed in (MUTANTS[mutant], *range(1200)):
        try:
            simulate(seed, mutant)
        except Violated:
            return
    pytest.fail(f"1,200 worlds did not notice: {mutant}")


def test_a_seed_makes_the_same_world() -> None:
    assert simulate(17) == simulate(17)
