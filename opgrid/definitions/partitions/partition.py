"""One partition as a value: what the older functions of a partitioned config are called with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


class TimeWindow(NamedTuple):
    """From ``start`` on, up to and without ``end``."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: its key, the value behind it, and its time window where time makes the partitions."""

    name: str
    value: Any = None
    time_window: TimeWindow | None = None
