"""Which workers there are and what waits for them: looked at by whoever has the broker, told to all by the store."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from opgrid.broker.keys import DEFAULT_QUEUE, Keys
from opgrid.broker.presence import Presence, alive, backlogs
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.status import RunStatus
from opgrid.errors import DatabaseUnreachable
from opgrid.ids import RunId
from orchestrator.planner.plan import Plan, StepSpec
from orchestrator.storage.records import RunRecord, RunsFilter
from orchestrator.storage.service_protocols import ServiceStore

if TYPE_CHECKING:
    import redis  # which takes its time, and who serves and shows need not have

REPORT: Final = "fleet"
EVERY: Final = 2.0  #: seconds between looks
_CELERY: Final = "celery"
_KEPT: Final = 60.0  #: seconds after which a report that says the same is told again

_log = logging.getLogger("opgrid.fleet")


class QueueState(msgspec.Struct, frozen=True):
    name: str
    waiting: int  #: messages that no worker has taken, and steps that are sent when there is room for them
    since: float | None  #: Unix seconds when the queue was last seen empty, while something waits
    workers: int  #: that serve it, and understand what is sent


class FleetReport(msgspec.Struct, frozen=True, omit_defaults=True):
    at: float
    workers: tuple[Presence, ...] = ()
    queues: tuple[QueueState, ...] = ()
    error: str | None = None  #: why the broker could not be asked, or is not to be


def read(store: ServiceStore) -> FleetReport | None:
    """The latest; None where nobody has looked."""
    found = store.report(REPORT)
    return None if found is None else json_decoder(FleetReport).decode(found[1])


def queue_of(run: RunRecord, spec: StepSpec) -> str | None:
    """Where a step of the run waits for a worker; None for one that runs on another executor."""
    if (spec.executor or run.brief.executor.name) != _CELERY:
        return None
    return str(spec.queue or run.brief.executor.config.get("queue") or DEFAULT_QUEUE)


def queues_of(run: RunRecord, plan: Plan) -> frozenset[str]:
    found = {queue_of(run, spec) for spec in plan.steps if spec.runs}
    return frozenset(name for name in found if name is not None)


class Fleet:
    """Looks at the broker in a thread of its own, so that one that does not answer holds nothing up."""

    def __init__(self, store: ServiceStore, broker_url: str) -> None:
        self._store = store
        self._url = broker_url
        self._keys = Keys.load()
        self._since: dict[str, float] = {}
        self._of_run: dict[RunId, frozenset[str]] = {}
        self._told: tuple[float, FleetReport] | None = None
        self._stopped = threading.Event()

    def start(self, wanted: Callable[[], bool]) -> None:
        """Looks while ``wanted`` says so: one process of several is enough. Raises SettingsError."""
        from opgrid.broker.connection import connect

        client = connect(self._url)
        threading.Thread(target=self._run, args=[client, wanted], name="opgrid-fleet", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def give_up(self, reason: str) -> None:
        """Tell why nobody looks any more."""
        self.stop()
        self._put(FleetReport(time.time(), error=reason))

    def look(self, client: redis.Redis, now: float) -> FleetReport:
        workers, kept = alive(client, self._keys), backlogs(client, self._keys)
        served: dict[str, int] = {DEFAULT_QUEUE: 0, **dict.fromkeys(self._needed(), 0)}
        for worker in workers:
            for queue in worker.queues:
                served[queue] = served.get(queue, 0) + worker.understands
        for queue in (*self._since, *kept):
            served.setdefault(queue, 0)  # nobody serves it any more, and it may still hold something
        return FleetReport(
            now, tuple(workers), tuple(self._queue(client, *each, kept, now) for each in sorted(served.items()))
        )

    def _needed(self) -> set[str]:
        """Queues of runs that go on, whether or not somebody serves them."""
        with contextlib.suppress(DatabaseUnreachable):  # those that were known stay
            self._learn()
        return {name for names in self._of_run.values() for name in names}

    def _learn(self) -> None:
        going = {run.run_id for run in self._store.open_runs() if run.status is RunStatus.STARTED}
        self._of_run = {run_id: names for run_id, names in self._of_run.items() if run_id in going}
        new = tuple(going - self._of_run.keys())
        runs = self._store.runs(RunsFilter(run_ids=new)) if new else []
        bodies = self._store.contents(run.plan for run in runs)
        for run in runs:
            self._of_run[run.run_id] = queues_of(run, Plan.from_json(bodies[run.plan]))

    def _queue(self, client: redis.Redis, name: str, workers: int, kept: Mapping[str, int], now: float) -> QueueState:
        with client.pipeline(transaction=False) as pipe:
            for each in self._keys.queue_lists(name):
                pipe.llen(each)
            waiting = sum(pipe.execute()) + kept.get(name, 0)
        if waiting:
            self._since.setdefault(name, now)
        else:
            self._since.pop(name, None)
        return QueueState(name, waiting, self._since.get(name), workers)

    def _run(self, client: redis.Redis, wanted: Callable[[], bool]) -> None:
        try:
            while not self._stopped.wait(EVERY):
                if wanted():
                    self._tell(client)
        finally:
            client.close()

    def _tell(self, client: redis.Redis) -> None:
        from redis import RedisError

        now = time.time()
        try:
            found = self.look(client, now)
        except RedisError as error:
            found = FleetReport(now, error=f"The broker does not answer: {error}")
        if self._told is not None:
            at, before = self._told
            if now - at < _KEPT and msgspec.structs.replace(before, at=found.at) == found:
                return
        if not self._stopped.is_set():
            self._put(found)

    def _put(self, found: FleetReport) -> None:
        try:
            self._store.put_report(REPORT, msgspec.json.encode(found), found.at)
            self._told = found.at, found
        except DatabaseUnreachable:  # the turns of the coordinator say so
            pass
        except Exception:
            _log.warning("What the fleet does could not be stored.", exc_info=True)
