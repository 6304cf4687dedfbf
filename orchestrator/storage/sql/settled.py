"""Up to which number the log is settled: what is not there by now will never be.

PostgreSQL counts an event when it is written and shows it when its transaction ends, so that a later one may be seen
first; who went on behind that one would never see the other. Whoever writes events therefore says first which numbers
they will be above: as the key of a lock that all may share, and that goes with the transaction.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

#: A key is 28 bits of what the sequence is known by, for schemas of one database have one each, and 35 of a number.
_NUMBER: Final = 35
_SEQUENCE: Final = f"((CAST(CAST('events_id_seq' AS regclass) AS bigint) & {(1 << 28) - 1}))"
#: By so many the sequence counts on (migration 0007).
STRIDE: Final = 64

#: To be selected before an event is counted, in its transaction.
ABOVE: Final = f"""
SELECT pg_advisory_xact_lock_shared(
({_SEQUENCE} << {_NUMBER}) | ((last_value - CAST(NOT is_called AS integer) + {STRIDE - 1}) / {STRIDE}))
FROM events_id_seq OFFSET 0
"""
_LAST: Final = "SELECT last_value FROM events_id_seq"
_BEING_WRITTEN: Final = f"""
SELECT min(key & {(1 << _NUMBER) - 1}) * {STRIDE} FROM (
SELECT (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) AS key FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS locks
WHERE key >> {_NUMBER} = {_SEQUENCE}
"""


def counted(connection: Connection) -> int:
    """The number of the last event that was counted, whether or not it is to be seen."""
    return int(connection.exec_driver_sql(_LAST).scalar_one())


def settled(connection: Connection, last: int) -> int:
    """Numbers up to this one are, for a transaction that begins after this. ``last``: counted before: who has counted
    up to there has said so by now, or is done.
    """
    above: int | None = connection.exec_driver_sql(_BEING_WRITTEN).scalar_one()
    return last if above is None else min(last, int(above))
