"""The dict-style schema types, and what every kind of config schema can do: check, load, describe itself.

``check`` looks at JSON before a run starts and reports every problem; ``load`` makes of it what user code sees, in the
process where the step runs, with references to the environment resolved.
"""

from __future__ import annotations

import enum
import json
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from opgrid.config.env import is_reference, value_of, with_references
from opgrid.config.report import Report
from opgrid.errors import InvalidConfigDefinitionError, InvalidConfigError, InvariantViolationError, listed, nearest


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"


#: Nothing was given, which is not the same as None.
ABSENT: Final = _Absent()


class ConfigType(ABC):
    """One kind of config value."""

    @abstractmethod
    def check(self, value: Any, path: str, report: Report) -> Any:
        """The value as it is to be stored: JSON, with defaults filled in where the schema has them."""

    def load(self, value: Any) -> Any:
        return value

    @abstractmethod
    def shown(self) -> str:
        """For messages: ``str``, ``{host: str, port: int = 80}``."""

    def default(self) -> Any:
        """What stands in when nothing is given; ABSENT: something must be."""
        return ABSENT

    def example(self) -> Any:
        return f"<{self.shown()}>"

    def fields(self) -> Mapping[str, Field]:
        """For scaffolds: what is inside."""
        return {}

    def json_schema(self) -> dict[str, Any]:
        """For editors; ``{}`` says nothing. A reference to the environment is not told of, but for sources."""
        return {}


class Scalar(ConfigType):
    def __init__(self, name: str, kinds: tuple[type, ...], example: Any) -> None:
        self.name, self.kinds, self._example = name, kinds, example

    def check(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, self.kinds) or (isinstance(value, bool) and bool not in self.kinds):
            report.wrong(path, f"expected {self.name}, got {value!r} ({type(value).__name__}).")
        elif float in self.kinds and type(value) is int:
            try:
                float(value)
            except OverflowError:
                report.wrong(path, f"expected {self.name}, got an int of {value.bit_length()} bits: it is too large.")
        return value

    def load(self, value: Any) -> Any:
        return float(value) if float in self.kinds and type(value) is int else value

    def json_schema(self) -> dict[str, Any]:
        return {"type": _JSON_TYPES[self.name]}

    def shown(self) -> str:
        return self.name

    def example(self) -> Any:
        return self._example


