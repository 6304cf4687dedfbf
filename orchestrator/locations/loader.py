"""Keeps code locations loaded: at first all; later those that did not load, and whichever somebody asks for. Each has a
thread of its own, so that code which hangs when it is loaded keeps nobody waiting.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Final

from orchestrator.locations.location import Location

_RETRY: Final = 10.0  #: seconds until a location that did not load is tried again

_log = logging.getLogger("opgrid.code")


class Loader:
    """Its locations may be asked from any thread; ``start`` it once, and ``close`` it."""

    def __init__(self, locations: Sequence[Location]) -> None:
        self.locations = tuple(locations)
        self.version = 0  #: grows with everything that was loaded, or did not load
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._asked = {location: threading.Event() for location in self.locations}

    def start(self) -> None:
        for location in self.locations:
            name = f"opgrid-load-{location.name}"
            threading.Thread(target=self._keep, args=[location], name=name, daemon=True).start()

    def named(self, name: str) -> Location | None:
        return next((location for location in self.locations if location.name == name), None)

    def reload(self) -> None:
        """Soon, all of them; what does not load stays as it was."""
        for asked in self._asked.values():
            asked.set()

    def load(self, location: Location) -> bool:
        """Now. Where it cannot be loaded, its ``error`` says why and it stays as it was."""
        before = location.error
        if location.load():
            info = location.info
            counts = len(info.jobs), len(info.schedules), len(info.sensors)
            _log.info("Loaded %s: %d jobs, %d schedules, %d sensors.", location.name, *counts)
        elif location.error != before and location.error is not None:
            _log.error("Code location %s does not load: %s", location.name, location.error.message)
        with self._lock:
            self.version += 1
        return location.error is None

    def close(self) -> None:
        """End the processes of its locations, whatever they do."""
        self._stopped.set()
        self.reload()  # whoever waits sees that it is over
        for location in self.locations:
            location.close()

    def _keep(self, location: Location) -> None:
        asked = self._asked[location]
        while not self._stopped.is_set():
            self.load(location)
            while not asked.wait(_RETRY) and location.error is None:
                location.retire()
            asked.clear()
