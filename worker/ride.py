"""The steps of a message on their way through one process: claimed and told of several at a time, run one by one.

What is expected to take some milliseconds is claimed at once; what has ended waits for as long until it is told, in
the same round trip that claims what comes next. A step that takes longer than its like holds nobody up: what waits
behind it is given back, for the coordinator to send elsewhere, and what ended before it is told.

Where the next message in the queue is of the same run, it is taken along just before the process would be idle, and
its steps come behind those that are there: nobody waits for Celery then.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from opgrid.broker.connection import reaching
from opgrid.broker.messages import label, sign_tasks
from opgrid.broker.protocol import RUN_TTL, Attempt, Said
from opgrid.contracts.events import StepCanceled, StepSucceeded
from opgrid.contracts.fusing import following
from opgrid.contracts.tasks import StepTask
from opgrid.errors import BrokerUnreachable
from opgrid.ids import StepKey
from opgrid.steps import reports
from opgrid.steps.interrupts import deadline
from opgrid.steps.runner import Outcome, run_step
from opgrid.steps.scope import RunScope
from opgrid.trouble import Trouble
from worker.along import Taken
from worker.cancellation import Started
from worker.chains import Chains
from worker.event_stream import LOOK_EVERY, EventStream, Terminal
from worker.items import Item, Message
from worker.leases import AFTER, Claim
from worker.means import Means
from worker.telling import Ended, Telling

#: Steps that are claimed ahead, and the seconds that they may be expected to take together.
_AHEAD: Final = 96
_AHEAD_SECONDS: Final = 0.005
#: Steps that are claimed ahead even where they take longer than that, if none of them counts as slow by far.
_AHEAD_LEAST: Final = 2
#: Seconds that an ended step waits for others to be told with.
_WAIT: Final = 0.005
#: Seconds that a step takes at least for the round trips to be made beside it, by another thread.
_BESIDE: Final = 0.002
#: Seconds that a step is expected to take at most whose start is told with its end.
_SHORT: Final = 0.003
#: Seconds within which this process may be expected to be idle when it takes a message along.
_SOON: Final = 0.015
#: Seconds before that in which it looks a last time whether one has come: what it takes to claim the first step of it.
_IN_TIME: Final = 0.004
#: Seconds that a process waits for what becomes ready when its last step is told of; Celery takes it to be busy then.
_AT_HAND: Final = 0.003
#: Seconds after which a step counts as slow.
SLOW: Final = 0.05
_FLUSH_EVERY: Final = 0.5  #: seconds between what a slow step tells while it runs
#: Seconds after which a chain of steps goes back into the queue, if something waits there: that is not to wait longer;
#: and after which nothing is taken along: Celery has its turn, with what was asked of it meanwhile.
_LONGEST: Final = 1.0
#: The same where nothing does: a worker that drains is to come to an end.
_LONGEST_ALONE: Final = 5.0

_log = logging.getLogger("opgrid.worker")


class Ride:
    def __init__(
        self,
        means: Means,
        scope: RunScope,
        content: str,
        queue: str,
        tasks: Sequence[StepTask],
        has_more: bool = False,
    ) -> None:
        """``has_more``: more messages of its run may be expected."""
        self._means = means
        self._has_more = has_more
        self._scope = scope
        self._content, self._queue = content, queue
        self._items: deque[Item] = deque()
        self._chains = Chains()
        self._message = Message()
        self._along: list[Message] = []  #: those that were taken along, and are not over
        self._look_again = 0.0  #: when to look there next; each look is a round trip
        self._board(tasks, self._message)
        self._telling = Telling(means, scope, queue, self._chains, self._hold)
        self._window: deque[Item] = deque()  #: claimed, not begun
        self._running: Item | None = None
        self._stream: EventStream | None = None  #: of what runs
        self._own, self._named = secrets.token_hex(6), 0  #: what its claims begin with, and how many there are
        self._since = time.monotonic()
        self._since_boarding = self._since  #: of what came last
        self._patient_until = self._since + _LONGEST
        self._begun = self._flushed = 0.0
        self._trouble = Trouble(_log)  #: of what waits behind a slow step
        self._beside = False  #: the other thread is to tell of what has ended, and to claim
        self._lock = threading.RLock()  #: of all of this: a second thread looks after slow steps

    def run(self) -> str:
        """To the end. Gives what became of the steps, in words, for Flower."""
        try:
            while (item := self._next()) is not None:
                self._attempt(item)
        finally:
            self._telling.drop()
            self._means.slot.hold([])
            self._tell_what_is_over()
            if self._means.along is not None:
                self._means.along.speak(patiently=True)
        return str(self._message)

    def _board(self, tasks: Sequence[StepTask], message: Message) -> None:
        """Behind what is there."""
        stream, job = self._scope.brief.stream, self._scope.brief.job.name
        for first in tasks:
            chain = self._chains.begin(1 + len(first.then))
            for task in (first, *first.then):
                at = Attempt(task.run_id, stream, task.step, task.attempt)
                kind = job, task.op or task.node
                self._items.append(Item(task, at, chain, task.after, kind, message))

    # ---- claiming --------------------------------------------------------------------------------------------------

    def _next(self) -> Item | None:
        """The next one to run, claimed; all that has ended is told of once there is none."""
        with self._lock:
            while True:
                while self._window:
                    item = self._window.popleft()
                    task = self._chains.ready(item) if item.after else item.task
                    if task is not None:
                        item.task = task
                        self._running = item
                        self._begun = self._flushed = time.monotonic()
                        if self._telling.ended and (item.expected or 0.0) >= _BESIDE:
                            self._beside = True
                        if self._beside:
                            self._means.look_now()
                        return item
                    self._telling.unwanted.append(item)
                if self._telling.is_underway:
                    self._arrive()
                    continue
                wanted = self._ahead()
                if not wanted and not self._telling:
                    if self._telling.waits and self._take_along(time.monotonic()):
                        continue
                    if self._telling.waits is False and self._wait():
                        continue
                    return None
                self._exchange(wanted)

    def _ahead(self) -> list[Item]:
        """What to claim now, beside what is claimed already."""
        found: list[Item] = []
        count, seconds = len(self._window), sum([item.expected or 0.0 for item in self._window])
        while self._items and count < _AHEAD:
            item = self._items[0]
            if item.after and self._chains.is_cut_off(item):
                self._chains.fails(item)
                self._telling.unwanted.append(self._items.popleft())
                continue
            if item.after and not item.task.fused and (now := time.monotonic()) > self._patient_until:
                if found or self._window or self._running is not None:
                    break  # what goes on with the chain elsewhere needs all that it has made here
                if now - self._since_boarding > _LONGEST_ALONE or not self._is_single_file(item) or self._others_wait():
                    self._send_on(item)
                    continue
                self._patient_until = now + _LONGEST
            expected = item.expected = self._means.pace.expect(item.kind)
            if count and (expected is None or not self._fits(count, seconds, expected)):
                break
            found.append(self._items.popleft())
            count += 1
            seconds += _AHEAD_SECONDS if expected is None else expected
        return found

    def _take_along(self, now: float) -> bool:
        """The message that this process would be given by Celery when it is idle, where it soon will be."""
        if self._means.along is None or now - self._since > _LONGEST:
            return False
        left = self._left(now)
        if left is None:
            return False
        if left > _SOON:
            self._look_again = now + left - _SOON
            return False
        self._tell_what_is_over()
        taken = self._means.along.take(self._content, self._queue)
        if taken is None:
            self._look_again = now + _IN_TIME
            return False
        self._takes(taken, now)
        return True

    def _wait(self) -> bool:
        """For what is ready now that all that ran here is told of: it comes by hand, if it comes soon."""
        now = time.monotonic()
        if self._means.along is None or not self._has_more or now - self._since > _LONGEST:
            return False
        self._tell_what_is_over()
        claim = self._new_claim()
        taken = self._means.along.wait(self._content, self._queue, _AT_HAND, claim, self._means.owner)
        if taken is None:
            return False
        self._takes(taken, time.monotonic())
        if taken.is_claimed:
            self._take_claimed(claim)
        return True

    def _take_claimed(self, claim: str) -> None:
        """The first, which who sent it has claimed. What is to be fetched for it is asked for as if it were not."""
        item = self._items[0]
        item.came_claimed = True
        self._name(item, claim)
        if not self._telling.is_to_fetch(item):
            item.expected = self._means.pace.expect(item.kind)
            self._take([self._items.popleft()], [Said.OK])

    def _takes(self, taken: Taken, now: float) -> None:
        self._has_more = True
        message = Message(taken.task_id)
        self._along.append(message)
        self._board(taken.tasks, message)
        self._since_boarding, self._patient_until = now, now + _LONGEST

    def _left(self, now: float) -> float | None:
        """Seconds until this process has nothing to do, as far as can be told; None where it cannot."""
        if self._items or self._telling.is_underway:
            return None
        left = 0.0
        for item in self._window if self._running is None else (self._running, *self._window):
            if item.expected is None:
                return None
            left += item.expected
        return left if self._running is None else max(0.0, left - (now - self._begun))

    def _tell_what_is_over(self) -> None:
        """Of messages that were taken along."""
        if not self._along:
            return
        there = [*self._items, *self._window, *self._telling.unwanted, *(each.item for each in self._telling.ended)]
        if self._running is not None:
            there.append(self._running)
        going = {id(item.message) for item in there}
        for message in [each for each in self._along if id(each) not in going]:
            self._along.remove(message)
            if self._means.along is not None:
                self._means.along.ended(message.task_id, str(message))

    def _fits(self, count: int, seconds: float, expected: float) -> bool:
        """Whether a step of so many seconds may be claimed behind others."""
        return seconds + expected <= _AHEAD_SECONDS or (count < _AHEAD_LEAST and max(seconds, expected) <= SLOW / 2)

    def _is_single_file(self, item: Item) -> bool:
        """Whether no two steps of what is left of its chain could run at the same time."""
        left = [each for each in self._items if each.chain == item.chain]
        return all(before.task.step in each.after for before, each in pairwise(left))

    def _others_wait(self) -> bool:
        """Whether there is something to take from a queue that this worker serves, as far as can be seen."""
        means = self._means
        try:
            with reaching(means.settings.broker_url):
                pipe = means.protocol.client.pipeline(transaction=False)
                for queue in {self._queue, *means.settings.queues}:
                    for name in means.keys.queue_lists(queue):
                        pipe.llen(name)
                return any(pipe.execute())
        except BrokerUnreachable:
            return False  # what has ended is to be told all the same

    def _send_on(self, item: Item) -> None:
        """Put the rest of a chain into its queue, for any worker."""
        if self._telling.ended:
            self._tell()  # nobody goes on elsewhere with what was not accepted
        behind = [each for each in self._items if each.chain == item.chain and each is not item]
        going = following(item.task.step, _waits(behind))
        rest = [each for each in behind if each.task.step in going]
        self._telling.unwanted += [each for each in behind if each.task.step not in going]
        self._items = deque(each for each in self._items if each.chain != item.chain)
        task = self._chains.ready(item)
        if task is None:
            self._telling.unwanted += [item, *rest]
            return
        task = msgspec.structs.replace(task, then=tuple(each.task for each in rest))
        dispatch, beside = sign_tasks(self._content, [task], self._means.ring)
        shown = label(self._scope.brief.job.name, [task])
        key, message = self._means.messages.build(dispatch, shown, self._queue, task.priority)
        with reaching(self._means.settings.broker_url):
            pipe = self._means.protocol.client.pipeline(transaction=False)
            if beside is not None:
                pipe.set(self._means.keys.tasks(self._content, dispatch.tasks), beside, ex=RUN_TTL)
            pipe.lpush(key, message)
            pipe.execute()
        item.message.said.append("sent on")

    def _exchange(self, wanted: Sequence[Item]) -> None:
        """Tell what has ended, give back what is not to run, claim what is wanted."""
        self._beside = False
        for item in wanted:
            self._name(item)
        if wanted and self._running is None and not self._window and not wanted[0].came_claimed:
            expected = wanted[0].expected
            wanted[0].told = expected is None or expected > _SHORT
        self._take(wanted, self._settle(wanted))

    def _set_out(self, wanted: Sequence[Item]) -> None:
        """The same, but the steps that are claimed already go on while Redis works on it."""
        for item in wanted:
            self._name(item)
        self._hold(wanted)
        try:
            self._telling.set_out(wanted, not self._items)
        except BrokerUnreachable as error:
            _log.warning("Asking again: %s", error)
            if self._telling.ended:
                self._take(wanted, self._settle(wanted))
            else:
                self._items.extendleft(reversed(wanted))  # nothing was asked

    def _arrive(self) -> None:
        """Hear what came of that."""
        arrived = self._telling.arrive(not self._items)
        if arrived is not None:
            self._take(*arrived)

    def _settle(self, wanted: Sequence[Item] = ()) -> list[Said]:
        """All of it, and what is on its way. Gives what was said about claims."""
        self._arrive()
        return self._telling.settle(wanted, looks=not self._items)

    def _take(self, wanted: Sequence[Item], said: Sequence[Said]) -> None:
        for item, word in zip(wanted, said, strict=True):
            if word is Said.OK:
                assert item.lease is not None
                item.lease.taken = True
                self._window.append(item)
            else:
                self._chains.fails(item)
                item.message.said.append(f"not run: {word.value}")
        self._hold()

    def _hold(self, asked: Sequence[Item] = ()) -> None:
        held = [ended.item for ended in self._telling.ended]
        if self._running is not None and self._running not in held:
            held.append(self._running)
        held += self._window
        self._means.slot.hold([item.lease for item in (*held, *asked) if item.lease is not None])

    def _new_claim(self) -> str:
        self._named += 1
        return f"{self._own}{self._named:x}"

    def _name(self, item: Item, claim: str = "") -> None:
        """Give it a claim of its own; what came with one keeps that."""
        item.claim = claim = claim or (item.claim if item.came_claimed else self._new_claim())
        owner, timeout, follows = self._means.owner, item.task.timeout, bool(item.after)
        item.lease = Claim(*item.at, claim, owner, timeout, False, follows)

    # ---- telling ---------------------------------------------------------------------------------------------------

    # ---- running ---------------------------------------------------------------------------------------------------

    def _attempt(self, item: Item) -> None:
        means, task = self._means, item.task
        stream = EventStream(item.at, item.claim, means.protocol, means.ring)
        if not item.told:
            stream.emit(self._telling.start_of(item))
            if item.came_claimed and (item.expected is None or item.expected > _SHORT):
                stream.flush()
        self._stream = stream
        means.slot.begin(item.claim, self._begun)
        outcome: Outcome | None = None
        event: Terminal
        started = Started()
        try:
            means.stoppable.begin(item.claim)
            try:
                if task.timeout is None:
                    outcome = run_step(task, self._scope, stream, claim=item.claim)
                else:
                    with deadline(task.timeout):
                        outcome = run_step(task, self._scope, stream, claim=item.claim)
                event = outcome.event
                canceled = type(event) is StepCanceled and means.stoppable.asked
            finally:
                means.stoppable.begin("")
            if type(event) is StepCanceled:
                seconds = time.monotonic() - self._begun
                started.end_all()
                if not canceled and task.timeout is not None and seconds >= task.timeout:
                    event = outcome.event = reports.timed_out(task, seconds)
        except Exception as error:  # ours: what user code raises is an outcome
            _log.exception("Step %s of run %s was given up.", task.step, task.run_id)
            event = self._telling.lost(task, f"its worker failed: {type(error).__name__}: {error}")
        lingers = outcome is not None and outcome.lingers
        means.slot.begin(AFTER + item.claim if lingers else "", self._begun)  # it may die once this was accepted
        with self._lock:
            self._end(item, event, stream, outcome if lingers else None)
            concluding, self._telling.concluded = self._telling.concluded, []
            if not concluding:
                self._running = self._stream = None
        if concluding:
            try:
                for ended, accepted in concluding:
                    means.slot.begin(AFTER + ended.item.claim, self._begun)
                    _do_what_follows(ended, accepted)
            finally:
                with self._lock:
                    self._running = self._stream = None

    def _end(self, item: Item, event: Terminal, stream: EventStream, outcome: Outcome | None) -> None:
        """``outcome``: where something is to be done once this was accepted."""
        if isinstance(event, StepSucceeded):
            self._means.pace.learn(item.kind, event.seconds)
            event = self._chains.succeeds(item, event)
        else:
            self._chains.fails(item)
        now = time.monotonic()
        self._telling.end(item, event, stream, outcome, now)
        if outcome is not None or not isinstance(event, StepSucceeded) or self._means.pending.is_half_full:
            self._tell()
        elif self._window:
            self._tell_by_the_way(now)

    def _tell_by_the_way(self, now: float) -> None:
        """While the next ones run; by another thread, where they take long enough for that to be worth it."""
        expected, left = self._window[0].expected or 0.0, len(self._window)
        if expected >= _BESIDE:
            self._beside = True
        elif not self._telling.is_underway:
            has_waited = now - self._telling.ended[0].since > _WAIT
            is_half_done = 2 * left <= _AHEAD and 2 * left * expected <= _AHEAD_SECONDS
            if has_waited or (is_half_done and (self._items or (now >= self._look_again and self._take_along(now)))):
                wanted = self._ahead()
                if wanted or has_waited:
                    self._set_out(wanted)

    def _tell(self) -> None:
        self._settle()
        self._hold()

    # ---- while a step takes long -----------------------------------------------------------------------------------

    def look_after(self) -> float:
        """Called every now and then by another thread: a slow step holds nobody up. Raises nothing. Gives the seconds
        until the next look: each of them takes the interpreter from the op.
        """
        with self._lock:
            now = time.monotonic()
            if self._means.along is not None:
                self._means.along.speak()
            if self._running is None:
                return LOOK_EVERY
            if now - self._begun < SLOW:
                return self._look_beside(now)
            pause = min(max((now - self._begun) / 4, LOOK_EVERY), _FLUSH_EVERY / 2)
            try:
                self._arrive()
                self._give_back(self._running)
                if self._telling:
                    self._tell()
            except BrokerUnreachable as error:
                self._trouble.is_there(f"What waits behind step {self._running.task.step} waits on: {error}")
                pause = LOOK_EVERY
            else:
                self._trouble.is_not_seen("The broker is back")
            stream = self._stream
            if stream is None or (now - self._flushed < _FLUSH_EVERY and self._flushed != self._begun):
                return pause
            self._flushed = now
        stream.flush()
        return pause

    def _look_beside(self, now: float) -> float:
        """While a step runs that is not slow: tell, claim, and see to what comes when this process is through."""
        came = self._take_along(now)
        if self._beside and self._telling.ended:
            self._exchange(self._ahead())
        elif came:
            self._set_out(self._ahead())
        left = self._left(time.monotonic())
        return LOOK_EVERY if left is None or left <= _IN_TIME else min(LOOK_EVERY, left - _IN_TIME)

    def _give_back(self, running: Item) -> None:
        """All but those that wait for what runs: nobody else could go on with them."""
        waiting = [*self._window, *self._items]
        chain = [item for item in waiting if item.chain == running.chain]
        if running.task.fused:
            kept = {item.task.step for item in chain}
        else:
            kept = following(running.task.step, _waits(chain), self._chains.succeeded(running.chain))

        def stays(item: Item) -> bool:
            return item.chain == running.chain and item.task.step in kept

        self._telling.unwanted += [item for item in waiting if not stays(item)]
        self._window = deque(item for item in self._window if stays(item))
        self._items = deque(item for item in self._items if stays(item))


def _waits(items: Iterable[Item]) -> Iterator[tuple[StepKey, Sequence[StepKey]]]:
    return ((item.task.step, item.after) for item in items)


def _do_what_follows(ended: Ended, accepted: bool) -> None:
    """Hooks, and the end of resources that live as long as their step."""
    outcome = ended.outcome
    assert outcome is not None
    try:
        if accepted:
            outcome.run_hooks(ended.stream)
            ended.stream.flush()
    finally:
        outcome.close()
