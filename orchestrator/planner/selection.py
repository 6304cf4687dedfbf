"""Which steps a selection means: ``name``, ``*name``, ``name*``, ``++name+``, ``g.inner``, ``mp[k1]``, whole graphs,
``mp[?]`` for each of its instances, ``*`` for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from opgrid.errors import ExecutionStepNotFoundError, NothingSelected
from opgrid.ids import NodePath
from orchestrator.planner.plan import FanOut, Keys

_CLAUSE = re.compile(r"^(?P<up>\*|\+*)(?P<name>[^*+\[\]\s]+)(?:\[(?P<keys>[^*+\[\]\s]+)\])?(?P<down>\*|\+*)$")

#: In the place of keys: each instance, as the name of the step alone says.
_EACH = "?"


class UnknownStep(ExecutionStepNotFoundError):
    """A step selection names an instance of a step that is not mapped, or names it with the wrong number of keys."""

    def __init__(self, clause: str, step: str, depth: int) -> None:
        super().__init__(clause, step, depth)
        self.clause, self.step, self.depth = clause, step, depth

    def describe(self) -> str:
        wanted = f"has {self.depth} mapping key(s)" if self.depth else "is not mapped and has no mapping keys"
        return f"The selection {self.clause!r} names an instance of {self.step!r}, which {wanted}."


@dataclass(slots=True)
class Wiring:
    """Who feeds whom, among leaf steps."""

    above: dict[NodePath, list[NodePath]]
    below: dict[NodePath, list[NodePath]] = field(init=False)

    def __post_init__(self) -> None:
        self.below = {step: [] for step in self.above}
        for step, sources in self.above.items():
            for source in sources:
                self.below[source].append(step)


@dataclass(frozen=True, slots=True)
class Clause:
    text: str
    steps: tuple[NodePath, ...]  #: that it names
    keys: Keys  #: of the instance that it names; () for all
    reached: frozenset[NodePath]  #: all it selects, above and below
    above: frozenset[NodePath]


def select(clauses: Iterable[str], wiring: Wiring) -> set[NodePath]:
    """Raises NothingSelected with the nearest name for a clause that matches nothing; instances have no place here.

    ``+`` and ``*`` go from node to node: a graph beside the named one counts as one, and is taken whole.
    """
    chosen: set[NodePath] = set()
    groups = _groups(wiring.above)
    for text in clauses:
        clause = _read(text, wiring, groups, by_node=True)
        if clause.keys:
            raise NothingSelected(clause.text, list(wiring.above))
        chosen |= clause.reached
    return chosen


def read(clauses: Iterable[str], wiring: Wiring) -> list[Clause]:
    """A selection of steps, in which ``+`` and ``*`` go from step to step."""
    groups = _groups(wiring.above)
    return [_read(text, wiring, groups) for text in clauses]


def instances(
    clauses: Iterable[Clause], scopes: Mapping[NodePath, tuple[FanOut, ...]]
) -> dict[NodePath, tuple[Keys, ...] | None]:
    """The selected steps, each with the beginnings of the keys of the instances that are meant; None: all of them.

    ``mp[k1]*`` goes on within the branch ``k1`` and takes all of what lies behind its end; ``*mp[k1]`` takes what is
    above whole.
    """
    chosen: dict[NodePath, tuple[Keys, ...] | None] = {}
    for clause in clauses:
        branch = scopes[clause.steps[0]]
        if clause.keys and len(clause.keys) != len(branch):
            raise UnknownStep(clause.text, clause.steps[0], len(branch))
        for step in clause.reached:
            inside = clause.keys and step not in clause.above and scopes[step][: len(branch)] == branch
            before = chosen.get(step, ())
            if not inside or before is None:
                chosen[step] = None
            else:
                chosen[step] = tuple(dict.fromkeys((*before, clause.keys)))
    return chosen


def _read(text: str, wiring: Wiring, groups: Mapping[str, list[NodePath]], by_node: bool = False) -> Clause:
    if text.strip() == "*" and wiring.above:
        return Clause(text, tuple(wiring.above), (), frozenset(wiring.above), frozenset())
    found = _CLAUSE.match(text.strip())
    steps = groups.get(found["name"], []) if found else []
    if found is None or not steps:
        raise NothingSelected(text, list(groups))
    keys = tuple(found["keys"].split(",")) if found["keys"] else ()
    if keys and set(keys) == {_EACH}:
        if by_node:
            raise NothingSelected(text, list(groups))
        keys = ()
    if keys and steps != [found["name"]]:
        raise NothingSelected(text, list(groups))
    units = _units(found["name"], wiring.above) if by_node else None
    above = _reach(steps, wiring.above, _levels(found["up"]), units)
    below = _reach(steps, wiring.below, _levels(found["down"]), units)
    return Clause(text, tuple(steps), keys, frozenset(above | below), frozenset(above) - frozenset(steps))


def _groups(steps: Iterable[NodePath]) -> dict[str, list[NodePath]]:
    """Every name that can be selected: steps, and graphs with the steps inside."""
    groups: dict[str, list[NodePath]] = {}
    for step in steps:
        groups.setdefault(step, []).append(step)
        end = step.find(".")
        while end >= 0:
            groups.setdefault(step[:end], []).append(step)
            end = step.find(".", end + 1)
    return groups


def _levels(mark: str) -> int | None:
    return None if mark == "*" else len(mark)


def _units(name: str, steps: Iterable[NodePath]) -> dict[NodePath, list[NodePath]]:
    """Each step with all those that are one node with it, as seen from the graph that the named node is in."""
    inside = name.split(".")[:-1]
    members: dict[tuple[str, ...], list[NodePath]] = {}
    unit_of: dict[NodePath, list[NodePath]] = {}
    for step in steps:
        parts = step.split(".")
        shared = 0
        while shared < min(len(inside), len(parts) - 1) and parts[shared] == inside[shared]:
            shared += 1
        unit_of[step] = members.setdefault(tuple(parts[: shared + 1]), [])
        unit_of[step].append(step)
    return unit_of


def _reach(
    steps: Iterable[NodePath],
    edges: Mapping[NodePath, list[NodePath]],
    levels: int | None,
    units: Mapping[NodePath, list[NodePath]] | None = None,
) -> set[NodePath]:
    reached = set(steps)
    front = set(reached)
    while front and levels != 0:
        near = {each for step in front for each in edges[step]}
        front = (near if units is None else {each for step in near for each in units[step]}) - reached
        reached |= front
        levels = None if levels is None else levels - 1
    return reached
