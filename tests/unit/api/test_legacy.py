"""Questions that clients of Dagster ask by its names."""

from __future__ import annotations

from opgrid.contracts.events import LogMessage
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId, StepKey
from tests.unit.api.conftest import PLACE, Api
from tests.unit.api.test_jobs import BACKFILL, DAILY, of_daily
from tests.unit.api.test_runs import SELECTOR, drive


def test_config_is_checked_by_pipeline_and_mode(api: Api) -> None:
    query = """query ($p: PipelineSelector!, $c: RunConfigData) {
      isPipelineConfigValid(pipeline: $p, mode: "default", runConfigData: $c) { __typename } }"""
    good = api(query, p=SELECTOR, c={"ops": {"numbers": {"config": {"n": 1}}}})
    assert good["isPipelineConfigValid"]["__typename"] == "PipelineConfigValidationValid"
    bad = api(query, p=SELECTOR, c={"ops": {"numbers": {"config": {"n": "x"}}}})
    assert bad["isPipelineConfigValid"]["__typename"] == "RunConfigValidationInvalid"
    missing = api(query, p={**SELECTOR, "jobName": "x"}, c={})
    assert missing["isPipelineConfigValid"]["__typename"] == "PipelineNotFoundError"


def test_partition_sets_are_those_of_jobs(api: Api) -> None:
    query = """query ($r: RepositorySelector!, $name: String!) {
      partitionSetsOrError(repositorySelector: $r, pipelineName: $name) { ... on PartitionSets { results {
        name pipelineName partitionsOrError(cursor: "2026-01-02", limit: 2) { ... on Partitions { results { name } } }
      } } } }"""
    place = {"repositoryLocationName": PLACE}
    (found,) = api(query, r=place, name="daily")["partitionSetsOrError"]["results"]
    assert (found["name"], found["pipelineName"]) == ("daily_partition_set", "daily")
    assert [each["name"] for each in found["partitionsOrError"]["results"]] == ["2026-01-03", "2026-01-04"]
    assert api(query, r=place, name="adding")["partitionSetsOrError"]["results"] == []
    one = """query ($r: RepositorySelector!, $name: String!) {
      partitionSetOrError(repositorySelector: $r, partitionSetName: $name) { __typename } }"""
    assert api(one, r=place, name="daily_partition_set")["partitionSetOrError"]["__typename"] == "PartitionSet"
    assert api(one, r=place, name="adding")["partitionSetOrError"]["__typename"] == "PartitionSetNotFoundError"


def test_the_feed_has_runs_and_backfills_in_one_row(any_api: Api) -> None:
    runs = [any_api.launch() for _ in range(3)]
    part = any_api.launch("daily", partitionKey="2026-01-01", executionMetadata={
        "tags": [{"key": "opgrid/backfill", "value": "x"}]
    })  # fmt: skip
    made = any_api(BACKFILL, params=of_daily(partitionNames=["2026-01-01"]))["launchPartitionBackfill"]["backfillId"]
    query = """query ($view: RunsFeedView!, $limit: Int!, $cursor: String) {
      runsFeedOrError(view: $view, limit: $limit, cursor: $cursor) { ... on RunsFeedConnection {
        cursor hasMore results { ... on Run { runId } ... on PartitionBackfill { id } } } }
      runsFeedCountOrError(view: $view) { ... on RunsFeedCount { count } } }"""

    def feed(view: str, limit: int = 10, cursor: str | None = None) -> list[str]:
        found = any_api(query, view=view, limit=limit, cursor=cursor)["runsFeedOrError"]
        return [each.get("runId") or each["id"] for each in found["results"]]

    assert feed("ROOTS") == [made, *runs[::-1]]
    assert feed("RUNS") == [part, *runs[::-1]]
    assert feed("BACKFILLS") == [made]
    assert feed("RUNS", 2, "2") == [runs[1], runs[0]]
    more = [any_api(query, view="RUNS", limit=limit)["runsFeedOrError"]["hasMore"] for limit in (0, 1, 3, 4)]
    assert more == [False, True, True, False]
    assert any_api(query, view="RUNS", limit=1)["runsFeedCountOrError"]["count"] == 4
    ids = any_api('{ runIdsOrError(filter: {jobName: "daily"}) { ... on RunIds { results count } } }')
    assert ids["runIdsOrError"] == {"results": [part], "count": 1}


def test_states_of_automation_are_found_by_name_and_place(api: Api) -> None:
    query = """query ($s: InstigationSelector!) { instigationStateOrError(instigationSelector: $s) { __typename
      ... on InstigationState { status instigationType } ... on InstigationStateNotFoundError { message } } }"""
    found = api(query, s={"repositoryLocationName": PLACE, "name": "hourly"})["instigationStateOrError"]
    assert (found["status"], found["instigationType"]) == ("STOPPED", "SCHEDULE")
    missing = api(query, s={"repositoryLocationName": PLACE, "name": "x"})["instigationStateOrError"]
    assert missing["__typename"] == "InstigationStateNotFoundError"
    every = """query ($id: String!) { instigationStatesOrError(repositoryID: $id) {
      __typename ... on InstigationStates { results { name } } } }"""
    states = api(every, id=f"{PLACE}:__repository__")["instigationStatesOrError"]["results"]
    assert [each["name"] for each in states] == ["hourly", "watching"]
    assert api(every, id="x:__repository__")["instigationStatesOrError"]["__typename"] == "RepositoryNotFoundError"


