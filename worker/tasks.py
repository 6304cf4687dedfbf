"""The one Celery task: run the steps of a message."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery

from opgrid.broker.messages import BRIEF, TASK, Dispatch
from worker.child import Child

_THIS: Final[list[Child]] = []  #: in a pool child: itself


def become(child: Child) -> None:
    """Called in a pool child, after it was forked."""
    _THIS[:] = [child]


def register(app: Celery) -> None:
    @app.task(name=TASK, bind=True)
    def steps(self: Any, brief: str, tasks: str, stored: bool, key: str, mac: str) -> str:
        (child,) = _THIS
        queue = self.request.delivery_info.get("routing_key") or app.conf.task_default_queue
        return child.run(Dispatch(brief, tasks, stored, key, mac), queue, self.request.get(BRIEF))
