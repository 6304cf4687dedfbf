"""Results in Markdown: all at a glance, what was aimed at, and every figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.aims import Judged, judged
from benchmarks.results import Results, Row
from benchmarks.subjects import BY_KEY, SUBJECTS
from benchmarks.workloads import WORKLOADS, Shape, Workload

#: What ratios are to.
OURS: Final = "opgrid"
_GLANCE: Final = (
    ("chain", "W1 chain"),
    ("fan-100", "W2 100"),
    ("fan-1000", "W2 1,000"),
    ("fan-5000", "W2 5,000"),
    ("layers", "W3 layers"),
    ("payload-64", "W4 64 MiB"),
    ("first", "W5 first step"),
    ("runs", "W5 100 runs"),
    ("fibo-10", "W7 40 × fibo(10)"),
)


def page(results: Results) -> str:
    parts = [_where(results), "", "![Time of a step](images/performance.svg)", "", *_glance(results)]
    parts += ["", "### Aims", "", *_aims(judged(results))]
    parts += ["", "### Every figure", "", _EXPLAINED]
    for workload in WORKLOADS.values():
        rows = results.of(workload.key)
        if rows:
            parts += ["", f"#### {workload.group}, {workload.title}", "", *_details(workload, rows)]
    return "\n".join(parts)


_EXPLAINED: Final = (
    "Medians, with the fastest and the slowest round; ratios are to opgrid on Celery with SQLite. Memory is the "
    "largest resident set of the process that decides what runs next, and of one that runs ops. Processor time is that "
    "of all processes: deciding, working (workers with their parents), Redis."
)


def _where(results: Results) -> str:
    about = results.about
    versions = ", ".join(f"{name} {number}" for name, number in sorted(about.get("versions", {}).items()))
    text = f"{about['date']}, {about['cores']} cores, {about['machine']}, Python {about['python']}; {versions}."
    if about["load"] >= about["cores"] / 2:
        text += f" **The machine was busy with something else** (load {about['load']}): these are upper bounds."
    for key, why in results.missing.items():
        text += f" Without {BY_KEY[key].title}: {why}."
    return text


def _glance(results: Results) -> Iterator[str]:
    shown = [(key, name) for key, name in _GLANCE if results.of(key)]
    yield "| | " + " | ".join(name for _, name in shown) + " |"
    yield "|---|" + "---|" * len(shown)
    for subject in SUBJECTS:
        cells = []
        for key, _ in shown:
            row, ours = results.get(key, subject.key), results.get(key, OURS)
            cells.append(_cell(row, ours, WORKLOADS[key]) if row is not None else "")
        if any(cells):
            title = f"**{subject.title}**" if subject.is_ours else subject.title
            yield f"| {title} | " + " | ".join(cells) + " |"
    yield ""
    yield "W1 to W3: time of a step; the others: of the whole. In brackets: times as long as opgrid on Celery."


def _cell(row: Row, ours: Row | None, workload: Workload) -> str:
    text = seconds(_comparable(row, workload))
    if ours is None or row is ours:
        return text
    return f"{text} ({times(_comparable(row, workload) / _comparable(ours, workload))})"


def _comparable(row: Row, workload: Workload) -> float:
    """Where fewer were measured than the workload says, as much as all would take."""
    if workload.per_step or row.steps == 0:
        return row.figure
    return row.seconds * (workload.steps / row.steps if workload.shape in (Shape.RUNS, Shape.FIBO) else 1)


def _aims(found: Sequence[Judged]) -> Iterator[str]:
    yield "| | aim | measured | |"
    yield "|---|---|---|---|"
    for each in found:
        said = "" if each.met is None else "met" if each.met else "**missed**"
        yield f"| {each.group} | {each.text} | {each.measured} | {said} |"


def _details(workload: Workload, rows: Sequence[Row]) -> Iterator[str]:
    ours = next((row for row in rows if row.subject == OURS), None)
    unit = "a step" if workload.per_step else "in all"
    more = ", bytes a step" if workload.shape is Shape.PLAN else ""
    yield f"| | {unit} | from – to | ratio | deciding{more or ', MiB'} | working, MiB | processor, µs a step | rounds |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        scale = row.figure / row.seconds
        low, high = row.spread
        ratio = times(_comparable(row, workload) / _comparable(ours, workload)) if ours and row is not ours else ""
        rounds = f"{len(row.rounds)}{', cold' if row.cold else ''}"
        if row.steps < workload.steps - 1:
            rounds += f", of {row.steps} steps" if workload.shape is not Shape.RUNS else f", of {row.steps} runs"
        weight = _most(row, "bytes_a_step" if workload.shape is Shape.PLAN else "coordinator_mib")
        yield (
            f"| {BY_KEY[row.subject].title} | {seconds(row.figure)} | {seconds(low * scale)} – {seconds(high * scale)} "
            f"| {ratio} | {weight} | {_most(row, 'worker_mib')} | {_processor(row)} | {rounds} |"
        )


def _most(row: Row, name: str) -> str:
    found = row.most(name)
    return "" if found is None else f"{found:,.0f}"


def _processor(row: Row) -> str:
    parts = [name for name in ("coordinator_cpu", "worker_cpu", "redis_cpu") if row.has(name)]
    return " + ".join(f"{row.median(name) / row.steps * 1e6:,.0f}" for name in parts)


def seconds(value: float) -> str:
    """With three digits, in a unit that suits."""
    if value >= 1:
        return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"
    if value >= 1e-3:
        return f"{value * 1e3:.3g} ms"
    return f"{value * 1e6:.3g} µs"


def times(ratio: float) -> str:
    return f"×{ratio:,.0f}" if ratio >= 10 else f"×{ratio:.2g}"
