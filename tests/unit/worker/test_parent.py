"""The worker's own process and the watch process beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from kombu.asynchronous import Hub

from opgrid.io.keys import KeyRing
from worker.parent import Parent
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
