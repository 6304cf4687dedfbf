"""Config classes: what run config may hold for them, and what the op then gets."""

from __future__ import annotations

import enum
import os
import pickle
import re
import traceback
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import pydantic
import pytest

from opgrid import (
    Config,
    ConfigurableResource,
    EnvVar,
    IntSource,
    InvalidConfigDefinitionError,
    InvalidConfigError,
    InvalidInvocationError,
    OpExecutionContext,
    PermissiveConfig,
    RunConfig,
    StringSource,
    build_op_context,
    job,
    op,
)
from opgrid.config.model import ModelType


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Config):
    depth: int
    label: str = "inner"


class Cat(Config):
    kind: Literal["cat"] = "cat"
    meows: int


class Dog(Config):
    kind: Literal["dog"] = "dog"
    barks: float


class Everything(Config):
    text: str
    count: int = 3
    ratio: float = 0.5
    flag: bool = True
    maybe: int | None = None
    names: list[str] = []
    sizes: dict[str, int] = {}
    inner: Inner = Inner(depth=1)
    many: list[Inner] = []
    color: Color = Color.RED
    palette: list[Color] | None = None
    colors: dict[str, list[Color]] = {}
    one_or_text: list[Color] | str = ""
    shade: Color = pydantic.Field(default=Color.RED, alias="tone")
    by_number: dict[int, str] = {}
    pair: tuple[int, str] = (0, "")
    words: set[str] = set()
    days: tuple[date, ...] = ()
    at: datetime | None = None
    wait: timedelta = timedelta()
    price: Decimal = Decimal(0)
    raw: bytes = b""
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")] = Cat(meows=1)


seen: list[Any] = []


@op
def look(config: Everything) -> None:
    seen.append(config)


@job
def looks() -> None:
    look()


def given(**config: Any) -> Everything:
    """What the op gets when its run config is this."""
    seen.clear()
    assert looks.execute_in_process(run_config={"ops": {"look": {"config": config}}}).success
    (found,) = seen
    assert isinstance(found, Everything)
    return found


def problems(**config: Any) -> dict[str, str]:
    """Path under the op's config, and what is wrong there."""
    with pytest.raises(InvalidConfigError) as told:
        looks.execute_in_process(run_config={"ops": {"look": {"config": config}}})
    prefix = "root:ops:look:config"
    return {problem.path.removeprefix(prefix).removeprefix(":"): problem.message for problem in told.value.errors}


def test_defaults_fill_what_is_not_given() -> None:
    assert given(text="x") == Everything(text="x")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("count", 7, 7),
        ("ratio", 2, 2.0),
        ("flag", False, False),
        ("maybe", 4, 4),
        ("maybe", None, None),
        ("names", ["a", "b"], ["a", "b"]),
        ("sizes", {"a": 1}, {"a": 1}),
        ("inner", {"depth": 9}, Inner(depth=9)),
        ("many", [{"depth": 1}, {"depth": 2, "label": "x"}], [Inner(depth=1), Inner(depth=2, label="x")]),
        ("color", "BLUE", Color.BLUE),
        ("color", "blue", Color.BLUE),
        ("palette", ["RED", "blue"], [Color.RED, Color.BLUE]),
        ("colors", {"RED": ["BLUE"]}, {"RED": [Color.BLUE]}),
        ("one_or_text", "RED", "RED"),
        ("one_or_text", ["RED"], [Color.RED]),
        ("by_number", {1: "one", "2": "two"}, {1: "one", 2: "two"}),
        ("pet", {"kind": "dog", "barks": 0.5}, Dog(barks=0.5)),
        ("pair", [1, "a"], (1, "a")),
        ("words", ["a", "b"], {"a", "b"}),
        ("days", ["2026-02-28"], (date(2026, 2, 28),)),
        ("at", "2026-02-28T12:30:00", datetime(2026, 2, 28, 12, 30)),
        ("wait", "PT90S", timedelta(seconds=90)),
        ("price", "1.50", Decimal("1.50")),
        ("price", 2, Decimal(2)),
        ("raw", "abc", b"abc"),
    ],
)
def test_values_arrive_as_their_types(field: str, value: Any, expected: Any) -> None:
    assert getattr(given(text="x", **{field: value}), field) == expected


def test_what_json_has_no_form_for_may_be_given_as_itself() -> None:
    whole = Everything(text="x", pair=(1, "a"), words={"a"}, days=(date(2026, 2, 28),), price=Decimal("1.50"), raw=b"a")
    seen.clear()
    assert looks.execute_in_process(run_config=RunConfig(ops={"look": whole})).success
    assert seen == [whole]


