"""A process that drives the run, as the world lets it, and the database that it writes to."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opgrid.contracts.events import (
    AnyEvent,
)
from opgrid.contracts.executor import Position
from opgrid.contracts.status import RunStatus
from opgrid.errors import ExecutorUnavailable
from opgrid.ids import RunId
from orchestrator.coordinator.ownership import ShardLog
from orchestrator.engine.clock import SteadyClock
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import drive
from orchestrator.engine.pools import Slot
from orchestrator.engine.recovery import resume
from orchestrator.storage.records import LeaseLost
from tests.property.runs import RUN
from tests.simulation.remote import Remote

if TYPE_CHECKING:
    from tests.simulation.world import World

NAME = "sim"


class Crash(BaseException):
    """The coordinator's process ends here."""


class Database:
    """The log of the run, and the epoch of who may write to it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[AnyEvent] = []
        self.statuses: list[RunStatus] = []
        self.positions: dict[str, Position] = {}
        self.epoch = 0
        self.owner: Coordinator | None = None


class Tables:
    """The database as one coordinator reaches it: what a store is to ``ShardLog``. A transaction holds the row of its
    lease, so that nobody takes over in the midst of it.
    """

    def __init__(self, database: Database, coordinator: Coordinator, epoch: int) -> None:
        self._db, self._coordinator, self._epoch = database, coordinator, epoch
        self._fence: int | None = None
        self._held: list[Any] = []

    @contextmanager
    def turn(self) -> Iterator[Tables]:
        self._coordinator.point("before a turn")
        self._held, self._fence = [], None
        yield self
        if self._fence not in (None, self._db.epoch) and self._db.world.mutant != "no epoch":
            raise LeaseLost("its shard")
        for act in self._held:
            act()
        self._coordinator.point("after a turn")

    def only_of_holder(self, name: str, epoch: int) -> None:
        self._fence = epoch

    def append(self, run_id: RunId, events: Sequence[AnyEvent]) -> None:
        given = list(events)
        self._held.append(lambda: self._db.world.recorded(given, self._epoch))

    def set_status(self, run_id: RunId, status: RunStatus, at: float) -> None:
        self._held.append(lambda: self._db.statuses.append(status))

    def free_slots(self, slots: Sequence[Slot]) -> None:
        """There are no pools."""

    def set_position(self, stream: str, position: Position) -> None:
        self._held.append(lambda: self._db.positions.__setitem__(stream, position))

    def read(self, run_id: RunId) -> list[AnyEvent]:
        return list(self._db.events)

    def position(self, stream: str) -> Position:
        return self._db.positions.get(stream, "")


class Coordinator:
    """A process that drives the run, until it crashes, loses its lease, or the run is over."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.go, self.back = threading.Semaphore(0), threading.Semaphore(0)
        self.is_waiting = self.woken = self.is_gone = False
        self.doomed = False
        self.frozen_until = 0.0
        self.off = 0.0  #: of its wall clock
        self.problem: BaseException | None = None
        self.executor: Remote | None = None
        self.inbox = Inbox()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def step(self) -> None:
        """Let it go on to its next point."""
        self.go.release()
        self.back.acquire()

    def point(self, where: str, waits: bool = False) -> None:
        """Others may do something here, and this process may end here."""
        self.is_waiting = waits
        self.back.release()
        self.go.acquire()
        if self.doomed:
            raise Crash(where)

    def wall(self) -> float:
        return self.world.now + self.off

    def _run(self) -> None:
        self.go.acquire()
        try:
            if not self.doomed:
                self._drive()
        except (Crash, LeaseLost):
            pass
        except BaseException as problem:
            self.problem = problem
        self.is_gone = True
        self.back.release()

    def _drive(self) -> None:
        world, db = self.world, self.world.database
        db.epoch += 1
        db.owner = self
        log = ShardLog(Tables(db, self, db.epoch), "s", db.epoch)  # type: ignore[arg-type]
        clock = SteadyClock(self.wall, lambda: world.now)
        while True:
            executor = Remote(self)
            try:
                run = resume(world.brief, world.plan, log.read(RUN), {NAME: executor}, clock())
                break
            except ExecutorUnavailable:
                self.point("cannot resume", waits=True)
        if world.mutant == "nothing is recovered":
            run.orders.clear()
            run.first.clear()
            run.out.clear()
        if world.mutant == "a takeover knows no tasks":
            run.out.clear()
        if world.mutant == "what a takeover finds decided is not recorded":
            run.untold.clear()
        if world.cancel_at is not None and world.cancel_asked:
            self.inbox.request_cancel(RUN, "enough")
        drive([run], {NAME: executor}, log, clock=clock, stream="s", inbox=self.inbox)
