"""The signature of an op's function read: which parameter is the context, the config, a resource, an input."""

from __future__ import annotations

import builtins
import collections.abc
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, get_args, get_origin

from opgrid.definitions.annotations import signature_of
from opgrid.definitions.events import DynamicOutput, Output
from opgrid.definitions.names import check_name, place_of
from opgrid.definitions.ports import ABSENT, DynamicOut, In, Out
from opgrid.definitions.types import Any as AnyType
from opgrid.definitions.types import Nothing, Type, resolve_type
from opgrid.errors import InvalidDefinitionError, listed, nearest

_CONTEXT_NAMES: Final = frozenset({"context", "_context", "context_", "_", "__"})
_INPUTS_NAMES: Final = frozenset({"inputs", "_inputs", "_", "__"})
_CONTEXT_CLASSES: Final = frozenset({"OpExecutionContext", "AssetExecutionContext"})
_GENERATORS: Final = frozenset(
    {
        collections.abc.Generator,
        collections.abc.Iterator,
        collections.abc.Iterable,
        collections.abc.AsyncGenerator,
        collections.abc.AsyncIterator,
        collections.abc.AsyncIterable,
    }
)


class OpSignature(NamedTuple):
    """How the function of an op is called: the context first, all else by name."""

    context: str | None
    config: str | None
    resources: Mapping[str, str]  #: parameter -> resource key
    inputs: tuple[str, ...]
    as_dict: bool = False  #: the function takes ``(context, inputs)``: all inputs in one dict

    def call(self, function: Callable[..., Any], context: Any, named: dict[str, Any]) -> Any:
        if self.as_dict:
            given = function(context, named)
            return (each for each in given) if isinstance(given, collections.abc.Iterator) else given
        return function(**named) if self.context is None else function(context, **named)


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    annotation: Any  #: evaluated; ABSENT when there is none, or it names what only type checkers can see
    default: Any
    keyword_only: bool = False


@dataclass(frozen=True, slots=True)
class FunctionShape:
    """A function's parameters, sorted by what they are for."""

    context: str | None
    config: Parameter | None
    resources: Mapping[str, str]
    inputs: Mapping[str, Parameter]
    takes_any: bool  #: it has ``**kwargs``
    returns: Any
    as_dict: bool = False  #: its one parameter behind the context is given all inputs


def read_function(function: Any, what: str, by_place: bool = False) -> FunctionShape:
    """``by_place``: a function of ``*args`` is one of ``(context, inputs)``."""
    if not callable(function) or isinstance(function, type):
        raise InvalidDefinitionError(f"{what} has to be made of a function, not of {function!r}.")
    parameters, returns = parameters_of(function, what)
    context = None
    names = list(parameters)
    if names and _is_context(parameters[names[0]]):
        context = names.pop(0)
    if by_place and _takes_places(context, names):
        return FunctionShape((context or names[0]).lstrip("*"), None, {}, {}, True, returns, as_dict=True)
    config: Parameter | None = None
    resources: dict[str, str] = {}
    inputs: dict[str, Parameter] = {}
    takes_any = False
    for name in names:
        each = parameters[name]
        if name.startswith("**"):
            takes_any = True
        elif name.startswith(("*", "/")):
            _refuse(name, what, function)
        elif is_resource(each.annotation):
            resources[name] = name
        elif name == "config" or _is_config_class(each.annotation):
            config = _only_config(each, config, what)
        else:
            inputs[name] = each
    return FunctionShape(context, config, resources, inputs, takes_any, returns)


def _takes_places(context: str | None, others: list[str]) -> bool:
    """``*args``, or a context and ``*args``, and at most ``**kwargs`` besides."""
    names = [*([] if context is None else [context]), *others]
    variadic = [name for name in names if name.startswith("*") and not name.startswith("**")]
    plain = [name for name in names if not name.startswith("*")]
    return bool(variadic) and plain in ([], [context])


def with_inputs_as_dict(shape: FunctionShape, declared: Mapping[str, In] | None) -> FunctionShape:
    """Of a function ``(context, inputs)``, unless there is an input of that name: its inputs are the declared ones. It
    may name both as it likes, where it has no parameter for an input that is declared and carries a value.
    """
    names, declared = [*shape.inputs], declared or {}
    if shape.config is not None or shape.resources or shape.takes_any or any(name in declared for name in names):
        return shape
    if shape.context is not None and len(names) == 1 and names[0] in _INPUTS_NAMES:
        return replace(shape, inputs={}, takes_any=True, as_dict=True)
    if shape.context is None and len(names) == 2 and any(port.type is not Nothing for port in declared.values()):
        return replace(shape, context=names[0], inputs={}, takes_any=True, as_dict=True)
    return shape


