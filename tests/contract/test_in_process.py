"""The in-process executor against the contract of all executors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.in_process import InProcessExecutor
from opgrid.contracts.executor import Executor
from opgrid.testing.executors import ExecutorContract, contract_setup


class TestInProcess(ExecutorContract):
    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[Executor]:
        executor = InProcessExecutor.create(contract_setup(tmp_path))
        yield executor
        executor.close()
