"""Which IO manager stores an output and loads an input, and what they are told."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from opgrid import (
    ConfigurableIOManager,
    DynamicOut,
    DynamicOutput,
    Enum,
    Field,
    FilesystemIOManager,
    In,
    InitResourceContext,
    InputContext,
    InvalidConfigError,
    InvalidDefinitionError,
    IOManager,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    OutputContext,
    StringSource,
    UnmetExecutorRequirementsError,
    build_output_context,
    custom_path_fs_io_manager,
    execute_job,
    fs_io_manager,
    input_manager,
    instance_for_test,
    io_manager,
    job,
    mem_io_manager,
    op,
)
from opgrid.contracts.events import EventType, HandledOutput, LoadedInput

kept: dict[str, Any] = {}
told: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    kept.clear()
    told.clear()


class Named(ConfigurableIOManager):
    """Keeps values under its own name, and writes down what it was told."""

    name: str

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        key = f"{self.name}/{'/'.join(context.get_identifier()[1:])}"
        kept[key] = obj
        told.append(
            ("out", self.name, context.name, context.step_key, context.op_def.name, dict(context.definition_metadata))
        )
        context.add_output_metadata({"kept_as": key})

    def load_input(self, context: InputContext) -> Any:
        assert context.upstream_output is not None
        told.append(("in", self.name, context.name, context.upstream_output.step_key, context.op_def.name))
        context.add_input_metadata({"by": self.name})
        return kept[f"{self.name}/{'/'.join(context.upstream_output.get_identifier()[1:])}"]


@op
def one() -> int:
    return 1


@op(out=Out(io_manager_key="special", metadata={"kind": "s"}))
def special() -> int:
    return 2


@op
def add(a: int, b: int) -> int:
    return a + b


def managers(**more: Any) -> dict[str, Any]:
    return {"io_manager": Named(name="default"), "special": Named(name="special"), **more}


def test_an_output_is_stored_and_loaded_by_its_manager() -> None:
    @job(resource_defs=managers())
    def adds() -> None:
        add(one(), special())

    result = adds.execute_in_process()
    assert result.output_for_node("add") == 3
    assert sorted(kept) == ["default/add/result", "default/one/result", "special/special/result"]
    assert ("out", "special", "result", "special", "special", {"kind": "s"}) in told
    assert ("in", "special", "b", "special", "add") in told
    assert ("in", "default", "a", "one", "add") in told
    handled = {event.step: event for event in result.all_events if isinstance(event, HandledOutput)}
    assert handled["special"].manager == "special"
    assert "special/special/result" in repr(handled["special"].metadata)
    loaded = {event.input: event for event in result.all_events if isinstance(event, LoadedInput)}
    assert (loaded["b"].manager, loaded["b"].upstream_step) == ("special", "special")
    assert "special" in repr(loaded["b"].metadata)


def test_a_manager_is_told_what_the_op_says_of_a_value() -> None:
    class Curious(Named):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            said = {name: value.value for name, value in context.output_metadata.items()}
            told.append((context.name, context.mapping_key, said))

    @op(out={"a": Out(metadata={"kind": "s"}), "b": DynamicOut(), "c": Out()})
    def says(context: OpExecutionContext) -> Iterator[Any]:
        context.add_output_metadata({"more": 2}, output_name="a")
        yield Output(1, "a", metadata={"rows": 1})
        yield DynamicOutput(1, "x", output_name="b", metadata={"part": "x"})
        yield Output(1, "c")

    @job(resource_defs={"io_manager": Curious(name="curious")})
    def tells() -> None:
        says()

    assert tells.execute_in_process().success
    assert told == [("a", None, {"rows": 1, "more": 2}), ("b", "x", {"part": "x"}), ("c", None, {})]
    assert build_output_context(output_metadata={"rows": 1}).output_metadata == {"rows": 1}


def test_an_input_may_have_a_manager_of_its_own() -> None:
    class Doubling(Named):
        def load_input(self, context: InputContext) -> Any:
            return 2 * kept["default/one/result"]

    @op(ins={"a": In(int, input_manager_key="doubling")})
    def show(a: int) -> int:
        return a

    @job(resource_defs=managers(doubling=Doubling(name="doubling")))
    def doubles() -> None:
        show(one())

    assert doubles.execute_in_process().output_for_node("show") == 2


def test_an_input_manager_feeds_an_input_that_nothing_feeds() -> None:
    @input_manager(input_config_schema={"n": int})
    def from_config(context: InputContext) -> int:
        return int(context.config["n"])

    @op(ins={"a": In(int, input_manager_key="from_config")})
    def show(a: int) -> int:
        return a

    @job(resource_defs={"from_config": from_config})
    def shows() -> None:
        show()

    config = {"ops": {"show": {"inputs": {"a": {"n": 7}}}}}
    assert shows.execute_in_process(run_config=config).output_for_node("show") == 7


def _source() -> dict[str, Any]:
    return {"base": Field(StringSource, default_value="b"), "deep": Field(int, default_value=1)}


@pytest.mark.parametrize(
    ("given", "run_config", "seen"),
    [
        (None, None, {"base": "b", "deep": 1}),
        (None, {"base": {"env": "WHERE"}}, {"base": "there", "deep": 1}),
        ({"base": "c"}, None, {"base": "c", "deep": 1}),
        ({"base": {"env": "WHERE"}}, None, {"base": "there", "deep": 1}),
    ],
)
def test_managers_are_told_the_config_that_they_were_opened_with(
    given: Any, run_config: Any, seen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Store(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            told.append(context.resource_config)

        def load_input(self, context: InputContext) -> Any:
            told.append(context.resource_config)

    @io_manager(config_schema=_source())
    def store(context: InitResourceContext) -> Store:
        told.append(context.resource_config)
        return Store()

    @input_manager(config_schema=_source())
    def reader(context: InputContext) -> None:
        told.append(context.resource_config)

    @op(ins={"a": In(Any), "b": In(input_manager_key="reader")})
    def show(a: Any, b: Any) -> None: ...

    bound = {"io_manager": store, "reader": reader}
    if given is not None:
        bound = {key: each.configured(given) for key, each in bound.items()}

    @job(resource_defs=bound)
    def shows() -> None:
        show(one())

    monkeypatch.setenv("WHERE", "there")
    config = None if run_config is None else {"resources": {key: {"config": run_config} for key in bound}}
    assert shows.execute_in_process(run_config=config).success
    assert told == [seen] * 4


def test_what_makes_the_config_of_a_manager_is_asked_when_that_is_opened() -> None:
    class Store(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            told.append(context.resource_config)

        def load_input(self, context: InputContext) -> Any:
            told.append(context.resource_config)

    @io_manager(config_schema={"base": str})
    def store(context: InitResourceContext) -> Store:
        told.append(context.resource_config)
        return Store()

    asked = iter("abcdefgh")

    @op
    def show(a: Any) -> None: ...

    @job(resource_defs={"io_manager": store.configured(lambda _: {"base": next(asked)}, {})})
    def shows() -> None:
        show(one())

    assert shows.execute_in_process().success
    assert told == [{"base": "a"}] * 3  # opened, writing and reading
    assert next(asked) == "b"


def test_a_configurable_manager_is_told_its_config_too() -> None:
    class Store(ConfigurableIOManager):
        base: str
        deep: int = 1

        def handle_output(self, context: OutputContext, obj: Any) -> None:
            told.append(context.resource_config)

        def load_input(self, context: InputContext) -> Any: ...

    @job(resource_defs={"io_manager": Store(base="b")})
    def stores() -> None:
        one()

    assert stores.execute_in_process().success
    assert told == [{"base": "b", "deep": 1}]


def test_what_configured_gives_a_manager_has_to_fit() -> None:
    @io_manager(config_schema=_source())
    def store(_: InitResourceContext) -> IOManager:
        raise AssertionError("it was opened")

    @job(resource_defs={"io_manager": store.configured({"deeper": 1})})
    def stores() -> None:
        one()

    failed = stores.execute_in_process(raise_on_error=False)
    assert "deeper" in str(failed.failure_data_for_node("one"))


def test_a_configured_manager_takes_config_of_inputs_and_outputs_as_before() -> None:
    class Store(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            told.append(context.config)

        def load_input(self, context: InputContext) -> Any:
            told.append(context.config)

    @io_manager(config_schema=_source(), output_config_schema={"n": Field(int, default_value=5)})
    def store(_: InitResourceContext) -> Store:
        return Store()

    @input_manager(config_schema=_source(), input_config_schema={"n": int})
    def reader(context: InputContext) -> None:
        told.append(context.config)

    @op(ins={"a": In(input_manager_key="reader")})
    def show(a: Any) -> int:
        return 1

    @job(resource_defs={"io_manager": store.configured({}), "reader": reader.configured({"base": "c"})})
    def shows() -> None:
        show()

    config = {"ops": {"show": {"inputs": {"a": {"n": 7}}, "outputs": {"result": {}}}}}
    assert shows.execute_in_process(run_config=config).success
    assert told == [{"n": 7}, {"n": 5}]


def test_what_is_nothing_is_not_stored() -> None:
    @op
    def nothing() -> None: ...

    @op
    def something():  # type: ignore[no-untyped-def]
        return None

    @op(ins={"after": In(Nothing)})
    def last() -> None: ...

    @job(resource_defs=managers())
    def stores() -> None:
        last([nothing(), something()])

    result = stores.execute_in_process()
    assert list(kept) == ["default/something/result"]
    handled = [event.step for event in result.all_events if event.TYPE is EventType.HANDLED_OUTPUT]
    assert handled == ["something"]
    assert "nothing" in [event.step for event in result.all_events if event.TYPE is EventType.STEP_OUTPUT]


def test_dynamic_outputs_have_their_keys_in_their_names() -> None:
    @op(out=DynamicOut(int))
    def spread():  # type: ignore[no-untyped-def]
        for key in "ab":
            yield DynamicOutput(1, mapping_key=key)

    @job(resource_defs=managers())
    def spreads() -> None:
        spread().map(lambda each: add(each, each))

    assert spreads.execute_in_process().success
    assert sorted(kept) == [
        "default/add[a]/result",
        "default/add[b]/result",
        "default/spread/result/a",
        "default/spread/result/b",
    ]


def test_a_manager_that_is_not_bound_is_named() -> None:
    @op(out=Out(io_manager_key="missing"))
    def lost() -> int:
        return 1

    @job
    def loses() -> None:
        lost()

    with pytest.raises(InvalidDefinitionError, match="'missing'"):
        loses.execute_in_process()


@pytest.mark.parametrize("when", ["handle_output", "load_input"])
def test_a_manager_that_raises_fails_its_step(when: str) -> None:
    class Broken(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            if when == "handle_output":
                raise OSError("disk full")

        def load_input(self, context: InputContext) -> Any:
            raise OSError("disk full")

    @job(resource_defs={"io_manager": Broken()})
    def breaks() -> None:
        add(one(), one())

    result = breaks.execute_in_process(raise_on_error=False)
    step = "one" if when == "handle_output" else "add"
    failure = result.failure_data_for_node(step)
    assert failure is not None
    assert "disk full" in repr(failure.error)
    assert "io_manager" in repr(failure.error)


def test_a_function_may_make_a_manager() -> None:
    @io_manager(config_schema={"name": str})
    def named(context: Any) -> Named:
        return Named(name=context.resource_config["name"])

    @job(resource_defs={"io_manager": named})
    def uses() -> None:
        one()

    uses.execute_in_process(run_config={"resources": {"io_manager": {"config": {"name": "made"}}}})
    assert list(kept) == ["made/one/result"]


def test_metadata_of_an_output_is_with_its_event() -> None:
    @op
    def tells() -> Output[int]:
        return Output(1, metadata={"rows": 3, "url": "http://x"})

    @job
    def telling() -> None:
        tells()

    (event,) = telling.execute_in_process().get_output_events_for_node("tells")
    assert "rows" in event.metadata


def test_files_are_where_they_are_said_to_be(tmp_path: Path) -> None:
    @job(resource_defs={"io_manager": FilesystemIOManager(base_dir=str(tmp_path))})
    def files() -> None:
        add(one(), one.alias("two")())

    result = files.execute_in_process()
    assert result.output_for_node("add") == 2
    found = {file.relative_to(tmp_path).parts[:3] for file in tmp_path.rglob("*") if file.is_file()}
    assert found == {(result.run_id, step, "result") for step in ("one", "two", "add")}


_WITHOUT_HOME = """
    import os, sys
    from pathlib import Path
    from opgrid import FilesystemIOManager, job, op

    folder = Path(sys.argv[1])

    @op
    def one() -> int:
        return 1

    @op
    def look(n: int) -> int:
        (home,) = folder.iterdir()
        assert oct(home.stat().st_mode)[-3:] == "700"
        assert sorted(each.name for each in home.iterdir()) == ["secret.key", "storage"]
        if os.fork() == 0:
            sys.exit()  # which does not take the folder of its parent with it
        os.wait()
        assert home.exists()
        return n

    @job
    def memory():
        one()

    @job(resource_defs={"io_manager": FilesystemIOManager()})
    def files():
        look(one())

    assert memory.execute_in_process().success
    assert list(folder.iterdir()) == []
    for _ in range(2):
        assert files.execute_in_process().output_for_node("look") == 1
        assert list(folder.iterdir()) == []
    os._exit(5)  # as processes of Celery workers end
