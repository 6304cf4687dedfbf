"""What the API tells of code: jobs, config, partitions, schedules, sensors, and backfills of them."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from opgrid.broker.presence import Presence
from opgrid.contracts.status import RunStatus
from opgrid.contracts.wire import VERSION, code_version
from opgrid.ids import RunId, StepKey
from opgrid.loading import load
from orchestrator.coordinator.fleet import REPORT, FleetReport, QueueState
from orchestrator.engine.pools import PoolSettings, Slot
from orchestrator.storage.sql.store import SqlStore
from tests.unit.api.conftest import CODE, PLACE, Api
from tests.unit.api.test_runs import SELECTOR, drive
from worker.code import Code


def test_a_location_tells_its_jobs_schedules_and_sensors(api: Api) -> None:
    query = """{ workspaceOrError { ... on Workspace { locationEntries {
      name loadStatus source locationOrLoadError { __typename }
      repositories { jobs { name description isPartitioned executor } schedules { name } sensors { name } }
    } } } }"""
    (entry,) = api(query)["workspaceOrError"]["locationEntries"]
    assert (entry["name"], entry["loadStatus"]) == (PLACE, "LOADED")
    (repository,) = entry["repositories"]
    assert [job["name"] for job in repository["jobs"]] == ["adding", "daily"]
    assert repository["jobs"][0]["executor"] == "in_process"
    assert [job["isPartitioned"] for job in repository["jobs"]] == [False, True]
    assert repository["schedules"] == [{"name": "hourly"}] and repository["sensors"] == [{"name": "watching"}]


def test_a_job_tells_its_graph_its_schema_and_a_scaffold(api: Api) -> None:
    query = """query ($selector: PipelineSelector!) { pipelineOrError(params: $selector) { __typename ... on Job {
      structure runConfigJsonSchema scaffoldYaml tags { key value } modes { resources { name } }
    } ... on PipelineNotFoundError { message } } }"""
    job = api(query, selector=SELECTOR)["pipelineOrError"]
    assert set(job["structure"]["ops"]) == {"numbers", "check", "total"}
    config = job["runConfigJsonSchema"]["properties"]["ops"]["properties"]["numbers"]["properties"]["config"]
    assert config["properties"]["n"]["type"] == "integer"
    assert "numbers:" in job["scaffoldYaml"]
    assert job["tags"] == [{"key": "team", "value": "sums"}]
    missing = api(query, selector={**SELECTOR, "jobName": "x"})["pipelineOrError"]
    assert missing["__typename"] == "PipelineNotFoundError"


CHECK = """query ($params: ExecutionParams!) {
  executionPlanOrError(executionParams: $params) {
    __typename
    ... on ExecutionPlan { stepKeys }
    ... on RunConfigValidationInvalid { errors { path } }
    ... on InvalidSubsetError { message }
  }
  isRunConfigValid(executionParams: $params) { __typename }
}"""


def test_a_draft_is_checked_without_launching_anything(api: Api) -> None:
    good = api(CHECK, params={"selector": {**SELECTOR, "solidSelection": ["numbers*"]}})
    assert good["executionPlanOrError"]["stepKeys"] == ["numbers", "check", "total"]
    assert good["isRunConfigValid"]["__typename"] == "PipelineConfigValidationValid"
    one = api(CHECK, params={"selector": {**SELECTOR, "solidSelection": ["numbers"]}})
    assert one["executionPlanOrError"]["stepKeys"] == ["numbers"]
    bad = api(CHECK, params={"selector": SELECTOR, "runConfigData": "ops: {numbers: {config: {n: no}}}"})
    assert bad["executionPlanOrError"]["errors"] == [{"path": ["ops", "numbers", "config", "n"]}]
    assert bad["isRunConfigValid"]["__typename"] == "RunConfigValidationInvalid"
    assert api.store.count() == 0


PARTITIONS = """query ($selector: JobOrPipelineSelector!) {
  jobPartitionsOrError(selector: $selector) { __typename ... on JobPartitions { keys states } }
}"""
DAILY = {"repositoryLocationName": PLACE, "jobName": "daily"}


def test_partitions_tell_the_state_of_their_last_run(any_api: Api) -> None:
    first = any_api.launch("daily", partitionKey="2026-01-03")
    drive(any_api, first, RunStatus.FAILURE)
    last = any_api.launch("daily", partitionKey="2026-01-03")
    drive(any_api, last)
    found = any_api(PARTITIONS, selector=DAILY)["jobPartitionsOrError"]
    assert len(found["keys"]) == 10 and found["keys"][0] == "2026-01-01"
    assert found["states"] == {"2026-01-03": [last, "SUCCESS"]}
    assert any_api(PARTITIONS, selector=SELECTOR)["jobPartitionsOrError"]["__typename"] == "PythonError"


BACKFILL = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on Error { message }
} }"""


