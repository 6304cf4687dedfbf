"""The report of a census: as data with a digest, as a page to read, and as files. Pure but for ``write``."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from examples.stdlib_census.analysis import Measure
from examples.stdlib_census.drawing import bars, ring
from examples.stdlib_census.imports import Edge, ImportGraph
from examples.stdlib_census.ranking import Ranking, Total

Report = dict[str, Any]

FILES = ("report.json", "report.md", "packages.svg", "imports.svg")


def build_report(python: str, ranking: Ranking, graph: ImportGraph) -> Report:
    """Plain JSON. The digest is of all the rest, so two runs that agree in it agree in every number."""
    body: Report = {
        "python": python,
        "total": _numbers(ranking.total),
        "packages": [_numbers(each) for each in ranking.packages],
        "modules": [_module(each) for each in ranking.modules],
        "functions": _hardest(ranking.modules),
        "imports": {
            "edges": [[edge.source, edge.target, edge.lazy] for edge in graph.modules],
            "between_packages": [[edge.source, edge.target, edge.count, edge.lazy] for edge in graph.packages],
            "most_imported": most_imported(graph.modules),
            "cycles": [list(group) for group in graph.cycles],
        },
        "unreadable": [{"module": each.module, "problem": each.problem} for each in ranking.unreadable],
    }
    return {"digest": digest(body), **body}


def digest(body: Report) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _numbers(each: Total) -> dict[str, Any]:
    return {**asdict(each), "coverage": round(each.coverage, 4)}


def _module(each: Measure) -> dict[str, Any]:
    return {
        "name": each.module,
        "lines": each.lines,
        "functions": each.functions,
        "classes": each.classes,
        "branches": each.branches,
        "complexity": each.complexity,
        "documentable": each.documentable,
        "documented": each.documented,
    }


def _hardest(modules: Sequence[Measure], most: int = 25) -> list[dict[str, Any]]:
    """The most complex function of each module, the most complex of these first."""
    found = [(each.module, each.hardest) for each in modules if each.hardest]
    found.sort(key=lambda each: (-each[1].complexity, each[0]))
    return [{"module": module, **asdict(function)} for module, function in found[:most]]


def most_imported(edges: Iterable[Edge], most: int = 25) -> list[list[Any]]:
    count = Counter(edge.target for edge in edges)
    return [[name, number] for name, number in sorted(count.items(), key=lambda item: (-item[1], item[0]))[:most]]


# ---- files -----------------------------------------------------------------------------------------------------------


def write(report: Report, ranking: Ranking, graph: ImportGraph, folder: Path) -> None:
    """Each file appears whole or not at all, so a report that is written twice is the same report."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "report.json": json.dumps(report, indent=1) + "\n",
        "report.md": page(report),
        "packages.svg": bars(ranking.packages, report["python"]),
        "imports.svg": ring(graph.packages, ranking.packages),
    }
    for name in FILES:
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_text(contents[name], encoding="utf-8")
        partial.replace(folder / name)


# ---- the page --------------------------------------------------------------------------------------------------------


def page(report: Report, most: int = 20) -> str:
    """Markdown, with the pictures beside it."""
    return "\n".join(_page(report, most)) + "\n"


def _page(report: Report, most: int) -> Iterator[str]:
    total = report["total"]
    yield f"# The standard library of Python {report['python']}, counted"
    yield ""
    yield (
        f"**{total['modules']:,}** modules with **{total['lines']:,}** lines hold "
        f"**{total['functions']:,}** functions, "
        f"**{total['classes']:,}** classes and **{total['branches']:,}** branches. "
        f"**{total['coverage']:.0%}** of what is public has a docstring."
    )
    yield ""
    yield "![The most complex packages](packages.svg)"
    yield ""
    yield "## Packages"
    yield ""
    yield from _table(
        ("", "package", "modules", "lines", "functions", "classes", "branches", "complexity", "documented"),
        (
            (rank, f"`{each['name']}`", *(f"{each[key]:,}" for key in _COLUMNS), f"{each['coverage']:.0%}")
            for rank, each in enumerate(report["packages"][:most], 1)
        ),
        left=2,
    )
    yield "## Modules"
    yield ""
    yield from _table(
        ("", "module", "lines", "functions", "classes", "branches", "complexity"),
        (
            (rank, f"`{each['name']}`", *(f"{each[key]:,}" for key in _COLUMNS[1:]))
            for rank, each in enumerate(report["modules"][:most], 1)
        ),
        left=2,
    )
    yield "## Functions"
    yield ""
    yield "The most complex function of each module."
    yield ""
    yield from _table(
        ("", "function", "module", "line", "complexity"),
        (
            (rank, f"`{each['name']}`", f"`{each['module']}`", each["line"], each["complexity"])
            for rank, each in enumerate(report["functions"][:most], 1)
        ),
        left=3,
    )
    yield from _imports(report["imports"])
    if report["unreadable"]:
        yield "## Not readable"
        yield ""
        yield "Files that this Python cannot parse; nothing but their lines is counted."
        yield ""
        yield from (f"* `{each['module']}`: {each['problem']}" for each in report["unreadable"])
        yield ""
    yield f"Digest of all numbers: `{report['digest']}`"


_COLUMNS = ("modules", "lines", "functions", "classes", "branches", "complexity")


def _imports(imports: dict[str, Any]) -> Iterator[str]:
    lazy = sum(edge[2] for edge in imports["edges"])
    yield "## Imports"
    yield ""
    yield f"{len(imports['edges']):,} imports between modules, {lazy:,} of them only when a function is called."
    yield ""
    yield "![Who imports whom](imports.svg)"
    yield ""
    yield from _table(
        ("", "most imported", "by modules"),
        ((rank, f"`{name}`", count) for rank, (name, count) in enumerate(imports["most_imported"][:12], 1)),
        left=2,
    )
    if imports["cycles"]:
        yield "Modules that need each other while they are being imported:"
        yield ""
        yield from (f"* {_members(group)}" for group in imports["cycles"])
        yield ""


def _members(group: Sequence[str], most: int = 8) -> str:
    named = ", ".join(f"`{name}`" for name in group[:most])
    return named + (f" and {len(group) - most} more" if len(group) > most else "")


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], left: int) -> Iterator[str]:
    """``left``: how many columns are text; the others are numbers and stand to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(':--' if number < left and number else '--:' for number in range(len(head)))}|"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"
    yield ""
