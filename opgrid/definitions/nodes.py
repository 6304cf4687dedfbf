"""What stands in a graph: nodes, and the ops and graphs whose invocations they are."""

from __future__ import annotations

import sys
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

from opgrid.contracts.structure import FanIn, FromGraphInput, FromNode, NodeInfo, Wire
from opgrid.contracts.tags import definition_tags, tags_of
from opgrid.definitions.hooks import HookDefinition, check_hooks
from opgrid.definitions.names import check_name, is_name
from opgrid.definitions.ports import In
from opgrid.definitions.retry import RetryPolicy, check_retry_policy
from opgrid.definitions.scopes import Shape
from opgrid.errors import InvalidInvocationError

if TYPE_CHECKING:
    from opgrid.definitions.graph import GraphDefinition
    from opgrid.definitions.job import JobDefinition
    from orchestrator.services.results import ExecuteInProcessResult

#: What nothing was said about; shared by all nodes.
NO_TAGS: Final[dict[str, str]] = {}
NO_HOOKS: Final[frozenset[HookDefinition]] = frozenset()


class Composing(Protocol):
    """A graph that is under way: its function runs, and whatever it calls becomes a node."""

    uncalled: dict[PendingInvocation, None]  #: that the function made and did not call

    def invoke(
        self,
        definition: Invocable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        alias: str | None = None,
        tags: dict[str, str] = NO_TAGS,
        hooks: frozenset[HookDefinition] = NO_HOOKS,
        retry: RetryPolicy | None = None,
    ) -> Any:
        """What the call gives."""

    def at(self) -> str:
        """For errors: the graph, and the line of the call."""


#: Set while its function runs.
CURRENT: ContextVar[Composing | None] = ContextVar("opgrid_composition", default=None)


def current() -> Composing | None:
    """The one that is under way here."""
    return CURRENT.get()


class Invocable:
    """The base of ops and graphs: both can stand in a graph."""

    kind: str = "op"
    is_graph: bool = False
    name: str
    location: str
    ins: Mapping[str, In]
    outs: Mapping[str, Any]
    tags: dict[str, str]
    _outputs: type[tuple[Any, ...]] | None = None

    def alias(self, name: str) -> PendingInvocation:
        """The same under another name, for the next call."""
        return PendingInvocation(self, name if is_name(name) else _alias(name, self))

    def tag(self, tags: Mapping[str, Any] | None) -> PendingInvocation:
        """With more tags, for the next call."""
        return PendingInvocation(self).tag(tags)

    def with_hooks(self, hook_defs: Iterable[HookDefinition]) -> Any:
        """With hooks, for the next call."""
        return PendingInvocation(self).with_hooks(hook_defs)

    def with_retry_policy(self, retry_policy: RetryPolicy) -> PendingInvocation:
        """With a retry policy that goes before the definition's own, for the next call."""
        return PendingInvocation(self).with_retry_policy(retry_policy)

    @property
    def shape(self) -> Shape | None:
        """How scopes go through it; None for an op, whose outputs are in the scope of its inputs."""
        return None

    def outputs_tuple(self) -> type[tuple[Any, ...]]:
        """A named tuple class with the names of the outputs."""
        if self._outputs is None:
            self._outputs = _named_tuple(f"{self.name}_outputs", list(self.outs))
        return self._outputs

    def described(self) -> str:
        """``op 'add_one' (jobs.py:12)``."""
        return f"{self.kind} {self.name!r} ({self.location})" if self.location else f"{self.kind} {self.name!r}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def _named_tuple(name: str, fields: list[str]) -> type[tuple[Any, ...]]:
    make: Any = namedtuple
    made: type[tuple[Any, ...]] = make(name, fields, rename=True)
    return made


