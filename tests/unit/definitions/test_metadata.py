"""Metadata of all kinds, and the events that carry it."""

from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import opgrid
from opgrid import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    ExpectationResult,
    InvalidDefinitionError,
    MetadataValue,
    OpExecutionContext,
    Output,
    TableColumn,
    TableRecord,
    TableSchema,
    job,
    op,
)
from opgrid.contracts.events import AssetMaterialized, AssetObserved, ExpectationChecked, StepOutput
from opgrid.contracts.metadata import metadata_from_json, metadata_to_json

_SCHEMA = TableSchema(columns=[TableColumn("n", "int"), TableColumn("s")])

#: What is given, and what comes back from the log.
_KINDS: dict[str, tuple[Any, Any]] = {
    "plain_text": ("text", "text"),
    "plain_int": (3, 3),
    "plain_float": (1.5, 1.5),
    "plain_bool": (True, True),
    "plain_dict": ({"a": [1, None]}, {"a": [1, None]}),
    "plain_list": ([1, "a"], [1, "a"]),
    "plain_path": (Path("/tmp/x"), "/tmp/x"),
    "none": (None, None),
    "text": (MetadataValue.text("t"), "t"),
    "int": (MetadataValue.int(4), 4),
    "float": (MetadataValue.float(0.5), 0.5),
    "bool": (MetadataValue.bool(False), False),
    "url": (MetadataValue.url("https://x.example"), "https://x.example"),
    "path": (MetadataValue.path("/tmp/y"), "/tmp/y"),
    "md": (MetadataValue.md("# h"), "# h"),
    "json": (MetadataValue.json({"k": 1}), {"k": 1}),
    "notebook": (MetadataValue.notebook("/tmp/n.ipynb"), "/tmp/n.ipynb"),
    "job": (MetadataValue.job("nightly"), MetadataValue.job("nightly")),
    "timestamp": (MetadataValue.timestamp(1_700_000_000.0), 1_700_000_000.0),
    "null": (MetadataValue.null(), None),
}


@op
def tells(context: OpExecutionContext) -> Output[int]:
    given = {name: value for name, (value, _) in _KINDS.items()}
    context.log_event(
        AssetMaterialization(["db", "orders"], description="made", metadata=given, partition="p", tags={"a": "b"})
    )
    context.log_event(AssetObservation("orders", metadata={"rows": 3}))
    context.log_event(ExpectationResult(success=False, label="enough", description="too few", metadata={"got": 1}))
    context.add_output_metadata({"added": 1})
    return Output(1, metadata={"table": MetadataValue.table([TableRecord({"n": 1, "s": "x"})], _SCHEMA)})


@job
def telling() -> None:
    tells()


def _flat(metadata: dict[str, Any]) -> dict[str, Any]:
    """The values, whatever kind they are marked with."""
    return {name: _value(each) for name, each in metadata.items()}


def _value(stored: Any) -> Any:
    return stored.value if isinstance(stored, MetadataValue) else stored["value"]


def test_a_key_is_written_in_several_ways() -> None:
    key = AssetKey(["ware-house", "orders"])
    assert (key.to_user_string(), key.to_string()) == ("ware-house/orders", '["ware-house", "orders"]')
    assert (key.to_python_identifier(), key.to_python_identifier("io")) == (
        "ware_house__orders",
        "ware_house__orders__io",
    )
    assert key.has_prefix(["ware-house"])
    assert not key.has_prefix(["orders"])


def test_a_file_that_was_written() -> None:
    made = AssetMaterialization.file("/data/orders.csv", description="all of them")
    assert (made.asset_key, made.description) == (AssetKey(["data", "orders", "csv"]), "all of them")
    assert made.metadata["path"].value == "/data/orders.csv"
    assert AssetMaterialization.file("orders.csv", asset_key="orders").asset_key == AssetKey("orders")


