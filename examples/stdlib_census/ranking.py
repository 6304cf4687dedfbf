"""Measures summed up by package and put in order. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from examples.stdlib_census.analysis import Measure
from examples.stdlib_census.imports import package_of


@dataclass(frozen=True, slots=True)
class Total:
    """The numbers of a package, or of everything."""

    name: str
    modules: int
    lines: int
    functions: int
    classes: int
    branches: int
    complexity: int
    documentable: int
    documented: int

    @property
    def coverage(self) -> float:
        """The share of what should have a docstring that has one."""
        return self.documented / self.documentable if self.documentable else 0.0


@dataclass(frozen=True, slots=True)
class Ranking:
    """All in order: the most complex first, by name where that is equal."""

    total: Total
    packages: tuple[Total, ...]
    modules: tuple[Measure, ...]
    unreadable: tuple[Measure, ...]


def rank(measures: Sequence[Measure]) -> Ranking:
    by_package: dict[str, list[Measure]] = defaultdict(list)
    for each in measures:
        by_package[package_of(each.module)].append(each)
    totals = [total(name, members) for name, members in by_package.items()]
    readable = [each for each in measures if each.problem is None]
    return Ranking(
        total=total("all", measures),
        packages=tuple(sorted(totals, key=lambda each: (-each.complexity, each.name))),
        modules=tuple(sorted(readable, key=lambda each: (-each.complexity, each.module))),
        unreadable=tuple(sorted((each for each in measures if each.problem), key=lambda each: each.module)),
    )


def total(name: str, members: Iterable[Measure]) -> Total:
    members = list(members)
    return Total(
        name=name,
        modules=len(members),
        lines=sum(each.lines for each in members),
        functions=sum(each.functions for each in members),
        classes=sum(each.classes for each in members),
        branches=sum(each.branches for each in members),
        complexity=sum(each.complexity for each in members),
        documentable=sum(each.documentable for each in members),
        documented=sum(each.documented for each in members),
    )