def test_a_member_is_named_where_the_field_has_another_name_in_config() -> None:
    assert given(text="x", tone="BLUE").shade is Color.BLUE


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"text": 1}, "text"),
        ({"text": "x", "count": "1"}, "count"),
        ({"text": "x", "count": 1.5}, "count"),
        ({"text": "x", "count": True}, "count"),
        ({"text": "x", "flag": 1}, "flag"),
        ({"text": "x", "flag": "yes"}, "flag"),
        ({"text": "x", "ratio": "0.5"}, "ratio"),
        ({"text": "x", "names": "a"}, "names"),
        ({"text": "x", "names": ["a", 1]}, "names[1]"),
        ({"text": "x", "sizes": {"a": "1"}}, "sizes:a"),
        ({"text": "x", "inner": {"depth": "1"}}, "inner:depth"),
        ({"text": "x", "many": [{"depth": 1}, {}]}, "many[1]:depth"),
        ({"text": "x", "color": "green"}, "color"),
        ({"text": "x", "palette": ["RED", "GREEN"]}, "palette[1]"),
        ({"text": "x", "by_number": {1: "one", "second": "two"}}, "by_number:second:[key]"),
        ({"text": "x", "by_number": {1: 1}}, "by_number:1"),
        ({"text": "x", "pair": ["a", "a"]}, "pair[0]"),
        ({"text": "x", "pair": [1]}, "pair[1]"),
        ({"text": "x", "pair": "1a"}, "pair"),
        ({"text": "x", "words": [1]}, "words[0]"),
        ({"text": "x", "days": ["2026-02-28", "2026-02-30"]}, "days[1]"),
        ({"text": "x", "at": 5}, "at"),
        ({"text": "x", "at": "noon"}, "at"),
        ({"text": "x", "price": "much"}, "price"),
        ({"text": "x", "price": True}, "price"),
        ({"text": "x", "inner": 3}, "inner"),
        ({"text": "x", "pet": {"kind": "cow"}}, "pet"),
        ({"text": None}, "text"),
        ({}, "text"),
        ({"text": "x", "extra": 1}, "extra"),
        ({"text": "x", "inner": {"depth": 1, "extra": 1}}, "inner:extra"),
    ],
)
def test_run_config_is_strict(config: dict[str, Any], path: str) -> None:
    assert list(problems(**config)) == [path]


def test_every_problem_is_told_at_once_with_a_way_out() -> None:
    told = problems(txt="x", count="1", names=[1])
    assert set(told) == {"text", "txt", "count", "names[0]"}
    assert "required: str" in told["text"]
    assert "Did you mean 'text'?" in told["txt"]
    assert "'1'" in told["count"]


class Aliased(Config):
    size: int = pydantic.Field(alias="n")
    unit: str = pydantic.Field(default="kg", alias="in")


class AroundAliased(Config):
    inner: Aliased


