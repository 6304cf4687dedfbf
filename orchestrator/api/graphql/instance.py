"""The installation: its services, workers, queues and pools, and who did what."""

from __future__ import annotations

import time
from typing import Final

import msgspec
import strawberry

from opgrid.broker.presence import Presence
from opgrid.contracts.status import RunStatus
from opgrid.contracts.wire import code_version
from opgrid.ids import RunId
from opgrid.plugins import executor_names
from orchestrator.api.access import Role
from orchestrator.api.backend import Backend
from orchestrator.api.graphql.mutating import mutate
from orchestrator.api.graphql.runs import Approval, Info, Run, RunStepStats, page, runs_of
from orchestrator.api.graphql.scalars import yaml_of
from orchestrator.coordinator import fleet
from orchestrator.coordinator.ownership import is_dead
from orchestrator.coordinator.shard_names import all_shards
from orchestrator.services.pools import Pool, all_pools, limit_pool
from orchestrator.storage.records import RunsFilter
from orchestrator.storage.service_records import AuditEntry

_SILENT: Final = 20.0  #: seconds after which workers that nobody told of count as unknown


@strawberry.type
class DaemonStatus:
    """One duty of the service, and the process that does it."""

    daemon_type: str
    required: bool
    healthy: bool
    owner: str | None
    expires: float | None = strawberry.field(description="Of its lease, Unix seconds.")


@strawberry.type
class DaemonHealth:
    all_daemon_statuses: list[DaemonStatus]


@strawberry.type
class ClaimedConcurrencySlot:
    run_id: str
    step_key: str


@strawberry.type
class ConcurrencyKeyInfo:
    """A pool. ``slot_count`` 0 with ``has_limit`` false: it holds nothing up. Slots of whole runs have an empty
    ``step_key``.
    """

    concurrency_key: str
    slot_count: int
    has_limit: bool
    using_default_limit: bool
    claimed_slots: list[ClaimedConcurrencySlot]

    @strawberry.field
    def active_slot_count(self) -> int:
        return len(self.claimed_slots)

    @strawberry.field
    def active_run_ids(self) -> list[str]:
        return sorted({slot.run_id for slot in self.claimed_slots})

    @strawberry.field
    def limit(self) -> int | None:
        return self.slot_count if self.has_limit else None


@strawberry.type
class RunQueueConfig:
    max_concurrent_runs: int
    tag_concurrency_limits_yaml: str | None


@strawberry.type
class PoolConfig:
    pool_granularity: str
    default_pool_limit: int | None


@strawberry.type
class RunLauncher:
    name: str


@strawberry.type
class Worker:
    name: str
    queues: list[str]
    concurrency: int
    code: list[str]
    code_versions: list[str] = strawberry.field(description="In the order of `code`.")
    outdated: list[str] = strawberry.field(description="Code locations of which this service has another version.")
    release: str = strawberry.field(description="Of opgrid; empty where it does not tell.")
    understands: bool = strawberry.field(description="Whether it gets what this version of opgrid sends.")
    children: list[int] = strawberry.field(description="Process ids.")
    running: list[RunStepStats]


@strawberry.type
class Queue:
    name: str
    waiting: int = strawberry.field(description="Messages that no worker has taken, and steps that wait for room.")
    waiting_since: float | None = strawberry.field(description="Unix seconds; null while nothing waits.")
    workers: int

    @strawberry.field(description="What is wrong with it, in words.")
    def alarm(self) -> str | None:
        if self.waiting and not self.workers:
            wait = "1 message or step waits" if self.waiting == 1 else f"{self.waiting} messages and steps wait"
            return f"{wait}, and no worker serves this queue."
        return None


@strawberry.type
class FleetState:
    """What the service saw last of the Celery workers. Times are Unix seconds."""

    at: float
    workers: list[Worker]
    queues: list[Queue]
    error: str | None


@strawberry.type
class AuditRecord:
    id: strawberry.ID
    timestamp: float
    who: str
    action: str
    about: str
    outcome: str

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditRecord:
        return cls(
            id=strawberry.ID(str(entry.number)),
            timestamp=entry.at,
            who=entry.who,
            action=entry.action,
            about=entry.about,
            outcome=entry.outcome,
        )


