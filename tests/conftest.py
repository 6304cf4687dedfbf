"""Fixtures that all tests share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from opgrid.broker.connection import connect
from opgrid.broker.embedded import EmbeddedRedis

_DATABASES = 4096
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A Redis for this test process. Tests that stop it or fill it start one of their own."""
    with EmbeddedRedis.start(databases=_DATABASES) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """A database that nobody used before."""
    yield from _database(redis_server)


@pytest.fixture(scope="module")
def module_redis_url(redis_server: EmbeddedRedis) -> Iterator[str]:
    """One for all tests of a module."""
    yield from _database(redis_server)


def _database(server: EmbeddedRedis) -> Iterator[str]:
    url = server.url_of(next(_numbers) % _DATABASES)
    yield url
    with connect(url) as client:
        client.flushdb()