@pytest.mark.parametrize(
    "config",
    [
        {"ops": {"weigh": {"config": {"inner": {"n": 3, "in": "lb"}}}}},
        RunConfig(ops={"weigh": AroundAliased(inner=Aliased.model_validate({"n": 3, "in": "lb"}))}),
        RunConfig(ops={"weigh": AroundAliased.model_validate({"inner": {"n": EnvVar.int("N_OF_IT"), "in": "lb"}})}),
    ],
)
def test_fields_go_by_their_aliases_in_config(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N_OF_IT", "3")

    @op
    def weigh(config: AroundAliased) -> str:
        return f"{config.inner.size} {config.inner.unit}"

    @job
    def weighs() -> None:
        weigh()

    assert weighs.execute_in_process(run_config=config).output_for_node("weigh") == "3 lb"
    with pytest.raises(InvalidConfigError, match=r"config:nn: there is no such field. Did you mean 'n'"):

        @job(config={"ops": {"alias": {"config": {"n": 1, "nn": 2}}}})
        def misnamed() -> None:
            _take_aliased.alias("alias")()


@op
def _take_aliased(config: Aliased) -> None: ...


def test_a_python_value_coerces_as_pydantic_does() -> None:
    assert Everything(text="x", count="4").count == 4  # type: ignore[arg-type]


def test_config_is_immutable_in_the_op() -> None:
    with pytest.raises(InvalidInvocationError, match=r"count cannot be set: .*model_copy"):
        given(text="x").count = 9


def test_validators_run_before_the_run_starts() -> None:
    class Even(Config):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def _even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("odd")
            return value

    @op
    def halve(config: Even) -> float:
        return config.number / 2

    @job
    def halves() -> None:
        halve()

    result = halves.execute_in_process(run_config={"ops": {"halve": {"config": {"number": 4}}}})
    assert result.output_for_node("halve") == 2
    with pytest.raises(InvalidConfigError, match=r"root:ops:halve:config:number.*odd"):
        halves.execute_in_process(run_config={"ops": {"halve": {"config": {"number": 3}}}})


def test_permissive_config_keeps_what_it_does_not_know() -> None:
    class Open(PermissiveConfig):
        known: int

    @op
    def read(config: Open) -> dict[str, Any]:
        return config.model_dump()

    @job
    def reads() -> None:
        read()

    config = {"known": 1, "other": {"deep": [1, "two"]}}
    assert reads.execute_in_process(run_config={"ops": {"read": {"config": config}}}).output_for_node("read") == config
    with pytest.raises(InvalidConfigError, match="known"):
        reads.execute_in_process(run_config={"ops": {"read": {"config": {"other": 1}}}})


def test_a_run_config_as_a_dict_has_all_its_sections() -> None:
    plain = RunConfig(ops={"look": Inner(depth=2)}).to_config_dict()
    assert plain == {"ops": {"look": {"config": {"depth": 2}}}, "resources": {}, "loggers": {}, "execution": {}}
    assert RunConfig(inputs={"n": 1}).to_config_dict()["inputs"] == {"n": 1}


def test_a_run_config_object_says_the_same_as_a_mapping() -> None:
    seen.clear()
    config = RunConfig(ops={"look": Everything(text="x", color=Color.BLUE, inner=Inner(depth=2))})
    result = looks.execute_in_process(run_config=config)
    assert result.success
    assert seen == [Everything(text="x", color=Color.BLUE, inner=Inner(depth=2))]


# ---- variables of the environment ----------------------------------------------------------------------------------


class Login(Config):
    user: str
    password: str
    port: int = 1


@op
def log_in(context: OpExecutionContext, config: Login) -> str:
    return f"{config.user}:{config.password}@{config.port}"


@job
def logs_in() -> None:
    log_in()


def test_variables_are_read_where_the_step_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_PASSWORD", "hunter2")
    monkeypatch.setenv("OUR_PORT", "5432")
    config = {"user": "me", "password": {"env": "OUR_PASSWORD"}, "port": {"env": "OUR_PORT"}}
    result = logs_in.execute_in_process(run_config={"ops": {"log_in": {"config": config}}})
    assert result.output_for_node("log_in") == "me:hunter2@5432"
    assert "hunter2" not in repr(result.run.brief.run_config)


def test_env_var_objects_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_PASSWORD", "hunter2")
    monkeypatch.setenv("OUR_PORT", "5432")
    config = Login(user="me", password=EnvVar("OUR_PASSWORD"), port=EnvVar.int("OUR_PORT"))
    result = logs_in.execute_in_process(run_config=RunConfig(ops={"log_in": config}))
    assert result.output_for_node("log_in") == "me:hunter2@5432"


def test_a_variable_that_is_not_set_is_named() -> None:
    config = {"user": "me", "password": {"env": "SURELY_NOT_SET"}}
    result = logs_in.execute_in_process(run_config={"ops": {"log_in": {"config": config}}}, raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("log_in")
    assert failure is not None
    assert "'SURELY_NOT_SET' is not set" in repr(failure.error)


class Pool(Config):
    login: Login
    hosts: list[str]
    ports: list[int]
    either: list[int | str] = []
    by_zone: dict[str, list[str]] = {}
    logins: list[Login] = []
    pair: tuple[str, str] = ("a", "b")
    limits: dict[str, int | str] = {}


@op
def fill(config: Pool) -> dict[str, Any]:
    return config.model_dump()


@job
def fills() -> None:
    fill()


def test_variables_are_read_inside_lists_dicts_and_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_PASSWORD", "hunter2")
    monkeypatch.setenv("OUR_PORT", "5432")
    word, port = EnvVar("OUR_PASSWORD"), EnvVar.int("OUR_PORT")
    config = Pool(
        login=Login(user="me", password=word, port=port),
        hosts=["here", word],
        ports=[port, 1],
        either=[port, 2],
        by_zone={"eu": ["x", word]},
        logins=[Login(user="you", password=word)],
        pair=(word, "z"),
        limits={"port": port},
    )
    assert isinstance(config.hosts[1], EnvVar)
    result = fills.execute_in_process(run_config=RunConfig(ops={"fill": config}))
    assert "hunter2" not in repr(result.run.run_config)
    assert "5432" not in repr(result.run.run_config)
    given = result.output_for_node("fill")
    assert given["login"] == {"user": "me", "password": "hunter2", "port": 5432}
    assert (given["hosts"], given["ports"], given["either"]) == (["here", "hunter2"], [5432, 1], [5432, 2])
    assert (given["by_zone"], list(given["pair"])) == ({"eu": ["x", "hunter2"]}, ["hunter2", "z"])
    assert (given["logins"][0]["password"], given["limits"]) == ("hunter2", {"port": 5432})


def test_a_variable_in_a_list_that_is_not_set_is_told_with_its_place() -> None:
    config = Pool(login=Login(user="me", password="p"), hosts=["here", EnvVar("SURELY_NOT_SET")], ports=[])
    with pytest.raises(InvalidConfigError, match=r"SURELY_NOT_SET.*config:hosts\[1\]"):
        fills.execute_in_process(run_config=RunConfig(ops={"fill": config}))


def test_the_places_of_errors_count_the_references_before_them() -> None:
    config = {"login": {"user": "me", "password": "p"}, "hosts": [{"env": "A"}, 1, {"env": "B"}, 2], "ports": []}
    with pytest.raises(InvalidConfigError) as caught:
        fills.execute_in_process(run_config={"ops": {"fill": {"config": config}}})
    assert "hosts[1]" in str(caught.value)
    assert "hosts[3]" in str(caught.value)
    assert "2 problems" in str(caught.value)


def test_a_variable_where_it_cannot_wait_is_refused() -> None:
    class Bag(Config):
        words: set[str] = set()
        by_name: dict[str, str] = {}

    with pytest.raises(InvalidConfigDefinitionError, match=r"Bag\.words has an EnvVar .* a list, a tuple"):
        Bag(words={EnvVar("A")})
    with pytest.raises(InvalidConfigDefinitionError, match=r"Bag\.by_name has an EnvVar .* as the key"):
        Bag(by_name={EnvVar("A"): "x"})


Port = Annotated[int, pydantic.Field(gt=1024)]


class Link(Config):
    port: int = pydantic.Field(gt=1024, default=2000)
    ports: list[Port] = []
    word: str = pydantic.Field(pattern="^h", default="h")
    low: int = 0
    high: int = 10
    other: Any = None

    @pydantic.field_validator("word")
    @classmethod
    def _no_x(cls, value: str) -> str:
        if value.endswith("x"):
            raise ValueError("ends with x")
        return value

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Link:
        if self.low > self.high:
            raise ValueError("low over high")
        return self


@op
def dial(config: Link) -> dict[str, Any]:
    return config.model_dump()


@job
def dials() -> None:
    dial()


def test_what_is_said_about_a_field_is_asked_of_the_value_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    number = EnvVar.int("OUR_NUMBER")
    config = Link(port=number, ports=[number, 1025], word=EnvVar("OUR_WORD"), low=number, high=9000)
    monkeypatch.setenv("OUR_NUMBER", "5000")
    monkeypatch.setenv("OUR_WORD", "hello")
    found = dials.execute_in_process(run_config=RunConfig(ops={"dial": config})).output_for_node("dial")
    assert found == {
        "port": 5000,
        "ports": [5000, 1025],
        "word": "hello",
        "low": 5000,
        "high": 9000,
        "other": None,
    }


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "OUR_NUMBER",
            "-7777777",
            r"config:port, which the environment variable 'OUR_NUMBER' gives: .*greater than 1024",
        ),
        ("OUR_NUMBER", "-7777777", r"config:ports\[1\], which the environment variable 'OUR_NUMBER' gives: .*greater"),
        ("OUR_NUMBER", "many", r"config:port, which the environment variable 'OUR_NUMBER' gives: .*valid integer"),
        ("OUR_WORD", "sesame", r"config:word, which the environment variable 'OUR_WORD' gives: .*match pattern"),
        ("OUR_WORD", "hellox", r"config:word, which the environment variable 'OUR_WORD' gives: .*ends with x"),
        ("OUR_LOW", "7777777", r"at config: .*low over high"),
    ],
)
def test_a_variable_whose_value_does_not_fit_is_named_and_its_value_is_not(
    variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, fitting in {"OUR_NUMBER": "5000", "OUR_WORD": "hello", "OUR_LOW": "1"}.items():
        monkeypatch.setenv(name, fitting)
    monkeypatch.setenv(variable, value)
    number = EnvVar.int("OUR_NUMBER")
    config = Link(port=number, ports=[1025, number], word=EnvVar("OUR_WORD"), low=EnvVar.int("OUR_LOW"))
    result = dials.execute_in_process(run_config=RunConfig(ops={"dial": config}), raise_on_error=False)
    failure = result.failure_data_for_node("dial")
    assert failure is not None
    assert re.search(told, failure.error.message)
    assert value not in repr([event for event in result.all_events if event.is_step_failure])


def test_what_no_variable_stands_for_is_checked_at_once() -> None:
    number = EnvVar.int("OUR_NUMBER")
    with pytest.raises(pydantic.ValidationError, match=r"1 validation error(.|\n)*ports\.0"):
        Link(port=number, ports=[1, number])
    with pytest.raises(pydantic.ValidationError, match="low over high"):
        Link(low=11)
    config = {"port": {"env": "OUR_NUMBER"}, "ports": [1, {"env": "OUR_NUMBER"}], "low": {"env": "OUR_NUMBER"}}
    with pytest.raises(InvalidConfigError) as caught:
        dials.execute_in_process(run_config={"ops": {"dial": {"config": {**config, "high": -1}}}})
    assert [each.path for each in caught.value.errors] == ["root:ops:dial:config:ports[0]"]


def test_a_number_stays_one_where_the_field_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loose(PermissiveConfig):
        other: Any = None

    @op
    def read(config: Loose) -> dict[str, Any]:
        return config.model_dump()

    @job
    def reads() -> None:
        read()

    monkeypatch.setenv("OUR_NUMBER", "5000")
    config = Loose(other=[EnvVar.int("OUR_NUMBER"), EnvVar("OUR_NUMBER")], more=EnvVar.int("OUR_NUMBER"))  # type: ignore[call-arg]
    result = reads.execute_in_process(run_config=RunConfig(ops={"read": config}))
    assert result.output_for_node("read") == {"other": [5000, "5000"], "more": 5000}


def test_a_dict_may_hold_variables_as_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    @op(config_schema={"port": IntSource, "host": StringSource})
    def read(context: OpExecutionContext) -> dict[str, Any]:
        found: dict[str, Any] = context.op_config
        return found

    @job
    def reads() -> None:
        read()

    monkeypatch.setenv("OUR_PORT", "5432")
    monkeypatch.setenv("OUR_HOST", "here")
    config = {"port": EnvVar.int("OUR_PORT"), "host": EnvVar("OUR_HOST")}
    result = reads.execute_in_process(run_config={"ops": {"read": {"config": config}}})
    assert result.output_for_node("read") == {"port": 5432, "host": "here"}


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: f"https://{EnvVar('HOST')}",
        lambda: str(EnvVar("HOST")),
        lambda: int(EnvVar.int("PORT")),
        lambda: f"{EnvVar.int('PORT')}",
        lambda: f"{EnvVar('HOST'):>20}",
        lambda: f"{EnvVar.int('PORT'):d}",
    ],
)
def test_the_name_of_a_variable_does_not_pass_for_its_value(misuse: Any) -> None:
    with pytest.raises(InvalidInvocationError, match=r"EnvVar.*names a variable.*get_value\(\)"):
        misuse()


