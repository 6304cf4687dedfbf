from __future__ import annotations

import pytest

from executors import in_process


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    """Whatever other tests have run of the same ops: those that are known go on without a turn of their own."""
    in_process._TOOK.clear()
