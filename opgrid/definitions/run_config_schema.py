"""What the run config of a job may hold, as JSON Schema: for editors and forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opgrid.config.schema import Field

if TYPE_CHECKING:
    from opgrid.definitions.graph import GraphDefinition
    from opgrid.definitions.job import JobDefinition

_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


def run_config_schema(job: JobDefinition) -> dict[str, Any]:
    """What the job brings along is not required. The config of executors is not described."""
    if job.config_mapping is not None:
        field = job.config_mapping.config_field
        return {"$schema": _SCHEMA, "title": job.name, **({} if field is None else field.type.json_schema())}
    own = job.run_config or {}
    properties: dict[str, Any] = {"ops": _ops(job.graph, own.get("ops") or {})}
    resources = {key: each.config_field for key, each in job.resource_defs.items()}
    loggers = {key: each.config_field for key, each in job.logger_defs.items()}
    properties["resources"] = _configs(resources, own.get("resources") or {})
    properties["loggers"] = _configs(loggers, own.get("loggers") or {})
    properties["execution"] = {"type": "object"}
    if job.graph.ins:
        properties["inputs"] = {"type": "object", "properties": {name: {} for name in job.graph.ins}}
    return {"$schema": _SCHEMA, "title": job.name, **_object(properties)}


def _ops(graph: GraphDefinition, own: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, node in graph.nodes.items():
        definition: Any = node.definition
        mine = own.get(name) or {}
        if node.is_graph and definition.config is None:
            entry = _object({"ops": _ops(definition, mine.get("ops") or {}), "inputs": {"type": "object"}})
        else:
            field = definition.config_field
            entry = _entry(field, mine)
            entry["properties"] |= {"inputs": {"type": "object"}, **({} if node.is_graph else {"outputs": {}})}
        description = getattr(definition, "description", None)
        found[name] = {**entry, "description": description} if description else entry
    return _object(found)


def _configs(fields: Mapping[str, Field | None], own: Mapping[str, Any]) -> dict[str, Any]:
    return _object({key: _entry(field, own.get(key) or {}) for key, field in fields.items()})


def _entry(field: Field | None, own: Mapping[str, Any]) -> dict[str, Any]:
    """``{config: ...}``."""
    if field is None:
        return _object({})
    config = field.type.json_schema()
    if field.description:
        config = {**config, "description": field.description}
    required = field.is_required and "config" not in own
    if "config" in own:
        config = {**{key: value for key, value in config.items() if key != "required"}, "default": own["config"]}
    return _object({"config": config}, ["config"] if required else [])


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """Objects inside that need something are needed themselves."""
    needed = required or [name for name, each in properties.items() if isinstance(each, dict) and each.get("required")]
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": needed} if needed else made
