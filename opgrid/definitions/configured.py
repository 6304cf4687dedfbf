"""``configured``: a definition under another name, whose config is given, or made by a function from a smaller one."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from opgrid.definitions.executor import ExecutorDefinition
from opgrid.definitions.names import check_name, place_of_caller
from opgrid.errors import InvalidConfigDefinitionError, InvalidDefinitionError, InvalidInvocationError

if TYPE_CHECKING:
    from opgrid.definitions.graph import GraphDefinition
    from opgrid.definitions.op import OpDefinition

D = TypeVar("D", "OpDefinition", "GraphDefinition")
AnyDefinition = TypeVar("AnyDefinition")


def configured(configurable: AnyDefinition, config_schema: Any = None, **kwargs: Any) -> Callable[[Any], AnyDefinition]:
    """Gives the config of an op, graph, resource, IO manager, executor or logger.

    ``configured(postgres)({"host": "db"})``, or as the decorator of a function that makes the config from a smaller
    one. An op or graph so made is named by ``name=``, or after the function.
    """
    configure = getattr(configurable, "configured", None)
    if configure is None:
        raise InvalidInvocationError(
            f"configured(...) takes an op, a graph, a resource, an IO manager, an executor or a logger, not "
            f"{configurable!r}."
        )

    def decorated(config_or_fn: Any) -> AnyDefinition:
        given = dict(kwargs)
        if "name" not in given and callable(config_or_fn):
            parameters = inspect.signature(configure).parameters
            if "name" in parameters:
                given["name"] = config_or_fn.__name__
        if config_schema is not None:
            given["config_schema"] = config_schema
        made: AnyDefinition = configure(config_or_fn, **given)
        return made

    return decorated


def configured_copy(
    made_from: D, config_or_fn: Any, name: str | None, config_schema: Any, description: str | None
) -> D:
    """A new definition: ``base`` is the one it was made from, ``config_fn`` gives that one's config."""
    what = made_from.described()
    if name is None:
        raise InvalidDefinitionError(
            f"{what}: configured(...) makes another definition, so it needs a name of its own: name=."
        )
    if made_from.config_schema is None and made_from.config_fn is None:
        raise InvalidDefinitionError(f"{what} takes no config, so there is nothing to configure.")
    found = copy.copy(made_from)
    for cached in ("config_field", "info"):
        found.__dict__.pop(cached, None)
    found.location = place_of_caller()
    found.name = check_name(name, f"a configured {what}", found.location)
    found.description = description if description is not None else made_from.description
    found.base = made_from
    found.config_fn, schema = function_and_schema(config_or_fn, config_schema, what)
    _set_schema(found, schema)
    return found


def _set_schema(definition: Any, schema: Any) -> None:
    definition.config_schema = schema


def configured_executor(
    made_from: ExecutorDefinition, config_or_fn: Any, config_schema: Any, description: str | None
) -> ExecutorDefinition:
    """With constant config, the same definition holding it.

    With a function, one whose run config goes through the function.
    """
    fn, schema = function_and_schema(config_or_fn, config_schema, f"executor {made_from.name!r}")
    text = description if description is not None else made_from.description
    if not callable(config_or_fn):
        config = {**made_from.config, **fn(None)}
        found = ExecutorDefinition(made_from.name, None, text, config, made_from._schema, made_from.requirements)
        found.base, found.config_fn = made_from.base, made_from.config_fn
        return found
    found = ExecutorDefinition(made_from.name, schema, text, made_from.config, requirements=made_from.requirements)
    found.base, found.config_fn = made_from, fn
    return found


def function_and_schema(config_or_fn: Any, config_schema: Any, what: str) -> tuple[Callable[[Any], Any], Any]:
    """The function from outer to inner config, and the schema of the outer one; None: there is no outer config."""
    if not callable(config_or_fn):
        if config_schema is not None:
            raise InvalidConfigDefinitionError(
                f"{what}: configured(...) got config and a config_schema; a schema goes with a function that makes the "
                "config."
            )
        return _Constant(config_or_fn), None
    if config_schema is None:
        config_schema = _annotated(config_or_fn, what)
    return config_or_fn, config_schema


def _annotated(function: Callable[..., Any], what: str) -> Any:
    from opgrid.config import Field
    from opgrid.definitions.ports import ABSENT
    from opgrid.definitions.signature import parameters_of

    parameters, _ = parameters_of(function, what)
    if len(parameters) != 1:
        raise InvalidConfigDefinitionError(
            f"{what}: the function given to configured(...) takes the outer config, and nothing else."
        )
    (parameter,) = parameters.values()
    told: Any = parameter.annotation
    return Field(Any, is_required=False) if told is ABSENT or told is Any else told


class _Constant:
    """A function of outer config that pays no attention to it; pickles, unlike a lambda."""

    def __init__(self, config: Any) -> None:
        if hasattr(config, "_convert_to_config_dictionary"):
            config = config._convert_to_config_dictionary()
        self.config = config

    def __call__(self, _: Any) -> Any:
        return dict(self.config) if isinstance(self.config, Mapping) else self.config
