"""Ops as functions, and the contexts that tests give them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from opgrid import (
    AssetMaterialization,
    Config,
    ConfigurableResource,
    DynamicOut,
    DynamicOutput,
    EnvVar,
    EventType,
    ExpectationResult,
    Failure,
    In,
    InvalidConfigError,
    InvalidInvocationError,
    InvariantViolationError,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    RetryRequested,
    TypeCheckDidNotPass,
    UnknownResourceError,
    build_input_context,
    build_op_context,
    build_output_context,
    job,
    op,
)


class Door(Config):
    port: int
    words: list[str] = []
    inner: dict[str, str] = {}
    other: Any = None


class Lock(ConfigurableResource):
    code: int
    spare: Spare | None = None


class Spare(ConfigurableResource):
    code: str


class Options(Config):
    factor: int = 2


class Store(ConfigurableResource):
    name: str

    def setup_for_execution(self, context: Any) -> None:
        self._opened = True

    def read(self) -> str:
        return self.name


@op
def increment(number: int, by: int = 1) -> int:
    return number + by


@op
def contextual(context: OpExecutionContext, number: int) -> str:
    return f"{context.op_def.name} {number} {context.run_id}"


@op
def configured(config: Options, number: int) -> int:
    return config.factor * number


@op
def stored(context: OpExecutionContext, store: Store) -> str:
    return store.read()


# ---- plain calls ---------------------------------------------------------------------------------------------------


def test_an_op_is_called_like_its_function() -> None:
    assert increment(1) == 2
    assert increment(1, 5) == 6
    assert increment(number=1, by=2) == 3
    with pytest.raises(InvalidInvocationError, match="'number'"):
        increment()  # type: ignore[call-arg]
    with pytest.raises(InvalidInvocationError, match="nmber"):
        increment(nmber=1)  # type: ignore[call-arg]


def test_types_are_checked_in_a_call_too() -> None:
    with pytest.raises(TypeCheckDidNotPass, match="'number'"):
        increment("1")  # type: ignore[arg-type]


def test_an_op_with_a_context_needs_one() -> None:
    with pytest.raises(InvalidInvocationError, match=r"build_op_context\(\)"):
        contextual(3)  # type: ignore[call-arg,arg-type]
    assert contextual(build_op_context(), 3) == "contextual 3 EPHEMERAL"


def test_config_is_passed_or_comes_from_the_context() -> None:
    assert configured(config=Options(factor=3), number=2) == 6
    assert configured(number=2) == 4, "every field has a default"  # type: ignore[call-arg]

    @op(config_schema={"size": int})
    def sized(context: OpExecutionContext) -> int:
        return int(context.op_config["size"])

    assert sized(build_op_context(op_config={"size": 4})) == 4
    with pytest.raises(InvalidConfigError, match="size"):
        sized(build_op_context(op_config={"size": "4"}))
    with pytest.raises(InvalidConfigError):
        sized(build_op_context())

    @op
    def counted(config: int) -> int:
        return config

    with pytest.raises(InvalidInvocationError, match=r"takes config: pass config=\.\.\."):
        counted()  # type: ignore[call-arg]


def test_resources_are_passed_or_come_from_the_context() -> None:
    assert stored(build_op_context(), store=Store(name="passed")) == "passed"
    assert stored(build_op_context(resources={"store": Store(name="of the context")})) == "of the context"
    with pytest.raises(UnknownResourceError, match="no resource 'store'"):
        stored(build_op_context())


def test_nothing_is_not_passed() -> None:
    @op(ins={"after": In(Nothing)})
    def last() -> str:
        return "last"

    assert last() == "last"


# ---- what ops give -------------------------------------------------------------------------------------------------


def test_outputs_come_as_the_op_gives_them() -> None:
    @op(out={"a": Out(int), "b": Out(str)})
    def both() -> tuple[int, str]:
        return 1, "b"

    @op
    def wrapped() -> Output[int]:
        return Output(3, metadata={"n": 1})

    @op(out=DynamicOut(int))
    def several() -> Iterator[DynamicOutput[int]]:
        yield DynamicOutput(1, mapping_key="a")
        yield DynamicOutput(2, mapping_key="b")

    assert both() == (1, "b")
    found = wrapped()
    assert isinstance(found, Output)
    assert found.value == 3
    assert [(each.value, each.mapping_key) for each in several()] == [(1, "a"), (2, "b")]


def test_what_an_op_raises_comes_as_it_is() -> None:
    @op
    def asks() -> None:
        raise RetryRequested(max_retries=2)

    @op
    def gives_up() -> None:
        raise Failure("no", metadata={"n": 1})

    with pytest.raises(RetryRequested):
        asks()
    with pytest.raises(Failure, match="no"):
        gives_up()


def test_async_ops_give_what_async_functions_give() -> None:
    import asyncio

    @op
    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    @op(out=DynamicOut(int))
    async def stream() -> AsyncIterator[DynamicOutput[int]]:
        yield DynamicOutput(1, mapping_key="a")

    assert asyncio.run(later(1)) == 2  # type: ignore[arg-type]

    async def collected() -> list[int]:
        return [each.value async for each in stream()]

    assert asyncio.run(collected()) == [1]

    @job
    def both() -> None:
        stream().map(later)

    assert both.execute_in_process().output_for_node("later") == {"a": 2}


# ---- variables of the environment ----------------------------------------------------------------------------------


@op
def knock(context: OpExecutionContext, config: Door) -> tuple[Door, Any]:
    return config, context.op_config


@pytest.mark.parametrize("way", ["argument", "dict", "context", "context dict"])
def test_variables_in_config_are_read(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_PORT", "5432")
    port, word = EnvVar.int("OUR_PORT"), EnvVar("OUR_PORT")
    config = Door(port=port, words=["a", word], inner={"b": word}, other=port)
    plain = {"port": port, "words": ["a", {"env": "OUR_PORT"}], "inner": {"b": word}, "other": port}
    match way:
        case "argument":
            found = knock(build_op_context(), config)
        case "dict":
            found = knock(build_op_context(), config=plain)
        case "context":
            found = knock(build_op_context(config=config))
        case _:
            found = knock(build_op_context(op_config=plain))
    read = {"port": 5432, "words": ["a", "5432"], "inner": {"b": "5432"}, "other": 5432}
    assert found == (Door(**read), read)


def test_config_without_variables_is_passed_as_it_is() -> None:
    config = Door(port=1)
    assert knock(build_op_context(), config)[0] is config


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(InvalidConfigError, match="'SURELY_NOT_SET' is not set"):
        knock(build_op_context(), Door(port=EnvVar.int("SURELY_NOT_SET")))


def test_variables_in_resources_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    @op
    def turn(lock: Lock) -> Lock:
        return lock

    monkeypatch.setenv("OUR_CODE", "99")
    found = turn(lock=Lock(code=EnvVar.int("OUR_CODE"), spare=Spare(code=EnvVar("OUR_CODE"))))
    assert found.spare is not None
    assert (found.code, found.spare.code) == (99, "99")
    plain = Lock(code=3)
    assert turn(lock=plain) is plain


# ---- contexts ------------------------------------------------------------------------------------------------------


def test_a_context_tells_what_it_was_built_with() -> None:
    context = build_op_context(partition_key="2024-01-02", run_tags={"team": "data"}, mapping_key="k")
    assert (context.partition_key, context.has_partition_key) == ("2024-01-02", True)
    assert context.run_tags == {"team": "data", "opgrid/partition": "2024-01-02"}
    assert (context.get_tag("team"), context.has_tag("none")) == ("data", False)
    assert context.get_mapping_key() == "k"
    assert (context.retry_number, context.run_id) == (0, "EPHEMERAL")
    with pytest.raises(InvariantViolationError, match="partition"):
        _ = build_op_context().partition_key


def test_what_an_op_logs_can_be_looked_at() -> None:
    @op(out={"a": Out(int)})
    def tells(context: OpExecutionContext) -> int:
        context.log_event(AssetMaterialization("orders"))
        context.log_event(ExpectationResult(success=True, label="fine"))
        context.add_output_metadata({"rows": 3}, "a")
        context.log.warning("careful")
        return 1

    context = build_op_context()
    tells(context)
    kinds = [type(each).__name__ for each in context.get_events()]
    assert kinds == ["AssetMaterialization", "ExpectationResult"]
    assert [each.event_type for each in context.get_log()][-1] is EventType.LOG_MESSAGE
    found = context.get_output_metadata("a")
    assert found is not None
    assert found["rows"] == 3 or found["rows"].value == 3


def test_io_contexts() -> None:
    given = build_output_context(step_key="make", name="result", run_id="r", metadata={"a": 1}, mapping_key="k")
    assert given.get_identifier() == ["r", "make", "result", "k"]
    assert (given.step_key, given.name, given.run_id, given.mapping_key) == ("make", "result", "r", "k")
    taken = build_input_context(upstream_output=given, name="value", metadata={"b": 2})
    assert taken.upstream_output is given
    assert taken.name == "value"
