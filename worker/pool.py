"""How our parts hang in Celery's worker: what happens when it starts, when a child is forked, and when one ends."""

from __future__ import annotations

import logging
import os
import signal
import time
from multiprocessing import process
from types import SimpleNamespace
from typing import Any, Final

import billiard.pool
from celery import Celery, bootsteps
from celery.concurrency import prefork
from celery.signals import worker_process_init, worker_process_shutdown, worker_ready

from opgrid.io.keys import KeyRing
from opgrid.steps.bell import Bell
from worker.child import Child
from worker.code import Code
from worker.parent import Parent
from worker.settings import WorkerSettings
from worker.tasks import become
from worker.watch import Serves
from worker.watchdog import EXIT_CODE, is_to_end, watchdog_of

_GATHER: Final = 0.2  #: seconds
_GATHER_AT: Final = 256  #: events
#: Tenths of a second that a child that has to end waits for its parent to read its last answer. A parent that drains
#: may have stopped reading; nothing is lost by it, since steps report to their coordinator.
_WAIT_TO_BE_HEARD: Final = 10
_LOOK: Final = 0.05  #: seconds between looks of a worker that ends at what it waits for
_BEFORE_ANOTHER: Final = 1.0  #: seconds that a process which cannot start leaves until the next is tried
#: This process, as the standard library sees it before it has children.
_MAIN: Final = process.current_process()

_log = logging.getLogger("opgrid.worker")


def install(app: Celery, settings: WorkerSettings, code: Code, ring: KeyRing, parent: Parent) -> None:
    bell = Bell()

    class Watched(bootsteps.StartStopStep):
        """After the pool has started."""

        requires = ("celery.worker.components:Pool",)

        def register_with_event_loop(self, worker: Any, hub: Any) -> None:
            """Again after each loss of the connection; what we put into the pool comes after what Celery puts there."""
            hub.call_soon(parent.follow, worker.pool._pool, hub)
            hub.call_soon(hand_over_at_once, worker.pool._pool, hub)
            hub.add_reader(bell, bell.hear)

        def start(self, worker: Any) -> None:
            parent.tick(lambda: _served(worker))
            signal.set_wakeup_fd(bell.hand, warn_on_full_buffer=False)  # Celery hears a signal when it has waited
            if settings.watchdog_seconds:
                watchdog_of(app, settings).start()

    class Gathered(bootsteps.StartStopStep):
        """Events for Flower go out many at a time; each alone would cost as much as the message that it is about."""

        requires = ("celery.worker.consumer.events:Events",)

        def start(self, consumer: Any) -> None:
            dispatcher, hub = consumer.event_dispatcher, consumer.hub
            parent.adopted.serve(consumer)
            waiting: list[object] = []

            def flush() -> None:
                waiting.clear()
                dispatcher.flush()

            def soon() -> None:
                if not waiting:
                    waiting.append(hub.call_later(_GATHER, flush))

            dispatcher.buffer_limit = _GATHER_AT
            dispatcher.on_send_buffered = soon

    app.steps["worker"].add(Watched)
    app.steps["consumer"].add(Gathered)

    def on_fork(**_: object) -> None:
        billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = _WAIT_TO_BE_HEARD
        signal.set_wakeup_fd(-1)
        bell.close()
        os.setsid()  # killing a step kills what it started, and nothing else
        _let_ops_start_processes()
        parent.connection.close()
        parent.adopted.close()
        become(_child(settings, code, ring, parent))

    def on_ready(**_: object) -> None:
        parent.ready()

    _end_soon()
    worker_process_init.connect(on_fork, weak=False)
    worker_process_shutdown.connect(_leave, weak=False)
    worker_ready.connect(on_ready, weak=False)


def _end_soon() -> None:
    """Celery's worker looks twice a second whether its processes have ended."""
    vars(prefork)["time"] = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, _LOOK)))


def _leave(exitcode: int, **_: object) -> None:
    """A process that was told to end, and is through, does so: billiard's wait another second for a signal to do it,
    which does not come where the whole worker ends.
    """
    if exitcode == os.EX_OK:
        vars(billiard.pool)["time"] = SimpleNamespace(sleep=lambda seconds: None)


def _child(settings: WorkerSettings, code: Code, ring: KeyRing, parent: Parent) -> Child:
    try:
        child = Child(settings, code, ring, parent.folder, parent.speaking)
        child.install()
    except Exception:  # Celery would go on: this process would take messages, and throw each of them away
        _log.exception("A process of this worker cannot start, and ends; another is tried.")
        time.sleep(_BEFORE_ANOTHER)
        os._exit(EXIT_CODE)
    return child


def _served(worker: Any) -> Serves | None:
    """By now; None: it is to end, and its pool may be gone. Called by another thread than the one that changes it."""
    if is_to_end() or worker.blueprint.human_state() != "running":
        return None
    scale = worker.autoscaler
    processes = worker.pool.num_processes if scale is None else scale.max_concurrency
    return Serves(tuple(worker.app.amqp.queues.consume_from), processes)


def _let_ops_start_processes() -> None:
    """Celery's pool is made of billiard, which has the standard library's ``multiprocessing`` take its child for a
    daemon, and those may have no children. To that it is a process like others again: what a step has started ends
    with it.
    """
    name = process.current_process().name
    vars(process)["_current_process"] = _MAIN
    _MAIN.name = name


def hand_over_at_once(pool: Any, hub: Any) -> None:
    """A message goes to an idle process when it has come. Celery alone asks Redis for the next one first, and waits
    until it may write to a process that does nothing but wait for that.
    """
    put = pool._quick_put

    def put_and_write(job: Any) -> None:
        put(job)
        idle = pool._all_inqueues - pool._busy_workers - pool._active_writes
        if idle:
            hub.consolidate_callback(list(idle))

    pool._quick_put = put_and_write
