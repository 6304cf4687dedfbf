"""The daemon: each of its duties is done by one process at a time, by lease; others stand by."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from opgrid.errors import DatabaseUnreachable
from orchestrator.coordinator.ownership import LEASE, RENEW, STAND_BY, this_process
from orchestrator.coordinator.shards import take
from orchestrator.daemon.backfills import Backfills
from orchestrator.daemon.duties import Scheduler, Sensors
from orchestrator.daemon.retention import forget_old
from orchestrator.daemon.retries import Retries
from orchestrator.locations.loader import Loader
from orchestrator.sections import Sections
from orchestrator.services.removal import Removal
from orchestrator.storage.service_protocols import ServiceStore

SCHEDULER: Final = "daemon/scheduler"
SENSORS: Final = "daemon/sensors"
BACKFILLS: Final = "daemon/backfills"
RETRIES: Final = "daemon/retries"
RETENTION: Final = "daemon/retention"
DUTIES: Final = (SCHEDULER, SENSORS, BACKFILLS, RETRIES, RETENTION)
_LOOK: Final = 0.5  #: seconds
_IDLE: Final = 1.0  #: the same while nothing is being done
_BREATH: Final = 0.01
_FORGET: Final = 3600.0
_AGAIN: Final = 2.0  #: seconds until a duty that failed is tried again

_log = logging.getLogger("opgrid.daemon")


class Daemon:
    def __init__(self, store: ServiceStore, loader: Loader, settings: Sections, removal: Removal) -> None:
        self._store = store
        self._removal = removal
        locations = loader.locations
        self._settings = settings
        timeout = settings.daemon.tick_timeout_seconds
        catch_up = settings.daemon.max_catchup_runs
        self._scheduler = Scheduler(store, locations, time.time, timeout, catch_up)
        self._sensors = Sensors(store, locations, time.time, timeout)
        self._backfills = Backfills(store, locations, time.time, timeout)
        self._retries = Retries(store, settings.run_retries)
        self._held: dict[str, float] = {}  #: until when a duty may be done, monotonic
        self._again_at: dict[str, float] = {}  #: when a duty that failed is tried again, monotonic
        self._renew_at = 0.0
        self._forget_at = 0.0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """For signal handlers and other threads: ``run`` returns soon."""
        self._stopped.set()

    def run(self) -> None:
        """Until ``stop``."""
        away = False
        try:
            while not self._stopped.wait(self._rest()):
                try:
                    self._turn()
                    away = False
                except DatabaseUnreachable as error:
                    if not away:
                        _log.warning("%s Waiting for it.", error)
                    away = True
                except Exception:  # one bug is no reason to do nothing at all
                    _log.exception("A turn failed, and is tried again.")
                    self._stopped.wait(1.0)
        finally:
            with contextlib.suppress(DatabaseUnreachable):  # others take over when the leases end
                for name in self._held:
                    self._store.let_go(name, this_process())

    def _rest(self) -> float:
        """Seconds until the next turn. A schedule ticks when its time has come, not when somebody happens to look."""
        now = time.time()
        is_busy = self._scheduler.is_busy or self._sensors.is_busy or self._backfills.are_there
        longest = _LOOK if is_busy or not self._held else min(_IDLE, max(_LOOK, self._sensors.next_at - now))
        due = self._scheduler.next_at - now
        return max(_BREATH, due) if 0 < due < longest else longest  # what is over already, the last turn did not do

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            for name, lease in take(self._store, DUTIES):
                if lease is not None:
                    self._held[name] = now + LEASE - 2
                else:
                    self._held.pop(name, None)
            self._renew_at = now + (RENEW if self._held else STAND_BY)
        states = self._store.instigators()
        self._do(SCHEDULER, lambda: self._scheduler.turn(states))
        self._do(SENSORS, lambda: self._sensors.turn(states))
        self._do(BACKFILLS, self._backfills.turn)
        self._do(RETRIES, lambda: self._retries.turn(states))
        if now >= self._forget_at:
            self._do(RETENTION, self._forget)

    def _do(self, duty: str, work: Callable[[], None]) -> None:
        """One that fails rests, and keeps no other from its turn."""
        now = time.monotonic()
        if now >= self._held.get(duty, 0.0) or now < self._again_at.get(duty, 0.0):
            return
        try:
            work()
        except DatabaseUnreachable:
            raise
        except Exception:
            _log.exception("%s failed, and is tried again.", duty)
            self._again_at[duty] = time.monotonic() + _AGAIN

    def _forget(self) -> None:
        now = time.monotonic()
        more = forget_old(self._store, self._removal, self._settings.retention, time.time())
        self._forget_at = now if more else now + _FORGET
