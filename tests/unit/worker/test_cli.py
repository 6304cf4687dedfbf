"""What ``opgrid worker start`` says before it starts anything."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from worker.cli import worker


@pytest.mark.parametrize("name", ["OPGRID_IO_MAX_BYTES", "OPGRID_IO_TTL", "OPGRID_IO_NEARBY_BYTES", "OPGRID_LEASE_TTL"])
def test_a_setting_that_cannot_be_used_is_refused(name: str) -> None:
    started = CliRunner().invoke(worker, ["start", "-b", "redis://127.0.0.1:1"], env={name: "1MB"})
    assert started.exit_code == 2
    assert f"{name} is '1MB'" in started.output


@pytest.mark.parametrize("code", ["garbage", "[]", '{"file": 3}'])
def test_what_is_no_code_location_is_refused(code: str) -> None:
    started = CliRunner().invoke(worker, ["start", "-b", "redis://127.0.0.1:1", "--code", code])
    assert started.exit_code == 2
    assert f"--code: {code!r} is no code location: " in started.output


@pytest.mark.parametrize("queues", ["", " , "])
def test_a_worker_without_a_queue_is_refused(queues: str) -> None:
    """Celery would serve the default one, and nobody would know."""
    started = CliRunner().invoke(worker, ["start", "-b", "redis://127.0.0.1:1", "-q", queues])
    assert started.exit_code == 2
    assert f"--queues: {queues!r} names no queue" in started.output
