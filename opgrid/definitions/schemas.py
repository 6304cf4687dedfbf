"""The config schema of a definition, refused where it is written."""

from __future__ import annotations

from typing import Any

from opgrid.errors import InvalidConfigDefinitionError


def checked_schema(schema: Any, what: str) -> Any:
    """The same. Raises InvalidConfigDefinitionError for what is none; classes may be incomplete as yet."""
    if schema is None or isinstance(schema, type):
        return schema
    from opgrid.config import as_field  # with pydantic, which not every job needs

    try:
        as_field(schema)
    except InvalidConfigDefinitionError as error:
        if getattr(error.__cause__, "code", None) == "class-not-fully-defined":
            return schema
        raise InvalidConfigDefinitionError(f"The config_schema of {what}: {error}") from error
    return schema
