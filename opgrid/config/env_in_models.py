"""Environment variables in the fields of models: they stay what they are, and what is said about a field is asked of
the value that the variable has where the config is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import pydantic
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, ValidationError, core_schema

from opgrid.config.env import EnvVar, IntEnvVar, is_reference
from opgrid.errors import InvalidConfigDefinitionError


def let_references_wait(schema: CoreSchema, owner: str) -> None:
    """Change the schema of a model, so that types, constraints and validators leave alone what is not known yet."""
    at: Any = schema
    while at["type"] != "model-fields":
        if at["type"] == "function-after" and not isinstance(at["function"]["function"], partial):
            at["function"]["function"] = partial(_unless_it_waits, at["function"]["function"])
        if "schema" not in at:
            return
        at = at["schema"]
    for name, field in at["fields"].items():
        holder = field["schema"] if field["schema"]["type"] == "default" else field
        inner = holder["schema"]
        if inner["type"] == "literal":
            continue  # it may be what tells models apart, which pydantic has to see through
        if inner["type"] != "function-wrap" or not isinstance(inner["function"]["function"], partial):
            check = partial(_as_far_as_it_is_known, f"{owner}.{name}")
            holder["schema"] = core_schema.no_info_wrap_validator_function(check, inner)


def holds_reference(given: Any) -> bool:
    return any(isinstance(each, EnvVar | IntEnvVar) or is_reference(each) for each in _within(given))


def holds_variable(given: Any) -> bool:
    """As itself: ``{"env": "NAME"}`` in Python code is a mapping like others."""
    return any(isinstance(each, EnvVar | IntEnvVar) for each in _within(given))


def _within(given: Any) -> Iterator[Any]:
    """A value, and all that it is made of."""
    yield given
    inside: Iterable[Any] = ()
    if isinstance(given, pydantic.BaseModel):
        inside = (*given.__dict__.values(), *(given.model_extra or {}).values())
    elif isinstance(given, Mapping):
        inside = (each for pair in given.items() for each in pair)
    elif isinstance(given, list | tuple | set | frozenset):
        inside = given
    for each in inside:
        yield from _within(each)


def _unless_it_waits(check: Callable[..., Any], made: Any, *info: Any) -> Any:
    return made if holds_reference(made) else check(made, *info)


def _as_far_as_it_is_known(at: str, given: Any, handler: Callable[[Any], Any]) -> Any:
    if not _holds_variable(given):
        return handler(given)
    try:
        made = handler(given)
    except ValidationError as error:
        known = [each for each in error.errors(include_url=False) if not _is_about_a_variable(each["loc"], given)]
        if known:
            raise ValidationError.from_exception_data(error.title, [_again(each) for each in known]) from None
        made = given
    return _with_variables(given, made, at)


def _holds_variable(given: Any) -> bool:
    """Outside of models, which have looked at theirs."""
    if isinstance(given, EnvVar | IntEnvVar):
        return True
    if isinstance(given, Mapping):
        return any(_holds_variable(each) for pair in given.items() for each in pair)
    if isinstance(given, list | tuple | set | frozenset):
        return any(map(_holds_variable, given))
    return False


def _is_about_a_variable(place: tuple[int | str, ...], given: Any) -> bool:
    for part in place:
        if isinstance(given, EnvVar | IntEnvVar):
            return True
        if isinstance(given, Mapping):
            given = given.get(part)
        elif isinstance(given, list | tuple) and isinstance(part, int):
            given = given[part]
        else:
            break
    return _holds_variable(given)


def _again(error: Any) -> InitErrorDetails:
    kind = PydanticCustomError(error["type"], "{said}", {"said": error["msg"]})
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"])


def _with_variables(given: Any, made: Any, at: str) -> Any:
    """What pydantic made of a value, with the variables of the value in their places again."""
    if not _holds_variable(given):
        return made
    if isinstance(given, EnvVar | IntEnvVar):
        return given
    if isinstance(given, Mapping) and not any(map(_holds_variable, given)):
        if isinstance(made, pydantic.BaseModel):
            fields = type(made).model_fields
            names = dict.fromkeys(fields) | {field.alias: name for name, field in fields.items() if field.alias}
            inner = {names[key] or key: each for key, each in given.items() if key in names and _holds_variable(each)}
            return made.model_copy(
                update={
                    name: _with_variables(each, made.__dict__[name], f"{at}.{name}") for name, each in inner.items()
                }
            )
        if isinstance(made, Mapping) and made.keys() == given.keys():
            return {key: _with_variables(each, made[key], f"{at}[{key!r}]") for key, each in given.items()}
    if isinstance(given, list | tuple) and isinstance(made, list | tuple) and len(given) == len(made):
        pairs = zip(given, made, strict=True)
        return type(made)(_with_variables(each, done, f"{at}[{i}]") for i, (each, done) in enumerate(pairs))
    place = (
        "as the key of a dict"
        if isinstance(given, Mapping)
        else f"in a {type(given).__name__}, of which the field makes a {type(made).__name__}"
    )
    raise InvalidConfigDefinitionError(
        f"{at} has an EnvVar where it cannot wait for its value: {place}. EnvVars may be the value of a field, or "
        "stand in a list, a tuple, the values of a dict, or a nested Config. Or read the variable in the op, with "
        "os.environ."
    )
