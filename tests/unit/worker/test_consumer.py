from __future__ import annotations

from itertools import pairwise

import pytest
from celery import Celery
from kombu import Connection
from kombu.utils import functional

from worker.consumer import Consumer


def test_a_broker_that_is_away_for_long_is_tried_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, tries = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def connect() -> object:
        tries.append(now[0])
        if now[0] < 300.0:
            raise ConnectionRefusedError
        return object()

    connection = Connection("redis+socket:///none.sock")
    monkeypatch.setattr(functional, "sleep", sleep)
    monkeypatch.setattr(connection, "_connection_factory", connect)
    with Celery(set_as_current=False) as app:
        app.conf.broker_connection_retry_on_startup = True
        consumer = object.__new__(Consumer)
        vars(consumer).update(app=app, first_connection_attempt=True, broker_connection_retry_attempt=0)
        consumer.ensure_connected(connection)
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses[0] < 1.0
    assert 3.0 < max(pauses) < 5.0
    assert now[0] < 305.0
