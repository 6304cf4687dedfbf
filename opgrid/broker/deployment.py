"""What all processes of a deployment have to agree on before they work together."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from opgrid.broker.keys import Keys
from opgrid.errors import SettingsError
from opgrid.io.keys import KeyRing

if TYPE_CHECKING:
    import redis

#: Seconds without a sign of life after which the streams count as read for no database: what is on one that nobody
#: reads any more is kept so long as well.
STREAM_TTL: Final = 7 * 86400
#: Seconds after which a database is taken to be read for no more, where somebody says so.
QUIET: Final = 30
#: Says that this database is used, and where, unless there is another: then, which, and for how many seconds it stays.
_USE: Final = """
local claim = redis.call('GET', KEYS[1])
if claim and string.sub(claim, 1, #ARGV[1]) ~= ARGV[1] then return {claim, redis.call('TTL', KEYS[1])} end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'EX', ARGV[3])
return false
"""


class OtherKey(SettingsError):
    """This process signs with a key that the deployment does not use."""

    def __init__(self, deployment: str, theirs: str, ours: str) -> None:
        super().__init__(deployment, theirs, ours)
        self.deployment, self.theirs, self.ours = deployment, theirs, ours

    def describe(self) -> str:
        return (
            f"This process has another secret key ({self.ours}) than the deployment {self.deployment!r} uses on this "
            f"broker ({self.theirs}): they would refuse each other's messages. Give it the same OPGRID_SECRET_KEY, or "
            f"the same OPGRID_HOME on one machine, or another OPGRID_DEPLOYMENT."
        )


class OtherDatabase(SettingsError):
    """A service with another database reads what workers of the deployment report. ``seen``: seconds ago."""

    def __init__(self, deployment: str, theirs: str, ours: str, host: str, seen: int) -> None:
        super().__init__(deployment, theirs, ours, host, seen)
        self.deployment, self.theirs, self.ours, self.host, self.seen = deployment, theirs, ours, host, seen

    def describe(self) -> str:
        return (
            f"The deployment {self.deployment!r} has another database on this broker ({self.theirs}, used on "
            f"{self.host} {_ago(self.seen)}) than this service ({self.ours}): each would take events of the other's "
            "steps. Give this service and its workers another OPGRID_DEPLOYMENT or another Redis, or the "
            "OPGRID_DATABASE_URL of the other one. Where this database has taken the place of that one, stop what "
            "still uses that, and say so: opgrid instance take-over"
        )


class StillUsed(SettingsError):
    """A database that is to be replaced has been used just now."""

    def __init__(self, deployment: str, theirs: str, host: str, seen: int) -> None:
        super().__init__(deployment, theirs, host, seen)
        self.deployment, self.theirs, self.host, self.seen = deployment, theirs, host, seen

    def describe(self) -> str:
        return (
            f"The other database of the deployment {self.deployment!r} ({self.theirs}) was used on {self.host} "
            f"{_ago(self.seen)}. Stop all orchestrators that use it, wait for {QUIET} seconds, and try again; or give "
            "this service and its workers another OPGRID_DEPLOYMENT."
        )


def _ago(seconds: int) -> str:
    if seconds < 2 * 60:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 2 * 3600 else f"{seconds // 3600} h ago"


def agree_on_key(client: redis.Redis, keys: Keys, ring: KeyRing) -> None:
    """Who starts says which key signs; those who start after it must have that key. Raises OtherKey.

    So keys are replaced: first all processes get the new one beside the old one, then it comes first, then the old one
    goes. Who skips a step is refused.
    """
    if client.set(keys.secret, ring.active, nx=True):
        return
    theirs: Any = client.get(keys.secret) or ring.active
    if not ring.knows(theirs):
        raise OtherKey(keys.deployment, theirs.hex(), ring.active.hex())
    if theirs != ring.active:
        client.set(keys.secret, ring.active)


def agree_on_database(client: redis.Redis, keys: Keys, database: str) -> None:
    """Who starts says for which database the streams of shards are read, until a week after it was last there. Raises
    OtherDatabase.
    """
    other = _other(client, keys, database)
    if other is not None:
        raise OtherDatabase(keys.deployment, other[0], database, *other[1:])


def take_over(client: redis.Redis, keys: Keys, database: str) -> str | None:
    """From now on they are read for this database. Returns the id of the one whose place it takes, if it is another.
    Raises StillUsed.
    """
    other = _other(client, keys, database)
    if other is None:
        return None
    theirs, _, seen = other
    if seen < QUIET:
        raise StillUsed(keys.deployment, *other)
    client.set(keys.database, claim_of(database) + socket.gethostname(), ex=STREAM_TTL)
    return theirs


def is_for(claim: bytes | None, database: str) -> bool:
    """Whether that is what ``Keys.database`` holds for this database."""
    return claim is not None and claim.startswith(claim_of(database).encode())


def _other(client: redis.Redis, keys: Keys, database: str) -> tuple[str, str, int] | None:
    """The database that the deployment has, on which host, and how many seconds ago. None: this one, from now on."""
    said: Any = client.eval(_USE, 1, keys.database, claim_of(database), socket.gethostname(), STREAM_TTL)
    if said is None:
        return None
    claim, left = said
    theirs, _, host = claim.decode(errors="replace").partition(" ")
    return theirs, host, max(0, STREAM_TTL - left)


def claim_of(database: str) -> str:
    """What ``Keys.database`` begins with; the host follows."""
    return f"{database} "
