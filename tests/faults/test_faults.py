"""A few faults of the suite, once each; `make faults` runs all of them, many times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.__main__ import ALL, Hall

pytestmark = pytest.mark.celery

SOME = ["F2", "F10", "F14", "F17", "F18", "F19", "F23", "F28"]
POINTS = [
    "killed: turn after",
    "killed: claim after",
    "error: dequeue before",
    "error: planned",
    "error: publish after",
]


@pytest.fixture(scope="module")
def hall() -> Iterator[Hall]:
    with Hall() as made:
        yield made


@pytest.mark.parametrize("name", [*SOME, *POINTS])
def test_a_fault_ends_as_promised(hall: Hall, name: str) -> None:
    """And at its time: in one of three trials, as machines are busy."""
    for seed in (1, 2, 3):
        row = hall.trial(ALL[name], "sqlite", seed)
        if not row.get("late"):
            break
    assert row["passed"], row["error"]


@pytest.mark.postgres
def test_a_fault_on_postgresql(postgres_server: str) -> None:
    with Hall(postgres_server) as hall:
        row = hall.trial(ALL["F6"], "postgresql", seed=1)
    assert row["passed"], row["error"]