"""


def test_files_of_a_run_without_a_home_are_nobody_elses_and_gone_with_it(tmp_path: Path) -> None:
    """Others may use the folder for temporary files, too: the key that signs is not to be found there."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "code.py").write_text(dedent(_WITHOUT_HOME))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OPGRID_")}
    folder = str(tmp_path / "temporary")
    ended = subprocess.run([sys.executable, tmp_path / "code.py", folder], env={**environ, "TMPDIR": folder})
    assert ended.returncode == 5


def test_that_values_stay_in_memory_is_said_of_a_manager_and_is_no_config() -> None:
    class Here(ConfigurableIOManager):
        crosses_processes = False
        size: int = 1

        def handle_output(self, context: OutputContext, obj: Any) -> None: ...

        def load_input(self, context: InputContext) -> Any: ...

    @job(resource_defs={"io_manager": Here()})
    def stays() -> None:
        one()

    schema: Any = stays.run_config_schema
    assert list(
        schema["properties"]["resources"]["properties"]["io_manager"]["properties"]["config"]["properties"]
    ) == ["size"]
    with instance_for_test() as instance, pytest.raises(UnmetExecutorRequirementsError, match="memory"):
        execute_job(stays, instance, executor="multiprocess")


def test_memory_and_processes_do_not_go_together() -> None:
    @job(resource_defs={"io_manager": mem_io_manager})
    def in_memory() -> None:
        add(one(), one())

    with instance_for_test() as instance:
        with pytest.raises(UnmetExecutorRequirementsError, match="memory"):
            execute_job(in_memory, instance, executor="multiprocess")
        assert instance.get_runs_count() == 0
        with execute_job(in_memory, instance, executor="in_process") as result:
            assert result.success


