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


@dataclass(frozen=True)
class Step:
    """One invocation. ``fan`` is the spread that it is mapped over, None outside of all."""

    name: str
    kind: str
    inputs: tuple[int, ...]  #: places of earlier steps
    fan: int | None = None


@dataclass
class Drawing:
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def of(cls, seed: int, size: int = 14) -> Drawing:
        rng = random.Random(seed)
        made = cls([Step("s0", "source", ())])
        while len(made.steps) < size:
            made.steps.append(made._draw(rng, len(made.steps)))
        return made

    def _draw(self, rng: random.Random, at: int) -> Step:
        name, outside = (
            f"s{at}",
            [each for each in range(at) if self.steps[each].fan is None and not self._is_fan(each)],
        )
        fans = [each for each in range(at) if self._is_fan(each)]
        if fans and rng.random() < 0.5:
            fan = rng.choice(fans)
            mapped = [fan, *(each for each in range(at) if self.steps[each].fan == fan)]
            first = rng.choice(mapped)
            if rng.random() < 0.35:
                return Step(name, "collect", (first,))
            kind = rng.choice(["mix", "maybe", "fragile", "pair", "nest"])
            second = rng.choice([first, *mapped[1:], *outside])
            return Step(name, kind, (first, second) if kind in _OF_TWO else (first,), fan)
        kind = rng.choice(["source", "mix", "mix", "maybe", "fragile", "spread", "join", "pair", "nest"])
        if kind == "source":
            return Step(name, kind, ())
        if kind == "join":
            return Step(name, kind, tuple(rng.choice(outside) for _ in range(rng.randint(1, 4))))
        return Step(name, kind, tuple(rng.choice(outside) for _ in range(2 if kind in _OF_TWO else 1)))

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
            elif step.fan is not None:
                made.append(_mapped(called, given))
            else:
                made.append(called(*given))

    return drawn


def _mapped(called: Any, given: list[Any]) -> Any:
    """Over the first input; the second comes from the same branch, or from outside."""
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


def reckon(drawing: Drawing) -> Outcome:
    found = Outcome()
    scalars: dict[str, Value] = {}
    branches: dict[str, dict[str, Value] | str] = {}  #: of a spread and of what is mapped over it: by key
    for step in _flat(drawing):
        mapped = [name for name in step.inputs if name in branches]
        if step.kind == "spread":
            branches[step.name] = _spread(step.name, scalars[step.inputs[0]], found)
        elif step.kind == "collect":
            scalars[step.name] = _collect(step.name, branches[step.inputs[0]], found)
        elif mapped:
            branches[step.name] = _map(step, mapped, scalars, branches, found)
        else:
            given = [scalars[name] for name in step.inputs]
            call = _join if step.kind == "join" else partial(_call, step.kind)
            scalars[step.name] = call(step.name, given, found)
    return found


class Flat(NamedTuple):
    """A step with graphs taken apart: what is inside is mapped where its own inputs are."""

    name: str
    kind: str
    inputs: tuple[str, ...]


def _flat(drawing: Drawing) -> Iterator[Flat]:
    ends: list[str] = []
    for step in drawing.steps:
        *inside, end = _taken_apart(step.name, step.kind, tuple(ends[each] for each in step.inputs))
        yield from inside
        yield end
        ends.append(end.name)


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


def _map(
    step: Flat,
    mapped: list[str],
    scalars: dict[str, Value],
    branches: dict[str, dict[str, Value] | str],
    found: Outcome,
) -> dict[str, Value] | str:
    over = [branches[name] for name in mapped]
    for each in over:
        if isinstance(each, str):
            return each  # the spread has no branches
    (keys,) = {tuple(each) for each in over}
    results: dict[str, Value] = {}
    for key in keys:
        given: list[Value] = []
        for name in step.inputs:
            branch = branches.get(name)
            given.append(branch[key] if isinstance(branch, dict) else scalars[name])
        results[key] = _call(step.kind, f"{step.name}[{key}]", given, found)
    return results


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


def _spread(name: str, given: Value, found: Outcome) -> dict[str, Value] | str:
    if given == BLOCKED:
        return BLOCKED
    if given == SKIPPED:
        found.skipped.add(name)
        return SKIPPED
    assert isinstance(given, int)
    return {f"k{at}": (given + at) % _M for at in range(given % 4)}


def _collect(name: str, given: dict[str, Value] | str, found: Outcome) -> Value:
    if given == BLOCKED:
        return BLOCKED
    if given == SKIPPED:
        found.skipped.add(name)
        return SKIPPED
    assert isinstance(given, dict)
    return _join(name, list(given.values()), found)
