"""Why steps of a run that goes on have not started, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from opgrid.broker.keys import DEFAULT_QUEUE
from opgrid.broker.presence import others_serving
from opgrid.contracts.status import StepStatus
from opgrid.ids import NodePath, StepKey, split_step_key
from orchestrator.coordinator import fleet
from orchestrator.coordinator.fleet import FleetReport
from orchestrator.engine.limits import TagLimit, limits_of
from orchestrator.engine.pools import Slot
from orchestrator.planner.plan import Plan, StepSpec
from orchestrator.storage.records import RunRecord, StepRecord
from orchestrator.storage.service_protocols import ServiceStore


def why_steps_wait(store: ServiceStore, run: RunRecord, plan: Plan, waiting: Sequence[StepKey]) -> list[str]:
    """A sentence for each thing that these steps, which nobody has taken yet, wait for; approvals and retries are told
    elsewhere.
    """
    if run.status.is_final or not waiting:
        return []
    asked = {gate.step for gate in store.gates([run.run_id]) if gate.approved is None}
    specs = {spec.key: spec for spec in plan.steps}
    used, limits = store.used_slots(), store.pools()
    tagged = limits_of(run.brief.executor.config)
    running = store.steps_of([run.run_id], StepStatus.RUNNING).get(run.run_id, ()) if tagged else ()
    out = _out(tagged, specs, running)
    for_pool: Counter[str] = Counter()
    for_tag: Counter[tuple[str, int]] = Counter()
    for_queue: Counter[str] = Counter()
    for step in waiting:
        spec = specs.get(split_step_key(step)[0])
        if spec is None or step in asked:
            continue
        pool = spec.pool
        held = pool is not None and _is_limited(store, pool, limits)
        if full := [(tag, each.limit) for each, tag in _tags(tagged, spec) if out[each, tag] >= each.limit]:
            for_tag.update(full)  # those ask for no slot of a pool yet
        elif pool is not None and held and Slot(pool, run.run_id, step) not in used.get(pool, ()):
            for_pool[pool] += 1
        elif (queue := fleet.queue_of(run, spec)) is not None:
            for_queue[queue] += 1
    told = [
        f"{_steps(count)} for the pool {name!r}: {len(used.get(name, ()))} of its slots are in use."
        for name, count in sorted(for_pool.items())
    ]
    told += [
        f"{_steps(count)} for others with the tag {tag!r}: at most {most} of them run at once."
        for (tag, most), count in sorted(for_tag.items())
    ]
    if for_queue:
        report, busy = fleet.read(store), Counter(step.worker for _, step in store.running_steps())
        told += [_in_queue(name, count, report, busy) for name, count in sorted(for_queue.items())]
    return told


def _out(
    limits: Sequence[TagLimit], specs: Mapping[NodePath, StepSpec], running: Sequence[StepRecord]
) -> Counter[tuple[TagLimit, str]]:
    """How many of these steps count against each limit, by their tag."""
    nodes = (split_step_key(step.step)[0] for step in running)
    return Counter(each for node in nodes if (spec := specs.get(node)) is not None for each in _tags(limits, spec))


def _tags(limits: Sequence[TagLimit], spec: StepSpec) -> list[tuple[TagLimit, str]]:
    return [(limit, tag) for limit in limits if (tag := limit.tag_of(spec.tags)) is not None]


def _is_limited(store: ServiceStore, pool: str, limits: Collection[str]) -> bool:
    """Whether single steps are held back by it."""
    return store.pooling.granularity == "op" and (pool in limits or store.pooling.default_limit is not None)


def _in_queue(name: str, count: int, report: FleetReport | None, busy: Counter[str | None]) -> str:
    if report is None:
        return f"{_steps(count)} for a worker; no orchestrator has looked for workers yet."
    if report.error is not None:
        return f"{_steps(count)} for a worker. {report.error}"
    serving = [worker for worker in report.workers if worker.serves(name)]
    if not serving:
        start = "opgrid worker start" + ("" if name == DEFAULT_QUEUE else f" -q {name}")
        others = others_serving(report.workers, name)
        return f"{_steps(count)} in the queue {name!r}, which no worker serves.{others} Start one with: {start}"
    running, places = sum(busy[worker.name] for worker in serving), sum(worker.concurrency for worker in serving)
    return f"{_steps(count)} in the queue {name!r}: {running} of {places} processes of its workers are busy."


def _steps(count: int) -> str:
    return "1 step waits" if count == 1 else f"{count} steps wait"
