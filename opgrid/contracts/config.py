"""Run config after it was resolved: validated, mapped and flattened to the places where it is used."""

from __future__ import annotations

from typing import Any

import msgspec


class NodeConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one op node gets.

    Values are JSON; references such as ``{"env": "NAME"}`` are resolved in the step's process.
    """

    config: Any = None
    inputs: dict[str, Any] = {}
    outputs: Any = None


class ExecutorChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    config: dict[str, Any] = {}


class ResolvedConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    nodes: dict[str, NodeConfig] = {}  #: by node path
    resources: dict[str, Any] = {}  #: config by resource key
    loggers: dict[str, Any] = {}
    inputs: dict[str, Any] = {}  #: top-level inputs of the job
