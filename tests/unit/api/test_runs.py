"""Runs by way of GraphQL: launched, read, filtered, ended."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from opgrid.contracts.events import (
    EventType,
    LogMessage,
    RunStarted,
    RunSucceeded,
    StepDispatched,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.status import RunStatus
from opgrid.errors import RunNotFoundError
from opgrid.ids import RunId, StepKey
from opgrid.io.kept import storage_of
from orchestrator.api.access import Role, Viewer
from orchestrator.api.backend import Asking
from orchestrator.api.graphql.events import DagsterEventType
from orchestrator.api.graphql.launching import LAUNCHES
from orchestrator.api.graphql.run_queries import RunsFilterInput
from orchestrator.api.graphql.runs import PAGE, EventsFilterInput, runs_of
from orchestrator.api.graphql.schema import schema
from orchestrator.cli.audit import audited
from orchestrator.planner.plan import Plan
from orchestrator.services.removal import Removal
from orchestrator.storage.records import RunsFilter
from orchestrator.storage.sql.store import SqlStore
from tests.unit.api.conftest import LAUNCH, PLACE, Api

SELECTOR = {"repositoryLocationName": PLACE, "jobName": "adding"}
ROWS = """
query ($filter: RunsFilter0, $cursor: String, $limit: Int) {
  runsOrError(filter: $filter, cursor: $cursor, limit: $limit) {
    __typename
    ... on Runs { count results { runId status executor stepCounts whyWaiting tags { key value } canTerminate } }
    ... on PythonError { message }
  }
}
""".replace("RunsFilter0", "RunsFilter")

JOB_ROWS = """
query ($cursor: String) {
  pipelineOrError(params: {pipelineName: "adding", repositoryLocationName: "PLACE"}) {
    ... on Job { runs(cursor: $cursor) { runId } }
  }
}
""".replace("PLACE", PLACE)
IDS = """
query ($cursor: String) {
  runIdsOrError(cursor: $cursor) { ... on RunIds { results } ... on PythonError { message } }
}
"""


def drive(api: Api, run_id: str, status: RunStatus = RunStatus.SUCCESS) -> None:
    """As if a coordinator had driven it."""
    of = RunId(run_id)
    with api.store.turn() as turn:
        turn.append(
            of,
            [
                RunStarted(run_id=of, at=1.0),
                StepDispatched(run_id=of, at=1.0, step=StepKey("numbers"), attempt=1),
                StepStarted(run_id=of, at=2.0, step=StepKey("numbers"), attempt=1, worker="w1", pid=3),
                StepSucceeded(run_id=of, at=3.5, step=StepKey("numbers"), attempt=1, seconds=1.5),
                RunSucceeded(run_id=of, at=4.0),
            ],
        )
        turn.set_status(of, RunStatus.STARTED, 1.0)
        turn.set_status(of, status, 4.0)


def test_what_is_launched_is_queued_with_its_tags_and_config(any_api: Api) -> None:
    run_id = any_api.launch(
        config="ops: {numbers: {config: {n: 2}}}",
        executionMetadata={"tags": [{"key": "who", "value": "me"}]},
    )
    record = any_api.store.run(run_id)
    assert record is not None and record.status is RunStatus.QUEUED
    assert record.tags == {"team": "sums", "who": "me"}
    assert record.run_config["ops"]["numbers"] == {"config": {"n": 2}}
    (row,) = any_api(ROWS)["runsOrError"]["results"]
    assert row["runId"] == run_id and row["executor"] == "in_process" and row["canTerminate"]
    assert row["whyWaiting"].startswith("No orchestrator runs.")


def test_runs_are_found_by_location_and_by_when_they_were_created_or_updated(any_api: Api) -> None:
    run_id = any_api.launch(executionMetadata={"tags": [{"key": "who", "value": "me"}]})
    made = any_api.store.run(run_id)
    assert made is not None
    between = made.created + 10.0
    with any_api.store.turn() as turn:
        turn.set_status(RunId(run_id), RunStatus.STARTED, made.created + 20.0)

    def found(**wanted: Any) -> bool:
        return bool(any_api(ROWS, filter=wanted)["runsOrError"]["results"])

    assert found(createdBefore=between) and not found(createdAfter=between)
    assert found(updatedAfter=between) and not found(updatedBefore=between)
    assert found(jobName="adding", repositoryLocationName=PLACE)
    assert not found(jobName="adding", repositoryLocationName="elsewhere.py")
    tags = [{"key": "who", "value": "you"}, {"key": "who", "value": "me"}]
    assert found(tags=tags) and not found(tags=tags[:1])


def test_a_filter_that_names_more_than_a_database_takes_is_refused(any_api: Api) -> None:
    run_id = any_api.launch()

    def refused(**filter: Any) -> str:
        result = any_api.raw(ROWS, filter=filter)
        return result.errors[0].message if result.errors else ""

    tags = [{"key": f"k{number}", "value": "v"} for number in range(101)]
    assert not refused(tags=tags[1:]) and "at most 100 tags" in refused(tags=tags)
    ids = [f"{number:08x}" for number in range(1001)]
    assert not refused(runIds=ids[1:]) and "at most 1,000 runs" in refused(runIds=ids)
    text = "\N{GRINNING FACE}%_\\" * 2_500
    assert any_api(LOGS, id=run_id, filter={"text": text})["logsForRun"]["events"] == []
    assert "At most 10,000 characters" in any_api.raw(LOGS, id=run_id, filter={"text": text + "x"}).errors[0].message


def test_names_that_are_longer_than_a_database_looks_for_are_refused(any_api: Api) -> None:
    run_id = any_api.launch(executionMetadata={"tags": [{"key": "team", "value": "data"}]})
    drive(any_api, run_id)
    for query, variables in (
        (LOGS, {"id": run_id, "filter": {"stepKey": "x" * 60_000}}),
        ("query ($key: [String!]!) { capturedLogs(logKey: $key) { cursor } }", {"key": [run_id, "x" * 60_000]}),
        ("query ($like: String) { runTagsOrError(valuePrefix: $like) { __typename } }", {"like": "x" * 60_000}),
    ):
        (error,) = any_api.raw(query, **variables).errors
        assert error.message == "At most 10,000 characters can be looked for, not 60,000."


def test_what_a_filter_names_again_and_again_is_asked_for_once() -> None:
    runs = RunsFilterInput(statuses=[RunStatus.FAILURE, RunStatus.SUCCESS] * 3).record()
    assert runs.statuses == (RunStatus.FAILURE, RunStatus.SUCCESS)
    kinds = [DagsterEventType("LOG_MESSAGE"), DagsterEventType("STEP_START")]
    assert EventsFilterInput(types=kinds * 3).record().types == (EventType.LOG_MESSAGE, EventType.STEP_START)


def test_config_that_does_not_fit_comes_back_with_each_path(api: Api) -> None:
    params = {"selector": SELECTOR, "runConfigData": {"ops": {"numbers": {"config": {"n": "x", "m": 1}}}}}
    answer = api(LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "RunConfigValidationInvalid"
    assert {tuple(each["path"]): each["reason"] for each in answer["errors"]} == {
        ("ops", "numbers", "config", "n"): "RUNTIME_TYPE_MISMATCH",
        ("ops", "numbers", "config", "m"): "FIELD_NOT_DEFINED",
    }
    assert api.store.count() == 0


def test_more_runs_than_are_taken_at_a_time_are_refused_as_a_whole(api: Api) -> None:
    one = {"selector": {"repositoryLocationName": PLACE, "jobName": "adding"}}
    launching = """mutation ($all: [ExecutionParams!]!) { answer: launchMultipleRuns(executionParamsList: $all) {
      __typename ... on Error { message } } }"""
    answer = api(launching, all=[one] * (LAUNCHES + 1))["answer"]
    assert answer["__typename"] == "PythonError" and "At most 100 runs" in answer["message"]
    assert api.store.count(RunsFilter()) == 0
    ending = """mutation ($all: [String!]!) { answer: terminateRuns(runIds: $all) {
      __typename ... on Error { message } } }"""
    answer = api(ending, all=["x"] * (PAGE + 1))["answer"]
    assert answer["__typename"] == "PythonError" and "1,001 are" in answer["message"]


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"selector": {**SELECTOR, "jobName": "nojob"}}, "PipelineNotFoundError", "has no job 'nojob'"),
        (
            {"selector": {"repositoryLocationName": "x", "jobName": "y"}},
            "PipelineNotFoundError",
            "no code location 'x'",
        ),
        ({"runConfigData": "a: [1"}, "RunConfigValidationInvalid", ""),
        ({"runConfigData": "[1]"}, "RunConfigValidationInvalid", ""),
        ({"runConfigData": "ops: &o {numbers: *o}"}, "RunConfigValidationInvalid", ""),
        ({"runConfigData": "ops: {numbers: {config: {n: 2026-02-30}}}"}, "RunConfigValidationInvalid", ""),
        ({"selector": {**SELECTOR, "solidSelection": ["nope"]}}, "InvalidSubsetError", "matches no step"),
        ({"preset": "p"}, "PresetNotFoundError", "Presets"),
        ({"executor": "nope"}, "PythonError", "nope"),
    ],
)
def test_what_cannot_be_launched_says_why(api: Api, changed: dict[str, Any], kind: str, said: str) -> None:
    answer = api(LAUNCH, params={"selector": SELECTOR, **changed})["launchRun"]
    assert answer["__typename"] == kind
    assert said in answer.get("message", "")
    assert api.store.count() == 0


def test_runs_are_found_by_status_job_tag_and_id_page_by_page(any_api: Api) -> None:
    ids = [any_api.launch(executionMetadata={"tags": [{"key": "n", "value": str(each % 2)}]}) for each in range(5)]
    drive(any_api, ids[0])

    def found(**filter: Any) -> list[str]:
        return [row["runId"] for row in any_api(ROWS, filter=filter)["runsOrError"]["results"]]

    assert found(statuses=["SUCCESS"]) == [ids[0]]
    assert found(tags=[{"key": "n", "value": "1"}]) == [ids[3], ids[1]]
    assert found(tags=[{"key": "n", "value": "1"}, {"key": "team", "value": "sums"}]) == [ids[3], ids[1]]
    assert found(tags=[{"key": "n", "value": "7"}]) == []
    assert found(runIds=[ids[2]]) == [ids[2]]
    assert found(jobName="daily") == []
    assert found(createdAfter=time.time() + 5) == []
    first = any_api(ROWS, limit=2)["runsOrError"]
    assert first["count"] == 5
    second = any_api(ROWS, limit=2, cursor=first["results"][-1]["runId"])["runsOrError"]
    assert [row["runId"] for row in second["results"]] == [ids[2], ids[1]]
    for gone in (ROWS, JOB_ROWS, IDS):
        told = any_api.raw(gone, cursor="gone")
        said = told.errors[0].message if told.errors else next(iter(told.data.values()))["message"]
        assert said == "The list cannot go on behind run 'gone', which is not there, or not any more. Begin it anew."
    none = any_api(ROWS, limit=0)["runsOrError"]
    assert (none["count"], none["results"]) == (5, [])
    keys = any_api("{ runTagKeysOrError { ... on RunTagKeys { keys } } }")["runTagKeysOrError"]["keys"]
    assert keys == ["n", "team"]
    tags = any_api('{ runTagsOrError(tagKeys: ["n"]) { ... on RunTags { tags { key values } } } }')["runTagsOrError"]
    assert tags == {"tags": [{"key": "n", "values": ["0", "1"]}]}


def test_a_page_of_runs_takes_the_same_few_statements_however_many_there_are(any_api: Api) -> None:
    def statements(count: int) -> int:
        seen: list[str] = []
        store = any_api.store
        assert isinstance(store, SqlStore)

        def tell(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            seen.append(statement)

        event.listen(store._engine, "before_cursor_execute", tell)
        rows = any_api(ROWS.replace("whyWaiting", ""), limit=count)["runsOrError"]["results"]
        event.remove(store._engine, "before_cursor_execute", tell)
        assert len(rows) == count
        return len([each for each in seen if each.startswith("SELECT runs") or "FROM" in each])

    for _ in range(12):
        any_api.launch()
    assert statements(12) == statements(2) <= 4


def test_the_timeline_tells_waits_and_attempts_and_then_only_what_changed(any_api: Api) -> None:
    run_id = any_api.launch()
    drive(any_api, run_id)
    query = "query ($id: ID!, $after: Int!) { runOrError(runId: $id) { ... on Run { timeline(after: $after) plan } } }"
    run = any_api(query, id=run_id, after=0)["runOrError"]
    assert run["timeline"]["steps"] == [
        {"key": "numbers", "node": "numbers", "status": "SUCCESS", "spans": [[1, 1.0, 2.0, 3.5, "SUCCESS", "w1"]]}
    ]
    assert [(step["key"], step.get("mapped", 0)) for step in run["plan"]["steps"]] == [
        ("numbers", 0),
        ("check", 1),
        ("total", 0),
    ]
    assert run["plan"]["steps"][2]["needs"] == [
        {"step": "check", "output": "result", "delivery": "collected", "input": "numbers"}
    ]
    again = any_api(query, id=run_id, after=run["timeline"]["last"])["runOrError"]["timeline"]
    assert again == {"last": run["timeline"]["last"], "steps": []}
    query = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { timeline(brief: true) } } }"
    brief = any_api(query, id=run_id)["runOrError"]["timeline"]
    assert brief["statuses"][brief["steps"][0][2]] == "SUCCESS"
    assert {**brief, "statuses": []} == {
        "last": run["timeline"]["last"],
        "start": 1.0,
        "nodes": ["numbers"],
        "workers": ["w1"],
        "statuses": [],
        "steps": [[0, "", brief["steps"][0][2], 1, 0, 1_000_000, 2_500_000, brief["steps"][0][2], 0]],
    }


LOGS = """
query ($id: ID!, $after: String, $limit: Int, $filter: EventsFilterInput) {
  logsForRun(runId: $id, afterCursor: $after, limit: $limit, filter: $filter) {
    __typename
    ... on EventConnection { cursor hasMore events { __typename ... on MessageEvent { stepKey level message } } }
  }
}
"""


def test_events_are_read_by_page_kind_step_and_text(any_api: Api) -> None:
    run_id = any_api.launch()
    drive(any_api, run_id)

    def names(**given: Any) -> list[str]:
        return [each["__typename"] for each in any_api(LOGS, id=run_id, **given)["logsForRun"]["events"]]

    assert names()[:2] == ["RunEnqueuedEvent", "RunStartEvent"]
    assert names(filter={"stepKey": "numbers", "types": ["STEP_SUCCESS"]}) == ["ExecutionStepSuccessEvent"]
    assert names(filter={"text": "W1"}) == ["ExecutionStepStartEvent"]
    assert names(filter={"level": "ERROR"}) == []
    first = any_api(LOGS, id=run_id, limit=2)["logsForRun"]
    assert first["hasMore"] and len(first["events"]) == 2
    rest = any_api(LOGS, id=run_id, after=first["cursor"])["logsForRun"]
    assert not rest["hasMore"] and rest["events"][-1]["__typename"] == "RunSuccessEvent"
    assert any_api(LOGS, id="nope")["logsForRun"]["__typename"] == "RunNotFoundError"


def test_one_question_reads_so_many_events_and_no_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = api.launch()
    drive(api, run_id)
    monkeypatch.setattr("orchestrator.api.graphql.runs.MOST_EVENTS", 6)  # as many as the run has
    asked = "query ($id: ID!) {" + " ".join(
        f"_{number}: runOrError(runId: $id) {{ ... on Run {{ eventConnection(limit: 3) {{ cursor }} }} }}"
        for number in range(3)
    )
    answer = api.raw(asked + "}", id=run_id)
    assert answer.data is None
    (error,) = answer.errors
    assert error.path[0] == "_2"
    assert error.message == "One question reads 6 events at most. Ask for fewer runs, or pages, at a time."
    assert len(api(LOGS, id=run_id)["logsForRun"]["events"]) == 6  # of the next question


def test_timelines_count_as_the_events_that_they_are_made_of(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = api.launch()
    drive(api, run_id)
    monkeypatch.setattr("orchestrator.api.graphql.runs.MOST_EVENTS", 6)
    asked = " ".join(f"_{number}: runOrError(runId: $id) {{ ... on Run {{ timeline }} }}" for number in range(3))
    answer = api.raw(f"query ($id: ID!) {{ {asked} }}", id=run_id)
    (error,) = answer.errors
    assert error.path[0] == "_2"
    assert error.message.startswith("One question reads 6 events at most.")


@pytest.mark.parametrize("asked", ["stepStats { stepKey }", "plan", "executionPlan { stepKeys }"])
def test_steps_count_as_events(api: Api, monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    for _ in range(3):
        drive(api, api.launch())
    question = f"{{ runsOrError {{ ... on Runs {{ results {{ {asked} }} }} }} }}"
    of_one = 1 if "Stats" in asked else len(steps_of_plan(api))
    monkeypatch.setattr("orchestrator.api.graphql.runs.MOST_EVENTS", 2 * of_one + 1)
    assert len(api(question)["runsOrError"]["results"]) == 3
    monkeypatch.setattr("orchestrator.api.graphql.runs.MOST_EVENTS", 2 * of_one)
    (error,) = api.raw(question).errors
    assert error.path == ["runsOrError", "results", 2, asked.partition(" ")[0]]
    assert error.message.startswith(f"One question reads {2 * of_one} events at most.")


def steps_of_plan(api: Api) -> list[Any]:
    (run, *_) = api.store.runs()
    return list(Plan.from_json(api.store.content(run.plan)).steps)


def test_steps_and_plans_of_many_runs_are_read_a_part_at_a_time(any_api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        drive(any_api, any_api.launch(config={"ops": {"numbers": {"config": {"n": number}}}}))
    monkeypatch.setattr("orchestrator.api.graphql.runs._STEPS_AT_ONCE", 2)
    monkeypatch.setattr("orchestrator.api.graphql.runs._PLANS_AT_ONCE", 1)
    asked = "{ runsOrError { ... on Runs { results { runId stepStats { stepKey runId } plan allPools } } } }"
    steps, plans = [], []
    steps_of, contents = any_api.store.steps_of, any_api.store.contents
    monkeypatch.setattr(any_api.store, "steps_of", lambda ids, *more: (steps.append(len(ids)), steps_of(ids, *more))[1])
    monkeypatch.setattr(
        any_api.store, "contents", lambda hashes: (plans.append(len(list(hashes))), contents(hashes))[1]
    )
    results = any_api(asked)["runsOrError"]["results"]
    assert [[step["runId"] for step in run["stepStats"]] for run in results] == [[run["runId"]] for run in results]
    assert all(run["plan"]["steps"] for run in results)
    assert (steps, plans) == ([2, 1], [1, 1, 1])


def test_a_part_is_read_once_by_whoever_begins_at_the_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of ticks, of backfills and of what is terminated are told in another order than they are read in."""
    for number in range(4):
        drive(api, api.launch(config={"ops": {"numbers": {"config": {"n": number}}}}))
    records = api.store.runs()
    longest = max(api.store.content_lengths(record.plan for record in records).values())
    monkeypatch.setattr("orchestrator.api.graphql.runs._STEPS_AT_ONCE", 2)
    monkeypatch.setattr("orchestrator.api.graphql.runs._PLANS_AT_ONCE", 2 * longest)
    read: list[int] = []
    steps_of, contents = api.store.steps_of, api.store.contents
    monkeypatch.setattr(api.store, "steps_of", lambda ids: (read.append(len(ids)), steps_of(ids))[1])
    monkeypatch.setattr(api.store, "contents", lambda hashes: (read.append(len(hashes)), contents(hashes))[1])
    backwards = runs_of(api.backend, records)[::-1]
    steps = [run.batch.steps(run.record.run_id) for run in backwards]
    plans = [run.plan_ for run in backwards]
    assert read == [2, 2, 2, 2]
    assert steps == [api.store.steps(run.record.run_id) for run in backwards]
    assert plans == [Plan.from_json(api.store.content(run.record.plan)) for run in backwards]


