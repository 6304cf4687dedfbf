"""The service on paper: what comes in goes out, and what is full shows."""

from __future__ import annotations

import pytest

from benchmarks.scaling import Costs, Load, Service, simulate

LOAD = Load(steps_an_hour=100_000, steps_a_run=20, seconds=2.0)


def test_every_step_that_came_has_ended_and_runs_of_one_seed_are_alike() -> None:
    one, two = (simulate(Service(workers=50), LOAD, seconds=120) for _ in range(2))
    assert one == two
    assert one.steps == pytest.approx(100_000 * 120 / 3600, rel=0.2)
    assert one.steps % 20 == 0


def test_workers_are_as_busy_as_their_steps_are_long() -> None:
    found = simulate(Service(workers=50, processes=4), LOAD, seconds=600)
    rate, slots = found.steps / 600, 200
    assert found.use["workers"] == pytest.approx(rate * (2.0 + Costs().worker) / slots, rel=0.1)


def test_what_one_orchestrator_cannot_carry_several_do() -> None:
    slow = Costs(decide=0.05)  # 28 steps a second need 1.4 of them
    full = simulate(Service(workers=50), LOAD, slow, seconds=300)
    shared = simulate(Service(orchestrators=4, workers=50), LOAD, slow, seconds=300)
    assert full.use["orchestrator"] > 0.95
    assert full.waits[1] > 10 * shared.waits[1]
    assert full.steps_an_hour < 0.9 * shared.steps_an_hour


def test_waiting_for_the_database_counts_as_work_of_the_orchestrator() -> None:
    quick = simulate(Service(workers=50), LOAD, Costs(commit=0.0, rows=0.0), seconds=120)
    slow = simulate(Service(workers=50), LOAD, Costs(commit=0.05, rows=0.0), seconds=120)
    assert slow.use["orchestrator"] > quick.use["orchestrator"] + 0.5 * slow.use["database"]
