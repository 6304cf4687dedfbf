"""Up to which number the log is settled: what is not there by now will never be.

PostgreSQL counts an event when it is written and shows it when its transaction ends, so that a later one may be seen
first; who went on behind that one would never see the other. Whoever writes events therefore says first which numbers
they will be above: as the key of a lock that all may share, and that goes with the transaction.
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import Connection

_KIND: Final = 28531  #: of the lock: the highest 16 bits of its key; the others are a number

#: To be selected before an event is counted, in its transaction.
ABOVE: Final = f"""
SELECT pg_advisory_xact_lock_shared((CAST({_KIND} AS bigint) << 48) | (last_value - CAST(NOT is_called AS integer)))
FROM events_id_seq OFFSET 0
"""
_LAST: Final = "SELECT last_value FROM events_id_seq"
_BEING_WRITTEN: Final = f"""
SELECT min(((CAST(classid AS bigint) & 65535) << 32) | CAST(objid AS bigint)) FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1 AND CAST(classid AS bigint) >> 16 = {_KIND}
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_LOOK: Final = 0.002  #: seconds


def settled(connection: Connection, patience: float = 0.0) -> int:
    """Numbers up to this one are, for a statement that begins later; on PostgreSQL. ``patience``: seconds to wait at
    most for what is being written now.
    """
    until = time.monotonic() + patience
    last = int(connection.exec_driver_sql(_LAST).scalar_one())  # first: who has counted up to here has said so before
    while True:
        above = connection.exec_driver_sql(_BEING_WRITTEN).scalar_one()
        if above is None or above >= last:
            return last
        if time.monotonic() >= until:
            return int(above)
        time.sleep(_LOOK)
