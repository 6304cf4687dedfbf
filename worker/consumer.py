"""Celery's consumer, with a steady pace where its broker is away."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer as CeleryConsumer

#: Seconds between two tries. Celery's grow to half a minute: after an outage of some minutes it would be idle for
#: another half.
_FIRST: Final = 0.5
_MOST: Final = 4.0


class Consumer(CeleryConsumer):
    def ensure_connected(self, conn: Any) -> Any:
        paced = partial(conn.ensure_connection, interval_start=_FIRST, interval_step=_FIRST, interval_max=_MOST)
        vars(conn)["ensure_connection"] = paced
        return super().ensure_connected(conn)
