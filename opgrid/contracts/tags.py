"""Tags: texts by name, on ops, jobs, runs and events."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from typing import Final

from opgrid.errors import InvalidDefinitionError

_KEY: Final = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}\Z")


def tags_of(tags: Mapping[str, object] | None, what: str) -> dict[str, str]:
    """Tags as strings: other values become JSON. A key that breaks the rule of keys is a warning only."""
    if not tags:
        return {}
    found: dict[str, str] = {}
    for key, value in tags.items():
        if not isinstance(key, str):
            raise InvalidDefinitionError(f"A tag of {what} has the key {key!r}; keys have to be strings.")
        if not _KEY.match(key):
            warnings.warn(
                f"The tag {key!r} of {what}: keys should be at most 63 letters, digits, '.', '_' and '-', "
                f"with an optional prefix of the same kind before one '/'.",
                DeprecationWarning,
                stacklevel=4,
            )
        found[key] = value if isinstance(value, str) else _json(key, value, what)
    return found


def _json(key: str, value: object, what: str) -> str:
    try:
        encoded = json.dumps(value)
        same = json.loads(encoded) == value
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InvalidDefinitionError(
            f"The tag {key!r} of {what} has the value {value!r}: values have to be strings or what JSON can hold."
        )
    return encoded
