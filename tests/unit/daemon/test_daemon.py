"""The duties of the daemon, beside one that fails."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.daemon.daemon import Daemon
from orchestrator.locations.loader import Loader
from orchestrator.sections import Sections
from orchestrator.services.removal import Removal
from orchestrator.storage.sql.store import SqlStore

DUTIES = ["_scheduler", "_sensors", "_backfills", "_retries", "_forget"]


@pytest.mark.parametrize("failing", DUTIES)
def test_a_duty_that_fails_keeps_no_other_from_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    daemon = Daemon(store, Loader([]), Sections(), Removal(store))
    turns = {name: threading.Event() for name in DUTIES}

    def counted(name: str) -> Any:
        def turn(*_: Any) -> bool:
            turns[name].set()
            if name == failing:
                raise ValueError("a bug")
            return False

        return turn

    for name in DUTIES[:-1]:
        monkeypatch.setattr(getattr(daemon, name), "turn", counted(name))
    monkeypatch.setattr("orchestrator.daemon.daemon.forget_old", counted("_forget"))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        for name, event in turns.items():
            assert event.wait(10), name
    finally:
        daemon.stop()
        thread.join()
        store.close()
