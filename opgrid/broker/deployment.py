"""What all processes of a deployment have to agree on before they work together."""

from __future__ import annotations

from typing import Any

import redis

from opgrid.broker.keys import Keys
from opgrid.errors import SettingsError
from opgrid.io.keys import KeyRing


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