def of_daily(**given: Any) -> dict[str, Any]:
    selector = {"partitionSetName": "daily", "repositorySelector": {"repositoryLocationName": PLACE}}
    return {"selector": selector, **given}


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ({"partitionNames": ["2026-01-02", "2026-01-01"]}, ["2026-01-01", "2026-01-02"]),
        ({"rangeStart": "2026-01-08"}, ["2026-01-08", "2026-01-09", "2026-01-10"]),
        ({"allPartitions": True, "failed": True}, ["2026-01-03"]),
        ({"rangeEnd": "2026-01-04", "missing": True}, ["2026-01-01", "2026-01-02", "2026-01-04"]),
    ],
)
def test_a_backfill_is_of_what_was_chosen(api: Api, given: dict[str, Any], keys: list[str]) -> None:
    drive(api, api.launch("daily", partitionKey="2026-01-03"), RunStatus.FAILURE)
    answer = api(BACKFILL, params=of_daily(**given, title="again", atOnce=2, fromFailure=True))[
        "launchPartitionBackfill"
    ]
    (made,) = api.store.backfills()
    assert answer["backfillId"] == made.backfill_id
    assert list(made.partitions) == keys
    assert (made.options.title, made.options.at_once) == ("again", 2)
    assert set(made.options.parents) == {"2026-01-03"} & set(keys)
    query = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
      ... on PartitionBackfill { status numPartitions isCancelable isResumable partitionStates } } }"""
    shown = api(query, id=made.backfill_id)["partitionBackfillOrError"]
    assert shown == {
        "status": "REQUESTED",
        "numPartitions": len(keys),
        "isCancelable": True,
        "isResumable": False,
        "partitionStates": {},
    }
    cancel = "mutation ($id: String!) { cancelPartitionBackfill(backfillId: $id) { __typename } }"
    assert api(cancel, id=made.backfill_id)["cancelPartitionBackfill"]["__typename"] == "CancelBackfillSuccess"
    assert api(cancel, id=made.backfill_id)["cancelPartitionBackfill"]["__typename"] == "PythonError"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Say which partitions"),
        ({"partitionNames": ["2026-02-30"]}, "no partition '2026-02-30'"),
        ({"partitionNames": ["2026-01-01"], "runConfigData": "[]"}, "has to be a mapping"),
        ({"partitionNames": ["2026-01-01"], "executor": "nope"}, "nope"),
        ({"partitionNames": ["2026-01-01"], "atOnce": 0}, "0 runs at once"),
        ({"partitionNames": ["2026-01-01"], "atOnce": -1}, "say 1 or more"),
    ],
)
def test_a_backfill_that_cannot_be_says_why(api: Api, given: dict[str, Any], said: str) -> None:
    answer = api(BACKFILL, params=of_daily(**given))["launchPartitionBackfill"]
    assert answer["__typename"] == "PythonError" and said in answer["message"]
    assert api.store.backfills() == []


def test_a_backfill_of_ops_that_are_not_there_says_so(api: Api) -> None:
    given = {"partitionNames": ["2026-01-01"], "reexecutionSteps": ["nope"]}
    answer = api(BACKFILL, params=of_daily(**given))["launchPartitionBackfill"]
    assert answer["__typename"] == "InvalidSubsetError" and "nope" in answer["message"]
    assert api.store.backfills() == []


SCHEDULE = {"repositoryLocationName": PLACE, "scheduleName": "hourly"}
SENSOR = {"repositoryLocationName": PLACE, "sensorName": "watching"}


def test_a_schedule_is_started_stopped_and_tried_out(any_api: Api) -> None:
    query = """query ($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) { ... on Schedule {
      cronSchedule executionTimezone jobNames futureTicks(limit: 2) scheduleState { status ticks { id } }
    } ... on ScheduleNotFoundError { message } } }"""
    shown = any_api(query, s=SCHEDULE)["scheduleOrError"]
    assert shown["scheduleState"] == {"status": "STOPPED", "ticks": []}
    assert shown["futureTicks"][1] - shown["futureTicks"][0] == 3600
    change = "mutation ($s: ScheduleSelector!) { %sSchedule(scheduleSelector: $s) { __typename } }"
    any_api(change % "start", s=SCHEDULE)
    assert any_api(query, s=SCHEDULE)["scheduleOrError"]["scheduleState"]["status"] == "RUNNING"
    any_api(change % "stop", s=SCHEDULE)
    assert any_api(query, s=SCHEDULE)["scheduleOrError"]["scheduleState"]["status"] == "STOPPED"
    dry = """mutation ($s: ScheduleSelector!) { scheduleDryRun(selectorData: $s) { ... on DryRunInstigationTick {
      timestamp evaluationResult { runRequests { jobName } error { message } } } } }"""
    tick = any_api(dry, s=SCHEDULE)["scheduleDryRun"]
    assert tick["timestamp"] == shown["futureTicks"][0]
    assert tick["evaluationResult"] == {"runRequests": [{"jobName": "adding"}], "error": None}
    assert any_api.store.count() == 0
    missing = any_api(query, s={**SCHEDULE, "scheduleName": "hourl"})["scheduleOrError"]
    assert "hourly" in missing["message"]


def test_a_sensor_has_a_cursor_that_a_dry_run_leaves_alone(any_api: Api) -> None:
    query = (
        "query ($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { sensorState { cursor } } } }"
    )
    dry = """mutation ($s: SensorSelector!) { sensorDryRun(selectorData: $s) { ... on DryRunInstigationTick {
      evaluationResult { cursor runRequests { runKey runConfigYaml } } } } }"""
    tick = any_api(dry, s=SENSOR)["sensorDryRun"]["evaluationResult"]
    assert tick["cursor"] == "seen" and tick["runRequests"][0]["runKey"] == "first"
    assert any_api(query, s=SENSOR)["sensorOrError"]["sensorState"]["cursor"] is None
    setting = (
        "mutation ($s: SensorSelector!, $c: String) { setSensorCursor(sensorSelector: $s, cursor: $c) { __typename } }"
    )
    any_api(setting, s=SENSOR, c="here")
    assert any_api(query, s=SENSOR)["sensorOrError"]["sensorState"]["cursor"] == "here"


def test_pools_are_limited_and_daemons_are_missed(any_api: Api) -> None:
    setting = "mutation ($k: String!, $n: Int!) { setConcurrencyLimit(concurrencyKey: $k, limit: $n) }"
    assert any_api(setting, k="db", n=2)["setConcurrencyLimit"] is True
    for key, limit in (("db", -2), ("", 1)):
        assert any_api(setting, k=key, n=limit)["setConcurrencyLimit"] is False
    query = """{
      instance {
        concurrencyLimits { concurrencyKey slotCount }
        settingsYaml
        daemonHealth { allDaemonStatuses { healthy } }
      }
      fleet { at }
    }"""
    found = any_api(query)
    assert found["instance"]["concurrencyLimits"] == [{"concurrencyKey": "db", "slotCount": 2}]
    assert not any(each["healthy"] for each in found["instance"]["daemonHealth"]["allDaemonStatuses"])
    assert "max_concurrent_runs: 10" in found["instance"]["settingsYaml"]
    assert found["fleet"] is None
    assert any_api('mutation { deleteConcurrencyLimit(concurrencyKey: "db") }')["deleteConcurrencyLimit"] is True
    assert any_api.store.pools() == {}


def test_pools_without_a_limit_of_their_own_show_that_of_all(any_api: Api) -> None:
    assert isinstance(any_api.store, SqlStore)
    any_api.store.pooling = PoolSettings(default_limit=3)
    any_api.store.set_pool("db", 2)
    run_id = RunId(any_api.launch())
    any_api.store.take_slots(dict.fromkeys([Slot("api", run_id, StepKey("adds"))], 0))
    shown = "concurrencyKey slotCount hasLimit usingDefaultLimit limit activeSlotCount claimedSlots { runId stepKey }"
    of_api, of_db = any_api(f"{{ instance {{ concurrencyLimits {{ {shown} }} }} }}")["instance"]["concurrencyLimits"]
    assert of_api == {
        "concurrencyKey": "api",
        "slotCount": 3,
        "hasLimit": True,
        "usingDefaultLimit": True,
        "limit": 3,
        "activeSlotCount": 1,
        "claimedSlots": [{"runId": run_id, "stepKey": "adds"}],
    }
    assert (of_db["slotCount"], of_db["usingDefaultLimit"]) == (2, False)
    query = f'{{ instance {{ concurrencyLimit(concurrencyKey: "new") {{ {shown} }} }} }}'
    of_new = any_api(query)["instance"]["concurrencyLimit"]
    assert (of_new["limit"], of_new["usingDefaultLimit"]) == (3, True)


def test_workers_tell_the_version_of_their_code_and_queues_their_alarm(any_api: Api) -> None:
    ours = Code([CODE]).versions()
    assert ours == (code_version((job.name, job.structure_hash) for job in load(CODE).resolve_all_job_defs()),)
    now = time.time()
    workers = (
        Presence("w1@a", ("opgrid",), 2, (PLACE,), (7, 8), ours, speaks=VERSION),
        Presence("w2@b", ("opgrid",), 2, (PLACE, "other.py"), (9,), ("0123456789ab", "ba9876543210"), speaks=VERSION),
        Presence("w3@old", ("opgrid",), 1, (PLACE,), release="0.0.1", speaks=VERSION - 1),
    )
    queues = (QueueState("gpu", 3, now - 60, 0), QueueState("opgrid", 0, None, 3))
    any_api.store.put_report(REPORT, msgspec.json.encode(FleetReport(now, workers, queues)), now)
    query = """{ fleet { workers { name concurrency code codeVersions outdated children release understands }
      queues { name waiting waitingSince workers alarm } } }"""
    found = any_api(query)["fleet"]
    assert [worker["outdated"] for worker in found["workers"]] == [[], [PLACE], []]
    assert found["workers"][0]["codeVersions"] == list(ours)
    told = [(worker["release"], worker["understands"]) for worker in found["workers"]]
    assert told == [("", True), ("", True), ("0.0.1", False)]
    gpu, usual = found["queues"]
    assert (
        gpu["alarm"] == "3 messages and steps wait, and no worker serves this queue."
        and gpu["waitingSince"] == now - 60
    )
    assert usual["alarm"] is None and usual["waitingSince"] is None


def test_the_variables_that_code_takes_values_from(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING_SECRET", "never told")
    query = """query ($s: RepositorySelector!) { utilizedEnvVarsOrError(repositorySelector: $s) { __typename
      ... on EnvVarWithConsumersList { results { envVarName envVarConsumers { type name } } }
      ... on PythonError { message } } }"""
    answer = api(query, s={"repositoryLocationName": PLACE, "repositoryName": "__repository__"})
    assert answer["utilizedEnvVarsOrError"]["results"] == [
        {"envVarName": "GREETING_SECRET", "envVarConsumers": [{"type": "RESOURCE", "name": "greeting"}]}
    ]
    none = api(query, s={"repositoryLocationName": "nowhere"})["utilizedEnvVarsOrError"]
    assert none["__typename"] == "PythonError" and "nowhere" in none["message"]
