"""What the command line shows of ticks to come."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.automation import schedule

JOBS = """
from opgrid import *
@op
def nothing(): ...
@job
def plain(): nothing()
@schedule("30 2 * * *", job=plain, execution_timezone="Europe/Berlin")
def early(context): return RunRequest(tags={"at": context.scheduled_execution_time.isoformat()})
@schedule("0 * * * *", job=plain, execution_timezone="Europe/Berlin")
def hourly(context): return SkipReason(context.scheduled_execution_time.isoformat())
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPGRID_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "America/New_York")
    file = tmp_path / "jobs.py"
    file.write_text(JOBS)
    return file


def preview(jobs: Path, *args: str) -> list[str]:
    result = CliRunner().invoke(schedule, ["preview", *args, "-f", str(jobs)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return [line.strip() for line in result.output.splitlines()]


def test_ticks_over_the_clock_changes_by_the_clock_of_the_schedule(jobs: Path) -> None:
    """What the clock leaves out ticks behind the gap, what it shows twice once; each hour ticks."""
    shown = preview(jobs, "early", "--at", "2026-03-28 12:00:00", "--ticks", "2")
    assert [line for line in shown if line.startswith("Tick")] == [
        "Tick at 2026-03-29 03:00:00+02:00",
        "Tick at 2026-03-30 02:30:00+02:00",
    ]
    assert '"at": "2026-03-29T03:00:00+02:00"' in shown[2]
    shown = preview(jobs, "early", "--at", "2026-10-25 02:30:00", "--ticks", "2")
    assert [line for line in shown if line.startswith("Tick")] == [
        "Tick at 2026-10-25 02:30:00+02:00",
        "Tick at 2026-10-26 02:30:00+01:00",
    ]
    for day, hours in (("2026-03-29", ["01:00:00+01", "03:00:00+02"]), ("2026-10-25", ["01:00:00+02", "02:00:00+02"])):
        shown = preview(jobs, "hourly", "--at", f"{day} 01:00:00", "--ticks", "2")
        assert shown[::2] == [f"Tick at {day} {hour}:00" for hour in hours]


def test_any_time_can_be_tried(jobs: Path) -> None:
    """A time is one of the zone of the schedule, not of this machine."""
    assert preview(jobs, "hourly", "--at", "2026-07-01 10:20:00") == [
        "It does not tick at that time; the next is 2026-07-01 11:00:00+02:00.",
        "Tick at 2026-07-01 10:20:00+02:00",
        "Skipped: 2026-07-01T10:20:00+02:00",
    ]
    (when, _) = preview(jobs, "hourly", "--at", "2026-07-01 10:00:00")
    assert when == "Tick at 2026-07-01 10:00:00+02:00"
    (when, _) = preview(jobs, "hourly")
    assert when.endswith((":00:00+01:00", ":00:00+02:00"))
