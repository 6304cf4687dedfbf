"""Points at which a test makes a process die, or lets it believe that a call has failed.

``OPGRID_CRASH_AT`` names a file. Once that file is there and reads ``POINT N``, the process that comes to that point
for the Nth time since puts its pid behind the file's name and is killed; with ``POINT N error`` the call that the point
is at raises what it raises when its broker or database cannot be reached. Without the variable a point costs nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final, Literal

from opgrid.errors import BrokerUnreachable, DatabaseUnreachable

#: ``before`` and ``after`` are the two sides of a call: after an error there, its work is done and nobody knows.
Point = Literal[
    # the process that launches
    "launch before",
    "launch after",
    # the daemon
    "tick before",
    "tick after",
    # an orchestrator
    "hold before",
    "hold after",
    "taken over",
    "resumed",
    "dequeue before",
    "dequeue after",
    "planned",
    "turn before",
    "turn after",
    "publish before",
    "publish after",
    "read",
    "trim before",
    "trim after",
    "expire before",
    "expire after",
    "starting over",
    "cancel before",
    "cancel after",
    "release before",
    "release after",
    # a worker
    "claim before",
    "claim after",
    "inputs loaded",
    "op returned",
    "output stored",
    "outputs stored",
    "finish before",
    "finish after",
]

#: Whose calls fail as those to a database do.
_DATABASE: Final = frozenset({"launch", "tick", "hold", "dequeue", "planned", "resumed", "turn"})
_FILE: Final = os.environ.get("OPGRID_CRASH_AT")
_counting = threading.Lock()
_seen: dict[str, int] = {}  #: times that this process came by, by what the file says and when it was written


def reach(point: Point) -> None:
    if _FILE is not None:
        _look(_FILE, point)


def _look(path: str, point: Point) -> None:
    try:
        with open(path) as file:
            text, written = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return
    name, _, how = text.rstrip().rpartition(" ")
    fails = how == "error"
    if fails:
        name, _, how = name.rpartition(" ")
    if name != point:
        return
    key = f"{written} {text}"
    with _counting:
        _seen[key] = _seen.get(key, 0) + 1
        if _seen[key] < int(how):
            return
    try:
        os.rename(path, f"{path}.{os.getpid()}")
    except FileNotFoundError:
        return  # another process was here first
    if not fails:
        os.kill(os.getpid(), signal.SIGKILL)
    if point.split()[0] in _DATABASE:
        raise DatabaseUnreachable(f"The database was made to fail at {point!r}.")
    raise BrokerUnreachable("redis", f"it was made to fail at {point!r}")