@pytest.mark.parametrize("kind", [AssetMaterialization, AssetObservation])
def test_a_text_is_a_key_of_several_parts_where_an_op_tells_of_it(kind: Any) -> None:
    for text in ("db.orders", "db/orders", "/db orders-"):
        assert kind(text).asset_key == AssetKey(["db", "orders"])
    assert kind("my_orders2").asset_key == AssetKey("my_orders2")
    assert kind("größe/订单").asset_key == AssetKey(["größe", "订单"])
    assert kind("---").asset_key == AssetKey("---")
    assert kind(["db.x", "orders"]).asset_key == AssetKey(["db.x", "orders"])
    assert kind(AssetKey("db.orders")).asset_key == AssetKey(["db.orders"])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: AssetMaterialization("a", partition=3), "The partition of AssetMaterialization has to be text, not 3"),  # type: ignore[arg-type]
        (lambda: AssetObservation("a", description=3), "The description of AssetObservation has to be text, not 3"),  # type: ignore[arg-type]
        (lambda: ExpectationResult("yes"), "The success of an ExpectationResult is True or False, not 'yes'"),  # type: ignore[arg-type]
        (lambda: ExpectationResult(True, label=3), "The label of an ExpectationResult has to be text, not 3"),  # type: ignore[arg-type]
    ],
)
def test_what_no_log_could_hold_is_refused_where_it_is_said(make: Any, named: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=named):
        make()


def test_two_facts_that_say_the_same_are_equal() -> None:
    for kind in (AssetMaterialization, AssetObservation):
        assert kind("a", metadata={"n": 1}) == kind(["a"], metadata={"n": 1})
        assert kind("a", metadata={"n": 1}) != kind("a", metadata={"n": 2})
        assert len({kind("a", metadata={"n": 1}), kind(["a"], metadata={"n": 1}), kind("a", metadata={"n": 2})}) == 2
    assert ExpectationResult(True, "l") == ExpectationResult(True, "l")
    assert ExpectationResult(True, "l") != ExpectationResult(False, "l")
    assert AssetMaterialization("a") != AssetObservation("a")
    (made,) = telling.execute_in_process().asset_materializations_for_node("tells")
    assert made == AssetMaterialization(
        made.asset_key, description="made", metadata=made.metadata, partition="p", tags={"a": "b"}
    )


def test_metadata_of_every_kind_comes_back() -> None:
    result = telling.execute_in_process()
    (made,) = result.asset_materializations_for_node("tells")
    assert made.asset_key == AssetKey(["db", "orders"])
    assert (made.description, made.partition, made.tags) == ("made", "p", {"a": "b"})
    assert _flat(made.metadata) == {name: expected for name, (_, expected) in _KINDS.items()}
    (seen,) = result.asset_observations_for_node("tells")
    assert (seen.asset_key, _flat(seen.metadata)) == (AssetKey("orders"), {"rows": 3})
    (checked,) = result.expectation_results_for_node("tells")
    assert (checked.success, checked.label, checked.description) == (False, "enough", "too few")
    assert _flat(checked.metadata) == {"got": 1}
    kinds = [type(event) for event in result.all_events]
    assert {AssetMaterialized, AssetObserved, ExpectationChecked} <= set(kinds)


