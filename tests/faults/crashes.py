"""The points at which processes die, or believe that a call has failed (``opgrid.crash_points``), each in turn."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, get_args

from opgrid.contracts.status import RunStatus
from opgrid.crash_points import Point
from opgrid.ids import RunId
from orchestrator.services.submission import cancel
from tests.faults.arena import ROOT, Arena
from tests.faults.scenarios import Fault, check, descendants, signal_all


class Way(NamedTuple):
    """How a point is come to."""

    go: Callable[[Arena, str, int, bool], None]
    most: int = 1  #: it is come to so many times at least
    fails: bool = True  #: a call is made there, which may fail


def crash(arena: Arena, point: str, fails: bool) -> None:
    way = WAYS[point]
    way.go(arena, point, arena.chance.randint(1, way.most), fails)


def in_a_run(arena: Arena, point: str, times: int, fails: bool) -> None:
    arena.service(orchestrators=2)
    arena.crash_at(point, times, fails)
    run_id = arena.launch()
    arena.crashed()
    arena.succeeded(run_id)


def when_it_ends(arena: Arena, point: str, times: int, fails: bool) -> None:
    """The run is over by then: another one has to go well, too."""
    in_a_run(arena, point, times, fails)
    arena.succeeded(arena.launch())


def while_it_renews(arena: Arena, point: str, times: int, fails: bool) -> None:
    arena.service(orchestrators=2)
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    arena.crash_at(point, times, fails)
    arena.crashed()
    arena.succeeded(run_id)


def while_it_takes_over(arena: Arena, point: str, times: int, fails: bool) -> None:
    """The one that takes over dies as well, before it has begun to drive."""
    arena.service(orchestrators=2)
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    busiest, shards = arena.busiest()
    arena.crash_at(point, min(times, shards), fails)
    busiest.kill()
    arena.crashed()
    arena.service(orchestrators=2)
    arena.succeeded(run_id)


def when_a_host_is_gone(arena: Arena, point: str, times: int, fails: bool) -> None:
    arena.service(orchestrators=2)
    run_id = arena.launch()
    arena.crash_at(point, times, fails)
    while arena.crash_file.exists() and not arena.status(run_id).is_final:
        arena.a_moment_in(run_id, 3, 12)
        for worker in arena.workers:
            family = descendants(worker.pid)
            signal_all(family, signal.SIGSTOP)
            signal_all(family, signal.SIGKILL)
        time.sleep(1.5)
        arena.service(orchestrators=len([each for each in arena.processes if each.poll() is None]) or 2)
    arena.crashed()
    arena.succeeded(run_id)


def when_redis_is_empty(arena: Arena, point: str, times: int, fails: bool) -> None:
    arena.service(orchestrators=2)
    run_id = arena.launch()
    arena.a_moment_in(run_id, 1, 10)
    arena.crash_at(point, times, fails)
    arena.flush(lambda client: client.flushall())
    arena.crashed()
    arena.succeeded(run_id, once=False)


def when_it_is_canceled(arena: Arena, point: str, times: int, fails: bool) -> None:
    arena.service(orchestrators=2)
    run_id = arena.launch()
    arena.a_moment_in(run_id, 1, 10)
    record = arena.store.run(run_id)
    assert record is not None
    arena.crash_at(point, times, fails)
    cancel(arena.store, record, "enough")
    arena.crashed()
    check(arena.ended(run_id, 30) is RunStatus.CANCELED, "it ended otherwise")
    arena.sound(run_id)


def while_one_launches(arena: Arena, point: str, times: int, fails: bool) -> None:
    arena.service()
    mark = {"ops": {name: {"config": {"mark": str(arena.marks)}} for name in ("spread", "work", "follow", "total")}}
    command = ["job", "launch", "-m", "tests.faults.jobs", "-d", str(ROOT), "-j", "mixed", "--run-id", arena.marks.name]
    command += ["--config-json", json.dumps(mark)]
    arena.crash_at(point, times, fails)
    code = arena.start(*command).wait(60)
    check(code != 0, "who launched was told that all is well")
    is_there = arena.store.run(arena.marks.name) is not None
    check(is_there == point.endswith("after"), "the run is half there")
    again = arena.start(*command).wait(60)
    check((again != 0) == is_there, "a run was launched twice, or not again")
    arena.succeeded(RunId(arena.marks.name))


def while_the_daemon_ticks(arena: Arena, point: str, times: int, fails: bool) -> None:
    origin = "sensor:tests.faults.jobs:counting"
    daemon = arena.start("daemon", "run", "-m", "tests.faults.jobs", "-d", str(ROOT))
    arena.crash_at(point, times, fails)
    arena.crashed(40)
    if not fails:
        daemon.wait()
        arena.start("daemon", "run", "-m", "tests.faults.jobs", "-d", str(ROOT))
    arena.until(lambda: len(arena.store.launched(origin)) >= 12, "ticks are missing")
    time.sleep(1.0)
    numbers = sorted(int(key) for key in arena.store.launched(origin))
    check(numbers == list(range(1, 13)), f"runs of ticks: {numbers}")
    check(len(arena.store.runs()) == 12, "a tick launched twice")


WAYS: Final[dict[str, Way]] = {
    "launch before": Way(while_one_launches),
    "launch after": Way(while_one_launches),
    "tick before": Way(while_the_daemon_ticks, 10),
    "tick after": Way(while_the_daemon_ticks, 10),
    "hold before": Way(while_it_renews, 8),
    "hold after": Way(while_it_renews, 8),
    "taken over": Way(while_it_takes_over, 4),
    "resumed": Way(while_it_takes_over, 4),
    "dequeue before": Way(in_a_run),
    "dequeue after": Way(in_a_run),
    "planned": Way(in_a_run),
    "turn before": Way(in_a_run, 12),
    "turn after": Way(in_a_run, 12),
    "publish before": Way(in_a_run, 2),
    "publish after": Way(in_a_run, 2),
    "read": Way(in_a_run, 12),
    "trim before": Way(in_a_run),
    "trim after": Way(in_a_run),
    "expire before": Way(when_a_host_is_gone),
    "expire after": Way(when_a_host_is_gone),
    "starting over": Way(when_redis_is_empty),
    "cancel before": Way(when_it_is_canceled),
    "cancel after": Way(when_it_is_canceled),
    "release before": Way(when_it_ends),
    "release after": Way(when_it_ends),
    "claim before": Way(in_a_run, 3),
    "claim after": Way(in_a_run, 3),
    "inputs loaded": Way(in_a_run, 3, fails=False),
    "op returned": Way(in_a_run, 3, fails=False),
    "output stored": Way(in_a_run, 8, fails=False),
    "outputs stored": Way(in_a_run, 3, fails=False),
    "finish before": Way(in_a_run, 3),
    "finish after": Way(in_a_run, 3),
}
assert set(WAYS) == set(get_args(Point))

CRASHES: Final[dict[str, Fault]] = {
    f"{how}: {point}": Fault(
        f"{how}: {point}",
        f"a process {'is killed' if how == 'killed' else 'is told that its call failed'} at {point!r}",
        "nothing is lost or doubled",
        partial(crash, point=point, fails=how == "error"),
        anew=point.startswith("tick"),
    )
    for how in ("killed", "error")
    for point, way in WAYS.items()
    if way.fails or how == "killed"
}
