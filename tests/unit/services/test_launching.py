"""Runs that this process stores and drives, and what others do to them meanwhile."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from opgrid import Instance, execute_job, job, op
from opgrid.contracts.events import EngineNote, RunCanceled, RunCanceling
from opgrid.contracts.status import RunStatus
from opgrid.errors import InvariantViolationError
from opgrid.ids import RunId
from orchestrator.coordinator.shard_names import all_shards
from orchestrator.planner.routing import BadTag
from orchestrator.services import submission
from orchestrator.services.launching import Request, close_all, drive_new, make_executors, prepare
from orchestrator.storage.sql.store import SqlStore

ran: list[int] = []


@op
def notes() -> None:
    ran.append(1)


@job
def noted() -> None:
    notes()


@pytest.mark.parametrize(
    ("tag", "value", "wanted"),
    [
        ("opgrid/max_retries", "many", "a whole number"),
        ("dagster/max_retries", "1.5", "a whole number"),
        ("opgrid/retry_strategy", "FROM_FALIURE", "FROM_FAILURE or ALL_STEPS"),
        ("dagster/retry_strategy", "all_steps", "FROM_FAILURE or ALL_STEPS"),
    ],
)
def test_a_new_run_is_told_of_tags_that_nobody_could_read_once_it_had_failed(tag: str, value: str, wanted: str) -> None:
    with pytest.raises(BadTag, match=f"The tag '{tag}' of the run is '{value}'; it must be {wanted}"):
        prepare(Request(noted, tags={tag: value}))


@pytest.mark.parametrize("given", ["", " ", "a/b", "..", "-x", "a\nb", "é", "x" * 129, all_shards()[0]])
def test_what_cannot_be_the_id_of_a_run_is_refused(given: str) -> None:
    with pytest.raises(InvariantViolationError, match=rf"^{re.escape(repr(given))} cannot be the id of a run: "):
        prepare(Request(noted, run_id=given))


@pytest.mark.parametrize("given", ["1", "nightly_2026-11-28.b", "x" * 128, "shard-of-glass"])
def test_a_run_has_the_id_that_it_is_given(given: str) -> None:
    assert prepare(Request(noted, run_id=given)).brief.run_id == given


@pytest.mark.parametrize("many", [False, True])
def test_a_run_that_is_canceled_before_its_first_turn_starts_nothing(
    many: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'opgrid.db'}")
    prepared = prepare(Request(noted, executor="in_process"))
    run_id = prepared.brief.run_id
    create = store.create_own_run

    def then_canceled(*args: Any) -> Any:
        made = create(*args)
        run = store.run(run_id)
        assert run is not None
        if many:
            store.cancel_runs([RunId(run_id)], "at once", time.time())
        else:
            assert submission.cancel(store, run, "at once") is RunStatus.CANCELED
        return made

    monkeypatch.setattr(store, "create_own_run", then_canceled)
    ran.clear()
    executors = make_executors(
        prepared.brief.executor,
        prepared.plan,
        home=tmp_path,
        code=None,
        job=noted,
        broker_url=None,
        stream=prepared.brief.stream,
    )
    try:
        assert drive_new(prepared, executors, store) is RunStatus.CANCELED
        assert not ran
        assert [type(event) for event in store.read(run_id)] == [RunCanceling, RunCanceled]
    finally:
        close_all(executors)
        store.close()


@job(config={"execution": {"config": {"multiprocess": {"max_concurrent": 2}}}})
def limited() -> None:
    notes()


@pytest.mark.parametrize(("executor", "is_told"), [("in_process", True), (None, False)])
def test_config_that_a_job_brings_for_another_executor_is_ignored_with_a_notice(
    executor: str | None, is_told: bool
) -> None:
    with Instance.local_temp() as instance, execute_job(limited, instance, executor=executor) as result:
        assert result.success
        said = [event.message for event in result.all_events if isinstance(event, EngineNote)]
    assert (
        "The job's own execution config is for another executor than 'in_process': it is ignored." in said
    ) is is_told
