"""The run config as a whole: its shape, a job's own part in it, mappings, and files."""

from __future__ import annotations

import enum
import logging
from pathlib import Path
from typing import Any

import pytest

from opgrid import (
    Config,
    ConfigMapping,
    ConfigMappingFunctionError,
    ConfigurableResource,
    Enum,
    EnumValue,
    Field,
    In,
    InitResourceContext,
    InputContext,
    InvalidConfigError,
    IOManager,
    JobDefinition,
    Map,
    Nothing,
    OpExecutionContext,
    OutputContext,
    RunConfig,
    config_from_files,
    config_from_pkg_resources,
    config_from_yaml_strings,
    config_mapping,
    configured,
    graph,
    in_process_executor,
    io_manager,
    job,
    logger,
    multiprocess_executor,
    op,
    resource,
    validate_run_config,
)
from opgrid.definitions.run_config import resolve_run_config
from orchestrator.services.scaffold import scaffold


class Both(Config):
    a: int
    b: int = 0


@op
def first(config: Both) -> list[int]:
    return [config.a, config.b]


@op
def second(config: Both) -> list[int]:
    return [config.a, config.b]


@graph
def inner() -> None:
    second()


def two(**more: Any) -> JobDefinition:
    @job(**more)
    def both() -> None:
        first()
        inner()

    return both


def given(a: int, b: int | None = None) -> dict[str, Any]:
    return {"config": {"a": a} if b is None else {"a": a, "b": b}}


def paths(made: JobDefinition, run_config: Any) -> list[str]:
    with pytest.raises(InvalidConfigError) as told:
        made.execute_in_process(run_config=run_config)
    return [problem.path for problem in told.value.errors]


def outputs(made: JobDefinition, run_config: Any = None) -> tuple[Any, Any]:
    result = made.execute_in_process(run_config=run_config)
    return result.output_for_node("first"), result.output_for_node("inner.second")


# ---- shape ---------------------------------------------------------------------------------------------------------


def test_nested_graphs_hold_their_ops() -> None:
    config = {"ops": {"first": given(1), "inner": {"ops": {"second": given(2, 3)}}}}
    assert outputs(two(), config) == ([1, 0], [2, 3])


def test_what_is_not_in_the_job_is_told() -> None:
    right = {"first": given(1), "inner": {"ops": {"second": given(2)}}}
    assert paths(two(), {"ops": right, "opps": {}}) == ["root:opps"]
    assert paths(two(), {"ops": {**right, "third": {}}}) == ["root:ops:third"]
    assert paths(two(), {"ops": {**right, "inner": {"config": {}, "ops": right["inner"]["ops"]}}}) == [
        "root:ops:inner:config"
    ]
    assert paths(two(), {"ops": {**right, "first": {"cnfig": {"a": 1}}}}) == [
        "root:ops:first:cnfig",
        "root:ops:first:config",
    ]
    assert paths(two(), {"ops": right, "loggers": {"nope": {}}}) == ["root:loggers:nope"]
    assert paths(two(), {"ops": right, "resources": {"nope": {}}}) == ["root:resources:nope"]
    assert paths(two(), {"ops": right, "execution": {"nope": {}}}) == ["root:execution:nope"]
    assert paths(two(), {"ops": 3})[0] == "root:ops"


def test_all_problems_of_all_ops_are_told_at_once() -> None:
    config = {"ops": {"first": {"config": {"a": "x"}}, "inner": {"ops": {"second": {"config": {}}}}}}
    assert paths(two(), config) == ["root:ops:first:config:a", "root:ops:inner:ops:second:config:a"]


def test_the_message_lists_every_problem() -> None:
    with pytest.raises(
        InvalidConfigError, match=r"run config of job 'both' \(.*:\d+\) does not fit: 2 problems"
    ) as told:
        two().execute_in_process()
    assert "root:ops:first:config" in str(told.value)
    assert "root:ops:inner:ops:second:config" in str(told.value)


def test_ops_that_are_not_selected_need_no_config() -> None:
    result = two().execute_in_process(run_config={"ops": {"first": given(1)}}, op_selection=["first"])
    assert result.output_for_node("first") == [1, 0]


