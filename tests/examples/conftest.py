"""A fleet for the examples: an installation, and a Celery worker with the code of one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from opgrid.broker.fleet import start_worker
from opgrid.contracts.tasks import CodeTarget
from opgrid.io.keys import KeyRing
from orchestrator.instance import Instance
from orchestrator.settings import Settings

#: From a module to an instance whose broker has a worker with the code of that module.
Fleet = Callable[[str], Instance]


@pytest.fixture(scope="module")
def fleet(module_redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    home = tmp_path_factory.mktemp("fleet")
    KeyRing.load(str(home))
    url = module_redis_url
    workers = {}
    with Instance.of(Settings(home, f"sqlite:///{home / 'opgrid.db'}", url)) as instance:

        def with_code(module: str) -> Instance:
            if module not in workers:
                code = CodeTarget(module=module)
                workers[module] = start_worker(url, code, str(home), name=module, log=home / f"{module}.log")
            return instance

        yield with_code
        for worker in workers.values():
            worker.stop()
