"""An open database: connections, transactions, and what is wrong with it in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from opgrid.errors import DatabaseUnreachable
from orchestrator.engine.pools import PoolSettings
from orchestrator.storage.sql.engine import open_engine, unreachable
from orchestrator.storage.sql.migrate import upgrade
from orchestrator.storage.sql.statements import statements_for


class Database:
    """Brought to the version of this code. Its methods may be called from any thread."""

    def __init__(self, url: str, pooling: PoolSettings | None = None) -> None:
        self.url, self.pooling = url, pooling or PoolSettings()
        self._engine: Engine = open_engine(url)
        self._read = self._engine.execution_options(reading=True)
        self._statements = statements_for(self._engine.dialect)
        try:
            upgrade(self._engine)
        except DBAPIError as error:
            self.close()
            raise unreachable(self._engine, error) from error
        except DatabaseUnreachable:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise unreachable(self._engine, error) from error

    def _all(self, query: Any) -> Sequence[Any]:
        try:
            with self._read.connect() as connection:
                return connection.execute(query).all()
        except DBAPIError as error:
            raise unreachable(self._engine, error) from error

    def _one(self, query: Any) -> Any:
        rows = self._all(query)
        return rows[0] if rows else None
