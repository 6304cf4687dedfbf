"""What the compose file starts, started here: the very commands of its services, with the environment they get."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.stdlib_census.jobs import ReportConfig
from opgrid.broker.connection import connect
from opgrid.broker.embedded import find_server
from tests.conftest import new_database
from tests.integration.service import free_port

pytestmark = pytest.mark.celery

_ROOT = Path(__file__).parents[2]
_SERVICES: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())["services"]
#: The image's ENTRYPOINT.
_OPGRID = [sys.executable, "-P", "-m", "opgrid"]


def _filled(text: str, values: dict[str, str]) -> str:
    """As compose does it: ``${NAME:?message}`` from the .env file, ``$$`` for one dollar."""
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: values[found[1]], text).replace("$$", "$")


@contextmanager
def _service(
    name: str, values: dict[str, str], folder: Path, changes: dict[str, str] | None = None, **environ: str
) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a service; ``changes`` are of words of its command, such as a port that is taken here."""
    service = _SERVICES[name]
    words = [_filled(word, values) for word in service["command"]]
    for before, after in (changes or {}).items():
        words = [after if word == before else word for word in words]
    kept = {key: each for key, each in os.environ.items() if not key.startswith("OPGRID_")}
    own = {key: _filled(each, values) for key, each in service["environment"].items()}
    command = words if "build" not in service else [*_OPGRID, *words]
    tools = folder / "tools"  # as in the image, whichever server there is here
    tools.mkdir(exist_ok=True)
    with suppress(FileExistsError):
        (tools / "redis-server").symlink_to(find_server())
    path = f"{tools}{os.pathsep}{kept['PATH']}"
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**kept, **own, "PATH": path, "OPGRID_HOME": str(folder / name), **environ},
            cwd=_ROOT if "build" in service else folder,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        _eventually(lambda: process.poll() is not None or _hears(process.pid, signal.SIGTERM))  # it may just have begun
        process.terminate()
        try:
            code = process.wait(_grace(service))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        # web servers end in order and then, as the signal says, by it
        assert code in ((0, -signal.SIGTERM) if name in ("web", "flower") else (0,)), (
            name,
            (folder / f"{name}.log").read_text()[-2000:],
        )


