"""A run as an HTML table, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from opgrid.contracts.events import AnyEvent, StepFailed
from opgrid.contracts.status import RunStatus, StepStatus
from orchestrator.storage.projection import changes
from orchestrator.storage.records import RunRecord

_COLORS: Final = {"SUCCESS": "#1a7f37", "FAILURE": "#c62828", "CANCELED": "#8a6d00", "SKIPPED": "#6b7280"}
_MOST: Final = 200  #: rows


def table(run: RunRecord, events: Sequence[AnyEvent]) -> str:
    """Those that failed come first; of very many, some are left out."""
    errors = {event.step: event.error for event in events if isinstance(event, StepFailed)}
    steps = sorted(changes(events).items(), key=lambda item: item[1].status is not StepStatus.FAILURE)
    took = "" if run.started is None or run.ended is None else f" in {run.ended - run.started:.2f} s"
    rows = [f"<p><b>{escape(run.job)}</b> {_colored(run.status)}{took}, run <code>{run.run_id}</code></p>"]
    rows.append("<table><tr><th>step</th><th>status</th><th>attempt</th><th>seconds</th><th></th></tr>")
    for step, change in steps[:_MOST]:
        seconds = "" if change.started is None or change.ended is None else f"{change.ended - change.started:.3f}"
        error = errors.get(step) if change.status is StepStatus.FAILURE else None
        cause = "" if error is None else escape(str((error.cause or error).message))
        cells = [escape(step), _colored(change.status), str(change.attempt), seconds, cause]
        rows.append("<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>")
    rows.append("</table>")
    if len(steps) > _MOST:
        rows.append(f"<p>and {len(steps) - _MOST} more steps</p>")
    return "".join(rows)


def _colored(status: RunStatus | StepStatus) -> str:
    return f'<span style="color:{_COLORS.get(status.value, "inherit")}">{status.value}</span>'
