"""What definitions may be called, what their tags look like, and where in the user's code they stand."""

from __future__ import annotations

import keyword
import os
import re
import sys
import unicodedata
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any, Final

from opgrid.errors import InvalidDefinitionError

#: On a job or a run: seconds from its start after which it fails.
MAX_RUNTIME_SECONDS_TAG: Final = "opgrid/max_runtime"

#: Bytes that a database can look a value up by.
LONGEST_VALUE: Final = 2000
#: Characters of the name of a definition.
LONGEST_NAME: Final = 255
#: Characters of a partition key.
LONGEST_PARTITION_KEY: Final = 255

_NAME: Final = re.compile(r"[A-Za-z0-9_]+\Z")
_MADE_OF: Final = "ASCII letters (a-z, A-Z), digits and underscores"
_OURS: Final = str(Path(__file__).resolve().parent.parent) + os.sep

#: Words that mean something in run config or in the signature of an op.
RESERVED: Final = frozenset(
    {
        "context",
        "conf",
        "config",
        "meta",
        "arg_dict",
        "dict",
        "input_arg_dict",
        "output_arg_dict",
        "int",
        "str",
        "float",
        "bool",
        "input",
        "output",
        "type",
        *keyword.kwlist,
    }
)


def is_name(name: object) -> bool:
    """Whether it may name a definition."""
    return isinstance(name, str) and _NAME.match(name) is not None and name not in RESERVED


def check_name(name: object, what: str, where: str = "") -> str:
    """``name`` itself when it may name a definition; ``what`` says of what kind, for the error."""
    place = f" ({where})" if where else ""
    if not isinstance(name, str):
        raise InvalidDefinitionError(
            f"The name of {what}{place} has to be a string, not a {type(name).__name__}: {name!r}."
        )
    if not _NAME.match(name):
        near = re.sub(r"[^A-Za-z0-9_]+", "_", _plain(name)).strip("_")
        hint = f" For example: {near!r}." if near else ""
        raise InvalidDefinitionError(
            f"{name!r} cannot be the name of {what}{place}: names are made of {_MADE_OF}.{hint}"
        )
    if name in RESERVED:
        raise InvalidDefinitionError(
            f"{name!r} cannot be the name of {what}{place}: the word is reserved. Choose another, such as "
            f"{name + '_value'!r}."
        )
    if len(name) > LONGEST_NAME:
        raise InvalidDefinitionError(
            f"The name {name[:40] + '...'!r} of {what}{place} has {len(name)} characters, and may have {LONGEST_NAME}."
        )
    return name


def _plain(text: str) -> str:
    """Without accents and the like."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))


def check_mapping_key(key: object) -> str:
    """Mapping keys become parts of step keys, so the rule of names holds for them; no word is reserved."""
    if type(key) is str and len(key) <= LONGEST_VALUE and _NAME.match(key):
        return key  # as nearly all are
    if not isinstance(key, str):
        raise InvalidDefinitionError(
            f"The mapping key of a DynamicOutput has to be a string, not a {type(key).__name__}: {key!r}. Use str(...)."
        )
    if not _NAME.match(key):
        near = re.sub(r"[^A-Za-z0-9_]", "_", _plain(key))
        hint = f" For example: {near!r}." if near else ""
        raise InvalidDefinitionError(f"{key!r} cannot be a mapping key: mapping keys are made of {_MADE_OF}.{hint}")
    check_length(key, "The mapping key", "of a DynamicOutput", LONGEST_VALUE)
    return key


def check_length(key: str, kind: str, what: str, most: int) -> None:
    """Raises InvalidDefinitionError for a key of more than so many characters."""
    if len(key) > most:
        raise InvalidDefinitionError(
            f"{kind} {key[:40] + '...'!r} {what} has {len(key)} characters, and may have {most}: take a part of it, or "
            "a digest."
        )


def check_storable(text: str, what: str, most: int | None = None) -> None:
    """Raises InvalidDefinitionError for what not every database stores; ``most``: bytes that it may have."""
    if "\0" in text:
        raise InvalidDefinitionError(f"{what} has a NUL character in it, which PostgreSQL cannot store: leave it out.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidDefinitionError(
            f"{what} is not all text: there are bytes in it that are not UTF-8, as there may be in the name of a file. "
            "Use os.fsencode(...).hex(), or ascii(...)."
        ) from None
    if most is not None and size > most:
        raise InvalidDefinitionError(f"{what} has {size} bytes, and may have {most}: take a part of it, or a digest.")


def by_key(given: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    """Raises InvalidDefinitionError where a key is no string."""
    found = dict(given or {})
    for key in found:
        if not isinstance(key, str):
            raise InvalidDefinitionError(f"{what} has the key {key!r}: keys are names, as strings.")
    return found


def check_owners(owners: object, what: str) -> tuple[str, ...]:
    """Each owner is an email address or ``team:name``."""
    if owners is None:
        return ()
    if isinstance(owners, str) or not hasattr(owners, "__iter__"):
        raise InvalidDefinitionError(f"The owners of {what} have to be a list of strings, not {owners!r}.")
    found = tuple(owners)
    for owner in found:
        if not isinstance(owner, str) or not re.match(
            r"(team:[^\s:]([^:\n]*[^\s:])?|[^@\s]+@[^@\s]+\.[^@\s]+)\Z", owner
        ):
            raise InvalidDefinitionError(
                f"{owner!r} cannot own {what}: an owner is an email address (ana@example.com) or a team (team:data)."
            )
    return found


# ---- places ----------------------------------------------------------------------------------------------


def place_of(function: Callable[..., Any]) -> str:
    """``file:line`` of a function, or nothing when it has none."""
    code: CodeType | None = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def place_of_caller() -> str:
    """``file:line`` in the code of whoever called into opgrid."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def warn_caller(message: str) -> None:
    """A UserWarning about the line of whoever called into opgrid."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
