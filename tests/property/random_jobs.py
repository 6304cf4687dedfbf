"""Jobs at random, made of real ops, and what must come of them: reckoned from the drawing alone, never from a plan."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from opgrid import DynamicOut, DynamicOutput, In, JobDefinition, Out, Output, graph, job, op

_M = 9973

# ---- the ops -------------------------------------------------------------------------------------------------------


@op
def source() -> int:
    return 7


@op
def mix(a: int, b: int) -> int:
    return (a * 31 + b * 17 + 5) % _M


@op(ins={"items": In(list[int])})
def join(items: list[int]) -> int:
    return (sum((at + 1) * each for at, each in enumerate(items)) + len(items)) % _M


@op(out=Out(int, is_required=False))
def maybe(a: int) -> Iterator[Output[int]]:
    if a % 3:
        yield Output((a + 1) % _M)


@op
def fragile(a: int) -> int:
    if a % 5 == 0:
        raise ValueError(f"{a} breaks")
    return (a * 3 + 1) % _M


@op(out=DynamicOut(int))
def spread(a: int) -> Iterator[DynamicOutput[int]]:
    for at in range(a % 4):
        yield DynamicOutput((a + at) % _M, mapping_key=f"k{at}")


@graph
def pair(a: int, b: int) -> int:
    return mix(mix(a, b), fragile(b))


@graph
def nest(a: int, b: int) -> int:
    return pair(maybe(a), pair(b, a))


_OF_TWO = ("mix", "pair", "nest")


# ---- the drawing ---------------------------------------------------------------------------------------------------


Scope = tuple[int, ...]  #: the spreads that a step is mapped over, the outermost first


@dataclass(frozen=True)
class Step:
    """One invocation."""

    name: str
    kind: str
    inputs: tuple[int, ...]  #: places of earlier steps
    scope: Scope = ()


@dataclass
class Drawing:
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int, size: int = 16) -> Drawing:
        rng = random.Random(seed)
        made = cls([Step("s0", "source", ())])
        while len(made.steps) < size:
            made.steps.append(made._draw(rng, len(made.steps)))
        return made

    def _draw(self, rng: random.Random, at: int) -> Step:
        """Half of what can be mapped is, over any of the fan-outs so far, also over those inside of others."""
        name = f"s{at}"
        fans = [each for each in range(at) if self._is_fan(each)]
        if fans and rng.random() < 0.6:
            fan = rng.choice(fans)
            scope = self.within(fan)
            first = rng.choice([fan, *self._values(at, scope)])
            if rng.random() < 0.3:
                return Step(name, "collect", (first,), scope[:-1])
            kinds = ["mix", "maybe", "fragile", "pair", "nest", *(["spread", "spread"] if len(scope) < 3 else [])]
            kind = rng.choice(kinds)
            around = [each for depth in range(len(scope) + 1) for each in self._values(at, scope[:depth])]
            second = rng.choice([first, *around])
            return Step(name, kind, (first, second) if kind in _OF_TWO else (first,), scope)
        kind = rng.choice(["source", "mix", "mix", "maybe", "fragile", "spread", "join", "pair", "nest"])
        outside = self._values(at, ())
        if kind == "source":
            return Step(name, kind, ())
        if kind == "join":
            return Step(name, kind, tuple(rng.choice(outside) for _ in range(rng.randint(1, 4))))
        return Step(name, kind, tuple(rng.choice(outside) for _ in range(2 if kind in _OF_TWO else 1)))

    def within(self, fan: int) -> Scope:
        """Where the branches of a spread are."""
        return (*self.steps[fan].scope, fan)

    def _values(self, at: int, scope: Scope) -> list[int]:
        """The steps before this place that give one value for each branch of a scope."""
        return [each for each in range(at) if self.steps[each].scope == scope and not self._is_fan(each)]

    def _is_fan(self, at: int) -> bool:
        return self.steps[at].kind == "spread"


def compose(drawing: Drawing) -> JobDefinition:
    """The job that is drawn."""
    ops: dict[str, Any] = {
        "source": source,
        "mix": mix,
        "join": join,
        "maybe": maybe,
        "fragile": fragile,
        "spread": spread,
        "pair": pair,
        "nest": nest,
        "collect": join,
    }

    @job(name="drawn")
    def drawn() -> None:
        made: list[Any] = []
        for step in drawing.steps:
            called = ops[step.kind].alias(step.name)
            given = [made[each] for each in step.inputs]
            if step.kind == "collect":
                made.append(called(given[0].collect()))
            elif step.kind == "join":
                made.append(called(given))
            elif step.scope:
                made.append(_mapped(called, given))
            else:
                made.append(called(*given))

    return drawn


def _mapped(called: Any, given: list[Any]) -> Any:
    """Over the first input; the second comes from the same branch, from one around it, or from outside."""
    if len(given) == 1:
        return given[0].map(called)
    if given[0] is given[1]:
        return given[0].map(lambda each: called(each, each))
    return given[0].map(lambda each: called(each, given[1]))


# ---- what must come of it ------------------------------------------------------------------------------------------

SKIPPED, BLOCKED = "skipped", "blocked"
Value = int | str


@dataclass
class Outcome:
    values: dict[str, int] = field(default_factory=dict)  #: by step key
    failed: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)


Keys = tuple[str, ...]  #: of one branch, the outermost first
Branches = dict[str, Value]


def reckon(drawing: Drawing) -> Outcome:
    found = Outcome()
    values: dict[str, dict[Keys, Value]] = {}  #: of a step that is no spread, by branch
    depths: dict[str, int] = {}
    fans: dict[str, dict[Keys, Branches | str]] = {}  #: of a spread, by the branch that it is in

    def value(name: str, scope: tuple[str, ...], keys: Keys) -> Value:
        """What a step in a branch is given by another one, in that branch or around it."""
        if name in fans:
            depth = scope.index(name)
            branches = fans[name][keys[:depth]]
            assert isinstance(branches, dict)
            return branches[keys[depth]]
        return values[name][keys[: depths[name]]]

    for step in _flat(drawing):
        rows: list[Keys] = [()]
        depths[step.name] = len(step.scope)
        for fan in step.scope:
            rows = [(*row, key) for row in rows for key in _keys(fans[fan][row])]
        if step.kind == "spread":
            fans[step.name] = {}
        else:
            values[step.name] = {}
        for row in rows:
            called = f"{step.name}[{','.join(row)}]" if row else step.name
            if step.kind == "collect":
                branches = fans[step.over][row]
                inner = (*step.scope, step.over)
                given = (
                    [value(step.inputs[0], inner, (*row, key)) for key in branches]
                    if isinstance(branches, dict)
                    else branches
                )
                values[step.name][row] = _collect(called, given, found)
                continue
            inputs = [value(name, step.scope, row) for name in step.inputs]
            if step.kind == "spread":
                fans[step.name][row] = _spread(called, inputs[0], found)
            else:
                call = _join if step.kind == "join" else partial(_call, step.kind)
                values[step.name][row] = call(called, inputs, found)
    return found


def _keys(branches: Branches | str) -> list[str]:
    return [*branches] if isinstance(branches, dict) else []


class Flat(NamedTuple):
    """A step with graphs taken apart."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    scope: tuple[str, ...] = ()  #: the spreads that it is mapped over: those of its own inputs, also inside of a graph
    over: str = ""  #: the spread whose branches are collected


