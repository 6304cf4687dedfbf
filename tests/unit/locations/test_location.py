"""The processes of a code location: which are kept, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from opgrid.contracts.tasks import CodeTarget
from orchestrator.locations import location as module
from orchestrator.locations.location import Location, Source
from orchestrator.locations.messages import Evaluated, TickSensor

JOBS = """
import os
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
kept = []
@sensor(job=plain)
def leaks(context):
    kept.append(bytearray(2**20))
    return SkipReason(f"{os.getpid()} {len(kept)}")
"""


def test_code_that_leaks_gets_a_fresh_process_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ANSWERS", 3)
    file = tmp_path / "leaks.py"
    file.write_text(JOBS)
    location = Location(Source("leaks.py", CodeTarget(file=str(file))), {"OPGRID_HOME": str(tmp_path)})
    assert location.load(), location.error
    said = []
    for _ in range(7):
        answer = location.ask(TickSensor("leaks"), 30)
        assert isinstance(answer, Evaluated)
        said.append((answer.skipped or "").split())
    location.close()
    assert [int(count) for _, count in said] == [1, 2, 3, 1, 2, 3, 1]
    assert len({pid for pid, _ in said}) == 3
