"""The time that leases count in: one that all who share a database agree on, and that nobody sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection

from orchestrator.engine.clock import since_boot
from orchestrator.storage.sql.statements import tell

LeaseClock = Callable[[Connection], float]

_OF_SERVER: Final = "SELECT extract(epoch FROM clock_timestamp())"


def lease_clock(connection: Connection) -> float:
    """Seconds. PostgreSQL's own clock; a SQLite file is shared within one machine, whose time since its start it is."""
    if connection.dialect.name == "postgresql":
        cursor = tell(connection, _OF_SERVER)
        (now,) = cursor.fetchone()
        cursor.close()
        return float(now)
    return since_boot()


def is_over(expires: float, now: float, seconds: float) -> bool:
    """Whether a lease that nobody takes for longer than ``seconds`` has ended. One that has longer to go was taken
    before the machine, and with it the clock, was started again.
    """
    return not now < expires <= now + seconds