# ---- the job's own config ------------------------------------------------------------------------------------------

_OWN = {"ops": {"first": given(1, 1), "inner": {"ops": {"second": given(2, 2)}}}}


@pytest.mark.parametrize(
    "own",
    [_OWN, RunConfig(ops={"first": Both(a=1, b=1), "inner": {"ops": {"second": Both(a=2, b=2)}}})],
    ids=["mapping", "object"],
)
def test_a_launch_overrides_only_what_it_names(own: Any) -> None:
    made = two(config=own)
    assert outputs(made) == ([1, 1], [2, 2])
    assert outputs(made, {}) == ([1, 1], [2, 2])
    assert outputs(made, {"ops": {"first": given(9)}}) == ([9, 1], [2, 2])
    assert outputs(made, {"ops": {"inner": {"ops": {"second": {"config": {"b": 8}}}}}}) == ([1, 1], [2, 8])
    assert outputs(made, RunConfig(ops={"first": Both(a=7)})) == ([7, 1], [2, 2])


def test_what_a_job_brings_has_to_fit_when_it_is_defined() -> None:
    with pytest.raises(InvalidConfigError, match="root:ops:first:config:a"):
        two(config={"ops": {"first": {"config": {"a": "x"}}}})
    with pytest.raises(InvalidConfigError, match="root:ops:frist"):
        two(config={"ops": {"frist": given(1)}})
    half = two(config={"ops": {"first": given(1)}})
    assert paths(half, None) == ["root:ops:inner:ops:second:config"]


def test_neither_config_is_changed_by_a_launch() -> None:
    own: dict[str, Any] = {"ops": {"first": given(1, 1), "inner": {"ops": {"second": given(2, 2)}}}}
    mine: dict[str, Any] = {"ops": {"first": given(5)}}
    outputs(two(config=own), mine)
    assert own == _OWN
    assert mine == {"ops": {"first": given(5)}}


# ---- mappings ------------------------------------------------------------------------------------------------------


class Simple(Config):
    value: int


@config_mapping
def simple(val: Simple) -> RunConfig:
    return RunConfig(ops={"first": Both(a=val.value), "inner": {"ops": {"second": Both(a=val.value, b=1)}}})


def test_a_mapping_replaces_what_is_asked() -> None:
    made = two(config=simple)
    assert outputs(made, {"value": 4}) == ([4, 0], [4, 1])
    assert paths(made, {"value": "x"}) == ["root:value"]
    assert paths(made, {}) == ["root:value"]
    assert "root:ops" in paths(made, {"value": 1, "ops": {"first": given(1)}})


def test_a_mapping_by_hand_with_a_schema_of_its_own() -> None:
    def spread(outer: dict[str, Any]) -> dict[str, Any]:
        return {"ops": {"first": given(outer["n"]), "inner": {"ops": {"second": given(outer["m"])}}}}

    made = two(config=ConfigMapping(config_fn=spread, config_schema={"n": int, "m": Field(int, default_value=7)}))
    assert outputs(made, {"n": 3}) == ([3, 0], [7, 0])
    assert paths(made, {"n": "3"}) == ["root:n"]


def test_a_mapping_that_raises_is_named_with_its_cause() -> None:
    @config_mapping(config_schema={"n": int})
    def fails(outer: dict[str, Any]) -> dict[str, Any]:
        raise ZeroDivisionError("on purpose")

    with pytest.raises(ConfigMappingFunctionError, match="both") as told:
        two(config=fails).execute_in_process(run_config={"n": 1})
    assert isinstance(told.value.__cause__, ZeroDivisionError)


def test_what_a_mapping_gives_has_to_fit_too() -> None:
    @config_mapping(config_schema={"n": int})
    def wrong(outer: dict[str, Any]) -> dict[str, Any]:
        return {"ops": {"first": {"config": {"a": "x"}}}}

    with pytest.raises(InvalidConfigError, match="first"):
        two(config=wrong).execute_in_process(run_config={"n": 1})


