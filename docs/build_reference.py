"""Writes ``docs/reference/api``, a page per noun, from the docstrings and signatures of what users import; and the
GraphQL schema.

``python docs/build_reference.py``; with ``--check`` it only tells whether the pages are current.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opgrid
from orchestrator.api.graphql.schema import FILE
from orchestrator.api.graphql.schema import text as schema_text

_FOLDER = Path(__file__).parent / "reference" / "api"
_FACE = Path(opgrid.__file__).read_text()
_HEAD = "<!-- Written by docs/build_reference.py from docstrings: change those. -->\n\n"
#: Names that typing modules own, or that stand for a value.
_ALIASES = {"Any", "Bool", "Dict", "Float", "Int", "List", "Optional", "Set", "String", "Tuple"}
_HIDDEN = {"model_config", "model_post_init"}


def main(arguments: list[str]) -> int:
    pages = dict(_pages())
    schema = schema_text()
    if "--check" in arguments and (not FILE.exists() or FILE.read_text() != schema):
        print(f"Not current: {FILE.name}. Run: make docs", file=sys.stderr)
        return 1
    if "--check" in arguments:
        stored = {file.name: file.read_text() for file in _FOLDER.glob("*.md")}
        wrong = sorted(name for name in {*pages, *stored} if pages.get(name) != stored.get(name))
        if wrong:
            print(f"Not current: {', '.join(wrong)}. Run: make docs", file=sys.stderr)
        return 1 if wrong else 0
    FILE.write_text(schema)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    for file in _FOLDER.glob("*.md"):
        file.unlink()
    for name, text in pages.items():
        (_FOLDER / name).write_text(text)
    return 0


def _pages() -> Iterator[tuple[str, str]]:
    index = [_HEAD + "# Python API\n", "Everything is imported from `opgrid`.\n"]
    for title, names in _groups():
        file = re.sub(r"[^a-z]+", "-", title.lower()) + ".md"
        heading = title[0].upper() + title[1:]
        index.append(f"## [{heading}]({file})\n")
        index.append(", ".join(f"[`{name}`]({file}#{name.lower()})" for name in names) + "\n")
        entries = [_entry(name, getattr(opgrid, name)) for name in names]
        yield file, _HEAD + f"# {heading}\n\n" + "\n\n".join(each.rstrip() for each in entries) + "\n"
    yield "README.md", "\n".join(index)


def _groups() -> Iterator[tuple[str, list[str]]]:
    """As the face groups them."""
    listed = _FACE.partition("__all__ = [")[2].partition("\n]")[0]
    title, names = "", list[str]()
    for line in listed.splitlines():
        if found := re.match(r"    # (.+)", line):
            if names:
                yield title, names
            title, names = found[1], []
        elif found := re.match(r'    "(\w+)"', line):
            names.append(found[1])
    yield title, names


def _entry(name: str, value: Any) -> str:
    lines = [f"## {name}\n"]
    if name in _ALIASES:
        return f"## {name}\n\nThe type of that name, under the name that older code uses.\n"
    if isinstance(value, type):
        lines += _class(name, value)
    elif callable(value) and not isinstance(value, type) and hasattr(value, "__name__"):
        lines += [_code(f"{name}{_signature(value)}"), _doc(value)]
    else:
        lines.append(_described(value))
    return "\n".join(line for line in lines if line)


def _class(name: str, kind: type) -> Iterator[str]:
    if issubclass(kind, enum.Enum):
        yield _doc(kind)
        yield ", ".join(f"`{name}.{each.name}`" for each in kind) + "\n"
        return
    if issubclass(kind, BaseException):
        bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__ if base is not object)
        yield f"An error; a kind of {bases}.\n"
        yield _doc(kind)
        code = getattr(kind, "exit_code", None)
        if "exit_code" in vars(kind) and code is not None:
            yield f"Exit code of the command line: {code}.\n"
        return
    yield _code(f"{name}{_signature(kind)}")
    yield _doc(kind)
    for member, value in sorted({**_of_the_class(kind), **vars(kind)}.items()):
        if member.startswith("_") or member in _HIDDEN:
            continue
        plain = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        text = inspect.getdoc(plain.fget if isinstance(plain, property) else plain) or ""
        if isinstance(plain, property):
            yield _member(f"{name}.{member}", text)
        elif inspect.isfunction(plain):
            yield _member(f"{name}.{member}{_signature(plain, bound=not isinstance(value, staticmethod))}", text)


def _of_the_class(kind: type) -> dict[str, Any]:
    """What a class with a metaclass of its own can do and its instances cannot."""
    above = type(kind)
    inherited = any(type(base) is above for base in kind.__bases__)
    return dict(vars(above)) if above.__module__ == kind.__module__ and not inherited else {}


def _member(shown: str, text: str) -> str:
    first = " ".join(text.partition("\n\n")[0].split())
    return f"- `{shown}`" + (f": {_plain(first)}" if first else "")


def _signature(value: Any, bound: bool = False) -> str:
    """Names and defaults; annotations are in the source and in the editor."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return "(...)"
    if bound and parameters:
        parameters = parameters[1:]
    shown = [each.replace(annotation=each.empty, default=_default(each)) for each in parameters]
    return str(inspect.Signature(shown))


class _Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(parameter: inspect.Parameter) -> Any:
    default = parameter.default
    if isinstance(default, enum.Enum):
        return _Shown(f"{type(default).__name__}.{default.name}")
    if default is parameter.empty or isinstance(default, str | int | float | bool | None):
        return default
    text = repr(default)
    return _Shown("..." if " at 0x" in text or text.startswith("<") else text)


def _doc(value: Any) -> str:
    text = inspect.getdoc(value) if _has_own(value) else None
    return _plain(_with_examples(text)) + "\n" if text else ""


def _has_own(value: Any) -> bool:
    """A class without a docstring inherits one, which is about another."""
    return not isinstance(value, type) or bool(vars(value).get("__doc__"))


def _with_examples(text: str) -> str:
    """Lines of code, which docstrings indent or begin with an at sign, as code."""
    found: list[str] = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        is_code = all(line.startswith("    ") for line in lines) or re.match(
            r"(@|with |class |yield |return )", lines[0]
        )
        found.append(f"```python\n{inspect.cleandoc(block)}\n```" if is_code else block)
    return re.sub(r"\n```\n\n```python\n", "\n\n", "\n\n".join(found))


def _plain(text: str) -> str:
    """From the markup of docstrings to Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`") if "```" not in text else re.sub(r"(?<!`)``(?!`)", "`", text)


def _described(value: Any) -> str:
    description = getattr(value, "description", None)
    return f"{description}\n" if description else f"A value: `{type(value).__name__}`.\n"


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
