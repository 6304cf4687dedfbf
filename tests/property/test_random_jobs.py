"""Jobs at random give what was reckoned, the same on every executor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executors.celery.executor import CeleryExecutor
from opgrid import instance_for_test
from opgrid.broker.fleet import start_worker
from opgrid.contracts.events import StepSkipped, StepStarted
from opgrid.io.keys import KeyRing
from orchestrator.instance import Instance
from orchestrator.services.execute import execute_job
from orchestrator.settings import Settings
from tests.property.random_jobs import Drawing, Outcome, compose, reckon


def outcome_of(result: Any) -> Outcome:
    """What a run came to, in the words of the reckoning."""
    found = Outcome()
    for event in result.get_step_success_events():
        for ref in event.outputs:
            if ref.mapping_key is None:
                node, _, key = event.step.partition("[")
                values = result.output_for_node(node)
                found.values[event.step] = values[key.rstrip("]")] if key else values
    found.failed = {event.step for event in result.get_step_failure_events()}
    found.skipped = {event.step for event in result.all_events if isinstance(event, StepSkipped)}
    return found


def check(seed: int, result: Any) -> None:
    expected = reckon(Drawing.of(seed))
    assert outcome_of(result) == expected
    assert result.success is not bool(expected.failed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1_000_000))
def test_in_process(seed: int) -> None:
    check(seed, compose(Drawing.of(seed)).execute_in_process(raise_on_error=False))


#: Drawn once: they hold all kinds of steps, and each kind of end.
SEEDS = [1, 20, 57, 59, 71, 72]


@pytest.mark.parametrize("seed", SEEDS)
def test_on_processes(seed: int) -> None:
    drawn = compose(Drawing.of(seed))
    with instance_for_test() as instance, execute_job(drawn, instance, executor="multiprocess") as result:
        check(seed, result)


@pytest.fixture(scope="module")
def fleet(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Workers that have none of the jobs: those travel by value."""
    home = tmp_path_factory.mktemp("random")
    KeyRing.load(str(home))
    url = module_redis_url
    worker = start_worker(url, None, str(home), name="random", concurrency=2, log=home / "worker.log")
    with Instance.of(Settings(home, f"sqlite:///{home / 'opgrid.db'}", url)) as instance:
        yield instance
    worker.stop()


@pytest.mark.celery
@pytest.mark.parametrize("seed", SEEDS)
def test_on_celery(seed: int, fleet: Instance) -> None:
    with execute_job(compose(Drawing.of(seed)), fleet, executor="celery") as result:
        check(seed, result)


@pytest.mark.celery
@pytest.mark.parametrize("seed", SEEDS)
def test_on_celery_in_crews(seed: int, fleet: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps are known to be short, and travel together."""
    monkeypatch.setattr(CeleryExecutor, "expects", lambda *_: 0.0001)
    with execute_job(compose(Drawing.of(seed)), fleet, executor="celery") as result:
        check(seed, result)
        starts = Counter(event.step for event in result.all_events if isinstance(event, StepStarted))
    assert set(starts.values()) <= {1}


def test_the_seeds_hold_every_kind_of_end() -> None:
    outcomes = [reckon(Drawing.of(seed)) for seed in SEEDS]
    kinds = {step.kind for seed in SEEDS for step in Drawing.of(seed).steps}
    assert kinds == {"source", "mix", "join", "maybe", "fragile", "spread", "pair", "nest", "collect"}
    assert any(each.failed for each in outcomes)
    assert any(each.skipped for each in outcomes)
    keys = [key for each in outcomes for key in each.values]
    assert {key.count(",") for key in keys if "[" in key} == {0, 1, 2}, "fan-outs in fan-outs in fan-outs"
    assert any("," in key for each in outcomes for key in each.failed)
    assert any("," in key for each in outcomes for key in each.skipped)
    drawn = [step for seed in SEEDS for step in Drawing.of(seed).steps]
    assert any(step.kind == "collect" and step.scope for step in drawn), "collected within a branch"
