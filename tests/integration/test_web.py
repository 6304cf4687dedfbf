"""``opgrid web`` over HTTP and WebSocket: what it serves, and to whom."""

from __future__ import annotations

import json
import resource
import socket
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from opgrid.contracts.events import RunStarted, RunSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.api.pages import FOLDER
from orchestrator.cli.web import listening as bound_at
from tests.integration.service import Service, until
from tests.integration.site import Site, start
from tests.unit.api.conftest import CODE

FILE = str(CODE.file)
VERSION = "{ version viewer permissions { permission value } }"
BUILT = (FOLDER / "index.html").exists()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("web")
    made = Service(home, f"sqlite:///{home / 'opgrid.db'}", None)
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(service: Service) -> Site:
    found = start(service, "web", "-f", FILE)
    until(lambda: found.data("{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }")
          ["repositoriesOrError"]["nodes"][0]["jobs"], say=service.logs)  # fmt: skip
    return found


def test_pages_api_health_and_figures(site: Site) -> None:
    assert site("healthz").body == b"ok\n"
    assert site("readyz").body == b"ok\n"
    assert b'opgrid_runs{status="QUEUED"}' in site("metrics").body
    assert b"type Query" in site("schema.graphql").body
    for path in ("", "runs", "runs/abc", "jobs", "locations/a/jobs/b/launchpad", "automation", "deployment/pools"):
        page = site(path)
        assert page.status == (200 if BUILT else 503), path
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("page", ["jobs/a", "jobs/a/launchpad", "schedules/a", "sensors/a"])
def test_pages_of_code_locations_of_any_name(site: Site, page: str) -> None:
    name = quote("team a/100% ?#", safe="")
    assert site(f"locations/{name}/{page}").status == (200 if BUILT else 503)


@pytest.mark.parametrize(
    "path", ["nope", "locations/a/b", "runs/a/b", "assets/nope.js", "assets/..%2findex.html", "graphql", "login"]
)
def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert site(path).status in (404, 405)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"cookie": "a=b"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({}, 200),
    ],
)
def test_other_sites_can_ask_nothing(site: Site, headers: dict[str, str], status: int) -> None:
    assert site.ask(VERSION, **headers).status == status


def test_our_own_pages_can(site: Site) -> None:
    origin = site.url.rstrip("/")
    assert site.ask(VERSION, origin=origin, x_opgrid="1").status == 200
    assert site.ask(VERSION, origin=origin).status == 403


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"query": 1}', b'{"query": "{version}", "variables": []}', b"[" * 4000, b"\xff"]
)
def test_what_is_no_question_is_refused(site: Site, body: bytes) -> None:
    assert site("graphql", body, content_type="application/json").status == 400


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"query": ""}, "query is empty"),
        ({"query": "fragment f on Query { version }"}, "operation"),
        ({"query": "query A { version }", "operationName": "B"}, 'Unknown operation named "B"'),
        ({"query": "subscription { changes { topics } }"}, "WebSocket"),
        ({"query": VERSION, "variables": {"half a character": "\ud83d"}}, "surrogates"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(site: Site, asked: dict[str, Any], told: str) -> None:
    answer = site("graphql", json.dumps(asked).encode(), content_type="application/json")
    assert answer.status == 400, answer
    assert told in answer.json()["errors"][0]["message"]


def test_characters_of_two_halves_are_taken(site: Site) -> None:
    query = "query ($tag: String!) { runsOrError(filter: {jobName: $tag}) { ... on Runs { count } } }"
    asked = json.dumps({"query": query, "variables": {"tag": "\N{GRINNING FACE}"}})
    assert "\\ud83d" in asked
    answer = site("graphql", asked.encode(), content_type="application/json")
    assert answer.json() == {"data": {"runsOrError": {"count": 0}}}


@pytest.mark.parametrize(("path", "size"), [("graphql", 5 * 2**20), ("login", 5000)])
def test_what_is_too_long_is_refused(site: Site, path: str, size: int) -> None:
    assert site(path, b" " * size, content_type="application/json").status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b"[" * 4000,
        b"\xff",
        *(b'{"token": %b}' % each for each in (b"1", rb'"\ud800"', rb'"\u20ac"')),
    ],
)
def test_what_is_no_token_is_refused(site: Site, body: bytes) -> None:
    assert site("login", body).status in (400, 401)