def test_a_variable_can_be_looked_at_and_pickled() -> None:
    for variable in (EnvVar("HOST"), EnvVar.int("PORT")):
        again = pickle.loads(pickle.dumps(variable))
        assert (repr(again), again.env_var_name) == (repr(variable), variable.env_var_name)


class Zoo(Config):
    """Names what comes further down, which names what comes further down still."""

    cages: list[Cage] = []
    gate: Cage | None
    paint: Paint | None


class Cage(Config):
    paint: Paint
    spare: Paint | None
    beside: Cage | None
    zoo: Zoo | None


class Paint(enum.Enum):
    GREEN = "green"


class Garden(Config):
    size: int | str
    trees: list[int | None] | None


def test_classes_may_name_others_that_come_later() -> None:
    @op
    def visit(config: Zoo) -> Zoo:
        return config

    @job
    def visits() -> None:
        visit()

    config = {"cages": [{"paint": "GREEN", "beside": {"paint": "green"}}], "gate": {"paint": "GREEN", "zoo": {}}}
    green = Cage(paint=Paint.GREEN)
    expected = Zoo(cages=[Cage(paint=Paint.GREEN, beside=green)], gate=Cage(paint=Paint.GREEN, zoo=Zoo()))
    assert visits.execute_in_process({"ops": {"visit": {"config": config}}}).output_for_node("visit") == expected
    assert (expected.paint, green.spare, green.zoo) == (None, None, None)