def check_keys(value: Any, path: str, report: Report) -> None:
    """Of what no schema describes: run config is kept as JSON, which has keys of text only."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                report.wrong(f"{path}:{key}", f"a key in config is text, this one is {key!r}: write {str(key)!r}.")
            check_keys(each, f"{path}:{key}", report)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            check_keys(each, f"{path}[{number}]", report)


class AnyType(ConfigType):
    def check(self, value: Any, path: str, report: Report) -> Any:
        check_keys(value, path, report)
        return value

    def shown(self) -> str:
        return "anything"

    def example(self) -> Any:
        return {}


class Source(ConfigType):
    """A scalar, or ``{"env": "NAME"}``."""

    def __init__(self, scalar: Scalar, parse: typing.Callable[[str], Any]) -> None:
        self.scalar, self._parse = scalar, parse

    def check(self, value: Any, path: str, report: Report) -> Any:
        return value if is_reference(value) else self.scalar.check(value, path, report)

    def load(self, value: Any) -> Any:
        """Raises InvalidConfigError, with the name of the variable and without its value."""
        if not is_reference(value):
            return value
        text = value_of(value)
        try:
            return self._parse(text)
        except ValueError:
            pass  # the error holds the value
        raise InvalidConfigError(
            f"The environment variable {value['env']!r} does not hold what the config asks for: {self.scalar.name}. "
            "Set another value for the worker, or write it in the config."
        )

    def json_schema(self) -> dict[str, Any]:
        env = {"type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"]}
        return {"anyOf": [self.scalar.json_schema(), env]}

    def shown(self) -> str:
        return f"{self.scalar.name} or {{env: NAME}}"

    def example(self) -> Any:
        return self.scalar.example()


_JSON_TYPES: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


_TRUTHS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on", "t", "y"), True),
    **dict.fromkeys(("0", "false", "no", "off", "f", "n", "none", ""), False),
}


def _truth(text: str) -> bool:
    try:
        return _TRUTHS[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


STRING = Scalar("str", (str,), "...")
INT = Scalar("int", (int,), 0)
FLOAT = Scalar("float", (float, int), 0.0)
BOOL = Scalar("bool", (bool,), False)
ANY = AnyType()
StringSource = Source(STRING, str)
IntSource = Source(INT, int)
BoolSource = Source(BOOL, _truth)

_SCALARS: dict[Any, ConfigType] = {str: STRING, int: INT, float: FLOAT, bool: BOOL, typing.Any: ANY}


class Field:
    """A schema with a default and a description: ``Field(int, default_value=3)``."""

    def __init__(
        self,
        config: Any,
        default_value: Any = ABSENT,
        is_required: bool | None = None,
        description: str | None = None,
        is_secret: bool = False,
    ) -> None:
        self.type = as_type(config)
        self._default_value = default_value
        self.description = description
        self.is_secret = is_secret
        if is_required and default_value is not ABSENT:
            raise InvalidConfigDefinitionError("A Field with a default_value cannot have is_required=True.")
        self._required = is_required
        if default_value is not ABSENT:
            report = Report()
            self.type.check(default_value, "default_value", report)
            if report.problems:
                raise InvalidConfigDefinitionError(
                    f"The default_value of a Field does not fit its type: {report.problems[0].message}"
                )

    @property
    def is_required(self) -> bool:
        if self._required is not None:
            return self._required
        return self.default() is ABSENT

    @property
    def default_provided(self) -> bool:
        """Whether there is a value where config says nothing, be it put together of those of its fields."""
        return self.default() is not ABSENT

    @property
    def default_value(self) -> Any:
        """As config would give it. InvariantViolationError where none is provided."""
        if not self.default_provided:
            raise InvariantViolationError("This Field has no default value: ask default_provided first.")
        return self.check(ABSENT, "default_value", Report())

    def default(self) -> Any:
        if self._default_value is not ABSENT:
            return self._default_value
        return ABSENT if self._required is False else self.type.default()

    def check(self, value: Any, path: str, report: Report) -> Any:
        """``value`` may be ABSENT."""
        if value is not ABSENT:
            return self.type.check(value, path, report)
        if self.is_required:
            report.missing(path, f"this is required: {self.type.shown()}. For example: {self.type.example()!r}.")
            return None
        default = self.default()
        return ABSENT if default is ABSENT else self.type.check(default, path, report)

    def load(self, value: Any) -> Any:
        """What user code sees. None stands for nothing given, where it cannot be a value."""
        if value is ABSENT or (value is None and not isinstance(self.type, Noneable | AnyType)):
            value = self.default()
        return None if value is None or value is ABSENT else self.type.load(value)

    def read(self, given: Any, what: str) -> Any:
        """What user code sees of config that no run config was checked with; None: nothing is given. ``what`` it is the
        config of, for InvalidConfigError.
        """
        report = Report()
        checked = self.check(ABSENT if given is None else with_references(given), "config", report)
        report.raise_if_any(f"The config of {what} does not fit")
        return None if checked is ABSENT else self.load(checked)

    def fields(self) -> Mapping[str, Field]:
        return self.type.fields()


ConfigField = Field


def object_schema(fields: Mapping[str, Field], description: str | None = None) -> dict[str, Any]:
    """JSON Schema of an object that has these fields and no others."""
    properties: dict[str, Any] = {}
    for name, each in fields.items():
        found = each.type.json_schema()
        if each.description:
            found = {**found, "description": each.description}
        default = each.default()
        if default is not ABSENT and not each.is_secret:
            found = {**found, "default": default}
        properties[name] = found
    made: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [name for name, each in fields.items() if each.is_required]
    if required:
        made["required"] = required
    return {**made, "description": description} if description else made


class Shape(ConfigType):
    """Exactly these keys: ``{"host": str, "port": Field(int, default_value=80)}``."""

    def __init__(self, fields: Mapping[str, Any], description: str | None = None) -> None:
        self._fields = {str(key): _field_at(key, each) for key, each in fields.items()}
        self.description = description

    def check(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report.wrong(path, f"expected {self.shown()}, got {value!r}.")
            return value
        for key in value:
            if key not in self._fields:
                self._undefined(str(key), path, report)
        checked = {
            key: field.check(value.get(key, ABSENT), f"{path}:{key}", report) for key, field in self._fields.items()
        }
        kept = {key: each for key, each in checked.items() if each is not ABSENT}
        return {**self._more(value), **kept}

    def _undefined(self, key: str, path: str, report: Report) -> None:
        report.unknown(
            f"{path}:{key}", f"there is no such field.{nearest(key, self._fields)} There are: {listed(self._fields)}."
        )

    def _more(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def load(self, value: Any) -> Any:
        loaded = dict(value)
        for key, field in self._fields.items():
            if key in loaded:
                loaded[key] = field.load(loaded[key])
        return loaded

    def default(self) -> Any:
        return {} if not any(field.is_required for field in self._fields.values()) else ABSENT

    def example(self) -> Any:
        return {key: field.type.example() for key, field in self._fields.items() if field.is_required}

    def json_schema(self) -> dict[str, Any]:
        return object_schema(self._fields, self.description)

    def shown(self) -> str:
        inside = ", ".join(
            f"{key}: {field.type.shown()}" + ("" if field.is_required else " (optional)")
            for key, field in self._fields.items()
        )
        return f"{{{inside}}}"

    def fields(self) -> Mapping[str, Field]:
        return self._fields


class Permissive(Shape):
    """These keys, and any other."""

    def __init__(self, fields: Mapping[str, Any] | None = None, description: str | None = None) -> None:
        super().__init__(fields or {}, description)

    def _undefined(self, key: str, path: str, report: Report) -> None:
        pass

    def check(self, value: Any, path: str, report: Report) -> Any:
        if isinstance(value, Mapping):
            check_keys(self._more(value), path, report)
        return super().check(value, path, report)

    def _more(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return {key: each for key, each in value.items() if key not in self._fields}

    def json_schema(self) -> dict[str, Any]:
        return {**super().json_schema(), "additionalProperties": True}

    def shown(self) -> str:
        inside = super().shown()[1:-1]
        return f"{{{inside + ', ' if inside else ''}...}}"


class Selector(ConfigType):
    """Exactly one of these keys."""

    def __init__(self, fields: Mapping[str, Any], description: str | None = None) -> None:
        self._fields = {str(key): as_field(each) for key, each in fields.items()}
        self.description = description

    def check(self, value: Any, path: str, report: Report) -> Any:
        if isinstance(value, str) and value in self._fields and not self._fields[value].is_required:
            value = {value: {}}
        if value == {} and self.default() is not ABSENT:
            value = self.default()
        if not isinstance(value, Mapping) or len(value) != 1:
            report.selector(path, f"exactly one of {listed(self._fields)} has to be given, got {value!r}.")
            return value
        ((key, inner),) = value.items()
        field = self._fields.get(key)
        if field is None:
            report.selector(
                f"{path}:{key}", f"no such choice.{nearest(str(key), self._fields)} There are: {listed(self._fields)}."
            )
            return value
        checked = field.check(
            ABSENT if inner is None and field.default() is not ABSENT else inner, f"{path}:{key}", report
        )
        return {key: None if checked is ABSENT else checked}

    def load(self, value: Any) -> Any:
        return {key: self._fields[key].load(inner) for key, inner in value.items()}

    def default(self) -> Any:
        if len(self._fields) == 1:
            ((key, field),) = self._fields.items()
            if not field.is_required:
                return {key: field.default()}
        return ABSENT

    def example(self) -> Any:
        key, field = next(iter(self._fields.items()))
        return {key: field.type.example()}

    def json_schema(self) -> dict[str, Any]:
        return {"oneOf": [object_schema({name: each}, self.description) for name, each in self._fields.items()]}

    def shown(self) -> str:
        return "one of " + " | ".join(f"{{{key}: {field.type.shown()}}}" for key, field in self._fields.items())

    def fields(self) -> Mapping[str, Field]:
        return self._fields


class Literally(ConfigType):
    """A list or a mapping as it is, ``{"value": ...}``, or ``{"json": {"path": ...}}``: a value of an input."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.name = "a list" if kind is list else "a mapping"

    def check(self, value: Any, path: str, report: Report) -> Any:
        if isinstance(value, Mapping) and len(value) == 1 and set(value) <= {"value", "json"}:
            return Selector({"value": ANY, "json": {"path": str}}).check(value, path, report)
        if not isinstance(value, self.kind):
            report.wrong(path, f"expected {self.shown()}, got {value!r}.")
        return value

    def shown(self) -> str:
        return f"{self.name}, {{value: ...}} or {{json: {{path: ...}}}}"

    def example(self) -> Any:
        return [] if self.kind is list else {}


