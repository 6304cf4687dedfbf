"""What processes cost, read from /proc: peak memory since it was last cleared, and processor time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CLEAR_PEAK: Final = "5"


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def leaves(pids: Iterable[int]) -> list[int]:
    """Those that run ops: the children of a worker, or itself where it has none."""
    found: list[int] = []
    for pid in pids:
        below = family(pid)[1:]
        found += below or [pid]
    return found


def clear_peaks(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(OSError):  # gone, or not ours: then the peak is that of its life
            Path(f"/proc/{pid}/clear_refs").write_text(_CLEAR_PEAK)


def peak_mib(pids: Iterable[int]) -> float:
    """The largest resident set that one of them has had."""
    return max((_status(pid, "VmHWM:") for pid in pids), default=0.0)


def resident_mib(pid: int) -> float:
    return _status(pid, "VmRSS:")


def cpu_seconds(pids: Iterable[int]) -> float:
    """That they have used, user and system."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(each) for each in fields[11:13])
    return total / _TICKS


def cpu_seconds_below(pid: int) -> float:
    """That all below a process have used, with those among them that have gone already."""
    total = 0
    for each, first in ((pid, 13), *((below, 11) for below in family(pid)[1:])):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[first:15])
    return total / _TICKS


def _status(pid: int, field: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return 0.0