def test_a_graph_may_have_a_mapping_of_its_own() -> None:
    @graph(config=ConfigMapping(config_fn=lambda outer: {"second": given(outer["n"])}, config_schema={"n": int}))
    def narrow() -> None:
        second()

    @job
    def outer() -> None:
        narrow()

    result = outer.execute_in_process(run_config={"ops": {"narrow": {"config": {"n": 6}}}})
    assert result.output_for_node("narrow.second") == [6, 0]
    assert paths(outer, {"ops": {"narrow": {"config": {"n": "6"}}}}) == ["root:ops:narrow:config:n"]


@pytest.mark.parametrize("processed", [None, True, False])
def test_a_mapping_may_be_given_what_was_written(processed: bool | None) -> None:
    class Mode(enum.Enum):
        FAST = 1

    seen: list[Any] = []

    @config_mapping(
        config_schema={"mode": Enum("mode", [EnumValue("FAST", Mode.FAST)])}, receive_processed_config_values=processed
    )
    def by_mode(outer: dict[str, Any]) -> dict[str, Any]:
        seen.append(outer["mode"])
        return {"ops": {"first": given(1), "inner": {"ops": {"second": given(2)}}}}

    assert two(config=by_mode).execute_in_process(run_config={"mode": "FAST"}).success
    assert set(seen) == ({"FAST"} if processed is False else {Mode.FAST})


# ---- configured ----------------------------------------------------------------------------------------------------


def test_a_configured_op_asks_for_no_config() -> None:
    fixed = configured(first, name="fixed")({"a": 5, "b": 6})

    @job
    def runs_fixed() -> None:
        fixed()

    assert runs_fixed.execute_in_process().output_for_node("fixed") == [5, 6]


def test_a_function_that_says_nothing_of_its_config_may_be_given_none() -> None:
    @configured(first)
    def fixed(given: Any) -> Any:
        return {"a": 5, "b": given or 6}

    @configured(first)
    def plain(given):  # type: ignore[no-untyped-def]
        return {"a": 5, "b": given or 6}

    @job
    def runs_both() -> None:
        plain()
        fixed()

    result = runs_both.execute_in_process(run_config={"ops": {"fixed": {"config": 8}}})
    assert result.output_for_node("fixed") == [5, 8]
    assert result.output_for_node("plain") == [5, 6]
    assert runs_both.execute_in_process().output_for_node("fixed") == [5, 6]


def test_a_configured_op_may_ask_for_less() -> None:
    @configured(first, config_schema={"n": int})
    def from_n(config: dict[str, Any]) -> dict[str, Any]:
        return {"a": config["n"], "b": config["n"] + 1}

    again = from_n.configured({"n": 3}, name="again")

    @job
    def runs_both() -> None:
        from_n()
        again()

    result = runs_both.execute_in_process(run_config={"ops": {"from_n": {"config": {"n": 1}}}})
    assert (result.output_for_node("from_n"), result.output_for_node("again")) == ([1, 2], [3, 4])
    assert paths(runs_both, {"ops": {"from_n": {"config": {"n": "x"}}}}) == ["root:ops:from_n:config:n"]


def test_what_is_said_of_outputs_goes_to_the_op_that_gives_them() -> None:
    @graph(config=ConfigMapping(lambda n: {"second": {"config": {"a": n}}}, config_schema=int))
    def mapped() -> None:
        second()

    @job
    def made() -> None:
        mapped()
        inner()

    fine: dict[str, Any] = {
        "mapped": {"config": 1},
        "inner": {"ops": {"second": {**given(1), "outputs": {"result": {}}}}},
    }
    assert made.execute_in_process(run_config={"ops": fine}).success
    for name in ("mapped", "inner"):
        told = {"ops": {**fine, name: {**fine[name], "outputs": {"result": {"path": "x"}}}}}
        assert paths(made, told) == [f"root:ops:{name}:outputs"]
        assert "outputs" not in made.run_config_schema["properties"]["ops"]["properties"][name]["properties"]


