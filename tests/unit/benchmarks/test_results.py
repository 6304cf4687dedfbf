"""Figures, tables and the chart of the benchmark. What it measures is no matter of tests."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import chart, tables
from benchmarks.aims import judged
from benchmarks.profiling import WORKER, part_of
from benchmarks.results import Recording, Results
from benchmarks.workloads import WORKLOADS, Shape, lengths

ABOUT = {"date": "2026-01-01", "cores": 2, "machine": "Linux", "python": "3.11.7", "load": 0.1}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    path = tmp_path / "results.jsonl"
    recording = Recording(path, ABOUT)
    recording.versions({"celery": "5.7.0"})
    for subject, seconds in (("opgrid", [0.02, 0.04, 0.03]), ("canvas", [0.9, 0.6, 0.61])):
        answers = [{"seconds": each, "steps": 200, "coordinator_mib": 60.0 + each} for each in seconds]
        recording.rounds("chain", subject, answers, cold=False)
    recording.missing("dask", "no network")
    recording.close()
    return Results.read(path)


def test_medians_and_spreads_come_from_the_lines(results: Results) -> None:
    row = results.rows["chain", "opgrid"]
    assert (row.seconds, row.spread, row.figure) == (0.03, (0.02, 0.04), pytest.approx(150e-6))


def test_the_page_has_ratios_and_says_who_is_missing(results: Results) -> None:
    page = tables.page(results)
    assert "| **opgrid, Celery** | 150 µs |" in page
    assert "| Celery canvas | 3.05 ms (×20) |" in page
    assert "Without dask.distributed: no network." in page


def test_aims_are_judged_by_what_was_measured(results: Results) -> None:
    found = {each.text: each.met for each in judged(results)}
    assert found["≤ 0.12 ms a step"] is False
    assert found["≥ 15 × faster than a Celery chain"] is True
    assert found["≥ 40 × faster than dask"] is None


def test_the_chart_is_an_image_with_a_bar_for_each(results: Results) -> None:
    root = ElementTree.fromstring(chart.svg(results))
    bars = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("class") in ("ours", "peer")]
    assert [each.get("class") for each in bars] == ["ours", "peer"]
    assert float(bars[0].get("width", 0)) < float(bars[1].get("width", 0))


def test_results_that_workloads_expect() -> None:
    assert WORKLOADS["fan-1000"].expected == sum(range(1, 1001))
    assert WORKLOADS["fibo-10"].expected == 40 * 55
    assert WORKLOADS["layers"].sized(1).expected == sum(range(20))
    assert sorted(lengths(402))[-3:] == [0.001, 5.0, 5.0]
    assert {each.shape for each in WORKLOADS.values()} == set(Shape)


def test_a_look_counts_for_the_innermost_part_that_is_named() -> None:
    stack = ["run (celery/app/trace.py:3)", "run (worker/ride.py:1)", "exchange (site-packages/redis/client.py:9)"]
    assert part_of(stack, WORKER) == "Redis: client and waiting for it"
    assert part_of(stack[:1], WORKER) == "Celery"
