"""What a ride says to Redis and asks there, in one round trip: what has ended, what is given back, what it claims, and
the values that go with each. It is said again until there is an answer.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from opgrid.broker.messages import seal_events, seal_returned
from opgrid.broker.protocol import Exchanged, Exchanging, Finished, Said, Wanted
from opgrid.contracts.events import AnyEvent, LossCause, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import Gathered, OutputRef, Source, StepTask, Stored
from opgrid.crash_points import reach
from opgrid.errors import BrokerUnreachable
from opgrid.ids import StepKey
from opgrid.io.parcels import parcel_of
from opgrid.io.pending import Store
from opgrid.io.redis import RedisStore, keys_of
from opgrid.io.selection import DEFAULT_KEY
from opgrid.steps import reports
from opgrid.steps.runner import Outcome
from opgrid.steps.scope import RunScope
from opgrid.trouble import Trouble
from worker.chains import Chains
from worker.event_stream import EventStream, Terminal
from worker.items import Item
from worker.means import Means

#: Values that are fetched at once.
_FETCH: Final = 1000

_log = logging.getLogger("opgrid.worker")


@dataclass(slots=True, eq=False)
class Ended:
    """A step that has run and is to be told of."""

    item: Item
    event: Terminal
    events: list[AnyEvent]
    outputs: list[str]
    stream: EventStream
    since: float
    outcome: Outcome | None = None  #: with something to do once its end was accepted


@dataclass(slots=True, eq=False)
class Underway:
    """What was asked of Redis, and is still to be answered."""

    exchange: Exchanging
    wanted: Sequence[Item]
    ended: int  #: how many of what has ended
    given_back: int  #: how many of what is unwanted
    stored: list[Store]


class Telling:
    """Of one ride. ``hold`` writes down its claims, with those that are asked for."""

    def __init__(
        self, means: Means, scope: RunScope, queue: str, chains: Chains, hold: Callable[[Sequence[Item]], None]
    ) -> None:
        self._means, self._scope, self._queue, self._chains, self._hold = means, scope, queue, chains, hold
        #: Whether values lie in the Redis of the broker, unless an output says otherwise.
        self._keeps = scope.brief.io == "redis" and DEFAULT_KEY not in scope.job.resource_defs
        self.ended: list[Ended] = []  #: what is to be told
        self.unwanted: list[Item] = []  #: what is to be given back
        self.concluded: list[tuple[Ended, bool]] = []  #: what was told and has more to do, and whether it was accepted
        self.waits: bool | None = None  #: whether something did in a queue, if the last exchange has asked
        self._underway: Underway | None = None

    def __bool__(self) -> bool:
        """Whether there is something to say."""
        return bool(self.ended or self.unwanted)

    @property
    def is_underway(self) -> bool:
        return self._underway is not None

    def drop(self) -> None:
        """Nobody wants to know what comes of what is on its way."""
        if self._underway is not None:
            self._underway.exchange.drop()

    def end(self, item: Item, event: Terminal, stream: EventStream, outcome: Outcome | None, now: float) -> None:
        """A step has run; ``outcome``, where something is to be done once its end was accepted."""
        outputs = self._output_keys(item.task, event) if isinstance(event, StepSucceeded) else []
        self.ended.append(Ended(item, event, [*stream.take(), event], outputs, stream, now, outcome))

    def set_out(self, wanted: Sequence[Item], looks: bool = False) -> None:
        """As ``settle``, but the answer is for ``arrive``. Raises BrokerUnreachable."""
        self._underway = self._ask(self.ended, wanted, looks)

    def arrive(self, looks: bool = False) -> tuple[Sequence[Item], list[Said]] | None:
        """What was wanted, and what was said about it; None where nothing was on its way."""
        underway, self._underway = self._underway, None
        if underway is None:
            return None
        try:
            said = self._answer(underway)
        except BrokerUnreachable as error:
            _log.warning("Asking again: %s", error)
        else:
            if all(word is Said.OK for word in said.finished):
                self._accept(said.finished)
                return underway.wanted, said.claimed
        return underway.wanted, self.settle(underway.wanted, underway.ended, looks)

    def settle(self, wanted: Sequence[Item] = (), told: int = 0, looks: bool = False) -> list[Said]:
        """One round trip, and more where Redis does not answer or does not agree. Gives what was said about claims.
        ``told``: so many ends, where Redis was told of these already: what is asked again is to be the same. ``looks``:
        whether to ask if something waits in a queue, where nothing is wanted. Nothing else is on its way.
        """
        if not (wanted or self):
            return []
        self._hold(wanted)
        until = time.monotonic() + self._means.settings.redis_grace
        pause = 0.05
        told, knowing = told or len(self.ended), b""
        trouble = Trouble(_log)
        while True:
            claimed, unknown = [Said.GONE] * len(wanted), True
            try:
                said = self._answer(self._ask(self.ended[:told], wanted, looks))
            except BrokerUnreachable as error:
                if not self.ended:
                    raise
                trouble.is_there(f"The end of step {self.ended[0].item.task.step} waits: {error}")
            else:
                trouble.is_over("The broker has answered")
                claimed = said.claimed
                if said.finished.count(Said.OK) == len(said.finished):
                    self._accept(said.finished)
                    if not self.ended:
                        return claimed
                    told = len(self.ended)
                else:
                    told = self._known_first(said.finished) or told
                    if unknown := Said.UNKNOWN in said.finished:
                        # One that knows all that is out, before it was asked and after, has nothing more to hear.
                        before, knowing = knowing, self._knowing()
                        unknown = not knowing or knowing != before
            if not unknown or time.monotonic() > until:
                self._one_by_one()
                return claimed
            time.sleep(pause)
            pause = min(1.0, pause * 2)

    def _knowing(self) -> bytes:
        """The generation of a Redis that was told of all that is out; nothing where it was not, or does not answer."""
        try:
            return self._means.protocol.told_all(self._scope.brief.stream)
        except BrokerUnreachable:
            return b""

    def _known_first(self, said: Sequence[Said]) -> int:
        """How many can be told now, which come first then. What follows them is known to a Redis that was emptied when
        their end was told, and not before.
        """
        known, others = list[Ended](), list[Ended]()
        steps: set[StepKey] = set()
        for each, word in zip(self.ended[: len(said)], said, strict=True):
            if word is Said.OK and steps.isdisjoint(each.item.after):
                known.append(each)
            else:
                others.append(each)
                steps.add(each.item.task.step)
        self.ended[: len(said)] = known + others
        return len(known)

    def _ask(self, ended: Sequence[Ended], wanted: Sequence[Item], looks: bool) -> Underway:
        means, brief = self._means, self._scope.brief
        unwanted, stored = list(self.unwanted), means.pending.waiting()
        notice, returned = b"", list[tuple[str, str]]()
        if unwanted:
            returned = [(item.task.step, item.claim) for item in unwanted if item.claim]
            tasks = [(item.task.run_id, item.task.step, item.task.attempt) for item in unwanted]
            notice = seal_returned(tasks, means.ring)
        events = [event for each in ended for event in each.events]
        if ended:
            reach("finish before")
        if wanted:
            reach("claim before")
        exchange = means.protocol.begin_exchange(
            brief.run_id,
            brief.stream,
            means.owner,
            stored=stored,
            fetch=list(islice(self._to_fetch(wanted), _FETCH)),
            finished=_told(ended),
            events=seal_events(events, means.ring) if events else b"",
            returned=returned,
            notice=notice,
            queues={self._queue, *means.settings.queues} if looks and not wanted and means.along is not None else (),
            wanted=[Wanted(item.at, item.claim, self._started(item)) for item in wanted],
        )
        return Underway(exchange, wanted, len(ended), len(unwanted), stored)

    def _answer(self, underway: Underway) -> Exchanged:
        said = underway.exchange.result()
        if underway.ended:
            reach("finish after")
        if underway.wanted:
            reach("claim after")
        pending = self._means.pending
        pending.written(underway.stored)
        if underway.wanted:
            pending.fetched(said.fetched)
        del self.unwanted[: underway.given_back]
        self.waits = said.waits
        return said

    def is_to_fetch(self, item: Item) -> bool:
        """Whether it is going to load small values that are not at hand."""
        return next(self._to_fetch([item]), None) is not None

    def _to_fetch(self, wanted: Sequence[Item]) -> Iterator[str]:
        """Small values that they are going to load."""
        store = self._scope.default_io if self._keeps else None
        if isinstance(store, RedisStore):
            refs = (ref for item in wanted for given in item.task.inputs for ref in _refs_of(given.source))
            yield from store.to_fetch(ref for ref in refs if ref.attempt)

    def _started(self, item: Item) -> bytes:
        return seal_events([self.start_of(item)], self._means.ring) if item.told else b""

    def start_of(self, item: Item) -> StepStarted:
        return reports.started(item.task, os.getpid(), item.claim, self._means.settings.name)

    def _accept(self, said: Sequence[Said]) -> None:
        ended, self.ended = self.ended[: len(said)], self.ended[len(said) :]
        for each in ended:
            each.item.message.said.append(each.event.TYPE)
            self._conclude(each, accepted=True)

    def _conclude(self, ended: Ended, accepted: bool) -> None:
        if accepted:
            ended.stream.accepted()
        if ended.outcome is not None:
            self.concluded.append((ended, accepted))

    def _one_by_one(self) -> None:
        """Some were refused: each on its own, and none that used what a refused one had made."""
        ended, self.ended = self.ended, []
        for each in ended:
            item = each.item
            if self._chains.is_cut_off(item):
                said = Said.STALE
            else:
                said = self._alone(each)
            if said is Said.MISSING:
                each.event = self.lost(item.task, "an output that it had stored is not in Redis any more")
                each.events, each.outputs = [each.event], []
                said = self._alone(each)
            accepted = said is Said.OK
            if not accepted or not isinstance(each.event, StepSucceeded):
                self._chains.fails(item)
            if not accepted:
                _log.warning(
                    "The end of step %s, attempt %s, came too late: %s", item.task.step, item.task.attempt, said.value
                )
            item.message.said.append(f"{each.event.TYPE.value}{'' if accepted else f', refused: {said.value}'}")
            self._conclude(each, accepted)
            if said is Said.UNKNOWN and each.outcome is not None and each.outcome.has_hooks:
                self._leave_hooks(item)

    def _leave_hooks(self, item: Item) -> None:
        """Its end may have been accepted, and Redis have lost the answer: whoever waits for its hooks then is told that
        they do not run here.
        """
        reason = "its process did not hear whether its end was accepted"
        lost = msgspec.structs.replace(self.lost(item.task, reason), after_end=True)
        try:
            self._means.protocol.append(item.at.stream, seal_events([lost], self._means.ring))
        except BrokerUnreachable as error:
            _log.warning("The hooks of step %s do not run: %s", item.task.step, error)

    def _alone(self, ended: Ended) -> Said:
        sealed = seal_events(ended.events, self._means.ring)
        try:
            return self._means.protocol.finish(ended.item.at, ended.item.claim, sealed, ended.outputs)
        except BrokerUnreachable:
            return Said.UNKNOWN

    def lost(self, task: StepTask, reason: str) -> StepLost:
        cause = LossCause(reason, worker=self._means.settings.name, pid=os.getpid())
        return StepLost(run_id=task.run_id, at=time.time(), step=task.step, attempt=task.attempt, cause=cause)

    def _output_keys(self, task: StepTask, event: StepSucceeded) -> list[str]:
        """What has to be in this Redis for the outcome to be accepted."""
        if not self._keeps:
            return []
        outs = self._scope.node(task.node).outs
        if len(event.outputs) == 1:  # as of most
            (ref,) = event.outputs
            is_here = ref.manifest is not None and outs[ref.output].io_manager_key == DEFAULT_KEY
            return keys_of(ref) if is_here else []
        stored = [ref for ref in event.outputs if ref.manifest is not None]
        refs = [ref for ref in stored if outs[ref.output].io_manager_key == DEFAULT_KEY]
        keys: list[str] = []
        parcels: set[str] = set()  # small values share a few
        for ref in refs:
            parcel = parcel_of(ref)
            if parcel not in parcels:
                keys += keys_of(ref)
            if parcel is not None:
                parcels.add(parcel)
        return keys


def _told(ended: Sequence[Ended]) -> list[Finished]:
    """Values that share a key are asked for once: all of these ends are accepted, or none."""
    seen: set[str] = set()
    told = []
    for each in ended:
        outputs = [key for key in each.outputs if key not in seen]
        seen.update(outputs)
        told.append(Finished(each.item.at, each.item.claim, outputs))
    return told


def _refs_of(source: Source) -> Sequence[OutputRef]:
    if isinstance(source, Stored):
        return [source.ref]
    return source.items if isinstance(source, Gathered) else ()