#: Each class: what makes it, and its attributes by Dagster's names.
_CLASSES: list[tuple[type[MetadataValue], MetadataValue, dict[str, Any]]] = [
    (opgrid.TextMetadataValue, MetadataValue.text("t"), {"text": "t", "value": "t"}),
    (opgrid.IntMetadataValue, MetadataValue.int(4), {"value": 4}),
    (opgrid.FloatMetadataValue, MetadataValue.float(4), {"value": 4.0}),
    (opgrid.BoolMetadataValue, MetadataValue.bool(True), {"value": True}),
    (opgrid.UrlMetadataValue, MetadataValue.url("u"), {"url": "u", "value": "u"}),
    (opgrid.PathMetadataValue, MetadataValue.path(Path("/p")), {"path": "/p", "fspath": "/p", "value": "/p"}),
    (opgrid.NotebookMetadataValue, MetadataValue.notebook("/n"), {"path": "/n", "value": "/n"}),
    (opgrid.MarkdownMetadataValue, MetadataValue.md("# h"), {"md_str": "# h", "value": "# h"}),
    (opgrid.JsonMetadataValue, MetadataValue.json({"k": [1]}), {"data": {"k": [1]}, "value": {"k": [1]}}),
    (opgrid.TimestampMetadataValue, MetadataValue.timestamp(5), {"value": 5.0}),
    (opgrid.NullMetadataValue, MetadataValue.null(), {"value": None}),
    (opgrid.RunMetadataValue, MetadataValue.run("r"), {"run_id": "r", "value": "r"}),
    (opgrid.PoolMetadataValue, MetadataValue.pool("db"), {"pool": "db", "value": "db"}),
    (
        opgrid.AssetMetadataValue,
        MetadataValue.asset(AssetKey(["lake", "orders"])),
        {"asset_key": AssetKey(["lake", "orders"]), "value": AssetKey(["lake", "orders"])},
    ),
    (
        opgrid.JobMetadataValue,
        MetadataValue.job("nightly", "there"),
        {"job_name": "nightly", "location_name": "there", "repository_name": None},
    ),
    (
        opgrid.PythonArtifactMetadataValue,
        MetadataValue.python_artifact(Path),
        {"module": Path.__module__, "name": "Path"},
    ),
    (
        opgrid.TableMetadataValue,
        MetadataValue.table([TableRecord({"n": 1, "s": "x"})], _SCHEMA),
        {"records": [TableRecord({"n": 1, "s": "x"})], "schema": _SCHEMA},
    ),
    (opgrid.TableSchemaMetadataValue, MetadataValue.table_schema(_SCHEMA), {"schema": _SCHEMA, "value": _SCHEMA}),
]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [float, MetadataValue.float])
def test_what_is_no_number_to_json_comes_back(kind: Any, number: float) -> None:
    written = json.dumps(metadata_to_json({"loss": kind(number)}), allow_nan=False)
    value = metadata_from_json(json.loads(written))["loss"].value
    assert isinstance(value, float)
    assert (value == number) or (math.isnan(value) and math.isnan(number))


@pytest.mark.parametrize(("kind", "made", "said"), _CLASSES, ids=lambda each: getattr(each, "__name__", ""))
def test_each_kind_has_its_class(kind: type[MetadataValue], made: MetadataValue, said: dict[str, Any]) -> None:
    @op
    def tell(context: OpExecutionContext) -> None:
        context.log_event(AssetMaterialization("x", metadata={"m": made}))
        context.add_output_metadata({"m": made})

    @job
    def told() -> None:
        tell()

    result = told.execute_in_process()
    logged = result.asset_materializations_for_node("tell")[0].metadata["m"]
    (output,) = result.get_output_events_for_node("tell")
    for value in (made, logged, output.step_output_data.metadata["m"], pickle.loads(pickle.dumps(made))):
        assert type(value) is kind
        assert isinstance(value, MetadataValue)
        assert {name: getattr(value, name) for name in said} == said
        assert (value, hash(value)) == (made, hash(made))
        assert value.value == made.value


def test_a_value_can_be_made_by_its_class() -> None:
    assert opgrid.MarkdownMetadataValue(md_str="x") == MetadataValue.md("x")
    assert repr(MetadataValue.md("x")) == "MarkdownMetadataValue(md_str='x')"
    assert repr(MetadataValue.null()) == "NullMetadataValue()"
    assert opgrid.UrlMetadataValue("x") != opgrid.TextMetadataValue("x")
    assert opgrid.IntMetadataValue(1) != opgrid.BoolMetadataValue(True)
    assert len({MetadataValue.json([1]), MetadataValue.json([1]), MetadataValue.int(1), MetadataValue.float(1)}) == 3
    with pytest.raises(InvalidDefinitionError, match="url cannot hold 3"):
        opgrid.UrlMetadataValue(3)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="cannot be changed"):
        opgrid.IntMetadataValue(1).kind = "float"  # type: ignore[misc]
    with pytest.raises(TypeError, match="abstract"):
        MetadataValue()