class Noneable(ConfigType):
    """A value of the inner type, or None."""

    def __init__(self, inner_type: Any) -> None:
        self.inner = as_type(inner_type)

    def check(self, value: Any, path: str, report: Report) -> Any:
        return None if value is None else self.inner.check(value, path, report)

    def load(self, value: Any) -> Any:
        return None if value is None else self.inner.load(value)

    def default(self) -> Any:
        return None

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [self.inner.json_schema(), {"type": "null"}]}

    def shown(self) -> str:
        return f"{self.inner.shown()} or null"


class Array(ConfigType):
    """A list whose members are of the inner type. ``[str]`` says the same."""

    def __init__(self, inner_type: Any) -> None:
        self.inner = as_type(inner_type)

    def check(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, list | tuple):
            report.wrong(path, f"expected {self.shown()}, got {value!r}.")
            return value
        return [self.inner.check(each, f"{path}[{index}]", report) for index, each in enumerate(value)]

    def load(self, value: Any) -> Any:
        return [self.inner.load(each) for each in value]

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.inner.json_schema()}

    def shown(self) -> str:
        return f"a list of {self.inner.shown()}"

    def example(self) -> Any:
        return [self.inner.example()]


class Map(ConfigType):
    """Any keys of the one type, with values of the other; ``{str: int}`` says the same. ``key_label_name`` says what
    the keys are.
    """

    def __init__(self, key_type: Any, inner_type: Any, key_label_name: str | None = None) -> None:
        self.key, self.inner, self.key_label_name = as_type(key_type), as_type(inner_type), key_label_name

    def check(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report.wrong(path, f"expected {self.shown()}, got {value!r}.")
            return value
        for key in value:
            self.key.check(self._key(key), f"{path}:{key}", report)
        return {
            key if isinstance(key, str) else json.dumps(key): self.inner.check(each, f"{path}:{key}", report)
            for key, each in value.items()
        }

    def load(self, value: Any) -> Any:
        return {self._key(key): self.inner.load(each) for key, each in value.items()}

    def _key(self, key: Any) -> Any:
        """JSON has keys of text only: a number is what the text says."""
        if self.key not in (INT, FLOAT, BOOL) or not isinstance(key, str):
            return key
        try:
            return self.key.load(json.loads(key))
        except ValueError:
            return key

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.inner.json_schema()}

    def shown(self) -> str:
        return f"a mapping of {self.key_label_name or self.key.shown()} to {self.inner.shown()}"

    def example(self) -> Any:
        return {}


