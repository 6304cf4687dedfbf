"""Config classes: pydantic models whose values in run config are checked strictly."""

from __future__ import annotations

import enum
import inspect
import json
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import pydantic
import pydantic_core
from pydantic_core import PydanticUndefined, to_jsonable_python

from opgrid.config.env import EnvVar, IntEnvVar, is_reference, number_or_text, value_of, with_references
from opgrid.config.env_in_models import holds_reference, holds_variable, let_references_wait
from opgrid.config.report import Report
from opgrid.config.schema import ABSENT, ConfigType, Field, Permissive, as_type
from opgrid.errors import (
    InvalidConfigDefinitionError,
    InvalidConfigError,
    InvalidInvocationError,
    listed,
    nearest,
)

#: What JSON has no form for is a text or list in it, by the error of pydantic that a strict look at that gives.
_WRITTEN_AS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("tuple_type", "set_type", "frozen_set_type"), (list,)),
    **dict.fromkeys(("date_type", "datetime_type", "time_type", "time_delta_type", "bytes_type"), (str,)),
    "is_instance_of": (str, int, float),  # decimals
}


class Config(pydantic.BaseModel):
    """The config of an op or a resource, by its annotation: ``def crunch(config: CrunchConfig): ...``. Immutable. A
    field that may be None is None where nothing is given and it has no other default.
    """

    model_config = pydantic.ConfigDict(
        extra="forbid", frozen=True, validate_default=False, ser_json_inf_nan="constants", populate_by_name=True
    )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).model_fields and self.model_config.get("frozen"):
            raise InvalidInvocationError(
                f"{type(self).__name__}.{name} cannot be set: config and resources do not change once they are made. "
                f"Make another with .model_copy(update={{{name!r}: ...}}); for what changes while a resource is used, "
                "give it a pydantic.PrivateAttr, or have it make a client that holds that."
            )
        super().__setattr__(name, value)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _as_run_config_says_it(cls, data: Any) -> Any:
        """Run config may name the member of an enum, and choose among several models by a key:
        ``{"pet": {"cat": {...}}}`` for ``{"pet": {"kind": "cat", ...}}``.
        """
        if not isinstance(data, Mapping):
            return data
        changed = dict(data)
        for key, (mark, tags) in _choices_of(cls).items():
            given = changed.get(key)
            if isinstance(given, Mapping) and len(given) == 1 and mark not in given:
                ((tag, inner),) = given.items()
                if tag in tags and isinstance(inner, Mapping):
                    changed[key] = {mark: tag, **inner}
        for key, annotation in _annotations_with_enums(cls).items():
            if key in changed:
                changed[key] = _members_as_values(changed[key], annotation)
        return changed

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> pydantic_core.CoreSchema:
        if not cls.__pydantic_fields_complete__:  # another names this class, which names what had yet to come
            cls.model_rebuild(raise_errors=False)
        for name, field in cls.model_fields.items():
            if isinstance(field.default, Field):
                raise InvalidConfigDefinitionError(
                    f"{cls.__name__}.{name} has a Field of opgrid by default, which is for config_schema=. Use that of "
                    "pydantic: from pydantic import Field."
                )
            if field.is_required() and type(None) in typing.get_args(field.annotation):
                field.default = None
            elif field.is_required() and _is_config(field.annotation) and field.annotation._makes_itself():
                field.default_factory = field.annotation
        try:
            schema = handler(source)
        except pydantic.errors.PydanticSchemaGenerationError as error:
            raise InvalidConfigDefinitionError(
                f"{_strange_field(cls)}, which config cannot be: it is written as JSON. Use int, float, bool, str, an "
                "Enum, a Literal, a list or dict of these, another Config class, or a union of them with None; make "
                "what else there has to be in the op, or in a resource."
            ) from error
        let_references_wait(schema, cls.__name__)
        return schema

    @classmethod
    def _makes_itself(cls) -> bool:
        """Where a field is of this class, nothing has to be given for it: all inside has a default."""
        return not any(field.is_required() for field in cls.model_fields.values())

    @classmethod
    def to_config_schema(cls) -> ConfigType:
        return ModelType(cls)

    def _convert_to_config_dictionary(self) -> dict[str, Any]:
        refuse_secrets(self, type(self).__name__)
        return to_plain(self)