def test_schemas_of_tables_come_back_whole() -> None:
    column = TableColumn("id", "int", "d", opgrid.TableColumnConstraints(False, True, ["> 0"]), {"pii": "no"})
    schema = TableSchema([column, TableColumn("x")], opgrid.TableConstraints(["one row a day"]))
    assert MetadataValue.table_schema(schema).schema == schema


def test_metadata_of_outputs() -> None:
    (event,) = telling.execute_in_process().get_output_events_for_node("tells")
    assert isinstance(event, StepOutput)
    assert _value(event.metadata["added"]) == 1
    assert "'n'" in repr(event.metadata["table"])


def test_what_is_told_may_be_told_with_other_metadata() -> None:
    for kind in (AssetMaterialization, AssetObservation):
        fact = kind("orders", "all of them", {"rows": 1}, "2024-01-01", {"team": "a"})
        assert fact.with_metadata({"rows": 2}) == kind(
            "orders", "all of them", {"rows": 2}, "2024-01-01", {"team": "a"}
        )
        assert fact.metadata == {"rows": MetadataValue.int(1)}
    output = Output(5, "rows", {"rows": 1}, "v1", tags={"team": "a"})
    assert output.with_metadata({"rows": 2}) == Output(5, "rows", {"rows": 2}, "v1", tags={"team": "a"})
    assert output.with_metadata(None).metadata == {}


def test_a_schema_is_made_of_names_and_types() -> None:
    made = TableSchema.from_name_type_dict({"id": "int", "name": "string"})
    assert made == TableSchema([TableColumn("id", "int"), TableColumn("name")])


def test_a_time_is_told_as_one() -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert MetadataValue.timestamp(at).value == at.timestamp()


def test_an_asset_is_told_by_its_key() -> None:
    key = AssetKey(["lake", "orders"])
    made = AssetMaterialization("x", metadata={"from": key, "to": MetadataValue.asset(key)})
    assert made.metadata["from"] == made.metadata["to"] == MetadataValue.asset(key)
    with pytest.raises(InvalidDefinitionError, match=r"MetadataValue\.asset cannot hold 'orders'"):
        MetadataValue.asset("orders")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [object(), {"set": {1}}])
def test_what_no_metadata_can_be(wrong: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="metadata|Metadata"):
        AssetMaterialization("x", metadata={"m": wrong})


def test_asset_keys() -> None:
    assert AssetKey("a") == AssetKey(["a"])
    assert AssetKey(["a", "b"]).to_user_string() == "a/b"
    assert AssetKey(["a", "b"]).parts == ("a", "b")
    assert len({AssetKey("a"), AssetKey(["a"]), AssetKey("b")}) == 2
    with pytest.raises(InvalidDefinitionError):
        AssetKey([])


def test_events_may_be_yielded() -> None:
    @op
    def yields():  # type: ignore[no-untyped-def]
        yield AssetMaterialization("made")
        yield ExpectationResult(success=True)
        yield Output(5)

    @job
    def yielding() -> None:
        yields()

    result = yielding.execute_in_process()
    assert result.output_for_node("yields") == 5
    assert len(result.asset_materializations_for_node("yields")) == 1
    assert len(result.expectation_results_for_node("yields")) == 1


def test_tags_of_ops_are_texts() -> None:
    @op(tags={"a": 1, "b": {"c": [2]}})
    def tagged() -> None: ...

    assert tagged.tags == {"a": "1", "b": '{"c": [2]}'}