def test_a_union_is_told_with_its_parts() -> None:
    assert ModelType(Garden).shown() == "Garden {size: int | str, trees: list | None (optional)}"


class Depths(Config):
    least: int = 0
    most: int = 9


class Well(Config):
    size: int = 1
    name: str = "well"
    depths: Depths = Depths(most=5)


class Wells(Config):
    large: Well = Well(size=40, depths=Depths(least=2))
    small: Well
    named: Well | None = None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (40, "well", 2, 9)),
        ({"large": {}}, (40, "well", 2, 9)),
        ({"large": {"name": "main"}}, (40, "main", 2, 9)),
        ({"large": {"depths": {"most": 7}}}, (40, "well", 2, 7)),
        (RunConfig(ops={"digs": Wells(large=Well(name="main"))}), (1, "main", 0, 5)),
        (RunConfig(ops={"digs": Wells(large=Well(depths=Depths(most=7)))}), (1, "well", 0, 7)),
    ],
)
def test_config_inside_has_the_defaults_of_where_it_stands(config: Any, expected: Any) -> None:
    @op
    def digs(config: Wells) -> Any:
        assert config.small == Well()
        return config.large.size, config.large.name, config.large.depths.least, config.large.depths.most

    @job
    def dig() -> None:
        digs()

    given = config if isinstance(config, RunConfig) else {"ops": {"digs": {"config": config}}}
    assert dig.execute_in_process(run_config=given).output_for_node("digs") == expected


