"""Tells the process that starts queued runs that there is one: it need not look for it all the time.

A bell that nobody hears, or that rings for nothing, does no harm: who listens looks every now and then anyway.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine

_CHANNEL: Final = "opgrid_bell"
_AFTER_A_FAILURE: Final = 1.0  #: seconds


class Bell(Protocol):
    def before_commit(self, connection: Connection) -> None:
        """In the transaction that gives reason to ring."""
        ...

    def after_commit(self) -> None:
        """Once what there is to see can be seen."""
        ...

    def wait(self, timeout: float) -> bool:
        """Whether it rang within so many seconds. For one thread of one process."""
        ...

    def close(self) -> None: ...


def bell_of(engine: Engine) -> Bell:
    if engine.dialect.name == "postgresql":
        return _Notifications(engine)
    if not engine.url.database or not hasattr(os, "mkfifo"):
        return _Silence()
    database = Path(engine.url.database)
    return _Pipe(database.with_name(f".{database.name}-bell"))


class _Pipe:
    """A named pipe beside the database file: all who use that are on one machine. Its name begins with a dot, for who
    copies ``opgrid.db*`` would wait at it for ever; one of before, without, is removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading: int | None = None

    def before_commit(self, connection: Connection) -> None:
        """The transaction itself says nothing."""

    def after_commit(self) -> None:
        with contextlib.suppress(OSError):  # nobody listens, or it rings already
            pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, b".")
            finally:
                os.close(pipe)

    def wait(self, timeout: float) -> bool:
        try:
            if self._reading is None:
                with contextlib.suppress(FileExistsError):
                    os.mkfifo(self._path, 0o600)
                before = self._path.with_name(self._path.name.removeprefix("."))
                if before.is_fifo():
                    before.unlink(missing_ok=True)
                self._reading = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
            if not select.select([self._reading], [], [], timeout)[0]:
                return False
            os.read(self._reading, 4096)
            return True
        except OSError:
            time.sleep(timeout)
            return False

    def close(self) -> None:
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None


class _Notifications:
    """PostgreSQL's own, which arrive when the transaction that sent them has ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listening: Any = None

    def before_commit(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"NOTIFY {_CHANNEL}")

    def after_commit(self) -> None:
        """The database tells."""

    def wait(self, timeout: float) -> bool:
        try:
            if self._listening is None:
                pooled = self._engine.raw_connection()
                self._listening = pooled.driver_connection
                pooled.detach()  # it is no other's any more
                self._listening.autocommit = True
                self._listening.execute(f"LISTEN {_CHANNEL}")
            return any(True for _ in self._listening.notifies(timeout=timeout, stop_after=1))
        except Exception:  # whatever is wrong with the database, those who use it say so
            self.close()
            time.sleep(min(timeout, _AFTER_A_FAILURE))
            return False

    def close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(Exception):
                listening.close()


class _Silence:
    """Where there are no named pipes."""

    def before_commit(self, connection: Connection) -> None:
        pass

    def after_commit(self) -> None:
        pass

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False

    def close(self) -> None:
        pass