def parameters_of(function: Callable[..., Any], what: str) -> tuple[dict[str, Parameter], Any]:
    """Every parameter by name (variadic with stars, positional-only with ``/``), and the return annotation."""
    try:
        signature = signature_of(function)
    except (TypeError, ValueError) as error:
        raise InvalidDefinitionError(
            f"{what} has to be made of a function with a signature; {function!r} has none."
        ) from error
    found: dict[str, Parameter] = {}
    for name, each in signature.parameters.items():
        annotation = ABSENT if each.annotation is each.empty else _evaluated(each.annotation, function)
        default = ABSENT if each.default is each.empty else each.default
        if each.kind is each.VAR_POSITIONAL:
            name = f"*{name}"
        elif each.kind is each.VAR_KEYWORD:
            name = f"**{name}"
        elif each.kind is each.POSITIONAL_ONLY and found:
            name = f"/{name}"
        found[name] = Parameter(name, annotation, default, each.kind is each.KEYWORD_ONLY)
    returns = (
        ABSENT if signature.return_annotation is signature.empty else _evaluated(signature.return_annotation, function)
    )
    return found, returns


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """A postponed annotation made real, also when it is in quotes besides."""
    for _ in range(2):
        if not isinstance(annotation, str):
            break
        annotation = _evaluated_text(annotation, function)
    return annotation


def _evaluated_text(annotation: str, function: Callable[..., Any]) -> Any:
    """Also when it names something local to the function that makes the op."""
    inner = inspect.unwrap(function)
    namespace = getattr(inner, "__globals__", vars(builtins))
    try:
        return eval(annotation, namespace, _closure(inner))
    except Exception:
        return _evaluated_where_called(annotation, namespace)


def _evaluated_where_called(annotation: str, namespace: dict[str, Any]) -> Any:
    frame = sys._getframe(1)
    file = namespace.get("__file__")
    while frame.f_back is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    while frame.f_code.co_filename == file:
        try:
            return eval(annotation, namespace, frame.f_locals)
        except Exception:
            if frame.f_back is None:
                break
            frame = frame.f_back
    return ABSENT


