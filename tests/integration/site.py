"""A web service in a process of its own, and a small client of it, for tests."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration.service import Service, until


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """``url`` ends with a slash."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, path: str, data: bytes | None = None, method: str | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data, {**self.headers, **named}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def ask(self, query: str, **headers: str) -> Answer:
        body = json.dumps({"query": query}).encode()
        return self("graphql", body, **{"content_type": "application/json", **headers})

    def data(self, query: str, variables: Any = None) -> Any:
        """Fails the test for errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        answer = self("graphql", body, content_type="application/json")
        assert answer.status == 200, answer
        found = answer.json()
        assert "errors" not in found, found
        return found["data"]

    def launch(self, job: str, config: Any = None, **more: Any) -> str:
        """Of the only code location."""
        (name,) = (
            each["name"] for each in self.data("{ locationStatusesOrError { ... on WorkspaceLocationStatusEntries "
            "{ entries { name } } } }")["locationStatusesOrError"]["entries"]
        )  # fmt: skip
        params = {"selector": {"repositoryLocationName": name, "jobName": job}, "runConfigData": config, **more}
        query = """mutation ($p: ExecutionParams!) { launchRun(executionParams: $p) {
          __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
        answer = self.data(query, {"p": params})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])


def start(service: Service, command: str, *options: str) -> Site:
    """``web`` or ``dev``, once it answers."""
    service.start(command, *options, "-p", "0")
    log = service.last_log
    found: list[str] = []

    def said() -> bool:
        match = re.search(r"opgrid is at (http://\S+)", log.read_text())
        if match:
            found.append(match[1])
        return bool(match)

    until(said, say=service.logs)
    site = Site(found[-1])
    until(lambda: _answers(site), say=service.logs)
    return site


def _answers(site: Site) -> bool:
    try:
        return site("readyz").status == 200
    except OSError:
        return False