def test_what_a_step_printed_is_read_by_its_key(any_api: Api) -> None:
    run_id = RunId(any_api.launch())
    drive(any_api, run_id, RunStatus.SUCCESS)

    def said(text: str, logger: str) -> LogMessage:
        return LogMessage(run_id=run_id, at=1.0, message=text, logger=logger, step=StepKey("numbers"), attempt=1)

    with any_api.store.turn() as turn:
        turn.append(
            run_id, [said("one", "stdout"), said("oops", "stderr"), said("not this", "opgrid"), said("two", "stdout")]
        )
    query = "query ($key: [String!]!, $c: String) { capturedLogs(logKey: $key, cursor: $c) { stdout stderr cursor } }"
    found = any_api(query, key=[run_id, "numbers"])["capturedLogs"]
    assert (found["stdout"], found["stderr"]) == ("one\ntwo\n", "oops\n")
    rest = any_api(query, key=[run_id, "numbers"], c=found["cursor"])["capturedLogs"]
    assert rest == {"stdout": "", "stderr": "", "cursor": found["cursor"]}
    assert any_api(query, key=[])["capturedLogs"]["stdout"] == ""


def test_resources_and_rights(api: Api) -> None:
    query = """query ($p: PipelineSelector!) {
      resourcesOrError(pipelineSelector: $p) { ... on ResourceConnection { resources { name } } } canBulkTerminate }"""
    found = api(query, p=DAILY)
    assert found["canBulkTerminate"] is True
    assert {each["name"] for each in found["resourcesOrError"]["resources"]} <= {"io_manager"}
    assert api('mutation { freeConcurrencySlotsForRun(runId: "x") }')["freeConcurrencySlotsForRun"] is True


def test_graphs_and_snapshots_of_jobs(api: Api) -> None:
    query = """query ($s: GraphSelector) { graphOrError(selector: $s) { __typename
      ... on Graph { name solids { name definition { name description outputDefinitions { name isDynamic } } } } } }"""
    place = {"repositoryName": "__repository__", "repositoryLocationName": PLACE}
    found = api(query, s={**place, "graphName": "adding_up"})["graphOrError"]
    assert [solid["name"] for solid in found["solids"]] == ["numbers", "check", "total"]
    assert found["solids"][0]["definition"] == {
        "name": "numbers",
        "description": "Gives numbers.",
        "outputDefinitions": [{"name": "result", "isDynamic": True}],
    }
    assert api(query, s={**place, "graphName": "x"})["graphOrError"]["__typename"] == "GraphNotFoundError"
    asked = """query ($s: PipelineSelector, $id: String) {
      pipelineSnapshotOrError(activePipelineSelector: $s, snapshotId: $id) { __typename
        ... on PipelineSnapshot { name graphName pipelineSnapshotId tags { key } } } }"""
    active = api(asked, s=SELECTOR)["pipelineSnapshotOrError"]
    assert (active["name"], active["graphName"]) == ("adding", "adding_up")
    run_id = api.launch()
    of_run = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { pipelineSnapshotId pipeline { name } } } }"
    run = api(of_run, id=run_id)["runOrError"]
    assert run["pipeline"] == {"name": "adding"}
    assert api(asked, id=run["pipelineSnapshotId"])["pipelineSnapshotOrError"] == active
    assert api(asked, id="x")["pipelineSnapshotOrError"]["__typename"] == "PipelineSnapshotNotFoundError"


def test_resources_of_a_location_and_the_jobs_that_need_them(api: Api) -> None:
    query = """query ($r: RepositorySelector!) { allTopLevelResourceDetailsOrError(repositorySelector: $r) {
      __typename ... on ResourceDetailsList { results { name jobsOpsUsing { jobName } } } } }"""
    found = api(query, r={"repositoryLocationName": PLACE})["allTopLevelResourceDetailsOrError"]["results"]
    assert found == [{"name": "greeting", "jobsOpsUsing": [{"jobName": "adding"}]}]
    one = """query ($r: ResourceSelector!) { topLevelResourceDetailsOrError(resourceSelector: $r) {
      __typename ... on ResourceDetails { description isTopLevel } } }"""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": PLACE, "resourceName": "greeting"}
    assert api(one, r=selector)["topLevelResourceDetailsOrError"]["isTopLevel"] is True
    missing = api(one, r={**selector, "resourceName": "x"})["topLevelResourceDetailsOrError"]
    assert missing["__typename"] == "ResourceNotFoundError"
    nowhere = api(query, r={"repositoryLocationName": "x"})["allTopLevelResourceDetailsOrError"]
    assert nowhere["__typename"] == "RepositoryNotFoundError"


