"""What is forgotten with time, a little at a time: nothing else waits for it."""

from __future__ import annotations

import logging
from typing import Final

from orchestrator.sections import Retention
from orchestrator.services.removal import Removal
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import TickStatus

_DAY: Final = 86400.0
#: Of one call.
_RUNS: Final = 50
_EVENTS: Final = 5000
_CONTENTS: Final = 200

_log = logging.getLogger("opgrid.daemon")


def forget_old(store: ServiceStore, removal: Removal, settings: Retention, now: float) -> bool:
    """Ticks, runs that have ended, and their logs, of which the settings say how long they are kept. True where there
    may be more to do.
    """
    if settings.ticks_days is not None:
        store.purge_ticks(now - settings.ticks_days * _DAY, TickStatus)
    if settings.skipped_ticks_days is not None:
        store.purge_ticks(now - settings.skipped_ticks_days * _DAY, [TickStatus.SKIPPED])
    if settings.ticks_count is not None:
        for each in store.instigators():
            store.trim_ticks(each.location, each.name, settings.ticks_count)
    old = store.old_runs(_since(now, settings.runs_days), settings.runs_count, _RUNS)
    removal.remove(old)
    if old:
        _log.info("Deleted %d runs that are older than the settings keep.", len(old))
    events = store.purge_logs(_since(now, settings.logs_days), settings.logs_count, _EVENTS)
    plans = store.purge_contents(_CONTENTS)
    return len(old) == _RUNS or events >= _EVENTS or plans == _CONTENTS


def _since(now: float, days: float | None) -> float | None:
    return None if days is None else now - days * _DAY
