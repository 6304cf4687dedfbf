"""What an instance tells about runs."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from opgrid import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    AssetRecordsFilter,
    EventLogInvalidForRun,
    EventRecordsFilter,
    HomeNotSetError,
    Instance,
    OpExecutionContext,
    RunsFilter,
    RunStatus,
    RunStatusChangeRecordsFilter,
    instance_for_test,
    job,
    op,
)
from opgrid.contracts.events import EventType
from opgrid.contracts.status import StepStatus
from opgrid.contracts.wire import encode_event
from opgrid.errors import InvalidConfigError, InvariantViolationError, RunAlreadyExists, RunNotFoundError
from opgrid.ids import RunId
from orchestrator.storage.records import LeaseLost, RunRecord
from tests.integration.service import spoil_log


@op
def load(context: OpExecutionContext) -> int:
    context.log_event(AssetMaterialization("table"))
    return 1


@op
def fail(value: int) -> int:
    raise ValueError(value)


@job
def nightly() -> None:
    fail(load())


def test_a_run_in_numbers() -> None:
    with Instance.ephemeral() as instance:
        result = nightly.execute_in_process(instance=instance, raise_on_error=False)
        stats = instance.get_run_stats(result.run_id)
        assert (stats.steps_succeeded, stats.steps_failed, stats.materializations) == (1, 1, 1)
        assert stats.start_time is not None
        assert stats.end_time is not None
        assert stats.launch_time <= stats.start_time <= stats.end_time
        steps = instance.get_run_step_stats(result.run_id)
        assert [(step.step, step.status) for step in steps] == [
            ("load", StepStatus.SUCCESS),
            ("fail", StepStatus.FAILURE),
        ]
        assert instance.get_run_step_stats(result.run_id, ["fail"]) == steps[1:]
        with pytest.raises(RunNotFoundError, match="other"):
            instance.get_run_stats("other")


def test_runs_are_read_page_by_page_from_either_end() -> None:
    with instance_for_test() as instance:
        run_ids = [nightly.execute_in_process(instance=instance, raise_on_error=False).run_id for _ in range(3)]

        def read(**more: Any) -> list[int]:
            return [run_ids.index(run.run_id) for run in instance.get_runs(**more)]

        assert read() == [2, 1, 0]
        assert read(cursor=run_ids[1]) == [0]
        assert read(ascending=True, limit=2) == [0, 1]
        assert read(ascending=True, cursor=run_ids[1]) == [2]
        assert read(cursor=run_ids[0]) == []
        with pytest.raises(InvariantViolationError, match="'other', which is not there, or not any more"):
            read(cursor="other")
        assert instance.has_run(run_ids[0])
        assert not instance.has_run("other")
        record = instance.get_run_record_by_id(run_ids[0])
        assert record is not None
        assert record.run.run_id == run_ids[0]


def test_the_newest_materialization_of_an_asset() -> None:
    with Instance.ephemeral() as instance:
        assert instance.get_latest_materialization_event(AssetKey("table")) is None
        for _ in range(2):
            last = nightly.execute_in_process(instance=instance, raise_on_error=False).run_id
        found = instance.get_latest_materialization_event(AssetKey("table"))
        assert found is not None
        assert (found.run_id, found.job_name) == (last, "nightly")
        assert found.asset_materialization.asset_key == AssetKey("table")


def test_an_instance_of_the_environment_needs_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPGRID_HOME", raising=False)
    with pytest.raises(HomeNotSetError, match=r"OPGRID_HOME.*(Instance\.ephemeral|export|Set)"):
        Instance.get()
    monkeypatch.setenv("OPGRID_HOME", str(tmp_path / "home"))
    with Instance.get() as instance:
        assert instance.home == tmp_path / "home"


def test_a_wiped_instance_has_no_runs() -> None:
    with Instance.ephemeral() as instance:
        for _ in range(3):
            nightly.execute_in_process(instance=instance, raise_on_error=False)
        assert instance.get_runs_count(RunsFilter(statuses=(RunStatus.FAILURE,))) == 3
        instance.wipe()
        assert instance.get_runs_count() == 0


def test_an_instance_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "opgrid.yaml").write_text("broker_url: redis://somewhere:6379/0")
    with Instance.from_config(tmp_path) as instance:
        assert instance.home == tmp_path
        assert instance.broker_url == "redis://somewhere:6379/0"


@op
def idle() -> None: ...


@job
def idles() -> None:
    idle()


@pytest.mark.parametrize("make", [Instance.ephemeral, Instance.local_temp])
def test_tags_are_added_and_runs_ended_from_outside(make: Callable[[], Instance]) -> None:
    with make() as instance:
        done = idles.execute_in_process(instance=instance, tags={"a": "1", "b": "2"})
        instance.add_run_tags(done.run_id, {"b": "3", "c": "4"})
        run = instance.record(done.run_id)
        assert (run.tags["a"], run.tags["b"], run.tags["c"]) == ("1", "3", "4")
        instance.report_run_canceled(run)
        assert instance.record(done.run_id).status is RunStatus.SUCCESS
        with pytest.raises(RunNotFoundError):
            instance.add_run_tags("nothing", {"a": "1"})
        for number, status in enumerate((RunStatus.CANCELED, RunStatus.FAILURE)):
            other = dataclasses.replace(
                run,
                run_id=RunId(str(number)),
                status=RunStatus.STARTED,
                brief=msgspec.structs.replace(run.brief, run_id=RunId(str(number))),
            )
            instance.store.create_run(other, b"p", b"s")
            lease = instance.store.take_lease(other.run_id, "somebody", 1e9)
            assert lease is not None
            report = instance.report_run_canceled if status is RunStatus.CANCELED else instance.report_run_failed
            report(other, "enough")
            assert instance.record(other.run_id).status is status
            with pytest.raises(LeaseLost), instance.store.turn() as turn:
                turn.only_of_owner(other.run_id, lease.epoch)


@pytest.mark.parametrize("make", [Instance.ephemeral, Instance.local_temp])
def test_the_log_of_a_run_by_type_and_from_a_number_on(make: Callable[[], Instance]) -> None:
    with make() as instance:
        run_id = idles.execute_in_process(instance=instance).run_id
        records, cursor, has_more = instance.get_records_for_run(run_id)
        assert [each.event_log_entry for each in records] == instance.all_logs(run_id)
        assert (cursor, has_more) == (records[-1].storage_id, False)
        first, second = records[0].storage_id, records[1].storage_id
        page = instance.get_records_for_run(run_id, cursor=first, limit=1)
        assert (page.records, page.cursor, page.has_more) == ([records[1]], second, True)
        assert instance.get_records_for_run(run_id, cursor=first, limit=0) == ([], first, False)
        assert instance.get_records_for_run(run_id, cursor=second, ascending=False, limit=1).records == [records[-1]]
        of_type = instance.get_records_for_run(run_id, of_type={EventType.STEP_START, EventType.RUN_SUCCESS}).records
        assert [each.event_log_entry.event_type for each in of_type] == [EventType.STEP_START, EventType.RUN_SUCCESS]
        assert len(instance.all_logs(run_id, of_type=EventType.STEP_SUCCESS)) == 1


@pytest.mark.parametrize("make", [Instance.ephemeral, Instance.local_temp])
def test_runs_of_backfills_can_be_left_out(make: Callable[[], Instance]) -> None:
    with make() as instance:
        plain = idles.execute_in_process(instance=instance, tags={"team": "data"}).run_id
        of_backfill = idles.execute_in_process(instance=instance, tags={"opgrid/backfill": "b1", "team": "data"}).run_id
        tags = {"team": "data"}
        assert {run.run_id for run in instance.get_runs(RunsFilter(tags=tags))} == {plain, of_backfill}
        assert {run.run_id for run in instance.get_runs(RunsFilter(tags=tags, exclude_subruns=False))} == {
            plain,
            of_backfill,
        }
        assert [run.run_id for run in instance.get_runs(RunsFilter(tags=tags, exclude_subruns=True))] == [plain]
        assert instance.get_runs_count(RunsFilter(exclude_subruns=True)) == 1


def test_a_run_is_created_and_submitted_once() -> None:
    with Instance.local_temp() as instance:
        made = instance.create_run_for_job(idles, run_id="mine", tags={"a": "b"})
        assert (made.run_id, made.status, made.tags["a"]) == ("mine", RunStatus.NOT_STARTED, "b")
        assert instance.all_logs("mine") == []
        with pytest.raises(RunAlreadyExists):
            instance.create_run_for_job(idles, run_id="mine")
        assert instance.submit_run("mine", workspace=None).status is RunStatus.QUEUED
        assert [event.event_type for event in instance.all_logs("mine")] == [EventType.RUN_ENQUEUED]
        for again in (instance.submit_run, instance.launch_run):
            with pytest.raises(InvariantViolationError, match="not NOT_STARTED any more"):
                again("mine")


def test_a_run_is_created_with_the_arguments_and_in_the_order_of_dagster() -> None:
    with Instance.local_temp() as instance:
        first = instance.create_run_for_job(
            nightly, None, "mine", {}, {"load"}, "NOT_STARTED", {"a": "b"}, "root", "parent", None
        )
        second = instance.create_run_for_job(nightly, None, "other", None, None, None, None, None, None, ["load"])
        assert (first.run_id, first.tags["a"], first.root_run_id, first.parent_run_id) == (
            "mine",
            "b",
            "root",
            "parent",
        )
        assert first.plan != instance.create_run_for_job(nightly).plan
        assert first.plan == instance.create_run_for_job(nightly, op_selection=["load"], tags={"a": "b"}).plan
        assert second.plan == instance.create_run_for_job(nightly, resolved_op_selection={"load"}).plan
        with pytest.raises(InvariantViolationError, match="not as QUEUED. Use submit_run"):
            instance.create_run_for_job(nightly, status=RunStatus.QUEUED)
        with pytest.raises(InvariantViolationError, match="leave out execution_plan"):
            instance.create_run_for_job(nightly, "a plan")  # type: ignore[arg-type]


def test_a_run_that_is_launched_passes_the_queue() -> None:
    with Instance.local_temp() as instance:
        made = instance.create_run_for_job(idles)
        assert instance.launch_run(made.run_id).status is RunStatus.STARTING
        assert [event.event_type for event in instance.all_logs(made.run_id)] == [EventType.RUN_STARTING]


def test_what_cannot_be_submitted_says_why() -> None:
    @job
    def hidden() -> None:
        idle()

    with Instance.local_temp() as instance:
        with pytest.raises(InvalidConfigError):
            instance.create_run_for_job(idles, run_config={"ops": {"other": {}}})
        assert instance.get_runs_count() == 0
        with pytest.raises(RunNotFoundError, match="nowhere"):
            instance.submit_run("nowhere")
        run = instance.create_run_for_job(hidden)
        for start in (instance.submit_run, instance.launch_run):
            with pytest.raises(InvariantViolationError, match="no other process can load its job"):
                start(run.run_id)
        assert instance.record(run.run_id).status is RunStatus.NOT_STARTED
    with Instance.ephemeral() as instance:
        run = instance.create_run_for_job(idles)
        with pytest.raises(InvariantViolationError, match="no service"):
            instance.submit_run(run.run_id)


def test_events_of_many_runs_know_their_jobs_by_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    with Instance.ephemeral() as instance:
        ids = {nightly.execute_in_process(instance=instance, raise_on_error=False).run_id for _ in range(3)}
        whole, asked = instance.store.runs, list[RunsFilter]()

        def runs(wanted: RunsFilter) -> list[RunRecord]:
            asked.append(wanted)
            return whole(wanted)

        monkeypatch.setattr(instance.store, "runs", runs)
        monkeypatch.delattr(type(instance.store), "run")  # one by one
        found = instance.get_event_records(EventRecordsFilter(EventType.STEP_START))
        assert {each.run_id for each in found} == ids
        assert {each.event_log_entry.job_name for each in found} == {"nightly"}
        assert len(asked) == 1


def test_an_entry_of_the_log_knows_the_job_and_does_not_keep_it() -> None:
    with Instance.ephemeral() as instance:
        result = nightly.execute_in_process(instance=instance, raise_on_error=False)
        entries = [
            *instance.all_logs(result.run_id),
            *(each.event_log_entry for each in instance.get_records_for_run(result.run_id).records),
            *(each.event_log_entry for each in instance.get_event_records(EventRecordsFilter(EventType.STEP_START))),
            *result.all_events,
            *result.events_for_node("load"),
        ]
        assert {each.job_name for each in entries} == {"nightly"}
        stored = list(instance.store.read(RunId(result.run_id)))
        assert {each.job_name for each in stored} == {None}
        assert "nightly" not in "".join(map(encode_event, stored))


def test_a_log_that_cannot_be_read_says_where_and_what_to_do(tmp_path: Path) -> None:
    with Instance.from_config(tmp_path) as instance:
        result = nightly.execute_in_process(instance=instance, raise_on_error=False)
        spoil_log(instance.store, result.run_id)
        with pytest.raises(EventLogInvalidForRun, match=rf"{result.run_id}.*entry \d+.*opgrid run delete") as caught:
            instance.all_logs(result.run_id)
        assert caught.value.run_id == result.run_id
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        instance.delete_run(result.run_id)
        assert instance.all_logs(result.run_id) == []


@op
def observe(context: OpExecutionContext) -> None:
    context.log_event(AssetObservation("table", partition="p1"))


@job
def looking() -> None:
    observe()


@pytest.mark.parametrize("ascending", [False, True])
def test_what_was_made_and_how_runs_went_is_fetched_page_by_page(ascending: bool) -> None:
    with Instance.ephemeral() as instance:
        ids = [nightly.execute_in_process(instance=instance, raise_on_error=False).run_id for _ in range(3)]
        ids = ids if ascending else ids[::-1]
        first = instance.fetch_materializations(AssetKey("table"), 2, ascending=ascending)
        assert ([each.run_id for each in first.records], first.has_more) == (ids[:2], True)
        rest = instance.fetch_materializations(AssetKey("table"), 2, first.cursor, ascending)
        assert ([each.run_id for each in rest.records], rest.has_more) == (ids[2:], False)
        assert rest.records[0].event_type is EventType.ASSET_MATERIALIZATION
        end = instance.fetch_materializations(AssetKey("table"), 2, rest.cursor, ascending)
        assert end == ([], rest.cursor, False)
        middle = first.records[1].storage_id
        only = AssetRecordsFilter(AssetKey("table"), before_storage_id=middle + 1, after_storage_id=middle - 1)
        assert [each.storage_id for each in instance.fetch_materializations(only, 5).records] == [middle]
        with pytest.raises(InvariantViolationError, match="no cursor"):
            instance.fetch_materializations(only, 5, "a")


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        (lambda by, key: by.fetch_materializations("table", 1), r"Write AssetKey\('table'\)"),
        (lambda by, key: by.fetch_observations(None, 1), "is of one asset"),
        (lambda by, key: by.fetch_materializations(AssetRecordsFilter(key, "p1"), 1), r"Write \['p1'\]"),
        (lambda by, key: by.has_asset_key("table"), r"Write AssetKey\('table'\)"),
        (lambda by, key: EventRecordsFilter(EventType.ASSET_MATERIALIZATION, key, "p1"), r"Write \['p1'\]"),
        (lambda by, key: by.fetch_run_status_changes("PIPELINE_START", 1), "no change of a run's status"),
        (
            lambda by, key: RunStatusChangeRecordsFilter(EventType.RUN_START, job_names="looking"),
            r"job_names is a list; it is the text 'looking'. Write \['looking'\]",
        ),
    ],
)
def test_what_is_asked_for_in_another_form_is_refused(fetch: Any, words: str) -> None:
    with Instance.ephemeral() as instance, pytest.raises(InvariantViolationError, match=words):
        fetch(instance, AssetKey("table"))


def test_changes_of_status_are_fetched_of_some_jobs() -> None:
    with Instance.ephemeral() as instance:
        seen = [looking.execute_in_process(instance=instance).run_id for _ in range(3)]
        failed = nightly.execute_in_process(instance=instance, raise_on_error=False).run_id
        changes = instance.fetch_run_status_changes(EventType.RUN_FAILURE, 5)
        assert [each.run_id for each in changes.records] == [failed]
        several = [nightly.execute_in_process(instance=instance, raise_on_error=False).run_id for _ in range(2)]
        started = RunStatusChangeRecordsFilter(EventType.RUN_START, job_names=["looking"])
        last = instance.fetch_run_status_changes(started, 1)  # the newest are all of another job
        assert ([each.run_id for each in last.records], last.has_more) == (seen[2:], True)
        rest = instance.fetch_run_status_changes(started, 5, last.cursor)
        assert ([each.run_id for each in rest.records], rest.has_more) == ([seen[1], seen[0]], False)
        assert several[0] not in {each.run_id for each in rest.records}
        with pytest.raises(InvariantViolationError, match="no change of a run's status"):
            instance.fetch_run_status_changes(EventType.STEP_START, 1)
        (looked, *_) = instance.fetch_observations(AssetRecordsFilter(AssetKey("table"), ["p1"]), 1).records
        assert looked.asset_observation is not None and looked.partition_key == "p1"
        assert instance.has_asset_key(AssetKey("table")) and not instance.has_asset_key(AssetKey("chair"))
