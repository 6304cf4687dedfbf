"""Two pictures as SVG text: bars of the packages, and the ring of who imports whom. Pure, and the same every time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape

from examples.stdlib_census.imports import Edge
from examples.stdlib_census.ranking import Total

#: Few docstrings to many.
_COVERAGE = ("#d9480f", "#e8890c", "#d4a72c", "#6aa84f", "#2b8a5e", "#0b7285")
#: Where an edge leaves, and where it arrives.
_IMPORTS, _BOTH, _IMPORTED = "#e8590c", "#a05195", "#1c7ed6"

_STYLE = """
  text { font-family: Inter, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif; fill: #212529; }
  .card { fill: #ffffff; stroke: #dee2e6; }
  .title { font-size: 20px; font-weight: 600; }
  .quiet { fill: #868e96; font-size: 12px; }
  .track { fill: #f1f3f5; }
  .grid { stroke: #e9ecef; }
  .halo { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e9ecef; }
    .card { fill: #16191d; stroke: #343a40; }
    .quiet { fill: #909296; }
    .track { fill: #24282d; }
    .grid { stroke: #2c3036; }
    .halo { fill: #16191d; }
  }
"""


def _page(width: int, height: int, parts: Iterable[str], about: str, style: str = "") -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{escape(about)}">',
            f"<style>{_STYLE}{style}</style>",
            f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="14"/>',
            *parts,
            "</svg>\n",
        ]
    )


# ---- bars ------------------------------------------------------------------------------------------------------------


def bars(packages: Sequence[Total], python: str, most: int = 20) -> str:
    """The most complex packages; the colour of a bar tells how much of it is documented."""
    shown = packages[:most]
    left, width, top, pitch, bar = 178, 960, 116, 27, 17
    room = width - left - 242
    height = top + pitch * len(shown) + 66
    longest = max((each.complexity for each in shown), default=1) or 1
    parts = [
        f'<text class="title" x="32" y="44">Where the standard library of Python {escape(python)} is intricate</text>',
        '<text class="quiet" x="32" y="66">Cyclomatic complexity of all functions, by top-level package</text>',
        f'<text class="quiet" x="{width - 124}" y="{top - 10}" text-anchor="end">lines</text>',
        f'<text class="quiet" x="{width - 32}" y="{top - 10}" text-anchor="end">documented</text>',
    ]
    for mark in _ticks(longest):
        x = left + room * mark / longest
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top - 4}" x2="{x:.1f}" y2="{top + pitch * len(shown)}"/>')
        parts.append(f'<text class="quiet" x="{x:.1f}" y="{top - 10}" text-anchor="middle">{mark:,}</text>')
    for row, each in enumerate(shown):
        y = top + row * pitch + 4
        long = max(room * each.complexity / longest, 2)
        base = y + bar - 4
        parts += [
            f'<text x="{left - 12}" y="{base}" text-anchor="end" font-size="13">{escape(each.name)}</text>',
            f'<rect x="{left}" y="{y}" width="{long:.1f}" height="{bar}" rx="3" fill="{_shade(each.coverage)}">'
            f"<title>{escape(each.name)}: {each.modules} modules, {each.functions:,} functions, "
            f"{each.classes:,} classes</title></rect>",
            f'<text x="{left + long + 8:.1f}" y="{base}" font-size="12">{each.complexity:,}</text>',
            f'<text class="quiet" x="{width - 124}" y="{base}" text-anchor="end">{each.lines:,}</text>',
            f'<text class="quiet" x="{width - 32}" y="{base}" text-anchor="end">{each.coverage:.0%}</text>',
        ]
    parts += _scale(left, height - 34)
    return _page(width, height, parts, "Bar chart of the most complex packages of the standard library")


def _shade(share: float) -> str:
    return _COVERAGE[min(int(share * len(_COVERAGE)), len(_COVERAGE) - 1)]


def _scale(x: int, y: int) -> list[str]:
    step = 100 / len(_COVERAGE)
    parts = [f'<text class="quiet" x="{x}" y="{y + 11}">share documented</text>']
    for number, colour in enumerate(_COVERAGE):
        at = x + 124 + number * 88
        parts.append(f'<rect x="{at}" y="{y}" width="14" height="14" rx="3" fill="{colour}"/>')
        parts.append(
            f'<text class="quiet" x="{at + 20}" y="{y + 11}">{number * step:.0f}–{(number + 1) * step:.0f} %</text>'
        )
    return parts


def _ticks(longest: int) -> list[int]:
    """Up to six round numbers below ``longest``."""
    rough = longest / 5
    unit = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = int(next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough or factor == 10)) or 1
    return list(range(0, longest + 1, step))


# ---- ring ------------------------------------------------------------------------------------------------------------


def ring(edges: Sequence[Edge], packages: Sequence[Total], most: int = 56) -> str:
    """The best connected packages on a circle, neighbours near each other, and the imports between them."""
    shown, between = best_connected(edges, most)
    order = arrange(shown, between)
    size = {each.name: each.lines for each in packages}
    width, height, radius = 960, 1000, 330
    middle = (width / 2, 536.0)
    angle = {name: 2 * math.pi * place / len(order) - math.pi / 2 for place, name in enumerate(order)}
    spot = {name: _on_circle(middle, radius, turn) for name, turn in angle.items()}
    heaviest = max((edge.count for edge in between), default=1)
    shades, lines = [], []
    for number, edge in enumerate(sorted(between, key=lambda each: (each.count, each.source, each.target))):
        start, end = spot[edge.source], spot[edge.target]
        weight = math.log1p(edge.count) / math.log1p(heaviest)
        shades.append(
            f'<linearGradient id="e{number}" gradientUnits="userSpaceOnUse" x1="{start[0]:.0f}" y1="{start[1]:.0f}" '
            f'x2="{end[0]:.0f}" y2="{end[1]:.0f}"><stop stop-color="{_IMPORTS}"/>'
            f'<stop offset="0.5" stop-color="{_BOTH}"/><stop offset="1" stop-color="{_IMPORTED}"/></linearGradient>'
        )
        lines.append(
            f'<path d="{_bow(start, end, middle)}" stroke="url(#e{number})" stroke-width="{0.7 + 2.6 * weight:.2f}" '
            f'opacity="{0.22 + 0.5 * weight:.2f}"{_dashes(edge)}>'
            f"<title>{escape(edge.source)} imports {escape(edge.target)}"
            f"{f' in {edge.count} places' if edge.count > 1 else ''}"
            f"{' (inside functions only)' if edge.lazy else ''}</title></path>"
        )
    into, out = _degrees(between)
    dots = [
        _dot(name, spot[name], angle[name], middle, radius, size.get(name, 0), into[name], out[name]) for name in order
    ]
    parts = [
        '<text class="title" x="32" y="44">Who imports whom</text>',
        f'<text class="quiet" x="32" y="66">The {len(order)} best connected packages, {len(between)} links; '
        "each line runs from the importer to what it imports, dashed where only functions do</text>",
        f'<circle cx="40" cy="{height - 38}" r="6" fill="{_IMPORTS}"/>'
        f'<text class="quiet" x="52" y="{height - 34}">mostly imports</text>',
        f'<circle cx="170" cy="{height - 38}" r="6" fill="{_IMPORTED}"/>'
        f'<text class="quiet" x="182" y="{height - 34}">mostly imported</text>',
        f'<text class="quiet" x="{width - 32}" y="{height - 34}" text-anchor="end">size: lines of code</text>',
        "<defs>",
        *shades,
        "</defs>",
        '<g fill="none" stroke-linecap="round">',
        *lines,
        "</g>",
        *dots,
    ]
    style = "  path:hover { opacity: 1; stroke-width: 4; }\n"
    return _page(width, height, parts, "Graph of the imports between packages of the standard library", style)


def best_connected(edges: Sequence[Edge], most: int) -> tuple[list[str], list[Edge]]:
    links: dict[str, int] = defaultdict(int)
    for edge in edges:
        links[edge.source] += 1
        links[edge.target] += 1
    shown = sorted(sorted(links), key=lambda name: -links[name])[:most]
    among = set(shown)
    return shown, [edge for edge in edges if edge.source in among and edge.target in among]


def arrange(names: Sequence[str], edges: Sequence[Edge]) -> list[str]:
    """An order in which linked names are near each other: swaps, as long as one shortens the links."""
    order = list(names)
    near: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for edge in edges:
        weight = 1 + math.log(edge.count)
        near[edge.source][edge.target] += weight
        near[edge.target][edge.source] += weight
    place = {name: number for number, name in enumerate(order)}
    around = len(order)

    def cost(name: str, at: int, but: str) -> float:
        total = 0.0
        for other, weight in near[name].items():
            if other != but:
                apart = abs(at - place[other])
                total += weight * min(apart, around - apart)
        return total

    for _ in range(30):
        changed = False
        for i in range(around):
            for j in range(i + 1, around):
                a, b = order[i], order[j]
                now = cost(a, i, b) + cost(b, j, a)
                if cost(a, j, b) + cost(b, i, a) < now - 1e-9:
                    order[i], order[j] = b, a
                    place[a], place[b] = j, i
                    changed = True
        if not changed:
            break
    return order


def _degrees(edges: Iterable[Edge]) -> tuple[dict[str, int], dict[str, int]]:
    into: dict[str, int] = defaultdict(int)
    out: dict[str, int] = defaultdict(int)
    for edge in edges:
        out[edge.source] += 1
        into[edge.target] += 1
    return into, out


def _on_circle(middle: tuple[float, float], radius: float, turn: float) -> tuple[float, float]:
    return middle[0] + radius * math.cos(turn), middle[1] + radius * math.sin(turn)


def _bow(start: tuple[float, float], end: tuple[float, float], middle: tuple[float, float]) -> str:
    """A curve drawn towards the middle, the more the farther its ends are apart."""
    apart = math.dist(start, end)
    pull = 0.35 + 0.45 * min(apart / 660, 1)
    (ax, ay), (bx, by) = ((x + (middle[0] - x) * pull, y + (middle[1] - y) * pull) for x, y in (start, end))
    return f"M{start[0]:.1f},{start[1]:.1f}C{ax:.1f},{ay:.1f} {bx:.1f},{by:.1f} {end[0]:.1f},{end[1]:.1f}"


def _dashes(edge: Edge) -> str:
    return ' stroke-dasharray="2 4"' if edge.lazy else ""


def _dot(
    name: str,
    spot: tuple[float, float],
    turn: float,
    middle: tuple[float, float],
    radius: float,
    lines: int,
    into: int,
    out: int,
) -> str:
    r = 3.5 + min(math.sqrt(lines) / 18, 11)
    x, y = _on_circle(middle, radius + r + 7, turn)
    degrees = math.degrees(turn)
    flipped = not -90 <= degrees < 90
    degrees = degrees + 180 if flipped else degrees
    return (
        f'<circle class="halo" cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="{r + 1.5:.1f}"/>'
        f'<circle cx="{spot[0]:.1f}" cy="{spot[1]:.1f}" r="{r:.1f}" fill="{_between(into / ((into + out) or 1))}">'
        f"<title>{escape(name)}: imports {out}, imported by {into}, {lines:,} lines</title></circle>"
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" dominant-baseline="central" '
        f'text-anchor="{"end" if flipped else "start"}" '
        f'transform="rotate({degrees:.1f} {x:.1f} {y:.1f})">{escape(name)}</text>'
    )


def _between(share: float) -> str:
    """The colour of a package that is imported ``share`` of the times it has to do with another."""
    colours = (_IMPORTS, _BOTH) if share < 0.5 else (_BOTH, _IMPORTED)
    start, end = (tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in colours)
    way = share * 2 % 1 if share < 1 else 1
    return "#" + "".join(f"{round(a + (b - a) * way):02x}" for a, b in zip(start, end, strict=True))
