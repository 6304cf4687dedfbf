"""YAML documents that are more than they look like, or less."""

from __future__ import annotations

import pytest
import yaml

from opgrid.config.documents import REPEATED, document


def repeated(levels: int, line: str = "[{}]", first: str = "[x]") -> str:
    """Each line has the one before ten times."""
    lines = [f"a0: &a0 {first}"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} " + line.format(", ".join([f"*a{level - 1}"] * 10)))
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "a: &x [1, 2]\nb: *x",
        "a: &x {b: 1}\nc: {<<: *x, d: 2026-02-28}",
        "n: 0x1F\nf: .inf\nt: 2026-02-28 10:00:00+01:00",
        "[" * 100 + "]" * 100,
        repeated(5),
    ],
)
def test_what_is_said_is_read_as_ever(text: str) -> None:
    assert document(text) == document(text.encode()) == yaml.safe_load(text)


def test_what_is_long_without_aliases_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opgrid.config.documents.REPEATED", 10)
    assert document("a: &x " + "x" * 100) == {"a": "x" * 100}
    assert document("a: &x 1234\nb: *x\nc: *x") == {"a": 1234, "b": 1234, "c": 1234}
    with pytest.raises(yaml.YAMLError):
        document("a: &x 12345\nb: *x\nc: *x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (repeated(12), "its aliases make it longer"),
        (repeated(40), "its aliases make it longer"),
        (repeated(12, "{{<<: [{}]}}", "{x: 1}"), "its aliases make it longer"),
        (repeated(3, first="x" * (REPEATED // 100)), "its aliases make it longer"),
        ("a: 1\nops: &o\n  b: *o", "this value holds itself\n  in .*, line 2, column 6"),
        ("ops: &o [*o]", "this value holds itself"),
        ("ops: &o {<<: *o}", "this value holds itself"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: 1\nday: 2026-02-30", "'2026-02-30' cannot be read as timestamp\n  in .*, line 2, column 6"),
        ("a: !!int many", "'many' cannot be read as int"),
        ("a: !!bool many", "'many' cannot be read as bool"),
        ("a: !!timestamp many", "'many' cannot be read as timestamp"),
        ("a: " + "9" * 5000, "'9999999999999999999999999999999999999999' cannot be read as int"),
        ("a: [1", "expected"),
        ("a: 1\n---\nb: 2", "another document"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, told: str) -> None:
    with pytest.raises(yaml.YAMLError, match=told):
        document(text)
