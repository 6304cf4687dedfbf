"""Habits of code that was written for Dagster, and that has to mean the same here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from unittest.mock import MagicMock

import pydantic
import pytest

from opgrid import Any as AnyType
from opgrid import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    Backoff,
    Bool,
    Config,
    ConfigurableResource,
    Definitions,
    DynamicOut,
    DynamicOutput,
    Event,
    EventLogEntry,
    EventRecordsFilter,
    EventType,
    ExecuteInProcessResult,
    ExpectationResult,
    Failure,
    Field,
    Float,
    In,
    InitResourceContext,
    InputContext,
    Instance,
    Int,
    InvalidConfigDefinitionError,
    InvalidConfigError,
    InvalidDefinitionError,
    InvalidInvocationError,
    InvalidSubsetError,
    InvariantViolationError,
    IOManager,
    Jitter,
    JobDefinition,
    MetadataValue,
    MultiPartitionsDefinition,
    Noneable,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    OutputContext,
    ResourceDefinition,
    RetryPolicy,
    RetryRequested,
    RunConfig,
    ScheduleDefinition,
    StaticPartitionsDefinition,
    String,
    TableColumn,
    TableColumnConstraints,
    TableConstraints,
    TableSchema,
    Type,
    TypeCheck,
    UPathIOManager,
    build_output_context,
    file_relative_path,
    graph,
    in_process_executor,
    input_manager,
    instance_for_test,
    io_manager,
    job,
    logger,
    make_values_resource,
    multi_or_in_process_executor,
    multiprocess_executor,
    op,
    repository,
    resource,
    validate_run_config,
)


@op
def one() -> int:
    return 1


@op
def two() -> int:
    return 2


# ---- calls ---------------------------------------------------------------------------------------


def test_positions_are_those_of_the_function_whatever_ins_says_first() -> None:
    @op(ins={"start": In(Nothing), "a": In(), "b": In()})
    def told(b: int, a: int) -> str:
        return f"a={a} b={b}"

    @job
    def calls() -> None:
        told(one(), two())
        told.alias("ordered")(one(), two(), one())
        told.alias("named")(one(), two(), start=two())

    result = calls.execute_in_process()
    assert {result.output_for_node(name) for name in ("told", "ordered", "named")} == {"a=2 b=1"}
    assert told(1, 2) == "a=2 b=1"


# ---- config --------------------------------------------------------------------------------------


def test_an_op_without_a_schema_takes_any_config() -> None:
    @op
    def reads(context: OpExecutionContext) -> Any:
        return context.op_config

    @resource
    def source(context: InitResourceContext) -> Any:
        return context.resource_config

    @op(required_resource_keys={"source"})
    def uses(context: OpExecutionContext) -> Any:
        return context.resources.source

    @job(resource_defs={"source": source})
    def free() -> None:
        reads()
        uses()

    config = {"ops": {"reads": {"config": {"rows": [1]}}}, "resources": {"source": {"config": 5}}}
    result = free.execute_in_process(run_config=config)
    assert (result.output_for_node("reads"), result.output_for_node("uses")) == ({"rows": [1]}, 5)
    assert free.execute_in_process().output_for_node("reads") is None


def test_config_that_nobody_could_look_at_is_an_error() -> None:
    @job
    def blind() -> None:
        one()

    with pytest.raises(InvalidConfigError, match="op 'one' takes no config: it has no config parameter, and no conte"):
        blind.execute_in_process(run_config={"ops": {"one": {"config": 3}}})


def test_types_of_inputs_are_config_schemas_too() -> None:
    schema = {"i": Int, "f": Float, "s": String, "b": Bool, "any": AnyType, "more": Field(Int, default_value=7)}

    @op(config_schema=schema)
    def reads(context: OpExecutionContext) -> Any:
        return context.op_config

    @job
    def typed() -> None:
        reads()

    good = {"i": 1, "f": 1.5, "s": "x", "b": True, "any": [{}]}
    whole = typed.execute_in_process(run_config={"ops": {"reads": {"config": good}}}).output_for_node("reads")
    assert whole == {**good, "more": 7}
    with pytest.raises(InvalidConfigError) as told:
        validate_run_config(job_def=typed, run_config={"ops": {"reads": {"config": {**good, "i": "x", "b": 1}}}})
    assert len(told.value.errors) == 2


class Loose(Config):
    limit: int | None
    name: str | None
    size: int | None = 5


class LooseResource(ConfigurableResource):
    url: str | None


@op
def reads_loose(config: Loose, loose: LooseResource) -> Any:
    return config.limit, config.name, config.size, loose.url


@job(resource_defs={"loose": LooseResource()})
def loosely() -> None:
    reads_loose()


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ({}, (None, None, 5, None)),
        ({"limit": 3, "size": None}, (3, None, None, None)),
        ({"name": "x", "limit": None}, (None, "x", 5, None)),
    ],
)
def test_a_field_that_may_be_none_need_not_be_given(written: Any, seen: Any) -> None:
    config = {"ops": {"reads_loose": {"config": written}}}
    assert loosely.execute_in_process(run_config=config).output_for_node("reads_loose") == seen
    given = RunConfig(ops={"reads_loose": Loose(**written)})
    assert loosely.execute_in_process(run_config=given).output_for_node("reads_loose") == seen


def test_nothing_has_to_be_given_where_all_fields_may_be_none() -> None:
    assert loosely.execute_in_process().output_for_node("reads_loose") == (None, None, 5, None)
    assert "required" not in loosely.run_config_schema["properties"]["ops"]["properties"]["reads_loose"]


class Cat(Config):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(Config):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Owner(Config):
    pet: Cat | Dog = pydantic.Field(discriminator="kind")


@op
def keeps(config: Owner) -> Any:
    return config.pet


@job
def keeping() -> None:
    keeps()


@pytest.mark.parametrize(
    ("written", "pet"),
    [
        ({"dog": {"tricks": ["roll"]}}, Dog(tricks=["roll"])),
        ({"kind": "dog", "tricks": ["roll"]}, Dog(tricks=["roll"])),
        ({"dog": {}}, Dog()),
        ({"cat": {"lives": 9}}, Cat(lives=9)),
    ],
)
def test_one_of_several_models_is_chosen_by_its_mark_or_by_a_key(written: Any, pet: Config) -> None:
    config = {"ops": {"keeps": {"config": {"pet": written}}}}
    assert keeping.execute_in_process(run_config=config).output_for_node("keeps") == pet
    given = RunConfig(ops={"keeps": Owner(pet=pet)})
    assert keeping.execute_in_process(run_config=given).output_for_node("keeps") == pet


@pytest.mark.parametrize(
    "written", [{"bird": {}}, {"cat": {}}, {"dog": {"lives": 1}}, {"dog": {}, "cat": {"lives": 9}}]
)
def test_a_choice_that_does_not_fit_is_told(written: Any) -> None:
    with pytest.raises(InvalidConfigError, match="root:ops:keeps:config:pet"):
        keeping.execute_in_process(run_config={"ops": {"keeps": {"config": {"pet": written}}}})


# ---- resources -----------------------------------------------------------------------------------


def test_a_mock_stands_in_for_a_resource() -> None:
    class Server(ConfigurableResource):
        def answer(self) -> int:
            return 1

    @op
    def asks(server: Server) -> int:
        return server.answer()

    @job(resource_defs={"server": Server()})
    def asking() -> None:
        asks()

    mock = MagicMock()
    mock.answer.return_value = 42
    assert asking.execute_in_process(resources={"server": mock}).output_for_node("asks") == 42


def test_values_of_a_values_resource_are_items() -> None:
    @op(required_resource_keys={"globals"})
    def reads(context: OpExecutionContext) -> Any:
        return context.resources.globals["size"]

    @job(resource_defs={"globals": make_values_resource(size=int)})
    def valued() -> None:
        reads()

    config = {"resources": {"globals": {"config": {"size": 3}}}}
    assert valued.execute_in_process(run_config=config).output_for_node("reads") == 3


def test_setup_sees_its_config_as_a_dict() -> None:
    seen: list[Any] = []

    class Server(ConfigurableResource):
        host: str
        port: int = 80

        def setup_for_execution(self, context: InitResourceContext) -> None:
            seen.append((context.resource_config["host"], context.resource_config["port"]))

    @op
    def asks(server: Server) -> None: ...

    @job(resource_defs={"server": Server(host="h")})
    def asking() -> None:
        asks()

    asking.execute_in_process(run_config={"resources": {"server": {"config": {"port": 81}}}})
    assert seen == [("h", 81)]


def test_a_nested_resource_that_is_left_to_the_launch_needs_a_key() -> None:
    class Inner(ConfigurableResource):
        url: str

    class Outer(ConfigurableResource):
        inner: Inner

    @op
    def uses(outer: Outer) -> str:
        return outer.inner.url

    def using(**resources: Any) -> JobDefinition:
        @job(resource_defs=resources)
        def uses_both() -> None:
            uses()

        return uses_both

    inner = Inner.configure_at_launch()
    with pytest.raises(InvalidDefinitionError, match="'outer' holds as 'inner' one that is configured at launch"):
        using(outer=Outer(inner=inner)).check_resources()
    config = {"resources": {"inner": {"config": {"url": "u"}}}}
    whole = using(outer=Outer(inner=inner), inner=inner)
    assert whole.execute_in_process(run_config=config).output_for_node("uses") == "u"


# ---- running -------------------------------------------------------------------------------------


def test_in_process_the_executor_and_its_config_do_not_matter() -> None:
    @job(executor_def=multiprocess_executor, config={"execution": {"config": {"max_concurrent": 3}}})
    def bound() -> None:
        one()

    @job
    def free() -> None:
        one()

    assert bound.execute_in_process(run_config={"execution": {"config": {"max_concurrent": 2}}}).success
    assert free.execute_in_process(
        run_config={"execution": {"config": {"multiprocess": {"max_concurrent": 2}}}}
    ).success
    with pytest.raises(InvalidConfigError, match="root:execution:configs"):
        free.execute_in_process(run_config={"execution": {"configs": {}}})


@graph
def both() -> None:
    one()
    two()


@job
def nested() -> None:
    one()
    both()


def test_a_subset_of_a_job_is_a_job() -> None:
    subset = nested.get_subset(op_selection=["both"])
    result = subset.execute_in_process()
    assert (result.run.job_name, {event.step for event in result.all_node_events}) == (
        "nested",
        {"both.one", "both.two"},
    )
    narrower = subset.execute_in_process(op_selection=["both.two"])
    assert {event.step for event in narrower.all_node_events} == {"both.two"}
    with pytest.raises(InvalidSubsetError, match="takes 'one'"):
        subset.execute_in_process(op_selection=["one"])
    chosen = both.to_job(op_selection=["two"]).execute_in_process()
    assert {event.step for event in chosen.all_node_events} == {"two"}


@pytest.mark.parametrize("selection", [[], ["*"]])
def test_all_ops_are_selected_by_a_star_or_by_nothing(selection: list[str]) -> None:
    result = nested.execute_in_process(op_selection=selection)
    assert {event.step for event in result.all_node_events} == {"one", "both.one", "both.two"}


# ---- inputs from the run config ------------------------------------------------------------------


@op
def takes(n: int, some: list[int], by_name: dict[str, int], pair: tuple[int, str], maybe: int | None) -> Any:
    return n, some, by_name, pair, maybe


@job
def taking() -> None:
    takes()


_PLAIN = {"n": 1, "some": [1, 2], "by_name": {"a": 1}, "pair": [1, "x"], "maybe": 5}


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ({}, (1, [1, 2], {"a": 1}, (1, "x"), 5)),
        ({"maybe": None}, (1, [1, 2], {"a": 1}, (1, "x"), None)),
        ({"some": {"value": [3]}, "by_name": {"value": {"b": 2}}}, (1, [3], {"b": 2}, (1, "x"), 5)),
        ({"some": [{"value": 3}, 4], "maybe": {"value": 6}}, (1, [3, 4], {"a": 1}, (1, "x"), 6)),
    ],
)
def test_lists_and_mappings_are_written_as_they_are(written: Any, taken: Any) -> None:
    config = {"ops": {"takes": {"inputs": {**_PLAIN, **written}}}}
    assert taking.execute_in_process(run_config=config).output_for_node("takes") == taken


@pytest.mark.parametrize("written", [{"some": 5}, {"some": {"a": 1}}, {"by_name": [1]}, {"maybe": "x"}, {"pair": 3}])
def test_a_value_of_the_wrong_shape_is_told_before_anything_runs(written: dict[str, Any]) -> None:
    (name,) = written
    with pytest.raises(InvalidConfigError, match=f"root:ops:takes:inputs:{name}"):
        taking.execute_in_process(run_config={"ops": {"takes": {"inputs": {**_PLAIN, **written}}}})


# ---- events --------------------------------------------------------------------------------------


@op(out={"rows": Out(int), "parts": DynamicOut()})
def tells(context: OpExecutionContext) -> Iterator[Any]:
    context.log_event(AssetMaterialization(["db", "orders"], metadata={"n": 1}, partition="p"))
    context.log_event(AssetObservation("seen", metadata={"n": 2}))
    context.log_event(ExpectationResult(True, "enough", metadata={"n": 3}))
    yield Output(5, "rows", metadata={"n": 4})
    yield DynamicOutput(6, "k", "parts")


@op
def breaks(context: OpExecutionContext, part: int) -> None:
    if not context.retry_number:
        raise RetryRequested(max_retries=1, seconds_to_wait=0.0)
    raise Failure("broken", metadata={"n": 5})


@op
def below(nothing: Any) -> None: ...


@job
def eventful() -> None:
    _, parts = tells()
    below(parts.map(breaks).collect())


def of_type(result: ExecuteInProcessResult, kind: EventType) -> Event:
    return result.filter_events(lambda event: event.event_type is kind)[0]


_Rows = Type(lambda _, rows: TypeCheck(bool(rows), "some rows", {"rows": len(rows)}), "Rows")


@op(out={"rows": Out(_Rows), "note": Out()})
def reads() -> Iterator[Any]:
    yield Output([1, 2], "rows")
    yield Output("n", "note")


@op
def counts(rows: int) -> None: ...


@job
def checked() -> None:
    rows, _ = reads()
    counts(rows)


def test_an_event_tells_what_the_type_said_of_a_value() -> None:
    result = checked.execute_in_process(raise_on_error=False)
    outputs = [event.step_output_data for event in result.events_of_type(EventType.STEP_OUTPUT)]
    checks = [each.type_check_data for each in outputs if each is not None]
    assert [each and (each.success, each.label, each.description) for each in checks] == [
        (True, "rows", "some rows"),
        (True, "note", None),
    ]
    assert checks[0] is not None and checks[0].metadata == {"rows": MetadataValue.int(2)}
    taken = of_type(result, EventType.STEP_INPUT).step_input_data
    assert taken is not None and taken.type_check_data is not None
    assert (taken.type_check_data.success, taken.type_check_data.label) == (False, "rows")
    handled = of_type(result, EventType.HANDLED_OUTPUT).event_specific_data
    assert handled.type_check_data is None


def test_an_io_manager_is_told_what_it_has_added_so_far() -> None:
    context = build_output_context(name="rows")
    assert context.get_logged_metadata() == {}
    context.add_output_metadata({"rows": 2})
    context.add_output_metadata({"path": Path("/data")})
    assert context.get_logged_metadata() == {"rows": MetadataValue.int(2), "path": MetadataValue.path("/data")}


@pytest.mark.parametrize(
    ("field", "default"),
    [
        (Field(Int, default_value=3), 3),
        (Field({"n": Field(Int, default_value=1)}), {"n": 1}),
        (Field({"n": Field(Int, is_required=False)}), {}),
        (Field(Noneable(Int)), None),
    ],
)
def test_a_field_tells_its_default(field: Field, default: Any) -> None:
    assert field.default_provided
    assert field.default_value == default


@pytest.mark.parametrize("field", [Field(Int), Field(Int, is_required=False), Field({"n": Int}), Field([Int])])
def test_a_field_without_a_default_says_so(field: Field) -> None:
    assert not field.default_provided
    with pytest.raises(InvariantViolationError, match="default_provided"):
        field.default_value


def test_a_policy_tells_how_long_it_waits() -> None:
    policy = RetryPolicy(max_retries=3, delay=2, backoff=Backoff.EXPONENTIAL)
    assert [policy.calculate_delay(number) for number in (1, 2, 3)] == [2, 6, 14]
    assert RetryPolicy().calculate_delay(1) == 0
    by_chance = RetryPolicy(delay=2, jitter=Jitter.FULL)
    assert all(0 <= by_chance.calculate_delay(1) < 2 for _ in range(20))


def test_an_event_answers_in_the_words_of_dagsters() -> None:
    result = eventful.execute_in_process(raise_on_error=False)
    assert {event.event_type_value for event in result.all_events} >= {"PIPELINE_START", "STEP_START", "HANDLED_OUTPUT"}
    output = of_type(result, EventType.STEP_OUTPUT)
    assert (output.is_successful_output, output.step_key, output.node_name) == (True, "tells", "tells")
    assert output.step_output_data is not None
    assert (output.step_output_data.output_name, output.step_output_data.metadata["n"].value) == ("rows", 4)
    success = of_type(result, EventType.STEP_SUCCESS)
    assert success.is_step_success
    assert success.step_success_data is not None
    assert success.event_specific_data.duration_ms >= 0
    retry = of_type(result, EventType.STEP_UP_FOR_RETRY)
    assert (retry.is_step_up_for_retry, retry.step_key, retry.node_name) == (True, "breaks[k]", "breaks")
    assert retry.step_retry_data is not None
    assert retry.step_retry_data.seconds_to_wait == 0
    loaded = of_type(result, EventType.LOADED_INPUT).event_specific_data
    assert (loaded.input_name, loaded.upstream_step_key, loaded.upstream_output_name) == ("part", "tells", "parts")
    last = result.all_events[-1]
    assert (last.is_run_failure, last.is_failure, last.step_key) == (True, True, None)
    assert "breaks[k]" in last.message
    failure = result.get_run_failure_event().job_failure_data
    assert failure is not None
    step = result.get_step_failure_events()[0]
    assert failure.error == step.error
    assert failure.failure_reason.value == "STEP_FAILURE"
    first = failure.first_step_failure_event
    assert (first.step_key, first.attempt, first.at) == ("breaks[k]", step.attempt, step.at)
    assert first.step_failure_data.error_display_string == step.error.to_string()
    assert isinstance(last, Event)
    assert EventLogEntry is Event


def test_a_failure_tells_what_was_said_with_it() -> None:
    failure = eventful.execute_in_process(raise_on_error=False).failure_data_for_node("breaks")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert (failure.user_failure_data.description, failure.user_failure_data.metadata["n"].value) == ("broken", 5)
    assert failure.error.cls_name == "Failure"
    assert "raise Failure" in failure.error.to_string()
    assert any("breaks" in line for line in failure.error.stack)
    assert eventful.execute_in_process(raise_on_error=False).failure_data_for_node("tells") is None


def test_what_ops_told_comes_back_as_they_told_it() -> None:
    result = eventful.execute_in_process(raise_on_error=False)
    (made,) = result.asset_materializations_for_node("tells")
    assert (made.asset_key, made.partition, made.metadata["n"].value) == (AssetKey(["db", "orders"]), "p", 1)
    (seen,) = result.asset_observations_for_node("tells")
    assert (seen.asset_key, seen.metadata["n"]) == (AssetKey("seen"), MetadataValue.int(2))
    (checked,) = result.expectation_results_for_node(node_str="tells")
    assert (checked.success, checked.label, checked.metadata["n"].value) == (True, "enough", 3)
    event = of_type(result, EventType.ASSET_MATERIALIZATION)
    assert event.asset_key == AssetKey.from_user_string("db/orders")
    assert event.event.asset_materialization is not None


def test_records_answer_too() -> None:
    with Instance.ephemeral() as instance:
        run_id = eventful.execute_in_process(instance=instance, raise_on_error=False).run_id
        (record,) = instance.get_event_records(
            EventRecordsFilter(EventType.ASSET_MATERIALIZATION, AssetKey(["db", "orders"]), ["p"])
        )
        assert record.asset_materialization is not None
        assert (record.run_id, record.partition_key, record.asset_key) == (run_id, "p", AssetKey(["db", "orders"]))
        assert not instance.get_event_records(EventRecordsFilter(EventType.ASSET_MATERIALIZATION, None, ["q"]))
        run = instance.get_run_records()[0].run
        assert (run.run_id, run.is_failure_or_canceled, run.create_timestamp.tzinfo is not None) == (run_id, True, True)
        assert run.start_time is not None
        (stats,) = instance.get_run_step_stats(run_id, ["breaks[k]"])
        assert (stats.step_key, stats.attempts) == ("breaks[k]", 2)


def test_metadata_is_kept_as_what_it_is() -> None:
    assert Failure("x", metadata={"n": 1}).metadata["n"].value == 1
    assert Output(1, metadata={"t": "x"}).metadata["t"] == MetadataValue.text("x")

    @job(metadata={"n": 1})
    def described() -> None: ...

    assert described.metadata["n"].value == 1
    assert In(metadata={"n": 1}).metadata == {"n": 1}  # this is read by IO managers, as it was written


# ---- IO ------------------------------------------------------------------------------------------


def test_managers_have_the_resources_that_they_require() -> None:
    seen: list[Any] = []

    class Store(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            seen.append(context.resources.bucket)

        def load_input(self, context: InputContext) -> Any:
            context.add_input_metadata({"link": MetadataValue.url("u")})
            return context.resources.bucket

    @io_manager(required_resource_keys={"bucket"})
    def store(_: InitResourceContext) -> Store:
        return Store()

    @input_manager(required_resource_keys={"bucket"}, config_schema={"base": str}, input_config_schema={"name": str})
    def reader(context: InputContext) -> str:
        return str(context.resource_config["base"] + context.config["name"] + context.resources.bucket)

    @op(ins={"a": In(), "b": In(input_manager_key="reader")})
    def both_of(a: Any, b: Any) -> Any:
        return [a, b]

    bucket = ResourceDefinition.hardcoded_resource("B")

    @job(resource_defs={"io_manager": store, "reader": reader, "bucket": bucket})
    def stored() -> None:
        both_of(one())

    config = {
        "resources": {"reader": {"config": {"base": "/"}}},
        "ops": {"both_of": {"inputs": {"b": {"name": "n"}}}},
    }
    result = stored.execute_in_process(run_config=config)
    assert result.output_for_node("both_of") == ["B", "/nB"]
    assert seen == ["B", "B"]
    assert of_type(result, EventType.LOADED_INPUT).event_specific_data.metadata["link"].value == "u"


def test_values_under_paths_of_their_own(tmp_path: Path) -> None:
    class Texts(UPathIOManager):
        extension = ".txt"

        def dump_to_path(self, context: OutputContext, obj: Any, path: Any) -> None:
            path.write_text(str(obj))

        def load_from_path(self, context: InputContext, path: Any) -> str:
            return str(path.read_text())

        def get_metadata(self, context: OutputContext, obj: Any) -> dict[str, Any]:
            return {"length": len(str(obj))}

    @op(out=DynamicOut())
    def words() -> Iterator[DynamicOutput[str]]:
        yield DynamicOutput("yes", mapping_key="k")

    @op
    def shouts(word: str) -> str:
        return f"{word}!"

    @job(resource_defs={"io_manager": Texts(base_path=tmp_path)})
    def texts() -> None:
        words().map(shouts)

    result = texts.execute_in_process()
    kept = {str(path.relative_to(tmp_path / result.run_id)): path.read_text() for path in tmp_path.rglob("*.txt")}
    assert kept == {"words/result/k.txt": "yes", "shouts%5Bk%5D/result.txt": "yes!"}
    assert of_type(result, EventType.HANDLED_OUTPUT).event_specific_data.metadata["length"].value == 3


# ---- the rest ------------------------------------------------------------------------------------


def test_tags_of_runs_are_those_for_runs_where_there_are_any() -> None:
    @job(tags={"team": "a"}, run_tags={"tier": "1"})
    def both_kinds() -> None: ...

    @job(tags={"team": "a"})
    def one_kind() -> None: ...

    assert both_kinds.execute_in_process().run.tags == {"tier": "1"}
    assert one_kind.execute_in_process(tags={"more": "b"}).run.tags == {"team": "a", "more": "b"}


def test_the_key_of_several_dimensions_knows_them() -> None:
    @op
    def reads(context: OpExecutionContext) -> Any:
        return context.partition_key.keys_by_dimension["region"]

    both_ways = MultiPartitionsDefinition(
        {"region": StaticPartitionsDefinition(["eu", "us"]), "kind": StaticPartitionsDefinition(["a", "b"])}
    )

    @job(partitions_def=both_ways)
    def by_both() -> None:
        reads()

    assert by_both.execute_in_process(partition_key="a|us").output_for_node("reads") == "us"


def test_an_instance_for_a_test_has_the_settings_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPGRID_HOME", "/before")
    settings = {"python_logs": {"managed_python_loggers": ["mine"]}}
    with instance_for_test(overrides=settings, temp_dir=str(tmp_path)) as instance:
        assert os.environ["OPGRID_HOME"] == str(tmp_path)
        assert instance.python_logs.loggers == ("mine",)
    assert (tmp_path / "opgrid.db").exists()
    with instance_for_test(set_home=False):
        assert os.environ["OPGRID_HOME"] == "/before"
    assert os.environ["OPGRID_HOME"] == "/before"


def test_a_repository_is_asked_in_its_own_words() -> None:
    schedule = ScheduleDefinition(job=nested, cron_schedule="@daily")

    @repository
    def everything() -> list[Any]:
        return [nested, schedule]

    assert everything.get_job("nested").name == "nested"
    assert (everything.has_job("nested"), everything.job_names) == (True, ["nested"])
    assert [each.name for each in everything.get_all_jobs()] == ["nested"]
    assert everything.schedule_defs == [schedule]
    assert everything.has_schedule_def(schedule.name)
    assert not everything.has_sensor_def("nested")


def test_columns_of_tables_have_constraints() -> None:
    columns = [
        TableColumn("id", "int", constraints=TableColumnConstraints(nullable=False, unique=True)),
        TableColumn("x"),
    ]
    schema = TableSchema(columns, TableConstraints(["one row a day"]))
    told = MetadataValue.table_schema(schema).as_data()["value"]
    assert told["columns"][0]["constraints"] == {"nullable": False, "unique": True, "other": []}
    assert "constraints" not in told["columns"][1]
    assert told["constraints"] == ["one row a day"]


def test_a_job_may_pass_on_what_a_call_of_several_outputs_gave() -> None:
    @op(out={"a": Out(), "b": Out()})
    def several() -> tuple[int, int]:
        return 1, 2

    @job
    def passing() -> Any:
        return several()

    assert passing.execute_in_process().output_for_node("several", "b") == 2


def test_a_path_beside_a_file() -> None:
    beside = file_relative_path(__file__, "test_op.py")
    assert Path(beside) == Path(__file__).with_name("test_op.py")


@pytest.mark.parametrize(
    ("clause", "nearest"), [("onne", "one"), ("*both.onne+", "both.one"), ("both.on", "both.one"), ("two", "both.two")]
)
def test_a_subset_of_ops_that_a_job_does_not_have_is_refused_at_once(clause: str, nearest: str) -> None:
    with pytest.raises(InvalidSubsetError, match=rf"matches no step.*'{nearest}'"):
        nested.get_subset(op_selection=["one", clause])
    with pytest.raises(InvalidSubsetError, match="matches no step"):
        nested.graph.to_job(op_selection=[clause])


def test_every_clause_that_a_run_understands_makes_a_subset() -> None:
    for clause in ("one", " one ", "*one", "both.two++", "both", "*"):
        assert nested.get_subset(op_selection=[clause]).execute_in_process().success
    with pytest.raises(InvalidSubsetError, match=r"use \['one'\]"):
        nested.get_subset(op_selection="one")


def test_a_job_names_its_executor_when_it_was_given_none() -> None:
    assert one_job.executor_def is multi_or_in_process_executor
    given = Definitions(jobs=[one_job], executor=in_process_executor)
    assert given.get_job_def("one_job").executor_def is in_process_executor
    own = one_job.with_executor_def(multiprocess_executor)
    assert Definitions(jobs=[own], executor=in_process_executor).get_job_def("one_job").executor_def is own.executor_def
    asked = multi_or_in_process_executor
    own = one_job.with_executor_def(asked)
    assert Definitions(jobs=[own], executor=in_process_executor).get_job_def("one_job").executor_def is asked


@job
def one_job() -> None:
    one()


def test_a_class_within_a_schema_may_name_what_is_defined_after_the_op() -> None:
    @job
    def reading() -> None:
        read_size()

    result = reading.execute_in_process({"ops": {"read_size": {"config": {"sizes": {"page": {"lines": 3}}}}}})
    assert result.output_for_node("read_size") == 3


class Sizes(Config):
    page: Page


@op(config_schema={"sizes": Sizes})
def read_size(context: OpExecutionContext) -> int:
    lines: int = context.op_config["sizes"].page.lines
    return lines


class Page(Config):
    lines: int = 1


@pytest.mark.parametrize(
    ("schema", "message"),
    [("nope", "'nope' is no config schema"), ({"a": {"b": "nope"}}, "at 'a': at 'b': 'nope' is no config schema")],
)
def test_a_config_schema_that_is_none_is_refused_where_it_is_written(schema: Any, message: str) -> None:
    for made in (op(config_schema=schema), resource(config_schema=schema), logger(schema)):
        with pytest.raises(InvalidConfigDefinitionError, match=message):
            made(_of_context)


@pytest.mark.parametrize("port", [In, Out])
def test_a_type_is_not_said_by_its_name(port: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match=r"\('int'\): a type is a class"):
        port("int")


def test_pools_are_one_word_and_teams_may_have_several() -> None:
    with pytest.raises(InvalidDefinitionError, match="without spaces"):
        op(pool="my pool")(_nothing)
    assert job(owners=["team:Data Engineering"])(_nothing).owners == ("team:Data Engineering",)
    for owner in ("team:", "team: ", "team:a:b"):
        with pytest.raises(InvalidDefinitionError, match="an owner is"):
            job(owners=[owner])(_nothing)


def _nothing() -> None: ...


def _of_context(_: object) -> None: ...


def test_keys_of_definitions_are_names_and_loggers_are_loggers() -> None:
    with pytest.raises(InvalidDefinitionError, match="resources.* has the key 1"):
        Definitions(resources={1: "a"})  # type: ignore[dict-item]
    with pytest.raises(InvalidDefinitionError, match="'a b' cannot be the name of a resource.*'a_b'"):
        Definitions(resources={"a b": 1})
    with pytest.raises(InvalidDefinitionError, match="'x' under 'a', which is no logger.*@logger"):
        Definitions(loggers={"a": "x"})
    with pytest.raises(
        InvalidDefinitionError, match="logger_defs of Job '_nothing' .* 'x' under 'a', which is no logger"
    ):
        job(logger_defs={"a": "x"})(_nothing)
    with pytest.raises(InvalidDefinitionError, match="logger_defs of Job 'one_job' has the key 1"):
        one_job.with_logger_defs({1: logger({})(_of_context)})  # type: ignore[dict-item]


def test_docstrings_of_resources_and_loggers_lose_their_indentation() -> None:
    def made(_: object) -> None:
        """Says this.

        And more.
        """

    described = [resource(made).description, logger({})(made).description]
    assert described == ["Says this.\n\nAnd more."] * 2


def test_an_op_whose_outputs_carry_nothing_may_return_none_when_it_is_called() -> None:
    @op(out={"a": Out(Nothing), "b": Out(Nothing)})
    def after() -> None: ...

    assert after() is None


def test_the_label_of_an_asset_is_its_key_in_words() -> None:
    assert AssetMaterialization(["sales", "orders"]).label == "sales orders"


def test_a_selection_within_a_subset_of_a_job_takes_what_is_there() -> None:
    @op
    def two(n: int) -> int:
        return n + 1

    @job
    def both() -> None:
        two(one())

    subset = both.get_subset(op_selection=["one"])
    for selection in (["*"], ["one*"], ["++one"]):
        result = subset.execute_in_process(op_selection=selection)
        assert [event.step_key for event in result.all_events if event.is_step_success] == ["one"]
    with pytest.raises(InvalidSubsetError, match="takes 'two'"):
        subset.execute_in_process(op_selection=["two"])


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("required", [False, True])
def test_a_dynamic_output_that_may_be_left_out_skips_what_collects_it(mapped: bool, required: bool) -> None:
    @op(out=DynamicOut(is_required=required))
    def none_of_them() -> Iterator[DynamicOutput[int]]:
        yield from ()

    @op
    def same(n: int) -> int:
        return n

    @op
    def count(ns: list[int]) -> int:
        return len(ns)

    @job
    def counting() -> None:
        found = none_of_them()
        count((found.map(same) if mapped else found).collect())

    result = counting.execute_in_process()
    assert result.success
    if required:
        assert result.output_for_node("count") == 0
    else:
        assert [event.step_key for event in result.all_events if event.is_step_skipped] == ["count"]


@pytest.mark.parametrize("base", [Config, ConfigurableResource])
def test_what_does_not_change_says_what_to_do_instead(base: Any) -> None:
    class Place(base):  # type: ignore[misc]
        host: str
        _seen: int = pydantic.PrivateAttr(default=0)

    place = Place(host="a")
    with pytest.raises(InvalidInvocationError, match=r"Place\.host cannot be set: .*model_copy.*PrivateAttr"):
        place.host = "b"
    place._seen = 1
    assert (place._seen, place.model_copy(update={"host": "b"}).host) == (1, "b")


def test_a_field_of_a_schema_is_no_field_of_a_class() -> None:
    with pytest.raises(InvalidConfigDefinitionError, match=r"Named\.word has a Field of opgrid.*from pydantic import"):

        class Named(Config):
            word: str = Field(str, default_value="a")  # type: ignore[assignment]


class _Unwritten: ...


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (_Unwritten, r"Strange\.word is .*_Unwritten, which"),
        (list[_Unwritten], r"Strange\.word is list\[.*_Unwritten\], which"),
        (range, r"Strange\.word is range, which"),
    ],
)
def test_a_field_that_no_config_can_be_is_named(kind: Any, named: str) -> None:
    with pytest.raises(InvalidConfigDefinitionError, match=f"{named} config cannot be.*Use int, float, bool, str"):

        class Strange(Config):
            number: int = 1
            word: kind
