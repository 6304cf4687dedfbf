"""``make bench``: opgrid beside Celery, dask and Dagster, at the same work, in one run, on one Redis.

Figures go to ``build/benchmarks.jsonl``, a line a round; with --write, tables and a chart of them into
``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import chart, tables
from benchmarks.environments import ROOT
from benchmarks.measuring import BUDGET, Arena, about
from benchmarks.results import Recording, Results
from benchmarks.subjects import BY_KEY, ON_REQUEST, SUBJECTS, Subject
from benchmarks.workloads import WORKLOADS, Workload

PAGE: Final = ROOT / "docs" / "performance.md"
CHART: Final = ROOT / "docs" / "images" / "performance.svg"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", help="workloads, by group or name: W1,W2 or fan-1000,mixed")
    parser.add_argument("--subjects", help=f"of {', '.join(BY_KEY)}")
    parser.add_argument("--postgresql", action="store_true", help="also opgrid with its log in PostgreSQL")
    parser.add_argument("-n", "--rounds", type=int, default=5)
    parser.add_argument(
        "--budget", type=float, default=BUDGET, help="seconds for all rounds of one subject at one workload"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "benchmarks.jsonl")
    parser.add_argument("--again", action="store_true", help="measure nothing: show the results that are there")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    given = parser.parse_args()
    workloads = _workloads(parser, given.only)
    subjects = _subjects(parser, given.subjects, given.postgresql)
    if not given.again:
        began = time.monotonic()
        _measure(given.results, workloads, subjects, given.rounds, given.budget)
        print(f"\n{(time.monotonic() - began) / 60:.1f} minutes; figures in {given.results}\n")
    results = Results.read(given.results)
    print(tables.page(results))
    if given.write:
        _write(results)
    return 0


def _workloads(parser: argparse.ArgumentParser, only: str | None) -> list[Workload]:
    names = only.split(",") if only else []
    unknown = set(names) - {each.group for each in WORKLOADS.values()} - set(WORKLOADS)
    if unknown:
        parser.error(
            f"there is no workload {', '.join(sorted(unknown))}; there are W1 to W8 and {', '.join(WORKLOADS)}"
        )
    return [each for each in WORKLOADS.values() if not names or each.key in names or each.group in names]


def _subjects(parser: argparse.ArgumentParser, only: str | None, postgresql: bool) -> list[Subject]:
    names = only.split(",") if only else [each.key for each in SUBJECTS if each.key not in ON_REQUEST]
    unknown = set(names) - set(BY_KEY)
    if unknown:
        parser.error(f"there is no subject {', '.join(sorted(unknown))}; there are {', '.join(BY_KEY)}")
    return [each for each in SUBJECTS if each.key in names or (postgresql and each.key == "postgresql")]


def _measure(
    path: Path, workloads: Sequence[Workload], subjects: Sequence[Subject], rounds: int, budget: float
) -> None:
    recording = Recording(path, about())
    needs_postgresql = any(each.key == "postgresql" for each in subjects)
    try:
        with Arena(recording, rounds, budget, needs_postgresql) as arena:
            for workload in workloads:
                arena.measure(workload, subjects)
    finally:
        recording.close()


def _write(results: Results) -> None:
    CHART.write_text(chart.svg(results))
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables.page(results)}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
