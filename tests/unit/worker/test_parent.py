"""The worker's own process and the watch process beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from kombu.asynchronous import Hub

from opgrid.io.keys import KeyRing
from worker import parent as parents
from worker.parent import Parent, WatchDidNotStart
from worker.settings import WorkerSettings


@pytest.fixture
def parent(redis_url: str, tmp_path: Path) -> Iterator[Parent]:
    KeyRing.load(str(tmp_path))
    made = Parent(WorkerSettings(broker_url=redis_url, home=str(tmp_path), deployment="opgrid", name="w@here"))
    yield made
    made.stop()


def test_celery_may_connect_again_while_no_watch_process_is_there(parent: Parent) -> None:
    parent._process.kill()
    parent._process.wait()
    parent.connection.close()  # and another is about to start
    hub = Hub()
    parent.follow(SimpleNamespace(on_process_down=None), hub)
    parent._start_again()
    assert parent.connection.fileno() in hub.readers
    hub.close()


def test_a_watch_process_that_ends_at_once_is_told_of_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "sys", SimpleNamespace(executable=shutil.which("false")))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for _ in range(3):  # before or after it was told what to do
        with pytest.raises(WatchDidNotStart, match="code 1 "):
            Parent(WorkerSettings(broker_url="redis://none", home=str(tmp_path), deployment="opgrid", name="w@here"))
    assert os.listdir(tmp_path) == []
