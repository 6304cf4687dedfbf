"""In process, what quick steps store is written in one go: before anything is told of them, or they have failed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from opgrid import RetryPolicy, failure_hook, job, op, success_hook
from opgrid.contracts.events import AnyEvent, StepFailed, StepSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.io.bundles import Among, Bundles
from opgrid.io.keys import KeyRing
from opgrid.io.parcels import Entry
from orchestrator.services.execute import drive_here
from orchestrator.services.launching import Request, prepare
from orchestrator.storage.sql.store import SqlStore
from tests.unit.executors.small_ops import increment, zero

hooks: list[str] = []


@op
def look(number: int) -> None:
    """It stores nothing."""


@job
def chain() -> None:
    number = zero()
    for _ in range(20):
        number = increment(number)
    look(number)


@job(op_retry_policy=RetryPolicy(max_retries=1))
def stubborn() -> None:
    number = zero()
    for _ in range(20):
        number = increment(number)
    look(number)


@success_hook
def rejoices(_: object) -> None:
    hooks.append("success")


@failure_hook
def mourns(_: object) -> None:
    hooks.append("failure")


@job(hooks={rejoices, mourns})
def hooked() -> None:
    increment(zero())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    yield made
    made.close()


class Disk:
    """It is full from the moment that ``full`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.writes = 0
        self._write = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.write)

    def write(self, handle: int, data: bytes, at: int) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        self.writes += 1
        return self._write(handle, data, at)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_all_that_is_told_is_written(
    store: SqlStore, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[str] = []
    written: set[str] = set()
    told: list[str] = []
    add, write = Bundles.add, Bundles._write_open

    def noted(bundles: Bundles, folder: str, run_id: str, entry: Entry, ring: KeyRing) -> Among:
        added.append(entry.step)
        return add(bundles, folder, run_id, entry, ring)

    def done(bundles: Bundles) -> None:
        waiting = bundles._open is not None
        write(bundles)
        if waiting:
            written.update(added)

    def watch(events: Sequence[AnyEvent]) -> None:
        for event in events:
            if isinstance(event, StepSucceeded) and event.outputs and event.outputs[0].manifest is not None:
                told.append(event.step)
                assert event.step in written

    monkeypatch.setattr(Bundles, "add", noted)
    monkeypatch.setattr(Bundles, "_write_open", done)
    drive_here(prepare(Request(chain, executor="in_process")), store, tmp_path, None, watch=watch)
    assert sorted(told) == sorted(added)
    assert len(told) == 21


def test_what_was_not_written_was_not_made(store: SqlStore, tmp_path: Path, disk: Disk) -> None:
    disk.full = True
    prepared = prepare(Request(chain, executor="in_process"))
    assert drive_here(prepared, store, tmp_path, None) is RunStatus.FAILURE
    events = list(store.read(prepared.brief.run_id))
    assert not [event for event in events if isinstance(event, StepSucceeded)]
    (failed,) = [event for event in events if isinstance(event, StepFailed)]
    assert failed.step == "zero"
    assert failed.error.kind == "ExecutionHandleOutputError"
    assert failed.error.message.startswith("Output 'result' of step 'zero' (")
    assert failed.error.message.endswith("could not be stored by 'io_manager'.")
    assert failed.error.cause is not None
    assert "No space left" in failed.error.cause.message


def test_steps_whose_values_were_lost_on_their_way_run_again_and_so_do_those_behind_them(
    store: SqlStore, tmp_path: Path, disk: Disk
) -> None:
    """Those behind them had run in the same turn, as attempts that nobody knows of."""

    def watch(events: Sequence[AnyEvent]) -> None:
        failures.extend(event.step for event in events if isinstance(event, StepFailed))
        if any(isinstance(event, StepSucceeded) for event in events):
            disk.full = True
        if failures:
            disk.full = False

    failures: list[str] = []
    prepared = prepare(Request(stubborn, executor="in_process"))
    assert drive_here(prepared, store, tmp_path, None, watch=watch) is RunStatus.SUCCESS
    assert len(failures) == 1
    succeeded = [event.step for event in store.read(prepared.brief.run_id) if isinstance(event, StepSucceeded)]
    assert len(succeeded) == len(set(succeeded)) == 22


def test_a_hook_is_told_how_its_step_ended(store: SqlStore, tmp_path: Path, disk: Disk) -> None:
    hooks.clear()
    disk.full = True
    prepared = prepare(Request(hooked, executor="in_process"))
    assert drive_here(prepared, store, tmp_path, None) is RunStatus.FAILURE
    assert hooks == ["failure"]
