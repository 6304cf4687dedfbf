"""What is sent to workers: messages that name steps, and with them, in one script call, what they name in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from executors.celery.backlog import Line, Parcel
from executors.celery.briefs import Briefs
from executors.celery.memory import FULL, Memory
from opgrid.broker.connection import reaching
from opgrid.broker.messages import CeleryMessages, label, sign_tasks
from opgrid.broker.protocol import ABOARD, RUN_TTL, Outgoing, Protocol, Said
from opgrid.contracts.events import ErrorInfo
from opgrid.contracts.fusing import out_with
from opgrid.contracts.tasks import Ended, RunBrief, StepTask
from opgrid.crash_points import reach
from opgrid.io.keys import KeyRing

BATCH: Final = 200  #: attempts that one script call is told of
_ALONG: Final = 1 << 20  #: bytes that are stored by the script that publishes what names them


class Sending:
    """Of one executor. All of it raises BrokerUnreachable."""

    def __init__(self, protocol: Protocol, briefs: Briefs, memory: Memory, ring: KeyRing) -> None:
        self._protocol, self._briefs, self._memory, self._ring = protocol, briefs, memory, ring
        self._messages = CeleryMessages(protocol.keys)

    def publish(self, parcels: Sequence[Parcel], now: float) -> list[Said]:
        """Parcels of one run. The answers are about the steps, and those that are out with them, in their order; and
        last about those that go along. Raises BrokerUnfit.
        """
        brief, content = parcels[0][0].brief, parcels[0][0].content
        unstored = self._briefs.unstored(content)
        outgoing: list[Outgoing] = []
        stored: dict[str, bytes] = {}
        mates: list[tuple[str, int]] = []
        for parcel in parcels:
            tasks = [each.task for each in parcel]
            dispatch, beside = sign_tasks(content, tasks, self._ring)
            if beside is not None:
                stored[self._protocol.keys.tasks(content, dispatch.tasks)] = beside
            queue, priority = parcel[0].line
            key, message = self._messages.build(dispatch, label(brief.job.name, tasks), queue, priority, unstored, True)
            members = [(each.step, each.attempt) for task in tasks for each in out_with(task)]
            outgoing.append(Outgoing(key, message, members))
            mates += [(mate.step, mate.attempt) for task in tasks for mate in task.then if mate.after]
        if mates:
            outgoing.append(Outgoing(ABOARD, b"", mates))
        if sum(map(len, stored.values())) > _ALONG:
            self._store(stored)
            stored = {}
        if unstored is not None:
            stored[self._protocol.keys.brief(content)] = unstored
        reach("publish before")
        said = self._push(brief, content, outgoing, parcels[0][0].again, stored, now)
        self._briefs.is_stored(content)
        reach("publish after")
        return said

    def hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None, line: Line) -> None:
        """By a message that nobody watches over: a worker runs them once, and the run waits for them so long and no
        longer.
        """
        _, content, brief = self._briefs.stored(run)
        ended = Ended() if error is None else Ended(error.kind, error.message)
        task = msgspec.structs.replace(task, inputs=(), then=(), after=(), needs=(), ended=ended)
        dispatch, beside = sign_tasks(content, [task], self._ring)
        key, message = self._messages.build(dispatch, label(brief.job.name, [task]), line.queue, line.priority)
        with reaching(self._protocol.url):
            pipe = self._protocol.client.pipeline(transaction=False)
            if beside is not None:
                pipe.set(self._protocol.keys.tasks(content, dispatch.tasks), beside, ex=RUN_TTL)
            pipe.lpush(key, message)
            pipe.execute()

    def fence(self, brief: RunBrief, kind: str, members: Sequence[tuple[str, int]]) -> list[Said]:
        """Steps and attempts that are out without a message of their own, or, with the kind ``ABOARD``, may come to
        be.
        """
        said: list[Said] = []
        for start in range(0, len(members), BATCH):
            some = Outgoing(kind, b"", members[start : start + BATCH])
            said += self._protocol.publish(brief.run_id, brief.stream, [some], created=brief.created)
        return said

    def _store(self, values: Mapping[str, bytes]) -> None:
        """What messages name that go next."""
        self._memory.mind()
        with reaching(self._protocol.url):
            pipe = self._protocol.client.pipeline(transaction=False)
            for name, data in values.items():
                pipe.set(name, data, ex=RUN_TTL)
            pipe.execute()

    def _push(
        self,
        brief: RunBrief,
        content: str,
        outgoing: Sequence[Outgoing],
        again: bool,
        stored: Mapping[str, bytes],
        now: float,
    ) -> list[Said]:
        """Redis is asked for its memory in the same round trip, where that was some time ago."""
        full = FULL if self._memory.is_due(now) else None
        hands = self._protocol.keys.hands(content)
        run_id, stream, created = brief.run_id, brief.stream, brief.created
        said = self._protocol.publish(run_id, stream, outgoing, again, stored, full, hands, created)
        if said == [Said.FULL]:
            self._memory.mind()
            return self._protocol.publish(run_id, stream, outgoing, again, stored, None, hands, created)
        if full is not None:
            self._memory.found_well(now)
        return said
