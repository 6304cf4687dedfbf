"""``opgrid.client`` against the whole service, and Dagster's own client where it is installed somewhere."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from opgrid.client import Client, ClientError
from opgrid.contracts.status import RunStatus
from tests.integration.service import Service, until
from tests.integration.site import Site, start
from tests.unit.api.conftest import CODE, PLACE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("client")
    service = Service(home, f"sqlite:///{home / 'opgrid.db'}", None)
    service.environ["GREETING_SECRET"] = "hush"
    made = start(service, "dev", "-f", str(CODE.file), "-d", str(Path(str(CODE.file)).parent))
    jobs = "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }"
    until(lambda: made.data(jobs)["repositoriesOrError"]["nodes"][0]["jobs"], say=service.logs)
    yield made
    service.close()


@pytest.fixture
def client(site: Site) -> Client:
    return Client(site.url)


def test_launch_follow_and_repeat(client: Client) -> None:
    config = {"ops": {"check": {"config": {"fail": True}}}}
    first = client.launch("adding", run_config=config, tags={"who": "me"})
    assert client.wait(first, 60, 0.05) is RunStatus.FAILURE
    events = list(client.events(first))
    assert events[0]["type"] == "RunEnqueued" and events[-1]["type"] == "RunFailure"
    assert any(each["step"] == "check[1]" and each["level"] == "ERROR" for each in events)
    assert [each["number"] for each in client.events(first, str(events[-2]["number"]))] == [events[-1]["number"]]
    second = client.reexecute(first, from_failure=True, run_config={"ops": {}}, tags={"again": "yes"})
    assert client.wait(second, 60, 0.05) is RunStatus.SUCCESS
    run = client.run(second)
    assert (run.parent_run_id, run.location, run.job_name) == (first, PLACE, "adding")
    assert run.tags == {"team": "sums", "who": "me", "again": "yes"}
    assert [each.run_id for each in client.runs(tags={"who": "me"})] == [second, first]
    assert [each.run_id for each in client.runs(statuses=[RunStatus.FAILURE])] == [first]
    third = client.reexecute(second, step_selection=["total"])
    assert client.wait(third, 60, 0.05) is RunStatus.SUCCESS
    client.reload(PLACE)


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Gives the URL of a server that answers this to whoever asks first."""
    with ExitStack() as stack:

        def start_one(answer: bytes) -> str:
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with server.accept()[0] as connection:
                    while b"}" not in connection.recv(65536):
                        pass
                    connection.sendall(answer)

            thread = Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            return f"http://127.0.0.1:{server.getsockname()[1]}"

        yield start_one


HEAD = "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"-ERR unknown command 'POST'\r\n", "Unreachable"),
        (HEAD.format("200 OK", 100).encode() + b"{", "Unreachable"),
        (HEAD.format("200 OK", 2).encode() + b"[]", "Unreachable"),
        (HEAD.format("200 OK", 2).encode() + b"{}", "Unreachable"),
        (HEAD.format("502 Bad Gateway", 100).encode() + b"<html>", "HTTP 502"),
    ],
)
def test_servers_that_are_not_opgrid_are_told_as_such(
    answering: Callable[[bytes], str], answer: bytes, kind: str
) -> None:
    with pytest.raises(ClientError) as error:
        Client(answering(answer), timeout=30).runs()
    assert error.value.kind == kind


@pytest.mark.parametrize("url", ["", "localhost:3000", "http://[::1", "http://a b"])
def test_what_is_no_url_is_told_as_such(url: str) -> None:
    with pytest.raises(ClientError, match="does not answer") as error:
        Client(url).runs()
    assert error.value.kind == "Unreachable"