class Shaft(Config):
    kind: Literal["shaft"] = "shaft"
    size: int = 1
    depths: Depths = Depths()


class Tunnel(Shaft):
    kind: Literal["tunnel"] = "tunnel"  # type: ignore[assignment]
    size: int = 3
    lamps: int = 2


class Steep(Depths):
    slope: int = 45


class Mine(Config):
    shaft: Shaft = Tunnel(depths=Steep(least=4))
    spare: Well | None = Well(size=40, depths=Depths(least=2))
    named: Annotated[Shaft | None, pydantic.Field(description="n")] = Tunnel(size=8)
    none: Well | None = None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"spare": {}}, Mine(spare=Well(size=40, depths=Depths(least=2)))),
        ({"spare": {"depths": {"most": 7}}}, Mine(spare=Well(size=40, depths=Depths(least=2, most=7)))),
        ({"spare": None}, Mine(spare=None)),
        ({"shaft": {}}, Mine(shaft=Shaft(size=3, depths=Depths(least=4)))),
        ({"shaft": {"depths": {"most": 7}}}, Mine(shaft=Shaft(size=3, depths=Depths(least=4, most=7)))),
        ({"named": {"depths": {"most": 7}}}, Mine(named=Shaft(size=8, depths=Depths(most=7)))),
        ({"none": {}}, Mine(none=Well())),
        (RunConfig(ops={"digs": Mine(spare=Well(name="main"))}), Mine(spare=Well(name="main"))),
        ({}, Mine()),
    ],
)
def test_a_default_that_may_be_none_or_is_of_a_subclass_is_one_all_the_same(config: Any, expected: Mine) -> None:
    @op
    def digs(config: Mine) -> Mine:
        return config

    @job
    def dig() -> None:
        digs()

    given = config if isinstance(config, RunConfig) else {"ops": {"digs": {"config": config}}}
    assert dig.execute_in_process(run_config=given).output_for_node("digs") == expected


class Country(Config):
    mine: Mine = Mine()


def test_a_default_of_a_subclass_that_was_not_set_is_told_as_its_base() -> None:
    given = Country(mine=Mine(spare=None))
    told: Any = ModelType(Country).load(given._convert_to_config_dictionary())
    assert told.mine == Mine(spare=None, shaft=Shaft(size=3, depths=Depths(least=4)), named=Shaft(size=8))


def test_fields_that_only_a_subclass_has_are_not_given_to_its_base() -> None:
    @op
    def digs(config: Mine) -> None: ...

    @job
    def dig() -> None:
        digs()

    with pytest.raises(InvalidConfigError, match="lamps: there is no such field"):
        dig.execute_in_process(run_config={"ops": {"digs": {"config": {"shaft": {"lamps": 1}}}}})


class Seat(Config):
    user: str = EnvVar("SEAT_USER")
    port: int = pydantic.Field(default=EnvVar.int("SEAT_PORT"), lt=1000)


class Seats(Config):
    first: Seat
    second: Seat | None = Seat(port=8)
    hosts: list[str] = ["here", EnvVar("SEAT_HOST")]
    others: list[Seat] = []


class Server(ConfigurableResource):
    host: str = EnvVar("SEAT_HOST")


@op
def sits_down(config: Seats, server: Server) -> tuple[Seats, str]:
    return config, server.host


@job(resource_defs={"server": Server()})
def sitting() -> None:
    sits_down()


def test_a_default_may_be_a_variable_of_the_process_that_runs_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SEAT_USER", "me"), ("SEAT_PORT", "7"), ("SEAT_HOST", "there")):
        monkeypatch.setenv(name, value)
    config = {"others": [{"port": 9}]}
    told, host = sitting.execute_in_process({"ops": {"sits_down": {"config": config}}}).output_for_node("sits_down")
    assert (told, host) == (
        Seats(
            first=Seat(user="me", port=7),
            second=Seat(user="me", port=8),
            hosts=["here", "there"],
            others=[Seat(user="me", port=9)],
        ),
        "there",
    )
    default = ModelType(Seat).json_schema()["properties"]["user"]["default"]
    assert default == {"env": "SEAT_USER"}
    assert sits_down(Seats(), server=Server())[0].first == Seat(user="me", port=7)


