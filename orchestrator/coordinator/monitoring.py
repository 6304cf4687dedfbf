"""Runs whose process takes too long: to start its run, or to end it once that was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

from opgrid.contracts.status import RunStatus
from opgrid.contracts.wording import span
from opgrid.ids import RunId
from orchestrator.storage.service_records import OpenRun

Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class RunMonitoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds; None: for ever."""

    start_timeout_seconds: Seconds | None = 180.0  #: until the process of a run has loaded its code and begun
    cancel_timeout_seconds: Seconds | None = 180.0  #: until it has ended a run that is canceled
    max_runtime_seconds: Seconds | None = None  #: of runs without the tag ``opgrid/max_runtime``


class Late(NamedTuple):
    run_id: RunId
    reason: str
    is_start: bool  #: it did not start; otherwise it did not end


class Monitor:
    """Times what it is shown, by a monotonic clock."""

    def __init__(self, settings: RunMonitoring) -> None:
        self._settings = settings
        self._since: dict[tuple[RunId, bool], float] = {}

    def look(self, rows: Iterable[OpenRun], now: float) -> list[Late]:
        """``rows`` are the runs that processes of this service drive. One that is late is told again only after the
        same time.
        """
        seen: dict[tuple[RunId, bool], float] = {}
        late: list[Late] = []
        for row in rows:
            is_start = row.status is RunStatus.STARTING
            if not is_start and row.cancel is None:
                continue
            key = row.run_id, is_start
            seen[key] = self._since.get(key, now)
            limit = self._settings.start_timeout_seconds if is_start else self._settings.cancel_timeout_seconds
            if limit is not None and now - seen[key] >= limit:
                del seen[key]
                late.append(Late(row.run_id, _worded(limit, is_start), is_start))
        self._since = seen
        return late

    def start_over(self) -> None:
        """Nothing could be looked at for a while, nor could processes get on."""
        self._since = {}


def _worded(limit: float, is_start: bool) -> str:
    if is_start:
        return (
            f"its process had not begun after {span(limit)} (start_timeout_seconds); its code may hang when it is "
            "loaded."
        )
    return f"It was not over {span(limit)} after it was canceled (cancel_timeout_seconds), so its process is killed."
