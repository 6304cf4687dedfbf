"""Config: pydantic models, dict-style schemas, run config and references to the environment.

Import from here. What needs pydantic is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opgrid.config.env import EnvVar, resolve_env
from opgrid.config.files import config_from_files, config_from_pkg_resources, config_from_yaml_strings
from opgrid.config.report import ConfigProblem, Report
from opgrid.config.schema import (
    ABSENT,
    Array,
    BoolSource,
    ConfigField,
    ConfigType,
    Enum,
    EnumValue,
    Field,
    IntSource,
    Map,
    Noneable,
    Permissive,
    ScalarUnion,
    Selector,
    Shape,
    StringSource,
    as_field,
    as_type,
    plain_values,
)

if TYPE_CHECKING:
    from opgrid.config.model import Config, PermissiveConfig
    from opgrid.config.run import RunConfig

_LAZY = {
    "Config": "opgrid.config.model",
    "PermissiveConfig": "opgrid.config.model",
    "RunConfig": "opgrid.config.run",
}


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)


__all__ = [
    "ABSENT",
    "Array",
    "BoolSource",
    "Config",
    "ConfigField",
    "ConfigProblem",
    "ConfigType",
    "Enum",
    "EnumValue",
    "EnvVar",
    "Field",
    "IntSource",
    "Map",
    "Noneable",
    "Permissive",
    "PermissiveConfig",
    "Report",
    "RunConfig",
    "ScalarUnion",
    "Selector",
    "Shape",
    "StringSource",
    "as_field",
    "as_type",
    "config_from_files",
    "config_from_pkg_resources",
    "config_from_yaml_strings",
    "plain_values",
    "resolve_env",
]
