"""The service that drives launched runs: it starts those that the queue lets go, and takes over those of others."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from opgrid.contracts.status import RunStatus
from opgrid.crash_points import reach
from opgrid.errors import DatabaseUnreachable, OpGridError
from opgrid.ids import RunId
from orchestrator.coordinator.children import Children
from orchestrator.coordinator.fleet import Fleet
from orchestrator.coordinator.monitoring import Monitor, RunMonitoring
from orchestrator.coordinator.ownership import LEASE, RENEW, STAND_BY, end_canceled, is_dead, this_process
from orchestrator.coordinator.queue import Choice, QueueLimits, RunPools, choose
from orchestrator.coordinator.shard_names import SHARDS, all_shards
from orchestrator.coordinator.shards import MakeExecutor, Shard, is_remote, plan_of, pools_of, run_pools, take, within
from orchestrator.engine.loop import LiveRun
from orchestrator.storage.protocols import FencedTurn
from orchestrator.storage.records import LeaseLost, RunRecord
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import OpenRun

_LOOK: Final = 0.1  #: seconds
_BREATH: Final = 0.005
_IDLE: Final = 0.25  #: the same while there is no run, of who does not hear the bell
_HEARING: Final = 1.0  #: of who hears it
_LISTEN: Final = 1.0  #: seconds until who waits for the bell asks whether it is still to wait
_AT_ONCE: Final = 500  #: runs in one statement
_QUEUE: Final = "queue"  #: the lease of who dequeues
_GOING: Final = frozenset({RunStatus.STARTING, RunStatus.STARTED, RunStatus.CANCELING})

_log = logging.getLogger("opgrid.orchestrator")


def is_there(store: ServiceStore) -> bool:
    """Whether somebody starts queued runs."""
    lease = store.held().get(_QUEUE)
    return lease is not None and lease.expires > time.time() and not is_dead(lease.owner)


class Coordinator:
    """Several may run: each shard has one driver, and the queue one who dequeues; the others stand by.

    Without ``make_executor`` there is no broker, and runs on Celery fail with that reason.
    """

    def __init__(
        self,
        store: ServiceStore,
        children: Children,
        limits: QueueLimits,
        make_executor: MakeExecutor | None,
        fleet: Fleet | None = None,
        monitoring: RunMonitoring | None = None,
    ) -> None:
        self._store = store
        self._children = children
        self._limits = limits
        self._make_executor = make_executor
        self._fleet = fleet
        monitoring = monitoring or RunMonitoring()
        self._monitor = Monitor(monitoring)
        self._max_runtime = monitoring.max_runtime_seconds
        self._pools: dict[RunId, frozenset[str]] = {}  #: that runs need, where pools hold back whole runs
        self._shards: dict[str, Shard] = {}
        self._held: dict[str, float] = {}  #: until when a lease may be acted on, monotonic
        self._epoch_of_queue = 0
        self._begun: set[RunId] = set()
        self._killed: set[RunId] = set()  #: runs whose process did not end them when they were canceled
        self._asked: set[RunId] = set()
        self._records: dict[RunId, RunRecord] = {}  #: of runs that are queued or go on
        self._retagged: dict[RunId, int] = {}  #: how often, as the records know it
        self._chosen: tuple[frozenset[RunId], frozenset[RunId], dict[RunId, int], Mapping[str, int]] | None = None
        self._turns: dict[str, int] = {}  #: when each job had its last turn
        self._number = itertools.count()
        self._stopped = threading.Event()
        self._hurry = threading.Event()  #: a run has ended that others wait for
        self._rang = False  #: it is one that was launched or canceled
        self._hears = False  #: the bell reaches this process: not through every pooler, nor on every system
        self._are_queued = False
        self._renew_at = 0.0
        self._stands_by = False  #: and has said so

    def stop(self) -> None:
        """For signal handlers and other threads: ``run`` returns soon; runs stay as they are."""
        self._stopped.set()
        self._hurry.set()

    def _on_end(self) -> None:
        if self._are_queued:
            self._hurry.set()

    def _wait(self) -> bool:
        """For the time of the next turn; False where there is none."""
        if self._hurry.wait(self._rest()) and not self._stopped.is_set():
            if not self._rang:
                time.sleep(_BREATH)  # runs end many at a time
            self._rang = False
            self._hurry.clear()
        return not self._stopped.is_set()

    def _rest(self) -> float:
        if self._records or self._are_queued:
            return _LOOK
        return _HEARING if self._hears else _IDLE

    def _listen(self) -> None:
        """In a thread: where somebody has launched or canceled a run, the next turn is now. It rings once itself, to
        learn whether it hears.
        """
        has_rung = False
        while not self._stopped.is_set():
            if not self._holds(_QUEUE):
                self._hears = has_rung = False
                self._stopped.wait(_IDLE)
            elif self._store.wait_for_bell(_LISTEN if has_rung else 0.0):
                self._hears = self._rang = True
                self._hurry.set()
            elif not has_rung:
                has_rung = True
                with contextlib.suppress(DatabaseUnreachable):  # the turns say so
                    self._store.ring_bell()

    def run(self) -> None:
        """Until ``stop``. Raises SettingsError where this process cannot drive runs as it is set up."""
        away = False
        if self._fleet is not None:
            self._fleet.start(lambda: self._holds(_QUEUE))
        listener = threading.Thread(target=self._listen, name="opgrid-bell", daemon=True)
        listener.start()
        try:
            while self._wait():
                self._check()
                try:
                    self._turn()
                    if away:
                        _log.warning("The database is back.")
                    away = False
                except DatabaseUnreachable as error:
                    if not away:
                        _log.warning("%s Waiting for it.", error)
                    away = True
                    self._monitor.start_over()
                except Exception:  # one run, or one bug, is no reason to drive none
                    _log.exception("A turn failed, and is tried again.")
                    self._stopped.wait(1.0)
        finally:
            self.stop()
            self._close()
            listener.join()

    def _check(self) -> None:
        """Before another lease is taken, or one of these kept. Raises SettingsError."""
        for shard in self._shards.values():
            if shard.fault is not None:
                if self._fleet is not None:
                    self._fleet.give_up(f"The orchestrator has ended: {shard.fault}")
                raise shard.fault

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            self._hold(now)
            self._renew_at = now + (RENEW if len(self._held) > SHARDS else STAND_BY)
        rows = self._store.open_runs()
        self._forget(rows)
        self._learn_tags(rows)
        if self._holds(_QUEUE):
            rows = self._dequeue(rows)
        self._begin_all([row for row in rows if row.status in _GOING and row.run_id not in self._begun])
        for row in rows:
            if row.cancel is not None and row.run_id not in self._asked:
                self._cancel(row)
        self._children.look()
        self._end_the_late(rows, now)

    def _end_the_late(self, rows: list[OpenRun], now: float) -> None:
        """Kill processes that take too long. One that was to end its run is started again, and finds it canceled; when
        that takes too long as well, the run is ended here.
        """
        for late in self._monitor.look((row for row in rows if row.run_id in self._children), now):
            _log.warning("Run %s: %s", late.run_id, late.reason)
            again = not late.is_start and late.run_id not in self._killed
            self._children.kill(late.run_id, start_again=again)
            if late.is_start:
                self._store.fail_unstarted(late.run_id, f"The run cannot be started: {late.reason}", time.time())
            elif again:
                self._killed.add(late.run_id)
            else:
                end_canceled(self._store, late.run_id, late.reason)

    # ---- leases ----------------------------------------------------------------------------------------------------

    def _hold(self, now: float) -> None:
        for name, lease in take(self._store, [*all_shards(), _QUEUE]):
            if lease is None:
                self._held.pop(name, None)
                self._drop(name)
                continue
            if name not in self._held:
                _log.info("%s is ours.", name)
            self._held[name] = now + LEASE - 2
            if name == _QUEUE:
                self._epoch_of_queue = lease.epoch
            if name == _QUEUE or self._make_executor is None:
                continue
            shard = self._shards.get(name)
            if shard is None or not shard.alive or shard.lease.epoch != lease.epoch:
                self._drop(name)
                self._shards[name] = Shard(
                    name, self._store, lease, self._make_executor, self._on_end, self._max_runtime
                )

        if not self._held and not self._stands_by:
            _log.info("Others drive all runs: this process stands by.")
        self._stands_by = not self._held

    def _holds(self, name: str) -> bool:
        return time.monotonic() < self._held.get(name, 0.0)

    def _drop(self, name: str) -> None:
        shard = self._shards.pop(name, None)
        if shard is not None:
            shard.stop()
            shard.join()
            theirs = {run_id for run_id in self._begun | self._asked if self._shard(run_id) == name}
            self._begun -= theirs
            self._asked -= theirs

    def _shard(self, run_id: RunId) -> str:
        record = self._records.get(run_id)
        return record.brief.stream if record is not None else ""

    # ---- the queue -------------------------------------------------------------------------------------------------

    def _dequeue(self, rows: list[OpenRun]) -> list[OpenRun]:
        """The runs as they are then."""
        queued = frozenset(row.run_id for row in rows if row.status is RunStatus.QUEUED)
        going = frozenset(row.run_id for row in rows if row.status in _GOING)
        self._are_queued = bool(queued)
        if not queued:
            return rows
        pools = self._run_pools([row.run_id for row in rows])
        of_now = queued, going, self._retagged, pools.limits
        if of_now == self._chosen:
            return rows
        records = self._records_of([row.run_id for row in rows])
        choice: Choice = choose(
            [record for record in records if record.run_id in queued],
            [record for record in records if record.run_id in going],
            self._limits,
            pools,
            self._turns,
        )
        started: set[RunId] = set()
        try:
            for start in range(0, len(choice.start), _AT_ONCE):
                some = choice.start[start : start + _AT_ONCE]
                for run_id in self._store.dequeue(some, time.time(), self._only_of_queue):
                    self._turns[self._records[run_id].job] = next(self._number)
                    started.add(run_id)
            self._chosen = of_now  # it is looked at again when any of that has changed
        except LeaseLost as error:  # who dequeues now counts others as going
            _log.warning("%s", error)
            self._held.pop(_QUEUE)
            self._renew_at, self._chosen = 0.0, None
        self._are_queued = len(started) < len(queued)
        return [row._replace(status=RunStatus.STARTING) if row.run_id in started else row for row in rows]

    def _only_of_queue(self, turn: FencedTurn) -> None:
        turn.only_of_holder(_QUEUE, self._epoch_of_queue)

    def _run_pools(self, run_ids: list[RunId]) -> RunPools:
        if self._store.pooling.granularity == "run":
            for record in self._records_of(run_ids):
                if record.run_id not in self._pools:
                    self._pools[record.run_id] = pools_of(plan_of(self._store, record))
        return run_pools(self._store, self._pools)

    def _records_of(self, run_ids: Sequence[RunId]) -> list[RunRecord]:
        """In this order, without those that are gone."""
        self._read([run_id for run_id in run_ids if run_id not in self._records])
        return [self._records[run_id] for run_id in run_ids if run_id in self._records]

    def _read(self, run_ids: Sequence[RunId]) -> None:
        for start in range(0, len(run_ids), _AT_ONCE):
            found = self._store.records(run_ids[start : start + _AT_ONCE])
            self._records.update({record.run_id: record for record in found})

    def _forget(self, rows: list[OpenRun]) -> None:
        there = {row.run_id for row in rows}
        over = self._begun - there
        if over:
            for shard in self._shards.values():
                shard.drop(over)
        self._begun &= there
        self._killed &= there
        self._asked &= there
        for run_id in [run_id for run_id in self._records if run_id not in there]:
            del self._records[run_id]
            self._pools.pop(run_id, None)

    def _learn_tags(self, rows: list[OpenRun]) -> None:
        """Of runs that got others since their records were read."""
        retagged = {row.run_id: row.retagged for row in rows if row.retagged}
        if retagged != self._retagged:
            known = [each for each in retagged.items() if each not in self._retagged.items()]
            self._read([run_id for run_id, _ in known if run_id in self._records])
            self._retagged = retagged

    # ---- runs ------------------------------------------------------------------------------------------------------

    def _begin_all(self, rows: Sequence[OpenRun]) -> None:
        rows = [row for row in rows if self._holds(row.shard)]
        records = {record.run_id: record for record in self._records_of([row.run_id for row in rows])}
        starting: dict[str, list[LiveRun]] = {}
        try:
            for row in rows:
                if row.run_id in records:
                    self._begin(row, records[row.run_id], starting)
        finally:  # also where the database has gone meanwhile
            for shard, runs in starting.items():
                self._shards[shard].start(runs)

    def _begin(self, row: OpenRun, record: RunRecord, starting: dict[str, list[LiveRun]]) -> None:
        try:
            plan = plan_of(self._store, record)
            reach("planned")
            if not is_remote(record, plan):
                self._begin_here(record)
            elif self._make_executor is None:
                self._refuse(record, "it needs Celery workers, and this service has no broker. Set OPGRID_BROKER_URL.")
            elif (
                row.status is RunStatus.STARTING
            ):  # its log says no more than that; what was driven, its shard has found
                run = LiveRun.new(record.brief, within(plan, self._max_runtime))
                starting.setdefault(row.shard, []).append(run)
        except DatabaseUnreachable:
            raise  # it is begun at a later turn
        except (OpGridError, msgspec.ValidationError, KeyError) as error:
            _log.exception("Run %s cannot be started.", row.run_id)
            self._refuse(record, str(error))
        self._begun.add(row.run_id)

    def _begin_here(self, record: RunRecord) -> None:
        if record.code is None:
            self._refuse(record, "it names no code that another process could load.")
        elif record.run_id not in self._children:  # one that goes on outlives the loss of its shard
            self._children.start(record.run_id, record.code)

    def _refuse(self, record: RunRecord, reason: str) -> None:
        self._store.fail_unstarted(record.run_id, f"The run cannot be started: {reason}", time.time())

    def _cancel(self, row: OpenRun) -> None:
        assert row.cancel is not None
        if row.status is RunStatus.QUEUED:
            self._store.cancel_unstarted(row.run_id, row.cancel, time.time())
        elif row.run_id in self._begun and row.shard in self._shards and row.run_id not in self._children:
            self._shards[row.shard].cancel(row.run_id, row.cancel)
        else:
            return  # its own process looks for itself, and who holds its shard
        self._asked.add(row.run_id)

    def _close(self) -> None:
        if self._fleet is not None:
            self._fleet.stop()
        for shard in self._shards.values():
            shard.stop()
        for shard in self._shards.values():
            shard.join()
        self._children.stop()
        with contextlib.suppress(DatabaseUnreachable):  # others take over when the leases end
            for name in self._held:
                self._store.let_go(name, this_process())
