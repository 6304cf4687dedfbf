"""Logs that may be larger than memory, and lists that may be long, on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, event

from opgrid import job, op
from opgrid.contracts.events import ErrorInfo, LogMessage, RunSucceeded, StepFailed
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId, StepKey
from orchestrator.cli.run import run as command
from orchestrator.services import runs
from orchestrator.services.launching import Request, prepare
from orchestrator.settings import Settings
from orchestrator.storage.records import EventsFilter
from orchestrator.storage.sql.store import SqlStore
from orchestrator.wiring import open_store

LINES = 25


@op
def works() -> None:
    pass


@op
def other() -> None:
    pass


@job
def nightly() -> None:
    works()
    other()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    monkeypatch.setenv("OPGRID_HOME", str(tmp_path))
    monkeypatch.delenv("OPGRID_DATABASE_URL", raising=False)
    with closing(open_store(Settings.load())) as made:
        assert isinstance(made, SqlStore)
        yield made


def ended(store: SqlStore) -> RunId:
    prepared = prepare(Request(nightly))
    run_id, step = prepared.brief.run_id, StepKey("works")
    store.create_run(prepared.record, prepared.plan_json, prepared.snapshot_json)
    with store.turn() as turn:
        lines = [LogMessage(run_id=run_id, at=1.0, message=f"line {n}", step=step, attempt=1) for n in range(LINES)]
        turn.append(run_id, lines)
        error = ErrorInfo("ValueError", "no good", "ValueError: no good")
        turn.append(run_id, [StepFailed(run_id=run_id, at=2.0, step=step, attempt=1, error=error)])
        turn.append(run_id, [RunSucceeded(run_id=run_id, at=3.0)])
        turn.set_status(run_id, RunStatus.SUCCESS, 3.0)
    return run_id


@pytest.mark.parametrize(
    ("arguments", "lines", "failed"),
    [
        (("show",), LINES, True),
        (("wait",), LINES, True),
        (("logs",), LINES, True),
        (("logs", "--step", "other"), 0, False),
        (("logs", "--level", "ERROR"), 0, True),
        (("logs", "--level", "CRITICAL"), 0, False),
    ],
)
def test_a_log_is_shown_a_page_at_a_time(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], lines: int, failed: bool
) -> None:
    run_id = ended(store)
    limits, read = [], SqlStore.events

    def events(self: SqlStore, of: str, after: int = 0, limit: int | None = None, *more: Any) -> Any:
        limits.append(limit)
        return read(self, of, after, limit, *more)

    monkeypatch.setattr(runs, "PAGE", 4)
    monkeypatch.setattr(SqlStore, "events", events)
    result = CliRunner().invoke(command, [arguments[0], run_id, *arguments[1:]], catch_exceptions=False)
    assert (result.exit_code, set(limits)) == (0, {4})
    shown = [f"line {n}" for n in range(LINES)]
    assert [line for line in shown if f" {line}\n" in result.output] == shown[:lines]
    assert ("no good" in result.output) is failed


def test_pages_of_a_log_are_all_of_it(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = ended(store)
    everything = store.events(run_id)
    for size in (1, 3, len(everything), len(everything) + 1):
        monkeypatch.setattr(runs, "PAGE", size)
        assert [each for page in runs.pages(store, run_id) for each in page] == everything
    wanted = EventsFilter(text="line 2")
    assert [each for page in runs.pages(store, run_id, 0, wanted) for each in page] == store.events(
        run_id, wanted=wanted
    )


def test_a_list_of_runs_as_json_takes_the_same_few_statements_however_many_there_are(store: SqlStore) -> None:
    def listed(limit: int) -> tuple[list[dict[str, Any]], int]:
        seen: list[str] = []

        def note(connection: object, cursor: object, statement: str, *more: object) -> None:
            seen.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            result = CliRunner().invoke(command, ["list", "--json", "--limit", str(limit)], catch_exceptions=False)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return json.loads(result.stdout), len(seen)

    ids = [ended(store) for _ in range(6)]
    found, asked = listed(6)
    assert [(each["run_id"], each["steps"]) for each in found] == [(run_id, {"FAILURE": 1}) for run_id in ids[::-1]]
    assert asked == listed(2)[1]
