"""The built-in IO managers against the contract of all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from opgrid.io.filesystem import FilesystemStore
from opgrid.io.manager import IOManager
from opgrid.io.memory import InMemoryIOManager
from opgrid.io.redis import RedisStore
from opgrid.io.setup import IOSetup
from opgrid.testing.io_managers import IOManagerContract


class TestMemory(IOManagerContract):
    @pytest.fixture
    def manager(self) -> IOManager:
        return InMemoryIOManager()


class TestFilesystem(IOManagerContract):
    @pytest.fixture
    def manager(self) -> IOManager:
        return FilesystemStore()

    @pytest.fixture
    def another(self, manager: IOManager) -> IOManager:
        return FilesystemStore()

    @pytest.fixture
    def around(self, tmp_path: Path) -> Any:
        return SimpleNamespace(io=IOSetup(str(tmp_path)))


@pytest.mark.redis
class TestRedis(IOManagerContract):
    @pytest.fixture
    def manager(self) -> IOManager:
        return RedisStore()

    @pytest.fixture
    def another(self, manager: IOManager) -> IOManager:
        return RedisStore()

    @pytest.fixture
    def around(self, tmp_path: Path, redis_url: str) -> Any:
        return SimpleNamespace(io=IOSetup(str(tmp_path), redis_url))


@pytest.mark.redis
class TestRedisInTheSameProcess(TestRedis):
    @pytest.fixture
    def another(self, manager: IOManager) -> IOManager:
        return manager
