from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.celery import CeleryExecutor
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import start_worker
from opgrid.contracts.events import StepCanceled, StepStarted
from opgrid.contracts.executor import Executor
from opgrid.io.keys import KeyRing
from opgrid.testing.executors import CODE, Conversation, ExecutorContract, contract_setup

pytestmark = pytest.mark.celery

TTL = 2.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    KeyRing.load(str(folder))
    return folder


@pytest.fixture(scope="module")
def broker(redis_server: EmbeddedRedis, home: Path) -> Iterator[str]:
    url = redis_server.url_of(0)
    worker = start_worker(
        url,
        CODE,
        str(home),
        concurrency=2,
        environ={"OPGRID_LEASE_TTL": str(TTL)},
        options=["--code-patience", "0.5", "--cancel-grace", "2"],
        log=home / "worker.log",
    )
    yield url
    worker.stop()


class TestCelery(ExecutorContract):
    @pytest.fixture
    def executor(self, home: Path, broker: str) -> Iterator[Executor]:
        made = CeleryExecutor.create(contract_setup(home, broker, lease_ttl=TTL))
        yield made
        made.close()

    def test_close_ends_what_runs(self, run: Conversation, tmp_path: Path) -> None:
        """Here it must not: another coordinator takes over what workers are doing."""
        executor = run.executor
        assert isinstance(executor, CeleryExecutor)
        task = run.start("sleep_long")
        run.wait(task, StepStarted)
        executor.close()
        heir = CeleryExecutor.create(executor.setup._replace(stream=executor.stream))
        run.executor = heir
        assert heir.recover(run.brief) == {(task.step, 1)}
        heir.resume_at("")
        heir.cancel(run.brief.run_id, [(task.step, 1)])
        assert isinstance(run.end_of(task), StepCanceled)
        heir.close()
