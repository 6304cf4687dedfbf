"""An open database: connections, transactions, and what is wrong with it in words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, select, union_all
from sqlalchemy.exc import DBAPIError, IntegrityError

from opgrid.errors import DatabaseUnreachable, ValueRefused
from orchestrator.engine.pools import PoolSettings
from orchestrator.storage.sql.bell import bell_of
from orchestrator.storage.sql.checkpoints import Checkpoints
from orchestrator.storage.sql.clock import LeaseClock, lease_clock
from orchestrator.storage.sql.engine import open_engine, reading, refused, unreachable
from orchestrator.storage.sql.migrate import upgrade
from orchestrator.storage.sql.statements import Prepared, Row, statements_for

#: What PostgreSQL says of a statement that writes in a session that may not.
_ONLY_READS: Final = "25006"


@contextmanager
def _replaced(connection: Connection) -> Iterator[None]:
    """By a new one, where something was wrong: that may be a statement that the database has prepared for it."""
    try:
        yield
    except DBAPIError as error:
        connection.invalidate(error)
        raise


@contextmanager
def _writable(connection: Connection) -> Iterator[None]:
    """Replaced, where PostgreSQL lets it only read: its session may stay so when others may write again, or when
    another server has taken the place of this one.
    """
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _ONLY_READS:
            connection.invalidate(error)
        raise


class Database:
    """Brought to the version of this code. Its methods may be called from any thread."""

    def __init__(
        self, url: str, pooling: PoolSettings | None = None, clock_of_leases: LeaseClock = lease_clock
    ) -> None:
        self.url, self.pooling = url, pooling or PoolSettings()
        self._clock_of_leases = clock_of_leases
        self._engine: Engine = open_engine(url)
        self._read = reading(self._engine)
        self._statements = statements_for(self._engine.dialect)
        self._bell = bell_of(self._engine)
        self._checkpoints = Checkpoints.of(self._engine)
        try:
            upgrade(self._engine)
        except DBAPIError as error:
            self.close()
            raise unreachable(self._engine, error) from error
        except DatabaseUnreachable:
            self.close()
            raise

    def close(self) -> None:
        self._bell.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._engine.dispose()

    @contextmanager
    def _writing(self, rings: bool = False) -> Iterator[Connection]:
        """``rings``: who starts queued runs has something to see when this is done."""
        try:
            with self._engine.begin() as connection, _writable(connection):
                yield connection
                if rings:
                    self._bell.before_commit(connection)
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._problem(error) from error
        if rings:
            self._bell.after_commit()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._read.connect() as connection, _replaced(connection):
                yield connection
        except DBAPIError as error:
            raise self._problem(error) from error

    def _problem(self, error: DBAPIError) -> DatabaseUnreachable | ValueRefused:
        return refused(self._engine, error) or unreachable(self._engine, error)

    def _all(self, query: Any, parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        with self._reading() as connection:
            return connection.execute(query, parameters).all()

    def _read_first(self, prepared: Prepared, *parameters: Any) -> Row | None:
        with self._reading() as connection:
            return prepared.first(connection, *parameters)

    def _read_all(self, prepared: Prepared, *parameters: Any) -> list[Row]:
        with self._reading() as connection:
            return prepared.all(connection, *parameters)

    def _leases(self, query: Any) -> Sequence[tuple[Any, float]]:
        """Rows, each with the Unix seconds, by the clock of this process, of what the database's clock calls 0."""
        with self._reading() as connection:
            rows = connection.execute(query).all()
            zero = time.time() - self._clock_of_leases(connection)
        return [(row, zero) for row in rows]

    def _one(self, query: Any) -> Any:
        rows = self._all(query)
        return rows[0] if rows else None

    def _first_of(self, queries: Sequence[Any], limit: int) -> Iterator[Any]:
        """The first rows of each, by its index: one statement for many of them."""
        for start in range(0, len(queries), 100):
            some = [select(query.limit(limit).subquery()) for query in queries[start : start + 100]]
            rows = self._all(union_all(*some))
            yield from sorted(rows, key=lambda row: -row.id)
