"""Whether the service works, and its figures for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from opgrid.contracts.status import RunStatus
from orchestrator.coordinator import fleet
from orchestrator.coordinator.ownership import is_dead
from orchestrator.storage.records import RunsFilter
from orchestrator.storage.service_protocols import ServiceStore


def metrics(store: ServiceStore, duties: tuple[str, ...]) -> bytes:
    """In the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Figures(store, duties))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, store: ServiceStore, duties: tuple[str, ...]) -> None:
        self._store = store
        self._duties = duties

    def collect(self) -> Iterator[Metric]:
        runs = GaugeMetricFamily("opgrid_runs", "Runs by status.", labels=["status"])
        for status in RunStatus:
            runs.add_metric([status.value], self._store.count(RunsFilter(statuses=(status,))))
        yield runs
        now = time.time()
        queued = self._store.with_status([RunStatus.QUEUED])
        waits = max((now - run.created for run in queued), default=0.0)
        yield GaugeMetricFamily("opgrid_queued_run_wait_seconds", "How long the oldest queued run waits.", waits)
        running = len(self._store.running_steps(100_000))
        yield GaugeMetricFamily("opgrid_running_steps", "Steps that run.", running)
        yield from self._fleet(now, running)
        held = self._store.held()
        up = GaugeMetricFamily("opgrid_duty_up", "Whether a process does this duty.", labels=["duty"])
        for name in self._duties:
            lease = held.get(name)
            up.add_metric([name], lease is not None and lease.expires > now and not is_dead(lease.owner))
        yield up

    def _fleet(self, now: float, running: int) -> Iterator[Metric]:
        found = fleet.read(self._store)
        if found is None:
            return
        yield GaugeMetricFamily("opgrid_workers", "Celery workers that live.", len(found.workers))
        depth = GaugeMetricFamily(
            "opgrid_queue_messages",
            "Messages and steps that no worker has taken.",
            labels=["queue"],
        )
        waits = GaugeMetricFamily("opgrid_queue_wait_seconds", "For how long some have waited.", labels=["queue"])
        for queue in found.queues:
            depth.add_metric([queue.name], queue.waiting)
            waits.add_metric([queue.name], now - queue.since if queue.since is not None else 0.0)
        yield depth
        yield waits
        load = running + sum(queue.waiting for queue in found.queues)
        yield GaugeMetricFamily("opgrid_load", "Steps that run or wait for a worker: what to scale by.", load)