def test_a_part_of_a_job_tells_its_steps(api: Api) -> None:
    query = """query ($id: ID!) { runOrError(runId: $id) { ... on Run {
      solidSelection stepKeysToExecute executionPlan { steps { key kind inputs { name dependsOn { key } } } } } } }"""
    whole = api(query, id=api.launch())["runOrError"]
    assert whole["solidSelection"] is None
    steps = {step["key"]: step for step in whole["executionPlan"]["steps"]}
    assert {key: step["kind"] for key, step in steps.items()} == {
        "numbers": "COMPUTE",
        "check": "UNRESOLVED_MAPPED",
        "total": "UNRESOLVED_COLLECT",
    }
    assert steps["total"]["inputs"] == [{"name": "numbers", "dependsOn": [{"key": "check"}]}]
    part = api(query, id=api.launch(selector={**SELECTOR, "solidSelection": ["numbers"]}))["runOrError"]
    assert part["solidSelection"] == part["stepKeysToExecute"] == ["numbers"]
    plan = """query ($p: PipelineSelector!) { executionPlanOrError(pipeline: $p, mode: "default") {
      ... on ExecutionPlan { stepKeys } } }"""
    assert api(plan, p=SELECTOR)["executionPlanOrError"]["stepKeys"] == ["numbers", "check", "total"]


def test_a_run_is_found_by_the_beginning_of_its_id(any_api: Api) -> None:
    run_id = any_api.launch()
    any_api.launch()
    query = "query ($id: ID!) { runOrError(runId: $id) { __typename ... on Run { runId } } }"
    assert any_api(query, id=run_id[:8])["runOrError"]["runId"] == run_id
    assert any_api(query, id=run_id[:3])["runOrError"]["__typename"] == "RunNotFoundError"
    rows = "query ($f: RunsFilter) { runsOrError(filter: $f) { ... on Runs { count results { runId } } } }"
    found = any_api(rows, f={"runIds": [run_id[:8]]})["runsOrError"]
    assert found == {"count": 1, "results": [{"runId": run_id}]}
    assert any_api(rows, f={"runIds": ["0123456789ab"]})["runsOrError"]["count"] == 0


def test_schedules_of_one_location_that_run(api: Api) -> None:
    query = """query ($r: RepositorySelector!, $s: InstigationStatus) {
      schedulesOrError(repositorySelector: $r, scheduleStatus: $s) { __typename ... on Schedules { results { name } } }
      sensorsOrError(repositorySelector: $r) { __typename ... on Sensors { results { name } } } }"""
    found = api(query, r={"repositoryLocationName": PLACE})
    assert found["schedulesOrError"]["results"] == [{"name": "hourly"}]
    assert found["sensorsOrError"]["results"] == [{"name": "watching"}]
    running = api(query, r={"repositoryLocationName": PLACE}, s="RUNNING")["schedulesOrError"]["results"]
    assert running == []
    assert api(query, r={"repositoryLocationName": "x"})["sensorsOrError"]["__typename"] == "RepositoryNotFoundError"
    stop = """mutation { stopSensor(id: "web_code.py:watching") {
      ... on StopSensorMutationResult { instigationState { status } } } }"""
    assert api(stop)["stopSensor"] == {"instigationState": {"status": "STOPPED"}}


def test_a_backfill_is_made_again_whole_or_from_its_failures(any_api: Api) -> None:
    keys = ["2026-01-01", "2026-01-02"]
    made = any_api(BACKFILL, params=of_daily(partitionNames=keys, title="t"))["launchPartitionBackfill"]["backfillId"]
    again = """mutation ($p: ReexecutionParams) { reexecutePartitionBackfill(reexecutionParams: $p) { __typename
      ... on LaunchBackfillSuccess { backfillId } } }"""
    for strategy in ("ALL_STEPS", "FROM_FAILURE"):
        answer = any_api(again, p={"parentRunId": made, "strategy": strategy})["reexecutePartitionBackfill"]
        (found,) = any_api.store.backfills(backfill_id=answer["backfillId"])
        assert (list(found.partitions), found.options.title) == (keys, "t")
    assert any_api(again, p={"parentRunId": "x", "strategy": "ALL_STEPS"})["reexecutePartitionBackfill"] == {
        "__typename": "PythonError"
    }
    statuses = """query ($f: BulkActionsFilter) { partitionBackfillsOrError(filters: $f) {
      ... on PartitionBackfills { results { status } } } }"""
    for wanted, count in (({"statuses": ["REQUESTED"]}, 3), ({"statuses": ["FAILING"]}, 0), ({"createdAfter": 9e9}, 0)):
        assert len(any_api(statuses, f=wanted)["partitionBackfillsOrError"]["results"]) == count
