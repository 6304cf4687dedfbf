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

import pytest

from tests.integration.service import free_port

PORT = free_port()


@pytest.fixture
def password(redis_url: str) -> Iterator[str]:
    command = [sys.executable, "-P", "-c", "from worker.flower import flower; flower()", "--port", str(PORT)]
    environ = {**os.environ, "OPGRID_BROKER_URL": redis_url, "FLOWER_UNAUTHENTICATED_API": "1"}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    shown = process.stderr.readline()
    assert shown.startswith(f"Flower: http://127.0.0.1:{PORT}  user opgrid  password ")
    yield shown.split()[-1]
    process.terminate()
    process.communicate(timeout=20)


def status(path: str, password: str | None = None, method: str = "GET") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", method=method)
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"opgrid:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_flower_asks_for_its_password_and_changes_nothing(password: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            status("/healthcheck")
            break
        except urllib.error.URLError:
            assert time.monotonic() < until
            time.sleep(0.1)
    assert status("/") == status("/api/workers") == status("/", "wrong") == 401
    assert status("/", password) == status("/api/workers", password) == 200
    assert status("/api/worker/shutdown/someone", password, "POST") in (403, 404)
