"""Types of inputs and outputs: checked while a step runs, made from annotations or by hand."""

from __future__ import annotations

import types as python_types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any as AnyValue
from typing import Final, TypeAlias, get_args, get_origin, overload

from opgrid.contracts.metadata import RawMetadata, check_metadata
from opgrid.definitions.events import TypeCheck
from opgrid.errors import InvalidDefinitionError

CheckFn: TypeAlias = Callable[[AnyValue, AnyValue], "TypeCheck | bool"]
LoaderFn: TypeAlias = Callable[[AnyValue, AnyValue], AnyValue]
_C = typing.TypeVar("_C", bound=type)
#: Where a class carries the type that stands for it.
TYPE_OF_CLASS: Final = "__opgrid_type__"


class TypeLoader:
    """Makes a value of a type from run config: ``loader(context, config)``.

    ``config_schema`` is what that config has to be.
    """

    __slots__ = ("_schema", "fn", "required_resource_keys")

    def __init__(
        self,
        fn: LoaderFn,
        config_schema: AnyValue = None,
        required_resource_keys: Iterable[str] = (),
        *,
        schema: Callable[[], AnyValue] | None = None,
    ) -> None:
        self.fn = fn
        self._schema = schema if schema is not None else lambda: config_schema
        self.required_resource_keys = frozenset(required_resource_keys)

    @property
    def config_schema(self) -> AnyValue:
        """As ``config_schema=`` of an op takes it; None allows anything."""
        return self._schema()

    def __call__(self, context: AnyValue, config: AnyValue) -> AnyValue:
        """Raises InvalidConfigError."""
        schema = self.config_schema
        if schema is None:
            return self.fn(context, config)
        from opgrid.config import as_field, plain_values

        return self.fn(context, plain_values(as_field(schema).read(config, "an input")))


class Type:
    """What a value has to be. The check function is given the context and the value, and returns a bool or a TypeCheck.

    Even = Type(lambda _, value: value % 2 == 0, name="Even")

    @op(out=Out(Even))
    def double(n: int): ...
    """

    __slots__ = (
        "_check",
        "description",
        "is_builtin",
        "is_nothing",
        "key",
        "kind",
        "loader",
        "metadata",
        "name",
        "needs_context",
        "required_resource_keys",
        "typing_type",
    )

    def __init__(
        self,
        type_check_fn: CheckFn,
        key: str | None = None,
        name: str | None = None,
        is_builtin: bool = False,
        description: str | None = None,
        loader: TypeLoader | None = None,
        required_resource_keys: Iterable[str] | None = None,
        kind: str = "regular",
        typing_type: AnyValue = AnyValue,
        metadata: RawMetadata | None = None,
    ) -> None:
        given = name if name is not None else key
        if given is None:
            raise InvalidDefinitionError("A Type needs a name=: it is what errors and the user interface call it.")
        if not callable(type_check_fn):
            raise InvalidDefinitionError(f"Type {given!r}: type_check_fn has to be a function, not {type_check_fn!r}.")
        if loader is not None and not isinstance(loader, TypeLoader):
            raise InvalidDefinitionError(
                f"Type {given!r}: the loader has to be made with @type_loader, not {loader!r}."
            )
        self._check = type_check_fn
        self.name = given
        self.key = key if key is not None else given
        self.is_builtin = is_builtin
        self.is_nothing = False
        self.needs_context = True
        self.description = description
        self.loader = loader
        self.required_resource_keys = frozenset(required_resource_keys or ())
        self.kind = kind
        self.typing_type = typing_type
        self.metadata = check_metadata(metadata, f"type {given!r}")

    @property
    def display_name(self) -> str:
        return self.name

    @property
    def unique_name(self) -> str:
        return self.name

    @property
    def is_any(self) -> bool:
        return self is Any

    def check(self, context: AnyValue, value: AnyValue) -> TypeCheck:
        """Raises what the check function raises."""
        found = self._check(context, value)
        if found is True:
            return GOOD
        if isinstance(found, TypeCheck):
            return found
        if found is False:
            return TypeCheck(
                False, f"Value {_short(value)} of Python type {type(value).__name__} is not a {self.name}."
            )
        raise InvalidDefinitionError(
            f"The check function of type {self.name!r} returned {found!r}; it has to return a bool or a TypeCheck."
        )

    def type_check(self, context: AnyValue, value: AnyValue) -> TypeCheck:
        return self.check(context, value)

    def __reduce_ex__(self, protocol: typing.SupportsIndex) -> AnyValue:
        """The built-in types stay themselves when a job is pickled."""
        return self.name if globals().get(self.name) is self else super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"Type({self.name!r})"


