"""Tags: texts by name, on ops, jobs, runs and events."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from collections.abc import Mapping
from typing import Final

from opgrid.errors import InvalidDefinitionError, listed

_KEY: Final = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}\Z")

_OURS: Final = "opgrid/"
#: What opgrid reads on ops, graphs and jobs.
READ: Final = frozenset(
    _OURS + name
    for name in (
        "approval",
        "approval_timeout",
        "executor",
        "fuse",
        "max_retries",
        "max_runtime",
        "priority",
        "queue",
        "recompute",
        "retry_strategy",
        "start_timeout",
        "timeout",
    )
)
#: What it sets on runs. Jobs may have them, too.
SET: Final = frozenset(
    _OURS + name
    for name in (
        "backfill",
        "code_location",
        "parent_run_id",
        "partition",
        "partition_range",
        "partition_set",
        "retry_number",
        "root_run_id",
        "run_key",
        "schedule_name",
        "sensor_name",
        "upstream_run_id",
    )
)
_OF_DIMENSIONS: Final = _OURS + "partition/"


def definition_tags(tags: dict[str, str], what: str) -> dict[str, str]:
    """The same, where none begins as opgrid's do that is none of them. Raises InvalidDefinitionError."""
    for key in tags:
        if key.startswith(_OURS) and key not in READ and key not in SET and not key.startswith(_OF_DIMENSIONS):
            name, names = key.removeprefix(_OURS), [each.removeprefix(_OURS) for each in READ]
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean {_OURS + near[0]!r}?" if near else f"There are: {listed(READ)}."
            raise InvalidDefinitionError(
                f"The tag {key!r} of {what}: opgrid has no such tag. {hint} Tags of your own have other prefixes."
            )
    return tags


def tags_of(tags: Mapping[str, object] | None, what: str) -> dict[str, str]:
    """Tags as strings: other values become JSON. A key that breaks the rule of keys is a warning only."""
    if not tags:
        return {}
    found: dict[str, str] = {}
    for key, value in tags.items():
        if not isinstance(key, str):
            raise InvalidDefinitionError(f"A tag of {what} has the key {key!r}; keys have to be strings.")
        if not _KEY.match(key) and not key.startswith(_OF_DIMENSIONS):
            warnings.warn(
                f"The tag {key!r} of {what}: keys should be at most 63 letters, digits, '.', '_' and '-', "
                f"with an optional prefix of the same kind before one '/'.",
                DeprecationWarning,
                stacklevel=4,
            )
        found[key] = str.__str__(value) if isinstance(value, str) else _json(key, value, what)  # no MultiPartitionKey
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
