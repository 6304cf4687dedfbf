"""A fleet of one test: a Redis, workers and an instance of its own, and what can go wrong with them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opgrid.broker.connection import connect
from opgrid.broker.embedded import EmbeddedRedis
from opgrid.broker.fleet import WorkerProcess, start_worker
from opgrid.broker.keys import DEFAULT_QUEUE, Keys
from opgrid.contracts.tasks import CodeTarget
from opgrid.doors import through
from opgrid.io.keys import KeyRing

if TYPE_CHECKING:
    from orchestrator.instance import Instance


_DATA: Final = "redis"


class Fleet:
    """What :func:`fleet_for_test` gives."""

    def __init__(self, redis: EmbeddedRedis, home: Path, instance: Instance, code: CodeTarget | None) -> None:
        self.instance = instance
        self.home = home
        self.workers: list[WorkerProcess] = []
        self._redis = redis
        self._data = home / _DATA
        self._code = code

    @property
    def broker_url(self) -> str:
        return self._redis.url

    def start_worker(self, concurrency: int = 1, queues: Sequence[str] = (DEFAULT_QUEUE,)) -> WorkerProcess:
        """One more; it takes messages when this returns."""
        name = f"test-{len(self.workers)}-{os.getpid()}"
        made = start_worker(
            self.broker_url,
            self._code,
            str(self.home),
            name=name,
            concurrency=concurrency,
            queues=queues,
            options=["--cancel-grace", "1"],
            log=self.home / f"{name}.log",
        )
        self.workers.append(made)
        return made

    # ---- faults ----------------------------------------------------------------------------------------------------

    def kill_worker(self, number: int = 0) -> None:
        """As a machine's memory killer does it."""
        self.workers[number].kill()

    def stop_worker(self, number: int = 0) -> None:
        """As an orderly shutdown does it: running steps end first."""
        self.workers[number].stop()

    def freeze_worker(self, number: int = 0) -> None:
        """Its main process hangs, until it is thawed: nobody beats for its steps."""
        os.kill(self.workers[number].pid, signal.SIGSTOP)

    def thaw_worker(self, number: int = 0) -> None:
        os.kill(self.workers[number].pid, signal.SIGCONT)

    def lose_messages(self, queue: str = DEFAULT_QUEUE) -> int:
        """Those that wait are gone; how many there were."""
        with closing(connect(self.broker_url)) as client:
            lists = Keys.load().queue_lists(queue)
            lengths: list[Any] = [client.llen(name) for name in lists]
            client.delete(*lists)
            return sum(lengths)

    def double_messages(self, queue: str = DEFAULT_QUEUE) -> int:
        """Those that wait are there once more; how many there were."""
        count = 0
        with closing(connect(self.broker_url)) as client:
            for name in Keys.load().queue_lists(queue):
                waiting: Any = client.lrange(name, 0, -1)
                if waiting:
                    client.rpush(name, *waiting)
                count += len(waiting)
        return count

    def delay_messages(self, seconds: float, queue: str = DEFAULT_QUEUE) -> int:
        """Those that wait come so much later, when this returns; how many there were."""
        lists = Keys.load().queue_lists(queue)
        with closing(connect(self.broker_url)) as client:
            with client.pipeline() as pipe:  # one transaction: nobody takes one that is kept back
                for name in lists:
                    pipe.lrange(name, 0, -1)
                pipe.delete(*lists)
                *kept, _ = pipe.execute()
            time.sleep(seconds)
            for name, messages in zip(lists, kept, strict=True):
                if messages:
                    client.rpush(name, *messages)
        return sum(map(len, kept))

    def restart_broker(self, pause: float = 0.0) -> None:
        """Redis is killed and comes back with what it had, ``pause`` seconds later."""
        self._redis.restart(pause)

    def empty_broker(self) -> None:
        """Redis loses everything: messages, leases, events that nobody has read yet, outputs of steps."""
        with closing(connect(self.broker_url)) as client:
            client.flushall()

    def copy_broker(self) -> Path:
        """What Redis has now, for :meth:`roll_back_broker`."""
        copy = Path(tempfile.mkdtemp(prefix="copy-", dir=self.home))
        shutil.copytree(self._data, copy, dirs_exist_ok=True)
        return copy

    def roll_back_broker(self, copy: Path) -> None:
        """Redis is killed and comes back as it was when it was copied, as after a failover to a replica that lags."""
        self._redis.kill()
        shutil.rmtree(self._data)
        shutil.copytree(copy, self._data)
        self._redis.revive()


@contextmanager
def fleet_for_test(
    code: CodeTarget | str | None = None, workers: int = 1, concurrency: int = 1, lease_ttl: float = 2.0
) -> Iterator[Fleet]:
    """Celery workers over an embedded Redis; ``Instance.get()`` is the fleet's meanwhile.

    ``code`` is a module that the workers load; without it they run jobs that ``execute_job`` sends along.
    ``lease_ttl``: seconds of silence after which a worker counts as dead.

        with fleet_for_test(workers=2) as fleet, execute_job(my_job, fleet.instance, executor="celery") as result:
            assert result.success
    """
    target = CodeTarget(module=code) if isinstance(code, str) else code
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="opgrid-fleet-")))
        KeyRing.load(str(home))
        redis = stack.enter_context(EmbeddedRedis.start(data=home / _DATA))
        environ = {"OPGRID_HOME": str(home), "OPGRID_BROKER_URL": redis.url, "OPGRID_LEASE_TTL": str(lease_ttl)}
        stack.enter_context(_environment(environ))
        fleet = Fleet(redis, home, stack.enter_context(through("instance").get()), target)
        stack.callback(_end, fleet)
        for _ in range(workers):
            fleet.start_worker(concurrency)
        yield fleet


def _end(fleet: Fleet) -> None:
    for worker in fleet.workers:
        worker.kill()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*values, "OPGRID_DATABASE_URL")}
    os.environ.pop("OPGRID_DATABASE_URL", None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
