"""What is forgotten with time."""

from __future__ import annotations

import logging
from typing import Final

from orchestrator.sections import Retention
from orchestrator.storage.records import RunRecord, RunsFilter
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
    if settings.ticks_count is not None:
        for each in store.instigators():
            store.trim_ticks(each.location, each.name, settings.ticks_count)
    old: list[RunRecord] = []
    if settings.runs_days is not None:
        old += store.runs(RunsFilter(updated_before=now - settings.runs_days * _DAY))
    if settings.runs_count is not None:
        old += store.runs()[settings.runs_count :]
    gone = {run.run_id for run in old if run.status.is_final}
    for run_id in gone:
        store.delete_run(run_id)
    if gone:
        _log.info("Deleted %d runs that are older than the settings keep.", len(gone))
