"""What a worker says that it serves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state

from worker.pool import _served
from worker.watch import Serves


class Pool:
    """As Celery's is: once it has ended it cannot say how many there were."""

    is_there = True

    @property
    def num_processes(self) -> int:
        if not self.is_there:
            raise AttributeError("_processes")
        return 2


@pytest.fixture
def worker() -> Any:
    queues = SimpleNamespace(consume_from={"gpu": None})
    return SimpleNamespace(
        app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)),
        autoscaler=None,
        blueprint=SimpleNamespace(human_state=lambda: "running"),
        pool=Pool(),
    )


@pytest.mark.parametrize("flag", ["should_stop", "should_terminate"])
def test_who_was_told_to_end_serves_nothing_from_then_on(
    worker: Any, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _served(worker) == Serves(("gpu",), 2)
    monkeypatch.setattr(state, flag, 0)  # the code that a SIGTERM ends it with
    assert _served(worker) is None


def test_a_pool_that_has_ended_is_not_asked(worker: Any) -> None:
    worker.blueprint.human_state = lambda: "closing"
    worker.pool.is_there = False
    assert _served(worker) is None