class Mode(enum.Enum):
    FAST = 1
    SAFE = 2


class Telling(IOManager):
    def handle_output(self, context: OutputContext, obj: Any) -> None:
        told.append(("out", context.config))

    def load_input(self, context: InputContext) -> Any:
        assert context.upstream_output is not None
        told.append(("in", context.config, context.upstream_output.config))


def telling(schema: Any) -> Any:
    @io_manager(output_config_schema=schema)
    def manager(_: InitResourceContext) -> Telling:
        return Telling()

    return manager


@op
def gives() -> int:
    return 1


@op
def takes_it(given: Any) -> None: ...


def test_a_manager_is_told_its_config_with_defaults_and_as_ops_get_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TEXT", "from the environment")
    mode = Field(Enum.from_python_enum(Mode), default_value="FAST")
    schema = {"mode": mode, "to": Field(StringSource, default_value="here")}

    @job(resource_defs={"io_manager": telling(schema)})
    def passes() -> None:
        takes_it(gives())
        takes_it.alias("other")(gives.alias("gives_too")())

    given = {"ops": {"gives": {"outputs": {"result": {"mode": "SAFE", "to": {"env": "A_TEXT"}}}}}}
    assert passes.execute_in_process(run_config=given).success
    said = {"mode": Mode.SAFE, "to": "from the environment"}
    plain = {"mode": Mode.FAST, "to": "here"}
    assert sorted(told, key=repr) == sorted(
        [("out", said), ("out", plain), ("in", None, said), ("in", None, plain)], key=repr
    )


