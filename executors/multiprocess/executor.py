"""The executor of a pool of warm processes: who works on what, who is to be stopped, who has died."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import secrets
import select
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final, Self

import msgspec

from executors.multiprocess import frames
from executors.multiprocess.process import DOOR, Entry, Process, Reason
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    LossCause,
    StepCanceled,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, ExecutorSetup, Polled
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.wire import decode_events, encode_brief
from opgrid.errors import SettingsError
from opgrid.ids import RunId, StepKey
from opgrid.loading import by_value
from opgrid.steps import reports
from opgrid.steps.bell import Bell
from opgrid.zygote.nursery import Nursery, nursery

#: Seconds from the interrupt of a step to the end of its process.
GRACE: Final = 10.0
#: Seconds of work that a process is given at once, of steps that are known to be quick; others go alone.
_BATCH: Final = 0.02
#: Seconds that a step takes beside what it does.
_OVERHEAD: Final = 0.0002
#: Seconds after which a step holds up what was given with it: that is taken back, and the step's start is told.
_HELD_UP: Final = 0.05
#: Seconds that events may wait for others while all processes have enough to do: the caller commits once for all.
_LINGER: Final = 0.004
#: Seconds of work left with which all are as good as through.
_NEARLY: Final = 0.001
_HOST: Final = socket.gethostname()

_encode = msgspec.json.Encoder().encode
_done = json_decoder(frames.Done)
_claims = json_decoder(list[str])


class MultiprocessExecutor(Executor):
    """Children are started when there is work for them, or will be, up to ``max_concurrent`` (default: one per
    processor), and kept.

    A child that dies costs its own step one lost attempt and nothing else. A step that is canceled or runs out of
    time is interrupted, and after ``grace`` seconds its process is killed, with everything that it started.
    """

    crosses_processes = True
    one_host = True
    fuses = True
    default_io = "filesystem"

    def __init__(self, setup: ExecutorSetup, max_concurrent: int | None = None, grace: float = GRACE) -> None:
        self._setup = setup
        self._job = by_value(setup.job) if setup.code is None and setup.job is not None else None
        self._nursery = _nursery_of(setup)
        self._most = max_concurrent or os.cpu_count() or 1
        self._grace = grace
        self._waiting: list[Entry] = []
        self._order = itertools.count()
        self._seen: dict[RunId, set[tuple[StepKey, int]]] = {}
        self._events: list[AnyEvent] = []
        self._bell = Bell()
        self._idle_bell = Bell()  #: rung by processes that have nothing to do
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._children: set[Process] = set()
        self._foreseen: dict[RunId, int] = {}  #: processes that runs will have something to do for, once there is one
        self._seconds: dict[tuple[str, str], float] = {}  #: that a step of this job and op took last
        self._unwanted: set[tuple[RunId, StepKey, int]] = set()  #: canceled, and given to a process behind others
        self._claims = (f"{prefix}{number:x}" for prefix in [secrets.token_hex(3)] for number in itertools.count())
        self._closed = False

    @classmethod
    def create(cls, setup: ExecutorSetup) -> Self:
        most = setup.config.get("max_concurrent")
        if most is not None and (not isinstance(most, int) or most < 0):
            raise SettingsError(
                f"max_concurrent of the multiprocess executor has to be a whole number from 0 up, not {most!r}."
            )
        return cls(setup, most)

    # ---- what the loop asks for --------------------------------------------------------------------------------------

    def foresee(self, run: RunBrief, breadth: int) -> None:
        self._foreseen[run.run_id] = min(breadth, self._most)

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        seen = self._seen.setdefault(run.run_id, set())
        for task in tasks:
            if (task.step, task.attempt) not in seen:
                seen.add((task.step, task.attempt))
                entry = self._entry(run, frames.Do(task))
                child = next((each for each in self._children if task.id in each.mates), None)
                if child is None:
                    heapq.heappush(self._waiting, entry)
                else:  # until it goes on with it, or leaves it to others
                    child.held.append(entry)
        self._dispatch()

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        heapq.heappush(self._waiting, self._entry(run, frames.Do(task, after=frames.After(error))))
        self._dispatch()
        return True

    def wake(self) -> None:
        self._bell.ring()

    def poll(self, timeout: float) -> Polled:
        until = time.monotonic() + timeout
        while True:
            self._watch_time()
            now = time.monotonic()
            rung = self._listen(0.0 if self._events else max(0.0, min(until, self._next_alarm()) - now))
            self._dispatch()
            told = time.monotonic()
            while self._events and not rung and (seconds := self._worth_waiting(told)) > 0:
                select.select([self._bell, self._idle_bell], [], [], seconds)
                rung = self._listen(0.0)
                self._dispatch()
            if self._events or rung or time.monotonic() >= until:
                events, self._events = self._events, []
                return Polled(events, "")

    def _listen(self, seconds: float) -> bool:
        """Hear what processes say. Whether the bell was rung."""
        rung = False
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, Process):
                self._hear(key.data)
            else:
                self._bell.hear()
                rung = True
        self._idle_bell.hear()
        return rung

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        unwanted = set(steps)
        kept = []
        for entry in self._waiting:
            task, hooks = entry.wanted.task, entry.wanted.after
            if hooks is None and task.run_id == run_id and (task.step, task.attempt) in unwanted:
                self._events.append(reports.canceled(task))
            else:
                kept.append(entry)
        heapq.heapify(kept)
        self._waiting = kept
        for child in self._children:
            behind = _of(run_id, unwanted, itertools.islice(child.doing, 1, None))
            self._unwanted.update(task.id for task in (*behind, *_of(run_id, unwanted, child.held)))
            task_ = child.task
            if task_ is not None and not child.ended and task_.run_id == run_id and child.crew & unwanted:
                self._stop(child, "canceled")
            elif behind:
                self._take_back(child)

    def release(self, run_id: RunId) -> None:
        self._seen.pop(run_id, None)
        self._foreseen.pop(run_id, None)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        busy = [child for child in self._children if child.task is not None]
        for child in self._children:
            _dismiss(child)
        until = time.monotonic() + self._grace
        while any(not child.gone for child in busy) and time.monotonic() < until:
            for key, _ in self._selector.select(0.05):
                if key.data in busy and key.data.read() is None:
                    self._selector.unregister(key.fileobj)
        for child in self._children:
            if child in busy:
                child.kill()
            child.end()
        self._children.clear()
        self._selector.close()
        self._bell.close()
        self._idle_bell.close()
        if self._nursery is not None:
            self._nursery.rest()

    # ---- children ----------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give those something to do that have little, a fair share each; start processes where there is more of it."""
        shares = self._most
        for child in sorted(self._children, key=lambda child: len(child.doing)):
            if not self._waiting:
                return
            if child.ready and child.reason is None and not child.asked_back and child.ahead < _BATCH / 2:
                self._give(child, -(-len(self._waiting) // shares))
                shares -= 1
        starting = sum(1 for child in self._children if not child.ready)
        for _ in range(min(len(self._waiting) - starting, self._most - len(self._children))):
            self._start()

    def _start_foreseen(self) -> None:
        """The first process has loaded the code; while it works, the others do: they are there when steps are."""
        foreseen = max(self._foreseen.values(), default=0)
        self._foreseen.clear()
        for _ in range(foreseen - len(self._children)):
            self._start()

    def _entry(self, run: RunBrief, wanted: frames.Do) -> Entry:
        return Entry(-wanted.task.priority, next(self._order), run, wanted, inf)

    def _next_batch(self, child: Process, most: int) -> list[Entry]:
        """What comes first, with as much of what follows in the same run as is known to be quick."""
        ahead, batch = child.ahead, list[Entry]()
        while self._waiting and len(batch) < most:
            expected = self._expected(self._waiting[0])
            if (batch or child.doing) and ahead + expected > _BATCH:
                break
            if batch and batch[0].run.run_id != self._waiting[0].run.run_id:
                break
            ahead += expected
            batch.append(heapq.heappop(self._waiting)._replace(expected=expected))
        return batch

    def _expected(self, entry: Entry) -> float:
        """Seconds, as they are known by now."""
        task = entry.wanted.task
        alone = entry.wanted.after is not None or task.timeout is not None
        return inf if alone else self._seconds.get(_kind_of(entry.run, task), inf) + _OVERHEAD

    def _worth_waiting(self, since: float) -> float:
        """Seconds for which events that are there since then may wait for others."""
        busy, now = [child for child in self._children if child.doing], time.monotonic()
        left, passed = max((_left(child, now) for child in busy), default=0.0), now - since
        if left <= _NEARLY:
            return min(left, _LINGER + _NEARLY - passed)
        all_have_more = len(busy) == self._most and all(len(child.doing) > 1 for child in busy)
        return _LINGER - passed if all_have_more else 0.0

    def _start(self, fork: bool = True) -> None:
        child = Process(self._idle_bell.hand, self._nursery if fork else None)
        self._children.add(child)
        self._selector.register(child.channel, selectors.EVENT_READ, child)
        setup = self._setup
        told = frames.Setup(setup.home, setup.broker_url, setup.code, setup.one_host)
        try:
            if self._job is not None:
                frames.send(child.channel, frames.JOB, self._job)
            frames.send(child.channel, frames.SETUP, _encode(told))
        except ConnectionError:
            pass  # it died already: its end is heard like any other

    def _give(self, child: Process, most: int) -> None:
        batch = self._next_batch(child, most)
        if not batch:
            return
        idle = not child.doing
        sent = []
        for place, entry in enumerate(batch):
            wanted = entry.wanted
            task = self._without_those_in_line(wanted.task)
            batch[place] = entry._replace(wanted=frames.Do(task, next(self._claims), wanted.after))
            sent.append(batch[place].wanted)
        child.doing.extend(batch)
        if idle:
            child.begin(None)
        try:
            brief = batch[0].run
            if not child.knows(brief.run_id):
                frames.send(child.channel, frames.RUN, encode_brief(brief))
            frames.send(child.channel, frames.DO, _encode(sent))
        except ConnectionError:
            pass

    def _without_those_in_line(self, task: StepTask) -> StepTask:
        """What goes along are steps that are not submitted; none, where the time of one is to be watched."""
        if not task.then:
            return task
        then: tuple[StepTask, ...] = ()
        if task.timeout is None and all(each.timeout is None for each in task.then):
            seen = self._seen.get(task.run_id, set())
            then = tuple(each for each in task.then if (each.step, each.attempt) not in seen)
        return msgspec.structs.replace(task, then=then)

    def _hear(self, child: Process) -> None:
        told = child.read()
        if told is None:
            self._bury(child)
            return
        for kind, payload in told:
            match kind:
                case frames.READY:
                    child.ready = True
                    if self._nursery is not None and child.forked:
                        self._nursery.thrives()
                    self._dispatch()  # before those are started that are foreseen, which takes some milliseconds
                    self._start_foreseen()
                case frames.TOLD:
                    self._take(child, decode_events(payload))
                case frames.ENDED:
                    self._take(child, decode_events(payload))
                    child.ended = True
                case frames.DONE:
                    done = _done.decode(payload)
                    self._take(child, done.events)
                    self._done(child, done.then)
                    if done.imported and self._nursery is not None:
                        self._nursery.learn(done.imported)
                case frames.GIVEN:
                    self._given_back(child, set(_claims.decode(payload)))
                case _:
                    raise ValueError(f"unknown frame {kind!r} from process {child.pid}")

    def _take(self, child: Process, events: Sequence[AnyEvent]) -> None:
        task = child.task
        for event in events:
            if isinstance(event, StepStarted):
                if child.begun:
                    continue
                child.begun, child.started = True, time.monotonic()
            elif task is not None and isinstance(event, StepSucceeded):
                self._seconds[_kind_of(child.doing[0].run, task)] = event.seconds
            if child.reason == "timed out" and task is not None and isinstance(event, StepCanceled):
                self._events.append(reports.timed_out(task, time.monotonic() - child.started, orphaned=True))
            else:
                self._events.append(event)

    def _done(self, child: Process, then: StepKey | None) -> None:
        following = next((task for task in child.doing[0].wanted.task.then if task.step == then), None)
        if following is not None:
            self._seen.setdefault(following.run_id, set()).add((following.step, following.attempt))
            child.begin(following)
            child.held = [entry for entry in child.held if entry.wanted.task.id != following.id]
            if following.id in self._unwanted:
                self._unwanted.discard(following.id)
                self._stop(child, "canceled")
        elif child.interrupted:  # its signal may still be on the way, so that it gets no other step
            child.doing.popleft()
            child.hang_up()
            self._forget(child)
            self._requeue(child)
        else:
            self._unwanted.discard(child.doing.popleft().wanted.task.id)
            child.reason = child.kill_at = None  # it was too late to stop it
            child.begin(None)
            self._let_go(child)
            if child.task is not None and child.task.id in self._unwanted:
                self._stop(child, "canceled")

    def _take_back(self, child: Process) -> None:
        """What it was given and has not begun; it answers with what that is."""
        if not child.asked_back:
            child.asked_back = True
            with contextlib.suppress(ConnectionError):
                frames.send(child.channel, frames.BACK)

    def _given_back(self, child: Process, claims: set[str]) -> None:
        child.asked_back = False
        back = [entry for entry in child.doing if entry.wanted.claim in claims]
        child.doing = deque(entry for entry in child.doing if entry.wanted.claim not in claims)
        for entry in back:
            self._line_up(entry)
        if not child.doing:  # it was about to begin the first of them
            child.reason = child.kill_at = None
            child.begin(None)
        elif child.reason is not None:
            child.interrupt()

    def _line_up(self, entry: Entry) -> None:
        """Again, in its old place, unless nobody wants it any more."""
        task = entry.wanted.task
        if task.id in self._unwanted:
            self._unwanted.discard(task.id)
            self._events.append(reports.canceled(task))
        else:
            heapq.heappush(self._waiting, entry)

    def _requeue(self, child: Process) -> None:
        """What a process that is gone had not begun."""
        while child.doing:
            self._line_up(child.doing.popleft())
        self._let_go(child)

    def _let_go(self, child: Process) -> None:
        """What it might have gone on with, and does not."""
        held, child.held = child.held, []
        for entry in held:
            self._line_up(entry)

    def _bury(self, child: Process) -> None:
        task, reason = child.task, child.reason
        seconds = time.monotonic() - child.started
        code = self._forget(child)
        if task is None:
            if child.stillborn and self._nursery is not None:
                self._nursery.stillborn()
                self._start(fork=False)
            elif not child.ready:
                self._fail_to_start(code)
            return
        self._announce(child, task)
        child.doing.popleft()
        self._requeue(child)
        if reason == "canceled" and not child.ended:
            self._events.append(reports.canceled(task))
        elif reason == "timed out" and not child.ended:
            self._events.append(reports.timed_out(task, seconds, orphaned=True))
        else:
            self._events.append(msgspec.structs.replace(_lost(task, child.pid, code), after_end=child.ended))

    def _fail_to_start(self, code: int | None) -> None:
        """So that a pool that cannot start its children says so instead of trying for ever: the next step in line
        pays.
        """
        if self._waiting:
            task = heapq.heappop(self._waiting).wanted.task
            self._events.append(reports.started(task, 0, worker=_HOST))
            self._events.append(_lost(task, 0, code, "before it was ready"))

    def _forget(self, child: Process) -> int | None:
        self._children.discard(child)
        self._selector.unregister(child.channel)
        return child.end()

    # ---- time --------------------------------------------------------------------------------------------------------

    def _stop(self, child: Process, reason: Reason) -> None:
        """What it does; not before it has given back what is behind, so that the signal meets nothing else."""
        if child.reason is None:
            child.reason = reason
            child.kill_at = time.monotonic() + self._grace
            if len(child.doing) > 1 or child.asked_back:
                self._take_back(child)
            else:
                child.interrupt()

    def _watch_time(self) -> None:
        now = time.monotonic()
        for child in self._children:
            task = child.task
            if task is None:
                continue
            if now >= _time_out(child):
                self._stop(child, "timed out")
            if now >= _held_up(child):
                self._announce(child, task)
                if len(child.doing) > 1:
                    self._take_back(child)
            if child.kill_at is not None and now >= child.kill_at:
                child.kill()
                child.kill_at = None

    def _announce(self, child: Process, task: StepTask) -> None:
        """A step that was thought to be quick tells that it began when it ends."""
        if not child.begun and not child.ended:
            child.begun = True
            at = time.time() - (time.monotonic() - child.started)  # before all that it tells, however late this is
            started = reports.started(task, child.pid, child.claim, _HOST)
            self._events.append(msgspec.structs.replace(started, at=at))

    def _next_alarm(self) -> float:
        alarms = [child.kill_at for child in self._children if child.kill_at is not None]
        for child in self._children:
            alarms += _time_out(child), _held_up(child)
        return min(alarms, default=inf)


def _kind_of(run: RunBrief, task: StepTask) -> tuple[str, str]:
    """Steps of one kind are expected to take equally long."""
    return run.job.name, task.op or task.node


def _of(run_id: RunId, steps: set[tuple[StepKey, int]], entries: Iterable[Entry]) -> list[StepTask]:
    tasks = [entry.wanted.task for entry in entries]
    return [task for task in tasks if task.run_id == run_id and (task.step, task.attempt) in steps]


def _dismiss(child: Process) -> None:
    """It is to end, what it does included."""
    if not child.ready:
        child.kill()  # it loads code that nobody waits for
    elif child.task is None:
        child.hang_up()
    else:
        child.interrupt()
        child.no_more()


def _time_out(child: Process) -> float:
    """When the time of its step is over."""
    task = child.task
    if task is None or task.timeout is None or child.reason is not None or child.ended:
        return inf
    return child.started + task.timeout


def _held_up(child: Process) -> float:
    """When what it does has become one to be seen, which nothing is to wait for."""
    unseen = child.task is not None and not child.begun and not child.ended
    return child.started + _HELD_UP if unseen or (len(child.doing) > 1 and not child.asked_back) else inf


def _lost(task: StepTask, pid: int, code: int | None, when: str = "while it ran this step") -> StepLost:
    number = -code if code is not None and code < 0 else None
    if number is not None:
        how = f"was killed by {signal.Signals(number).name}"
    else:
        how = "ended, nobody knows how," if code is None else f"exited with code {code}"
    cause = LossCause(
        reason=f"process {pid or ''} {how} {when}".replace("  ", " "),
        signal=number,
        exit_code=None if number is not None else code,
        worker=_HOST,
        pid=pid,
    )
    return StepLost(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, cause=cause)


def _left(child: Process, now: float) -> float:
    """Seconds that it is likely to be busy yet. What goes on when it should have ended long ago may take any time."""
    is_late = now - child.started > child.doing[0].expected + _LINGER + _NEARLY
    return inf if is_late else child.ahead


def _nursery_of(setup: ExecutorSetup) -> Nursery | None:
    """A Selector that was resolved: ``start_method`` is {"spawn": {}} or {"forkserver": {"preload_modules": [...]}}."""
    match setup.config.get("start_method"):
        case {"spawn": _}:
            return None
        case {"forkserver": {"preload_modules": [*modules]}}:
            found = nursery([DOOR], setup.code, [str(each) for each in modules])
        case _:
            found = nursery([DOOR], setup.code)
    if found is not None:
        found.prepare()
    return found
