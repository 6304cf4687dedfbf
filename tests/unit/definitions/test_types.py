"""Types: checked on the way in and on the way out."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Optional

import pytest

from opgrid import (
    Enum,
    Field,
    In,
    InvalidDefinitionError,
    MetadataValue,
    Noneable,
    Out,
    PythonObjectType,
    StringSource,
    Type,
    TypeCheck,
    TypeCheckDidNotPass,
    check_type,
    job,
    make_python_type_usable_as_type,
    op,
    type_loader,
    usable_as_type,
)

Even = Type(name="Even", type_check_fn=lambda _, value: isinstance(value, int) and value % 2 == 0, description="Even.")


def run(**ops: Any) -> Any:
    """A job of one op that makes and one that takes."""

    @job
    def passes() -> None:
        ops["take"](ops["make"]()) if "take" in ops else ops["make"]()

    return passes.execute_in_process()


def making(value: Any, **out: Any) -> Any:
    @op(out=Out(**out))
    def make():  # type: ignore[no-untyped-def]
        return value

    return make


def taking(annotation: Any) -> Any:
    @op(ins={"value": In(annotation)})
    def take(value):  # type: ignore[no-untyped-def]
        return value

    return take


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, 1, "1"),
        (int, 2, 2.0),
        (float, 1.5, "1.5"),
        (str, "a", 1),
        (bool, True, 1),
        (list, [1, "a"], (1,)),
        (list[int], [1], ["a"]),
        (dict[str, int], {"a": 1}, {1: 1}),
        (tuple[int, str], (1, "a"), ("a", 1)),
        (set[int], {1}, {"a"}),
        (Sequence[int], [1], ["a"]),
        (Sequence[int], (1, 2), 1),
        (Sequence[int], range(3), {1: 2}),
        (Mapping[str, int], {"a": 1}, {"a": "b"}),
        (Mapping[str, int], MappingProxyType({"a": 1}), [1]),
        (Optional[int], None, "a"),  # noqa: UP045 (what users write)
        (int | None, 3, "a"),
        (Even, 2, 3),
    ],
)
def test_values_are_checked_on_both_sides(kind: Any, good: Any, bad: Any) -> None:
    assert run(make=making(good, type=kind), take=taking(kind)).output_for_node("take") == good
    with pytest.raises(TypeCheckDidNotPass, match="output 'result'"):
        run(make=making(bad, type=kind))
    with pytest.raises(TypeCheckDidNotPass, match="input 'value'"):
        run(make=making(bad), take=taking(kind))


def test_sequences_and_mappings_are_written_in_run_config() -> None:
    @op
    def take(numbers: Sequence[int], names: Mapping[str, int]) -> list[Any]:
        return [*numbers, dict(names)]

    @job
    def takes() -> None:
        take()

    config = {"ops": {"take": {"inputs": {"numbers": [1, {"value": 2}], "names": {"a": 3}}}}}
    assert takes.execute_in_process(run_config=config).output_for_node("take") == [1, 2, {"a": 3}]


def test_a_failed_check_names_what_was_expected_and_carries_its_metadata() -> None:
    picky = Type(
        name="Picky",
        type_check_fn=lambda _, value: TypeCheck(success=False, description="too small", metadata={"got": value}),
    )
    with pytest.raises(TypeCheckDidNotPass, match=r"Picky(.|\n)*too small") as told:
        run(make=making(3, type=picky))
    assert told.value.metadata == {"got": MetadataValue.int(3)}
    assert TypeCheck(True).metadata == {}


def test_a_check_that_raises_or_says_nothing_is_told_apart() -> None:
    def raises(_: Any, value: Any) -> bool:
        raise ZeroDivisionError("in the check")

    with pytest.raises(ZeroDivisionError, match="in the check"):
        run(make=making(1, type=Type(name="Raises", type_check_fn=raises)))
    with pytest.raises(InvalidDefinitionError, match="return a bool or a TypeCheck"):
        run(make=making(1, type=Type(name="Mute", type_check_fn=lambda _, value: "yes")))


def test_classes_are_types() -> None:
    class Plain:
        pass

    class Derived(Plain):
        pass

    made = Derived()
    assert run(make=making(made, type=Plain), take=taking(Plain)).output_for_node("take") is made
    with pytest.raises(TypeCheckDidNotPass, match="Plain"):
        run(make=making(3, type=Plain))
    several = PythonObjectType((int, str), name="Several")
    assert check_type(several, "a").success
    assert not check_type(several, 1.5).success


def test_a_class_may_be_declared_a_type() -> None:
    @usable_as_type(name="Named", description="A class with a name of its own.")
    class Thing:
        pass

    @op
    def make() -> Thing:
        return Thing()

    assert make.outs["result"].type.display_name == "Named"

    class Other:
        pass

    make_python_type_usable_as_type(Other, Type(name="Never", type_check_fn=lambda _, value: False))
    with pytest.raises(TypeCheckDidNotPass, match="Never"):
        run(make=making(Other(), type=Other))


def test_a_loader_reads_a_value_from_config() -> None:
    @type_loader({"width": int, "height": int})
    def load_area(context: Any, config: dict[str, int]) -> int:
        return config["width"] * config["height"]

    area = Type(name="Area", type_check_fn=lambda _, value: isinstance(value, int), loader=load_area)

    @op(ins={"area": In(area)})
    def take(area):  # type: ignore[no-untyped-def]
        return area

    @job
    def takes() -> None:
        take()

    config = {"ops": {"take": {"inputs": {"area": {"width": 2, "height": 3}}}}}
    assert takes.execute_in_process(run_config=config).output_for_node("take") == 6


def test_what_no_type_can_be_made_of() -> None:
    with pytest.raises(InvalidDefinitionError, match="3"):

        @op(ins={"x": In(3)})  # type: ignore[arg-type]
        def wrong(x: int) -> None: ...

    with pytest.raises(InvalidDefinitionError, match="type_check_fn"):
        Type(name="No", type_check_fn=3)  # type: ignore[arg-type]


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize(
    ("schema", "written", "expected"),
    [
        (Enum.from_python_enum(Level), "HIGH", Level.HIGH),
        (StringSource, {"env": "A_TEXT"}, "from the environment"),
        (float, 3, 3.0),
        ({"level": Field(Enum.from_python_enum(Level), default_value="LOW")}, {}, {"level": Level.LOW}),
        (Noneable(Enum.from_python_enum(Level)), None, None),
    ],
)
def test_a_loader_gets_config_as_ops_get_theirs(
    schema: Any, written: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TEXT", "from the environment")

    @type_loader(schema)
    def as_it_is(context: Any, config: Any) -> Any:
        return config

    kind = Type(name="Loaded", type_check_fn=lambda _, value: True, loader=as_it_is)
    for annotation, given, found in ((kind, written, expected), (list[kind], [written], [expected])):  # type: ignore[valid-type]
        take = taking(annotation)

        @job
        def takes() -> None:
            take()  # noqa: B023

        result = takes.execute_in_process(run_config={"ops": {"take": {"inputs": {"value": given}}}})
        assert result.output_for_node("take") == found
        assert repr(result.output_for_node("take")) == repr(found)


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        (float, 3, 3.0),
        (float, {"value": 3}, 3.0),
        (float | None, 3, 3.0),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (list[list[float]], [[1]], [[1.0]]),
    ],
)
def test_a_whole_number_in_run_config_is_a_float_where_one_is_asked_for(kind: Any, written: Any, expected: Any) -> None:
    take = taking(kind)

    @job
    def takes() -> None:
        take()

    result = takes.execute_in_process(run_config={"ops": {"take": {"inputs": {"value": written}}}})
    assert repr(result.output_for_node("take")) == repr(expected)
