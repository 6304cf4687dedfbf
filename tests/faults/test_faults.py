"""A few faults of the suite, once each; `make faults` runs all of them, many times."""

from __future__ import annotations

import pytest

from tests.faults.__main__ import Hall
from tests.faults.scenarios import FAULTS

pytestmark = pytest.mark.celery


@pytest.mark.parametrize("name", ["F2", "F10", "F14", "F17", "F18", "F23", "F28"])
def test_a_fault_ends_as_promised(name: str) -> None:
    with Hall() as hall:
        row = hall.trial(FAULTS[name], "sqlite", seed=1)
    assert row["passed"], row["error"]


@pytest.mark.postgres
def test_a_fault_on_postgresql(postgres_server: str) -> None:
    with Hall(postgres_server) as hall:
        row = hall.trial(FAULTS["F6"], "postgresql", seed=1)
    assert row["passed"], row["error"]
