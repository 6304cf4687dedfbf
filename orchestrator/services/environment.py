"""Which environment variables the config in code refers to: their names, and by whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opgrid.config.env import is_reference
from opgrid.definitions.job import JobDefinition
from opgrid.definitions.op import OpDefinition
from opgrid.definitions.resource import ResourceDefinition, configurable
from orchestrator.locations.messages import EnvVarUse


def uses_of(resources: Mapping[str, Any], jobs: Iterable[JobDefinition]) -> tuple[EnvVarUse, ...]:
    """Of what was given to resources, and of run config that jobs bring along; by variable."""
    found: set[tuple[str, str, str]] = set()
    for key, resource in resources.items():
        found |= {(name, "resource", key) for name in _names_in_resource(resource)}
    for job in jobs:
        for key, resource in job.resource_defs.items():
            found |= {(name, "resource", key) for name in _names_in_resource(resource)}
        for path, node in job.op_table.items():
            found |= {(name, "op", path) for name in _names_in_definition(node.op)}
        config = job.run_config or {}
        for key, given in _parts(config.get("resources")):
            found |= {(name, "resource", key) for name in _names(given)}
        for key, given in _parts(config.get("ops")):
            found |= {(name, "op", key) for name in _names(given)}
    return tuple(EnvVarUse(*each) for each in sorted(found))


def _names_in_resource(resource: Any) -> Iterator[str]:
    kinds = configurable()
    if kinds is not None and isinstance(resource, kinds.ConfigurableDefinition):
        resource = resource.given
    if kinds is not None and isinstance(resource, kinds.ConfigurableResourceFactory):
        yield from _names(kinds.to_plain_config(resource))
        for inner in kinds.nested_of(resource).values():
            yield from _names_in_resource(inner)
    elif isinstance(resource, ResourceDefinition):
        yield from _names_in_definition(resource)


def _names_in_definition(definition: ResourceDefinition | OpDefinition) -> Iterator[str]:
    """Its defaults, and what ``configured`` gave to it."""
    field = definition.config_field
    yield from _names(None if field is None else field.default())
    base, given = definition.base, definition.config_fn
    if given is not None and field is None:  # a constant: a function has a field for what it makes it from
        yield from _names(given(None))
    if isinstance(base, ResourceDefinition | OpDefinition):
        yield from _names_in_definition(base)


def _parts(section: Any) -> Iterable[tuple[str, Any]]:
    return section.items() if isinstance(section, Mapping) else ()


def _names(config: Any) -> Iterator[str]:
    if is_reference(config):
        yield config["env"]
    elif isinstance(config, Mapping):
        for each in config.values():
            yield from _names(each)
    elif isinstance(config, list | tuple):
        for each in config:
            yield from _names(each)
