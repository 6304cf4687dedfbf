"""Composition: what calls of ops and graphs mean while the function of a job or graph runs to show how it is wired.

A call adds a :class:`~opgrid.definitions.nodes.Node` and gives handles to its outputs; a handle that is passed on
becomes a wire. Whatever does not fit is refused at the call, so that the traceback ends at the user's own line.

Each node has a :class:`~opgrid.definitions.scopes.Scope`: the fan-outs that it is mapped over. An op whose inputs stand
in scopes of which none is inside the other could not be run any number of times that makes sense, and is refused as
well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from opgrid.contracts.structure import Delivery, FanIn, FromGraphInput, FromNode, Wire
from opgrid.definitions.hooks import HookDefinition
from opgrid.definitions.names import place_of_caller, warn_caller
from opgrid.definitions.nodes import CURRENT, NO_HOOKS, NO_TAGS, Invocable, Node, PendingInvocation
from opgrid.definitions.retry import RetryPolicy
from opgrid.definitions.scopes import INPUT_KEY, ROOT, Scope, Shape, joined
from opgrid.errors import InvalidDefinitionError, InvalidInvocationError, InvariantViolationError, listed, nearest

# ---- handles ---------------------------------------------------------------------------------------------


class Handle:
    """An output of a node, or an input of the graph, on its way into another node."""

    __slots__ = ("_key", "_of_map", "_owner", "_scope", "_wire")

    def __init__(
        self,
        owner: Composition,
        wire: FromNode | FromGraphInput,
        scope: Scope,
        key: str | None = None,
        of_map: bool = False,
    ) -> None:
        self._owner = owner
        self._wire = wire
        self._scope = scope
        #: of the fan-out, for a dynamic output that is not yet mapped or collected
        self._key = key
        #: whether ``map`` gave it, which can be mapped again, though it may not depend on the values of the fan-out
        self._of_map = of_map

    def map(self, fn: Callable[[Any], Any]) -> Any:
        """Calls ``fn`` once, with a handle that stands for each value; what it calls runs once per mapping key."""
        if not callable(fn):
            self._refuse(f"map takes an op, a graph or a function, not {fn!r}")
        return fn_result(fn(self.each()), self)

    def collect(self) -> Handle:
        """All values of the innermost fan-out, as a list."""
        wire, scope, key = self._wire, self._scope, self._key
        if wire.delivery is Delivery.COLLECTED:
            self._refuse("it is collected already: pass it to an op, and collect the outputs of that op")
        if key is None and isinstance(wire, FromGraphInput) and wire.delivery is Delivery.WHOLE:
            self._owner.used(wire.name, "dynamic")
        elif key is None:
            if not scope.keys:
                self._refuse(
                    "it is not dynamic and not mapped, so there is nothing to collect. Declare it as DynamicOut()"
                )
            scope = scope.outside()
        return Handle(self._owner, delivered(wire, Delivery.COLLECTED), scope)

    @property
    def is_dynamic(self) -> bool:
        """Whether it still has to be mapped or collected."""
        return self._key is not None

    def each(self) -> Handle:
        """Stands for each value of the fan-out."""
        if self._wire.delivery is Delivery.COLLECTED:
            self._refuse("it is collected: it is one list. Map before you collect")
        if self._key is not None:
            return Handle(self._owner, delivered(self._wire, Delivery.MAPPED), self._scope.inside(self._key))
        if self._may_be_dynamic():
            return Handle(self._owner, delivered(self._wire, Delivery.MAPPED), self._opened_by_input())
        if not self._scope.keys and not self._of_map:
            self._refuse("it is not dynamic. Declare it as DynamicOut()")
        return self

    def _may_be_dynamic(self) -> bool:
        """An input of a graph is what is passed for it."""
        return isinstance(self._wire, FromGraphInput) and self._wire.delivery is Delivery.WHOLE

    def _opened_by_input(self) -> Scope:
        assert isinstance(self._wire, FromGraphInput)
        self._owner.used(self._wire.name, "dynamic")
        return Scope(frozenset(), (INPUT_KEY + self._wire.name,))

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidDefinitionError(f"{self._owner.at()}: {self._named()} cannot be used like this: {why}.")

    def _named(self) -> str:
        match self._wire:
            case FromNode(node, output):
                return f"output {output!r} of {node!r}"
            case FromGraphInput(name):
                return f"input {name!r}"

    # ---- what is no way to use it, with what is -----------------------------------------------------------

    def _too_late(self, method: str) -> NoReturn:
        raise InvariantViolationError(
            f"{self._owner.at()}: .{method}() came after the call that made {self._named()}. It has to come before: "
            f"op.{method}(...)(inputs)."
        )

    def alias(self, _: Any) -> NoReturn:
        self._too_late("alias")

    def tag(self, _: Any) -> NoReturn:
        self._too_late("tag")

    def with_hooks(self, _: Any) -> NoReturn:
        self._too_late("with_hooks")

    def with_retry_policy(self, _: Any) -> NoReturn:
        self._too_late("with_retry_policy")

    def __iter__(self) -> NoReturn:
        self._refuse(
            "it is no sequence while the graph is composed. To unpack several outputs, declare them with out={...}; to "
            "run "
            "something for each of its values, declare DynamicOut() and use .map(...)"
        )

    def __getitem__(self, _: Any) -> NoReturn:
        self._refuse(
            "there is no value to look into while the graph is composed. Do it in an op, or declare several outputs "
            "with out={...}"
        )

    def __repr__(self) -> str:
        return f"<{self._named()} of {self._owner.described()}>"


def delivered(wire: FromNode | FromGraphInput, delivery: Delivery) -> FromNode | FromGraphInput:
    if isinstance(wire, FromNode):
        return FromNode(wire.node, wire.output, delivery)
    return FromGraphInput(wire.name, delivery)


def fn_result(result: Any, mapped: Handle) -> Any:
    """What the function given to ``map`` returned; handles, or nothing."""
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, tuple | list) else [result]
    for part in parts:
        if part is None or isinstance(part, Handle) or (isinstance(part, tuple | list | dict) and part is not result):
            continue
        hint = " Did you forget the parentheses?" if isinstance(part, Invocable | PendingInvocation) else ""
        mapped._refuse(
            f"the function given to map returned {part!r}; it has to return outputs of ops, or nothing.{hint}"
        )
    return given_by_map(result)


def given_by_map(result: Any) -> Any:
    if isinstance(result, Handle):
        return Handle(result._owner, result._wire, result._scope, result._key, of_map=True)
    if isinstance(result, dict):
        return {name: given_by_map(part) for name, part in result.items()}
    if isinstance(result, tuple) and hasattr(result, "_make"):
        return result._make(given_by_map(part) for part in result)
    if isinstance(result, tuple | list):
        return type(result)(given_by_map(part) for part in result)
    return result


# ---- the composition -------------------------------------------------------------------------------------


class Composition:
    """The nodes of one graph while they are being added."""

    __slots__ = ("_counts", "definitions", "kind", "location", "meetings", "name", "nodes", "uncalled", "uses")

    def __init__(self, kind: str, name: str, location: str) -> None:
        self.kind = kind
        self.name = name
        self.location = location
        self.nodes: dict[str, Node] = {}
        self.definitions: dict[str, Invocable] = {}  #: by name
        self.uses: dict[str, str] = {}  #: of the graph's inputs
        self.meetings: set[Scope] = set()
        self.uncalled: dict[PendingInvocation, None] = {}  #: that the function made and did not call
        self._counts: dict[str, int] = {}

    def run(self, function: Callable[..., Any], inputs: Iterable[str]) -> Any:
        """Calls the function of the graph with handles for its inputs, and gives what it returned."""
        token = CURRENT.set(self)
        try:
            returned = function(**{name: self.input(name) for name in inputs})
        finally:
            CURRENT.reset(token)
        if self.uncalled:
            self._warn_of_uncalled()
        return returned

    def _warn_of_uncalled(self) -> None:
        what = ", ".join(sorted(each.described() for each in self.uncalled))
        warn_caller(
            f"{self.described()} mentions without calling it, so that it does not run: {what}. Call it with its "
            "inputs, op.alias(...)(inputs), or take it out."
        )

    def input(self, name: str) -> Handle:
        return Handle(self, FromGraphInput(name), Scope(frozenset((name,)), ()))

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
        """What a call gives: one handle, a named tuple of them, or None."""
        ins = definition.ins
        if len(args) > len(ins):
            self._too_many(definition, len(args))
        given = dict(zip(ins, args, strict=False))
        for name, value in kwargs.items():
            if name in given or name not in ins:
                self._no_such_input(definition, name)
            given[name] = value
        handles = self.add(definition, given, alias, tags, hooks, retry)
        if len(handles) == 1:
            (handle,) = handles.values()
            return handle
        return definition.outputs_tuple()(*handles.values()) if handles else None

    def add(
        self,
        definition: Invocable,
        given: Mapping[str, Any],
        alias: str | None = None,
        tags: dict[str, str] = NO_TAGS,
        hooks: frozenset[HookDefinition] = NO_HOOKS,
        retry: RetryPolicy | None = None,
    ) -> dict[str, Handle]:
        """A node, with handles to its outputs by name."""
        name = self._name(definition, alias)
        shape = definition.shape
        wires: dict[str, Wire] = {}
        scope = ROOT
        for input_name, value in given.items():
            if value.__class__ is Handle:
                wire, its = value._wire, value._scope
                plain = wire.__class__ is FromNode and shape is None and value._owner is self and value._key is None
                if not plain:
                    self._check_wire(definition, shape, input_name, value)
                wires[input_name] = wire
            else:
                wires[input_name], its = self._list(definition, input_name, value)
            if its is not scope:
                inner = joined(scope, its)
                if inner is None:
                    self._unrelated(definition, input_name, given)
                scope = inner
        self.nodes[name] = Node(name, definition, wires, tags, hooks, retry)
        if shape is not None:
            return self._graph_outputs(name, definition, shape, given)
        if scope.bases and (len(scope.bases) > 1 or scope.keys):
            self.meetings.add(scope)
        handles: dict[str, Handle] = {}
        for output, out in definition.outs.items():
            key = f"{name}.{output}" if out.is_dynamic else None
            handles[output] = Handle(self, FromNode(name, output), scope, key)
        return handles

    def _check_wire(self, definition: Invocable, shape: Shape | None, name: str, value: Handle) -> None:
        """Of what is not plainly an output of a node of this graph, passed to an op."""
        if value._owner is not self:
            self._foreign(definition, name, value)
        if shape is not None:
            self._check_use(definition, shape, name, value)
        elif value._key is not None:
            self._unmapped(definition, name, value)
        wire = value._wire
        if wire.__class__ is FromGraphInput and wire.delivery is Delivery.WHOLE:
            self.used(wire.name, "value" if shape is None else shape.uses.get(name, "value"))

    def used(self, name: str, use: str) -> None:
        """An input of this graph is taken as a value, or as something that is dynamic."""
        before = self.uses.setdefault(name, use)
        if before != use:
            raise InvalidDefinitionError(
                f"{self.at()}: input {name!r} is mapped or collected in one place and taken as a value in another. "
                f"What is passed for it is either dynamic or not: use two inputs."
            )

    def owns(self, value: object) -> bool:
        return isinstance(value, Handle) and value._owner is self

    # ---- names --------------------------------------------------------------------------------------------

    def _name(self, definition: Invocable, alias: str | None) -> str:
        called = definition.name
        known = self.definitions.setdefault(called, definition)
        if known is not definition:
            raise InvalidDefinitionError(
                f"{self.at()}: there are two different definitions named {called!r}: {known.described()} and "
                f"{definition.described()}. Give one of them another name with name=."
            )
        if alias is not None:
            if alias in self.nodes:
                raise InvalidDefinitionError(
                    f"{self.at()}: {definition.described()} invoked the same node twice: there is a node {alias!r} "
                    "already. Choose another alias."
                )
            return alias
        if called not in self.nodes:
            return called
        number = self._counts.get(called, 1) + 1
        while f"{called}_{number}" in self.nodes:
            number += 1
        self._counts[called] = number
        return f"{called}_{number}"

    def described(self) -> str:
        return f"@{self.kind} {self.name!r} ({self.location})" if self.location else f"{self.kind} {self.name!r}"

    def at(self) -> str:
        """For errors: this graph, and the line of the call."""
        return f"In {self.described()}, at {place_of_caller()}"

    # ---- graphs inside graphs -----------------------------------------------------------------------------

    def _check_use(self, definition: Invocable, shape: Shape, name: str, value: Handle) -> None:
        wants_dynamic = shape.uses.get(name) == "dynamic"
        is_input = value._may_be_dynamic()
        if value._key is not None and not wants_dynamic:
            self._unmapped(definition, name, value)
        if wants_dynamic and value._key is None and not is_input:
            raise InvalidDefinitionError(
                f"{self.at()}: {definition.described()} maps or collects its input {name!r}, but {value._named()} is "
                "not dynamic. Pass a dynamic output itself, neither mapped nor collected."
            )

    def _graph_outputs(
        self, node: str, definition: Invocable, shape: Shape, given: Mapping[str, Any]
    ) -> dict[str, Handle]:
        for meeting in shape.meetings:
            found = self._seen_from_here(meeting, node, given)
            if found is None:
                self._unrelated(definition, next(iter(given), ""), given)
            if found.bases and (len(found.bases) > 1 or found.keys):
                self.meetings.add(found)
        handles: dict[str, Handle] = {}
        for name, output in shape.outputs.items():
            scope = self._seen_from_here(output.scope, node, given)
            if scope is None:
                self._unrelated(definition, next(iter(given), ""), given)
            key = output.key
            if key is not None and key.startswith(INPUT_KEY):
                passed = given.get(key[len(INPUT_KEY) :])
                key = _key_of(passed) if isinstance(passed, Handle) else key
            elif key is not None:
                key = f"{node}/{key}"
            handles[name] = Handle(self, FromNode(node, name), scope, key)
        return handles

    def _seen_from_here(self, inner: Scope, node: str, given: Mapping[str, Any]) -> Scope | None:
        """A scope inside a graph, as a scope of this one."""
        found: Scope | None = ROOT
        for base in inner.bases:
            found = None if found is None else joined(found, self._scope_of(given.get(base)))
        for key in inner.keys:
            if found is None:
                return None
            if not key.startswith(INPUT_KEY):
                found = found.inside(f"{node}/{key}")
                continue
            passed = given.get(key[len(INPUT_KEY) :])
            if isinstance(passed, Handle):
                found = joined(found, passed._scope.inside(_key_of(passed)))
        return found

    def _scope_of(self, given: Any) -> Scope:
        if isinstance(given, Handle):
            return given._scope
        found = ROOT
        for item in given or ():
            found = joined(found, item._scope) or found
        return found

    # ---- lists --------------------------------------------------------------------------------------------

    def _list(self, definition: Invocable, name: str, value: Any) -> tuple[Wire, Scope]:
        if not isinstance(value, list):
            self._no_output(definition, name, value)
        items: list[FromNode | FromGraphInput] = []
        scope = ROOT
        for number, item in enumerate(value):
            place = f"{name}[{number}]"
            if not isinstance(item, Handle):
                self._no_output(definition, place, item)
            if item._owner is not self:
                self._foreign(definition, place, item)
            if item._key is not None:
                self._unmapped(definition, place, item)
            if item._wire.delivery is Delivery.COLLECTED:
                raise InvalidDefinitionError(
                    f"{self.at()}: {definition.described()} got a collected output inside the list for input "
                    f"{name!r}. Collect gives a list by itself: pass it as the whole input, or join the two lists in "
                    "an op."
                )
            if isinstance(item._wire, FromGraphInput) and item._wire.delivery is Delivery.WHOLE:
                self.used(item._wire.name, "value")
            inner = joined(scope, item._scope)
            if inner is None:
                self._unrelated(definition, name, {str(i): each for i, each in enumerate(value)})
            scope = inner
            items.append(item._wire)
        return FanIn(tuple(items)), scope

    # ---- what cannot be -----------------------------------------------------------------------------------

    def _too_many(self, definition: Invocable, count: int) -> NoReturn:
        ins = definition.ins
        takes = f"{len(ins)} input{'' if len(ins) == 1 else 's'}"
        raise InvalidDefinitionError(
            f"{self.at()}: {definition.described()} has {takes} ({listed(list(ins))}), but it was called with {count}."
        )

    def _no_such_input(self, definition: Invocable, name: str) -> NoReturn:
        if name in definition.ins:
            raise InvalidInvocationError(
                f"{self.at()}: {definition.described()} got its input {name!r} twice, by position and by name."
            )
        raise InvalidDefinitionError(
            f"{self.at()}: {definition.described()} has no input {name!r}.{nearest(name, definition.ins)} "
            f"Its inputs are: {listed(list(definition.ins))}."
        )

    def _no_output(self, definition: Invocable, name: str, value: Any) -> NoReturn:
        call = f"{self.at()}: {definition.described()} got, for its input {name!r},"
        if isinstance(value, Invocable | PendingInvocation):
            what = value.definition if isinstance(value, PendingInvocation) else value
            raise InvalidDefinitionError(
                f"{call} {what.described()} itself instead of its output. Did you forget parentheses? {what.name}(...)"
            )
        fields = getattr(value, "_fields", None)
        if fields is not None and isinstance(value, tuple):
            raise InvalidDefinitionError(
                f"{call} all outputs of a node at once. Choose one of them by its name: {listed(list(fields))}."
            )
        if isinstance(value, tuple):
            raise InvalidDefinitionError(
                f"{call} a tuple. Pass one output, or a list of outputs to have them gathered in one input."
            )
        if value is None:
            raise InvalidDefinitionError(
                f"{call} None. Leave the argument out where there is nothing to pass; an op that declares no outputs "
                "gives None."
            )
        raise InvalidDefinitionError(
            f"{call} the constant {value!r}: only outputs of ops and inputs of the graph can be passed here. Put "
            "constants into the config, into a default value, or return them from an op."
        )

    def _foreign(self, definition: Invocable, name: str, value: Handle) -> NoReturn:
        raise InvalidDefinitionError(
            f"{self.at()}: {definition.described()} got, for its input {name!r}, {value._named()} of another graph, "
            f"{value._owner.described()}. Pass it through an input of this graph."
        )

    def _unmapped(self, definition: Invocable, name: str, value: Handle) -> NoReturn:
        raise InvalidDefinitionError(
            f"{self.at()}: {definition.described()} got the dynamic {value._named()} for its input {name!r}. Use "
            f".map({definition.name}) "
            f"to run it for each value, or .collect() to get all values as one list."
        )

    def _unrelated(self, definition: Invocable, name: str, given: Mapping[str, Any]) -> NoReturn:
        scopes = {each: self._scope_of(value) for each, value in given.items()}
        mapped = "; ".join(f"{each!r} over {scope}" for each, scope in scopes.items() if scope.keys or scope.bases)
        raise InvalidDefinitionError(
            f"{self.at()}: {definition.described()} takes inputs of several dynamic outputs that are not inside each "
            f"other ({mapped or name}), so it is not said how often it should run. Collect all but one of them "
            "first, or map one inside the function that is mapped over the other."
        )


def _key_of(handle: Handle) -> str:
    """Of the fan-out that a dynamic handle opens."""
    if handle._key is not None:
        return handle._key
    assert isinstance(handle._wire, FromGraphInput)
    return INPUT_KEY + handle._wire.name
