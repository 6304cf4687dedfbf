"""The process pool against the contract of all executors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.multiprocess import MultiprocessExecutor
from opgrid.contracts.executor import Executor
from opgrid.testing.executors import ExecutorContract, contract_setup


class TestMultiprocess(ExecutorContract):
    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[Executor]:
        executor = MultiprocessExecutor.create(contract_setup(tmp_path, max_concurrent=2))
        yield executor
        executor.close()


class TestMultiprocessFromNothing(ExecutorContract):
    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[Executor]:
        executor = MultiprocessExecutor.create(contract_setup(tmp_path, max_concurrent=2, start_method={"spawn": {}}))
        yield executor
        executor.close()
