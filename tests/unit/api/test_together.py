"""Lists are read together: how many statements they take does not depend on how many rows they have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import event

from opgrid.contracts.events import LogMessage, StepDispatched, StepStarted
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.ids import RunId, StepKey
from orchestrator.engine.gates import Gate
from orchestrator.locations.location import Location
from orchestrator.services.automation import new_state
from orchestrator.storage.service_records import InstigatorKind, NewRun, Tick, TickStatus
from orchestrator.storage.sql.store import SqlStore
from tests.unit.api.conftest import PLACE, Api
from tests.unit.api.test_jobs import BACKFILL, of_daily
from tests.unit.api.test_runs import LOGS, drive


@contextmanager
def statements(api: Api) -> Iterator[list[str]]:
    """Those that the database is asked meanwhile."""
    assert isinstance(api.store, SqlStore)
    seen: list[str] = []

    def tell(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement != "BEGIN":
            seen.append(statement)

    event.listen(api.store._engine, "before_cursor_execute", tell)
    try:
        yield seen
    finally:
        event.remove(api.store._engine, "before_cursor_execute", tell)


def taken(api: Api, query: str, **variables: Any) -> int:
    with statements(api) as seen:
        api(query, **variables)
    return len(seen)


RUNS = """query ($limit: Int) { runsOrError(limit: $limit) { ... on Runs { results {
  runId status tags { key value } stepCounts whyWaiting canTerminate plan executionPlan { stepKeys } allPools
  solidSelection hasConcurrencyKeySlots approvals { question } stats { stepsSucceeded materializations }
  stepStats { stepKey status } repositoryOrigin { id }
} } } }"""


def test_runs_with_everything_that_a_list_may_show(any_api: Api) -> None:
    for _ in range(8):
        drive(any_api, any_api.launch())
    for _ in range(4):
        any_api.launch()
    assert taken(any_api, RUNS, limit=12) == taken(any_api, RUNS, limit=2)


def test_jobs_with_their_latest_runs(any_api: Api) -> None:
    query = """query ($limit: Int) { repositoriesOrError { ... on RepositoryConnection { nodes { jobs {
      name runs(limit: $limit) { runId status stepCounts } } } } } }"""
    many = [any_api.launch() for _ in range(6)]
    one = any_api.launch("daily", partitionKey="2026-01-01")
    (node,) = any_api(query, limit=4)["repositoriesOrError"]["nodes"]
    found = {job["name"]: [run["runId"] for run in job["runs"]] for job in node["jobs"]}
    assert found == {"adding": many[:1:-1], "daily": [one]}
    assert taken(any_api, query, limit=4) <= 2


@pytest.fixture
def crowded(new_api: Callable[[str], Api], database_url: str, location: Location) -> Iterator[Api]:
    """Ten schedules and ten sensors, each with ticks that launched runs."""
    api, before = new_api(database_url), location.info
    schedule, sensor = before.schedules[0], before.sensors[0]
    names = [str(number) for number in range(10)]
    location.info = type(before)(
        before.name,
        before.jobs,
        tuple(type(schedule)(f"hourly{name}", schedule.cron, schedule.zone, schedule.jobs) for name in names),
        tuple(type(sensor)(f"watching{name}", sensor.interval, sensor.jobs) for name in names),
    )
    for info in (*location.info.schedules, *location.info.sensors):
        state = new_state(PLACE, info)
        for number in range(3):
            run_id, at = api.launch(), time.time() + number
            tick = Tick(PLACE, info.name, state.kind, at, TickStatus.SUCCESS, at, (run_id,))
            after = replace(state, ticked=at, completed=at)
            assert api.store.commit_tick(tick, state, after) is not None
            state = after
    yield api
    location.info = before


TICKS = "status ticks(limit: 2) { id status runIds } runs(limit: 2) { runId stepCounts }"
AUTOMATION = f"""{{
  schedulesOrError {{ ... on Schedules {{ results {{ name scheduleState {{ {TICKS} }} }} }} }}
  sensorsOrError {{ ... on Sensors {{ results {{ name sensorState {{ {TICKS} }} }} }} }}
}}"""


def test_schedules_and_sensors_with_their_ticks_and_runs(crowded: Api) -> None:
    with statements(crowded) as seen:
        found = crowded(AUTOMATION)
    assert len(seen) <= 10  # for twenty rows: states, ticks of two lengths, runs and their steps, of each kind
    shown = found["sensorsOrError"]["results"][7]
    assert shown["name"] == "watching7"
    last, before = crowded.store.ticks(PLACE, "watching7", 2)
    assert [tick["runIds"] for tick in shown["sensorState"]["ticks"]] == [list(last.run_ids), list(before.run_ids)]
    assert [run["runId"] for run in shown["sensorState"]["runs"]] == [*last.run_ids, *before.run_ids]
    assert last.kind is InstigatorKind.SENSOR


def test_backfills_with_their_partitions_and_runs(any_api: Api) -> None:
    query = """query ($limit: Int) { partitionBackfillsOrError(limit: $limit) { ... on PartitionBackfills { cursor
      results { id partitionStates numCancelable runs(limit: 3) { runId stepCounts } } } } }"""
    ids = []
    for number in range(5):
        keys = [f"2026-01-0{number + 1}"]
        ids.append(any_api(BACKFILL, params=of_daily(partitionNames=keys))["launchPartitionBackfill"]["backfillId"])
    page = any_api(query, limit=2)["partitionBackfillsOrError"]
    assert [each["id"] for each in page["results"]] == [ids[4], ids[3]] and page["cursor"] == ids[3]
    older = query.replace("limit: $limit", f'limit: $limit, cursor: "{page["cursor"]}"')
    assert [each["id"] for each in any_api(older, limit=5)["partitionBackfillsOrError"]["results"]] == ids[2::-1]
    assert taken(any_api, query, limit=5) == taken(any_api, query, limit=2) <= 4
    assert any_api(query, limit=0)["partitionBackfillsOrError"] == {"cursor": None, "results": []}


def test_no_run_of_a_backfill_is_read_where_none_is_asked_for(any_api: Api) -> None:
    made = any_api(BACKFILL, params=of_daily(partitionNames=["2026-01-01"]))["launchPartitionBackfill"]["backfillId"]
    (backfill,) = any_api.store.backfills(backfill_id=made)
    run = any_api.store.run(any_api.launch("daily", partitionKey="2026-01-01"))
    assert run is not None
    of_it = replace(run, run_id=RunId("of-it"))
    any_api.store.launch([NewRun(of_it, b"plan", b"snapshot", origin=backfill.origin, key="2026-01-01")])
    query = """query ($limit: Int) { partitionBackfillsOrError { ... on PartitionBackfills {
      results { runs(limit: $limit) { runId } } } } }"""
    for limit, found in ((1, [{"runId": "of-it"}]), (0, [])):
        (shown,) = any_api(query, limit=limit)["partitionBackfillsOrError"]["results"]
        assert shown["runs"] == found


def test_approvals_of_many_runs(any_api: Api) -> None:
    query = (
        """query ($limit: Int) { runsOrError(limit: $limit) { ... on Runs { results { approvals { question } } } } }"""
    )
    for number in range(6):
        run_id = RunId(any_api.launch())
        any_api.store.open_gates([Gate(run_id, StepKey("numbers"), f"Shall it {number}?", 1.0)])
    assert taken(any_api, query, limit=6) == taken(any_api, query, limit=2)
    shown = any_api(query, limit=1)["runsOrError"]["results"]
    assert shown == [{"approvals": [{"question": "Shall it 5?"}]}]


def test_runs_that_are_terminated_together(any_api: Api) -> None:
    query = """mutation ($ids: [String!]!) { terminateRuns(runIds: $ids) { ... on TerminateRunsResult {
      terminateRunResults { __typename ... on TerminateRunSuccess { run { status } }
                            ... on TerminateRunFailure { message run { status stepCounts } } } } } }"""
    ids = [any_api.launch() for _ in range(6)]
    found = any_api(query, ids=[ids[0], "none", *ids[1:], ids[0]])["terminateRuns"]["terminateRunResults"]
    done = {"__typename": "TerminateRunSuccess", "run": {"status": "CANCELED"}}
    assert found == [done, {"__typename": "RunNotFoundError"}, *[done] * 6]
    (again,) = any_api(query, ids=ids[:1])["terminateRuns"]["terminateRunResults"]
    assert again["__typename"] == "TerminateRunFailure" and "has ended already" in again["message"]
    assert taken(any_api, query, ids=ids) == taken(any_api, query, ids=ids[:2])  # those that are asked first


def test_a_level_that_little_has_is_looked_for_in_a_few_statements(any_api: Api) -> None:
    """Nor is what was looked through once looked through again."""
    run_id = RunId(any_api.launch())

    def look(after: str | None) -> tuple[Any, int]:
        with statements(any_api) as seen:
            page = any_api(LOGS, id=run_id, limit=5, after=after, filter={"level": "ERROR"})["logsForRun"]
        return page, len(seen)

    with any_api.store.turn() as turn:
        turn.append(run_id, [LogMessage(run_id=run_id, at=1.0, message=f"line {n}") for n in range(2000)])
    page, asked = look(None)
    assert page["events"] == [] and not page["hasMore"] and asked <= 8
    with patch("orchestrator.storage.sql.log._events_of") as read:
        again, _ = look(page["cursor"])
    assert again == page and not read.called
    with any_api.store.turn() as turn:
        turn.append(run_id, [LogMessage(run_id=run_id, at=1.0, message="wrong", level=60)])
    page, _ = look(page["cursor"])
    assert [(each["message"], each["level"]) for each in page["events"]] == [("wrong", "CRITICAL")]


def test_why_steps_wait_is_not_asked_of_all_steps(any_api: Api) -> None:
    """The page of a run that goes on asks whenever something happens to it."""
    query = """query ($id: ID!) { runOrError(runId: $id) { ... on Run { whyStepsWait } } }"""
    ended, going = any_api.launch(), RunId(any_api.launch())
    drive(any_api, ended)
    with statements(any_api) as seen:
        any_api(query, id=ended)
    assert not [each for each in seen if "FROM steps" in each]
    with any_api.store.turn() as turn:
        turn.append(going, [StepStarted(run_id=going, at=1.0, step=StepKey("numbers"), attempt=1)])
        turn.append(going, [StepDispatched(run_id=going, at=1.0, step=StepKey("total"), attempt=1)])
        turn.set_status(going, RunStatus.STARTED, 1.0)
    assert [step.step for step in any_api.store.steps_of([going], StepStatus.DISPATCHED)[going]] == ["total"]
    with statements(any_api) as seen:
        any_api(query, id=going)
    assert [each.count("steps.status = ") for each in seen if "FROM steps" in each] == [1]
