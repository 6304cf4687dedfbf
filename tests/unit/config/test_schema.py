"""Dict-style schemas: what fits, what does not, and what the op sees as ``context.op_config``."""

from __future__ import annotations

import enum
import traceback
from typing import Any

import pytest

from opgrid import (
    Array,
    BoolSource,
    Enum,
    EnumValue,
    Field,
    IntSource,
    InvalidConfigDefinitionError,
    InvalidConfigError,
    Map,
    Noneable,
    OpExecutionContext,
    Permissive,
    ScalarUnion,
    Selector,
    Shape,
    StringSource,
    job,
    op,
)


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


_NOTHING = object()


def load(schema: Any, config: Any = _NOTHING) -> Any:
    """``op_config`` of an op with this schema, run with this config."""

    @op(config_schema=schema)
    def look(context: OpExecutionContext) -> list[Any]:
        return [context.op_config]

    @job
    def looks() -> None:
        look()

    given = {} if config is _NOTHING else {"ops": {"look": {"config": config}}}
    (found,) = looks.execute_in_process(run_config=given).output_for_node("look")
    return found


@pytest.mark.parametrize(
    ("schema", "config", "expected"),
    [
        (str, "a", "a"),
        (int, 3, 3),
        (float, 1.5, 1.5),
        (bool, False, False),
        ([int], [1, 2], [1, 2]),
        (Array(str), [], []),
        ({"a": int}, {"a": 1}, {"a": 1}),
        (Shape({"a": Field(int, default_value=5)}), {}, {"a": 5}),
        ({"a": Field(int, is_required=False)}, {}, {}),
        ({"in": {"deep": Field(str, default_value="d")}}, {}, {"in": {"deep": "d"}}),
        (Permissive({"a": int}), {"a": 1, "b": [2]}, {"a": 1, "b": [2]}),
        (dict, {"any": {"thing": 1}}, {"any": {"thing": 1}}),
        (Noneable(int), None, None),
        (Noneable(int), 3, 3),
        (Map(str, int), {"x": 1, "y": 2}, {"x": 1, "y": 2}),
        ({str: int}, {"x": 1}, {"x": 1}),
        ({str: {"a": int}}, {"x": {"a": 1}}, {"x": {"a": 1}}),
        (Map(int, str), {1: "one", "2": "two"}, {1: "one", 2: "two"}),
        (Map(float, int), {1: 1, 2.5: 2}, {1.0: 1, 2.5: 2}),
        (float, 2, 2.0),
        ({"a": Field(Noneable(str), is_required=False), "b": Noneable(str)}, {}, {"b": None}),
        (Field(Noneable(int), default_value=7), None, None),
        (
            {"a": Field(Noneable(int), default_value=7), "b": Field(Any, default_value=7)},
            {"a": None, "b": None},
            {"a": None, "b": None},
        ),
        (Selector({"only": Field(int, default_value=5)}), {}, {"only": 5}),
        (Selector({"file": str, "none": {}}), {"file": "f"}, {"file": "f"}),
        (Selector({"file": str, "none": {}}), {"none": {}}, {"none": {}}),
        (ScalarUnion(str, {"a": int}), "text", "text"),
        (ScalarUnion(str, {"a": int}), {"a": 1}, {"a": 1}),
        (Enum.from_python_enum(Level), "HIGH", Level.HIGH),
        (Enum.from_python_enum_direct_values(Level), "HIGH", 2),
        (Enum("Size", [EnumValue("S", "small"), EnumValue("L")]), "S", "small"),
        (Enum("Size", [EnumValue("S", "small"), EnumValue("L")]), "L", "L"),
        (StringSource, "plain", "plain"),
        (StringSource, {"env": "A_TEXT"}, "from the environment"),
        (IntSource, {"env": "A_NUMBER"}, 42),
        (BoolSource, {"env": "A_TRUTH"}, True),
        (
            {"a": [{"b": Noneable(IntSource)}]},
            {"a": [{"b": None}, {"b": {"env": "A_NUMBER"}}]},
            {"a": [{"b": None}, {"b": 42}]},
        ),
    ],
)
def test_what_fits_is_seen(schema: Any, config: Any, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TEXT", "from the environment")
    monkeypatch.setenv("A_NUMBER", "42")
    monkeypatch.setenv("A_TRUTH", "true")
    found = load(schema, config)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("schema", "config", "path", "said"),
    [
        (str, 1, "", "expected str, got 1"),
        (int, True, "", "expected int"),
        (int, 1.0, "", "expected int"),
        (float, "1", "", "expected float"),
        (bool, 0, "", "expected bool"),
        ([int], [1, "2"], "[1]", "expected int, got '2'"),
        ([int], 1, "", "expected"),
        ({"a": int}, {}, ":a", "required"),
        ({"a": int}, {"a": 1, "aa": 2}, ":aa", "Did you mean 'a'"),
        ({"in": {"deep": str}}, {"in": {}}, ":in:deep", "required"),
        (Permissive({"a": int}), {"a": "x", "b": 1}, ":a", "expected int"),
        (float, 10**400, "", "1329 bits"),
        (dict, {1: 2}, ":1", "write '1'"),
        (list, [{"a": [{2: 3}]}], "[0]:a[0]:2", "write '2'"),
        (Permissive({"a": dict}), {"a": {}, "b": {"c": {None: 1}}}, ":b:c:None", "this one is None"),
        (Noneable(int), "x", "", "expected int"),
        (Map(str, int), {"x": "1"}, ":x", "expected int"),
        (Map(int, int), {"x": 1}, "", "x"),
        (Selector({"file": str, "none": {}}), {}, "", "one of"),
        (Selector({"file": str, "none": {}}), {"file": "f", "none": {}}, "", "one of"),
        (Selector({"file": str, "none": {}}), {"fil": "f"}, ":fil", "There are: 'file', 'none'"),
        (Selector({"file": str, "none": {}}), {"file": 1}, ":file", "expected str"),
        (ScalarUnion(str, {"a": int}), {"a": "x"}, ":a", "expected int"),
        (ScalarUnion(str, {"a": int}), 1, "", "expected str"),
        (Enum.from_python_enum(Level), "MIDDLE", "", "'HIGH', 'LOW'"),
        (Enum.from_python_enum(Level), ["HIGH"], "", "['HIGH'] is no Level"),
        (StringSource, {"env": 1}, "", "expected str"),
        (StringSource, None, "", "expected str"),
    ],
)
def test_what_does_not_fit_is_told_with_its_path(schema: Any, config: Any, path: str, said: str) -> None:
    with pytest.raises(InvalidConfigError) as told:
        load(schema, config)
    (problem,) = told.value.errors
    assert problem.path.startswith(f"root:ops:look:config{path}")
    assert said in problem.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("yes", True), ("On", True), ("t", True), ("1", True), ("no", False), ("OFF", False), ("f", False), ("", False)],
)
def test_a_variable_says_yes_or_no(text: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TRUTH", text)
    assert load(BoolSource, {"env": "A_TRUTH"}) is expected


@pytest.mark.parametrize(("schema", "kind"), [(IntSource, "int"), (BoolSource, "bool")])
def test_a_variable_that_does_not_fit_is_named_without_its_value(
    schema: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SECRET", "hunter2")
    with pytest.raises(InvalidConfigError, match=f"'A_SECRET' does not hold what the config asks for: {kind}") as told:
        load(schema, {"env": "A_SECRET"})
    assert "hunter2" not in "".join(traceback.format_exception(told.value))


def test_config_that_is_required_is_missed() -> None:
    with pytest.raises(InvalidConfigError, match=r"root:ops:look:config: this is required: \{a: int\}"):
        load({"a": int})


def test_config_that_is_not_required_may_be_left_out() -> None:
    assert load({"a": Field(int, default_value=1)}) == {"a": 1}
    assert load(Field(int, default_value=1)) == 1
    assert load(Field(int, is_required=False)) is None
    assert load(Field(Noneable(str), default_value=None)) is None
    assert load(None) is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Field(int, default_value="x"), "expected int"),
        (lambda: Field(int, default_value=1, is_required=True), "cannot have is_required=True"),
        (lambda: Array(object()), "no config schema"),
        (lambda: Shape({"a": [int, str]}), "one type"),
        (lambda: op(name="named", config_schema=3)(lambda context: None).config_field, "no config schema"),
    ],
)
def test_schemas_that_are_none_are_refused_where_they_are_written(make: Any, said: str) -> None:
    with pytest.raises(InvalidConfigDefinitionError, match=said):
        make()
