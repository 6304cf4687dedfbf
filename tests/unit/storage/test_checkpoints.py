from __future__ import annotations

import secrets
import threading
import time
from pathlib import Path

import pytest

from opgrid.contracts.events import LogMessage
from opgrid.ids import RunId
from orchestrator.storage.sql import checkpoints
from orchestrator.storage.sql.store import SqlStore

RUN = RunId("r")
LINES, LONG = 50, 10_000


def write_lines(store: SqlStore) -> None:
    with store.turn() as turn:
        lines = [secrets.token_hex(LONG // 2) for _ in range(LINES)]  # compressed, they take half as much, and not less
        turn.append(RUN, [LogMessage(run_id=RUN, at=float(n), level=20, message=each) for n, each in enumerate(lines)])


def at_work(store: SqlStore) -> threading.Thread | None:
    assert store._checkpoints is not None
    return store._checkpoints._thread


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "opgrid.db"


def test_what_was_written_goes_to_its_place_beside_who_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_EVENTS", 2 * LINES)
    store = SqlStore(f"sqlite:///{path}")
    before = path.stat().st_size
    write_lines(store)
    assert at_work(store) is None
    assert path.stat().st_size == before  # it is in the write-ahead log
    write_lines(store)
    until = time.monotonic() + 30
    while path.stat().st_size < before + LINES * LONG and time.monotonic() < until:
        time.sleep(0.01)
    assert path.stat().st_size >= before + LINES * LONG
    write_lines(store)
    assert sum(1 for _ in store.read(RUN)) == 3 * LINES
    thread = at_work(store)
    store.close()
    assert thread is not None
    assert not thread.is_alive()
    again = SqlStore(f"sqlite:///{path}")
    assert sum(1 for _ in again.read(RUN)) == 3 * LINES
    again.close()
