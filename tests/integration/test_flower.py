"""``opgrid flower``: on this machine only, behind a password, read-only."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.service import free_port


@contextmanager
def started(redis_url: str, *options: str, cwd: Path | None = None, **environ: str) -> Iterator[tuple[str, str]]:
    """Where it says that it is, and the password that it made up."""
    port = free_port()
    command = [sys.executable, "-P", "-c", "from worker.flower import flower; flower()", "--port", str(port), *options]
    environ = {**os.environ, "OPGRID_BROKER_URL": redis_url, **environ}
    process = subprocess.Popen(command, env=environ, cwd=cwd, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    shown = process.stderr.readline()
    assert shown.startswith(f"Flower: http://127.0.0.1:{port}")
    _, place, _, user, _, password = shown.split()
    assert user == "opgrid"
    try:
        _until_it_answers(f"http://127.0.0.1:{port}", process)
        yield place, password
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _until_it_answers(url: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            status(f"{url}/healthcheck")
        except urllib.error.URLError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)
        else:
            return


def status(url: str, password: str | None = None, method: str = "GET") -> int:
    request = urllib.request.Request(url, method=method)
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"opgrid:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_flower_asks_for_its_password_and_changes_nothing(redis_url: str) -> None:
    with started(redis_url, FLOWER_UNAUTHENTICATED_API="1") as (place, password):
        assert status(place) == status(f"{place}/api/workers") == status(place, "wrong") == 401
        assert status(place, password) == status(f"{place}/api/workers", password) == 200
        assert status(f"{place}/api/worker/shutdown/someone", password, "POST") in (403, 404)


def test_it_is_where_it_says_behind_a_proxy(redis_url: str) -> None:
    with started(redis_url, "--url-prefix", "flower") as (place, password):
        assert place.endswith("/flower/")
        assert status(place, password) == status(f"{place}tasks", password) == 200


def test_it_starts_among_strangers(redis_url: str, tmp_path: Path) -> None:
    """A folder with a ``worker`` of its own; and Kubernetes, where a service is called flower."""
    (tmp_path / "worker.py").write_text("raise AssertionError('a stranger')\n")
    with started(redis_url, cwd=tmp_path, FLOWER_PORT="tcp://10.1.2.3:5555") as (place, password):
        assert status(place, password) == 200


@pytest.mark.parametrize("password", ["a,b", "gr\xfcn"])
def test_a_password_that_flower_would_take_for_others_is_refused(password: str, redis_url: str) -> None:
    command = [sys.executable, "-P", "-m", "opgrid", "flower", "--broker", redis_url, "--port", str(free_port())]
    ended = subprocess.run([*command, "--password", password], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "can have no commas" in ended.stderr
    assert password not in ended.stderr
