"""The one Celery task: run the steps of a message."""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import Celery
from celery.worker import state
from celery.worker.request import Request

from opgrid.broker.messages import BRIEF, TASK, Dispatch
from opgrid.errors import BrokerUnreachable
from worker.child import Child

_THIS: Final[list[Child]] = []  #: in a pool child: itself

_log = logging.getLogger("opgrid.worker")


def become(child: Child) -> None:
    """Called in a pool child, after it was forked."""
    _THIS[:] = [child]


class Unrevoked(Request):
    """What Celery revokes runs all the same. Thrown away, its steps would count as lost messages: they would be sent
    again, and thrown away again, for as long as the worker remembers. Who wants them not to run cancels their run.
    """

    def revoked(self) -> bool:
        if self.id in state.revoked:
            _log.warning("Celery has revoked %s; it runs all the same. To end it: opgrid run cancel RUN_ID", self.id)
        return False


def register(app: Celery) -> None:
    @app.task(name=TASK, bind=True, Request=Unrevoked)
    def steps(self: Any, brief: str, tasks: str, stored: bool, key: str, mac: str) -> str:
        (child,) = _THIS
        queue = self.request.delivery_info.get("routing_key") or app.conf.task_default_queue
        try:
            return child.run(Dispatch(brief, tasks, stored, key, mac), queue, self.request.get(BRIEF))
        except BrokerUnreachable as error:
            _log.warning("A message is let go, and sent again where its steps have not begun: %s", error)
            return f"let go: {error}"