def _flat(drawing: Drawing) -> Iterator[Flat]:
    ends: list[str] = []
    branches: dict[str, tuple[str, ...]] = {}  #: where each value is; of a spread, its branches
    for step in drawing.steps:
        for each in _taken_apart(step.name, step.kind, tuple(ends[place] for place in step.inputs)):
            scope = max((branches[name] for name in each.inputs), key=len, default=())
            if each.kind == "collect":
                each = each._replace(scope=scope[:-1], over=scope[-1])
            else:
                each = each._replace(scope=scope)
            branches[each.name] = (*each.scope, each.name) if each.kind == "spread" else each.scope
            yield each
        ends.append(each.name)


def _taken_apart(name: str, kind: str, inputs: tuple[str, ...]) -> Iterator[Flat]:
    """The last is the one whose output is the whole's."""
    if kind == "pair":
        yield Flat(f"{name}.mix", "mix", inputs)
        yield Flat(f"{name}.fragile", "fragile", inputs[1:])
        yield Flat(f"{name}.mix_2", "mix", (f"{name}.mix", f"{name}.fragile"))
    elif kind == "nest":
        a, b = inputs
        yield Flat(f"{name}.maybe", "maybe", (a,))
        yield from _taken_apart(f"{name}.pair", "pair", (b, a))
        yield from _taken_apart(f"{name}.pair_2", "pair", (f"{name}.maybe", f"{name}.pair.mix_2"))
    else:
        yield Flat(name, kind, inputs)


def _call(kind: str, key: str, given: list[Value], found: Outcome) -> Value:
    if BLOCKED in given:
        return BLOCKED
    if SKIPPED in given:
        found.skipped.add(key)
        return SKIPPED
    numbers = [each for each in given if isinstance(each, int)]
    match kind, numbers:
        case "source", []:
            value = 7
        case "mix", [a, b]:
            value = (a * 31 + b * 17 + 5) % _M
        case "maybe", [a]:
            if a % 3 == 0:
                return SKIPPED  # it succeeded, and gave nothing
            value = (a + 1) % _M
        case "fragile", [a]:
            if a % 5 == 0:
                found.failed.add(key)
                return BLOCKED
            value = (a * 3 + 1) % _M
        case _:
            raise AssertionError(kind)
    found.values[key] = value
    return value


def _join(name: str, given: list[Value], found: Outcome) -> Value:
    if BLOCKED in given:
        return BLOCKED
    there = [each for each in given if isinstance(each, int)]
    if given and not there:
        found.skipped.add(name)
        return SKIPPED
    found.values[name] = (sum((at + 1) * each for at, each in enumerate(there)) + len(there)) % _M
    return found.values[name]


def _spread(name: str, given: Value, found: Outcome) -> Branches | str:
    if given == BLOCKED:
        return BLOCKED
    if given == SKIPPED:
        found.skipped.add(name)
        return SKIPPED
    assert isinstance(given, int)
    return {f"k{at}": (given + at) % _M for at in range(given % 4)}


def _collect(name: str, given: list[Value] | str, found: Outcome) -> Value:
    if given == BLOCKED:
        return BLOCKED
    if given == SKIPPED:
        found.skipped.add(name)
        return SKIPPED
    assert isinstance(given, list)
    return _join(name, given, found)
