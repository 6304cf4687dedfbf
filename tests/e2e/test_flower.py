"""The links into Flower, followed to where they lead."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from orchestrator.api.pages import FOLDER
from tests.e2e.conftest import CODE
from tests.integration.service import Service, free_port, until
from tests.integration.site import Site, start

pytestmark = [pytest.mark.celery, pytest.mark.slow]


@pytest.fixture
def site(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Site]:
    """With a Flower that saw its workers begin."""
    if not (FOLDER / "index.html").exists():
        pytest.skip("the pages are not built: make ui")
    home, port = tmp_path_factory.mktemp("flower"), free_port()
    (home / "opgrid.yaml").write_text(f"web: {{flower_url: 'http://127.0.0.1:{port}/flower'}}\n")
    service = Service(home, f"sqlite:///{home / 'opgrid.db'}", redis_url)
    try:
        service.start("flower", "--port", str(port), "--url-prefix", "flower", "--password", "open sesame")
        until(lambda: answers(f"http://127.0.0.1:{port}/flower/healthcheck"), say=service.logs)
        found = start(service, "dev", "-f", str(CODE), "-c", "2")
        until(lambda: (found.data("{ fleet { workers { name } } }")["fleet"] or {}).get("workers"), say=service.logs)
        yield found
    finally:
        service.close()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def heard(site: Site) -> list[str]:
    """What Flower says of the states of its tasks, by their names."""
    flower = site.data("{ instance { flowerUrl } }")["instance"]["flowerUrl"]
    credentials = base64.b64encode(b"opgrid:open sesame").decode()
    asked = urllib.request.Request(f"{flower}/api/tasks", headers={"Authorization": f"Basic {credentials}"})
    with urllib.request.urlopen(asked) as answer:
        return [f"{name} {task['state']}" for name, task in json.load(answer).items()]


def launched(site: Site, job: str, last: str) -> str:
    """Of which Flower has heard the last step."""
    run_id = site.launch(job)
    until(lambda: f"{run_id[:8]}.{last}.1 SUCCESS" in heard(site))
    return run_id


def test_links_lead_to_the_messages_of_their_run(browser: Any, site: Site) -> None:
    launched(site, "shipping", "ship")
    run_id = launched(site, "shipping", "ship")
    credentials = {"username": "opgrid", "password": "open sesame"}
    context = browser.new_context(base_url=site.url, http_credentials=credentials)
    page = context.new_page()

    def follow(link: Any) -> Any:
        with context.expect_page() as opened:
            link.click()
        return opened.value

    def shows_that_run_alone(flower: Any) -> None:
        expect(flower.locator("#tasks-table_info")).to_contain_text("filtered from")
        shown = flower.locator("#tasks-table tbody tr")
        expect(shown.first).to_contain_text(run_id[:8])
        expect(shown.filter(has_not_text=run_id[:8])).to_have_count(0)

    page.goto(f"runs/{run_id}")
    page.get_by_role("button", name="More").click()
    shows_that_run_alone(follow(page.get_by_role("menuitem", name="Tasks in Flower")))
    page.goto(f"runs/{run_id}?step=ship")
    shows_that_run_alone(follow(page.get_by_role("link", name="in Flower")))
    page.goto("workers")
    expect(follow(page.get_by_role("link", name="Flower")).locator("#workers-table")).to_be_visible()
    context.close()
