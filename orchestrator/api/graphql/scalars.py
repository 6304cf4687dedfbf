"""Values that are what JSON makes of them."""

from __future__ import annotations

from typing import Any, NewType

import strawberry
import yaml
from strawberry.schema.config import StrawberryConfig

from opgrid.config.documents import document

#: Run config: an object, or the text of a YAML or JSON document.
RunConfigData = NewType("RunConfigData", object)
#: Any JSON; each field tells its shape.
Json = NewType("Json", object)
#: A whole number that may be longer than an Int of GraphQL, which has 32 bits.
BigInt = NewType("BigInt", int)


def _same(value: Any) -> Any:
    return value


CONFIG = StrawberryConfig(
    scalar_map={
        RunConfigData: strawberry.scalar(
            name="RunConfigData",
            description="Run config: an object, or the text of a YAML or JSON document.",
            serialize=_same,
            parse_value=_same,
        ),
        BigInt: strawberry.scalar(
            name="BigInt",
            description="A whole number that may be longer than an Int.",
            serialize=_same,
            parse_value=_same,
        ),
        Json: strawberry.scalar(
            name="JSON",
            description="Any JSON; the field that has it tells its shape.",
            serialize=_same,
            parse_value=_same,
        ),
    }
)


class UnreadableConfig(ValueError):
    """Run config that is no YAML, or no mapping."""


def run_config_of(given: Any) -> dict[str, object] | None:
    """None for none. Raises UnreadableConfig."""
    if isinstance(given, str):
        try:
            given = document(given)
        except yaml.YAMLError as error:
            raise UnreadableConfig(f"The run config is not YAML: {error}") from error
    if given is None:
        return None
    if not isinstance(given, dict):
        raise UnreadableConfig(f"The run config has to be a mapping, not a {type(given).__name__}.")
    return given


def yaml_of(config: object) -> str:
    """As people edit it; empty for none."""
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""
