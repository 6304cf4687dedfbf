"""What is forgotten with time."""

from __future__ import annotations

import logging
from typing import Final

from orchestrator.sections import Retention
from orchestrator.storage.records import RunsFilter
from orchestrator.storage.service_protocols import ServiceStore
from orchestrator.storage.service_records import TickStatus

_DAY: Final = 86400.0

_log = logging.getLogger("opgrid.daemon")


def forget_old(store: ServiceStore, settings: Retention, now: float) -> None:
    """Ticks, and runs that have ended, of which the settings say how long they are kept."""
    if settings.ticks_days is not None:
        store.purge_ticks(now - settings.ticks_days * _DAY, TickStatus)
    if settings.skipped_ticks_days is not None:
        store.purge_ticks(now - settings.skipped_ticks_days * _DAY, [TickStatus.SKIPPED])
    if settings.runs_days is not None:
        old = [
            run for run in store.runs(RunsFilter(updated_before=now - settings.runs_days * _DAY)) if run.status.is_final
        ]
        for run in old:
            store.delete_run(run.run_id)
        if old:
            _log.info("Deleted %d runs that ended more than %g days ago.", len(old), settings.runs_days)
