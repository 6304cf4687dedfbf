"""Shards: names that launched runs belong to. Who holds a shard's lease drives its runs."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from opgrid.broker.deployment import OtherDatabase
from opgrid.contracts.executor import Executor
from opgrid.contracts.status import RunStatus
from opgrid.crash_points import reach
from opgrid.errors import BrokerUnreachable, DatabaseUnreachable, EventLogInvalidForRun, SettingsError, ValueRefused
from opgrid.ids import RunId
from opgrid.trouble import Trouble
from orchestrator.coordinator.ownership import LEASE, FencedHolding, ShardLog, end_refused, is_dead, this_process
from orchestrator.coordinator.queue import NO_POOLS, RunPools
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.loop import LiveRun, drive
from orchestrator.engine.recovery import resume
from orchestrator.planner.plan import Plan
from orchestrator.storage.records import Lease, LeaseLost, RunRecord, RunsHaveEnded
from orchestrator.storage.service_protocols import ServiceStore

CELERY: Final = "celery"
_GOING: Final = (RunStatus.STARTING, RunStatus.STARTED, RunStatus.CANCELING)

_log = logging.getLogger("opgrid.orchestrator")

#: An executor for all Celery runs of a shard, by the name of its stream.
MakeExecutor = Callable[[str], Executor]


def take(store: ServiceStore, names: Iterable[str]) -> Iterator[tuple[str, Lease | None]]:
    """Leases by name, None where somebody else has it; at once where that was a process of this machine that is dead.
    Who only stands by writes nothing.
    """
    owner, held = this_process(), store.held()
    for name in names:
        other = held.get(name)
        if other is not None and other.owner != owner:
            if is_dead(other.owner):
                store.let_go(name, other.owner)
            elif other.expires > time.time():
                yield name, None
                continue
        reach("hold before")
        lease = store.hold(name, owner, LEASE)
        reach("hold after")
        yield name, lease


#: The last plans that runs had, by their hash: runs of one job have one plan, and nobody changes it.
_plans: OrderedDict[str, Plan] = OrderedDict()
_PLANS: Final = 8


def plan_of(store: ServiceStore, record: RunRecord) -> Plan:
    """For any thread."""
    found = _plans.pop(record.plan, None)
    if found is None:
        found = Plan.from_json(store.content(record.plan))
    _plans[record.plan] = found
    while len(_plans) > _PLANS:
        with contextlib.suppress(KeyError):  # another thread was faster
            _plans.popitem(last=False)
    return found


def pools_of(plan: Plan) -> frozenset[str]:
    """That its steps name."""
    return frozenset(spec.pool for spec in plan.steps if spec.pool is not None and spec.runs)


def run_pools(store: ServiceStore, of_run: Mapping[RunId, frozenset[str]]) -> RunPools:
    """What of ``of_run`` holds runs back."""
    if store.pooling.granularity != "run":
        return NO_POOLS
    otherwise = store.pooling.default_limit
    names = frozenset[str]().union(*of_run.values()) if otherwise is not None else ()
    return RunPools({**{name: otherwise or 0 for name in names}, **store.pools()}, of_run)


def within(plan: Plan, max_runtime: float | None) -> Plan:
    """With a limit of time, where its tags give it none."""
    if max_runtime is None or plan.max_runtime is not None:
        return plan
    return msgspec.structs.replace(plan, max_runtime=max_runtime)


def executors_of(record: RunRecord, plan: Plan) -> frozenset[str]:
    """Names of those that its steps go to, and its own."""
    own = record.brief.executor.name
    return frozenset(spec.executor or own for spec in plan.steps if spec.runs) | {own}


def is_remote(record: RunRecord, plan: Plan) -> bool:
    """All of its steps go to Celery workers, over the broker of the service: no process of its own need drive it."""
    return executors_of(record, plan) == {CELERY} and not record.brief.executor.config.get("broker")


class Shard:
    """A shard that this process holds: a thread drives its Celery runs. What goes wrong with the broker or the
    database is waited for; when the lease is lost, ``alive`` turns False, and where the settings of this process keep
    it from driving any run, ``fault`` says why.
    """

    def __init__(
        self,
        name: str,
        store: ServiceStore,
        lease: Lease,
        make_executor: MakeExecutor,
        on_end: Callable[[], None] | None = None,
        max_runtime: float | None = None,
    ) -> None:
        self.name = name
        self._max_runtime = max_runtime
        self.lease = lease
        self._store = store
        self._make_executor = make_executor
        self._on_end = on_end
        self._driven: set[RunId] = set()
        #: Runs that are to fail, where they have not ended, for the database does not take what they say.
        self._refused: dict[RunId, str] = {}
        self._inbox = Inbox(open=True, on_end=self._has_ended)
        self.fault: SettingsError | None = None
        self._has_driven = False  #: or could
        self._no_broker, self._no_database = Trouble(_log), Trouble(_log)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"opgrid-{name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self, runs: Sequence[LiveRun]) -> None:
        """Runs that are STARTING: they come in one turn, which is one transaction."""
        self._driven.update(run.run_id for run in runs)
        self._inbox.add(runs)

    def cancel(self, run_id: RunId, reason: str) -> None:
        self._inbox.request_cancel(run_id, reason)

    def drop(self, run_ids: Iterable[RunId]) -> None:
        """Of runs that have ended: those that it still drives, because somebody else has ended them."""
        for run_id in self._driven.intersection(run_ids):
            self._inbox.drop(run_id)

    def _has_ended(self, run_id: RunId) -> None:
        self._driven.discard(run_id)
        if self._on_end is not None:
            self._on_end()

    def stop(self) -> None:
        """Leave its runs as they are: who takes over goes on with them."""
        self._stopped.set()
        self._inbox.leave()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._drive()
            except LeaseLost as error:
                _log.warning("%s", error)
                return
            except RunsHaveEnded as error:
                _log.info("%s: %s", self.name, error)
                self._refused.update(dict.fromkeys(error.runs, str(error)))
            except ValueRefused as error:
                _log.error("%s: %s", self.name, error)
                self._refused.update(dict.fromkeys(map(RunId, error.runs), str(error)))
                self._stopped.wait(0.0 if error.runs else 1.0)
            except OtherDatabase as error:  # somebody has said that it has taken the place of ours
                self._give_up(error)
            except (BrokerUnreachable, SettingsError) as error:
                self._no_broker.is_there(f"{self.name}: {error} Trying again.")
                self._stopped.wait(1.0)
            except DatabaseUnreachable as error:
                self._no_database.is_there(f"{self.name}: {error} Trying again.")
                self._stopped.wait(1.0)
            except Exception:
                _log.exception("%s failed, and is taken up again.", self.name)
                self._stopped.wait(1.0)

    def _fail_refused(self, executor: Executor) -> None:
        """Of what runs say, the database takes none where it refuses a part, or one has ended: the others go on without
        those.
        """
        for run_id, reason in list(self._refused.items()):
            end_refused(self._store, run_id, reason)
            if (record := self._store.run(run_id)) is not None:
                executor.recover(record.brief)
            executor.release(run_id)  # what is out of it is stopped
            self._driven.discard(run_id)
            del self._refused[run_id]

    def _drive(self) -> None:
        try:
            executor = self._make_executor(self.name)
        except SettingsError as error:
            if self._has_driven:
                raise  # they are in order: somebody has changed the broker's
            self._give_up(error)
            return
        self._has_driven = True
        try:
            self._no_broker.is_over(f"{self.name}: The broker is there")
            self._fail_refused(executor)
            executors = {CELERY: executor}
            reach("taken over")
            log = ShardLog(self._store, self.name, self.lease.epoch)
            runs = self._taken_over(executors)
            reach("resumed")
            self._no_database.is_over(f"{self.name}: The database is there")
            pools = FencedHolding(self._store, log.taker)
            drive(runs, executors, log, inbox=self._inbox, stream=self.name, pools=pools)
        finally:
            executor.close()

    def _give_up(self, fault: SettingsError) -> None:
        self.fault = fault
        self._stopped.set()

    def _taken_over(self, executors: dict[str, Executor]) -> list[LiveRun]:
        """Runs that somebody began to drive, or was to."""
        runs = []
        for record in self._store.with_status(_GOING, self.name):
            try:
                plan = plan_of(self._store, record)
                if not is_remote(record, plan):
                    continue
                if self._store.lease(record.run_id) is not None:
                    self._store.take_from_drivers([record.run_id])  # a terminal's, which goes on with it
                events = list(self._store.read(record.run_id))
            except (EventLogInvalidForRun, msgspec.MsgspecError) as error:  # the others of the shard go on
                _log.error("Run %s cannot be driven on: %s", record.run_id, error)
                end_refused(self._store, record.run_id, _unreadable(error))
                continue
            self._driven.add(record.run_id)
            runs.append(resume(record.brief, within(plan, self._max_runtime), events, executors, time.time()))
            if record.cancel is not None:  # whoever was told may have been stopped before it was recorded
                self._inbox.request_cancel(record.run_id, record.cancel)
        return runs


def _unreadable(error: Exception) -> str:
    if isinstance(error, EventLogInvalidForRun):
        return str(error)
    return f"Its plan cannot be read ({type(error).__name__}: {error})."
