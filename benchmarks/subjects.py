"""Who is measured: how the process of each is started, and what it is spared because it would take too long."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from benchmarks.environments import interpreter
from benchmarks.workloads import WORKLOADS, Shape, Workload


@dataclass(frozen=True, slots=True)
class Subject:
    key: str
    title: str
    module: str
    arguments: tuple[str, ...] = ()
    family: str | None = None  #: whose environment; None: ours
    redis: int | None = None  #: the first of three databases that are its own
    sizes: Mapping[Shape, int] = field(default_factory=dict)  #: of the slow, instead of the workload's
    only: frozenset[str] | None = None  #: workloads; None: all that are not spared
    spared: frozenset[str] = frozenset()

    @property
    def is_ours(self) -> bool:
        return self.module == "benchmarks.ours"

    def command(self) -> list[str]:
        """Raises NotInstalled."""
        python = interpreter(self.family) if self.family else sys.executable
        return [python, "-P", "-m", self.module, *self.arguments]

    def takes(self, workload: Workload) -> bool:
        return workload.key not in self.spared and (self.only is None or workload.key in self.only)

    def size(self, workload: Workload) -> int:
        """Never larger than the workload's own."""
        return min(workload.size, self.sizes.get(workload.shape, workload.size))


_ALL: Final = frozenset(WORKLOADS)
_LARGE: Final = frozenset({"fan-10000", "fan-100000"})
_HUGE_PLAN: Final = frozenset({"plan-100000"})
_PLANS: Final = frozenset(each.key for each in WORKLOADS.values() if each.shape is Shape.PLAN)
_SLEEPY: Final = frozenset(each.key for each in WORKLOADS.values() if each.pause or each.shape is Shape.MIXED)
#: What one process after the other cannot shine at, or what a step takes a second of.
_SLOW: Final = _LARGE | _HUGE_PLAN | _SLEEPY | {"fan-100", "fan-5000", "plan-1000", "plan-10000"}
_SMALL: Final = {Shape.CHAIN: 5, Shape.FAN: 6, Shape.LAYERS: 1, Shape.RUNS: 2, Shape.FIBO: 3}

SUBJECTS: Final = (
    Subject("opgrid", "opgrid, Celery", "benchmarks.ours", ("celery",), redis=0),
    Subject(
        "single",
        "opgrid, Celery, one step a message",
        "benchmarks.ours",
        ("celery", "--single"),
        redis=1,
        only=_ALL - _PLANS - _LARGE - {"first", "runs", "payload-1", "payload-64"},
    ),
    Subject(
        "postgresql",
        "opgrid, Celery, PostgreSQL",
        "benchmarks.ours",
        ("celery", "--postgresql"),
        redis=2,
        only=_ALL - _PLANS - _SLEEPY - {"fan-100000", "payload-1", "payload-64", "fibo-10", "fibo-33"},
    ),
    Subject(
        "multiprocess",
        "opgrid, processes",
        "benchmarks.ours",
        ("multiprocess",),
        sizes={Shape.RUNS: 10},
        spared=_PLANS | _LARGE,
    ),
    Subject("in_process", "opgrid, in process", "benchmarks.ours", ("in_process",), spared=_PLANS | _LARGE | _SLEEPY),
    Subject(
        "in_memory",
        "opgrid, in process, no log",
        "benchmarks.ours",
        ("in_memory",),
        spared=_PLANS | _SLEEPY | {"fan-10000"},
    ),
    Subject(
        "canvas",
        "Celery canvas",
        "benchmarks.peers.celery_side",
        ("canvas",),
        redis=4,
        spared=_LARGE | _HUGE_PLAN,
    ),
    Subject(
        "stream",
        "bare Celery, from a stream",
        "benchmarks.peers.celery_side",
        ("stream",),
        redis=7,
        spared=_LARGE | _PLANS,
    ),
    Subject(
        "loop",
        "bare Redis loop, no Celery",
        "benchmarks.peers.redis_loop",
        redis=13,
        spared=_LARGE | _PLANS | _SLEEPY | {"payload-1", "payload-64", "first", "runs", "fibo-10", "fibo-33"},
    ),
    Subject("dask", "dask.distributed", "benchmarks.peers.dask_side", family="dask", spared=_LARGE),
    Subject(
        "dagster",
        "Dagster in process, no storage",
        "benchmarks.peers.dagster_side",
        ("in_memory",),
        family="dagster",
        sizes={Shape.FAN: 300, Shape.RUNS: 20},
        spared=_LARGE | _HUGE_PLAN | _SLEEPY | {"fan-5000"},
    ),
    Subject(
        "dagster_sqlite",
        "Dagster in process, SQLite",
        "benchmarks.peers.dagster_side",
        ("in_process",),
        family="dagster",
        sizes={Shape.CHAIN: 50, Shape.FAN: 100, Shape.LAYERS: 4, Shape.RUNS: 10},
        spared=_LARGE | _PLANS | _SLEEPY | {"fan-100", "fan-5000"},
    ),
    Subject(
        "dagster_multiprocess",
        "Dagster multiprocess",
        "benchmarks.peers.dagster_side",
        ("multiprocess",),
        family="dagster",
        sizes=_SMALL,
        spared=_SLOW | {"layers", "payload-1", "fibo-33"},
    ),
    Subject(
        "dagster_celery",
        "dagster-celery",
        "benchmarks.peers.dagster_side",
        ("celery",),
        family="dagster",
        redis=10,
        sizes=_SMALL,
        spared=_SLOW | {"layers", "payload-1", "payload-64", "fibo-33"},
    ),
)
BY_KEY: Final = {each.key: each for each in SUBJECTS}
#: Only where they are asked for.
ON_REQUEST: Final = frozenset({"postgresql"})