def test_a_graph_with_its_config_given() -> None:
    @graph(config=ConfigMapping(lambda n: {"second": {"config": {"a": n, "b": n}}}, config_schema=int))
    def narrow() -> None:
        second()

    fixed = narrow.configured(3, name="fixed")

    @configured(narrow)
    def doubled(config: Simple) -> int:
        return 2 * config.value

    @job
    def runs_both() -> None:
        fixed()
        doubled()

    config = {"ops": {"doubled": {"config": {"value": 4}}}}
    result = runs_both.execute_in_process(run_config=config)
    assert (result.output_for_node("fixed.second"), result.output_for_node("doubled.second")) == ([3, 3], [8, 8])
    assert paths(runs_both, {"ops": {"doubled": {"config": {"value": "x"}}}}) == ["root:ops:doubled:config:value"]
    assert scaffold(runs_both, required_only=True)["ops"] == {"doubled": {"config": {"value": 0}}}
    again = doubled.configured({"value": 5}, name="again")
    assert again.to_job().execute_in_process().output_for_node("second") == [10, 10]


def test_a_resource_a_logger_and_a_manager_with_their_config_given() -> None:
    @resource({"url": str, "port": int})
    def server(context: InitResourceContext) -> str:
        return "{url}:{port}".format(**context.resource_config)

    levels: list[Any] = []

    @logger({"level": str})
    def ours(context: Any) -> logging.Logger:
        levels.append(context.logger_config["level"])
        return logging.Logger("ours")

    stored: dict[Any, Any] = {}

    class Scaled(IOManager):
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def handle_output(self, context: OutputContext, obj: Any) -> None:
            stored[tuple(context.get_identifier())] = obj * self.factor

        def load_input(self, context: InputContext) -> Any:
            assert context.upstream_output is not None
            return stored[tuple(context.upstream_output.get_identifier())]

    @io_manager({"factor": int})
    def scaled(context: InitResourceContext) -> IOManager:
        return Scaled(context.resource_config["factor"])

    @op(required_resource_keys={"server"})
    def call(context: OpExecutionContext) -> str:
        context.log.info("calling")
        return str(context.resources.server)

    @op
    def show(text: str) -> str:
        return text

    @job(
        resource_defs={
            "server": configured(server, config_schema={"port": int})(lambda given: {"url": "here", **given}),
            "io_manager": scaled.configured({"factor": 2}),
        },
        logger_defs={"ours": ours.configured({"level": "ERROR"})},
    )
    def calls() -> None:
        show(call())

    config = {"resources": {"server": {"config": {"port": 80}}}, "loggers": {"ours": {}}}
    assert calls.execute_in_process(run_config=config).output_for_node("show") == "here:80here:80"
    assert set(levels) == {"ERROR"}
    assert paths(calls, {"resources": {"server": {"config": {"port": "80"}}}}) == ["root:resources:server:config:port"]


def test_an_executor_with_its_config_given() -> None:
    @job(executor_def=multiprocess_executor.configured({"max_concurrent": 3}))
    def wide() -> None:
        first()

    found = resolve_run_config(wide, {"ops": {"first": given(1)}})
    assert (found.executor.name, found.executor.config["max_concurrent"]) == ("multiprocess", 3)
    more = {"ops": {"first": given(1)}, "execution": {"config": {"max_concurrent": 5}}}
    assert resolve_run_config(wide, more).executor.config["max_concurrent"] == 5


# ---- inputs from config --------------------------------------------------------------------------------------------


def test_inputs_come_from_config() -> None:
    @op
    def add(number: int, text: str, anything) -> str:  # type: ignore[no-untyped-def]
        return f"{number} {text} {anything}"

    @job
    def adds() -> None:
        add()

    inputs = {"number": 4, "text": {"value": "t"}, "anything": {"value": [1]}}
    assert adds.execute_in_process(run_config={"ops": {"add": {"inputs": inputs}}}).output_for_node("add") == "4 t [1]"
    bare = {"ops": {"add": {"inputs": {**inputs, "anything": 3}}}}
    assert paths(adds, bare) == ["root:ops:add:inputs:anything"]  # a value of any type says how it is written
    wrong = {"ops": {"add": {"inputs": {**inputs, "number": "x"}}}}
    assert paths(adds, wrong) == ["root:ops:add:inputs:number"]
    with pytest.raises(InvalidConfigError, match=r"'text'.*\n.*'anything'"):
        adds.execute_in_process(run_config={"ops": {"add": {"inputs": {"number": 1}}}})


# ---- the rest of it ------------------------------------------------------------------------------------------------


