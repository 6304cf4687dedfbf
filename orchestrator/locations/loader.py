"""Keeps code locations loaded: at first all; later those that did not load, and whichever somebody asks for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Final

from orchestrator.locations.location import Location

_RETRY: Final = 10.0  #: seconds until a location that did not load is tried again

_log = logging.getLogger("opgrid.code")


class Loader:
    """Its locations may be asked from any thread; ``start`` it once, and ``close`` it."""

    def __init__(self, locations: Sequence[Location]) -> None:
        self.locations = tuple(locations)
        self.version = 0  #: grows with everything that was loaded, or did not load
        self._stopped = threading.Event()
        self._asked = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="opgrid-load", daemon=True).start()

    def named(self, name: str) -> Location | None:
        return next((location for location in self.locations if location.name == name), None)

    def reload(self) -> None:
        """Soon, all of them; what does not load stays as it was."""
        self._asked.set()

    def load(self, location: Location) -> bool:
        """Now. Where it cannot be loaded, its ``error`` says why and it stays as it was."""
        before = location.error
        if location.load():
            info = location.info
            counts = len(info.jobs), len(info.schedules), len(info.sensors)
            _log.info("Loaded %s: %d jobs, %d schedules, %d sensors.", location.name, *counts)
        elif location.error != before and location.error is not None:
            _log.error("Code location %s does not load: %s", location.name, location.error.message)
        self.version += 1
        return location.error is None

    def close(self) -> None:
        """End the processes of its locations, whatever they do."""
        self._stopped.set()
        self._asked.set()
        for location in self.locations:
            location.close()

    def _run(self) -> None:
        wanted: Iterable[Location] = self.locations
        while True:
            for location in wanted:
                self.load(location)
                if self._stopped.is_set():
                    return
            if self._asked.wait(_RETRY):
                self._asked.clear()
                wanted = self.locations
            else:
                wanted = [location for location in self.locations if location.error is not None]
            if self._stopped.is_set():
                return
