"""How our parts hang in Celery's worker: what happens when it starts, when a child is forked, and when one ends."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, bootsteps
from celery.signals import worker_process_init, worker_ready

from opgrid.io.keys import KeyRing
from worker.child import Child
from worker.code import Code
from worker.parent import Parent
from worker.settings import WorkerSettings
from worker.tasks import become


def install(app: Celery, settings: WorkerSettings, code: Code, ring: KeyRing, parent: Parent) -> None:
    class Watched(bootsteps.StartStopStep):
        """After the pool has started."""

        requires = ("celery.worker.components:Pool",)

        def start(self, worker: Any) -> None:
            parent.follow(worker.pool._pool)
            parent.tick()

    app.steps["worker"].add(Watched)

    def on_fork(**_: object) -> None:
        os.setsid()  # killing a step kills what it started, and nothing else
        parent.connection.close()
        child = Child(settings, code, ring, parent.folder)
        child.install()
        become(child)

    def on_ready(**_: object) -> None:
        parent.ready()

    worker_process_init.connect(on_fork, weak=False)
    worker_ready.connect(on_ready, weak=False)
