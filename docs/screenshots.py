"""Takes the pictures of the pages in ``docs/images``: the census on Celery workers, and a job that fails.

``python -P docs/screenshots.py``; it needs the built pages and chromium.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
CENSUS, SHOP = "examples.stdlib_census.jobs", "shop.py"
LAUNCH = """mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) {
  ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="opgrid-") as folder:
        home = Path(folder)
        log = home / "dev.log"
        workspace = home / "workspace.yaml"
        workspace.write_text(json.dumps({"load_from": [
            {"python_module": {"module_name": CENSUS, "working_directory": str(ROOT)}},
            {"python_file": {"relative_path": str(ROOT / "tests/e2e/shop.py"), "working_directory": str(ROOT)}},
        ]}))  # fmt: skip
        command = [sys.executable, "-P", "-m", "opgrid", "dev", "-w", str(workspace), "-p", "0", "-c", "2"]
        with log.open("wb") as output:
            environ = {"OPGRID_HOME": str(home / "home"), "PATH": "/usr/bin:/bin", "HOME": folder}
            dev = subprocess.Popen(command, env=environ, cwd=ROOT, stdout=output, stderr=output)
        try:
            _take(_address(log))
        finally:
            dev.terminate()
            dev.wait(30)
    return 0


def _address(log: Path) -> str:
    for _ in range(600):
        found = re.search(r"opgrid is at (http://\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise SystemExit(log.read_text())


def _ask(url: str, query: str, **variables: Any) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url + "graphql", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["data"]


def _launch(url: str, location: str, job: str, config: Any = None, **more: Any) -> str:
    params = {"selector": {"repositoryLocationName": location, "jobName": job}, "runConfigData": config, **more}
    answer = _ask(url, LAUNCH, p=params)["launchRun"]
    if "run" not in answer:
        raise SystemExit(answer["message"])
    return str(answer["run"]["runId"])


def _ended(url: str, run_id: str) -> None:
    query = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
    for _ in range(1200):
        if _ask(url, query, id=run_id)["runOrError"]["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
            return
        time.sleep(0.1)


def _prepared(url: str) -> dict[str, str]:
    jobs = (
        "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } fleet { workers { name } } }"
    )
    for _ in range(600):
        found = _ask(url, jobs)
        if all(node["jobs"] for node in found["repositoriesOrError"]["nodes"]) and (found["fleet"] or {}).get(
            "workers"
        ):
            break
        time.sleep(0.1)
    report = {"ops": {"write_report": {"config": {"output": tempfile.mkdtemp(prefix="opgrid-report-")}}}}
    census = _launch(url, CENSUS, "census", report, executor="celery")
    failing = {"ops": {"packing": {"ops": {"pack": {"config": {"fail": True}}}}}}
    failed = _launch(url, SHOP, "shipping", failing)
    for run in (census, failed, _launch(url, SHOP, "shipping")):
        _ended(url, run)
    selector = {"partitionSetName": "counting", "repositorySelector": {"repositoryLocationName": SHOP}}
    backfill = """mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {
      ... on LaunchBackfillSuccess { backfillId } } }"""
    made = _ask(url, backfill, p={"selector": selector, "rangeEnd": "2026-01-08", "title": "the first week"})
    start = "mutation ($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }"
    _ask(url, start, s={"repositoryLocationName": SHOP, "scheduleName": "nightly"})
    begin = "mutation ($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"
    _ask(url, begin, s={"repositoryLocationName": SHOP, "sensorName": "arrivals"})
    pool = 'mutation { setConcurrencyLimit(concurrencyKey: "database", limit: 4) }'
    _ask(url, pool)
    for job in ("slow", "learning"):
        _launch(url, SHOP, job)
    approval = _launch(url, SHOP, "releasing")
    time.sleep(65)  # a tick or two of the sensor
    shop, graph = f"locations/{SHOP}", f"locations/{CENSUS}/jobs/census"
    return {
        "overview": "",
        "runs": "runs",
        "run": f"runs/{census}?step=rank_all",
        "run-by-worker": f"runs/{census}?view=workers&step=write_report",
        "run-graph": f"runs/{census}?view=graph&step=link_all",
        "run-failed": f"runs/{failed}?step=packing.pack%5Bn2%5D",
        "run-approval": f"runs/{approval}",
        "jobs": "jobs",
        "job": graph,
        "launchpad": f"{shop}/jobs/shipping/launchpad",
        "partitions": f"{shop}/jobs/counting/partitions",
        "backfills": "backfills",
        "backfill": f"backfills/{made['launchPartitionBackfill']['backfillId']}",
        "automation": "automation",
        "schedule": f"{shop}/schedules/nightly",
        "sensor": f"{shop}/sensors/arrivals",
        "workers": "workers",
        "deployment": "deployment",
        "services": "deployment/services",
        "pools": "deployment/pools",
        "settings": "deployment/settings",
        "audit": "deployment/audit",
        "playground": "graphiql",
    }


def _take(url: str) -> None:
    from playwright.sync_api import sync_playwright

    pages = _prepared(url)
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme, base_url=url)
            page = context.new_page()
            for name, path in pages.items():
                page.goto(path)
                page.wait_for_load_state("networkidle")
                if name == "launchpad":
                    page.get_by_role("button", name="Scaffold all").click()
                if name == "playground":
                    page.get_by_role("button", name="Ask").click()
                page.wait_for_timeout(900)
                page.screenshot(path=IMAGES / f"{name}-{scheme}.png")
        browser.close()
    rows = [f"| {name} | ![{name}]({name}-light.png) | ![{name}, dark]({name}-dark.png) |" for name in pages]
    head = "# Every page, light and dark\n\nTaken by `docs/screenshots.py`.\n\n| | light | dark |\n|---|---|---|\n"
    (IMAGES / "README.md").write_text(head + "\n".join(rows) + "\n")


if __name__ == "__main__":
    sys.exit(main())
