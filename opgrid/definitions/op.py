"""Ops: Python functions that become steps."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Protocol, TypeVar, overload

from opgrid.contracts.structure import InputInfo, OpInfo, OutputInfo, TriggerRule
from opgrid.contracts.tags import definition_tags, tags_of
from opgrid.definitions.names import check_name, place_of
from opgrid.definitions.nodes import Invocable, current
from opgrid.definitions.ports import ABSENT, In, Out
from opgrid.definitions.retry import RetryPolicy, check_retry_policy
from opgrid.definitions.schemas import checked_schema
from opgrid.definitions.signature import (
    OpSignature,
    inputs_of,
    outputs_of,
    read_function,
    where,
    with_inputs_as_dict,
)
from opgrid.errors import InvalidConfigDefinitionError, InvalidDefinitionError, listed, nearest

if TYPE_CHECKING:
    from opgrid.config import ConfigField

P = ParamSpec("P")
R = TypeVar("R")


class OpDefinition(Invocable):
    """An op: a function with named inputs and outputs. Made by :func:`op`.

    Called inside a job or graph it becomes a node of it; called anywhere else it runs its function. One made by hand
    may have a function that takes ``(context, inputs)``: all inputs in one dict, as they are declared in ``ins``.

        def add_all(context, inputs):
            yield Output(sum(inputs.values()))

        add = OpDefinition(add_all, "add", ins={"a": In(int), "b": In(int)}, outs={"result": Out(int)})

    Where it is called by position, the inputs of such a function are in the order of their names.
    """

    kind = "op"
    is_graph = False
    #: ``(context, inputs)`` of an op made by hand; of one made by :func:`op`, a parameter ``inputs`` is an input.
    may_take_inputs_as_dict: ClassVar[bool] = True
    __name__: str
    __qualname__: str

    def __init__(
        self,
        compute_fn: Callable[..., Any],
        name: str | None = None,
        ins: Mapping[str, In] | None = None,
        outs: Mapping[str, Out] | Out | None = None,
        description: str | None = None,
        config_schema: Any = None,
        required_resource_keys: Iterable[str] | None = None,
        tags: Mapping[str, Any] | None = None,
        version: str | None = None,
        retry_policy: RetryPolicy | None = None,
        code_version: str | None = None,
        pool: str | None = None,
        timeout: float | None = None,
        trigger_rule: TriggerRule | str = TriggerRule.ALL_SUCCESS,
    ) -> None:
        called = name if name is not None else getattr(compute_fn, "__name__", "op")
        what = where(compute_fn, "Op", str(called))
        shape = read_function(compute_fn, what, self.may_take_inputs_as_dict)
        if self.may_take_inputs_as_dict:
            shape = with_inputs_as_dict(shape, ins)
        if shape.as_dict:
            ins = dict(sorted((ins or {}).items()))
        self.location = place_of(inspect.unwrap(compute_fn))
        self.name = check_name(called, "an op", self.location)
        self.compute_fn = compute_fn
        self.description = description if description is not None else inspect.getdoc(compute_fn)
        self.ins: dict[str, In] = inputs_of(shape, ins, what)
        self.outs: dict[str, Out] = outputs_of(shape, outs, what)
        self.config_schema = _config_of(config_schema, shape.config, what)
        self.required_resource_keys = self._resource_keys(required_resource_keys, shape.resources, what)
        self.tags = definition_tags(tags_of(tags, what), what)
        self.retry_policy = check_retry_policy(retry_policy, what)
        self.pool = _pool(pool, what)
        self.timeout = _timeout(timeout, what)
        self.trigger_rule = _trigger(trigger_rule, self.ins, what)
        self.code_version = code_version if code_version is not None else version
        values = tuple(name for name, port in self.ins.items() if not port.type.is_nothing)
        self.signature = OpSignature(
            shape.context, None if shape.config is None else shape.config.name, shape.resources, values, shape.as_dict
        )
        #: Of an op made by ``configured``: what it was made from, and the function that gives the inner config.
        self.base: OpDefinition | None = None
        self.config_fn: Callable[[Any], Any] | None = None

    def _resource_keys(self, given: Iterable[str] | None, parameters: Mapping[str, str], what: str) -> frozenset[str]:
        if isinstance(given, str):
            raise InvalidDefinitionError(f"required_resource_keys of {what} has to be a set: use {{{given!r}}}.")
        keys = {*(given or ()), *parameters.values()}
        for port in self.ins.values():
            keys |= port.type.required_resource_keys
            if port.type.loader is not None:
                keys |= port.type.loader.required_resource_keys
        for out in self.outs.values():
            keys |= out.type.required_resource_keys
        return frozenset(keys)

    @property
    def version(self) -> str | None:
        return self.code_version

    @cached_property
    def config_field(self) -> ConfigField | None:
        """What the config of this op has to be; None when it takes none."""
        if self.config_schema is None:
            return None
        from opgrid.config import as_field

        return as_field(self.config_schema)

    @cached_property
    def info(self) -> OpInfo:
        """This op as data."""
        ins = tuple(
            InputInfo(
                name,
                sys.intern(port.type.display_name),
                nothing=port.type.is_nothing,
                has_default=port.has_default,
                loadable=port.type.loader is not None,
                managed=port.input_manager_key is not None,
                description=port.description,
            )
            for name, port in self.ins.items()
        )
        outs = tuple(
            OutputInfo(
                name,
                sys.intern(out.type.display_name),
                out.type.is_nothing,
                out.is_dynamic,
                out.is_required,
                sys.intern(out.io_manager_key),
                out.description,
            )
            for name, out in self.outs.items()
        )
        return OpInfo(
            self.name,
            ins,
            outs,
            self.description,
            self.config_schema is not None,
            tuple(sorted(self.required_resource_keys)),
            None if self.retry_policy is None else self.retry_policy.as_data(),
            self.tags,
            self.pool,
            self.timeout,
            self.trigger_rule,
        )

    def configured(
        self,
        config_or_config_fn: Any,
        name: str | None = None,
        config_schema: Any = None,
        description: str | None = None,
    ) -> OpDefinition:
        """The same op under another name, with its config given, or made by a function from a smaller one."""
        from opgrid.definitions.configured import configured_copy

        return configured_copy(self, config_or_config_fn, name, config_schema, description)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        composition = current()
        if composition is not None:
            return composition.invoke(self, args, kwargs)
        from opgrid.definitions.invocation import call_directly

        return call_directly(self, args, kwargs)

    def __repr__(self) -> str:
        return f"OpDefinition({self.name!r})"


class TypedOp(OpDefinition, Generic[P, R]):
    """What :func:`op` makes: keeps the types of the function, so that calls are checked where they can be."""

    may_take_inputs_as_dict = False

    if TYPE_CHECKING:

        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class _WithOptions(Protocol):
    """``@op(...)`` with options, and outputs as the annotation says."""

    @overload
    def __call__(self, compute_fn: Callable[P, Coroutine[Any, Any, R]]) -> TypedOp[P, R]: ...
    @overload
    def __call__(self, compute_fn: Callable[P, R]) -> TypedOp[P, R]: ...


class _WithOutputs(Protocol):
    """``@op(out=...)``: what a call gives depends on ``out``, so it is not typed."""

    def __call__(self, compute_fn: Callable[P, Any]) -> TypedOp[P, Any]: ...


@overload
def op(compute_fn: Callable[P, Coroutine[Any, Any, R]]) -> TypedOp[P, R]: ...
@overload
def op(compute_fn: Callable[P, R]) -> TypedOp[P, R]: ...
@overload
def op(
    compute_fn: None = None,
    *,
    name: str | None = ...,
    description: str | None = ...,
    ins: Mapping[str, In] | None = ...,
    out: Out | Mapping[str, Out],
    config_schema: Any = ...,
    required_resource_keys: Iterable[str] | None = ...,
    tags: Mapping[str, Any] | None = ...,
    version: str | None = ...,
    retry_policy: RetryPolicy | None = ...,
    code_version: str | None = ...,
    pool: str | None = ...,
    timeout: float | None = ...,
    trigger_rule: TriggerRule | str = ...,
) -> _WithOutputs: ...
@overload
def op(
    compute_fn: None = None,
    *,
    name: str | None = ...,
    description: str | None = ...,
    ins: Mapping[str, In] | None = ...,
    out: None = ...,
    config_schema: Any = ...,
    required_resource_keys: Iterable[str] | None = ...,
    tags: Mapping[str, Any] | None = ...,
    version: str | None = ...,
    retry_policy: RetryPolicy | None = ...,
    code_version: str | None = ...,
    pool: str | None = ...,
    timeout: float | None = ...,
    trigger_rule: TriggerRule | str = ...,
) -> _WithOptions: ...
def op(
    compute_fn: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    ins: Mapping[str, In] | None = None,
    out: Out | Mapping[str, Out] | None = None,
    config_schema: Any = None,
    required_resource_keys: Iterable[str] | None = None,
    tags: Mapping[str, Any] | None = None,
    version: str | None = None,
    retry_policy: RetryPolicy | None = None,
    code_version: str | None = None,
    pool: str | None = None,
    timeout: float | None = None,
    trigger_rule: TriggerRule | str = TriggerRule.ALL_SUCCESS,
) -> Any:
    """Makes an op of a function. Parameters are inputs, except a leading ``context``, a ``config`` and resources.

    ``timeout`` is in seconds, from start to end of one attempt; ``pool`` names a limit on how many run at once.
    ``trigger_rule`` lets an op run although something above it failed: ``"all_done"`` for one that cleans up. Its
    inputs need defaults, for what then never comes.

        @op
        def add_one(arg: int) -> int:
            return arg + 1
    """

    def decorated(function: Callable[..., Any]) -> OpDefinition:
        made: TypedOp[..., Any] = TypedOp(
            function,
            name,
            ins,
            out,
            description,
            config_schema,
            required_resource_keys,
            tags,
            version,
            retry_policy,
            code_version,
            pool,
            timeout,
            trigger_rule,
        )
        update_wrapper(made, function, updated=())
        return made

    return decorated if compute_fn is None else decorated(compute_fn)


def _config_of(given: Any, parameter: Any, what: str) -> Any:
    if parameter is None:
        return checked_schema(given, what)
    if given is not None:
        raise InvalidDefinitionError(
            f"{what} has both config_schema= and a config parameter: keep the parameter, its annotation is the schema."
        )
    schema = Any if parameter.annotation is ABSENT else parameter.annotation
    if parameter.default is ABSENT:
        return schema
    from opgrid.config import Field  # with pydantic, which not every job needs

    try:
        return Field(schema, default_value=parameter.default)
    except InvalidConfigDefinitionError as error:
        raise InvalidConfigDefinitionError(f"{what}, its parameter {parameter.name!r}: {error}") from error


def _pool(pool: object, what: str) -> str | None:
    if pool is None or (isinstance(pool, str) and pool and not any(map(str.isspace, pool))):
        return pool
    raise InvalidDefinitionError(f"The pool of {what} has to be a name without spaces, not {pool!r}.")


def _timeout(timeout: object, what: str) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        raise InvalidDefinitionError(f"The timeout of {what} has to be a number of seconds above 0, not {timeout!r}.")
    return float(timeout)


def _trigger(rule: TriggerRule | str, ins: Mapping[str, In], what: str) -> TriggerRule:
    rules = [str(each) for each in TriggerRule]
    if rule not in rules:
        raise InvalidDefinitionError(
            f"The trigger_rule of {what} has to be one of {listed(rules)}, not {rule!r}.{nearest(str(rule), rules)}"
        )
    found = TriggerRule(rule)
    if found is not TriggerRule.ALL_SUCCESS:
        for name, port in ins.items():
            if not port.type.is_nothing and not port.has_default:
                raise InvalidDefinitionError(
                    f"{what} runs by the rule {found.value!r}, so that its input {name!r} may never come: give the "
                    "parameter a default, or make the input In(Nothing)."
                )
    return found