def test_what_a_manager_requires_of_an_output_is_asked_for() -> None:
    @job(resource_defs={"io_manager": telling({"to": str})})
    def passes() -> None:
        gives()

    with pytest.raises(InvalidConfigError, match="root:ops:gives:outputs:result: this is required"):
        passes.execute_in_process()
    assert passes.execute_in_process(run_config={"ops": {"gives": {"outputs": {"result": {"to": "x"}}}}}).success


def test_an_input_manager_is_told_its_config_with_defaults() -> None:
    @input_manager(input_config_schema={"mode": Field(Enum.from_python_enum(Mode), default_value="FAST")})
    def reader(context: InputContext) -> int:
        told.append(context.config)
        return 1

    @op(ins={"given": In(input_manager_key="reader")})
    def reads(given: Any) -> None: ...

    @job(resource_defs={"reader": reader})
    def both() -> None:
        reads()
        reads.alias("connected")(gives())

    assert both.execute_in_process(run_config={"ops": {"reads": {"inputs": {"given": {"mode": "SAFE"}}}}}).success
    assert sorted(told, key=repr) == [{"mode": Mode.FAST}, {"mode": Mode.SAFE}]

    @input_manager(input_config_schema={"n": int})
    def strict(context: InputContext) -> int:
        return 1

    with pytest.raises(InvalidConfigError, match="root:ops:reads:inputs:given: this is required"):
        both.execute_in_process(resources={"reader": strict})


