"""What type checkers know of users' code. Read by mypy, never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, assert_type

from opgrid import (
    AssetKey,
    AssetMaterialization,
    Config,
    ConfigurableResource,
    DynamicOut,
    DynamicOutput,
    DynamicPartitionsDefinition,
    EventLogEntry,
    EventType,
    ExecuteInProcessResult,
    GraphDefinition,
    Instance,
    JobDefinition,
    JobExecutionResult,
    MetadataValue,
    OpExecutionContext,
    Output,
    RunRecord,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    build_op_context,
    execute_job,
    graph,
    job,
    op,
    schedule,
    sensor,
)
from opgrid.contracts.events import AnyEvent


class Options(Config):
    factor: int = 2


class Store(ConfigurableResource):
    name: str

    def read(self) -> str:
        return self.name


@op
def add(number: int, more: int = 1) -> int:
    return number + more


@op(tags={"kind": "x"})
def tell(context: OpExecutionContext, config: Options, store: Store) -> str:
    assert_type(context.run_id, str)
    assert_type(context.retry_number, int)
    assert_type(config.factor, int)
    assert_type(store.read(), str)
    return store.name


@op(out=DynamicOut(int))
def spread() -> Iterator[DynamicOutput[int]]:
    yield DynamicOutput(1, mapping_key="a")


@op
def wrapped() -> Output[int]:
    return Output(1)


def ops_keep_their_signatures() -> None:
    assert_type(add(1), int)
    assert_type(add(number=1, more=2), int)
    assert_type(tell(build_op_context(), config=Options(), store=Store(name="s")), str)
    # in the body of a job an op is called with fewer arguments than its function takes: other calls are not typed
    assert_type(add("1"), Any)
    assert_type(wrapped(), Output[int])


@graph
def twice(number: int) -> int:
    return add(add(number))


@job
def whole() -> None:
    twice(add(add.alias("first")(1)))


@job(tags={"a": "b"})
def tagged() -> None: ...


@schedule("@daily", job=whole)
def daily(context: ScheduleEvaluationContext) -> RunRequest:
    return RunRequest(run_key=str(context.scheduled_execution_time))


@sensor(job=whole)
def looks(context: SensorEvaluationContext) -> Iterator[RunRequest]:
    assert_type(context.cursor, str | None)
    yield RunRequest()


def decorators_give_definitions() -> None:
    assert_type(whole, JobDefinition)
    assert_type(tagged, JobDefinition)
    assert_type(twice.to_job(name="x"), JobDefinition)
    checked: GraphDefinition = twice
    assert_type(checked.name, str)
    assert_type(daily, ScheduleDefinition)
    assert_type(looks, SensorDefinition)


def results_are_known() -> None:
    result = whole.execute_in_process()
    assert_type(result, ExecuteInProcessResult)
    assert_type(result.success, bool)
    assert_type(result.run_id, str)
    assert_type(result.run, RunRecord)
    assert_type(result.all_events, Sequence[AnyEvent])
    assert_type(result.output_for_node("add"), Any)
    with Instance.get() as instance, execute_job(whole, instance) as stored:
        assert_type(instance, Instance)
        assert_type(stored, JobExecutionResult)
        assert_type(stored.run.started, float | None)


def events_are_known() -> None:
    result = whole.execute_in_process()
    event = result.all_events[0]
    assert_type(event.event_type, EventType)
    assert_type(event.step_key, str | None)
    assert_type(event.is_step_success, bool)
    assert_type(event.asset_key, AssetKey | None)
    assert_type(MetadataValue.md("x").md_str, str)
    assert_type(MetadataValue.int(1).value, int | None)
    assert_type(result.asset_materializations_for_node("add"), list[AssetMaterialization])
    with Instance.ephemeral() as instance:
        entry: EventLogEntry = instance.all_logs(result.run_id)[0]
        assert_type(entry.message, str)
        assert_type(instance.get_run_records()[0].run, RunRecord)


def results_of_sensors_take_what_can_be_gone_through(names: Iterator[str]) -> None:
    files = DynamicPartitionsDefinition(name="files")
    requests = (files.build_add_request(str(each) for each in [number]) for number in range(3))
    result = SensorResult((RunRequest(name) for name in names), "none", None, requests, iter([]))
    assert_type(result.run_requests, Sequence[RunRequest] | None)
    assert_type(result.skip_reason, SkipReason | None)
