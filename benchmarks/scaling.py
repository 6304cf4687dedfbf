"""``python -P -m benchmarks.scaling``: a service on paper. A thousand workers and a million steps an hour are simulated
from what one step was measured to cost; with --write into docs/explanation/scaling.md.

Orchestrators, Redis instances and the database are queues with one server each; workers are one queue with as many
servers as they have processes. Runs come at random; each is a fan-out. Nothing is executed.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "explanation" / "scaling.md"
BEGIN, END = "<!-- scaling: begin -->", "<!-- scaling: end -->"
_HOUR: Final = 3600.0
_COLD: Final = 0.2  #: of the time, in which the service fills


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds. What ``benchmarks.profiling`` and the tables of docs/performance.md say of one step a message."""

    decide: float = 300e-6  #: of an orchestrator, for a step
    turn: float = 500e-6  #: of an orchestrator, for a turn of its loop
    commit: float = 1.5e-3  #: of the database, for a transaction; a guess for a disk that syncs
    rows: float = 150e-6  #: of the database, for the rows of a step
    redis: float = 220e-6  #: of Redis, for a step
    worker: float = 1.3e-3  #: of a worker, for a step that travels alone


@dataclass(frozen=True, slots=True)
class Service:
    """What there is of each part."""

    orchestrators: int = 1
    redis: int = 1
    databases: float = 1.0  #: as many times as fast as one
    workers: int = 1000
    processes: int = 4  #: of each worker


@dataclass(frozen=True, slots=True)
class Load:
    steps_an_hour: float = 1e6
    steps_a_run: int = 100
    seconds: float = 8.0  #: of a step, on average; exponentially distributed


@dataclass(slots=True)
class Part:
    """A queue with one server."""

    name: str
    free_at: float = 0.0
    busy: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When it is done."""
        self.free_at = max(self.free_at, now) + seconds
        self.busy += seconds
        return self.free_at


@dataclass(frozen=True, slots=True)
class Report:
    steps: int  #: that ended
    steps_an_hour: float  #: that ended, once the service was warm
    use: dict[str, float]  #: share of its time that the busiest of each part worked
    waits: tuple[float, float]  #: median and 99th percentile of the seconds from being ready to running


@dataclass(slots=True)
class _World:
    service: Service
    load: Load
    costs: Costs
    random: random.Random
    orchestrators: list[Part] = field(init=False)
    redis: list[Part] = field(init=False)
    database: Part = field(init=False)
    slots: list[float] = field(init=False)  #: when each process of a worker is free
    worked: float = 0.0

    def __post_init__(self) -> None:
        self.orchestrators = [Part("orchestrator") for _ in range(self.service.orchestrators)]
        self.redis = [Part("redis") for _ in range(self.service.redis)]
        self.database = Part("database")
        self.slots = [0.0] * (self.service.workers * self.service.processes)

    def turn(self, orchestrator: Part, now: float, steps: int) -> float:
        """So many steps are sent, or their ends taken: when that is done. Each is half of what a step costs."""
        began = max(now, orchestrator.free_at)
        writing = (self.costs.commit + steps / 2 * self.costs.rows) / self.service.databases
        stored = self.database.serve(began, writing)  # the turn waits for its transaction
        return orchestrator.serve(began, stored - began + self.costs.turn + steps / 2 * self.costs.decide)


def simulate(service: Service, load: Load, costs: Costs | None = None, seconds: float = 600.0, seed: int = 1) -> Report:
    """Runs that come within ``seconds``; it goes on until the last of their steps has ended."""
    world = _World(service, load, costs or Costs(), random.Random(seed))
    happens: list[tuple[float, int, str, int]] = []
    for number, at in enumerate(_arrivals(world.random, load, seconds)):
        heapq.heappush(happens, (at, number, "run", number))
    waits: list[float] = []
    ended = warm = 0
    tick = len(happens)
    told: dict[int, list[int]] = {}  #: by orchestrator: ends that wait for its next turn
    last = 0.0
    while happens:
        now, _, what, run = heapq.heappop(happens)
        which = run % service.orchestrators
        redis = world.redis[which % service.redis]
        if what == "run":
            sent = world.turn(world.orchestrators[which], now, load.steps_a_run)
            for _ in range(load.steps_a_run):
                there = redis.serve(sent, world.costs.redis)
                begins = max(there, heapq.heappop(world.slots))
                takes = world.costs.worker + world.random.expovariate(1 / load.seconds)
                heapq.heappush(world.slots, begins + takes)
                world.worked += takes
                waits.append(begins - now)
                tick += 1
                heapq.heappush(happens, (begins + takes, tick, "end", run))
            last = max(last, sent)
        elif what == "end":
            waiting = told.setdefault(which, [])
            waiting.append(run)
            if len(waiting) == 1:  # who comes while a turn goes on is taken by the next one
                tick += 1
                heapq.heappush(happens, (max(now, world.orchestrators[which].free_at), tick, "turn", run))
        else:
            many = told.pop(which)
            ended += len(many)
            warm += len(many) if seconds * _COLD <= now < seconds else 0
            last = max(last, world.turn(world.orchestrators[which], now, len(many)))
    hourly = warm / (seconds * (1 - _COLD)) * _HOUR
    return Report(ended, hourly, _use(world, max(last, seconds)), _percentiles(waits))


def _arrivals(chance: random.Random, load: Load, seconds: float) -> Iterator[float]:
    rate = load.steps_an_hour / load.steps_a_run / _HOUR
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def _use(world: _World, seconds: float) -> dict[str, float]:
    return {
        "orchestrator": max(each.busy for each in world.orchestrators) / seconds,
        "database": world.database.busy / seconds,
        "redis": max(each.busy for each in world.redis) / seconds,
        "workers": world.worked / len(world.slots) / seconds,
    }


def _percentiles(values: list[float]) -> tuple[float, float]:
    values = sorted(values) or [0.0]
    return values[len(values) // 2], values[min(len(values) - 1, math.ceil(len(values) * 0.99))]


#: What is tried: title, load as a multiple, and what there is.
CASES: Final = (
    ("1,000 workers; one of each", 1, Service()),
    ("2 orchestrators", 1, Service(orchestrators=2)),
    ("4 times the load and the workers; one of each", 4, Service(workers=4000)),
    ("the same; 4 orchestrators", 4, Service(orchestrators=4, workers=4000)),
    ("10 times; 16 orchestrators and as many shards, 4 Redis, a database 3 × as fast", 10, Service(16, 4, 3.0, 10_000)),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--steps", type=float, default=1e6, help="an hour")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the service")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    table = "\n".join(_table(given.steps, given.minutes * 60))
    print(table)
    if given.write:
        page = PAGE.read_text()
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")


def _table(steps: float, seconds: float) -> Iterator[str]:
    yield "| | asked | done | orchestrators | database | Redis | workers | ready to running, p50 / p99 |"
    yield "|---|---|---|---|---|---|---|---|"
    for title, times, service in CASES:
        found = simulate(service, Load(steps_an_hour=times * steps), seconds=seconds)
        use = " | ".join(f"{share:.0%}" for share in found.use.values())
        median, late = found.waits
        done = f"{found.steps_an_hour / 1e6:.2f} M"
        yield f"| {title} | {times * steps / 1e6:.0f} M | {done} | {use} | {median:,.2g} / {late:,.2g} s |"


if __name__ == "__main__":
    main()