def test_tokens_and_roles(service: Service, tmp_path: Path) -> None:
    other = Service(tmp_path, service.environ["OPGRID_DATABASE_URL"], None)
    try:
        (tmp_path / "opgrid.yaml").write_text(
            "web:\n  tokens:\n    - {name: eve, token: 'env:EVE', role: viewer}\n"
            "    - {name: ann, token: sesame, role: admin}\n"
        )
        other.environ["EVE"] = "look"
        site = start(other, "web", "-f", FILE)
        assert site.ask(VERSION).status == 401
        assert site("metrics").status == 401
        assert site("download_debug/x").status == 401
        assert site("healthz").status == 200
        assert site.ask(VERSION, authorization="Bearer wrong").status == 401
        eve = site.ask(VERSION, authorization="Bearer look").json()["data"]
        assert eve["viewer"] == "eve" and not any(each["value"] for each in eve["permissions"])
        ann = site.ask(VERSION, authorization="Bearer sesame").json()["data"]
        assert all(each["value"] for each in ann["permissions"])
        assert site("login", b'{"token": "wrong"}').status == 401
        cookie = site("login", b'{"token": "look"}').headers["set-cookie"]
        assert {"httponly", "samesite=strict"} <= {each.strip().lower() for each in cookie.split(";")}
        named = cookie.partition(";")[0]
        assert site.ask(VERSION, cookie=named, x_opgrid="1").json()["data"]["viewer"] == "eve"
        with pytest.raises(InvalidStatus):
            listening(site)
        with listening(site, {"authorization": "Bearer look"}) as socket:
            assert json.loads(socket.recv())["type"] == "connection_ack"
    finally:
        other.close()


THINKING = """
import os, time
from pathlib import Path
from opgrid import Definitions, config_mapping, in_process_executor, job, op

@op
def nothing(): ...

@config_mapping
def thinks(config):
    Path(__file__).with_name(f"{os.getpid()}.thinks").touch()
    while not Path(__file__).with_name("done").exists():
        time.sleep(0.05)
    return {}

@job(config=thinks, executor_def=in_process_executor)
def thoughtful():
    nothing()

defs = Definitions(jobs=[thoughtful])
"""


def test_it_is_ready_while_code_thinks(tmp_path: Path) -> None:
    code = tmp_path / "thinking.py"
    code.write_text(THINKING)
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    query = """{ executionPlanOrError(executionParams: {runConfigData: {},
      selector: {repositoryLocationName: "thinking.py", jobName: "thoughtful"}}) { __typename } }"""
    try:
        site = start(service, "web", "-f", str(code))
        with ThreadPoolExecutor(40) as threads:
            asked = [threads.submit(site.ask, query) for _ in range(40)]
            try:
                until(lambda: list(tmp_path.glob("*.thinks")), say=service.logs)
                assert site("readyz").status == 200
                with listening(site) as socket:
                    (answer,) = subscribe(socket, LOGS, id="nope")
                    assert answer["pipelineRunLogs"]["missingRunId"] == "nope"
            finally:
                (tmp_path / "done").touch()
        assert {each.result().status for each in asked} == {200}
    finally:
        service.close()


def test_a_database_that_is_away_is_told_to_all_and_logged_once(tmp_path: Path) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    try:
        site = start(service, "web", "-f", FILE)
        with closing(sqlite3.connect(tmp_path / "opgrid.db")) as connection:
            connection.execute("ALTER TABLE runs RENAME TO gone")  # what it asks for first
        query = "{ runsOrError { ... on Runs { count } } }"
        answers = [site.ask(query), site.ask(query), site("download_debug/x"), site("metrics")]
        assert [answer.status for answer in answers] == [503] * 4, answers
        assert all("database" in answer.json()["errors"][0]["message"] for answer in answers)
        with closing(sqlite3.connect(tmp_path / "opgrid.db")) as connection:
            connection.execute("ALTER TABLE ticks RENAME TO ticked")
        assert site("readyz").status == 503
        logged = service.logs()
        assert logged.count("no such table") == 1 and "Traceback" not in logged, logged
    finally:
        service.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set from outside")
