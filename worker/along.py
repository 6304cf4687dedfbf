"""Messages that are taken along: a process that is nearly through with one takes the next from the queue itself, where
that is of the same run, and one that is through waits for what gets ready, and gets it by hand. Celery, which would
have handed it over in two milliseconds or more, is told of it, and tells Flower.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
from celery.worker import state
from celery.worker.request import Request
from redis.exceptions import ResponseError

from opgrid.broker.connection import reaching
from opgrid.broker.messages import TASK, may_go_along, open_tasks, read_message, verify_dispatch
from opgrid.broker.protocol import Handed, Protocol
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.tasks import StepTask
from opgrid.errors import BrokerUnreachable, PayloadRejected
from opgrid.io.keys import KeyRing

_LONGEST_WORD: Final = 1 << 16
_SPEAKS_EVERY: Final = 0.05  #: seconds
_MOST_UNSAID: Final = 1000  #: words, where nobody listens
#: Seconds that a process which is through with a message gives the worker's own to listen; that is to hear of it, too.
_PATIENCE: Final = 0.2

_log = logging.getLogger("opgrid.worker")


class Begun(msgspec.Struct, frozen=True, array_like=True, tag="begun"):
    """A child tells that it has taken a message."""

    pid: int
    since: float  #: by the monotonic clock, which all processes share
    message: msgspec.Raw


class Over(msgspec.Struct, frozen=True, array_like=True, tag="over"):
    """A child tells what became of the steps of one."""

    task_id: str
    said: str


_encode = msgspec.json.Encoder().encode
_decode = json_decoder(Begun | Over).decode


def words() -> tuple[socket.socket, socket.socket]:
    """Where the worker's own process hears, and where its children speak: each of them whole words."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


class Taken(NamedTuple):
    task_id: str
    tasks: list[StepTask]
    is_claimed: bool = False  #: the first one is


@dataclass
class Along:
    """In a pool child."""

    protocol: Protocol
    ring: KeyRing
    queues: Sequence[str]  #: that the worker serves
    speaking: socket.socket
    _name: str = field(default_factory=lambda: secrets.token_hex(8))
    _waited: int = 0
    _unsaid: list[bytes] = field(default_factory=list)
    _spoke: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, content: str, queue: str) -> Taken | None:
        """The next message, where it is of the run of that brief; None where there is none, or where another has its
        turn. Raises nothing.
        """

        def found() -> Handed | None:
            message = self.protocol.take(queue, self.queues, may_go_along(content))
            return None if message is None else Handed(message, is_claimed=False)

        return self._opened(content, found)

    def wait(self, content: str, queue: str, seconds: float, claim: str, owner: str) -> Taken | None:
        """The one that is sent within that time, where nothing waits in its queue; a step that alone is out with
        it is claimed so. Raises nothing.
        """
        self._waited += 1
        name = f"{self._name}:{self._waited}"
        return self._opened(content, lambda: self.protocol.wait_at_hand(content, queue, name, seconds, claim, owner))

    def _opened(self, content: str, found: Callable[[], Handed | None]) -> Taken | None:
        try:
            handed = found()
            if handed is None:
                return None
            data = handed.message
            since = time.monotonic()
            task_id, dispatch = read_message(data)
            verify_dispatch(dispatch, self.ring)
            stored: Any = None
            if dispatch.stored:
                with reaching(self.protocol.url):
                    stored = self.protocol.client.get(self.protocol.keys.tasks(dispatch.brief, dispatch.tasks))
            if dispatch.brief != content:
                raise PayloadRejected("it says that it is of another run")
            tasks = open_tasks(dispatch, stored)
        except (BrokerUnreachable, ResponseError) as error:
            _log.warning("No message is taken along: %s", error)
            return None
        except PayloadRejected as error:
            _log.error("A message was thrown away: %s", error)
            return None
        self._say(Begun(os.getpid(), since, msgspec.Raw(data)))
        return Taken(task_id, tasks, handed.is_claimed)

    def ended(self, task_id: str, said: str) -> None:
        self._say(Over(task_id, said))

    def _say(self, word: Begun | Over) -> None:
        with self._lock:
            self._unsaid.append(_encode(word))
        if time.monotonic() - self._spoke > _SPEAKS_EVERY:
            self.speak()

    def speak(self, patiently: bool = False) -> None:
        """Say what was kept back: to wake the worker's own process for each word takes the processor from a short step.
        Flower shows less where that does not come to listen for long; nobody waits for it.
        """
        if not self._unsaid:
            return
        self._spoke = time.monotonic()
        until = self._spoke + (_PATIENCE if patiently else 0.0)
        with self._lock:
            while self._unsaid and self._is_heard(self._unsaid[0], until):
                del self._unsaid[0]
            del self._unsaid[:-_MOST_UNSAID]

    def _is_heard(self, word: bytes, until: float) -> bool:
        """Whether it was sent by then, or never will be."""
        while True:
            try:
                self.speaking.send(word, socket.MSG_DONTWAIT)
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self.speaking, select.POLLOUT)
                if not waiting.poll(max(0.0, until - time.monotonic()) * 1000):
                    return False
            except OSError:
                return True
            else:
                return True


class Adopted:
    """In the worker's own process: what children have taken is Celery's as if it had handed it over."""

    def __init__(self, hearing: socket.socket) -> None:
        self._hearing = hearing
        self._consumer: Any = None
        self._under_way: dict[str, Any] = {}  #: Celery's requests, by id

    def listen(self, hub: Any) -> None:
        hub.add_reader(self._hearing, self._hear)

    def serve(self, consumer: Any) -> None:
        """The one that there is now: after each loss of the connection there is another."""
        self._consumer = consumer

    def close(self) -> None:
        self._hearing.close()

    def has_died(self, pid: int) -> None:
        """What becomes of the steps is told by the watch process; Celery forgets the messages."""
        self._hear()
        for request in [each for each in self._under_way.values() if each.worker_pid == pid]:
            del self._under_way[request.id]
            state.task_ready(request)
            request.send_event("task-failed", exception="WorkerLostError()", traceback=None)

    def _hear(self) -> None:
        while True:
            try:
                data = self._hearing.recv(_LONGEST_WORD)
            except OSError:
                return
            if not data:
                return
            try:
                word = _decode(data)
                if isinstance(word, Begun):
                    self._begin(word)
                else:
                    self._end(word)
            except Exception:  # Celery's loop goes on, whatever came
                _log.exception("Flower is not told of a message that was taken along.")

    def _begin(self, word: Begun) -> None:
        consumer = self._consumer
        message = consumer.task_consumer.channel.message_to_python(msgspec.json.decode(word.message))
        request: Any = Request(
            message,
            hostname=consumer.hostname,
            eventer=consumer.event_dispatcher,
            app=consumer.app,
            task=consumer.app.tasks[TASK],
        )
        self._under_way[request.id] = request
        request.send_event(
            "task-received",
            name=request.name,
            args=request.argsrepr,
            kwargs=request.kwargsrepr,
            root_id=request.root_id,
            parent_id=request.parent_id,
            retries=0,
            eta=None,
            expires=None,
        )
        # It is active, and not reserved: the process that it is in stands for one message already.
        request.on_accepted(word.pid, word.since)

    def _end(self, word: Over) -> None:
        request = self._under_way.pop(word.task_id, None)
        if request is not None:
            request.on_success((False, word.said, time.time() - request.time_start))