class PythonObjectType(Type):
    """Instances of a Python class, or of one of several."""

    __slots__ = ("python_type",)

    def __init__(
        self,
        python_type: type | tuple[type, ...],
        key: str | None = None,
        name: str | None = None,
        description: str | None = None,
        loader: TypeLoader | None = None,
        metadata: RawMetadata | None = None,
    ) -> None:
        classes = python_type if isinstance(python_type, tuple) else (python_type,)
        if not classes or not all(isinstance(each, type) for each in classes):
            raise InvalidDefinitionError(f"PythonObjectType takes a class, or a tuple of classes, not {python_type!r}.")
        self.python_type = python_type
        called = name if name is not None else " | ".join(each.__name__ for each in classes)

        def is_instance(_: AnyValue, value: AnyValue) -> TypeCheck:
            if isinstance(value, classes):
                return GOOD
            return TypeCheck(
                False, f"Value {_short(value)} of Python type {type(value).__name__} has to be of type {called}."
            )

        super().__init__(
            is_instance, key, called, False, description, loader, typing_type=python_type, metadata=metadata
        )


#: Of a value that fits, with nothing to say.
GOOD: Final = TypeCheck(True)


def _short(value: object, most: int = 80) -> str:
    try:
        text = repr(value)
    except Exception:
        return f"of class {type(value).__name__} (its repr() raises)"
    return text if len(text) <= most else text[: most - 3] + "..."


# ---- loaders ---------------------------------------------------------------------------------------------


def type_loader(
    config_schema: AnyValue = None, required_resource_keys: Iterable[str] | None = None
) -> Callable[[LoaderFn], TypeLoader]:
    """Makes a loader of a function ``(context, config) -> value``.

    Inputs of the type can then be given in the run config.
    """

    def decorated(fn: LoaderFn) -> TypeLoader:
        return TypeLoader(fn, config_schema, required_resource_keys or ())

    return decorated


def _scalar_schema(scalar: type) -> Callable[[], AnyValue]:
    def schema() -> AnyValue:
        from opgrid.config import ScalarUnion, Selector

        return ScalarUnion(scalar, Selector({"value": scalar, "json": {"path": str}}))

    return schema


def _selector_schema(value_type: AnyValue) -> Callable[[], AnyValue]:
    def schema() -> AnyValue:
        from opgrid.config import Selector

        return Selector({"value": value_type, "json": {"path": str}})

    return schema


def _load_plain(_: AnyValue, config: AnyValue) -> AnyValue:
    """``5``, ``{"value": 5}`` or ``{"json": {"path": "five.json"}}``."""
    if isinstance(config, Mapping) and len(config) == 1:
        if "value" in config:
            return config["value"]
        if "json" in config:
            import json

            with open(config["json"]["path"], encoding="utf-8") as file:
                return json.load(file)
    return config


# ---- built-in types --------------------------------------------------------------------------------------


def _scalar(name: str, python_type: type) -> Type:
    def check(_: AnyValue, value: AnyValue) -> TypeCheck:
        if isinstance(value, python_type):
            return GOOD
        return TypeCheck(
            False,
            f"Value {_short(value)} of Python type {type(value).__name__} has to be of type {python_type.__name__}.",
        )

    loader = TypeLoader(_load_plain, schema=_scalar_schema(python_type))
    made = Type(check, name, name, is_builtin=True, loader=loader, kind="scalar", typing_type=python_type)
    made.needs_context = False
    return made


