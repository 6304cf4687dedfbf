"""Ends a worker that is connected and takes no messages, so that whoever looks after it starts it again.

Libraries between it and Redis have had such states after a reconnect. The sign: it has nothing to do, and what waits in
its queues has not moved for long, though any worker that takes messages would have moved it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from celery import Celery
from celery.worker import state

from opgrid.broker.connection import connect, reaching
from opgrid.broker.keys import Keys
from opgrid.errors import BrokerUnreachable
from worker.settings import WorkerSettings

EXIT_CODE: Final = 75  #: of sysexits.h: try again
LOOKS: Final = 8

_log = logging.getLogger("opgrid.worker")


class Watchdog:
    """``is_free``: whether the worker should take a message if there is one. ``queues``: those that it serves now."""

    def __init__(
        self, settings: WorkerSettings, is_free: Callable[[], bool], queues: Callable[[], Sequence[str]]
    ) -> None:
        self._settings = settings
        self._patience = settings.watchdog_seconds
        self._is_free, self._queues = is_free, queues
        self._keys = Keys(settings.deployment)
        self._client = connect(settings.broker_url, f"dog-{settings.name}", max_connections=1)
        self._seen: list[Any] | None = None  #: the next message of each list
        self._same = 0  #: looks that found the same

    def start(self) -> None:
        threading.Thread(target=self._run, name="opgrid-watchdog", daemon=True).start()

    def is_stuck(self) -> bool:
        """Whether nothing has moved for too many looks. A time would not do: the whole worker may have been frozen."""
        heads = self._heads() if self._is_free() else None
        self._same = self._same + 1 if heads is not None and heads == self._seen else 0
        self._seen = heads
        return self._same >= LOOKS

    def _heads(self) -> list[Any] | None:
        """None where nothing waits, or Redis cannot say."""
        lists = [name for queue in self._queues() for name in self._keys.queue_lists(queue)]
        try:
            with reaching(self._settings.broker_url):
                pipe = self._client.pipeline(transaction=False)
                for name in lists:
                    pipe.lindex(name, -1)
                found = pipe.execute()
        except BrokerUnreachable:
            return None
        return found if any(found) else None

    def _run(self) -> None:
        while True:
            time.sleep(self._patience / LOOKS)
            if self.is_stuck():
                _log.error("This worker has taken no message for %.0f s, though some wait: it ends.", self._patience)
                os._exit(EXIT_CODE)  # the watch process ends the children


def is_to_end() -> bool:
    """Whether the worker was told to: with a code that may be 0."""
    return any(each is not None and each is not False for each in (state.should_stop, state.should_terminate))


def watchdog_of(app: Celery, settings: WorkerSettings) -> Watchdog:
    def is_free() -> bool:
        return not state.reserved_requests and not is_to_end()

    return Watchdog(settings, is_free, lambda: list(app.amqp.queues.consume_from))