@strawberry.type
class Instance:
    backend: strawberry.Private[Backend]

    @strawberry.field
    def id(self) -> str:
        return "instance"

    @strawberry.field
    def daemon_health(self) -> DaemonHealth:
        return DaemonHealth(all_daemon_statuses=_duties(self.backend))

    @strawberry.field
    def run_queue_config(self) -> RunQueueConfig:
        limits = self.backend.settings.concurrency.runs
        tags = msgspec.to_builtins(limits.tag_concurrency_limits)
        return RunQueueConfig(
            max_concurrent_runs=limits.max_concurrent_runs,
            tag_concurrency_limits_yaml=yaml_of(tags) or None,
        )

    @strawberry.field
    def concurrency_limits(self) -> list[ConcurrencyKeyInfo]:
        return _pools(self.backend)

    @strawberry.field
    def concurrency_limit(self, concurrency_key: str) -> ConcurrencyKeyInfo:
        for each in _pools(self.backend):
            if each.concurrency_key == concurrency_key:
                return each
        otherwise = self.backend.store.pooling.default_limit
        return _pool_info(Pool(concurrency_key, otherwise, otherwise is not None, ()))

    @strawberry.field
    def pool_config(self) -> PoolConfig:
        pools = self.backend.store.pooling
        return PoolConfig(pool_granularity=pools.granularity, default_pool_limit=pools.default_limit)

    @strawberry.field
    def run_launcher(self) -> RunLauncher:
        return RunLauncher(name="opgrid orchestrator")

    @strawberry.field
    def run_queuing_supported(self) -> bool:
        return True

    @strawberry.field
    def supports_concurrency_limits(self) -> bool:
        return True

    @strawberry.field(description="Names of the executors that runs can be launched on.")
    def executors(self) -> list[str]:
        return executor_names()

    @strawberry.field(description="Its settings as YAML, without secrets.")
    def settings_yaml(self) -> str:
        shown = msgspec.to_builtins(self.backend.settings)
        for token in shown["web"]["tokens"]:
            token["token"] = "..."
        return yaml_of(shown)

    @strawberry.field(description="Where Flower is.")
    def flower_url(self) -> str | None:
        return self.backend.settings.web.flower_url

    @strawberry.field
    def is_read_only(self) -> bool:
        return self.backend.is_read_only


@strawberry.type
class Permission:
    permission: str
    value: bool
    disabled_reason: str | None = None


def _duties(backend: Backend) -> list[DaemonStatus]:
    """Of the daemon and of the orchestrator."""
    now, held = time.time(), backend.store.held()
    names = [*backend.duties, "queue", *all_shards()]
    found = []
    for name in names:
        lease = held.get(name)
        healthy = lease is not None and lease.expires > now and not is_dead(lease.owner)
        owner = lease.owner if lease is not None and healthy else None
        found.append(
            DaemonStatus(
                daemon_type=name,
                required=True,
                healthy=healthy,
                owner=owner,
                expires=lease.expires if lease is not None else None,
            )
        )
    return found


def _pools(backend: Backend) -> list[ConcurrencyKeyInfo]:
    return [_pool_info(pool) for pool in all_pools(backend.store)]


def _pool_info(pool: Pool) -> ConcurrencyKeyInfo:
    return ConcurrencyKeyInfo(
        concurrency_key=pool.name,
        slot_count=pool.limit or 0,
        has_limit=pool.limit is not None,
        using_default_limit=pool.is_default,
        claimed_slots=[ClaimedConcurrencySlot(run_id=slot.run_id, step_key=slot.step) for slot in pool.used],
    )


def _outdated(worker: Presence, ours: dict[str, str]) -> list[str]:
    told = zip(worker.code, worker.versions, strict=False)
    return [name for name, version in told if version and version != ours.get(name, version)]


