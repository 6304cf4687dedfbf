"""One pool child: takes messages, finds the code that they are about, and runs their steps."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final

from opgrid.broker.connection import reaching
from opgrid.broker.keys import Keys
from opgrid.broker.messages import (
    CeleryMessages,
    Dispatch,
    label,
    open_tasks,
    seal_events,
    sign_tasks,
    verify_dispatch,
)
from opgrid.broker.protocol import RUN_TTL, Attempt, Protocol, Said
from opgrid.contracts.events import EngineNote, ErrorInfo, StepFailed
from opgrid.contracts.tasks import Ended, RunBrief, StepTask
from opgrid.contracts.wire import decode_brief, hash_of
from opgrid.definitions.job import JobDefinition
from opgrid.errors import LoadError, PayloadRejected
from opgrid.io.keys import KeyRing
from opgrid.io.pending import Pending
from opgrid.steps.hooks import run_hooks_elsewhere
from opgrid.steps.scope import RunScope
from worker.along import Along
from worker.cancellation import Stoppable, lost_when_ended
from worker.code import Code, CodeMissing, unpickled_job
from worker.event_stream import EventStream, Flusher
from worker.leases import Slot, slot_path
from worker.means import Means
from worker.ride import Ride
from worker.settings import WorkerSettings
from worker.watch import HELLO, SOCKET

_SCOPES: Final = 16  #: runs whose brief and job are kept ready

_log = logging.getLogger("opgrid.worker")


class Child:
    """Made after the fork: nothing in it is shared with the parent process or with other children."""

    def __init__(
        self, settings: WorkerSettings, code: Code, ring: KeyRing, folder: Path, speaking: socket.socket
    ) -> None:
        self.settings = settings
        self.code = code
        self.ring = ring
        self.folder = folder
        self.keys = Keys(settings.deployment)
        self.protocol = Protocol(settings.broker_url, self.keys, f"wk-{settings.name}-{os.getpid()}")
        self.messages = CeleryMessages(self.keys)
        self.slot = Slot.create(slot_path(folder, os.getpid()))
        self.stoppable = Stoppable(self.slot)
        self.flusher = Flusher()
        self._scopes: OrderedDict[str, RunScope] = OrderedDict()
        self._watch: socket.socket | None = None
        self._pending = Pending()
        # Celery counts messages, and what a process has used between two of them, where it is to end it after some.
        counts = settings.max_tasks_per_child or settings.max_memory_per_child
        along = None if counts else Along(self.protocol, ring, settings.queues, speaking)
        self._means = Means(
            settings,
            self.keys,
            self.protocol,
            self.messages,
            ring,
            self.slot,
            self.stoppable,
            self._pending,
            f"{settings.name}:{os.getpid()}".replace(" ", "_"),
            self.flusher.look_now,
            along=along,
        )

    def install(self) -> None:
        """For the life of this process."""
        self.stoppable.install()

    # ---- a message -------------------------------------------------------------------------------------------------

    def run(self, dispatch: Dispatch, queue: str, brief_along: object = None) -> str:
        """Run the steps of one message, in order. Gives what became of them, in words, for Flower.

        ``brief_along``: the brief of their run, where it came with the message.
        """
        with lost_when_ended():
            self.slot.is_busy = True
            try:
                return self._run(dispatch, queue, brief_along)
            finally:
                self.slot.is_busy = False

    def _run(self, dispatch: Dispatch, queue: str, brief_along: object) -> str:
        try:
            verify_dispatch(dispatch, self.ring)
            brief, tasks = self._open(dispatch, brief_along)
        except PayloadRejected as error:
            _log.error("A message was thrown away: %s", error)
            return f"rejected: {error}"
        self._be_watched()
        has_more = dispatch.brief in self._scopes  # as it had before: a run of one message is not waited for
        try:
            scope = self._scope(dispatch.brief, brief)
        except LoadError as error:
            return " ".join(self._hand_back(task, brief, dispatch.brief, queue, error) for task in tasks)
        if tasks[0].ended is not None:
            return self._run_hooks(tasks[0], tasks[0].ended, scope)
        ride = Ride(self._means, scope, dispatch.brief, queue, tasks, has_more)
        self.flusher.watch(ride.look_after)
        try:
            return ride.run()
        finally:
            self.flusher.watch(None)

    def _run_hooks(self, task: StepTask, ended: Ended, scope: RunScope) -> str:
        """Those of a step whose own process died: once, however often the message comes."""
        stream = scope.brief.stream
        if not self.protocol.begins_hooks(task.run_id, task.step, task.attempt):
            return "hooks not run: they were begun before, or the run has ended"
        events = EventStream(Attempt(task.run_id, stream, task.step, task.attempt), "", self.protocol, self.ring)
        events.accepted()  # what follows an end needs no lease
        error = ErrorInfo(ended.kind, ended.message) if ended.kind else None
        try:
            run_hooks_elsewhere(task, scope, events, error, success=error is None)
        finally:
            events.flush()
        return "hooks run"

    def _open(self, dispatch: Dispatch, brief_along: object) -> tuple[RunBrief, list[StepTask]]:
        known = self._scopes.get(dispatch.brief)
        stored = None
        if dispatch.stored:
            stored = self._get(self.keys.tasks(dispatch.brief, dispatch.tasks))
        if known is not None:
            return known.brief, open_tasks(dispatch, stored)
        if isinstance(brief_along, str):
            data: bytes | None = brief_along.encode(errors="replace")
        else:
            data = self._get(self.keys.brief(dispatch.brief))
        if data is None or hash_of(data) != dispatch.brief:
            raise PayloadRejected("its run brief is not in Redis, or was changed")
        return decode_brief(data), open_tasks(dispatch, stored)

    def _scope(self, content: str, brief: RunBrief) -> RunScope:
        found = self._scopes.get(content)
        if found is None:
            found = RunScope(
                brief,
                self._job(brief),
                home=self.settings.home,
                broker_url=self.settings.broker_url,
                keys=self.ring,
                pending=self._pending,
            )
            self._scopes[content] = found
            while len(self._scopes) > _SCOPES:
                self._scopes.popitem(last=False)[1].close()
        self._scopes.move_to_end(content)
        return found

    def _job(self, brief: RunBrief) -> JobDefinition:
        if brief.job.value is None:
            return self.code.job(brief.job)
        sealed = self._get(self.keys.job(brief.job.value))
        if sealed is None:
            raise CodeMissing(brief.job.name, "its run (it is not in Redis any more)", self.code.locations)
        return unpickled_job(sealed, self.ring)

    def _get(self, key: str) -> bytes | None:
        with reaching(self.settings.broker_url):
            found = self.protocol.client.get(key)
        return found if isinstance(found, bytes) else None

    # ---- other code than the run was planned from ------------------------------------------------------------------

    def _hand_back(self, task: StepTask, brief: RunBrief, content: str, queue: str, error: LoadError) -> str:
        at = Attempt(task.run_id, brief.stream, task.step, task.attempt)
        dispatch, beside = sign_tasks(content, [task], self.ring)
        if beside is not None:
            with reaching(self.settings.broker_url):
                self.protocol.client.set(self.keys.tasks(content, dispatch.tasks), beside, ex=RUN_TTL)
        shown = label(brief.job.name, [task])
        key, message = self.messages.build(dispatch, shown, queue, task.priority)
        reason = f"Worker {self.settings.name} hands back steps of this run: {error}"
        note = EngineNote(run_id=task.run_id, at=time.time(), message=reason, step=task.step)
        failure = StepFailed(
            run_id=task.run_id,
            at=time.time(),
            step=task.step,
            attempt=task.attempt,
            error=ErrorInfo(type(error).__name__, f"No worker has the code of this run. {error}"),
            allow_retries=False,
        )
        said = self.protocol.refuse(
            at,
            round(self.settings.code_patience),
            key,
            message,
            seal_events([note], self.ring),
            seal_events([failure], self.ring),
            self.settings.name,
        )
        _log.warning("%s (%s)", reason, said.value)
        if said is Said.BACK:
            time.sleep(min(0.25, self.settings.code_patience / 4))  # for a worker that has the code to be quicker
        return f"handed back: {said.value}"

    # ---- the watch process -----------------------------------------------------------------------------------------

    def _be_watched(self) -> None:
        """Connect to the watch process, again where it was started again."""
        if self._watch is not None:
            try:
                if self._watch.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK):
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            self._watch.close()
            self._watch = None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self.folder / SOCKET))
            connection.sendall(HELLO.pack(os.getpid()))
        except OSError as error:
            connection.close()
            _log.warning("The watch process is away (%s): nobody beats for this step.", error)
            return
        self._watch = connection

    def close(self) -> None:
        for scope in self._scopes.values():
            scope.close()
        self.protocol.close()