def _closure(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def _is_context(first: Parameter) -> bool:
    name = first.name.lstrip("*/")
    return name in _CONTEXT_NAMES or getattr(first.annotation, "__name__", "") in _CONTEXT_CLASSES


def _is_config_class(annotation: Any) -> bool:
    model = sys.modules.get("opgrid.config.model")
    return model is not None and isinstance(annotation, type) and issubclass(annotation, model.Config)


def is_resource(annotation: Any) -> bool:
    """Looks only where resource classes can have come from, so that ops without resources import nothing."""
    module = sys.modules.get("opgrid.definitions.resource")
    return annotation is not ABSENT and module is not None and bool(module.is_resource_annotation(annotation))


def _only_config(given: Parameter, before: Parameter | None, what: str) -> Parameter:
    if before is not None:
        raise InvalidDefinitionError(
            f"{what} has two config parameters, {before.name!r} and {given.name!r}: put the fields into one Config "
            "class."
        )
    if given.annotation is ABSENT:
        raise InvalidDefinitionError(
            f"{what} has a parameter 'config' without an annotation that can be read: give it one, for example "
            f"'config: MyConfig' with 'class MyConfig(Config)'. An input cannot be called 'config'."
        )
    return given


def _refuse(name: str, what: str, function: Callable[..., Any]) -> None:
    if name.startswith("/"):
        raise InvalidDefinitionError(
            f"{what} has the positional-only parameter {name[1:]!r}: inputs are passed by name. Remove the '/'."
        )
    raise InvalidDefinitionError(
        f"{what} takes {name}: an op's inputs have names. Use a parameter per input, or **kwargs together with ins=."
    )


# ---- inputs ----------------------------------------------------------------------------------------------


def inputs_of(shape: FunctionShape, declared: Mapping[str, In] | None, what: str) -> dict[str, In]:
    """In the order of the function's parameters, which is that of a call by position; then what carries no value or
    comes by ``**kwargs``, as it was declared.
    """
    declared = declared or {}
    found: dict[str, In] = {}
    for name, parameter in shape.inputs.items():
        check_name(name, f"an input of {what}")
        if name in declared:
            found[name] = _declared_input(name, declared[name], shape, what)
        else:
            found[name] = IN.filled(_type_of(parameter, what), parameter.default, None)
    for name, port in declared.items():
        if name not in found:
            found[check_name(name, f"an input of {what}")] = _declared_input(name, port, shape, what)
    return found


def _declared_input(name: str, port: Any, shape: FunctionShape, what: str) -> In:
    if not isinstance(port, In):
        wrong = "In without parentheses" if port is In else repr(port)
        raise InvalidDefinitionError(f"The input {name!r} of {what} is declared as {wrong}: use In(...).")
    parameter = shape.inputs.get(name)
    if port.type is Nothing:
        if parameter is not None:
            raise InvalidDefinitionError(
                f"The input {name!r} of {what} is Nothing: it carries no value, so the function must not have a "
                "parameter of that name. Remove the parameter."
            )
        return port
    if parameter is not None:
        return port.filled(_type_of(parameter, what), parameter.default, None)
    if not shape.takes_any:
        raise InvalidDefinitionError(
            f"{what} declares the input {name!r}, but its function has no such parameter.{nearest(name, shape.inputs)} "
            f"Its parameters are: {listed(shape.inputs)}. Add it, or declare the input as In(Nothing)."
        )
    return port


def _type_of(parameter: Parameter, what: str) -> Type:
    if parameter.annotation in (ABSENT, None, type(None)):
        return AnyType  # a parameter annotated with None is given None: an op that gives nothing may feed it
    return resolve_type(parameter.annotation, f"{parameter.name!r} of {what}")


# ---- outputs ---------------------------------------------------------------------------------------------


def outputs_of(shape: FunctionShape, declared: Out | Mapping[str, Out] | None, what: str) -> dict[str, Out]:
    if declared is None:
        declared = DYNAMIC_OUT if _gives_dynamic_outputs(shape.returns) else OUT
    if isinstance(declared, Out):
        return {"result": declared.filled(_result_type(shape.returns, declared.is_dynamic, what), None)}
    if isinstance(declared, Mapping):
        return _several(shape, declared, what)
    wrong = f"{declared.__name__} without parentheses" if isinstance(declared, type) else repr(declared)
    raise InvalidDefinitionError(
        f"The outputs of {what} are declared as {wrong}: use Out(...), DynamicOut(...) or a dict of them."
    )


def _several(shape: FunctionShape, declared: Mapping[str, Out], what: str) -> dict[str, Out]:
    types = _types_by_position(shape.returns, len(declared), what)
    found: dict[str, Out] = {}
    for position, (name, out) in enumerate(declared.items()):
        check_name(name, f"an output of {what}")
        if not isinstance(out, Out):
            wrong = f"{out.__name__} without parentheses" if isinstance(out, type) else repr(out)
            raise InvalidDefinitionError(
                f"The output {name!r} of {what} is declared as {wrong}: use Out(...) or DynamicOut(...)."
            )
        annotation = types[position] if types else ABSENT
        found[name] = out.filled(_result_type(annotation, out.is_dynamic, what), None)
    return found


def _types_by_position(returns: Any, count: int, what: str) -> tuple[Any, ...]:
    if count == 1:
        return (returns,)
    parts = get_args(returns)
    if isinstance(returns, type) and issubclass(returns, int | float | str | bytes | dict | list | set):
        raise InvalidDefinitionError(
            f"{what} declares {count} outputs, but is annotated to return {returns.__name__}: return a tuple, or yield "
            "an Output for each."
        )
    if get_origin(returns) is not tuple or Ellipsis in parts:
        return ()
    if len(parts) != count:
        raise InvalidDefinitionError(
            f"{what} declares {count} outputs, but its return annotation is a tuple of {len(parts)}: make them match."
        )
    return parts


def _gives_dynamic_outputs(annotation: Any) -> bool:
    """``DynamicOutput[int]``, or a list of them."""
    listed_part = get_args(annotation)[:1] if get_origin(annotation) is list else (annotation,)
    return any((get_origin(part) or part) is DynamicOutput for part in listed_part)


def _result_type(annotation: Any, dynamic: bool, what: str) -> Type:
    """Of one output, from what the function is annotated to return for it."""
    origin = get_origin(annotation)
    if annotation is ABSENT or origin in _GENERATORS or annotation in (Output, DynamicOutput):
        return AnyType
    if origin is Output:
        return resolve_type(get_args(annotation)[0], what)
    parts: list[Any] = [annotation] if origin is DynamicOutput else list(get_args(annotation))
    if any((get_origin(part) or part) is DynamicOutput for part in parts):
        if not dynamic:
            raise InvalidDefinitionError(
                f"{what} is annotated to return DynamicOutput, but it does not declare a dynamic output: add "
                "out=DynamicOut()."
            )
        values = get_args(parts[0])
        return resolve_type(values[0], what) if values else AnyType
    return AnyType if dynamic else resolve_type(annotation, what)


IN: Final = In()
OUT: Final = Out()
DYNAMIC_OUT: Final = DynamicOut()


def where(function: Any, kind: str, name: str) -> str:
    """``Op 'add_one' (jobs.py:12)``."""
    place = place_of(inspect.unwrap(function)) if callable(function) else ""
    return f"{kind} {name!r} ({place})" if place else f"{kind} {name!r}"