def test_an_op_in_a_graph_takes_from_config_what_nothing_feeds_into_the_graph() -> None:
    @op
    def one() -> int:
        return 1

    @op
    def add(left: int, right: int) -> int:
        return left + right

    @graph
    def inner(left: int, right: int) -> int:
        return add(left, right)

    @graph
    def outer(left: int) -> int:
        return inner(left, one())

    @job
    def adds(top: int) -> None:
        outer()
        outer.alias("fed")(top)

    def config(name: str, of: str) -> dict[str, Any]:
        return {"ops": {name: {"ops": {"inner": {"ops": {"add": {"inputs": {of: 4}}}}}}}}

    given = {**config("outer", "left"), "inputs": {"top": 2}}
    result = adds.execute_in_process(run_config=given)
    assert (result.output_for_node("outer.inner.add"), result.output_for_node("fed.inner.add")) == (5, 3)
    for name, of in (("outer", "right"), ("fed", "left")):
        with pytest.raises(InvalidConfigError, match=f"ops:{name}:ops:inner:ops:add:inputs:{of}: this input is fed"):
            adds.execute_in_process(run_config={**config(name, of), "inputs": {"top": 2}})


def test_what_is_said_for_an_input_of_a_graph_goes_to_all_that_take_it() -> None:
    @op
    def add(number: int = 1, other: int = 0) -> int:
        return number + other

    @op(ins={"start": In(Nothing)})
    def wait() -> int:
        return 0

    @op
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @graph
    def inner(number: int, other: int) -> None:
        add(number, other)
        wait(number)

    @graph
    def outer(number: int, once: int) -> None:
        inner(number)
        add.alias("beside")(number, once)

    @graph
    def listing(number: int, once: int) -> int:
        add(number)
        return total([number, once])

    @job
    def adds() -> None:
        outer(once=add())
        listing(once=add.alias("more")())

    def given(**at: Any) -> dict[str, Any]:
        whole = {"total": {"inputs": {"numbers": [2, 3]}}}
        return {"ops": {"listing": {"inputs": {"number": 2}, "ops": whole}, "outer": {"inputs": {"number": 4}, **at}}}

    nearer = {"inner": {"inputs": {"other": 5}}, "beside": {"inputs": {"number": 7}}}
    result = adds.execute_in_process(run_config=given(ops=nearer))
    assert result.output_for_node("outer.inner.add") == 9
    assert result.output_for_node("outer.beside") == 8
    assert (result.output_for_node("listing.add"), result.output_for_node("listing.total")) == (2, 5)

    assert paths(adds, given(inputs={"number": "x"})) == ["root:ops:outer:inputs:number"]
    assert paths(adds, given(inputs={"once": 1})) == ["root:ops:outer:inputs:once"]  # fed
    assert paths(adds, given(inputs={"nobody": 1})) == ["root:ops:outer:inputs:nobody"]
    with pytest.raises(InvalidConfigError, match="it stands in a list for the input 'numbers' of 'total'"):
        adds.execute_in_process(run_config={"ops": {"listing": {"inputs": {"number": 2}}}})


def test_keys_that_are_no_text_are_told_with_their_place_also_without_a_schema() -> None:
    @resource
    def store(context: InitResourceContext) -> Any:
        return context.resource_config

    @op(required_resource_keys={"store"})
    def loose(context: OpExecutionContext, given: dict) -> None: ...  # type: ignore[type-arg]

    @graph
    def inner() -> None:
        loose()

    @job(resource_defs={"store": store})
    def keeps() -> None:
        inner()

    fits: dict[str, Any] = {"inputs": {"given": {"value": {"1": 2}}}}
    for wrong, path in (
        ({"config": {1: 2}}, "ops:inner:ops:loose:config:1"),
        ({"inputs": {"given": {1: 2}}}, "ops:inner:ops:loose:inputs:given:1"),
        ({"outputs": {"result": [{1: 2}]}}, r"ops:inner:ops:loose:outputs:result\[0\]:1"),
    ):
        with pytest.raises(InvalidConfigError, match=f"root:{path}: a key in config is text, this one is 1"):
            resolve_run_config(keeps, {"ops": {"inner": {"ops": {"loose": {**fits, **wrong}}}}})
    with pytest.raises(InvalidConfigError, match="root:resources:store:config:1: a key in config is text"):
        resolve_run_config(
            keeps,
            {"ops": {"inner": {"ops": {"loose": fits}}}, "resources": {"store": {"config": {1: 2}}}},
        )