def _fleet(backend: Backend) -> FleetState | None:
    report = fleet.read(backend.store)
    if report is None:
        return None
    ours = {
        place.name: code_version((job.name, job.structure_hash) for job in place.info.jobs)
        for place in backend.loader.locations
        if place.loaded is not None
    }
    running: dict[str, list[RunStepStats]] = {}
    for run_id, step in backend.store.running_steps():
        if step.worker is not None:
            running.setdefault(step.worker, []).append(RunStepStats.of(run_id, step))
    return FleetState(
        at=report.at,
        workers=[
            Worker(
                name=each.name,
                queues=list(each.queues),
                concurrency=each.concurrency,
                code=list(each.code),
                code_versions=list(each.versions),
                outdated=_outdated(each, ours),
                release=each.release,
                understands=each.understands,
                children=list(each.children),
                running=running.get(each.name, []),
            )
            for each in report.workers
        ],
        queues=[
            Queue(name=each.name, waiting=each.waiting, waiting_since=each.since, workers=each.workers)
            for each in report.queues
        ],
        error=report.error,
    )


@strawberry.type
class TimelineRuns:
    """Runs of a span of time; ``truncated`` where there are more than are shown."""

    runs: list[Run]
    truncated: bool


@strawberry.type
class InstanceQueries:
    @strawberry.field
    def version(self) -> str:
        from importlib.metadata import version

        return version("opgrid")

    @strawberry.field
    def instance(self, info: Info) -> Instance:
        return Instance(backend=info.context.backend)

    @strawberry.field(description="What whoever asks may do.")
    def permissions(self, info: Info) -> list[Permission]:
        viewer = info.context.viewer
        return [
            Permission(
                permission=name,
                value=viewer.may(role),
                disabled_reason=None if viewer.may(role) else f"It needs the role {role.name.lower()}.",
            )
            for name, role in (
                ("launch", Role.LAUNCHER),
                ("terminate", Role.LAUNCHER),
                ("automate", Role.LAUNCHER),
                ("delete", Role.ADMIN),
                ("configure", Role.ADMIN),
            )
        ]

    @strawberry.field(description="Name of the token that is used.")
    def viewer(self, info: Info) -> str:
        return info.context.viewer.name

    @strawberry.field(description="Null where no service has looked at a broker yet.")
    def fleet(self, info: Info) -> FleetState | None:
        return _fleet(info.context.backend)

    @strawberry.field(description="Steps of all runs that wait for an approval, oldest first.")
    def waiting_approvals(self, info: Info) -> list[Approval]:
        return [Approval.of(gate) for gate in info.context.store.waiting_gates()]

    @strawberry.field(description="Newest first.")
    def audit(self, info: Info, limit: int | None = None) -> list[AuditRecord]:
        return [AuditRecord.of(entry) for entry in info.context.store.audit(page(limit, 100))]

    @strawberry.field(description="Runs that went on between two times in Unix seconds, and those that go on.")
    def runs_between(self, info: Info, start: float, end: float) -> TimelineRuns:
        most = 2000
        store = info.context.store
        found = store.runs(RunsFilter(updated_after=start, created_before=end), most + 1)
        open_ = store.with_status([status for status in RunStatus if not status.is_final])
        seen: set[RunId] = {run.run_id for run in found}
        found += [run for run in open_ if run.run_id not in seen and run.created < end]
        return TimelineRuns(runs=runs_of(info.context.backend, found[:most]), truncated=len(found) > most)


@strawberry.type
class InstanceMutations:
    @strawberry.mutation(description="False where it may not be changed, and for what is no limit or no name.")
    def set_concurrency_limit(self, info: Info, concurrency_key: str, limit: int) -> bool:
        def work() -> bool:
            limit_pool(info.context.store, concurrency_key, limit)
            return True

        return mutate(info, Role.ADMIN, f"{concurrency_key} {limit}", work) is True

    @strawberry.mutation(description="False where it may not be changed.")
    def delete_concurrency_limit(self, info: Info, concurrency_key: str) -> bool:
        def work() -> bool:
            info.context.store.set_pool(concurrency_key, None)
            return True

        return mutate(info, Role.ADMIN, concurrency_key, work) is True

    @strawberry.mutation(description="Of one step, or of all steps of a run; they take them again when they are tried.")
    def free_concurrency_slots(self, info: Info, run_id: str, step_key: str | None = None) -> bool:
        def work() -> bool:
            store = info.context.store
            used = [slot for slots in store.used_slots().values() for slot in slots if slot.run_id == run_id]
            store.free_slots([slot for slot in used if step_key in (None, slot.step)])
            return True

        return mutate(info, Role.ADMIN, run_id, work) is True