class EnumValue:
    """One member of an :class:`Enum`: ``config_value`` is what config says, ``python_value`` what the op gets."""

    def __init__(self, config_value: str, python_value: Any = ABSENT, description: str | None = None) -> None:
        self.config_value = config_value
        self.python_value = config_value if python_value is ABSENT else python_value
        self.description = description


class Enum(ConfigType):
    """One of several names; the op gets the value behind the name."""

    def __init__(self, name: str, enum_values: Sequence[EnumValue]) -> None:
        self.name = name
        self.values = {each.config_value: each for each in enum_values}

    @classmethod
    def from_python_enum(cls, enum_cls: type[enum.Enum], name: str | None = None) -> Enum:
        return cls(name or enum_cls.__name__, [EnumValue(each.name, each) for each in enum_cls])

    @classmethod
    def from_python_enum_direct_values(cls, enum_cls: type[enum.Enum], name: str | None = None) -> Enum:
        """The op gets the value of the member, not the member."""
        return cls(name or enum_cls.__name__, [EnumValue(each.name, each.value) for each in enum_cls])

    def check(self, value: Any, path: str, report: Report) -> Any:
        if isinstance(value, enum.Enum):
            value = value.name
        if not isinstance(value, Hashable) or value not in self.values:
            report.wrong(
                path,
                f"{value!r} is no {self.name}.{nearest(str(value), self.values)} There are: {listed(self.values)}.",
            )
        return value

    def load(self, value: Any) -> Any:
        return self.values[value].python_value

    def json_schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}

    def shown(self) -> str:
        return f"{self.name} ({' | '.join(self.values)})"

    def example(self) -> Any:
        return next(iter(self.values))