def _any() -> Type:
    from_config = TypeLoader(_load_plain, schema=_selector_schema(AnyValue))
    return Type(lambda _, __: GOOD, "Any", "Any", is_builtin=True, loader=from_config, kind="any")


def _nothing() -> Type:
    def check(_: AnyValue, value: AnyValue) -> TypeCheck:
        return GOOD if value is None else TypeCheck(False, f"Value {_short(value)} must be None: the type is Nothing.")

    nothing = Type(check, "Nothing", "Nothing", is_builtin=True, kind="nothing", typing_type=type(None))
    nothing.is_nothing = True
    return nothing


Any: Final = _any()
Int: Final = _scalar("Int", int)
Float: Final = _scalar("Float", float)
String: Final = _scalar("String", str)
Bool: Final = _scalar("Bool", bool)
#: For inputs and outputs that carry no value: they order steps, nothing else.
Nothing: Final = _nothing()

_BUILTIN: Final[Mapping[AnyValue, Type]] = {
    AnyValue: Any,
    object: Any,
    int: Int,
    float: Float,
    str: String,
    bool: Bool,
    None: Nothing,
    type(None): Nothing,
}


def _container(name: str, python_type: type, check: CheckFn, parts: Sequence[Type]) -> Type:
    loader = None
    if all(part.loader is not None for part in parts):
        loader = TypeLoader(_load_container(python_type, parts), schema=_container_schema(python_type))
    return Type(check, name, name, is_builtin=True, loader=loader, kind="container", typing_type=python_type)


def _load_container(python_type: type, parts: Sequence[Type]) -> LoaderFn:
    """``[1, 2]``, each item as its own type is written; ``{"value": [1, 2]}`` or ``{"json": {...}}``."""

    def load(context: AnyValue, config: AnyValue) -> AnyValue:
        plain = _load_plain(context, config)
        if plain is config and isinstance(config, list):
            kinds = parts if python_type is tuple else list(parts) * len(config)
            plain = [
                item if kind.loader is None else kind.loader(context, item)
                for kind, item in zip(kinds, config, strict=False)
            ]
        return python_type(plain) if isinstance(plain, list) and python_type in (set, tuple) else plain

    return load


def _container_schema(python_type: type) -> Callable[[], AnyValue]:
    def schema() -> AnyValue:
        from opgrid.config.schema import Literally

        return Literally(Mapping if python_type in (dict, Mapping) else list)

    return schema


def _wrong_class(value: object, wanted: type) -> TypeCheck:
    return TypeCheck(
        False, f"Value {_short(value)} of Python type {type(value).__name__} has to be of type {wanted.__name__}."
    )


def _items_are(part: Type, context: AnyValue, items: Iterable[AnyValue], each: str) -> TypeCheck:
    if part is Any:
        return GOOD
    for number, item in enumerate(items):
        found = part.check(context, item)
        if not found.success:
            return TypeCheck(False, f"{each} {number}: {found.description or 'is not a ' + part.name}", found.metadata)
    return GOOD


def _sequence_of(label: str, python_type: type, part: Type) -> Type:
    def check(context: AnyValue, value: AnyValue) -> TypeCheck:
        if not isinstance(value, python_type):
            return _wrong_class(value, python_type)
        if python_type is Sequence and not isinstance(value, list | tuple):
            return GOOD  # it may make its items as they are asked for
        assert isinstance(value, Iterable)
        return _items_are(part, context, value, "Item")

    return _container(f"[{part.name}]" if label == "List" else f"{label}[{part.name}]", python_type, check, [part])


def _dict_of(key: Type, part: Type, label: str = "Dict", python_type: type = dict) -> Type:
    def check(context: AnyValue, value: AnyValue) -> TypeCheck:
        if not isinstance(value, python_type):
            return _wrong_class(value, python_type)
        if not isinstance(value, dict):
            return GOOD  # it may make its items as they are asked for
        keys = _items_are(key, context, value, "Key")
        return _items_are(part, context, value.values(), "Value") if keys.success else keys

    return _container(f"{label}[{key.name}, {part.name}]", python_type, check, [key, part])


