"""A run config to fill in: everything that a job takes, or what it cannot do without."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opgrid.config.schema import ABSENT, Field
from opgrid.definitions.graph import GraphDefinition
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.nodes import Node
from opgrid.definitions.run_config import fed_inputs


def scaffold(job: JobDefinition, required_only: bool = False) -> dict[str, Any]:
    """With defaults where there are some, and examples such as ``<str>`` where something has to be given. What the
    job brings along is not asked for again when ``required_only``.
    """
    own = job.run_config or {}
    if job.config_mapping is not None:
        field = job.config_mapping.config_field
        found = {} if field is None else _value(field, required_only)
        return found if isinstance(found, dict) else {}
    made = {
        "ops": _ops(job.graph, required_only, own.get("ops") or {}, job.graph.ins),
        "resources": _configs(
            {key: each.config_field for key, each in job.resource_defs.items()},
            required_only,
            own.get("resources") or {},
        ),
        "loggers": {}
        if required_only
        else _configs({key: each.config_field for key, each in job.logger_defs.items()}, False, {}),
    }
    inputs = {
        name: "<value>"
        for name in job.graph.ins
        if name not in job.input_values and name not in (own.get("inputs") or {})
    }
    return {key: value for key, value in {**made, "inputs": inputs}.items() if value}


def _ops(graph: GraphDefinition, required_only: bool, own: dict[str, Any], fed: Collection[str]) -> dict[str, Any]:
    """``fed``: inputs of the graph that something feeds."""
    found: dict[str, Any] = {}
    for name, node in graph.nodes.items():
        definition: Any = node.definition
        mine = own.get(name) or {}
        if node.is_graph and definition.config is None:
            brought = mine.get("inputs") or {}
            inner = _ops(definition, required_only, mine.get("ops") or {}, {*fed_inputs(node, fed), *brought})
            shown = {"ops": inner, "inputs": {} if required_only else brought}
            if any(shown.values()):
                found[name] = {key: value for key, value in shown.items() if value}
            continue
        entry = _entry(definition.config_field, required_only, mine) or {}
        inputs = {} if node.is_graph else _inputs(node, required_only, mine.get("inputs") or {}, fed)
        if entry or inputs:
            found[name] = {**entry, **({"inputs": inputs} if inputs else {})}
    return found


def _inputs(node: Node, required_only: bool, own: dict[str, Any], fed: Collection[str]) -> dict[str, Any]:
    """Those of an op that nothing feeds; ``fed``: inputs of the graph around it that something feeds."""
    op: Any = node.definition
    there = {*fed_inputs(node, fed), *own}
    unfed = {
        info.name: "<value>" if info.loadable else {"value": "<value>"}
        for info in op.info.inputs
        if not (info.name in there or info.nothing or info.has_default or info.managed)
    }
    return unfed if required_only else {**unfed, **own}


def _configs(fields: dict[str, Field | None], required_only: bool, own: dict[str, Any]) -> dict[str, Any]:
    entries = {key: _entry(field, required_only, own.get(key) or {}) for key, field in fields.items()}
    return {key: entry for key, entry in entries.items() if entry is not None}


def _entry(field: Field | None, required_only: bool, own: dict[str, Any]) -> dict[str, Any] | None:
    if field is None or (required_only and (not field.is_required or "config" in own)):
        return None
    return {"config": own["config"] if "config" in own else _value(field, required_only)}


def _value(field: Field, required_only: bool) -> Any:
    inside = field.type.fields()
    if inside:
        return {
            name: _value(each, required_only) for name, each in inside.items() if each.is_required or not required_only
        }
    default = field.default()
    return field.type.example() if default is ABSENT else default
