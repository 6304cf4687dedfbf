"""What becomes of a run does not depend on how its events are delivered."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opgrid.ids import RunId
from orchestrator.engine.machine import RunMachine
from orchestrator.planner.plan import Plan
from tests.property.runs import draw, play

_LIGHT = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def make(run_id: RunId, plan: Plan) -> RunMachine:
    return RunMachine(run_id, plan)


@_LIGHT
@given(st.randoms(use_true_random=False))
def test_outcomes_do_not_depend_on_delivery(rng: random.Random) -> None:
    play(draw(rng), rng, make)


@_LIGHT
@given(st.randoms(use_true_random=False))
def test_a_coordinator_may_die_at_any_point_and_another_goes_on_from_the_log(rng: random.Random) -> None:
    play(draw(rng), rng, make, crashes=True)


@_LIGHT
@given(st.randoms(use_true_random=False))
def test_a_canceled_run_ends_and_starts_nothing_more(rng: random.Random) -> None:
    play(draw(rng), rng, make, cancel=True, crashes=rng.random() < 0.3)


@_LIGHT
@given(st.randoms(use_true_random=False))
def test_outputs_that_are_lost_are_made_again(rng: random.Random) -> None:
    play(draw(rng), rng, make, crashes=rng.random() < 0.5, forgets=0.15)


@_LIGHT
@given(st.randoms(use_true_random=False))
def test_a_canceled_run_ends_whatever_is_made_again(rng: random.Random) -> None:
    play(draw(rng), rng, make, cancel=True, crashes=rng.random() < 0.3, forgets=0.15)