class ScalarUnion(ConfigType):
    """A scalar, or something that is no scalar."""

    def __init__(self, scalar_type: Any, non_scalar_schema: Any) -> None:
        self.scalar, self.other = as_type(scalar_type), as_type(non_scalar_schema)

    def check(self, value: Any, path: str, report: Report) -> Any:
        return self._kind(value).check(value, path, report)

    def load(self, value: Any) -> Any:
        return self._kind(value).load(value)

    def json_schema(self) -> dict[str, Any]:
        return {"anyOf": [self.scalar.json_schema(), self.other.json_schema()]}

    def shown(self) -> str:
        return f"{self.scalar.shown()}, or {self.other.shown()}"

    def example(self) -> Any:
        return self.scalar.example()

    def _kind(self, value: Any) -> ConfigType:
        return self.other if isinstance(value, Mapping | list | tuple) else self.scalar


def as_type(raw: Any) -> ConfigType:
    """Whatever may stand for a schema. Raises InvalidConfigDefinitionError."""
    if isinstance(raw, ConfigType):
        return raw
    if isinstance(raw, Mapping):
        keys = list(raw)
        return Map(keys[0], raw[keys[0]]) if len(keys) == 1 and not isinstance(keys[0], str) else Shape(raw)
    if isinstance(raw, list):
        if len(raw) != 1:
            raise InvalidConfigDefinitionError(
                f"A list in a config schema holds one type, the one of its items: {raw!r}."
            )
        return Array(raw[0])
    known = _SCALARS.get(raw) if isinstance(raw, Hashable) else None
    if known is not None:
        return known
    if getattr(raw, "is_builtin", False) and raw.typing_type in _SCALARS:
        return _SCALARS[raw.typing_type]  # Int, String and the like, which are types of inputs as well
    if raw is dict:
        return Permissive()
    if raw is list:
        return Array(ANY)
    return _of_class(raw)


def _of_class(raw: Any) -> ConfigType:
    if isinstance(raw, type) and issubclass(raw, enum.Enum):
        return Enum.from_python_enum(raw)
    model = sys.modules.get("opgrid.config.model")
    if model is not None and isinstance(raw, type) and issubclass(raw, model.Config):
        found: ConfigType = model.ModelType(raw)
        return found
    raise InvalidConfigDefinitionError(
        f"{raw!r} is no config schema. Use a Config class, a dict of fields, str, int, float, bool, or a type such as "
        f"Array, Selector or Noneable."
    )


def plain_values(config: Any) -> Any:
    """What an instance of a Config class holds, as run config would have it; anything else stays as it is."""
    dump = getattr(config, "model_dump", None)
    return config if dump is None else _without_members(dump(by_alias=True))


def _without_members(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _without_members(each) for key, each in value.items()}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return kind(map(_without_members, value))
    return value


def _field_at(key: object, raw: Any) -> Field:
    try:
        return as_field(raw)
    except InvalidConfigDefinitionError as error:
        raise InvalidConfigDefinitionError(f"at {key!r}: {error}") from error.__cause__


def as_field(raw: Any) -> Field:
    return raw if isinstance(raw, Field) else Field(raw)