@pytest.mark.parametrize(("name", "seconds"), [("timeout", float("nan")), ("every", -1.0), ("every", float("inf"))])
def test_what_cannot_be_waited_for_is_refused_before_anything_is_asked(name: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={seconds} is no number of seconds"):
        Client("http://127.0.0.1:9").wait("some run", **{name: seconds})


class Going(Client):
    """Of a run that does not end."""

    def status(self, run_id: str) -> RunStatus:
        return RunStatus.STARTED


def test_a_wait_may_be_over_already_or_have_no_end(client: Client) -> None:
    run = client.launch("adding")
    assert client.wait(run, float("inf"), 0.05) is RunStatus.SUCCESS
    assert client.wait(run, -1.0) is RunStatus.SUCCESS
    with pytest.raises(TimeoutError, match="Run x is STARTED"):
        Going("http://127.0.0.1:9").wait("x", -1.0)


def test_what_is_refused_says_why(client: Client) -> None:
    with pytest.raises(ClientError, match=r"ops.numbers.config.m: there is no such field") as error:
        client.launch("adding", location=PLACE, run_config={"ops": {"numbers": {"config": {"m": 1}}}})
    assert error.value.kind == "RunConfigValidationInvalid"
    with pytest.raises(ClientError, match="no code location has it"):
        client.launch("nope")
    with pytest.raises(ClientError, match="no run 'nope'"):
        client.run("nope")
    with pytest.raises(ClientError, match="no run 'nope'"):
        client.cancel("nope")
    with pytest.raises(ClientError, match="no code location 'nope'"):
        client.reload("nope")
    done = client.launch("daily", partition_key="2026-01-02")
    client.wait(done, 60, 0.05)
    with pytest.raises(ClientError, match="has ended already"):
        client.cancel(done)
    with pytest.raises(ClientError, match="waits for no approval"):
        client.answer_approval(done, "day", True)
    with pytest.raises(ClientError, match="Cannot query field"):
        client.query("{ nope }")
    with pytest.raises(ClientError, match="does not answer"):
        Client("http://127.0.0.1:9").run("x")


PEER = """
import sys, time
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError

client = DagsterGraphQLClient("localhost", port_number=int(sys.argv[1]))


def ended(run):
    for _ in range(600):
        status = client.get_run_status(run).value
        if status in ("SUCCESS", "FAILURE", "CANCELED"):
            return status
        time.sleep(0.1)


config = {"ops": {"numbers": {"config": {"n": 2}}}}
run = client.submit_job_execution("adding", run_config=config, tags={"who": "them"})
assert ended(run) == "SUCCESS", ended(run)
reloaded = client.reload_repository_location(sys.argv[2])
assert reloaded.status.value == "SUCCESS", reloaded
slow = client.submit_job_execution("daily", sys.argv[2], "__repository__", tags={"opgrid/priority": "1", "hold": "on"})
client.terminate_run(slow)
assert ended(slow) == "CANCELED", ended(slow)
for asked, kind in (
    (lambda: client.submit_job_execution("nope"), "JobNotFoundError"),
    (lambda: client.submit_job_execution("adding", run_config={"ops": {"x": 1}}), "RunConfigValidationInvalid"),
    (lambda: client.get_run_status("nope"), "RunNotFoundError"),
    (lambda: client.terminate_run("nope"), "RunNotFoundError"),
):
    try:
        asked()
    except DagsterGraphQLClientError as error:
        assert error.args[0] == kind, (kind, error.args)
    else:
        raise AssertionError(kind)
print("all of it")
"""


@pytest.mark.slow
def test_dagsters_client_works_unmodified(site: Site) -> None:
    """In the environment that ``make compat`` makes; OPGRID_PEERS names its interpreter."""
    python = os.environ.get("OPGRID_PEERS")
    if python is None or shutil.which(python) is None:
        pytest.skip("OPGRID_PEERS names no interpreter that has dagster-graphql: make compat")
    port = site.url.rstrip("/").rpartition(":")[2]
    done = subprocess.run(
        [python, "-W", "ignore", "-c", PEER, port, PLACE], capture_output=True, text=True, timeout=100
    )
    assert done.stdout.strip() == "all of it", done.stderr