class PendingInvocation:
    """An op or graph with what was said about its next call."""

    __slots__ = ("_alias", "_definition", "_hooks", "_retry", "_tags")

    def __init__(
        self,
        definition: Invocable,
        alias: str | None = None,
        tags: dict[str, str] = NO_TAGS,
        hooks: frozenset[HookDefinition] = NO_HOOKS,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._definition = definition
        self._alias = alias
        self._tags = tags
        self._hooks = hooks
        self._retry = retry
        composition = CURRENT.get()
        if composition is not None:
            composition.uncalled[self] = None

    def alias(self, name: str) -> PendingInvocation:
        alias = _alias(name, self._definition)
        return self._then(PendingInvocation(self._definition, alias, self._tags, self._hooks, self._retry))

    def tag(self, tags: Mapping[str, Any] | None) -> PendingInvocation:
        what = f"an invocation of {self._definition.described()}"
        more = {**self._tags, **definition_tags(tags_of(tags, what), what)}
        return self._then(PendingInvocation(self._definition, self._alias, more, self._hooks, self._retry))

    def with_hooks(self, hook_defs: Iterable[HookDefinition]) -> PendingInvocation:
        more = self._hooks | check_hooks(hook_defs, f"an invocation of {self._definition.described()}")
        return self._then(PendingInvocation(self._definition, self._alias, self._tags, more, self._retry))

    def with_retry_policy(self, retry_policy: RetryPolicy) -> PendingInvocation:
        policy = check_retry_policy(retry_policy, f"an invocation of {self._definition.described()}")
        return self._then(PendingInvocation(self._definition, self._alias, self._tags, self._hooks, policy))

    def _then(self, more: PendingInvocation) -> PendingInvocation:
        composition = CURRENT.get()
        if composition is not None:
            composition.uncalled.pop(self, None)
        return more

    # ---- of a graph: what it can become without a graph around it -------------------------------------------

    def to_job(
        self,
        name: str | None = None,
        *,
        tags: Mapping[str, Any] | None = None,
        hooks: Iterable[HookDefinition] | None = None,
        op_retry_policy: RetryPolicy | None = None,
        **options: Any,
    ) -> JobDefinition:
        """A job of the graph, with what was said here; the alias is its name. Options are those of a graph's."""
        return self._graph("to_job").to_job(
            name=name or self._alias,
            tags={**self._tags, **(tags or {})},
            hooks=self._hooks | frozenset(hooks or ()),
            op_retry_policy=op_retry_policy or self._retry,
            **options,
        )

    def execute_in_process(self, **options: Any) -> ExecuteInProcessResult:
        """Runs it as a job without anything else, in this process. Options are those of a graph's."""
        return (
            self._graph("execute_in_process")
            .to_job(name=self._alias, tags=self._tags, hooks=self._hooks, op_retry_policy=self._retry)
            .execute_in_process(**options)
        )

    def _graph(self, method: str) -> GraphDefinition:
        from opgrid.definitions.graph import GraphDefinition

        if isinstance(self._definition, GraphDefinition):
            return self._definition
        raise InvalidInvocationError(
            f"{self!r} has no .{method}(): only graphs can be run by themselves. Call the op with its inputs, or put "
            "it into a @job."
        )

    @property
    def definition(self) -> Invocable:
        return self._definition

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        composition = CURRENT.get()
        if composition is None:
            return self._definition(*args, **kwargs)
        if self in composition.uncalled:  # no call, as ``pop`` would be: there are very many of these
            del composition.uncalled[self]
        return composition.invoke(self._definition, args, kwargs, self._alias, self._tags, self._hooks, self._retry)

    def described(self) -> str:
        """``op 'add_one' (jobs.py:12) as 'again'``."""
        return self._definition.described() + (f" as {self._alias!r}" if self._alias else "")

    def __repr__(self) -> str:
        return f"<{self._definition.described()}, not yet called>"


def _alias(name: str, definition: Invocable) -> str:
    if not is_name(name):
        check_name(name, f"an invocation of {definition.described()}")
    return name


class Node:
    """One invocation of an op or a graph inside a graph."""

    __slots__ = ("definition", "hook_defs", "name", "own_tags", "retry_policy", "wires")

    def __init__(
        self,
        name: str,
        definition: Invocable,
        wires: dict[str, Wire],
        own_tags: dict[str, str],
        hook_defs: frozenset[HookDefinition],
        retry_policy: RetryPolicy | None,
    ) -> None:
        self.name = name
        self.definition = definition
        self.wires = wires
        self.own_tags = own_tags  #: of this invocation
        self.hook_defs = hook_defs
        self.retry_policy = retry_policy

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        self.wires = {name: interned(wire) for name, wire in self.wires.items()}

    @property
    def is_graph(self) -> bool:
        return self.definition.is_graph

    @property
    def tags(self) -> dict[str, str]:
        """Of the definition, then of this invocation."""
        return {**self.definition.tags, **self.own_tags} if self.own_tags else self.definition.tags

    def as_data(self) -> NodeInfo:
        return NodeInfo(
            self.name,
            self.definition.name,
            self.definition.is_graph,
            self.wires,
            self.own_tags,
            None if self.retry_policy is None else self.retry_policy.as_data(),
            tuple(sorted(hook.name for hook in self.hook_defs)) if self.hook_defs else (),
        )

    def __repr__(self) -> str:
        return f"Node({self.name!r}, {self.definition!r})"


def interned(wire: Wire) -> Wire:
    """The same with names that are the same objects everywhere.

    Defaults are left out of JSON when they are the very object, so that the hash of a pickled job would change.
    """
    match wire:
        case FanIn(items):
            return FanIn(tuple(interned_source(each) for each in items))
        case _:
            return interned_source(wire)


def interned_source(wire: FromNode | FromGraphInput) -> FromNode | FromGraphInput:
    return FromNode(wire.node, sys.intern(wire.output), wire.delivery) if isinstance(wire, FromNode) else wire
