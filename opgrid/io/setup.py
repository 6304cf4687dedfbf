"""What this process offers to IO managers: where its home and its broker are, and the keys that sign."""

from __future__ import annotations

import os
from pathlib import Path

from opgrid.io.bundles import Bundles
from opgrid.io.keys import KeyRing
from opgrid.io.parcels import Parcels
from opgrid.io.pending import Pending


class IOSetup:
    """Opens nothing until a manager asks for it."""

    __slots__ = ("_keys", "broker_url", "bundles", "home", "parcels", "pending")

    def __init__(
        self,
        home: str,
        broker_url: str | None = None,
        keys: KeyRing | None = None,
        pending: Pending | None = None,
        bundles: Bundles | None = None,
    ) -> None:
        self.home = home
        self.broker_url = broker_url
        self.pending = pending  #: where small values for the broker wait to be written; None: they are written at once
        self.bundles = bundles  #: where small values share files; None: each has its own
        self.parcels = Parcels()  #: of files, that were read lately
        self._keys = keys

    @classmethod
    def of_environment(cls) -> IOSetup:
        home = os.environ.get("OPGRID_HOME") or str(Path.cwd() / ".opgrid")
        return cls(home, os.environ.get("OPGRID_BROKER_URL"))

    @property
    def keys(self) -> KeyRing:
        if self._keys is None:
            self._keys = KeyRing.load(self.home)
        return self._keys
