"""One pool child: takes step tasks, claims them, runs them, finishes them."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from opgrid.broker.connection import reaching
from opgrid.broker.keys import Keys
from opgrid.broker.messages import (
    CeleryMessages,
    Dispatch,
    hash_of,
    label,
    open_tasks,
    seal_events,
    sign_tasks,
    verify_dispatch,
)
from opgrid.broker.scripts import RUN_TTL, Attempt, Outgoing, Protocol, Said
from opgrid.contracts.events import (
    EngineNote,
    ErrorInfo,
    LossCause,
    StepCanceled,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.fusing import Made, fulfilled, made_of
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.wire import decode_brief
from opgrid.crash_points import reach
from opgrid.definitions.job import JobDefinition
from opgrid.errors import LoadError, PayloadRejected
from opgrid.ids import StepKey
from opgrid.io.keys import KeyRing
from opgrid.io.redis import keys_of
from opgrid.io.selection import DEFAULT_KEY
from opgrid.steps.interrupts import deadline
from opgrid.steps.runner import Outcome, run_step, timed_out
from opgrid.steps.scope import RunScope
from worker.cancellation import Started, Stoppable
from worker.code import Code, CodeMissing, unpickled_job
from worker.event_stream import EventStream, Flusher, Terminal
from worker.leases import Claim, Slot, slot_path
from worker.settings import WorkerSettings
from worker.watch import HELLO, SOCKET

#: Seconds after which a chain of steps goes back into the queue: what was queued before it is not to wait longer.
_LONGEST_RIDE: Final = 1.0
_SCOPES: Final = 16  #: runs whose brief and job are kept ready

_log = logging.getLogger("opgrid.worker")


class Child:
    """Made after the fork: nothing in it is shared with the parent process or with other children."""

    def __init__(self, settings: WorkerSettings, code: Code, ring: KeyRing, folder: Path) -> None:
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
        self.owner = f"{settings.name}:{os.getpid()}".replace(" ", "_")
        self._scopes: OrderedDict[str, RunScope] = OrderedDict()
        self._watch: socket.socket | None = None
        self._since = 0.0  #: the message that is worked on

    def install(self) -> None:
        """For the life of this process."""
        self.stoppable.install()

    # ---- a message -------------------------------------------------------------------------------------------------

    def run(self, dispatch: Dispatch, queue: str) -> str:
        """Run the steps of one message, in order. Gives what became of them, in words, for Flower."""
        try:
            verify_dispatch(dispatch, self.ring)
            brief, tasks = self._open(dispatch)
        except PayloadRejected as error:
            _log.error("A message was thrown away: %s", error)
            return f"rejected: {error}"
        self._be_watched()
        self._since = time.monotonic()
        try:
            scope = self._scope(dispatch.brief, brief)
        except LoadError as error:
            return " ".join(self._hand_back(task, brief, dispatch.brief, queue, error) for task in tasks)
        return " ".join(said for task in tasks for said in self._go_on(task, scope, dispatch.brief, queue))

    def _go_on(self, first: StepTask, scope: RunScope, content: str, queue: str) -> Iterator[str]:
        """Run a step, then those that were sent with it and have all they need. What is left out here is no loss: its
        coordinator knows what became of the steps before it.
        """
        made: Made = {}
        succeeded: set[StepKey] = set()
        for place, sent in enumerate((first, *first.then)):
            task = fulfilled(sent, made, succeeded)
            if task is None:
                continue
            if place and not task.fused and time.monotonic() - self._since > _LONGEST_RIDE:
                rest = msgspec.structs.replace(task, then=first.then[place:])
                self._send(rest, scope.brief, content, queue)
                yield "sent on"
                return
            said, ended = self._attempt(task, scope)
            yield said
            if isinstance(ended, StepSucceeded):
                succeeded.add(task.step)
                made.update(made_of(ended.outputs))

    def _send(self, task: StepTask, brief: RunBrief, content: str, queue: str) -> None:
        """Put a task into its queue, for any worker; one that has run by then is refused."""
        dispatch, beside = sign_tasks(content, [task], self.ring)
        key, message = self.messages.build(dispatch, label(brief.job.name, [task]), queue, task.priority)
        with reaching(self.settings.broker_url):
            pipe = self.protocol.client.pipeline(transaction=False)
            if beside is not None:
                pipe.set(self.keys.tasks(content, dispatch.tasks), beside, ex=RUN_TTL)
            pipe.lpush(key, message)
            pipe.execute()

    def _open(self, dispatch: Dispatch) -> tuple[RunBrief, list[StepTask]]:
        known = self._scopes.get(dispatch.brief)
        stored = None
        if dispatch.stored:
            stored = self._get(self.keys.tasks(dispatch.brief, dispatch.tasks))
        if known is not None:
            return known.brief, open_tasks(dispatch, stored)
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

    # ---- an attempt ------------------------------------------------------------------------------------------------

    def _attempt(self, task: StepTask, scope: RunScope) -> tuple[str, Terminal | None]:
        """What became of it, in words, and the end that was accepted."""
        at = Attempt(task.run_id, scope.brief.stream, task.step, task.attempt)
        claim = secrets.token_hex(8)
        started = StepStarted(
            run_id=task.run_id,
            at=time.time(),
            step=task.step,
            attempt=task.attempt,
            claim=claim,
            worker=self.settings.name,
            pid=os.getpid(),
        )
        wanted = Claim(*at, claim, self.owner, time.monotonic(), task.timeout, taken=False)
        self.slot.hold([wanted])
        try:
            reach("claim before")
            said = self.protocol.claim(at, claim, self.owner, seal_events([started], self.ring))
            reach("claim after")
            return self._claimed(task, scope, wanted) if said is Said.OK else (f"not run: {said.value}", None)
        finally:
            self.slot.hold([])

    def _claimed(self, task: StepTask, scope: RunScope, claim: Claim) -> tuple[str, Terminal | None]:
        self.slot.hold([msgspec.structs.replace(claim, taken=True)])
        stream = EventStream(claim.at, claim.claim, self.protocol, self.ring)
        try:
            return self._run(task, scope, stream, claim.since)
        except Exception as error:  # ours: what user code raises is an outcome
            _log.exception("Step %s of run %s was given up.", task.step, task.run_id)
            return self._give_up(task, stream, f"its worker failed: {type(error).__name__}: {error}"), None
        finally:
            self.flusher.watch(None)

    def _run(self, task: StepTask, scope: RunScope, stream: EventStream, since: float) -> tuple[str, Terminal | None]:
        self.flusher.watch(stream)
        started = Started()
        with self.stoppable.during(stream.claim):
            with deadline(task.timeout):
                outcome = run_step(task, scope, stream, claim=stream.claim)
            canceled = self.stoppable.asked
        if isinstance(outcome.event, StepCanceled):
            started.end_all()
        try:
            return self._finish(task, scope, outcome, stream, since, canceled)
        finally:
            outcome.close()

    def _finish(
        self, task: StepTask, scope: RunScope, outcome: Outcome, stream: EventStream, since: float, canceled: bool
    ) -> tuple[str, Terminal | None]:
        event: Terminal = outcome.event
        seconds = time.monotonic() - since
        if isinstance(event, StepCanceled) and not canceled and task.timeout is not None and seconds >= task.timeout:
            event = timed_out(task, seconds)
        said = stream.finish(event, _output_keys(task, outcome, scope), self.settings.redis_grace)
        if said is Said.MISSING:
            return self._give_up(task, stream, "an output that it had stored is not in Redis any more"), None
        if said is not Said.OK:
            _log.warning("The end of step %s, attempt %s, came too late: %s", task.step, task.attempt, said.value)
            return f"{event.TYPE.value}, refused: {said.value}", None
        outcome.run_hooks(stream)
        stream.flush()
        return event.TYPE.value, event

    def _give_up(self, task: StepTask, stream: EventStream, reason: str) -> str:
        cause = LossCause(reason, worker=self.settings.name, pid=os.getpid())
        lost = StepLost(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, cause=cause)
        said = stream.finish(lost, [], self.settings.redis_grace)
        return f"lost ({reason}): {said.value}"

    # ---- other code than the run was planned from ------------------------------------------------------------------

    def _hand_back(self, task: StepTask, brief: RunBrief, content: str, queue: str, error: LoadError) -> str:
        at = Attempt(task.run_id, brief.stream, task.step, task.attempt)
        dispatch, _ = sign_tasks(content, [task], self.ring)  # what is stored beside it is there already
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
            Outgoing(task.step, task.attempt, key, message),
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


def _output_keys(task: StepTask, outcome: Outcome, scope: RunScope) -> list[str]:
    """What has to be in this Redis for the outcome to be accepted."""
    event = outcome.event
    if scope.brief.io != "redis" or not isinstance(event, StepSucceeded):
        return []
    if DEFAULT_KEY in scope.job.resource_defs:
        return []
    outs = scope.node(task.node).outs
    refs = [ref for ref in event.outputs if ref.manifest is not None]
    return [key for ref in refs if outs[ref.output].io_manager_key == DEFAULT_KEY for key in keys_of(ref)]
