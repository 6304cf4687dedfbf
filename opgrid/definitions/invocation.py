"""Calling an op outside of any job: its function runs with what it is given, as in a test."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from opgrid.config.env import with_references
from opgrid.definitions.annotations import signature_of
from opgrid.definitions.events import DynamicOutput, Output
from opgrid.errors import (
    InvalidInvocationError,
    InvariantViolationError,
    StepOutputNotFoundError,
    TypeCheckDidNotPass,
    listed,
    nearest,
)

if TYPE_CHECKING:
    from opgrid.definitions.op import OpDefinition

_NOT_GIVEN: Final = object()


def call_directly(op: OpDefinition, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What the function returns or yields, checked as a run would check it; a coroutine function gives a coroutine."""
    named = dict(kwargs)
    rest, context = _context(op, list(args), named)
    bind = getattr(context, "bind", None)
    if bind is not None:
        bind(op)
    _known(op, named)
    call: dict[str, Any] = {}
    _take_inputs(op, rest, named, call)
    _take_resources(op, context, named, call)
    _take_config(op, context, named, call)
    for name in op.signature.inputs:
        if name in call:
            _check(op, op.ins[name].type, call[name], f"input {name!r}", context)
    return _checked_result(op, op.signature.call(op.compute_fn, context, call), context)


# ---- what goes in ----------------------------------------------------------------------------------------