class Marked(Config):
    user: str = EnvVar("SEAT_USER")
    mark: str = "?"
    looks_like_one: dict[str, str] = {"env": "SURELY_NOT_SET"}

    @pydantic.field_validator("mark")
    @classmethod
    def _in_brackets(cls, mark: str) -> str:
        return f"<{mark}>"


class Marks(Config):
    marked: Marked
    more: dict[str, list[Marked]]


def test_what_stands_beside_the_variable_of_a_default_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAT_USER", "me")
    made: Any = ModelType(Marks).load({"marked": {"mark": "a"}, "more": {"b": [{"mark": "c"}, {"user": "you"}]}})
    first, second = made.more["b"]
    assert [(each.user, each.mark) for each in (made.marked, first, second)] == [
        ("me", "<a>"),
        ("me", "<c>"),
        ("you", "?"),
    ]
    assert made.marked.looks_like_one == {"env": "SURELY_NOT_SET"}


def test_what_is_wrong_with_the_variable_of_a_default_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SEAT_USER", "me"), ("SEAT_PORT", "4321"), ("SEAT_HOST", "there")):
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfigError, match="which the environment variable 'SEAT_PORT' gives") as error:
        sitting.execute_in_process()
    assert "4321" not in "".join(traceback.format_exception(error.value))
    monkeypatch.delenv("SEAT_PORT")
    with pytest.raises(InvalidConfigError, match="variable 'SEAT_PORT' is not set .* config:first:port"):
        sitting.execute_in_process()


def test_config_inside_that_has_all_its_defaults_may_be_left_out() -> None:
    class Deep(Config):
        wells: Wells

    assert Deep().wells.small.size == 1
    with pytest.raises(pydantic.ValidationError):

        class Strict(Config):
            inner: Inner

        Strict()  # type: ignore[call-arg]


class Painting(Config):
    color: Color = Color.RED
    palette: list[Color] = []
    frame: Everything = Everything(text="t", color=Color.BLUE)
    schema_: str = pydantic.Field(default="s", alias="schema")


def test_the_config_of_an_op_as_plain_data_is_what_run_config_would_hold() -> None:
    @op
    def paint(context: OpExecutionContext, config: Painting) -> Any:
        assert config.color is Color.BLUE
        return context.op_config

    @job
    def paints() -> None:
        paint()

    given = {"color": "BLUE", "palette": ["RED"], "schema": "own"}
    found = paints.execute_in_process(run_config={"ops": {"paint": {"config": given}}}).output_for_node("paint")
    assert (found["color"], found["palette"], found["schema"]) == ("blue", ["red"], "own")
    assert found["frame"]["color"] == "blue"
    called = paint(build_op_context(), Painting(color=Color.BLUE))
    assert (called["color"], called["frame"]["color"], called["schema"]) == ("blue", "blue", "s")


class Guarded(Config):
    word: pydantic.SecretStr = pydantic.SecretStr("of the class")


class Keeps(Config):
    size: int = 1
    guarded: Guarded = Guarded(word=pydantic.SecretStr("inside"))


class Keyed(Guarded):
    key: str = EnvVar("OUR_KEY")
    words: list[pydantic.SecretStr] = [pydantic.SecretStr("in a list")]


class Halls(Config):
    size: int = 1
    guarded: Guarded = Keyed()
    keyed: Keyed = Keyed()


class Strict(Guarded):
    word: pydantic.SecretStr = pydantic.SecretStr("of the subclass")


class Stricter(Config):
    guarded: Guarded = Strict()


class Words(Config):
    words: set[pydantic.SecretStr]


class Vault(ConfigurableResource):
    word: pydantic.SecretStr


@op
def open_halls(config: Halls) -> list[str]:
    words = [config.guarded.word, config.keyed.word, *config.keyed.words]
    return [each.get_secret_value() for each in words] + [config.keyed.key]


@op
def open_stricter(config: Stricter) -> str:
    return config.guarded.word.get_secret_value()


@op
def open_words(config: Words) -> None: ...


@job
def opens_halls() -> None:
    open_halls()


@job
def opens_stricter() -> None:
    open_stricter()


@job
def opens_words() -> None:
    open_words()


@op
def open_it(config: Guarded) -> str:
    return config.word.get_secret_value()


@op
def open_inside(config: Keeps) -> str:
    return config.guarded.word.get_secret_value()


@job
def opens() -> None:
    open_it()


@job
def opens_inside() -> None:
    open_inside()


