"""A thousand queued runs, and what the log of a real service says about them."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from opgrid.broker.fleet import start_worker
from opgrid.contracts.events import EventType
from opgrid.contracts.status import RunStatus
from opgrid.io.keys import KeyRing
from opgrid.loading import load_job
from orchestrator.services.launching import Request, prepare
from orchestrator.services.submission import queued
from orchestrator.storage.records import EventRecordsFilter
from tests.integration.service import CODE, Service, until

pytestmark = [pytest.mark.celery, pytest.mark.timeout(600)]

RUNS, AT_ONCE, OF_A_GROUP = 1000, 20, 2
_ENDS = (EventType.RUN_SUCCESS, EventType.RUN_FAILURE, EventType.RUN_CANCELED)


@pytest.fixture
def service(tmp_path: Path, redis_url: str) -> Iterator[Service]:
    KeyRing.load(str(tmp_path))
    (tmp_path / "opgrid.yaml").write_text(
        f"concurrency: {{runs: {{max_concurrent_runs: {AT_ONCE}, tag_concurrency_limits: "
        f"[{{key: group, limit: {OF_A_GROUP}, per_value: true}}]}}}}"
    )
    made = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", redis_url)
    yield made
    made.close()


def test_a_thousand_runs_keep_to_their_limits_and_their_order(service: Service, redis_url: str) -> None:
    """By the log, in the order in which it was written. Runs of two jobs, and every tenth of a higher priority; ten
    groups of which two runs may go on at a time.
    """
    jobs = [load_job(CODE, name) for name in ("quick", "alike")]
    new = []
    for number in range(RUNS):
        tags = {"group": str(number % 10), "opgrid/fuse": "false"}
        tags |= {"opgrid/priority": "3"} if number % 10 == number // 10 % 10 else {}
        job = jobs[0] if number < RUNS // 2 else jobs[1]  # all of one stand before all of the other
        new.append(queued(prepare(Request(job, executor="celery", code=CODE, tags=tags))))
    service.store.launch(new)
    worker = start_worker(redis_url, CODE, str(service.home), concurrency=2, log=service.home / "worker.log")
    try:
        service.start("orchestrator")
        begin = time.monotonic()
        until(lambda: not service.store.open_runs(), 500, service.logs)
        print(f"{RUNS / (time.monotonic() - begin):.0f} runs a second")
    finally:
        worker.stop()
    records = {run.run_id: run for run in service.store.runs()}
    assert Counter(run.status for run in records.values()) == {RunStatus.SUCCESS: RUNS}
    told = {
        record.storage_id: (record.event_log_entry.run_id, kind)
        for kind in (EventType.RUN_DEQUEUED, *_ENDS)
        for record in service.store.event_records(EventRecordsFilter(kind))
    }
    going: set[str] = set()
    groups: Counter[str] = Counter()
    order: list[str] = []
    for _, (run_id, kind) in sorted(told.items()):
        group = records[run_id].tags["group"]  # type: ignore[index]
        if kind is EventType.RUN_DEQUEUED:
            going.add(run_id)
            groups[group] += 1
            order.append(run_id)
        else:
            going.discard(run_id)
            groups[group] -= 1
        assert len(going) <= AT_ONCE
        assert groups[group] <= OF_A_GROUP
    assert len(order) == len(set(order)) == RUNS
    for group in map(str, range(10)):  # of a group, which is what holds them back, they go in this order
        mine = [records[run_id] for run_id in order if records[run_id].tags["group"] == group]  # type: ignore[index]
        urgent = ["opgrid/priority" in run.tags for run in mine]
        assert urgent == sorted(urgent, reverse=True)
        for wanted in (True, False):
            for job in jobs:
                times = [
                    run.created
                    for run, is_urgent in zip(mine, urgent, strict=True)
                    if is_urgent is wanted and run.job == job.name
                ]
                assert times == sorted(times)
    urgent = ["opgrid/priority" in records[run_id].tags for run_id in order]
    behind = order[RUNS - urgent[::-1].index(True) :][:300]  # while no group has run out of either job
    assert len(behind) == 300
    named = [records[run_id].job for run_id in behind]
    assert all(one != other for one, other in itertools.pairwise(named))  # the jobs take turns
