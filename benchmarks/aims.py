"""What is aimed at, as ratios and limits, and whether a benchmark reached it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.results import Results, Row
from benchmarks.workloads import WORKLOADS

#: Two that are level may differ by so much.
_LEVEL: Final = 1.1
_POSTGRESQL: Final = ", PostgreSQL"
_KIB: Final = 1024.0
_MIB: Final = 2**20 / 1e6  #: MB in a MiB


@dataclass(frozen=True, slots=True)
class Judged:
    group: str
    text: str
    measured: str
    met: bool | None  #: None: it was not measured


Measure = Callable[[Results], float | None]


@dataclass(frozen=True, slots=True)
class Aim:
    group: str
    text: str
    measure: Measure
    limit: float
    at_least: bool = False
    unit: str = ""
    scale: float = 1.0  #: from what is measured to the unit

    def judge(self, results: Results) -> Judged:
        found = self.measure(results)
        if found is None:
            return Judged(self.group, self.text, "not measured", None)
        met = found >= self.limit if self.at_least else found <= self.limit
        digits = 4 if abs(found - self.limit) < 0.02 * self.limit else 3  # whoever misses it by a hair sees by what
        shown = f"{found * self.scale:,.{digits}g}" if found * self.scale < 1000 else f"{found * self.scale:,.0f}"
        return Judged(self.group, self.text, f"{shown}{self.unit}", met)


def judged(results: Results) -> list[Judged]:
    """Without those of subjects that were not measured on request."""
    found = [aim.judge(results) for aim in _aims()]
    return [each for each in found if each.met is not None or not each.text.endswith(_POSTGRESQL)]


def _aims() -> Iterator[Aim]:
    for subject, name in (("opgrid", ""), ("postgresql", _POSTGRESQL)):
        yield Aim("W1", f"≤ 0.12 ms a step{name}", _figure("chain", subject), 0.12e-3, unit=" ms", scale=1e3)
        for workload in ("fan-1000", "fan-5000"):
            what = WORKLOADS[workload].title
            yield Aim("W2", f"≤ 0.09 ms a step, {what}{name}", _figure(workload, subject), 9e-5, unit=" ms", scale=1e3)
        yield Aim("W3", f"≤ 0.2 ms a step{name}", _figure("layers", subject), 2e-4, unit=" ms", scale=1e3)
    yield Aim("W1", "≤ 1.3 ms with one step a message", _figure("chain", "single"), 1.3e-3, unit=" ms", scale=1e3)
    yield _faster("W1", "chain", "canvas", 15, "a Celery chain")
    yield _faster("W1", "chain", "dask", 40, "dask")
    yield _faster("W1", "chain", "loop", 1, "a bare Redis loop")
    for workload in ("fan-1000", "fan-5000"):
        yield _faster("W2", workload, "canvas", 30, f"a Celery chord, {WORKLOADS[workload].title}")
        yield _faster("W2", workload, "dask", 6, f"dask, {WORKLOADS[workload].title}")
        yield _level("W2", workload, "loop", f"a bare Redis loop, {WORKLOADS[workload].title}")
    yield _faster("W3", "layers", "canvas", 100, "a chord a layer")
    yield _faster("W3", "layers", "dask", 4, "dask")
    for workload in ("chain-10ms", "fan-10ms", "layers-10ms"):
        sleepy = WORKLOADS[workload]
        yield Aim(sleepy.group, f"≤ 1.05 × the ideal, {sleepy.title}", _to_ideal(workload), 1.05)
    yield Aim("W4", "64 MiB through Redis in ≤ 0.2 s", _figure("payload-64", "opgrid"), 0.2, unit=" s")
    yield Aim("W4", "on one host in ≤ 0.06 s", _figure("payload-64", "multiprocess"), 0.06, unit=" s")
    yield _faster("W4", "payload-64", "canvas", 50, "Celery results")
    yield _level("W4", "payload-64", "dask", "dask, on one host", ours="multiprocess")
    yield Aim("W5", "first step ≤ 10 ms, through the service", _figure("first", "opgrid"), 0.01, unit=" ms", scale=1e3)
    yield Aim("W5", "100 runs ≤ 0.3 s, through the service", _figure("runs", "opgrid"), 0.3, unit=" s")
    yield Aim(
        "W5", "first step ≥ 10 × faster than Dagster's best", _ratio("first", "dagster", "opgrid"), 10, True, " ×"
    )
    yield Aim("W6", "≤ 10 µs a step", _figure("plan-10000", "opgrid"), 1e-5, unit=" µs", scale=1e6)
    yield Aim("W6", "≤ 1 KiB a step", _worst("plan-10000", "opgrid", "bytes_a_step"), _KIB, unit=" bytes")
    yield Aim("W6", "linear to 100,000: a step costs ≤ 1.3 × as much", _growth("plan-1000", "plan-100000"), 1.3)
    yield _faster("W6", "plan-10000", "dask", 2, "dask")
    yield _faster("W6", "plan-10000", "dagster", 10, "Dagster")
    yield Aim("W7", "≥ 99 % of fibo(33) is op code", _share("fibo-33"), 0.99, True, " %", 100)
    yield Aim("W7", "40 × fibo(10) ≤ 60 ms", _figure("fibo-10", "opgrid"), 0.06, unit=" ms", scale=1e3)
    yield Aim("W8", "never slower than one step a message", _ratio("mixed", "opgrid", "single"), 1.02)
    for workload in ("chain", "fan-1000", "layers"):
        what, group = WORKLOADS[workload].title, WORKLOADS[workload].group
        in_memory, in_process = _figure(workload, "in_memory"), _figure(workload, "in_process")
        yield Aim(group, f"in process ≤ 40 µs a step without a log, {what}", in_memory, 4e-5, unit=" µs", scale=1e6)
        yield Aim(group, f"in process ≤ 80 µs a step with a log, {what}", in_process, 8e-5, unit=" µs", scale=1e6)
    yield _faster("W2", "fan-1000", "dagster", 50, "Dagster in process, both without storage", ours="in_memory")
    yield _faster("W2", "fan-1000", "dagster_sqlite", 50, "Dagster in process, both with SQLite", ours="in_process")
    yield Aim("W2", "processes ≤ 0.5 ms a step", _figure("fan-1000", "multiprocess"), 5e-4, unit=" ms", scale=1e3)
    yield _faster("W2", "fan-1000", "dagster_multiprocess", 1000, "Dagster's, both on processes", ours="multiprocess")
    yield Aim("memory", "what decides < 150 MB at rest", _rest, 150, unit=" MB")
    yield Aim(
        "memory",
        "what decides < 300 MB with 10,000 steps on their way",
        _worst("fan-10000", "opgrid", "coordinator_mib"),
        300 / _MIB,
        unit=" MB",
        scale=_MIB,
    )
    yield Aim(
        "memory",
        "what runs ops < 80 MB",
        _worst("fan-1000", "opgrid", "worker_mib"),
        80 / _MIB,
        unit=" MB",
        scale=_MIB,
    )
    yield Aim("W2", "10,000 steps in < 3 s", _seconds("fan-10000", "opgrid"), 3, unit=" s")
    yield Aim("W2", "100,000 steps: one costs ≤ 1.2 × as much", _growth("fan-10000", "fan-100000"), 1.2)


def _faster(group: str, workload: str, peer: str, factor: float, whom: str, ours: str = "opgrid") -> Aim:
    text = f"≥ {factor:,g} × faster than {whom}" if factor > 1 else f"faster than {whom}"
    return Aim(group, text, _ratio(workload, peer, ours), factor, True, " ×")


def _level(group: str, workload: str, peer: str, whom: str, ours: str = "opgrid") -> Aim:
    return Aim(group, f"level with {whom}", _ratio(workload, ours, peer), _LEVEL, unit=" × its time")


def _figure(workload: str, subject: str) -> Measure:
    return _of(workload, subject, lambda row: row.figure)


def _seconds(workload: str, subject: str) -> Measure:
    return _of(workload, subject, lambda row: row.seconds)


def _worst(workload: str, subject: str, name: str) -> Measure:
    return _of(workload, subject, lambda row: row.most(name))


def _of(workload: str, subject: str, value: Callable[[Row], float | None]) -> Measure:
    def measure(results: Results) -> float | None:
        row = results.get(workload, subject)
        return None if row is None else value(row)

    return measure


def _ratio(workload: str, above: str, below: str) -> Measure:
    def measure(results: Results) -> float | None:
        one, other = results.get(workload, above), results.get(workload, below)
        return None if one is None or other is None else one.figure / other.figure

    return measure


def _growth(small: str, large: str) -> Measure:
    def measure(results: Results) -> float | None:
        few, many = results.get(small, "opgrid"), results.get(large, "opgrid")
        return None if few is None or many is None else many.seconds / many.steps / (few.seconds / few.steps)

    return measure


def _to_ideal(workload: str) -> Measure:
    ideal = WORKLOADS[workload].ideal
    assert ideal is not None
    return _of(workload, "opgrid", lambda row: row.seconds / ideal)


def _share(workload: str) -> Measure:
    return _of(workload, "opgrid", lambda row: row.median("body_seconds") / row.seconds)


def _rest(results: Results) -> float | None:
    found = results.about.get("rest_mib")
    return None if found is None else float(found) * _MIB