@pytest.mark.parametrize(
    ("of", "given", "at"),
    [
        (opens, RunConfig(ops={"open_it": Guarded(word=pydantic.SecretStr("x"))}), "Guarded.word"),
        (opens, RunConfig(ops={"open_it": {"config": {"word": pydantic.SecretStr("x")}}}), "config.word"),
        (opens, {"ops": {"open_it": {"config": {"word": pydantic.SecretStr("x")}}}}, "word"),
        (opens_inside, {"ops": {"open_inside": {"config": {"guarded": {}}}}}, "Guarded.word"),
        (opens_stricter, {"ops": {"open_stricter": {"config": {"guarded": {}}}}}, "Strict.word"),
        (opens_words, RunConfig(ops={"open_words": Words(words={pydantic.SecretStr("x")})}), "Words.words"),
    ],
)
def test_a_secret_that_would_be_asterisks_is_refused(of: Any, given: Any, at: str) -> None:
    with pytest.raises(InvalidConfigDefinitionError, match=rf"{at} is a SecretStr, .* EnvVar") as caught:
        of.execute_in_process(run_config=given)
    assert "'x'" not in str(caught.value)


def test_a_secret_of_a_resource_is_refused_where_it_is_bound() -> None:
    with pytest.raises(InvalidConfigDefinitionError, match="Vault.word is a SecretStr"):
        opens.with_resources({"vault": Vault(word=pydantic.SecretStr("x"))})


def test_secrets_come_from_variables_and_from_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_WORD", "of the house")
    given = RunConfig(ops={"open_it": Guarded(word=EnvVar("OUR_WORD"))})
    assert opens.execute_in_process(run_config=given).output_for_node("open_it") == "of the house"
    assert opens.execute_in_process().output_for_node("open_it") == "of the class"
    assert opens_inside.execute_in_process().output_for_node("open_inside") == "inside"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"guarded": {}, "keyed": {}},
        Halls(size=2),
        Halls(guarded=Guarded(), keyed=Keyed(key=EnvVar("OUR_KEY"))),
    ],
)
def test_a_secret_that_a_class_has_by_default_is_left_to_it(monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    monkeypatch.setenv("OUR_KEY", "k")
    config = {"ops": {"open_halls": {"config": given}}}
    assert opens_halls.execute_in_process(run_config=config).output_for_node("open_halls") == [
        "of the class",
        "of the class",
        "in a list",
        "k",
    ]


def test_a_secret_that_is_given_stays_beside_the_variable_of_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "k")
    made: Any = ModelType(Keyed).load({"word": "given"})
    assert (made.word.get_secret_value(), made.key) == ("given", "k")


class Reach(Config):
    lines: int = 1
    pages: int = 2


class ByFactory(Config):
    reach: Reach = pydantic.Field(default_factory=lambda: Reach(lines=5, pages=6))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (5, 6)),
        ({"reach": {}}, (5, 6)),
        ({"reach": {"lines": 9}}, (9, 6)),
        (ByFactory(reach=Reach(lines=9)), (9, 2)),
    ],
)
def test_config_inside_is_laid_over_what_a_factory_makes(given: Any, expected: tuple[int, int]) -> None:
    @op
    def read(config: ByFactory) -> tuple[int, int]:
        return config.reach.lines, config.reach.pages

    @job
    def reading() -> None:
        read()

    run_config = RunConfig(ops={"read": given}) if isinstance(given, Config) else {"ops": {"read": {"config": given}}}
    assert reading.execute_in_process(run_config=run_config).output_for_node("read") == expected


def test_a_factory_is_not_asked_for_what_is_given_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class Width(Config):
        pages: int = 2

    class Span(Config):
        lines: int = pydantic.Field(1, alias="LINES")
        width: Width = Width()

    class ByVariable(Config):
        span: Span = pydantic.Field(default_factory=lambda: Span(lines=int(os.environ["LINES_OF_PAGE"])))

    @op
    def read(config: ByVariable) -> tuple[int, int]:
        return config.span.lines, config.span.width.pages

    @job
    def reading() -> None:
        read()

    monkeypatch.delenv("LINES_OF_PAGE", raising=False)
    for given in ({"span": {"LINES": 3, "width": {"pages": 4}}}, ByVariable(span=Span(lines=3, width=Width(pages=4)))):
        run_config = (
            RunConfig(ops={"read": given}) if isinstance(given, Config) else {"ops": {"read": {"config": given}}}
        )
        assert reading.execute_in_process(run_config=run_config).output_for_node("read") == (3, 4)
    monkeypatch.setenv("LINES_OF_PAGE", "5")
    for partly, expected in (
        ({"lines": 3}, (3, 2)),
        ({"lines": 3, "width": {}}, (3, 2)),
        ({"width": {"pages": 4}}, (5, 4)),
    ):
        found = reading.execute_in_process({"ops": {"read": {"config": {"span": partly}}}})
        assert found.output_for_node("read") == expected