def _tuple_of(parts: Sequence[Type]) -> Type:
    def check(context: AnyValue, value: AnyValue) -> TypeCheck:
        if not isinstance(value, tuple):
            return _wrong_class(value, tuple)
        if len(value) != len(parts):
            return TypeCheck(False, f"The tuple {_short(value)} has length {len(value)}, it must have {len(parts)}.")
        for part, item in zip(parts, value, strict=True):
            found = _items_are(part, context, [item], "Item")
            if not found.success:
                return found
        return GOOD

    return _container(f"Tuple[{', '.join(part.name for part in parts)}]", tuple, check, parts)


def _optional(part: Type) -> Type:
    def check(context: AnyValue, value: AnyValue) -> TypeCheck:
        return GOOD if value is None else part.check(context, value)

    name = f"{part.name}?"
    inner = part.loader
    if inner is None:
        return Type(check, name, name, is_builtin=True, kind="container")

    def schema() -> AnyValue:
        from opgrid.config import Noneable

        return Noneable(inner.config_schema if inner.config_schema is not None else AnyValue)

    def load(context: AnyValue, config: AnyValue) -> AnyValue:
        return None if config is None else inner.fn(context, config)

    loader = TypeLoader(load, schema=schema)
    return Type(check, name, name, is_builtin=True, loader=loader, kind="container")


def _union(parts: Sequence[Type]) -> Type:
    name = " | ".join(part.name for part in parts)

    def check(context: AnyValue, value: AnyValue) -> TypeCheck:
        if any(part.check(context, value).success for part in parts):
            return GOOD
        return TypeCheck(False, f"Value {_short(value)} of Python type {type(value).__name__} must be one of {name}.")

    return _container(name, object, check, parts)


def _literal(values: tuple[AnyValue, ...]) -> Type:
    name = f"Literal[{', '.join(map(repr, values))}]"

    def check(_: AnyValue, value: AnyValue) -> TypeCheck:
        return GOOD if value in values else TypeCheck(False, f"Value {_short(value)} must be one of {values!r}.")

    return Type(check, name, name, is_builtin=True, loader=TypeLoader(_load_plain, schema=_selector_schema(AnyValue)))


class _Generic:
    """``List[int]`` and its like, where a type is expected."""

    def __init__(self, name: str, build: Callable[..., Type], bare: Type) -> None:
        self.name = name
        self.build = build
        self.bare = bare

    def __getitem__(self, parts: AnyValue) -> Type:
        given = parts if isinstance(parts, tuple) else (parts,)
        return self.build(*(resolve_type(part) for part in given))

    def __repr__(self) -> str:
        return self.name


List: Final = _Generic("List", lambda part: _sequence_of("List", list, part), _sequence_of("List", list, Any))
Set: Final = _Generic("Set", lambda part: _sequence_of("Set", set, part), _sequence_of("Set", set, Any))
Dict: Final = _Generic("Dict", _dict_of, _dict_of(Any, Any))
Tuple: Final = _Generic("Tuple", lambda *parts: _tuple_of(parts), PythonObjectType(tuple))
Optional: Final = _Generic("Optional", _optional, Any)


# ---- from annotations ------------------------------------------------------------------------------------

_BARE: Final[Mapping[AnyValue, Type]] = {
    list: List.bare,
    dict: Dict.bare,
    set: Set.bare,
    typing.List: List.bare,  # noqa: UP006
    typing.Dict: Dict.bare,  # noqa: UP006
    typing.Set: Set.bare,  # noqa: UP006
    typing.Tuple: Tuple.bare,  # noqa: UP006
}


