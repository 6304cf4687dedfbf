"""Hooks: what is to be done once a step has succeeded, or failed for good."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias, overload

from opgrid.definitions.annotations import signature_of
from opgrid.definitions.names import check_name, place_of
from opgrid.errors import InvalidDefinitionError, InvalidInvocationError

HookFn: TypeAlias = Callable[[Any], Any]
HookKind: TypeAlias = Literal["success", "failure"]


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class HookDefinition:
    """A function of a HookContext; made with :func:`success_hook` or :func:`failure_hook`.

    Two of one name are the same hook.
    """

    __slots__ = ("description", "fn", "kind", "location", "name", "required_resource_keys")

    def __init__(
        self,
        name: str,
        fn: HookFn,
        kind: HookKind = "success",
        required_resource_keys: Iterable[str] | None = None,
        description: str | None = None,
    ) -> None:
        self.location = place_of(fn)
        self.name = check_name(name, "a hook", self.location)
        self.fn = _with_one_parameter(fn, name, self.location)
        self.kind: HookKind = kind
        self.required_resource_keys = frozenset(required_resource_keys or ())
        self.description = description

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """On a job or a graph, the same with this hook on all that is inside.

        With a hook context, the hook's own function.
        """
        from opgrid.definitions.graph import GraphDefinition
        from opgrid.definitions.job import JobDefinition

        if len(args) + len(kwargs) != 1:
            raise InvalidInvocationError(
                f"Hook {self.name!r} ({self.location}) takes one argument: a hook context, or the job or graph to put "
                "it on."
            )
        (given,) = (*args, *kwargs.values())
        if isinstance(given, JobDefinition | GraphDefinition):
            return given.with_hooks({self})
        return self.fn(given)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HookDefinition) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"HookDefinition({self.name!r}, {self.kind!r})"


@overload
def success_hook(hook_fn: HookFn) -> HookDefinition: ...
@overload
def success_hook(
    hook_fn: None = None, *, name: str | None = None, required_resource_keys: Iterable[str] | None = None
) -> Callable[[HookFn], HookDefinition]: ...
def success_hook(
    hook_fn: HookFn | None = None, *, name: str | None = None, required_resource_keys: Iterable[str] | None = None
) -> HookDefinition | Callable[[HookFn], HookDefinition]:
    """Makes a hook of a function: it is called with a HookContext after each step that succeeded.

    @success_hook(required_resource_keys={"slack"})
    def tell(context):
        context.resources.slack.send(f"{context.step_key} is done")
    """
    return _hook(hook_fn, "success", name, required_resource_keys)


@overload
def failure_hook(name: HookFn) -> HookDefinition: ...
@overload
def failure_hook(
    name: str | None = None, required_resource_keys: Iterable[str] | None = None
) -> Callable[[HookFn], HookDefinition]: ...
def failure_hook(
    name: HookFn | str | None = None, required_resource_keys: Iterable[str] | None = None
) -> HookDefinition | Callable[[HookFn], HookDefinition]:
    """Makes a hook of a function.

    It is called with a HookContext after each step that failed and is not tried again.
    """
    if callable(name):
        return _hook(name, "failure", None, required_resource_keys)
    return _hook(None, "failure", name, required_resource_keys)


def _hook(
    fn: HookFn | None, kind: HookKind, name: str | None, keys: Iterable[str] | None
) -> HookDefinition | Callable[[HookFn], HookDefinition]:
    def decorated(function: HookFn) -> HookDefinition:
        if not callable(function):
            raise InvalidDefinitionError(f"@{kind}_hook goes on a function, not on {function!r}.")
        called = name if name is not None else getattr(function, "__name__", f"{kind}_hook")
        return HookDefinition(called, function, kind, keys, inspect.getdoc(function))

    return decorated(fn) if fn is not None else decorated


def _with_one_parameter(fn: Any, name: str, location: str) -> HookFn:
    if not callable(fn) or isinstance(fn, type):
        raise InvalidDefinitionError(f"A hook has to be made of a function, not of {fn!r}.")
    parameters = signature_of(fn).parameters.values()
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in _VARIADIC]
    if len(needed) > 1 or not any(each.kind not in (each.KEYWORD_ONLY, each.VAR_KEYWORD) for each in parameters):
        raise InvalidDefinitionError(
            f"The function of hook {name!r} ({location}) takes {', '.join(needed) or 'nothing'}; it has to take one "
            "argument, a HookContext."
        )
    checked: HookFn = fn
    return checked


def check_hooks(hooks: Iterable[HookDefinition] | None, what: str) -> frozenset[HookDefinition]:
    if not hooks:
        return frozenset()
    found = frozenset(hooks)
    for each in found:
        if not isinstance(each, HookDefinition):
            raise InvalidDefinitionError(
                f"The hooks of {what} have to be made with @success_hook or @failure_hook; {each!r} is not."
            )
    return found
