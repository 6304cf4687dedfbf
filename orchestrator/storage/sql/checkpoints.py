"""Moves what is in SQLite's write-ahead log to its place in the database, beside those who write: whoever commits would
wait for that otherwise, and for the disk.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

#: Events after which it is time, 3 to 7 MiB of the write-ahead log. Who closes the database last moves what is left.
_EVENTS: Final = 8000


class Checkpoints:
    """For one database file and one process; its methods may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._events = 0
        self._wanted = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, engine: Engine) -> Checkpoints | None:
        """None for PostgreSQL, which does it itself."""
        return cls(engine) if engine.dialect.name == "sqlite" else None

    def wrote(self, events: int) -> None:
        """Once they are committed."""
        self._events += events
        if self._events < _EVENTS:
            return
        self._events = 0
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="opgrid-checkpoints", daemon=True)
            self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._wanted.wait() and not self._closed:
            self._wanted.clear()
            with (
                contextlib.suppress(sqlite3.Error, DBAPIError),  # who commits does it, once the log is long
                contextlib.closing(self._engine.raw_connection()) as connection,
            ):
                cursor = connection.cursor()
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
                cursor.close()
