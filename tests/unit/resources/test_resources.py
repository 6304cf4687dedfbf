"""Resources: how they are bound, opened, nested, configured and ended."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pydantic
import pytest

from executors import in_process
from opgrid import (
    Config,
    ConfigurableResource,
    Definitions,
    EnvVar,
    Field,
    InitResourceContext,
    InvalidConfigError,
    InvalidDefinitionError,
    InvalidInvocationError,
    OpExecutionContext,
    ResourceDefinition,
    ResourceDependency,
    ResourceFunctionError,
    ResourceParam,
    build_hook_context,
    build_init_resource_context,
    build_input_context,
    build_op_context,
    build_output_context,
    build_resources,
    instance_for_test,
    job,
    make_values_resource,
    op,
    resource,
)
from opgrid.contracts.events import EventType
from opgrid.steps.scope import RunScope
from orchestrator.services.execute import execute_job
from orchestrator.storage.sql.store import SqlStore

happened: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    happened.clear()


class Server(ConfigurableResource):
    url: str
    port: int = 80

    def where(self) -> str:
        return f"{self.url}:{self.port}"


@op
def call(server: Server) -> str:
    return server.where()


@job
def calls() -> None:
    call()


def called(resources: dict[str, Any], run_config: Any = None) -> Any:
    return calls.execute_in_process(resources=resources, run_config=run_config).output_for_node("call")


# ---- binding -------------------------------------------------------------------------------------------------------


def test_a_resource_is_bound_by_the_name_of_the_parameter() -> None:
    assert called({"server": Server(url="here")}) == "here:80"


def test_a_wrong_value_is_refused_where_it_is_written() -> None:
    with pytest.raises(pydantic.ValidationError, match="port"):
        Server(url="here", port="eighty")  # type: ignore[arg-type]
    with pytest.raises(pydantic.ValidationError, match="prt"):
        Server(url="here", prt=1)  # type: ignore[call-arg]
    with pytest.raises(pydantic.ValidationError, match="url"):
        Server()  # type: ignore[call-arg]


def test_the_job_binds_before_definitions_do() -> None:
    @job(resource_defs={"server": Server(url="of the job")})
    def own() -> None:
        call()

    defs = Definitions(jobs=[own, calls], resources={"server": Server(url="of all")})
    assert defs.get_job_def("own").execute_in_process().output_for_node("call") == "of the job:80"
    assert defs.get_job_def("calls").execute_in_process().output_for_node("call") == "of all:80"


def test_a_missing_resource_is_told_with_what_there_is() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"'server'(.|\n)*'sever'"):
        Definitions(jobs=[calls], resources={"sever": Server(url="x")}).get_job_def("calls")
    with pytest.raises(InvalidDefinitionError, match="'server'"):
        calls.execute_in_process()


def test_a_plain_object_is_a_resource() -> None:
    @op
    def use(thing: ResourceParam[list[int]]) -> int:
        return sum(thing)

    @op(required_resource_keys={"thing"})
    def use_by_context(context: OpExecutionContext) -> int:
        return len(context.resources.thing)

    @job(resource_defs={"thing": [1, 2, 3]})
    def uses() -> None:
        use()
        use_by_context()

    result = uses.execute_in_process()
    assert (result.output_for_node("use"), result.output_for_node("use_by_context")) == (6, 3)


def test_a_class_in_the_place_of_an_instance_is_told() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"Server\(\.\.\.\)"):

        @job(resource_defs={"server": Server})
        def wrong() -> None:
            call()

        wrong.execute_in_process()


# ---- life ----------------------------------------------------------------------------------------------------------


class Lively(ConfigurableResource):
    name: str = "lively"

    def setup_for_execution(self, context: InitResourceContext) -> None:
        happened.append(f"set up {self.name}")

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        happened.append(f"torn down {self.name}")


class Managed(Lively):
    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator[Managed]:
        happened.append("entered")
        try:
            yield self
        finally:
            happened.append("left")


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_set_up_is_torn_down_even_after_a_failure(fails: bool) -> None:
    @op
    def use(lively: Lively) -> None:
        happened.append("used")
        if fails:
            raise ValueError("no")

    @job(resource_defs={"lively": Lively()})
    def uses() -> None:
        use()

    result = uses.execute_in_process(raise_on_error=False)
    assert result.success is not fails
    assert happened == ["set up lively", "used", "torn down lively"]


def test_a_resource_may_yield_itself_for_the_time_of_a_run() -> None:
    @op
    def use(managed: Managed) -> str:
        happened.append("used")
        return managed.name

    @job(resource_defs={"managed": Managed(name="m")})
    def uses() -> None:
        use()
        use.alias("again")()

    assert uses.execute_in_process().success
    assert happened.count("used") == 2
    assert happened[0] == "entered"
    assert happened[-1] == "left"
    assert happened.count("entered") == happened.count("left")


@pytest.mark.parametrize("in_a_notebook", [False, True])
def test_an_async_context_manager_is_a_life_too(in_a_notebook: bool) -> None:
    class Async(ConfigurableResource):
        @asynccontextmanager
        async def yield_for_execution(self, context: InitResourceContext) -> AsyncIterator[Async]:
            happened.append("entered")
            yield self
            happened.append("left")

    @op
    def use(one: Async) -> None:
        happened.append("used")

    @job(resource_defs={"one": Async()})
    def uses() -> None:
        use()

    async def cell() -> bool:
        return uses.execute_in_process().success

    assert asyncio.run(cell()) if in_a_notebook else uses.execute_in_process().success
    assert happened == ["entered", "used", "left"]


def test_only_what_a_run_needs_is_opened() -> None:
    @op
    def use(lively: Lively) -> None: ...

    @job(resource_defs={"lively": Lively(name="needed"), "other": Lively(name="other")})
    def uses() -> None:
        use()

    assert uses.execute_in_process().success
    assert happened == ["set up needed", "torn down needed"]


def test_a_resource_that_cannot_be_opened_fails_the_step_and_says_why() -> None:
    class Broken(ConfigurableResource):
        def setup_for_execution(self, context: InitResourceContext) -> None:
            raise ConnectionError("not today")

    @op
    def use(broken: Broken) -> None: ...

    @op
    def after(x: None) -> None: ...

    @job(resource_defs={"broken": Broken()})
    def uses() -> None:
        after(use())

    with instance_for_test() as instance:
        result = execute_job(uses, instance, executor="in_process")
        assert not result.success
        types = [event.TYPE for event in result.all_events]
        assert types.index(EventType.RESOURCE_INIT_FAILURE) < types.index(EventType.RUN_FAILURE)
        assert result.is_node_untouched("after")
        failure = result.failure_data_for_node("use")
        assert failure is not None
        assert "not today" in repr(failure.error)
        assert "broken" in repr(failure.error)
    for way in (
        uses.execute_in_process,
        lambda: build_op_context(resources={"broken": Broken()}),
        lambda: build_resources({"broken": Broken()}).__enter__(),
    ):
        with pytest.raises(ResourceFunctionError, match="'broken' could not be opened") as told:
            way()
        assert isinstance(told.value.__cause__, ConnectionError)


# ---- nesting -------------------------------------------------------------------------------------------------------


class Credentials(ConfigurableResource):
    user: str

    def setup_for_execution(self, context: InitResourceContext) -> None:
        happened.append("credentials")


class Store(ConfigurableResource):
    credentials: Credentials
    bucket: str = "b"

    def setup_for_execution(self, context: InitResourceContext) -> None:
        happened.append("store")

    def path(self) -> str:
        return f"{self.credentials.user}@{self.bucket}"


@op
def read(store: Store) -> str:
    return store.path()


@job
def reads() -> None:
    read()


def test_a_resource_inside_another_is_opened_first() -> None:
    result = reads.execute_in_process(resources={"store": Store(credentials=Credentials(user="me"))})
    assert result.output_for_node("read") == "me@b"
    assert happened == ["credentials", "store"]


def test_a_resource_shared_by_two_is_opened_once() -> None:
    shared = Credentials(user="me")

    @op
    def both(store: Store, credentials: Credentials) -> bool:
        return store.credentials.user == credentials.user

    @job(resource_defs={"store": Store(credentials=shared), "credentials": shared})
    def uses() -> None:
        both()

    assert uses.execute_in_process().output_for_node("both") is True
    assert happened.count("credentials") == 1


def test_the_inner_one_may_be_configured_at_launch() -> None:
    inner = Credentials.configure_at_launch()

    @job(resource_defs={"credentials": inner, "store": Store(credentials=inner)})
    def uses() -> None:
        read()

    config = {"resources": {"credentials": {"config": {"user": "launched"}}}}
    assert uses.execute_in_process(run_config=config).output_for_node("read") == "launched@b"


# ---- configuration at launch, environment --------------------------------------------------------------------------


def test_values_come_at_launch() -> None:
    made = Server.configure_at_launch()
    config = {"resources": {"server": {"config": {"url": "there", "port": 1}}}}
    assert called({"server": made}, config) == "there:1"
    with pytest.raises(InvalidConfigError, match="root:resources:server:config"):
        called({"server": made})


def test_variables_are_read_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = {"server": Server(url=EnvVar("OUR_URL"), port=EnvVar.int("OUR_PORT"))}
    monkeypatch.setenv("OUR_URL", "secret.example")
    monkeypatch.setenv("OUR_PORT", "81")
    assert "secret.example" not in repr(bound)
    assert called(bound) == "secret.example:81"
    monkeypatch.delenv("OUR_URL")
    with pytest.raises(Exception, match="'OUR_URL' is not set"):
        called(bound)


def test_validators_of_its_fields_are_asked_at_launch_and_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    class Site(ConfigurableResource):
        url: str
        credentials: Credentials | None = None

        @pydantic.field_validator("url", "credentials")
        @classmethod
        def _is_http(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
            if info.field_name == "url" and not value.startswith("http"):
                raise ValueError("no http")
            return value

    @op
    def visit(site: Site) -> str:
        return site.url

    @job(resource_defs={"site": Site(url=EnvVar("OUR_SITE"), credentials=Credentials(user="me"))})
    def visits() -> None:
        visit()

    monkeypatch.setenv("OUR_SITE", "https://here")
    assert visits.execute_in_process().output_for_node("visit") == "https://here"
    monkeypatch.setenv("OUR_SITE", "ftp://here")
    with pytest.raises(Exception, match="OUR_SITE.*no http"):
        visits.execute_in_process()

    @job(resource_defs={"site": Site.configure_at_launch()})
    def asks() -> None:
        visit()

    with pytest.raises(InvalidConfigError, match="resources:site:config:url: .*no http"):
        asks.execute_in_process(run_config={"resources": {"site": {"config": {"url": "ftp://here"}}}})


def test_variables_inside_lists_and_dicts_are_read_when_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cluster(ConfigurableResource):
        hosts: list[str]
        ports: dict[str, int]

    bound = Cluster(hosts=["a", EnvVar("OUR_URL")], ports={"web": EnvVar.int("OUR_PORT")})
    monkeypatch.setenv("OUR_URL", "secret.example")
    monkeypatch.setenv("OUR_PORT", "81")

    @op
    def look(cluster: Cluster) -> tuple[list[str], dict[str, int]]:
        return cluster.hosts, cluster.ports

    @job(resource_defs={"cluster": bound})
    def looks() -> None:
        look()

    result = looks.execute_in_process()
    assert result.output_for_node("look") == (["a", "secret.example"], {"web": 81})
    assert "secret.example" not in repr((bound, result.run.run_config))


# ---- functions as resources ----------------------------------------------------------------------------------------


def test_functions_with_config_and_needs() -> None:
    @resource({"size": int})
    def pool(context: InitResourceContext) -> list[int]:
        return [0] * context.resource_config["size"]

    @resource(required_resource_keys={"pool"})
    def client(context: InitResourceContext) -> Iterator[str]:
        happened.append("opened")
        yield f"client of {len(context.resources.pool)}"
        happened.append("closed")

    @op(required_resource_keys={"client"})
    def use(context: OpExecutionContext) -> str:
        found: str = context.resources.client
        return found

    @job(resource_defs={"pool": pool, "client": client})
    def uses() -> None:
        use()

    result = uses.execute_in_process(run_config={"resources": {"pool": {"config": {"size": 3}}}})
    assert result.output_for_node("use") == "client of 3"
    assert happened == ["opened", "closed"]
    with pytest.raises(InvalidConfigError, match="root:resources:pool:config:size"):
        uses.execute_in_process(run_config={"resources": {"pool": {"config": {"size": "3"}}}})


def test_a_function_with_its_config_given() -> None:
    @resource({"size": int})
    def pool(context: InitResourceContext) -> int:
        return int(context.resource_config["size"])

    half = pool.configured(lambda config: {"size": config["twice"] // 2}, config_schema={"twice": int})

    @op
    def use(fixed: ResourceParam[int], half: ResourceParam[int]) -> tuple[int, int]:
        return fixed, half

    @job(resource_defs={"fixed": pool.configured({"size": 4}), "half": half})
    def uses() -> None:
        use()

    result = uses.execute_in_process(run_config={"resources": {"half": {"config": {"twice": 6}}}})
    assert result.output_for_node("use") == (4, 3)


def test_the_small_ones() -> None:
    @op(required_resource_keys={"hard", "none", "text", "mock", "values"})
    def use(context: OpExecutionContext) -> list[Any]:
        found = context.resources
        return [found.hard, found.none, found.text, found.mock.anything(1) is not None, found.values["size"]]

    @job(
        resource_defs={
            "hard": ResourceDefinition.hardcoded_resource(5),
            "none": ResourceDefinition.none_resource(),
            "text": ResourceDefinition.string_resource(),
            "mock": ResourceDefinition.mock_resource(),
            "values": make_values_resource(size=int),
        }
    )
    def uses() -> None:
        use()

    config = {"resources": {"text": {"config": "t"}, "values": {"config": {"size": 2}}}}
    assert uses.execute_in_process(run_config=config).output_for_node("use") == [5, None, "t", True, 2]


# ---- outside of runs -----------------------------------------------------------------------------------------------


def test_resources_outside_of_a_run() -> None:
    with build_resources({"store": Store(credentials=Credentials(user="me")), "lively": Lively()}) as found:
        assert found.store.path() == "me@b"
        assert happened[-1] == "set up lively"
    assert happened[-1] == "torn down lively"
    with build_resources(
        {"server": Server.configure_at_launch()}, resource_config={"server": {"config": {"url": "u"}}}
    ) as r:
        assert r.server.where() == "u:80"


def test_a_resource_by_itself_is_what_it_says() -> None:
    assert Server(url="u").where() == "u:80"
    assert call(server=Server(url="u")) == "u:80"

    @resource({"n": int})
    def number(context: InitResourceContext) -> int:
        return int(context.resource_config["n"])

    assert number(build_init_resource_context(config={"n": 3})) == 3


def test_a_config_may_hold_what_a_resource_needs() -> None:
    class Options(Config):
        retries: int = 2

    class Client(ConfigurableResource):
        options: Options = Options()

    @op
    def use(client: Client) -> int:
        return client.options.retries

    @job(resource_defs={"client": Client(options=Options(retries=5))})
    def uses() -> None:
        use()

    assert uses.execute_in_process().output_for_node("use") == 5


def test_fields_of_a_resource_go_by_their_aliases_in_config() -> None:
    class Database(ConfigurableResource):
        schema_: str = pydantic.Field(alias="schema")
        name: str = "db"

    @op
    def tell(database: Database) -> str:
        return f"{database.name}.{database.schema_}"

    given = Database.model_validate({"schema": "main"})

    @job(resource_defs={"database": given})
    def tells() -> None:
        tell()

    assert tells.execute_in_process().output_for_node("tell") == "db.main"
    config = {"resources": {"database": {"config": {"schema": "other"}}}}
    assert tells.execute_in_process(run_config=config).output_for_node("tell") == "db.other"
    assert given.process_config_and_initialize().schema_ == "main"


def test_a_resource_knows_its_run_and_the_instance() -> None:
    class Curious(ConfigurableResource):
        _found: tuple[str, str, bool] = pydantic.PrivateAttr()

        def setup_for_execution(self, context: InitResourceContext) -> None:
            known = context.instance.get_run_by_id(context.run_id)
            self._found = (context.run.job_name, context.run.tags["of"], known is not None)

    @op
    def use(curious: Curious) -> str:
        return repr(curious._found)

    @job(resource_defs={"curious": Curious()}, tags={"of": "tests"})
    def uses() -> None:
        use()

    with instance_for_test() as instance:
        with execute_job(uses, instance, executor="in_process") as result:
            assert result.output_for_node("use") == "('uses', 'tests', True)"
        assert uses.execute_in_process(instance=instance).output_for_node("use") == "('uses', 'tests', True)"


class Machine:
    def __init__(self, power: int) -> None:
        self.power = power


@resource({"power": Field(int, default_value=3)})
def machine(context: InitResourceContext) -> Iterator[Machine]:
    happened.append("started")
    yield Machine(context.resource_config["power"])
    happened.append("stopped")


class Workshop(ConfigurableResource):
    machine: ResourceDependency[Machine | None] = None
    name: ResourceDependency[str] = "shop"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "shop: none"),
        ({"machine": Machine(4)}, "shop: 4"),
        ({"machine": machine}, "shop: 3"),
        ({"machine": machine.configured({"power": 5})}, "shop: 5"),
        ({"name": ResourceDefinition.hardcoded_resource("mill")}, "mill: none"),
    ],
)
def test_a_dependency_is_an_object_or_what_makes_it(given: dict[str, Any], expected: str) -> None:
    @op
    def tell(workshop: Workshop) -> str:
        power = "none" if workshop.machine is None else str(workshop.machine.power)
        return f"{workshop.name}: {power}"

    @job(resource_defs={"workshop": Workshop(**given)})
    def tells() -> None:
        tell()

    assert tells.execute_in_process().output_for_node("tell") == expected
    assert happened in ([], ["started", "stopped"])


@resource({"host": str, "port": Field(int, default_value=80)})
def address(context: InitResourceContext) -> dict[str, Any]:
    return dict(context.resource_config)


def test_config_that_no_run_config_was_checked_with_is_checked_and_filled_in() -> None:
    expected = {"host": "h", "port": 80}

    @op(required_resource_keys={"address"})
    def tell(context: OpExecutionContext) -> Any:
        return context.resources.address

    @job(resource_defs={"address": address.configured({"host": "h"})})
    def tells() -> None:
        tell()

    assert tells.execute_in_process().output_for_node("tell") == expected
    assert address(build_init_resource_context({"host": "h"})) == expected
    assert address.configured({"host": "h"})() == expected
    with build_resources({"address": address}, resource_config={"address": {"config": {"host": "h"}}}) as resources:
        assert resources.address == expected
    context = build_op_context({"address": address}, resources_config={"address": {"config": {"host": "h"}}})
    assert tell(context) == expected


def test_config_that_no_run_config_was_checked_with_has_to_fit() -> None:
    wrong = address.configured({"host": 1})

    @op(required_resource_keys={"address"})
    def use(context: OpExecutionContext) -> None: ...

    @job(resource_defs={"address": wrong})
    def uses() -> None:
        use()

    for way in (
        uses.execute_in_process,
        wrong,
        lambda: address(build_init_resource_context({"host": 1})),
        lambda: build_resources({"address": wrong}).__enter__(),
        lambda: build_op_context({"address": wrong}),
    ):
        with pytest.raises(InvalidConfigError, match="config:host: expected str, got 1"):
            way()


def test_a_resource_that_needs_others_is_not_called_without_them() -> None:
    @resource(required_resource_keys={"server"})
    def client(context: InitResourceContext) -> Any:
        return context.resources.server

    with pytest.raises(InvalidInvocationError, match=r"needs 'server'.*build_init_resource_context"):
        client()
    assert client(build_init_resource_context(resources={"server": "s"})) == "s"


class Power(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Engine(Config):
    power: Power = Power.LOW


class Mill(ConfigurableResource):
    engine: Engine = Engine()
    powers: list[Power] = []

    def setup_for_execution(self, context: InitResourceContext) -> None:
        assert self.engine.power is Power.HIGH
        happened.append(repr(context.resource_config))


def test_a_resource_is_told_its_config_as_run_config_would_hold_it() -> None:
    @op
    def grind(mill: Mill) -> None: ...

    @job(resource_defs={"mill": Mill(engine=Engine(power=Power.HIGH), powers=[Power.LOW])})
    def grinds() -> None:
        grind()

    assert grinds.execute_in_process().success
    assert happened == ["{'engine': {'power': 'high'}, 'powers': ['low']}"]


def test_the_class_of_a_resource_may_be_the_schema_of_another() -> None:
    class Settings(ConfigurableResource):
        size: int = 4

    @resource(config_schema=Settings.to_config_schema())
    def older(context: InitResourceContext) -> int:
        return int(Settings.from_resource_context(context).size)

    @op(required_resource_keys={"older"})
    def use(context: OpExecutionContext) -> int:
        return int(context.resources.older)

    @job(resource_defs={"older": older})
    def uses() -> None:
        use()

    assert uses.execute_in_process().output_for_node("use") == 4


def test_a_resource_that_takes_no_config_is_told_of_an_empty_one() -> None:
    class Bare(ConfigurableResource):
        def setup_for_execution(self, context: InitResourceContext) -> None:
            happened.append(repr(context.resource_config))

    with build_resources({"bare": Bare()}):
        assert happened == ["{}"]


def test_the_class_of_a_resource_may_say_what_it_makes() -> None:
    class Client(ConfigurableResource["Client"]):  # type: ignore[type-arg]
        name: str

    @op
    def use(client: Client) -> str:
        return client.name

    @job(resource_defs={"client": Client(name="n")})
    def uses() -> None:
        use()

    assert uses.execute_in_process().output_for_node("use") == "n"


def test_a_resource_that_yields_is_a_context_manager_where_it_is_called() -> None:
    @resource
    def connection(_: InitResourceContext) -> Iterator[str]:
        yield "open"
        happened.append("closed")

    for called in (connection(build_init_resource_context()), connection.configured({})()):
        happened.clear()
        with called as opened:
            assert opened == "open"
            assert happened == []
        assert happened == ["closed"]


@resource
def lasting(_: InitResourceContext) -> Iterator[str]:
    yield "open"
    happened.append("closed")


found: list[Any] = []


@op
def look_twice(context: OpExecutionContext) -> int:
    found.extend([context.instance, context.instance])
    return sum(each.get_runs_count() for each in found[-2:])


@job
def looks() -> None:
    look_twice()


@pytest.mark.parametrize("lifetime", ["run", "step"])
def test_the_instance_that_steps_see_is_opened_once_and_closed(lifetime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found.clear()
    monkeypatch.setattr(
        in_process, "RunScope", lambda *given, **more: RunScope(*given, **{**more, "lifetime": lifetime})
    )
    with instance_for_test() as instance:
        with execute_job(looks, instance, executor="in_process") as result:
            assert result.output_for_node("look_twice") == 2
        first, second = found
        assert first is second and first is not instance
        assert isinstance(first.store, SqlStore)
        assert first.store._engine.pool.checkedin() == 0, "it still has a connection"


@pytest.mark.parametrize(
    "build",
    [build_op_context, build_hook_context, build_input_context, build_output_context, build_init_resource_context],
)
def test_a_context_that_is_built_ends_its_resources_in_a_with_statement(build: Any) -> None:
    with build(resources={"lasting": lasting}) as context:
        assert context.resources.lasting == "open"
        assert happened == []
    assert happened == ["closed"]


@pytest.mark.parametrize("build", [build_op_context, build_hook_context, build_init_resource_context])
def test_a_context_that_is_built_has_an_instance(build: Any) -> None:
    assert build().instance.get_runs_count() == 0
    with instance_for_test() as instance:
        assert build(instance=instance).instance is instance


class Vault(ConfigurableResource):
    key: pydantic.SecretStr
    more: list[pydantic.SecretStr] = []


class Locked(ConfigurableResource):
    word: pydantic.SecretStr
    raw: pydantic.SecretBytes = pydantic.SecretBytes(b"given by default")
    vault: Vault


def test_secrets_in_code_are_those_of_what_is_made_outside_of_a_run() -> None:
    vault = Vault(key=pydantic.SecretStr("k"), more=[pydantic.SecretStr("m")])
    given = Locked(word=pydantic.SecretStr("w"), vault=vault)
    made = given.process_config_and_initialize()
    assert [each.get_secret_value() for each in (made.word, made.raw, made.vault.key, made.vault.more[0])] == [
        "w",
        b"given by default",
        "k",
        "m",
    ]
    assert "w" not in repr(made.word)
    with given.process_config_and_initialize_cm() as again:
        assert again.word == given.word