def resolve_type(given: AnyValue, where: str = "") -> Type:
    """The type behind what users write: a :class:`Type`, a class, or something of ``typing``.

    What cannot be checked at run time (type variables, callables' signatures, non-runtime protocols) is as wide as Any.
    """
    if isinstance(given, Type):
        return given
    if isinstance(given, _Generic):
        return given.bare
    try:
        found = _BUILTIN.get(given) or _BARE.get(given)
    except TypeError:  # not hashable
        found = None
    if found is not None:
        return found
    if get_origin(given) is not None:
        return _of_generic(given, where)
    if isinstance(given, type):
        return _of_class(given)
    if isinstance(given, typing.NewType):
        return resolve_type(given.__supertype__, where)
    if isinstance(given, typing.TypeVar | typing.ParamSpec | str) or getattr(given, "__module__", "") in (
        "typing",
        "typing_extensions",
        "collections.abc",
        "annotationlib",  # where typing.ForwardRef is from Python 3.14 on
    ):
        return Any
    place = f" ({where})" if where else ""
    raise InvalidDefinitionError(
        f"{given!r} is no type{place}. Use a Python class, something of typing, or a Type made with Type(...), "
        f"PythonObjectType(...) or @usable_as_type."
    )


def _of_class(given: type) -> Type:
    declared = given.__dict__.get(TYPE_OF_CLASS)
    if isinstance(declared, Type):
        return declared
    if typing.is_typeddict(given):
        return Dict.bare
    if getattr(given, "_is_protocol", False) and not getattr(given, "_is_runtime_protocol", False):
        return Any
    return PythonObjectType(given)


#: How the type of a collection is made of those of its parts.
_COLLECTIONS: Final[Mapping[AnyValue, Callable[..., Type]]] = {
    list: partial(_sequence_of, "List", list),
    set: partial(_sequence_of, "Set", set),
    dict: _dict_of,
    Sequence: partial(_sequence_of, "Sequence", Sequence),
    Mapping: partial(_dict_of, label="Mapping", python_type=Mapping),
}


def _of_generic(given: AnyValue, where: str) -> Type:
    origin, parts = get_origin(given), get_args(given)
    if origin is typing.Annotated:
        return resolve_type(parts[0], where)
    if origin is typing.Literal:
        return _literal(parts)
    if origin in (typing.Union, python_types.UnionType):
        return _of_union(parts, where)
    if origin is tuple:
        if len(parts) == 2 and parts[1] is Ellipsis:
            return _sequence_of("Tuple", tuple, resolve_type(parts[0], where))
        return _tuple_of([resolve_type(part, where) for part in parts if part != ()])
    if origin in _COLLECTIONS and parts:
        return _COLLECTIONS[origin](*[resolve_type(part, where) for part in parts])
    if isinstance(origin, type) and origin.__name__ != "Callable":
        return PythonObjectType(origin, name=str(given).replace("typing.", ""))
    return Any


def _of_union(parts: tuple[AnyValue, ...], where: str) -> Type:
    some = [resolve_type(part, where) for part in parts if part is not type(None)]
    inner = some[0] if len(some) == 1 else _union(some)
    return _optional(inner) if len(some) < len(parts) else inner


# ---- classes as types ------------------------------------------------------------------------------------


@overload
def usable_as_type(name: _C) -> _C: ...
@overload
def usable_as_type(
    name: str | None = None, description: str | None = None, loader: TypeLoader | None = None
) -> Callable[[_C], _C]: ...
def usable_as_type(name: AnyValue = None, description: str | None = None, loader: TypeLoader | None = None) -> AnyValue:
    """Gives a class of the user's a type of its own: a name, a description, and a loader for the run config."""

    def decorated(cls: _C) -> _C:
        make_python_type_usable_as_type(cls, PythonObjectType(cls, None, called, description, loader))
        return cls

    called = None if isinstance(name, type) else name
    return decorated(name) if isinstance(name, type) else decorated


def make_python_type_usable_as_type(python_type: type, type: Type) -> None:
    """From now on, ``python_type`` as an annotation means ``type``. The type is kept on the class itself."""
    try:
        setattr(python_type, TYPE_OF_CLASS, type)
    except TypeError as error:
        raise InvalidDefinitionError(
            f"{python_type.__name__!r} is built into Python and cannot carry a type: use it in In(...) and Out(...) "
            "directly."
        ) from error


def check_type(type: AnyValue, value: AnyValue) -> TypeCheck:
    """Whether ``value`` passes the check of ``type``; for tests of types."""
    return resolve_type(type).check(None, value)
