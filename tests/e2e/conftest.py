"""The whole of opgrid in one process tree, and a browser before it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.pages import FOLDER
from tests.integration.service import Service, until
from tests.integration.site import Site, start

CODE = Path(__file__).with_name("shop.py")
AXE = Path(__file__).parents[2] / "ui/node_modules/axe-core/axe.min.js"
_PATIENCE = 30_000  #: milliseconds until what is to come on a page counts as missing
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """A browser of this machine; in CI it is installed where it is missing."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "--quiet", *command], check=True, timeout=600)
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium on this machine")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Its event loop runs in this thread: while it does, tests of async code would be within that."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("e2e")
    (home / "opgrid.yaml").write_text("web: {flower_url: 'http://127.0.0.1:5555'}\npython_logs: {prints: true}\n")
    made = Service(home, f"sqlite:///{home / 'opgrid.db'}", None)
    yield made
    made.close()


@pytest.fixture(scope="session")
def site(service: Service) -> Site:
    """``opgrid dev``: web, orchestrator, daemon, a worker on an embedded Redis."""
    if not (FOLDER / "index.html").exists():
        if os.environ.get("CI") and shutil.which("npm"):
            raise AssertionError("the pages are not built: make ui")
        pytest.skip("the pages are not built: make ui")
    found = start(service, "dev", "-f", str(CODE), "-c", "2")
    until(lambda: found.data("{ fleet { workers { name } } }")["fleet"], say=service.logs)
    until(lambda: found.data("{ fleet { workers { name } } }")["fleet"]["workers"], say=service.logs)
    return found


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    """Fails the test for what the browser complains of, and for requests that leave the host."""
    context = browser.new_context(viewport={"width": 1360, "height": 860}, base_url=site.url)
    made = context.new_page()
    made.set_default_timeout(_PATIENCE)
    problems: list[str] = []
    made.on("pageerror", lambda error: problems.append(f"error: {error}"))
    made.on("console", lambda said: problems.append(f"console: {said.text}") if said.type == "error" else None)
    made.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    made.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((site.url, "data:", "ws:")) else problems.append(f"asked {asked.url}")
        ),
    )
    yield made
    context.close()
    assert problems == []
