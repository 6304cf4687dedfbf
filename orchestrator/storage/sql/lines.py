"""Those who wait for slots of a pool: each leaves slots to others that come before it.

Who drives runs asks for all of their steps that want slots, and looks again while some wait. It has one place in the
line of a pool, which counts for as long as it looks: who died or froze holds up nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, select

from orchestrator.engine.pools import Slot
from orchestrator.storage.sql.statements import insert_for
from orchestrator.storage.sql.tables import lines

#: Seconds that one goes on while another waits with the same priority: handing over leaves a slot free until that one
#: looks.
TURN: Final = 5.0
_HEARD: Final = 2.5  #: seconds since its last look that a place counts
_TELL: Final = 1.0  #: seconds after which a place that stays the same is told again
_FORGET: Final = 60.0
_HIGHEST: Final = 2**31 - 1  #: priority that PostgreSQL keeps; it knows no difference between higher ones


class Place(NamedTuple):
    """Times are those of leases."""

    pool: str
    whose: str
    priority: int  #: the highest that it waits with
    steps: int  #: that wait with that
    since: float  #: when it began to wait, or last got a slot
    seen: float


class Lines:
    """Of these pools, for one who asks, in a transaction in which nobody else does."""

    def __init__(self, connection: Connection, pools: Sequence[str], whose: str, now: float) -> None:
        self._connection, self._whose, self._now = connection, whose, now
        self._own: dict[str, Place] = {}
        self._others: defaultdict[str, list[Place]] = defaultdict(list)
        for place in connection.execute(select(lines).where(lines.c.pool.in_(pools))):
            if place.whose == whose:
                self._own[place.pool] = Place(*place)
            elif now - _HEARD < place.seen <= now:
                self._others[place.pool].append(Place(*place))
            elif not now - _FORGET < place.seen <= now:
                self._leave(place.pool, place.whose)

    def served(self, asked: Mapping[Slot, int], room: Mapping[str, int]) -> set[Slot]:
        """Those that get a slot, by their priorities and in this order, where ``room`` says how many are free. The
        others wait.
        """
        free, served = dict(room), set[Slot]()
        left: dict[str, list[int]] = {pool: [] for pool in room}  #: priorities of those that wait
        for slot, wanted in asked.items():
            priority = max(-_HIGHEST, min(_HIGHEST, wanted))
            if free[slot.pool] > 0 and free[slot.pool] > self._spoken_for(slot.pool, priority):
                served.add(slot)
                free[slot.pool] -= 1
            else:
                left[slot.pool].append(priority)
        for pool, priorities in left.items():
            self._stay(pool, priorities, got_some=free[pool] != room[pool])
        return served

    def _spoken_for(self, pool: str, priority: int) -> int:
        """Slots that are for others before it is the turn of a step with this priority."""
        own = self._own.get(pool)
        since = min(self._now if own is None else own.since, self._now - TURN)
        return sum(
            other.steps
            for other in self._others[pool]
            if other.priority > priority or (other.priority == priority and other.since < since)
        )

    def _stay(self, pool: str, priorities: Sequence[int], got_some: bool) -> None:
        """In the line; without priorities, nothing waits."""
        own = self._own.get(pool)
        if not priorities:
            if own is not None:
                self._leave(pool, self._whose)
            return
        since = self._now if own is None or got_some else own.since
        highest = max(priorities)
        place = Place(pool, self._whose, highest, priorities.count(highest), since, self._now)
        if own is None or own._replace(seen=place.seen) != place or not 0 <= place.seen - own.seen < _TELL:
            told = insert_for(self._connection.dialect)(lines).values(place._asdict())
            here = [lines.c.pool, lines.c.whose]
            self._connection.execute(told.on_conflict_do_update(index_elements=here, set_=place._asdict()))

    def _leave(self, pool: str, whose: str) -> None:
        self._connection.execute(delete(lines).where(lines.c.pool == pool, lines.c.whose == whose))
