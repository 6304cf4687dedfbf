"""Bombs in every place that a broker can hold: who serves, schedules and drives never unpickles."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from opgrid.broker.connection import connect
from opgrid.broker.fleet import start_worker
from opgrid.broker.keys import Keys
from opgrid.broker.messages import seal_events
from opgrid.contracts.status import RunStatus
from opgrid.io.envelope import seal
from opgrid.io.keys import KeyRing
from orchestrator.coordinator.shard_names import all_shards
from tests.integration.service import CODE, Service, until
from tests.integration.site import start

pytestmark = pytest.mark.celery

GUARD = Path(__file__).parent / "guarded"
STRANGER = KeyRing(b"x" * 32)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("bomb",)


BOMB = pickle.dumps(Bomb())


@pytest.fixture
def service(tmp_path: Path, redis_url: str) -> Iterator[Service]:
    KeyRing.load(str(tmp_path))
    made = Service(tmp_path, f"sqlite:///{tmp_path / 'opgrid.db'}", redis_url)
    made.environ |= {"PYTHONPATH": str(GUARD), "OPGRID_TEST_UNPICKLED": str(tmp_path / "unpickled")}
    yield made
    made.close()


@pytest.fixture
def worker(service: Service, redis_url: str) -> Iterator[None]:
    made = start_worker(redis_url, CODE, str(service.home), log=service.home / "worker.log")
    yield
    made.stop()


def throw(client: redis.Redis, keys: Keys, ours: KeyRing) -> None:
    """Unsigned, signed by a stranger, and signed by us, which only somebody with our key can do."""
    for stream in all_shards():
        for data in (BOMB, seal("event", [BOMB], STRANGER), seal("event", [BOMB], ours), seal_events([], STRANGER)):
            client.xadd(keys.events(stream), {"d": data})
        client.xadd(keys.events(stream), {BOMB: BOMB})
        client.hset(keys.leases(stream), mapping={BOMB: BOMB})
    client.set(keys.worker("bomb"), BOMB)
    client.sadd(keys.workers, keys.worker("bomb"))
    client.lpush(keys.queue("opgrid", 0), BOMB)


def test_the_guard_itself_notices(service: Service) -> None:
    code = "import pickle; pickle.loads(pickle.dumps(1))"
    assert subprocess.run([sys.executable, "-c", code], env=service.environ, capture_output=True).returncode == 1
    assert (service.home / "unpickled").exists()


def test_bombs_do_not_go_off_and_the_service_goes_on(service: Service, worker: None, redis_url: str) -> None:
    service.start("orchestrator")
    service.start("daemon", "run", "-f", str(CODE.file))
    site = start(service, "web", "-f", str(CODE.file))
    until(lambda: "queue" in service.store.held(), say=service.logs)
    with closing(connect(redis_url)) as client:
        first = service.launch("two", "celery")
        for _ in range(20):
            throw(client, Keys.load(), KeyRing.load(str(service.home)))
            time.sleep(0.1)
    second = service.launch("two", "celery")
    assert [service.ended(first), service.ended(second)] == [RunStatus.SUCCESS] * 2
    answer = site("graphql", BOMB, content_type="application/json")
    assert 400 <= answer.status < 500
    assert site.data("{ version }")["version"]
    until(lambda: service.store.report("fleet"), say=service.logs)
    assert not (service.home / "bomb").exists()
    assert not (service.home / "unpickled").exists(), (service.home / "unpickled").read_text()