def _hears(pid: int, number: int) -> bool:
    """Whether a process does something of its own when it is sent that signal."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def _grace(service: dict[str, Any]) -> float:
    """Seconds until compose would kill it."""
    text: str = service.get("stop_grace_period", "10s")
    return float(text.removesuffix("s"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[dict[str, str]]:
    """Redis, PostgreSQL and all that is ours; gives addresses and passwords."""
    folder = tmp_path_factory.mktemp("stack")
    port, flower_port, password = free_port(), free_port(), secrets.token_hex(12)
    values = {
        # the server reads its settings from a file that ends with the password: more of them may follow there
        "REDIS_PASSWORD": f"{password}\nport {port}\nbind 127.0.0.1\ndir {folder}",
        "OPGRID_SECRET_KEY": secrets.token_hex(32),
        "POSTGRES_PASSWORD": secrets.token_hex(8),
        "FLOWER_PASSWORD": secrets.token_hex(8),
        "WEB_TOKEN": secrets.token_hex(8),
    }
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with ExitStack() as running:
        running.enter_context(_service("redis", values, folder))
        with connect(url) as client:
            _eventually(lambda: _pings(client))
        for name in ("worker-1", "worker-2"):
            running.enter_context(_service(name, values, folder, OPGRID_BROKER_URL=url))
        database = {"OPGRID_DATABASE_URL": new_database(postgres_server), "OPGRID_BROKER_URL": url}
        with _service("migrate", values, folder, **database) as migrate:
            assert migrate.wait(100) == 0
        for name in ("orchestrator-1", "orchestrator-2", "daemon"):
            running.enter_context(_service(name, values, folder, **database))
        web_port = free_port()
        web = {"3000": str(web_port), "0.0.0.0": "127.0.0.1"}
        running.enter_context(_service("web", values, folder, web, **database))
        flower = {"5555": str(flower_port), "0.0.0.0": "127.0.0.1"}
        running.enter_context(_service("flower", values, folder, flower, OPGRID_BROKER_URL=url))
        web_url = f"http://127.0.0.1:{web_port}"
        yield {
            **values,
            "url": url,
            "web": web_url,
            "flower": f"http://127.0.0.1:{flower_port}",
            "folder": str(folder),
            **database,
        }


def _pings(client: Any) -> bool:
    try:
        return bool(client.ping())
    except Exception:
        return False


def _eventually(holds: Any, seconds: float = 100.0) -> Any:
    until = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
    return found


def test_redis_keeps_what_it_said_yes_to(stack: dict[str, str]) -> None:
    with connect(stack["url"]) as client:
        settings: Any = client.config_get("*")
    assert (settings["appendonly"], settings["maxmemory-policy"]) == ("yes", "noeviction")
    assert settings["requirepass"]


def test_redis_is_healthy(stack: dict[str, str]) -> None:
    _, check = _SERVICES["redis"]["healthcheck"]["test"]
    tools = Path(find_server()).parent
    if not (tools / "redis-cli").exists():
        pytest.skip("there is no redis-cli here")
    password, _, rest = stack["REDIS_PASSWORD"].partition("\n")
    port = rest.split()[1]
    environ = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "REDIS_PASSWORD": password}
    command = check.replace("$$", "$").replace("redis-cli", f"redis-cli -p {port}")
    assert subprocess.run(["sh", "-c", command], env=environ).returncode == 0
    wrong = {**environ, "REDIS_PASSWORD": "wrong"}
    assert subprocess.run(["sh", "-c", command], env=wrong, stderr=subprocess.DEVNULL).returncode != 0


def test_each_service_is_tried_or_not_ours() -> None:
    """Those whose command is run here, and the database, which is a server of its own here."""
    tried = {"redis", "worker-1", "worker-2", "migrate", "orchestrator-1", "orchestrator-2", "daemon", "web", "flower"}
    assert set(_SERVICES) - tried == {"postgres"}
    assert "command" not in _SERVICES["postgres"]


@pytest.mark.parametrize("name", ["worker-1", "worker-2"])
def test_the_census_may_write_its_report_where_it_does_by_itself(name: str) -> None:
    """The image is read-only, but for these."""
    service = _SERVICES[name]
    assert service["read_only"]
    assert f"/code/{ReportConfig().output}:uid=10001,gid=10001" in service["tmpfs"]


def test_the_workers_run_the_census(stack: dict[str, str], tmp_path: Path) -> None:
    config = {
        "ops": {"list_files": {"config": {"limit": 30}}, "write_report": {"config": {"output": str(tmp_path / "out")}}}
    }
    environ = {
        **os.environ,
        "OPGRID_HOME": str(tmp_path / "home"),
        "OPGRID_BROKER_URL": stack["url"],
        "OPGRID_SECRET_KEY": stack["OPGRID_SECRET_KEY"],
    }
    arguments = [
        "job",
        "execute",
        "-m",
        "examples.stdlib_census.jobs",
        "-j",
        "census",
        "--executor",
        "celery",
        "--json",
    ]
    ended = subprocess.run(
        [*_OPGRID, *arguments, "--config-json", json.dumps(config)],
        env=environ,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    assert (result["status"], result["steps"]) == ("SUCCESS", {"SUCCESS": 34})
    assert (tmp_path / "out" / "report.json").exists()


def _run(stack: dict[str, str], home: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """An ``opgrid`` command with the environment of the services."""
    names = ("OPGRID_BROKER_URL", "OPGRID_DATABASE_URL", "OPGRID_SECRET_KEY")
    environ = {**os.environ, "OPGRID_HOME": str(home), **{name: stack[name] for name in names}}
    return subprocess.run(
        [*_OPGRID, *command], env=environ, cwd=_ROOT, capture_output=True, text=True, timeout=100, check=False
    )


def test_the_services_are_healthy_and_drive_what_is_launched(stack: dict[str, str], tmp_path: Path) -> None:
    for name in ("orchestrator-1", "orchestrator-2", "daemon"):
        _, program, *check = _SERVICES[name]["healthcheck"]["test"]
        assert program == "opgrid"
        _eventually(lambda check=check: _run(stack, tmp_path, check).returncode == 0)  # type: ignore[misc]
    config = {
        "ops": {"list_files": {"config": {"limit": 10}}, "write_report": {"config": {"output": str(tmp_path / "out")}}}
    }
    launch = ["job", "launch", "-m", "examples.stdlib_census.jobs", "-j", "census", "--executor", "celery"]
    ended = _run(stack, tmp_path, [*launch, "--wait", "--json", "--config-json", json.dumps(config)])
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["status"] == "SUCCESS"
    assert (tmp_path / "out" / "report.json").exists()
    shown = json.loads(_run(stack, tmp_path, ["instance", "info", "--json"]).stdout)
    assert {"queue", "daemon/scheduler", "shard-0"} <= set(shown["leases"])
    assert "***" in shown["broker"]


def test_the_web_is_healthy_and_asks_for_its_token(stack: dict[str, str]) -> None:
    *_, check = _SERVICES["web"]["healthcheck"]["test"]
    port = stack["web"].rpartition(":")[2]
    command = [sys.executable, "-c", check.replace("3000", port)]
    _eventually(lambda: subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0)
    question = json.dumps({"query": "{ fleet { workers { name } queues { name workers } } }"}).encode()

    def ask(token: str) -> Any:
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        with urllib.request.urlopen(urllib.request.Request(f"{stack['web']}/graphql", question, headers)) as answer:
            return json.load(answer)["data"]["fleet"]

    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        ask("wrong")
    refused.value.close()
    _eventually(lambda: ask(stack["WEB_TOKEN"]))
    fleet = ask(stack["WEB_TOKEN"])
    assert [each["name"].partition("@")[0] for each in fleet["workers"]] == ["worker-1", "worker-2"]
    assert fleet["queues"] == [{"name": "opgrid", "workers": 2}]


def _check_of(name: str) -> list[str]:
    """The health check of a service, without the name of its program."""
    *head, program = _SERVICES[name]["healthcheck"]["test"][:2]
    assert (head, program) == (["CMD"], "opgrid")
    check: list[str] = _SERVICES[name]["healthcheck"]["test"][2:]
    return check


def test_the_workers_are_healthy_until_they_end(stack: dict[str, str], tmp_path: Path) -> None:
    for name in ("worker-1", "worker-2"):
        assert name in _check_of(name)
        _eventually(lambda name=name: _run(stack, tmp_path, _check_of(name)).returncode == 0)  # type: ignore[misc]
    own = [word.replace("worker-1", "worker-3") for word in _check_of("worker-1")]
    assert _run(stack, tmp_path, own).returncode == 1
    _SERVICES["worker-3"] = {**_SERVICES["worker-1"]}
    _SERVICES["worker-3"]["command"] = [
        word.replace("worker-1", "worker-3") for word in _SERVICES["worker-1"]["command"]
    ]
    try:
        with _service("worker-3", stack, tmp_path, OPGRID_BROKER_URL=stack["url"]) as worker:
            _eventually(lambda: _run(stack, tmp_path, own).returncode == 0)
            worker.kill()  # nobody withdraws its word: it is believed for so long, and no longer
            worker.wait()
            _eventually(lambda: _run(stack, tmp_path, own).returncode == 1)
            worker.returncode = 0
    finally:
        del _SERVICES["worker-3"]


def test_flower_is_healthy(stack: dict[str, str]) -> None:
    *_, check = _SERVICES["flower"]["healthcheck"]["test"]
    command = [sys.executable, "-c", check.replace("5555", stack["flower"].rpartition(":")[2])]
    _eventually(lambda: subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0)
    nowhere = [sys.executable, "-c", check.replace("5555", str(free_port()))]
    assert subprocess.run(nowhere, stderr=subprocess.DEVNULL).returncode != 0


def test_another_key_is_refused(stack: dict[str, str], tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "OPGRID_HOME": str(tmp_path / "home"),
        "OPGRID_BROKER_URL": stack["url"],
        "OPGRID_SECRET_KEY": secrets.token_hex(32),
    }
    command = [*_OPGRID, "worker", "start", "-m", "examples.stdlib_census.jobs"]
    ended = subprocess.run(command, env=environ, cwd=_ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "key" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_flower_shows_both_workers_to_who_knows_its_password(stack: dict[str, str]) -> None:
    def answer(password: str | None) -> tuple[int, str]:
        request = urllib.request.Request(f"{stack['flower']}/api/workers?refresh=1")
        if password is not None:
            request.add_header("Authorization", "Basic " + base64.b64encode(f"opgrid:{password}".encode()).decode())
        try:
            with urllib.request.urlopen(request) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code, ""
        except urllib.error.URLError:
            return 0, ""

    assert _eventually(lambda: answer(None)[0]) == 401
    assert answer("wrong")[0] == 401
    shown = _eventually(lambda: (found := answer(stack["FLOWER_PASSWORD"])[1]).count("worker-") >= 2 and found)
    assert "worker-1@" in shown
    assert "worker-2@" in shown