def test_keys_that_a_schema_takes_are_kept_as_text() -> None:
    @op(config_schema={"names": Map(int, str)})
    def named(context: OpExecutionContext) -> Any:
        return context.op_config["names"]

    @job
    def names() -> None:
        named()

    result = names.execute_in_process(run_config={"ops": {"named": {"config": {"names": {1: "one"}}}}})
    assert result.output_for_node("named") == {1: "one"}
    assert result.run.run_config == {"ops": {"named": {"config": {"names": {"1": "one"}}}}}
    assert names.execute_in_process(run_config=result.run.run_config).output_for_node("named") == {1: "one"}


def test_loggers_take_config() -> None:
    made: list[Any] = []

    @logger({"level": Field(str, default_value="INFO")})
    def ours(context: Any) -> Any:
        import logging

        made.append(context.logger_config)
        return logging.Logger("ours")

    @op
    def talk(context: OpExecutionContext) -> None:
        context.log.info("hello")

    @job(logger_defs={"ours": ours}, executor_def=in_process_executor)
    def talks() -> None:
        talk()

    assert talks.execute_in_process(run_config={"loggers": {"ours": {"config": {"level": "DEBUG"}}}}).success
    assert made == [{"level": "DEBUG"}]
    assert paths(talks, {"loggers": {"ours": {"config": {"level": 3}}}}) == ["root:loggers:ours:config:level"]


def test_resources_take_config_at_launch() -> None:
    class Server(ConfigurableResource):
        url: str
        port: int = 80

    @op
    def call(server: Server) -> str:
        return f"{server.url}:{server.port}"

    @job(resource_defs={"server": Server.configure_at_launch(port=8080)})
    def calls() -> None:
        call()

    result = calls.execute_in_process(run_config={"resources": {"server": {"config": {"url": "here"}}}})
    assert result.output_for_node("call") == "here:8080"
    assert paths(calls, None) == ["root:resources:server:config"]
    wrong = {"resources": {"server": {"config": {"url": "here", "port": "x"}}}}
    assert paths(calls, wrong) == ["root:resources:server:config:port"]


def test_validation_without_a_run() -> None:
    assert validate_run_config(two(config=_OWN), {"ops": {"first": given(9)}})["ops"]["first"] == given(9, 1)
    with pytest.raises(InvalidConfigError):
        validate_run_config(two(), {})


def test_documents_are_laid_over_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("ops: {first: {config: {a: 1, b: [1, 2]}}}\n")
    (tmp_path / "b.yaml").write_text("ops: {first: {config: {b: [3]}}, second: {}}\n")
    (tmp_path / "c.yaml").write_text("")
    expected = {"ops": {"first": {"config": {"a": 1, "b": [3]}}, "second": {}}}
    assert config_from_files([str(tmp_path / "*.yaml")]) == expected
    assert config_from_files([str(tmp_path / "b.yaml"), str(tmp_path / "a.yaml")])["ops"]["first"]["config"]["b"] == [
        1,
        2,
    ]
    texts = [(tmp_path / name).read_text() for name in ("a.yaml", "b.yaml")]
    assert config_from_yaml_strings(texts) == expected
    with pytest.raises(InvalidConfigError, match=r"none.yaml cannot be read"):
        config_from_files([str(tmp_path / "none.yaml")])
    with pytest.raises(InvalidConfigError, match="not YAML"):
        config_from_yaml_strings(["ops: ["])
    (tmp_path / "latin.yaml").write_bytes("ops: {}  # a café\n".encode("latin-1"))
    with pytest.raises(InvalidConfigError, match=r"latin.yaml is not YAML"):
        config_from_files([str(tmp_path / "latin.yaml")])
    with pytest.raises(InvalidConfigError, match="mapping at its top"):
        config_from_yaml_strings(["- 1"])
    with pytest.raises(InvalidConfigError, match="no config file"):
        config_from_pkg_resources([("opgrid", "none.yaml")])