def test_more_connections_than_it_may_have_hold_up_nobody(tmp_path: Path) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", None)
    try:
        site = start(service, "web", "-f", FILE)
        resource.prlimit(service.last.pid, resource.RLIMIT_NOFILE, (320, 320))
        address = urlsplit(site.url)
        with ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection((address.hostname, address.port), 10)) for _ in range(340)
            ]
            assert site("readyz").status == 200
            assert silent[0].recv(1) == b""  # who has been waited on for longest goes
            silent[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert silent[-1].recv(100).startswith(b"HTTP/1.1 200")
        assert "Too many open files" not in service.logs()
    finally:
        service.close()


def test_it_does_not_listen_to_strangers_without_tokens(service: Service) -> None:
    process = service.start("web", "-f", FILE, "-h", "0.0.0.0", "-p", "0")
    assert process.wait(100) == 2
    assert "Set OPGRID_WEB_TOKEN" in service.logs()


def test_an_address_that_cannot_be_had_is_told_of_with_the_option_that_names_it() -> None:
    with bound_at("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(click.UsageError, match=r"Choose another --port\."):
            bound_at("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(click.UsageError, match=r"Choose another --host\."):
        bound_at("192.0.2.1", 0)  # for documents: nobody's


def test_read_only_under_a_prefix(service: Service) -> None:
    site = start(service, "web", "-f", FILE, "--read-only", "--path-prefix", "/up/here")
    assert site.url.endswith("/up/here/")
    if BUILT:
        assert b'<base href="/up/here/">' in site("runs").body
    assert Site(f"http://{urlsplit(site.url).netloc}/")("runs").status == 404
    permissions = site.data(VERSION)["permissions"]
    assert not any(each["value"] for each in permissions)
    selector = '{repositoryLocationName: "x", sensorName: "y"}'
    answer = site.data(f"mutation {{ startSensor(sensorSelector: {selector}) {{ __typename }} }}")
    assert answer["startSensor"]["__typename"] == "UnauthorizedError"


# ---- live ------------------------------------------------------------------------------------------------------------


def listening(site: Site, headers: dict[str, str] | None = None, path: str = "graphql") -> ClientConnection:
    url = site.url.replace("http", "ws", 1) + path
    socket = connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], additional_headers=headers or {})
    socket.send('{"type": "connection_init"}')
    return socket


def messages(socket: ClientConnection) -> Iterator[Any]:
    while True:
        said = json.loads(socket.recv(timeout=30))
        if said["type"] == "next":
            assert "errors" not in said["payload"], said
            yield said["payload"]["data"]
        elif said["type"] == "complete":
            return
        elif said["type"] == "error":
            raise AssertionError(said)


def heard_so_far(socket: ClientConnection) -> None:
    """Waits until all that was sent to the server has got there."""
    socket.send('{"type": "ping"}')
    while json.loads(socket.recv(timeout=30))["type"] != "pong":
        pass


LOGS = """subscription ($id: ID!, $cursor: String) { pipelineRunLogs(runId: $id, cursor: $cursor) { __typename
  ... on PipelineRunLogsSubscriptionSuccess { cursor hasMorePastEvents run { status } messages { __typename } }
  ... on PipelineRunLogsSubscriptionFailure { message missingRunId }
} }"""


def subscribe(socket: ClientConnection, query: str, **variables: Any) -> Iterator[Any]:
    payload = {"query": query, "variables": variables}
    socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
    return messages(socket)


def test_events_come_as_they_are_recorded_and_a_cursor_goes_on_where_it_was(site: Site, service: Service) -> None:
    run_id = RunId(site.launch("adding"))
    with listening(site) as socket:
        events = subscribe(socket, LOGS, id=run_id)
        first = next(events)["pipelineRunLogs"]
        assert [each["__typename"] for each in first["messages"]] == ["RunEnqueuedEvent"]
        with service.store.turn() as turn:
            turn.append(run_id, [RunStarted(run_id=run_id, at=1.0)])
            turn.set_status(run_id, RunStatus.STARTED, 1.0)
        second = next(events)["pipelineRunLogs"]
        assert [each["__typename"] for each in second["messages"]] == ["RunStartEvent"]
        assert second["run"]["status"] == "STARTED"
    with service.store.turn() as turn:
        turn.append(run_id, [RunSucceeded(run_id=run_id, at=2.0)])
        turn.set_status(run_id, RunStatus.SUCCESS, 2.0)
    with listening(site) as socket:
        (rest,) = subscribe(socket, LOGS, id=run_id, cursor=second["cursor"])
        assert [each["__typename"] for each in rest["pipelineRunLogs"]["messages"]] == ["RunSuccessEvent"]


def test_a_run_that_is_not_there_has_no_events(site: Site) -> None:
    with listening(site) as socket:
        (answer,) = subscribe(socket, LOGS, id="nope")
        assert answer["pipelineRunLogs"]["missingRunId"] == "nope"


def test_changes_are_told_with_their_runs(site: Site) -> None:
    with listening(site) as socket:
        changes = subscribe(socket, "subscription { changes { topics runIds } }")
        heard_so_far(socket)
        until_told: list[Any] = []
        run_id = site.launch("adding")
        for change in changes:
            until_told.append(change["changes"])
            if run_id in (change["changes"]["runIds"] or []):
                break
        assert "RUNS" in until_told[-1]["topics"]


def test_runs_that_are_deleted_are_told_though_no_event_is(site: Site, service: Service) -> None:
    gone = RunId(site.launch("adding"))
    service.store.end_run(gone, RunStatus.CANCELED, [], 1.0)
    site.launch("adding")  # the last event is of another run
    with listening(site) as socket:
        changes = subscribe(socket, "subscription { changes { topics runIds } }")
        heard_so_far(socket)
        site.data("mutation ($id: String!) { deleteRun(runId: $id) { __typename } }", {"id": gone})
        assert "RUNS" in next(changes)["changes"]["topics"]


@pytest.mark.parametrize("query", ["{ version }", 'mutation { deleteRun(runId: "x") { __typename } }'])
def test_what_holds_up_others_is_asked_over_http(site: Site, query: str) -> None:
    with listening(site) as socket:
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
        said = json.loads(socket.recv())
        while said["type"] == "connection_ack":
            said = json.loads(socket.recv())
    assert said["type"] == "error" and "not allowed" in said["payload"][0]["message"]


def test_other_sites_cannot_listen(site: Site) -> None:
    with pytest.raises(InvalidStatus):
        listening(site, {"origin": "http://evil.example"})


def test_the_old_protocol_is_not_spoken(site: Site) -> None:
    url = site.url.replace("http", "ws", 1) + "graphql"
    with connect(url, subprotocols=[Subprotocol("graphql-ws")]) as socket:
        assert socket.subprotocol is None
