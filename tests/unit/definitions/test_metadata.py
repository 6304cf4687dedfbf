"""Metadata of all kinds, and the events that carry it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

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
    "job": (
        MetadataValue.job("nightly"),
        {"job_name": "nightly", "location_name": "", "repository_name": None},
    ),
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


def test_metadata_of_outputs() -> None:
    (event,) = telling.execute_in_process().get_output_events_for_node("tells")
    assert isinstance(event, StepOutput)
    assert _value(event.metadata["added"]) == 1
    assert "'n'" in repr(event.metadata["table"])


def test_a_time_is_told_as_one() -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    assert MetadataValue.timestamp(at).value == at.timestamp()


@pytest.mark.parametrize("wrong", [object(), {"set": {1}}])
def test_what_no_metadata_can_be(wrong: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="metadata|Metadata"):
        AssetMaterialization("x", metadata={"m": wrong})


def test_asset_keys() -> None:
    assert AssetKey("a") == AssetKey(["a"])
    assert AssetKey(["a", "b"]).to_user_string() == "a/b"
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
