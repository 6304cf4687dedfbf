"""A picture of the results: what a step takes, on a scale of powers of ten. SVG, for light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final

from benchmarks.results import Results
from benchmarks.subjects import SUBJECTS
from benchmarks.tables import seconds
from benchmarks.workloads import WORKLOADS

_SHOWN: Final = ("chain", "fan-1000", "layers")
_WIDTH: Final = 900
_LEFT: Final = 276  #: where bars begin
_RIGHT: Final = 96  #: room for figures
_ROW: Final = 22
_BAR: Final = 13
_STYLE: Final = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #1f2933; }
.paper { fill: #ffffff; stroke: #d5dbe3; } .title { font-weight: 600; font-size: 13px; } .soft { fill: #5b6673; }
.line { stroke: #e3e7ec; } .ours { fill: #2563eb; } .peer { fill: #9aa5b4; } .strong { font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e8ee; } .paper { fill: #14181f; stroke: #2c343f; } .soft { fill: #9aa5b4; }
  .line { stroke: #2c343f; } .ours { fill: #5b9bff; } .peer { fill: #5f6b7a; }
}
"""


def svg(results: Results) -> str:
    parts = [part for part in (_bars(results, key) for key in _SHOWN) if part]
    values = [value for part in parts for _, _, value in part]
    if not values:
        raise ValueError("there is nothing to draw: none of " + ", ".join(_SHOWN) + " was measured")
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    body: list[str] = []
    top = 18
    for key, part in zip((key for key in _SHOWN if _bars(results, key)), parts, strict=True):
        body += _part(WORKLOADS[key].title, part, top, low, max(high, low + 1))
        top += 22 + _ROW * len(part) + 34
    height = top - 6
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    said = "Time of a step, by subject: " + "; ".join(
        _said(key, part) for key, part in zip(_SHOWN, parts, strict=False)
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>{escape(said)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
            *body,
            "</svg>",
            "",
        ]
    )


_Bar = tuple[str, bool, float]  #: title, whether it is ours, seconds


def _bars(results: Results, workload: str) -> list[_Bar]:
    found = []
    for subject in SUBJECTS:
        row = results.get(workload, subject.key)
        if row is not None:
            found.append((subject.title, subject.is_ours, row.figure))
    return sorted(found, key=lambda bar: bar[2])


def _part(title: str, bars: Sequence[_Bar], top: int, low: int, high: int) -> Iterator[str]:
    room = _WIDTH - _LEFT - _RIGHT
    yield f'<text class="title" x="16" y="{top + 8}">{escape(title)}, time of a step (logarithmic)</text>'
    begin, end = top + 20, top + 22 + _ROW * len(bars)
    for power in range(low, high + 1):
        x = _LEFT + room * (power - low) / (high - low)
        yield f'<line class="line" x1="{x:.1f}" y1="{begin}" x2="{x:.1f}" y2="{end}"/>'
        yield f'<text class="soft" x="{x:.1f}" y="{end + 14}" text-anchor="middle">{seconds(10.0**power)}</text>'
    for number, (name, is_ours, value) in enumerate(bars):
        y = begin + _ROW * number + 4
        width = max(2.0, room * (log10(value) - low) / (high - low))
        strong = ' class="strong"' if is_ours else ""
        middle = y + _BAR - 2
        yield f'<text{strong} x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>'
        kind = "ours" if is_ours else "peer"
        yield f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2"/>'
        yield f'<text{strong} x="{_LEFT + width + 6:.1f}" y="{middle}">{seconds(value)}</text>'


def _said(workload: str, bars: Sequence[_Bar]) -> str:
    return f"{WORKLOADS[workload].title}: " + ", ".join(f"{name} {seconds(value)}" for name, _, value in bars)
