"""Connections: SQLite as one machine needs it, PostgreSQL as it comes."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InvalidatePoolError, ProgrammingError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from opgrid.errors import DatabaseUnreachable, DatabaseUnusable, SettingsError, ValueRefused
from orchestrator.storage.address import without_password
from orchestrator.storage.sql.statements import tell

_USED: Final = "opgrid_used"
_SHOWN: Final = "opgrid_url"
#: Milliseconds after which PostgreSQL ends a transaction whose process does nothing: one that is frozen, or cut off,
#: would hold up all others with its locks.
_IDLE_IN_TRANSACTION: Final = 8000
#: Classes of PostgreSQL's errors: data exceptions, and program limits such as the longest entry of an index.
_REFUSALS: Final = frozenset({"22", "54"})
#: In a URL: after how many times PostgreSQL prepares a statement; ``none``: never.
_PREPARE: Final = "prepare_threshold"
#: Seconds for which a connection is taken to live on.
_FRESH: Final = 1.0
#: Pages of SQLite's write-ahead log, 64 MiB of it, after which who commits moves to its place what ``Checkpoints`` has
#: not, and waits for the disk.
_LOG_PAGES: Final = 16_000


def open_engine(url: str) -> Engine:
    """Raises SettingsError for what is no usable URL, DatabaseUnreachable where a file cannot be made."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError) as error:
        shown = re.sub(r"password=[^&]*", "password=***", re.sub(r"//.*@", "//***@", url))
        raise SettingsError(
            f"OPGRID_DATABASE_URL is not a database URL: {shown!r}. "
            "Write sqlite:////path/to/file.db or postgresql://user@host/name."
        ) from error
    backend, shown = address.get_backend_name(), without_password(address)
    if backend == "postgresql":
        limits = f"-c idle_in_transaction_session_timeout={_IDLE_IN_TRANSACTION}"
        address = address.set(drivername="postgresql+psycopg")
        if "options" not in address.query:
            address = address.update_query_dict({"options": limits})
        prepare = address.query.get(_PREPARE)
        told = {} if prepare is None else {_PREPARE: _threshold(prepare)}
        address = address.difference_update_query([_PREPARE])
        engine = create_engine(
            address,
            connect_args=told,
            paramstyle="format",  # parameters by place: see Prepared
            execution_options={_SHOWN: shown},
        )
        fresh = _Freshness(engine.dialect)
        event.listen(engine, "checkin", fresh.back)
        event.listen(engine, "invalidate", fresh.lost)
        event.listen(engine, "checkout", fresh.given)
        return engine
    if backend != "sqlite":
        raise SettingsError(
            f"opgrid stores its runs in sqlite or postgresql, not in {backend!r} (OPGRID_DATABASE_URL)."
        )
    if address.database in (None, "", ":memory:"):
        raise SettingsError(
            "opgrid stores its runs in a file, and OPGRID_DATABASE_URL names none. Write sqlite:////path/to/file.db."
        )
    _make_folder(Path(address.database).parent)
    engine = create_engine(
        address,
        pool_use_lifo=True,  # the last one has pages at hand; two in turn would each read again what the other wrote
        connect_args={"timeout": 30, "check_same_thread": False},
        execution_options={_SHOWN: shown},
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin_to_write)
    return engine


def _threshold(given: object) -> int | None:
    if given == "none":
        return None
    if isinstance(given, str) and given.isdecimal():
        return int(given)
    raise SettingsError(
        f"{_PREPARE} in OPGRID_DATABASE_URL has to be a whole number from 0 up, or none, not {given!r}."
    )


def reading(engine: Engine) -> Engine:
    """The same for those that write nothing. On PostgreSQL, each statement is a transaction, in one round trip. It is
    not rolled back: psycopg would forget all that it has prepared, and turns execute the same statements again and
    again.
    """
    if engine.dialect.name == "postgresql":
        return engine.execution_options(reading=True, isolation_level="AUTOCOMMIT")
    return engine.execution_options(reading=True)


class _Freshness:
    """A connection that nobody has used for a while may be cut since, and so may all when one is: they are tried before
    they are used, which is a round trip.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._lost_at = 0.0

    def back(self, _connection: object, record: ConnectionPoolEntry) -> None:
        record.info[_USED] = time.monotonic()

    def lost(self, _connection: object, _record: object, _error: object) -> None:
        self._lost_at = time.monotonic()

    def given(self, connection: Any, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        used = record.info.get(_USED)
        if used is None or (used > self._lost_at and time.monotonic() - used < _FRESH):
            return
        try:
            self._dialect.do_ping(connection)
        except self._dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # it is replaced, and so are those that are as old


def unreachable(engine: Engine, error: DBAPIError) -> DatabaseUnreachable:
    """The URL in it is as the user wrote it, without the password."""
    shown = engine.get_execution_options()[_SHOWN]
    lacks = isinstance(error, ProgrammingError) or getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    kind = DatabaseUnusable if lacks else DatabaseUnreachable
    return kind(f"The database {shown} cannot be used: {_problem(error)}{_cause(engine)}. See OPGRID_DATABASE_URL.")


def refused(engine: Engine, error: DBAPIError) -> ValueRefused | None:
    """What the database says of a value, and would say again. None where anything else is wrong: that passes."""
    state = getattr(error.orig, "sqlstate", None) or ""
    says_so = isinstance(error, DataError) or state[:2] in _REFUSALS
    if error.connection_invalidated or not says_so:
        return None
    return ValueRefused(engine.get_execution_options()[_SHOWN], _problem(error))


def _problem(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0].rstrip(".")


def _cause(engine: Engine) -> str:
    """What SQLite does not say of a file that it cannot read or write."""
    if engine.dialect.name != "sqlite":
        return ""
    folder = Path(engine.url.database or "").parent
    try:
        free = os.statvfs(folder).f_bavail
    except OSError:
        return ""
    if not os.access(folder, os.W_OK):
        return f" (nothing can be written to {folder})"
    return "" if free else f" (there is no room left in {folder})"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnreachable(
            f"The folder {folder} of the database cannot be made: {error.strerror}. See OPGRID_DATABASE_URL."
        ) from error


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    cursor = connection.cursor()
    for pragma in ("busy_timeout=30000", "synchronous=NORMAL", "foreign_keys=ON", f"wal_autocheckpoint={_LOG_PAGES}"):
        cursor.execute(f"PRAGMA {pragma}")
    _write_ahead(cursor)
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """SQLite does not always wait for others who change the mode of a new database at the same time: we do."""
    until = time.monotonic() + 30
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _begin_to_write(connection: Any) -> None:
    """A transaction that may write takes the lock at once: waiting works then, upgrading a read would fail."""
    tell(connection, "BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE").close()
