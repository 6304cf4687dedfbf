"""Config mappings: a narrow config outside, made into the config of everything inside by a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from opgrid.definitions.annotations import signature_of
from opgrid.definitions.names import place_of
from opgrid.definitions.ports import ABSENT
from opgrid.definitions.signature import parameters_of
from opgrid.errors import ConfigMappingFunctionError, InvalidDefinitionError

if TYPE_CHECKING:
    from opgrid.config import ConfigField


class ConfigMapping:
    """``config_schema`` is what users give; ``config_fn`` makes a RunConfig or a dict of it."""

    def __init__(
        self,
        config_fn: Callable[[Any], Any],
        config_schema: Any = None,
        receive_processed_config_values: bool | None = None,
    ) -> None:
        if not callable(config_fn):
            raise InvalidDefinitionError(f"A config mapping is made of a function, not of {config_fn!r}.")
        self.config_fn = config_fn
        self.config_schema = config_schema
        self.receive_processed_config_values = receive_processed_config_values

    @cached_property
    def config_field(self) -> ConfigField | None:
        if self.config_schema is None:
            return None
        from opgrid.config import as_field

        return as_field(self.config_schema)

    def resolve(self, config: Any, where: str) -> dict[str, Any]:
        """Inner config from checked outer config. Raises ConfigMappingFunctionError."""
        field = self.config_field
        processed = self.receive_processed_config_values is not False
        value = field.load(config) if field is not None and processed else config
        try:
            found = self.config_fn(value)
        except Exception as error:
            raise ConfigMappingFunctionError(
                f"The config mapping of {where} raised {type(error).__name__}: {error} It was given {config!r}."
            ) from error
        plain = found.given() if hasattr(found, "to_config_dict") else found
        if not isinstance(plain, Mapping):
            raise ConfigMappingFunctionError(
                f"The config mapping of {where} has to return a RunConfig or a dict, and returned {found!r}."
            )
        return dict(plain)


def constant_mapping(config: Any) -> ConfigMapping:
    """A graph's config written into its definition: nothing is left to be given."""
    plain = config.given() if hasattr(config, "to_config_dict") else dict(config)
    return ConfigMapping(_Always(plain), {})


class _Always:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def __call__(self, _: Any) -> Mapping[str, Any]:
        return self.config


@overload
def config_mapping(config_fn: Callable[[Any], Any]) -> ConfigMapping: ...
@overload
def config_mapping(
    config_fn: None = None, *, config_schema: Any = None, receive_processed_config_values: bool | None = None
) -> Callable[[Callable[[Any], Any]], ConfigMapping]: ...
def config_mapping(
    config_fn: Callable[[Any], Any] | None = None,
    *,
    config_schema: Any = None,
    receive_processed_config_values: bool | None = None,
) -> Any:
    """Makes a ConfigMapping of a function whose parameter is annotated with a Config class, or with
    ``config_schema``.
    """

    def decorated(fn: Callable[[Any], Any]) -> ConfigMapping:
        schema = config_schema if config_schema is not None else _annotated(fn)
        return ConfigMapping(fn, schema, receive_processed_config_values)

    return decorated if config_fn is None else decorated(config_fn)


def _annotated(fn: Callable[[Any], Any]) -> Any:
    parameters, _ = parameters_of(fn, f"The config mapping {getattr(fn, '__name__', fn)!r}")
    if len(parameters) != 1:
        raise InvalidDefinitionError(f"The config mapping {fn.__name__!r} has to take one parameter, the outer config.")
    (only,) = parameters.values()
    (written,) = signature_of(fn).parameters.values()
    if only.annotation is ABSENT and written.annotation is not written.empty:
        raise InvalidDefinitionError(
            f"The annotation of the config mapping {fn.__name__!r} cannot be resolved: "
            f"{written.annotation!r} is not known at {place_of(fn)}."
        )
    return None if only.annotation is ABSENT else only.annotation
