"""Jobs by partition: config, tags, and what the op then knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from opgrid import (
    Config,
    DailyPartitionsDefinition,
    DynamicPartitionsDefinition,
    InvalidConfigError,
    InvalidDefinitionError,
    InvariantViolationError,
    MultiPartitionKey,
    MultiPartitionsDefinition,
    OpExecutionContext,
    PartitionedConfig,
    PartitionKeyRange,
    StaticPartitionsDefinition,
    UnknownPartitionError,
    build_op_context,
    daily_partitioned_config,
    dynamic_partitioned_config,
    instance_for_test,
    job,
    op,
    partitioned_config,
    static_partitioned_config,
)


class Window(Config):
    start: str
    end: str = ""


@op
def show(config: Window) -> str:
    return f"{config.start}..{config.end}"


@op
def about(context: OpExecutionContext) -> dict[str, Any]:
    window = context.partition_time_window
    return {"key": context.partition_key, "start": window.start.isoformat(), "end": window.end.isoformat()}


def given(start: str, end: str = "") -> dict[str, Any]:
    return {"ops": {"show": {"config": {"start": start, "end": end}}}}


def test_a_daily_config_gets_the_window() -> None:
    @daily_partitioned_config(start_date="2024-01-01", tags_for_partition_fn=lambda start, end: {"day": str(start.day)})
    def by_day(start: datetime, end: datetime) -> dict[str, Any]:
        return given(start.date().isoformat(), end.date().isoformat())

    @job(config=by_day)
    def daily() -> None:
        show()

    result = daily.execute_in_process(partition_key="2024-03-05")
    assert result.output_for_node("show") == "2024-03-05..2024-03-06"
    tags = result.run.brief.tags
    assert (tags["day"], tags["opgrid/partition"]) == ("5", "2024-03-05")
    assert tags["opgrid/partition_set"] == "daily_partition_set"
    with pytest.raises(UnknownPartitionError, match="2023-12-31"):
        daily.execute_in_process(partition_key="2023-12-31")
    assert by_day(datetime(2024, 1, 1), datetime(2024, 1, 2)) == given("2024-01-01", "2024-01-02")


def test_config_at_launch_goes_before_that_of_the_partition() -> None:
    @static_partitioned_config(["a", "b"])
    def by_key(key: str) -> dict[str, Any]:
        return given(key)

    @job(config=by_key)
    def keyed() -> None:
        show()

    assert keyed.execute_in_process(partition_key="b").output_for_node("show") == "b.."
    mine = keyed.execute_in_process(partition_key="b", run_config=given("mine"))
    assert mine.output_for_node("show") == "mine.."
    assert mine.run.brief.tags["opgrid/partition"] == "b"


def test_where_config_is_missing_a_partition_that_was_not_given_is_named_as_the_reason() -> None:
    @static_partitioned_config(["a", "b"])
    def by_key(key: str) -> dict[str, Any]:
        return given(key)

    @job(config=by_key)
    def keyed() -> None:
        show()

    with pytest.raises(InvalidConfigError, match=r"root:ops:show:(.|\n)*--partition .*partition_key=") as told:
        keyed.execute_in_process()
    assert [problem.path for problem in told.value.errors] == ["root:ops:show:config"]  # type: ignore[attr-defined]
    with pytest.raises(InvalidConfigError) as told:
        keyed.execute_in_process({"ops": {"show": {"config": {}}}})
    assert "--partition" not in str(told.value), "a partition would not change what was given"


def test_the_context_knows_key_and_window() -> None:
    @job(partitions_def=DailyPartitionsDefinition(start_date="2024-01-01", timezone="Europe/Berlin"))
    def windows() -> None:
        about()

    found = windows.execute_in_process(partition_key="2024-03-31").output_for_node("about")
    assert found == {
        "key": "2024-03-31",
        "start": "2024-03-31T00:00:00+01:00",
        "end": "2024-04-01T00:00:00+02:00",
    }


def test_tags_of_a_launch_name_no_other_partition() -> None:
    @op
    def key(context: OpExecutionContext) -> str:
        return context.partition_key

    config = PartitionedConfig(
        StaticPartitionsDefinition(["a", "b"]),
        run_config_for_partition_key_fn=lambda _: {},
        tags_for_partition_key_fn=lambda _: {"team": "north", "opgrid/partition": "b"},
    )

    @job(config=config)
    def tagged() -> None:
        key()

    result = tagged.execute_in_process(partition_key="a", tags={"team": "south", "opgrid/partition": "b"})
    assert result.output_for_node("key") == "a"
    assert result.run.brief.tags["team"] == "south"


def test_keys_of_several_dimensions_may_stand_wherever_text_may() -> None:
    """They are a kind of text; there are others, and kinds of numbers, such as those of numpy."""
    places = MultiPartitionsDefinition(
        {"day": DailyPartitionsDefinition("2024-01-01"), "region": StaticPartitionsDefinition(["eu", "us"])}
    )

    class Kind(float): ...

    class Given(Config):
        key: str
        more: dict[str, Any] = {}

    @op
    def shown(context: OpExecutionContext, config: Given) -> list[Any]:
        return [config.key, config.more, context.run.tags["about"], context.run.tags["number"]]

    @partitioned_config(places)
    def by_key(key: str) -> dict[str, Any]:
        return {"ops": {"shown": {"config": {"key": key, "more": {"key": key, "number": Kind(0.5)}}}}}

    @job(config=by_key)
    def regional() -> None:
        shown()

    key = MultiPartitionKey({"day": "2024-01-02", "region": "us"})
    result = regional.execute_in_process(partition_key=key, tags={"about": key, "number": 1})
    assert result.output_for_node("shown") == [str(key), {"key": str(key), "number": 0.5}, str(key), "1"]


def test_windows_and_ranges_are_pairs() -> None:
    @op
    def hours(context: OpExecutionContext) -> float:
        start, end = context.partition_time_window
        first, last = context.partition_key_range
        assert (first, last) == (context.partition_key, context.partition_key)
        return float((end - start).total_seconds() / 3600)

    @job(partitions_def=DailyPartitionsDefinition("2024-03-01"))
    def windows() -> None:
        hours()

    assert windows.execute_in_process(partition_key="2024-03-31").output_for_node("hours") == 24

    with build_op_context(partition_key_range=PartitionKeyRange("a", "c")) as context:
        assert (context.has_partition_key, context.has_partition_key_range) == (False, True)
        assert context.partition_key_range == ("a", "c")


def test_several_dimensions() -> None:
    both = MultiPartitionsDefinition(
        {"region": StaticPartitionsDefinition(["eu", "us"]), "day": DailyPartitionsDefinition(start_date="2024-01-01")}
    )

    @op
    def keys(context: OpExecutionContext) -> dict[str, str]:
        return dict(context.multi_partition_key.keys_by_dimension)

    @job(partitions_def=both)
    def regional() -> None:
        keys()

    result = regional.execute_in_process(partition_key=MultiPartitionKey({"region": "us", "day": "2024-01-02"}))
    assert result.output_for_node("keys") == {"region": "us", "day": "2024-01-02"}
    assert result.run.brief.tags["opgrid/partition/region"] == "us"
    again = regional.execute_in_process(partition_key="2024-01-02|us")
    assert again.output_for_node("keys") == {"region": "us", "day": "2024-01-02"}
    with pytest.raises(UnknownPartitionError):
        regional.execute_in_process(partition_key="2024-01-02|asia")
    request = regional.run_request_for_partition("2024-01-02|us")
    assert request.tags is not None
    assert request.tags["opgrid/partition/region"] == "us"


def test_partitions_that_the_instance_knows() -> None:
    @op
    def key(context: OpExecutionContext) -> str:
        return context.partition_key

    @job(partitions_def=DynamicPartitionsDefinition(name="customers"))
    def per_customer() -> None:
        key()

    with instance_for_test() as instance:
        instance.add_dynamic_partitions("customers", ["acme"])
        result = per_customer.execute_in_process(partition_key="acme", instance=instance)
        assert result.output_for_node("key") == "acme"
        with pytest.raises(UnknownPartitionError, match="nobody"):
            per_customer.execute_in_process(partition_key="nobody", instance=instance)


def test_partitions_that_a_function_knows() -> None:
    @dynamic_partitioned_config(lambda current_time=None: ["x", "y"])
    def by_function(key: str) -> dict[str, Any]:
        return given(key)

    @job(config=by_function)
    def listed() -> None:
        show()

    assert listed.execute_in_process(partition_key="y").output_for_node("show") == "y.."
    assert by_function.get_partition_keys() == ["x", "y"]


def test_a_config_by_hand() -> None:
    config = PartitionedConfig(
        partitions_def=StaticPartitionsDefinition(["a"]),
        run_config_for_partition_key_fn=given,
        tags_for_partition_key_fn=lambda key: {"mine": key},
    )

    @job(config=config)
    def by_hand() -> None:
        show()

    request = by_hand.run_request_for_partition("a", run_key="k")
    assert (request.run_key, request.run_config, request.partition_key) == ("k", given("a"), "a")
    assert request.tags is not None
    assert request.tags["mine"] == "a"
    with pytest.raises(InvalidDefinitionError, match="partitions_def"):

        @job(config=config, partitions_def=StaticPartitionsDefinition(["b"]))
        def wrong() -> None:
            show()


def test_a_partitioned_job_without_a_key_says_so() -> None:
    @static_partitioned_config(["a"])
    def by_key(key: str) -> dict[str, Any]:
        return given(key)

    @job(config=by_key)
    def keyed() -> None:
        show()

    with pytest.raises(Exception, match="partition|required"):
        keyed.execute_in_process()


# ---- several partitions in one run -----------------------------------------------------------------------------------


@daily_partitioned_config(start_date="2024-01-01", end_offset=0)
def spans(start: datetime, end: datetime) -> dict[str, Any]:
    return given(start.date().isoformat(), end.date().isoformat())


@op
def about_all(context: OpExecutionContext) -> dict[str, Any]:
    window = context.partition_time_window
    return {
        "keys": context.partition_keys,
        "range": str(context.partition_key_range),
        "window": [window.start.date().isoformat(), window.end.date().isoformat()],
        "tags": dict(context.run_tags),
    }


def test_a_function_of_the_window_gets_that_of_the_range() -> None:
    @job(config=spans)
    def ranged() -> None:
        show()
        about_all()

    result = ranged.execute_in_process(partition_key="2024-01-30...2024-02-02")
    assert result.output_for_node("show") == "2024-01-30..2024-02-03"
    told = result.output_for_node("about_all")
    assert told["keys"] == ["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"]
    assert told["range"] == "2024-01-30...2024-02-02"
    assert told["window"] == ["2024-01-30", "2024-02-03"]
    assert told["tags"]["opgrid/partition_range"] == "2024-01-30...2024-02-02"
    assert "opgrid/partition" not in told["tags"]


def test_a_config_by_key_must_be_the_same_for_a_range() -> None:
    @static_partitioned_config(["a", "b", "c", "d"])
    def by_letter(key: str) -> dict[str, Any]:
        return given("same" if key in "bc" else key)

    @op
    def keys(context: OpExecutionContext) -> list[str]:
        return context.partition_keys

    @job(config=by_letter)
    def ranged() -> None:
        show()
        keys()

    assert ranged.execute_in_process(partition_key="b...c").output_for_node("keys") == ["b", "c"]
    with pytest.raises(InvariantViolationError, match="context.partition_keys"):
        ranged.execute_in_process(partition_key="a...c")
    with pytest.raises(UnknownPartitionError, match=r"not a PartitionKeyRange: .* Give the range as text: 'b\.\.\.c'"):
        ranged.execute_in_process(partition_key=PartitionKeyRange("b", "c"))  # type: ignore[arg-type]
    assert ranged.execute_in_process(given("mine"), partition_key="a...d").output_for_node("show") == "mine.."
    with pytest.raises(UnknownPartitionError, match="'x'"):
        ranged.execute_in_process(partition_key="a...x")
    with pytest.raises(InvariantViolationError, match="backwards"):
        ranged.execute_in_process(partition_key="c...a")


def test_one_key_is_asked_for_where_there_are_several() -> None:
    @op
    def one(context: OpExecutionContext) -> str:
        assert not context.has_partition_key
        return context.partition_key

    @job(config=spans)
    def ranged() -> None:
        show()
        one()

    with pytest.raises(InvariantViolationError, match="use context.partition_keys"):
        ranged.execute_in_process(given("x"), partition_key="2024-01-01...2024-01-02")


@pytest.mark.parametrize("days", [False, True])
def test_dynamic_partitions_have_no_ranges(days: bool) -> None:
    customers = DynamicPartitionsDefinition(name="customers")
    both = MultiPartitionsDefinition({"customer": customers, "day": DailyPartitionsDefinition("2024-01-01")})

    @job(partitions_def=both if days else customers)
    def ranged() -> None:
        show()

    keys = "a|2024-01-01...a|2024-01-02" if days else "a...b"
    with instance_for_test() as instance:
        instance.add_dynamic_partitions("customers", ["a", "b"])
        with pytest.raises(InvariantViolationError, match="no ranges"):
            ranged.execute_in_process(partition_key=keys, instance=instance)