def test_a_manager_that_serves_assets_too_hears_that_there_are_none() -> None:
    class Both(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            told.append((context.has_asset_key, context.has_asset_partitions))

        def load_input(self, context: InputContext) -> Any:
            told.append((context.has_asset_key, context.has_asset_partitions))

    @job(resource_defs={"io_manager": Both()})
    def passes() -> None:
        takes_it(gives())

    assert passes.execute_in_process().success
    assert told == [(False, False), (False, False)]


def test_a_reader_is_told_of_the_op_that_made_the_output() -> None:
    class Naming(IOManager):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            told.append(context.op_def.name)

        def load_input(self, context: InputContext) -> Any:
            assert context.upstream_output is not None
            told.append((context.op_def.name, context.upstream_output.op_def.name))

    @job(resource_defs={"io_manager": Naming()})
    def passes() -> None:
        takes_it(gives())

    assert passes.execute_in_process().success
    assert told == ["gives", ("takes_it", "gives")]


def test_the_built_in_managers_say_what_config_they_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_FOLDER", str(tmp_path / "kept"))

    @op(out=Out(metadata={"path": "named"}))
    def makes() -> int:
        return 1

    for manager in (fs_io_manager, custom_path_fs_io_manager):

        @job(resource_defs={"io_manager": manager})
        def stores() -> None:
            makes()

        def config(name: str) -> Any:
            return {"resources": {"io_manager": {"config": {name: {"env": "A_FOLDER"}}}}}

        with pytest.raises(InvalidConfigError, match="root:resources:io_manager:config:base_dirr: there is no such"):
            stores.execute_in_process(run_config=config("base_dirr"))
        assert stores.execute_in_process(run_config=config("base_dir")).success
        assert (tmp_path / "kept").is_dir()
        (tmp_path / "kept").rename(tmp_path / repr(id(manager)))
