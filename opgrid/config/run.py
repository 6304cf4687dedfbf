"""Run config as an object: what a run is given, by name of op, resource and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opgrid.config.model import _plain, refuse_secrets


@dataclass(frozen=True)
class RunConfig:
    """``RunConfig(ops={"crunch": CrunchConfig(size=3)}, resources={"server": Server(host="here")})``."""

    ops: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    loggers: Mapping[str, Any] = field(default_factory=dict)
    execution: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def to_config_dict(self) -> dict[str, Any]:
        """The same as plain data: ``{"ops": {"crunch": {"config": {"size": 3}}}, ...}``. ``ops``, ``resources``,
        ``loggers`` and ``execution`` are always there, so that more can be put into them.
        """
        found: dict[str, Any] = {name: _entries(getattr(self, name)) for name in ("ops", "resources", "loggers")}
        found["execution"] = _plain(self.execution)
        return {**found, "inputs": _plain(self.inputs)} if self.inputs else found

    def given(self) -> dict[str, Any]:
        """As plain data, without what is empty."""
        return {name: section for name, section in self.to_config_dict().items() if section}


def _entry(value: Any) -> Any:
    """A Config stands for ``{"config": ...}``; a mapping is written out as it is."""
    if isinstance(value, Mapping):
        return {key: _entries(each) if key == "ops" else _nested(each) for key, each in value.items()}
    if hasattr(value, "_convert_to_config_dictionary"):
        return {"config": value._convert_to_config_dictionary()}
    refuse_secrets(value, "config")
    return {"config": _plain(value)}


def _entries(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _entry(each) for name, each in value.items()}


def _nested(value: Any) -> Any:
    if hasattr(value, "_convert_to_config_dictionary"):
        return value._convert_to_config_dictionary()
    refuse_secrets(value, "config")
    return _plain(value)
