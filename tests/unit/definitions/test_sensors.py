"""Sensors: what they may be made of, what they give, and their contexts."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from opgrid import (
    AssetKey,
    AssetMaterialization,
    CodeLocationSelector,
    ConfigurableResource,
    DefaultSensorStatus,
    Definitions,
    DynamicPartitionsDefinition,
    Instance,
    InvalidDefinitionError,
    InvalidInvocationError,
    InvariantViolationError,
    JobSelector,
    MetadataValue,
    OpExecutionContext,
    RunFailureSensorContext,
    RunRequest,
    RunStatus,
    RunStatusSensorContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    UnknownJob,
    UnknownPartitionError,
    asset_sensor,
    build_run_status_sensor_context,
    build_sensor_context,
    instance_for_test,
    job,
    make_email_on_run_failure_sensor,
    op,
    run_failure_sensor,
    run_status_sensor,
    sensor,
)
from opgrid.contracts.events import AssetMaterialized


@op
def work() -> int:
    return 1


@op
def fail() -> None:
    raise ValueError("on purpose")


@job
def load() -> None:
    work()


@job
def report() -> None:
    work()


@job
def broken() -> None:
    fail()


def evaluated(made: SensorDefinition, **context: Any) -> Any:
    return made.evaluate_tick(build_sensor_context(**context))


# ---- definitions ---------------------------------------------------------------------------------------------------


def test_what_a_sensor_is_made_of() -> None:
    @sensor(job=load, tags={"team": "data"}, metadata={"n": 1}, owners=["team:data"])
    def new_files(context: SensorEvaluationContext) -> None:
        """Looks into the inbox."""

    assert (new_files.name, new_files.job_name, new_files.job) == ("new_files", "load", load)
    assert new_files.minimum_interval_seconds == 30
    assert new_files.default_status is DefaultSensorStatus.STOPPED
    assert new_files.description == "Looks into the inbox."
    assert new_files.tags == {"team": "data"}
    assert new_files.target_names == ("load",)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: sensor(job=load, job_name="x"), "job_name= and job="),
        (lambda: sensor(job=3), "has to be a job"),
        (lambda: sensor(jobs="load"), "has to be a list"),
        (lambda: sensor(jobs=[load, load]), "two jobs named 'load'"),
        (lambda: sensor(job=load, minimum_interval_seconds=-1), "whole number of seconds"),
        (lambda: sensor(job=load, default_status="RUNNING"), "DefaultSensorStatus.RUNNING"),
        (lambda: sensor(job=load, name="not a name"), "not a name"),
        (lambda: sensor(job=load, asset_selection=["x"]), "opgrid runs jobs of ops"),
        (lambda: sensor(job=load, owners=["nobody"]), "nobody"),
    ],
)
def test_what_no_sensor_can_be_made_of(make: Any, said: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=said):

        @make()
        def wrong(context: SensorEvaluationContext) -> None: ...


def test_a_sensor_needs_parentheses_and_a_plain_function() -> None:
    with pytest.raises(InvalidDefinitionError, match="needs parentheses"):

        @sensor
        def bare(context: SensorEvaluationContext) -> None: ...

    with pytest.raises(InvalidDefinitionError, match="async"):

        @sensor(job=load)
        async def later(context: SensorEvaluationContext) -> None: ...

    with pytest.raises(InvalidDefinitionError, match="all else has to be a resource"):

        @sensor(job=load)
        def two(context: SensorEvaluationContext, more: int) -> None: ...


def test_targeted_jobs_join_the_definitions() -> None:
    @sensor(jobs=[load, report])
    def both(context: SensorEvaluationContext) -> None: ...

    defs = Definitions(sensors=[both])
    assert defs.job_names == ["load", "report"]
    assert defs.get_sensor_def("both") is both


# ---- evaluation ----------------------------------------------------------------------------------------------------


def test_run_requests_become_complete_and_tags_of_the_sensor_stay_with_it() -> None:
    @sensor(job=load, tags={"team": "data", "kind": "file"})
    def files(context: SensorEvaluationContext) -> Iterator[RunRequest]:
        yield RunRequest(run_key="a.csv", run_config={"ops": {}}, tags={"kind": "own"})
        yield RunRequest(run_key="b.csv")

    found = evaluated(files)
    assert [each.job_name for each in found.run_requests] == ["load", "load"]
    assert found.run_requests[0].tags == {
        "kind": "own",
        "opgrid/sensor_name": "files",
        "opgrid/run_key": "a.csv",
    }
    assert found.skip_message is None


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "Sensor function returned an empty result"),
        ([], "Sensor function returned an empty result"),
        (SkipReason("nothing new"), "nothing new"),
        (SensorResult(skip_reason="still nothing"), "still nothing"),
        (SensorResult(), "Sensor function returned an empty result"),
    ],
)
def test_nothing_to_do_has_a_reason(returned: Any, message: str) -> None:
    @sensor(job=load)
    def quiet(context: SensorEvaluationContext) -> Any:
        return returned

    found = evaluated(quiet)
    assert (found.run_requests, found.skip_message) == ((), message)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (3, "gave 3"),
        ([RunRequest("a"), SkipReason("b")], "SkipReason together with something else"),
        ([SensorResult(), RunRequest("a")], "SensorResult together with something else"),
    ],
)
def test_what_a_sensor_may_not_give(returned: Any, said: str) -> None:
    @sensor(job=load)
    def wrong(context: SensorEvaluationContext) -> Any:
        return returned

    with pytest.raises(InvariantViolationError, match=said):
        evaluated(wrong)


@pytest.mark.parametrize(
    ("returned", "keys", "message"),
    [
        (SkipReason("nothing new"), [], "nothing new"),
        (RunRequest("b"), ["b"], None),
        (SensorResult([RunRequest("b"), RunRequest("c")]), ["b", "c"], None),
        (None, [], "Sensor function returned an empty result"),
    ],
)
def test_a_sensor_that_yields_may_return_something(returned: Any, keys: list[str], message: str | None) -> None:
    @sensor(job=load)
    def early(context: SensorEvaluationContext) -> Any:
        if context.cursor is None:
            return returned
        yield RunRequest("a")

    found = evaluated(early)
    assert [each.run_key for each in found.run_requests] == keys
    assert found.skip_message == message

    @sensor(job=load)
    def late() -> Any:
        yield RunRequest("a")
        return SkipReason("b")

    with pytest.raises(InvariantViolationError, match="SkipReason together with something else"):
        evaluated(late)


def test_a_sensor_is_copied_with_reports_and_metadata() -> None:
    @sensor(job=load, metadata={"team": "a"}, minimum_interval_seconds=5)
    def files(context: SensorEvaluationContext) -> Any:
        return RunRequest("a")

    @run_failure_sensor(request_job=load)
    def failures(context: RunFailureSensorContext) -> None: ...

    other = files.with_updated_job(report)
    assert evaluated(other).run_requests[0].job_name == "report"
    assert (other.name, other.metadata, other.minimum_interval_seconds) == ("files", files.metadata, 5)
    assert [each.name for each in other.with_updated_jobs([load, report]).jobs] == ["load", "report"]
    told = files.with_attributes(metadata={"team": "b"})
    assert (told.job, told.metadata) == (load, {"team": MetadataValue.text("b")})
    assert files.job is load
    copied = failures.with_updated_job(report)
    assert (copied.job, copied.run_status) == (report, RunStatus.FAILURE)
    with pytest.raises(InvalidDefinitionError, match="Sensor 'files'.*has 3 as its jobs"):
        files.with_updated_job(3)


def test_a_result_may_be_made_of_generators() -> None:
    files = DynamicPartitionsDefinition(name="files")
    found = SensorResult(
        (RunRequest(run_key=key) for key in "ab"),
        dynamic_partitions_requests=(files.build_add_request(key for key in "ab") for _ in range(1)),
        asset_events=(AssetMaterialization(key) for key in "ab"),
    )
    for _ in range(2):
        assert [each.asset_key for each in found.asset_events] == [AssetKey("a"), AssetKey("b")]
    assert SensorResult(asset_events=None).asset_events == ()
    assert [each.run_key for each in found.run_requests or ()] == ["a", "b"]
    assert [each.partition_keys for each in found.dynamic_partitions_requests or ()] == [("a", "b")]
    with pytest.raises(InvalidDefinitionError, match="have to be a list"):
        SensorResult(RunRequest())


def test_the_same_run_may_be_asked_for_twice() -> None:
    @sensor(job=load)
    def messages(context: SensorEvaluationContext) -> Iterator[RunRequest]:
        for _ in range(2):
            yield RunRequest()

    assert [each.job_name for each in evaluated(messages).run_requests] == ["load", "load"]


def test_of_several_jobs_one_is_chosen() -> None:
    @sensor(jobs=[load, report])
    def several(context: SensorEvaluationContext) -> Any:
        return RunRequest(job_name=context.cursor)

    assert evaluated(several, cursor="report").run_requests[0].job_name == "report"
    with pytest.raises(InvariantViolationError, match="'load', 'report'"):
        evaluated(several)
    with pytest.raises(UnknownJob, match="'reprt'.*'report'"):
        evaluated(several, cursor="reprt")


def test_what_the_function_raises_goes_through() -> None:
    @sensor(job=load)
    def fails(context: SensorEvaluationContext) -> None:
        context.update_cursor("lost")
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        evaluated(fails)


# ---- cursors -------------------------------------------------------------------------------------------------------


def test_a_cursor_is_kept_or_moved() -> None:
    @sensor(job=load)
    def counts(context: SensorEvaluationContext) -> Any:
        if context.cursor == "stay":
            return SkipReason("stays")
        if context.cursor == "result":
            return SensorResult(run_requests=[RunRequest("a")], cursor="moved")
        context.update_cursor("updated")
        assert context.cursor == "updated"
        return SkipReason("moved")

    assert evaluated(counts, cursor="stay").cursor == "stay"
    assert evaluated(counts, cursor="result").cursor == "moved"
    assert evaluated(counts).cursor == "updated"


def test_a_cursor_is_set_in_one_way_and_is_a_text() -> None:
    @sensor(job=load)
    def twice(context: SensorEvaluationContext) -> SensorResult:
        context.update_cursor("one")
        return SensorResult(cursor="two")

    with pytest.raises(InvariantViolationError, match="update_cursor\\(\\) and in its SensorResult"):
        evaluated(twice)
    with pytest.raises(InvariantViolationError, match="has to be a string"):
        build_sensor_context().update_cursor(3)  # type: ignore[arg-type]
    with pytest.raises(InvalidDefinitionError, match="has to be a string"):
        SensorResult(cursor=3)  # type: ignore[arg-type]


def test_the_first_tick_after_a_start_is_known() -> None:
    assert build_sensor_context().is_first_tick_since_sensor_start
    assert build_sensor_context(
        last_sensor_start_time=10.0, last_tick_completion_time=5.0
    ).is_first_tick_since_sensor_start
    again = build_sensor_context(last_sensor_start_time=10.0, last_tick_completion_time=15.0)
    assert not again.is_first_tick_since_sensor_start


# ---- contexts, resources -------------------------------------------------------------------------------------------


class Inbox(ConfigurableResource):
    names: list[str]


def test_resources_come_by_parameter_or_context() -> None:
    @sensor(job=load)
    def by_parameter(inbox: Inbox) -> Any:
        return [RunRequest(run_key=name) for name in inbox.names]

    @sensor(job=load, required_resource_keys={"inbox"})
    def by_context(context: SensorEvaluationContext) -> Any:
        return [RunRequest(run_key=name) for name in context.resources.inbox.names]

    assert by_parameter.required_resource_keys == {"inbox"}
    for made in (by_parameter, by_context):
        found = evaluated(made, resources={"inbox": Inbox(names=["a", "b"])})
        assert [each.run_key for each in found.run_requests] == ["a", "b"]


def test_a_sensor_is_called_as_the_function_that_it_is() -> None:
    @sensor(job=load)
    def direct(context: SensorEvaluationContext, inbox: Inbox) -> list[str | None]:
        return [context.cursor, *inbox.names]

    assert direct(build_sensor_context(cursor="c"), inbox=Inbox(names=["n"])) == ["c", "n"]
    with build_sensor_context(cursor="c", resources={"inbox": Inbox(names=["m"])}) as context:
        assert direct(context) == ["c", "m"]
    with pytest.raises(InvalidInvocationError, match=r"build_sensor_context\(\)"):
        direct()
    with pytest.raises(InvariantViolationError, match="has no instance"):
        _ = build_sensor_context().instance
    with Instance.ephemeral() as instance:
        assert build_sensor_context(instance).instance is instance


# ---- dynamic partitions --------------------------------------------------------------------------------------------

customers = DynamicPartitionsDefinition(name="customers")


@job(partitions_def=customers)
def per_customer() -> None:
    work()


def test_partitions_that_are_asked_for_may_be_run_at_once() -> None:
    @sensor(job=per_customer)
    def new_customers(context: SensorEvaluationContext) -> SensorResult:
        return SensorResult(
            run_requests=[RunRequest(partition_key=key) for key in ("old", "new")],
            dynamic_partitions_requests=[customers.build_add_request(["new"])],
        )

    @sensor(job=per_customer)
    def too_late(context: SensorEvaluationContext) -> SensorResult:
        return SensorResult(
            run_requests=[RunRequest(partition_key="old")],
            dynamic_partitions_requests=[customers.build_delete_request(["old"])],
        )

    with Instance.ephemeral() as instance:
        instance.add_dynamic_partitions("customers", ["old"])
        found = evaluated(new_customers, instance=instance)
        assert [each.tags["opgrid/partition"] for each in found.run_requests] == ["old", "new"]
        assert instance.get_dynamic_partitions("customers") == ["old"], "evaluating changes nothing"
        with pytest.raises(UnknownPartitionError):
            evaluated(too_late, instance=instance)


# ---- on runs -------------------------------------------------------------------------------------------------------


def test_a_sensor_on_runs_that_succeeded() -> None:
    @run_status_sensor(RunStatus.SUCCESS, monitored_jobs=[load], request_job=report)
    def report_after_load(context: RunStatusSensorContext) -> RunRequest:
        return RunRequest(run_key=context.run.run_id, tags={"for": context.run.job})

    result = load.execute_in_process()
    context = build_run_status_sensor_context("report_after_load", result.get_run_success_event(), run=result.run)
    (request,) = report_after_load.evaluate_run(context).run_requests
    assert (request.job_name, request.run_key) == ("report", result.run_id)
    assert request.tags is not None
    assert request.tags["for"] == "load"
    assert report_after_load(context).run_key == result.run_id
    assert Definitions(sensors=[report_after_load]).job_names == ["report"]
    with pytest.raises(InvariantViolationError, match="evaluate_run"):
        report_after_load.evaluate_tick(context)


@pytest.mark.parametrize("parentheses", [False, True])
def test_a_sensor_on_runs_that_failed(parentheses: bool) -> None:
    told: list[Any] = []

    def tell(context: RunFailureSensorContext) -> None:
        told.append((context.run.job, context.failure_event.reason, context.get_step_failure_events()))

    made = run_failure_sensor(name="tells")(tell) if parentheses else run_failure_sensor(tell)
    assert made.name == ("tells" if parentheses else "tell")
    with instance_for_test() as instance:
        result = broken.execute_in_process(raise_on_error=False, instance=instance)
        context = build_run_status_sensor_context("tell", result.get_run_failure_event(), instance, result.run)
        assert made.evaluate_run(context).skip_message
        made(context)
    assert told[0] == told[1]
    name, reason, (failure,) = told[0]
    assert name == "broken"
    assert "fail" in reason
    assert "on purpose" in repr(failure.error)


def test_which_jobs_are_watched() -> None:
    def nothing(context: RunStatusSensorContext) -> None: ...

    def made(**more: Any) -> Any:
        return run_status_sensor(RunStatus.SUCCESS, **more)(nothing)

    assert made().monitors("load", "here", "here")
    assert not made().monitors("load", "there", "here")
    assert made(monitored_jobs=[load]).monitors("load", "here", "here")
    assert not made(monitored_jobs=[load]).monitors("report", "here", "here")
    assert not made(monitored_jobs=[load]).monitors("load", "there", "here")
    assert made(monitored_jobs=[JobSelector(job_name="load", location_name="there")]).monitors("load", "there", "here")
    assert made(monitored_jobs=[CodeLocationSelector("there")]).monitors("any", "there", "here")
    assert made(monitor_all_code_locations=True).monitors("any", "where", "here")
    with pytest.raises(InvalidDefinitionError, match="keep one"):
        made(monitored_jobs=[load], monitor_all_code_locations=True)
    with pytest.raises(InvalidDefinitionError, match="monitored_jobs"):
        made(monitored_jobs=[3])
    with pytest.raises(InvalidDefinitionError, match="RunStatus.SUCCESS"):
        run_status_sensor("SUCCESS")(nothing)  # type: ignore[arg-type]


class Post:
    """A mail server as smtplib sees one."""

    sent: list[Any] = []

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        self.said = [(host, port)]

    def __enter__(self) -> Post:
        return self

    def __exit__(self, *_: object) -> None:
        Post.sent.append(self.said)

    def starttls(self, context: ssl.SSLContext) -> None:
        self.said.append("starttls")  # type: ignore[arg-type]

    def login(self, user: str, password: str) -> None:
        self.said.append((user, password))  # type: ignore[arg-type]

    def send_message(self, message: Any) -> None:
        self.said.append(message)


@pytest.mark.parametrize(("kind", "port"), [("SSL", 465), ("STARTTLS", 587)])
def test_an_email_about_a_failure(kind: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtplib, "SMTP_SSL" if kind == "SSL" else "SMTP", Post)
    Post.sent.clear()
    made = make_email_on_run_failure_sensor(
        "from@x.example", "hunter2", ["to@x.example"], smtp_host="mail", smtp_type=kind, webserver_base_url="http://ui/"
    )
    result = broken.execute_in_process(raise_on_error=False)
    made.evaluate_run(build_run_status_sensor_context("e", result.get_run_failure_event(), run=result.run))
    ((address, *tls, login, message),) = Post.sent
    assert (address, login) == (("mail", port), ("from@x.example", "hunter2"))
    assert tls == ([] if kind == "SSL" else ["starttls"])
    assert message["Subject"] == "opgrid: job broken failed"
    assert f"http://ui/runs/{result.run_id}" in message.get_content()


# ---- on assets -----------------------------------------------------------------------------------------------------


def test_a_sensor_on_what_ops_materialized() -> None:
    @op
    def make_orders(context: OpExecutionContext) -> None:
        context.log_event(AssetMaterialization("orders", metadata={"rows": 3}))
        context.log_event(AssetMaterialization("others"))

    @job
    def makes() -> None:
        make_orders()

    @asset_sensor(AssetKey("orders"), job=report)
    def on_orders(context: SensorEvaluationContext, event: AssetMaterialized) -> RunRequest:
        return RunRequest(run_key=context.cursor, tags={"asset": event.asset_key.to_user_string()})

    with instance_for_test() as instance:
        first = evaluated(on_orders, instance=instance)
        assert "No new materialization of 'orders'" in first.skip_message
        makes.execute_in_process(instance=instance)
        found = evaluated(on_orders, instance=instance)
        (request,) = found.run_requests
        assert request.tags["asset"] == "orders"
        assert request.run_key == found.cursor
        assert not evaluated(on_orders, instance=instance, cursor=found.cursor).run_requests
        makes.execute_in_process(instance=instance)
        assert evaluated(on_orders, instance=instance, cursor=found.cursor).run_requests


def test_times_are_told() -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert build_sensor_context(current_time=now).current_time == now


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda context: RunRequest("a\0b"), r"run_key 'a.x00b' of a RunRequest has a NUL character"),
        (lambda context: RunRequest("\u00e9" * 1001), r"has 2002 bytes, and may have 2000"),
        (lambda context: SensorResult(cursor="a\0b"), "cursor of a SensorResult has a NUL character"),
        (lambda context: context.update_cursor("a\0b"), "cursor that update_cursor was given has a NUL character"),
        (lambda context: customers.build_add_request(["a\0b"]), "key 'a.x00b' of an Add.* has a NUL character"),
        (lambda context: customers.build_add_request(["x" * 256]), "has 256 characters, and may have 255"),
    ],
)
def test_what_not_every_database_stores_is_refused(give: Any, said: str) -> None:
    @sensor(job=load)
    def wrong(context: SensorEvaluationContext) -> Any:
        return give(context)

    with pytest.raises(InvalidDefinitionError, match=said):
        evaluated(wrong)
    assert customers.build_delete_request(["x" * 256]).partition_keys  # of before there was a limit