def _strange_field(model: type[Config]) -> str:
    """The first that pydantic does not know the type of, in words."""
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        try:
            pydantic.TypeAdapter(kind)
        except pydantic.errors.PydanticSchemaGenerationError:
            return f"{model.__name__}.{name} is {inspect.formatannotation(kind)}"
    return f"{model.__name__} has a field of a type"


class PermissiveConfig(Config):
    """A Config that keeps what it does not know."""

    model_config = pydantic.ConfigDict(extra="allow")


class ModelType(ConfigType):
    """A Config class as a config schema."""

    def __init__(self, model: type[Config]) -> None:
        self.model = model
        try:
            model.model_json_schema(schema_generator=_JsonSchema)
        except pydantic.errors.PydanticInvalidForJsonSchema:
            pass
        except pydantic.errors.PydanticUserError as error:
            raise InvalidConfigDefinitionError(f"{model.__name__} cannot be used as config: {error}") from error

    def check(self, value: Any, path: str, report: Report) -> Any:
        refuse_secrets(value, path)
        if isinstance(value, Config):
            return to_plain(value)
        if not isinstance(value, Mapping):
            report.wrong(path, f"expected {self.shown()}, got {value!r}.")
            return value
        plain = _over_defaults(_plain(value, self.model), self.model)
        references: set[tuple[str | int, ...]] = set()
        without = _without_references(plain, (), references)
        try:
            self.model.model_validate_json(json.dumps(without), strict=True)
        except pydantic.ValidationError as error:
            problems = error.errors(include_url=False)
            if of_form := [tuple(each["loc"]) for each in problems if _is_about_its_form(each)]:
                problems = [each for each in problems if not _is_about_its_form(each)]
                problems += self._what_does_not_fit_either(without, of_form)
            for problem in problems:
                self._tell(problem, path, report, references)
        return plain

    def _what_does_not_fit_either(self, plain: Any, places: Sequence[tuple[str | int, ...]]) -> list[Any]:
        """At these places, where a text or list of JSON may stand for what JSON does not have."""
        try:
            self.model.model_validate_json(json.dumps(plain))
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False)
            return [each for each in found if any(each["loc"][: len(place)] == place for place in places)]
        return []

    def _tell(self, problem: Any, path: str, report: Report, references: set[tuple[str | int, ...]]) -> None:
        place = _with_items_counted(tuple(problem["loc"]), references)
        if any(place[: len(each)] == each for each in references):
            return
        if problem["type"] in ("value_error", "assertion_error") and any(
            each[: len(place)] == place for each in references
        ):
            return  # a validator was asked about what is not known yet
        around = place[:-1] if problem["type"] == "missing" else place
        if problem["type"] in ("missing", "too_short", "tuple_type") and any(
            _is_item(each, around) for each in references
        ):
            return  # the list was looked at without them
        at = path + "".join(f"[{part}]" if isinstance(part, int) else f":{part}" for part in place)
        if problem["type"] == "missing":
            field = fields_in_config(self.model).get(str(place[-1])) if len(place) == 1 else None
            kind = f": {_name_of(field.annotation)}" if field is not None else ""
            report.missing(at, f"this is required{kind}.")
        elif problem["type"] == "extra_forbidden":
            known = list(fields_in_config(self.model)) if len(place) == 1 else []
            there = f"{nearest(str(place[-1]), known)} There are: {listed(known)}." if known else ""
            report.unknown(at, f"there is no such field.{there}")
        else:
            report.wrong(at, f"{problem['msg']}, got {problem['input']!r}.")

    def load(self, value: Any) -> Config:
        """The instance that user code gets. Raises InvalidConfigError, without the values of variables."""
        if isinstance(value, self.model):
            return ModelType(type(value)).load(to_plain(value)) if holds_reference(value) else value
        plain = _over_defaults(value or {}, self.model)
        try:
            made = self._made(plain)
            if holds_variable(made):  # so do defaults
                plain = _with_variables_of_defaults(plain, made)
                made = self._made(plain)
            return made
        except pydantic.ValidationError as error:
            problems = [_where_it_is_used(each, plain) for each in error.errors(include_url=False)]
            told = f"The config of {self.model.__name__} does not fit where it is used: {'; '.join(problems)}."
            if holds_reference(plain):  # the error of pydantic shows values
                raise InvalidConfigError(
                    f"{told} Set another value for the worker, or write it in the config."
                ) from None
            raise InvalidConfigError(told) from error

    def _made(self, plain: Any) -> Config:
        return self.model.model_validate_json(json.dumps(_resolved(plain, self.model)))

    def default(self) -> Any:
        required = any(field.is_required() for field in self.model.model_fields.values())
        return ABSENT if required else {}

    def json_schema(self) -> dict[str, Any]:
        try:
            found = self.model.model_json_schema(schema_generator=_JsonSchema)
        except pydantic.errors.PydanticInvalidForJsonSchema:
            return {"type": "object"}
        definitions: dict[str, Any] = found.pop("$defs", {})
        for kind in _all_enums(self.model, set()):
            told = definitions.get(kind.__name__)
            if told is not None:  # they are taken by name, too
                definitions[kind.__name__] = {"enum": list(dict.fromkeys([*told.get("enum", ()), *kind.__members__]))}
        inlined: dict[str, Any] = _inlined(found, definitions, ())
        return inlined

    def shown(self) -> str:
        inside = ", ".join(
            f"{name}: {_name_of(field.annotation)}" + ("" if field.is_required() else " (optional)")
            for name, field in fields_in_config(self.model).items()
        )
        return f"{self.model.__name__} {{{inside}}}"

    def example(self) -> Any:
        return {
            name: f"<{_name_of(field.annotation)}>"
            for name, field in fields_in_config(self.model).items()
            if field.is_required()
        }

    def fields(self) -> Mapping[str, Field]:
        return {name: _field_of(field) for name, field in fields_in_config(self.model).items()}