def _context(op: OpDefinition, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    name = op.signature.context
    given: Any = None
    if name is not None and name in kwargs:
        given = kwargs.pop(name)
    elif args and (name is not None or _looks_like_context(args[0])):
        given = args.pop(0)
    elif name is not None:
        raise InvalidInvocationError(
            f"{op.described()} takes a context, and none was given. Pass build_op_context() first, or None if it is "
            "not used."
        )
    if given is not None and not _looks_like_context(given):
        raise InvalidInvocationError(
            f"{op.described()} takes a context first, and got {given!r}. Pass build_op_context() before the inputs."
        )
    return args, given


def _known(op: OpDefinition, named: Mapping[str, Any]) -> None:
    known = [*op.ins, *op.signature.resources, *([op.signature.config] if op.signature.config else [])]
    for name in named:
        if name not in known:
            raise InvalidInvocationError(
                f"{op.described()} has no parameter {name!r}.{nearest(name, known)} It has: {listed(known)}."
            )


def _looks_like_context(value: Any) -> bool:
    return hasattr(value, "resources") and hasattr(value, "log")


def _take_inputs(op: OpDefinition, args: list[Any], named: dict[str, Any], call: dict[str, Any]) -> None:
    positions = [*op.signature.inputs]
    if op.signature.config is not None or op.signature.resources:
        positions = [name for name in signature_of(op.compute_fn).parameters if name != op.signature.context]
    if len(args) > len(positions):
        raise InvalidInvocationError(
            f"{op.described()} takes {len(positions)} arguments ({listed(positions)}), but got {len(args)}."
        )
    for name, value in zip(positions, args, strict=False):
        if name in named:
            raise InvalidInvocationError(f"{op.described()} got {name!r} twice, by position and by name.")
        named[name] = value
    for name, port in op.ins.items():
        value = named.pop(name, _NOT_GIVEN)
        if port.type.is_nothing:
            continue
        if value is not _NOT_GIVEN:
            call[name] = value
        elif port.has_default:
            call[name] = port.default_value
        else:
            raise InvalidInvocationError(f"{op.described()} needs a value for its input {name!r}, and none was given.")


def _take_resources(op: OpDefinition, context: Any, named: dict[str, Any], call: dict[str, Any]) -> None:
    for parameter, key in op.signature.resources.items():
        if parameter in named:
            call[parameter] = _read(named.pop(parameter))
        elif context is not None:
            call[parameter] = getattr(context.resources, key)
        else:
            raise InvalidInvocationError(
                f"{op.described()} needs the resource {key!r}: pass {parameter}=..., or a context from "
                "build_op_context(resources=...)."
            )


def _take_config(op: OpDefinition, context: Any, named: dict[str, Any], call: dict[str, Any]) -> None:
    parameter = op.signature.config
    if parameter is None:
        return
    if parameter in named:
        given = named.pop(parameter)
        is_to_load = op.config_field is not None and (isinstance(given, Mapping) or _waits(given))
        call[parameter] = _loaded(op, given) if is_to_load else given
    else:
        call[parameter] = _loaded(op, getattr(context, "op_config", None))
    note = getattr(context, "bind_config", None)
    if note is not None:
        note(call[parameter])


def _waits(given: Any) -> bool:
    if not hasattr(given, "model_fields_set"):
        return False
    from opgrid.config.env_in_models import holds_reference  # with pydantic, which not every job needs

    return holds_reference(given)


def _read(resource: Any) -> Any:
    if not _waits(resource):
        return resource
    from opgrid.definitions.configurable import with_variables_read

    return with_variables_read(resource)


def _loaded(op: OpDefinition, given: Any) -> Any:
    """What the op is to get, with the variables that it refers to read: there is no later place for that."""
    field = op.config_field
    if field is None:
        return given
    if given is None and (not field.is_required or field.fields()):
        given = {} if field.is_required else field.default()
    if given is None:
        raise InvalidInvocationError(
            f"{op.described()} takes config: pass {op.signature.config}=..., or a context from "
            "build_op_context(op_config=...)."
        )
    return field.load(with_references(given))


# ---- what comes out --------------------------------------------------------------------------------------


def _checked_result(op: OpDefinition, result: Any, context: Any) -> Any:
    if inspect.isgenerator(result):
        return _checked_items(op, result, context)
    if inspect.isasyncgen(result):
        return _checked_async_items(op, result, context)
    if inspect.iscoroutine(result):
        return _checked_later(op, result, context)
    return _checked_value(op, result, context)


async def _checked_later(op: OpDefinition, result: Any, context: Any) -> Any:
    return _checked_value(op, await result, context)


def _checked_items(op: OpDefinition, items: Iterator[Any], context: Any) -> Iterator[Any]:
    seen: set[tuple[str, str | None]] = set()
    for item in items:
        _check_item(op, item, seen, context)
        yield item
    _check_complete(op, {name for name, _ in seen})


async def _checked_async_items(op: OpDefinition, items: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    seen: set[tuple[str, str | None]] = set()
    async for item in items:
        _check_item(op, item, seen, context)
        yield item
    _check_complete(op, {name for name, _ in seen})


def _check_item(op: OpDefinition, item: Any, seen: set[tuple[str, str | None]], context: Any) -> None:
    if not isinstance(item, Output | DynamicOutput):
        return
    name = item.output_name
    if name not in op.outs:
        raise InvariantViolationError(
            f"{op.described()} yielded an output {name!r} that it does not declare.{nearest(name, op.outs)} Declared: "
            f"{listed(op.outs)}."
        )
    key = (name, item.mapping_key if isinstance(item, DynamicOutput) else None)
    if key in seen:
        raise InvariantViolationError(
            f"{op.described()} yielded its output {name!r} twice{f' for {key[1]!r}' if key[1] else ''}."
        )
    seen.add(key)
    _check(op, op.outs[name].type, item.value, f"output {name!r}", context)


def _check_complete(op: OpDefinition, given: set[str]) -> None:
    for name, out in op.outs.items():
        if out.is_required and not out.is_dynamic and not out.type.is_nothing and name not in given:
            raise StepOutputNotFoundError(f"{op.described()} did not yield its required output {name!r}.", "", name)


def _checked_value(op: OpDefinition, result: Any, context: Any) -> Any:
    outs = op.outs
    if len(outs) == 1:
        ((name, out),) = outs.items()
        if not out.is_dynamic:
            value = result.value if isinstance(result, Output) else result
            _check(op, out.type, value, f"output {name!r}", context)
        return result
    if not outs or (result is None and not any(out.is_required and not out.type.is_nothing for out in outs.values())):
        return result
    if not isinstance(result, tuple) or len(result) != len(outs):
        got = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"{result!r}"
        raise InvariantViolationError(
            f"{op.described()} has {len(outs)} outputs ({listed(outs)}), but it returned {got}."
        )
    for (name, out), item in zip(outs.items(), result, strict=True):
        if not out.is_dynamic:
            _check(op, out.type, item.value if isinstance(item, Output) else item, f"output {name!r}", context)
    return result


def _check(op: OpDefinition, type: Any, value: Any, place: str, context: Any) -> None:
    if type.is_any:
        return
    found = type.check(context, value)
    if not found.success:
        raise TypeCheckDidNotPass(
            f"{op.described()}, {place}: expected type {type.display_name!r}. {found.description or ''}".rstrip(),
            type.display_name,
            dict(found.metadata or {}),
        )