def test_each_message_of_a_connection_may_read_as_many(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = api.launch()
    drive(api, run_id)
    monkeypatch.setattr("orchestrator.api.graphql.runs.MOST_EVENTS", 6)
    connection = Asking(api.backend, api.viewer)
    asked = """subscription ($id: ID!) { pipelineRunLogs(runId: $id) {
      ... on PipelineRunLogsSubscriptionSuccess { run { eventConnection { events { __typename } } } }
    } }"""

    async def read() -> list[Any]:
        found: list[Any] = []
        for _ in range(2):
            messages: Any = await schema.subscribe(asked, {"id": run_id}, connection)
            found += [message async for message in messages]
        return found

    with closing(api.backend.heart):
        answers = asyncio.run(read())
    assert [each.errors for each in answers] == [None, None]
    assert [len(each.data["pipelineRunLogs"]["run"]["eventConnection"]["events"]) for each in answers] == [6, 6]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_page_without_room_has_no_next_one(any_api: Api, limit: int) -> None:
    run_id = any_api.launch()
    drive(any_api, run_id)
    at = any_api(LOGS, id=run_id, limit=1)["logsForRun"]["cursor"]
    for chosen in {}, {"filter": {"level": "ERROR"}}:
        page = any_api(LOGS, id=run_id, limit=limit, after=at, **chosen)["logsForRun"]
        assert (page["events"], page["hasMore"], page["cursor"]) == ([], False, at)


@pytest.mark.parametrize("levels", [[40, 40, 40, 40], [10, 40, 40, 10, 10, 40, 40, 10, 40]])
def test_pages_of_a_level_lose_nothing(any_api: Api, levels: list[int]) -> None:
    run_id = RunId(any_api.launch())
    lines = [LogMessage(run_id=run_id, at=1.0, message=f"line {n}", level=level) for n, level in enumerate(levels)]
    with any_api.store.turn() as turn:
        turn.append(run_id, lines)
    for limit in range(1, len(levels) + 3):
        found: list[str] = []
        after, more = None, True
        while more:
            page = any_api(LOGS, id=run_id, limit=limit, after=after, filter={"level": "ERROR"})["logsForRun"]
            assert len(page["events"]) <= limit
            found += [each["message"] for each in page["events"]]
            after, more = page["cursor"], page["hasMore"]
        assert found == [line.message for line in lines if line.level == 40]


TERMINATE = """
mutation ($id: String!, $policy: TerminateRunPolicy) {
  terminateRun(runId: $id, terminatePolicy: $policy) {
    __typename
    ... on TerminateRunSuccess { run { status } }
    ... on TerminateRunFailure { message }
    ... on Error { message }
  }
}
"""


def test_a_run_is_canceled_once(any_api: Api) -> None:
    run_id = any_api.launch()
    assert any_api(TERMINATE, id=run_id)["terminateRun"]["run"]["status"] == "CANCELED"
    again = any_api(TERMINATE, id=run_id)["terminateRun"]
    assert again["__typename"] == "TerminateRunFailure" and "has ended already" in again["message"]
    assert any_api(TERMINATE, id="nope")["terminateRun"]["__typename"] == "RunNotFoundError"


def test_a_run_that_goes_on_can_be_marked_as_canceled_at_once(any_api: Api) -> None:
    run_id = any_api.launch()
    with any_api.store.turn() as turn:
        turn.set_status(RunId(run_id), RunStatus.STARTED, 1.0)
    any_api(TERMINATE, id=run_id, policy="MARK_AS_CANCELED_IMMEDIATELY")
    record = any_api.store.run(run_id)
    assert record is not None and record.status is RunStatus.CANCELED


DELETE = "mutation ($id: String!) { deleteRun(runId: $id) { __typename ... on Error { message } } }"


def test_only_a_run_that_has_ended_is_deleted(any_api: Api, tmp_path: Path) -> None:
    run_id = any_api.launch()
    answer = any_api(DELETE, id=run_id)["deleteRun"]
    assert answer["__typename"] == "PythonError" and "End it first" in answer["message"]
    drive(any_api, run_id)
    any_api.backend.removal = Removal(any_api.store, tmp_path)
    kept = storage_of(tmp_path / "storage", run_id)
    kept.mkdir(parents=True)
    assert any_api(DELETE, id=run_id)["deleteRun"]["__typename"] == "DeletePipelineRunSuccess"
    assert any_api(DELETE, id=run_id)["deleteRun"]["__typename"] == "RunNotFoundError"
    assert any_api.store.tag_keys() == []
    assert not kept.exists()


AGAIN = """
mutation ($params: ExecutionParams, $how: ReexecutionParams) {
  launchRunReexecution(executionParams: $params, reexecutionParams: $how) {
    __typename
    ... on LaunchRunSuccess { run { runId parentRunId rootRunId tags { key value } } }
    ... on Error { message }
  }
}
"""


def test_a_run_is_run_again_and_its_family_is_found(any_api: Api) -> None:
    first = any_api.launch()
    drive(any_api, first, RunStatus.FAILURE)
    how = {"parentRunId": first, "strategy": "FROM_FAILURE", "extraTags": [{"key": "x", "value": "y"}]}
    answer = any_api(AGAIN, how=how)["launchRunReexecution"]["run"]
    assert (answer["parentRunId"], answer["rootRunId"]) == (first, first)
    assert {"key": "x", "value": "y"} in answer["tags"]
    drive(any_api, answer["runId"])
    refused = any_api(AGAIN, how={"parentRunId": answer["runId"], "strategy": "FROM_FAILURE"})["launchRunReexecution"]
    assert refused["__typename"] == "PythonError" and "did not fail" not in refused["message"]
    query = "query ($id: ID!) { runGroupOrError(runId: $id) { ... on RunGroup { rootRunId runs { runId } } } }"
    group = any_api(query, id=answer["runId"])["runGroupOrError"]
    assert group == {"rootRunId": first, "runs": [{"runId": first}, {"runId": answer["runId"]}]}


def test_what_came_of_it_is_kept_alike_from_the_web_and_the_command_line(api: Api) -> None:
    assert api(DELETE, id="none")["deleteRun"]["__typename"] == "RunNotFoundError"
    with suppress(RunNotFoundError), audited(api.store, "deleteRun", "none"):
        raise RunNotFoundError("run", "none", ())
    run_id = api.launch()
    assert api(DELETE, id=run_id)["deleteRun"]["__typename"] == "PythonError"  # it goes on
    with audited(api.store, "launchRun", "adding"):
        pass
    with suppress(KeyboardInterrupt), audited(api.store, "launchRun", "adding"):
        raise KeyboardInterrupt
    assert [(each.action, each.outcome) for each in reversed(api.store.audit())] == [
        ("deleteRun", "RunNotFoundError"),
        ("deleteRun", "RunNotFoundError"),
        ("launchRun", "done"),
        ("deleteRun", "InvariantViolationError"),
        ("launchRun", "done"),
        ("launchRun", "KeyboardInterrupt"),
    ]


def test_who_may_not_is_told_and_the_attempt_is_kept(api: Api) -> None:
    api.viewer = Viewer("guest", Role.VIEWER)
    answer = api(LAUNCH, params={"selector": SELECTOR})["launchRun"]
    assert answer == {"__typename": "UnauthorizedError", "message": "guest has the role viewer; this needs launcher."}
    api.viewer = Viewer("ci", Role.LAUNCHER)
    run_id = api.launch()
    assert api(DELETE, id=run_id)["deleteRun"]["__typename"] == "UnauthorizedError"
    audit = api("{ audit { who action about outcome } }")["audit"]
    assert [tuple(entry.values()) for entry in audit] == [
        ("ci", "deleteRun", run_id, "UnauthorizedError"),
        ("ci", "launchRun", "adding", "done"),
        ("guest", "launchRun", "adding", "UnauthorizedError"),
    ]
    assert api.store.count() == 1
