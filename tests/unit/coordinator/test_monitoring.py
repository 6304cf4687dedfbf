"""Which processes of runs take too long."""

from __future__ import annotations

from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.coordinator.monitoring import Monitor, RunMonitoring
from orchestrator.storage.service_records import OpenRun


def row(status: RunStatus, cancel: str | None = None) -> OpenRun:
    return OpenRun(RunId("a"), status, "shard-0", cancel)


def late(monitor: Monitor, status: RunStatus, at: float, cancel: str | None = None) -> list[tuple[str, bool]]:
    return [(each.run_id, each.is_start) for each in monitor.look([row(status, cancel)], at)]


def test_one_that_does_not_start() -> None:
    monitor = Monitor(RunMonitoring(start_timeout_seconds=10))
    assert late(monitor, RunStatus.STARTING, 100) == []
    assert late(monitor, RunStatus.STARTING, 109.9) == []
    assert late(monitor, RunStatus.STARTING, 110) == [("a", True)]
    assert late(monitor, RunStatus.STARTING, 111) == []  # counted anew
    assert late(monitor, RunStatus.STARTED, 500) == []
    assert late(monitor, RunStatus.STARTING, 600) == []  # it had begun meanwhile


def test_one_that_does_not_end() -> None:
    monitor = Monitor(RunMonitoring(cancel_timeout_seconds=5))
    assert late(monitor, RunStatus.STARTED, 0) == []
    assert late(monitor, RunStatus.STARTED, 100, "enough") == []
    assert late(monitor, RunStatus.CANCELING, 104, "enough") == []
    assert late(monitor, RunStatus.CANCELING, 105, "enough") == [("a", False)]


def test_the_time_for_which_nobody_could_look_does_not_count() -> None:
    monitor = Monitor(RunMonitoring(start_timeout_seconds=10))
    assert late(monitor, RunStatus.STARTING, 100) == []
    monitor.start_over()
    assert late(monitor, RunStatus.STARTING, 200) == []
    assert late(monitor, RunStatus.STARTING, 210) == [("a", True)]


def test_without_limits() -> None:
    monitor = Monitor(RunMonitoring(None, None))
    assert late(monitor, RunStatus.STARTING, 0) == []
    assert late(monitor, RunStatus.STARTING, 1e9) == []
