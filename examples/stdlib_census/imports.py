"""Who imports whom. Pure: measures in, a graph out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from examples.stdlib_census.analysis import Import, Measure


@dataclass(frozen=True, slots=True)
class Edge:
    """``source`` imports ``target``. Between packages, ``count`` says how many pairs of modules do."""

    source: str
    target: str
    count: int = 1
    lazy: bool = False  #: only when some function is called


@dataclass(frozen=True, slots=True)
class ImportGraph:
    modules: tuple[Edge, ...]
    packages: tuple[Edge, ...]
    cycles: tuple[tuple[str, ...], ...]  #: modules that need each other to be imported, largest group first


def link(measures: Sequence[Measure]) -> ImportGraph:
    """Only what is in the census counts: modules written in C have no source to look at."""
    known = {each.module for each in measures}
    lazy: dict[tuple[str, str], bool] = {}
    for each in measures:
        for statement in each.imports:
            for target in targets(statement, known):
                if target != each.module:
                    pair = (each.module, target)
                    lazy[pair] = statement.lazy and lazy.get(pair, True)
    edges = tuple(Edge(source, target, lazy=is_lazy) for (source, target), is_lazy in sorted(lazy.items()))
    return ImportGraph(edges, _between_packages(edges), _cycles(edges))


def targets(statement: Import, known: Collection[str]) -> Iterable[str]:
    """What is meant: ``from xml import dom`` the module ``xml.dom``, ``from os import sep`` the module ``os``."""
    wanted = [f"{statement.base}.{name}" for name in statement.names] or [statement.base]
    return sorted({found for name in wanted if (found := _nearest(name, known))})


def _nearest(name: str, known: Collection[str]) -> str:
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def package_of(module: str) -> str:
    return module.partition(".")[0]


def _between_packages(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    count: Counter[tuple[str, str]] = Counter()
    eager: set[tuple[str, str]] = set()
    for edge in edges:
        pair = (package_of(edge.source), package_of(edge.target))
        if pair[0] != pair[1]:
            count[pair] += 1
            if not edge.lazy:
                eager.add(pair)
    return tuple(Edge(*pair, count=count[pair], lazy=pair not in eager) for pair in sorted(count))


def _cycles(edges: Iterable[Edge]) -> tuple[tuple[str, ...], ...]:
    after: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        if not edge.lazy:
            after[edge.source].append(edge.target)
    groups = [tuple(sorted(group)) for group in knots(after) if len(group) > 1]
    return tuple(sorted(groups, key=lambda group: (-len(group), group)))


def knots(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The strongly connected components (Tarjan's, with a stack of its own)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    on_path: set[str] = set()
    found: list[list[str]] = []
    for root in sorted(after):
        if root in number:
            continue
        walk = [(root, iter(sorted(after.get(root, ()))))]
        number[root] = low[root] = len(number)
        path.append(root)
        on_path.add(root)
        while walk:
            node, rest = walk[-1]
            for follower in rest:
                if follower not in number:
                    number[follower] = low[follower] = len(number)
                    path.append(follower)
                    on_path.add(follower)
                    walk.append((follower, iter(sorted(after.get(follower, ())))))
                    break
                if follower in on_path:
                    low[node] = min(low[node], number[follower])
            else:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
                if low[node] == number[node]:
                    start = path.index(node)
                    found.append(path[start:])
                    on_path.difference_update(path[start:])
                    del path[start:]
    return found
