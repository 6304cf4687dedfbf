"""Why steps of a run that goes on have not started, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from opgrid.broker.keys import DEFAULT_QUEUE
from opgrid.broker.presence import others_serving
from opgrid.contracts.status import StepStatus
from opgrid.ids import NodePath, StepKey, split_step_key
from orchestrator.coordinator import fleet
from orchestrator.coordinator.fleet import FleetReport
from orchestrator.engine.limits import TagLimit, limits_of
from orchestrator.planner.plan import Plan, StepSpec
from orchestrator.storage.records import RunRecord
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
    out = _out(tagged, specs, [step.step for step in running])
    for_pool: Counter[str] = Counter()
    for_tag: Counter[tuple[str, int]] = Counter()
    for_queue: Counter[str] = Counter()
    slots = {slot.step: pool for pool, taken in used.items() for slot in taken if slot.run_id == run.run_id}
    placed = [(step, spec) for step in waiting if step not in asked and (spec := _spec_of(step, specs)) is not None]
    for step, spec in sorted(placed, key=lambda each: (each[0] not in slots, -each[1].priority)):  # as they go
        claims = _tags(tagged, spec)
        if full := [(tag, each.limit) for each, tag in claims if step not in slots and out[each, tag] >= each.limit]:
            for_tag.update(full)  # those ask for no slot of a pool yet
            continue
        out.update(claims)
        if spec.pool is not None and slots.get(step) != spec.pool and _is_limited(store, spec.pool, limits):
            for_pool[spec.pool] += 1
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
    limits: Sequence[TagLimit], specs: Mapping[NodePath, StepSpec], steps: Iterable[StepKey]
) -> Counter[tuple[TagLimit, str]]:
    """How many of these steps count against each limit, by their tag."""
    found = (_spec_of(step, specs) for step in steps)
    return Counter(each for spec in found if spec is not None for each in _tags(limits, spec))


def _spec_of(step: StepKey, specs: Mapping[NodePath, StepSpec]) -> StepSpec | None:
    return specs.get(split_step_key(step)[0])


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
