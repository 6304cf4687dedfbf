"""What this process offers to IO managers: where its home and its broker are, and the keys that sign."""

from __future__ import annotations

import os
from pathlib import Path

from opgrid.io.keys import KeyRing


class IOSetup:
    """Opens nothing until a manager asks for it."""

    __slots__ = ("_keys", "broker_url", "home")

    def __init__(self, home: str, broker_url: str | None = None, keys: KeyRing | None = None) -> None:
        self.home = home
        self.broker_url = broker_url
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