class _JsonSchema(pydantic.json_schema.GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(_plain(dft) if holds_reference(dft) else dft)


def fields_in_config(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """By the names that config has for them: their aliases, where they have some."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def to_plain(model: pydantic.BaseModel, whole: bool = False) -> dict[str, Any]:
    """A model as JSON, with environment references kept as such. What was not set is left to its default, unless
    ``whole``, or unless that holds a variable.
    """
    values: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        if name in model.model_fields_set or _is_fixed(field):
            values[field.alias or name] = _plain_field(getattr(model, name), field, whole)
        elif (whole and not _is_secret_by_default(model, name, field)) or holds_variable(model.__dict__.get(name)):
            values[field.alias or name] = _told_unset(getattr(model, name), field, whole)
    values.update({name: _plain(value) for name, value in (model.model_extra or {}).items()})
    return values


def refuse_secrets(given: Any, at: str) -> None:
    """What pydantic tells of a secret is asterisks, and what is told of config is kept, and shown, as it is. Raises
    InvalidConfigDefinitionError.
    """
    for place, kind in _secrets(given, at):
        raise InvalidConfigDefinitionError(
            f"{place} is a {kind}, which cannot be told: config is kept, and shown, as it is given. "
            'Give EnvVar("NAME") in its place: the variable is read where the step runs.'
        )


def _secrets(given: Any, at: str) -> Iterator[tuple[str, str]]:
    """Where there are some, and of which kind. Those that models have by default need not be told."""
    if hasattr(given, "get_secret_value"):
        yield at, type(given).__name__
    elif isinstance(given, pydantic.BaseModel):
        for name in given.model_fields_set:
            yield from _secrets(getattr(given, name), f"{at}.{name}")
    elif isinstance(given, Mapping):
        for key, each in given.items():
            yield from _secrets(each, f"{at}.{key}")
    elif isinstance(given, list | tuple | set | frozenset):
        for each in given:
            yield from _secrets(each, at)


def _is_secret_by_default(given: pydantic.BaseModel, name: str, field: Any) -> bool:
    """Who reads it back has it by the default of that field. Raises InvalidConfigDefinitionError for other secrets."""
    value, own = getattr(given, name), type(given).model_fields[name]
    if not any(_secrets(value, name)):
        return False
    is_default = (own.default, own.default_factory) == (field.default, field.default_factory)
    if name in given.model_fields_set or not is_default or holds_variable(value):
        refuse_secrets(value, f"{type(given).__name__}.{name}")
    return True


def _plain_field(value: Any, field: Any, whole: bool) -> Any:
    """A model that stands where another is the default is told as a whole, or it would be laid over that."""
    if isinstance(value, Config) and (whole or isinstance(field.default, Config) or _makes_config(field)):
        return to_plain(value, whole=True)
    return _plain(value, field.annotation)


def _makes_config(field: Any) -> bool:
    """Whether a function makes the config that stands where the field is not given: one that looks at no other field,
    and may give another than its class does.
    """
    factory = field.default_factory
    if factory is None or factory is field.annotation or field.default_factory_takes_validated_data:
        return False
    return _config_in(field.annotation) is not None


def _is_whole(given: Mapping[str, Any], model: type[pydantic.BaseModel]) -> bool:
    """Whether nothing is left to defaults."""
    for name, field in model.model_fields.items():
        key = name if name in given else field.alias
        if key is None or key not in given:
            return False
        value, inner = given[key], _config_in(field.annotation)
        if isinstance(value, Mapping) and inner is not None and not (is_reference(value) or _is_whole(value, inner)):
            return False
    return True


def _over_defaults(given: Mapping[str, Any], model: type[pydantic.BaseModel], default: Any = None) -> dict[str, Any]:
    """With what is not given of a config inside another as the default of that one has it."""
    found = _told_default(default, model) if isinstance(default, model) else {}
    by_name = {**model.model_fields, **fields_in_config(model)}
    names = {id(field): name for name, field in model.model_fields.items()}
    for key, value in given.items():
        field = by_name.get(key)
        if field is not None:
            found.pop(field.alias, None)
            inner = _config_in(field.annotation)
            if isinstance(value, Mapping) and inner is not None and not is_reference(value):
                below = field.default
                if isinstance(default, model):
                    below = getattr(default, names[id(field)])
                elif _makes_config(field) and not _is_whole(value, inner):
                    below = field.default_factory()
                value = _over_defaults(value, inner, below)
        found[key] = value
    return found


def _with_variables_of_defaults(given: Any, made: Any) -> Any:
    """What was given, and with it the defaults that hold variables: pydantic leaves those as they are."""
    if not holds_variable(made):
        return given
    if isinstance(given, Mapping) and isinstance(made, pydantic.BaseModel):
        found = dict(given)
        for name, field in type(made).model_fields.items():
            value, key = getattr(made, name), name if name in given else field.alias or name
            if key in given:
                found[key] = _with_variables_of_defaults(given[key], value)
            elif holds_variable(value):
                found[key] = _told_unset(value, field)
        return found
    if isinstance(given, Mapping) and isinstance(made, Mapping):
        return {key: _with_variables_of_defaults(each, made.get(key)) for key, each in given.items()}
    if isinstance(given, list) and isinstance(made, list | tuple) and len(given) == len(made):
        return [_with_variables_of_defaults(each, of) for each, of in zip(given, made, strict=True)]
    return given


def _told_unset(value: Any, field: Any, whole: bool = False) -> Any:
    inner = _config_in(field.annotation)
    if inner is None or not isinstance(value, inner) or (whole and type(value) is inner):
        return _plain_field(value, field, whole=True)
    return _told_default(value, inner)


def _told_default(default: pydantic.BaseModel, model: type[pydantic.BaseModel]) -> dict[str, Any]:
    refuse_secrets(default, type(default).__name__)
    return to_plain(default) if type(default) is model else _told_as(default, model)


def _told_as(given: pydantic.BaseModel, model: type[pydantic.BaseModel]) -> dict[str, Any]:
    """All that a model says of the fields of its class, or of one that its class is made of."""
    found = {name: _plain(value) for name, value in (given.model_extra or {}).items()} if type(given) is model else {}
    for name, field in model.model_fields.items():
        value, inner = getattr(given, name), _config_in(field.annotation)
        if inner is not None and isinstance(value, inner):
            found[field.alias or name] = _told_as(value, inner)
        elif not _is_fixed(field) and not _is_secret_by_default(given, name, field):
            found[field.alias or name] = _plain_field(value, field, whole=True)
    return found


def _config_in(annotation: Any) -> type[Config] | None:
    """The one config class that a field is, where it is anything but None."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(annotation) if each is not type(None)]
        return _config_in(kinds[0]) if len(kinds) == 1 else None
    return annotation if _is_config(annotation) else None


def _is_config(annotation: Any) -> typing.TypeGuard[type[Config]]:
    return isinstance(annotation, type) and issubclass(annotation, Config)


def _is_fixed(field: Any) -> bool:
    """It has one possible value: what tells this model from others."""
    return typing.get_origin(field.annotation) is typing.Literal and len(typing.get_args(field.annotation)) == 1


def _plain(value: Any, annotation: Any = None) -> Any:
    if isinstance(value, IntEnvVar):
        kinds = set(_kinds(annotation))
        return value.reference() if kinds & {int, float} else with_references(value)
    if isinstance(value, EnvVar):
        return value.reference()
    if isinstance(value, pydantic.BaseModel):
        return to_plain(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        fields, inside = _fields_of(annotation), _inside(annotation, Mapping)
        return {
            str(key): _plain(each, fields[key].annotation if key in fields else inside) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        inside = _inside(annotation, Collection)
        return [_plain(each, inside) for each in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return to_jsonable_python(value)


def _without_references(value: Any, at: tuple[str | int, ...], found: set[tuple[str | int, ...]]) -> Any:
    if is_reference(value):
        found.add(at)
        return ABSENT
    if isinstance(value, Mapping):
        inner = {key: _without_references(each, (*at, key), found) for key, each in value.items()}
        return {key: each for key, each in inner.items() if each is not ABSENT}
    if isinstance(value, list):
        kept = [_without_references(each, (*at, index), found) for index, each in enumerate(value)]
        return [each for each in kept if each is not ABSENT]
    return value


def _where_it_is_used(problem: Any, plain: Any) -> str:
    """A problem with its place, and the variable in the place of its value."""
    at, found = "config", plain
    for part in problem["loc"]:
        at += f"[{part}]" if isinstance(part, int) else f":{part}"
        if isinstance(found, Mapping) and not is_reference(found):
            found = found.get(part)
        elif isinstance(found, list) and isinstance(part, int) and part < len(found):
            found = found[part]
    message = str(problem["msg"]).rstrip(".")
    if is_reference(found):
        return f"at {at}, which the environment variable {found['env']!r} gives: {message}"
    return f"at {at}: {message}" + ("" if holds_reference(found) else f", got {problem['input']!r}")


def _is_about_its_form(problem: Any) -> bool:
    """What it is about is written in JSON as something else."""
    is_key = bool(problem["loc"]) and problem["loc"][-1] == "[key]"
    return is_key or isinstance(problem["input"], _WRITTEN_AS.get(problem["type"], ()))


def _is_item(reference: tuple[str | int, ...], around: tuple[str | int, ...]) -> bool:
    return reference[:-1] == around and isinstance(reference[-1], int)


def _with_items_counted(place: tuple[str | int, ...], references: set[tuple[str | int, ...]]) -> tuple[str | int, ...]:
    """A place in a config without its references, as a place in the config with them."""
    found: tuple[str | int, ...] = ()
    for part in place:
        if isinstance(part, int):
            for before in sorted(int(each[-1]) for each in references if _is_item(each, found)):
                part += before <= part
        found = (*found, part)
    return found


def _resolved(value: Any, annotation: Any, at: str = "config") -> Any:
    """References become texts, and numbers where the field, or what the field is a list or dict of, is one."""
    if is_reference(value):
        return number_or_text(value_of(value, at), *_kinds(annotation), int if "as" in value else None)
    if isinstance(value, Mapping):
        fields = _fields_of(annotation)
        inside = _inside(annotation, Mapping)
        return {
            key: _resolved(each, fields[key].annotation if key in fields else inside, f"{at}:{key}")
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_resolved(each, _inside(annotation, Collection), f"{at}[{i}]") for i, each in enumerate(value)]
    return value


def _fields_of(annotation: Any) -> Mapping[str, Any]:
    """Those of the model that a field is, or may be."""
    for kind in _kinds(annotation):
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            return {**kind.model_fields, **fields_in_config(kind)}
    return {}


def _inside(annotation: Any, container: type) -> Any:
    """What a list, or the values of a dict, are said to be."""
    for kind in _kinds(annotation):
        origin = typing.get_origin(kind)
        if isinstance(origin, type) and issubclass(origin, container):
            kinds = [each for each in typing.get_args(kind) if each is not Ellipsis]
            return kinds[-1] if kinds else None
    return None


def _annotations_with_enums(model: type[Config]) -> dict[str, Any]:
    """What fields are said to be where an enum is part of it, by either name."""
    cached = model.__dict__.get("__opgrid_enums__")
    if cached is None:
        cached = {
            name: field.annotation
            for name, field in {**model.model_fields, **fields_in_config(model)}.items()
            if any(_enums_in(field.annotation))
        }
        type.__setattr__(model, "__opgrid_enums__", cached)
    found: dict[str, Any] = cached
    return found


def _enums_in(annotation: Any, items: bool = True) -> Iterator[type[enum.Enum]]:
    """Those that values are of; with ``items`` also those that are in whatever lists and dicts."""
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        yield annotation
    if items or origin in (typing.Union, types.UnionType, typing.Annotated):
        for kind in typing.get_args(annotation):
            yield from _enums_in(kind, items)


def _members_as_values(given: Any, annotation: Any) -> Any:
    """The values of the members that it names, in whatever lists and dicts."""
    if isinstance(given, str):
        for kind in _enums_in(annotation, items=False):
            if given in kind.__members__ and given not in {each.value for each in kind}:
                return kind[given].value
        return given
    if isinstance(given, Mapping):
        inside = _inside(annotation, Mapping)
        return {key: _members_as_values(each, inside) for key, each in given.items()}
    if isinstance(given, list | tuple):
        inside = _inside(annotation, Collection)
        return [_members_as_values(each, inside) for each in given]
    return given


def _choices_of(model: type[Config]) -> dict[str, tuple[str, frozenset[Any]]]:
    """Fields that are one of several models: the field of these that tells which, and its values."""
    found: dict[str, tuple[str, frozenset[Any]]] = {}
    for name, field in {**model.model_fields, **fields_in_config(model)}.items():
        if isinstance(field.discriminator, str):
            tags: set[Any] = set()
            for kind in _kinds(field.annotation):
                told = getattr(kind, "model_fields", {}).get(field.discriminator)
                tags.update(typing.get_args(told.annotation) if told is not None else ())
            found[name] = (field.discriminator, frozenset(tags))
    return found


def _kinds(annotation: Any) -> Iterator[Any]:
    yield annotation
    yield from typing.get_args(annotation)


def _field_of(field: Any) -> Field:
    try:
        kind = as_type(field.annotation)
    except InvalidConfigDefinitionError:
        kind = as_type(Any)
    if field.is_required():
        return Field(kind, is_required=True, description=field.description)
    default = field.default if field.default is not PydanticUndefined else ABSENT
    plain = ABSENT if default is ABSENT else _plain(default)
    try:
        return Field(kind, default_value=plain, description=field.description)
    except InvalidConfigDefinitionError:
        return Field(
            Permissive() if isinstance(plain, dict) else as_type(Any),
            default_value=plain,
            description=field.description,
        )


def _name_of(annotation: Any) -> str:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " | ".join("None" if each is type(None) else _name_of(each) for each in typing.get_args(annotation))
    return getattr(annotation, "__name__", None) or str(annotation).replace("typing.", "")


def _all_enums(model: type[Config], seen: set[type[Config]]) -> Iterator[type[enum.Enum]]:
    """Of a model, and of those inside it."""
    seen.add(model)
    for annotation in _annotations_with_enums(model).values():
        yield from _enums_in(annotation)
    for field in model.model_fields.values():
        for kind in _kinds(field.annotation):
            if isinstance(kind, type) and issubclass(kind, Config) and kind not in seen:
                yield from _all_enums(kind, seen)


def _inlined(schema: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """With what ``$ref`` names in its place, so that it can stand inside another schema; a model inside itself is any
    object.
    """
    if isinstance(schema, list):
        return [_inlined(each, definitions, inside) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        if name in inside:
            return {"type": "object", **rest}
        return {**_inlined(definitions[name], definitions, (*inside, name)), **rest}
    return {key: _inlined(value, definitions, inside) for key, value in schema.items() if key != "discriminator"}
