"""What this process offers to IO managers: where its home and its broker are, and the keys that sign."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path

from opgrid.io.bundles import Bundles
from opgrid.io.keys import KeyRing
from opgrid.io.parcels import Parcels
from opgrid.io.pending import Pending


class IOSetup:
    """Opens nothing until a manager asks for it."""

    __slots__ = ("_home", "_keys", "_lock", "_scratch_of", "broker_url", "bundles", "parcels", "pending")

    def __init__(
        self,
        home: str,
        broker_url: str | None = None,
        keys: KeyRing | None = None,
        pending: Pending | None = None,
        bundles: Bundles | None = None,
    ) -> None:
        """``home``: empty where there is none; then a folder stands in from when it is asked for until ``close``."""
        self._home = home
        self._scratch_of: int | None = None  #: the process that made the folder
        self._lock = threading.Lock()
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
    def home(self) -> str:
        with self._lock:
            if not self._home:
                self._home, self._scratch_of = tempfile.mkdtemp(prefix="opgrid-"), os.getpid()  # mode 0700
            return self._home

    def close(self) -> None:
        """May be called twice."""
        if self.bundles is not None:
            self.bundles.close()
        if self._scratch_of == os.getpid():  # and not of a parent of it
            shutil.rmtree(self._home, ignore_errors=True)

    @property
    def keys(self) -> KeyRing:
        if self._keys is None:
            self._keys = KeyRing.load(self.home)
        return self._keys
