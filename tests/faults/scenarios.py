"""Each fault of the matrix: what is broken, at a random moment, and what must come of it.

A scenario gets an arena, breaks something, and raises ``Broken`` when the outcome is not the one that is promised.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import sqlite3
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, make_url, text

from opgrid.broker.keys import Keys
from opgrid.contracts.events import EngineNote, StepFailed, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.status import RunStatus
from opgrid.ids import RunId
from orchestrator.coordinator.ownership import LEASE, RENEW
from orchestrator.services.submission import cancel
from tests.faults.arena import LEASE_TTL, Arena, Broken, alive, descendants, kill, signal_all
from tests.faults.proxy import Weather
from tests.faults.wide import DEEP, WIDE

Scenario = Callable[[Arena], None]


@dataclass(frozen=True)
class Fault:
    name: str  #: of the matrix
    title: str
    promise: str
    run: Scenario
    slow: bool = False  #: needs real minutes
    limit: float | None = None  #: seconds until the fault must be seen
    anew: bool = False  #: wants processes that have served no other trial


FAULTS: dict[str, Fault] = {}


def fault(
    name: str, title: str, promise: str, *, slow: bool = False, limit: float | None = None, anew: bool = False
) -> Callable[[Scenario], Scenario]:
    def decorated(scenario: Scenario) -> Scenario:
        FAULTS[name] = Fault(name, title, promise, scenario, slow, limit, anew)
        return scenario

    return decorated


def check(holds: object, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


def one_running(arena: Arena, run_id: RunId) -> StepStarted:
    found: list[StepStarted] = []

    def look() -> bool:
        going = [each for each in arena.running(run_id) if each.step.startswith("work")]
        found[:] = [arena.chance.choice(going)] if going else []
        return bool(found) or arena.status(run_id).is_final

    arena.until(look, "no step runs")
    check(found, "the run was over too soon")
    return found[0]


# ---- processes that die ----------------------------------------------------------------------------------------------


@fault("F1", "a pool process is killed", "lost within 1 s, attempt + 1 runs, SUCCESS", limit=1.0)
def child_killed(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id, 2, 12)
    victim = one_running(arena, run_id)
    arena.fault(lambda: kill(victim.pid))
    arena.succeeded(run_id)
    arena.measure(run_id)
    lost = arena.of(run_id, StepLost)
    check(len(lost) <= 1, f"{len(lost)} attempts were lost, not one")


@fault("F2", "a worker's main process is killed", "lost within 2 s, new attempts elsewhere, no orphans", limit=2.0)
def worker_killed(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    victim = arena.chance.choice(arena.workers)
    family = descendants(victim.pid)
    arena.fault(lambda: kill(victim.pid))
    arena.succeeded(run_id)
    arena.measure(run_id)
    arena.until(lambda: not any(alive(pid) for pid in family[1:]), "processes of the worker live on", 15)


@fault("F3", "a host is gone: worker, children and watch process at once", "as F2, by silence", limit=LEASE_TTL + 2.0)
def host_gone(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    victim = arena.chance.choice(arena.workers)
    family = descendants(victim.pid)

    def gone() -> None:
        signal_all(family, signal.SIGSTOP)
        signal_all(family, signal.SIGKILL)

    arena.fault(gone)
    arena.succeeded(run_id)
    arena.measure(run_id)


@fault("F4", "a worker freezes and comes back", "new attempt, the old result is refused", limit=LEASE_TTL + 2.0)
def worker_frozen(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    family = descendants(arena.chance.choice(arena.workers).pid)
    arena.fault(lambda: signal_all(family, signal.SIGSTOP))
    arena.succeeded(run_id)
    signal_all(family, signal.SIGCONT)
    time.sleep(LEASE_TTL)
    arena.succeeded(run_id)
    arena.measure(run_id)


@fault("F5", "an op holds the interpreter for ever", "timed out, retried by its policy, SUCCESS")
def child_hangs(arena: Arena) -> None:
    arena.service(workers=1)
    run_id = arena.launch("hanging")
    check(arena.ended(run_id) is RunStatus.SUCCESS, "the run failed")
    (failed,) = arena.of(run_id, StepFailed)
    check(failed.timed_out, "it did not fail by its timeout")
    check(not arena.of(run_id, StepLost), "it was taken for dead: nobody beat for it")


@fault("F6", "an orchestrator is killed", "another goes on; nothing that had succeeded runs again")
def orchestrator_killed(arena: Arena) -> None:
    arena.service(orchestrators=2)
    run_id = arena.launch()
    arena.a_moment_in(run_id, 0, 18)
    victim = arena.holder()
    arena.fault(lambda: victim.send_signal(signal.SIGKILL))
    took_over = []

    def taken() -> bool:
        lease = arena.store.held().get("queue")
        if lease is not None and lease.owner.split(":")[1] != str(victim.pid) and not took_over:
            took_over.append(time.time())
        return bool(took_over)

    arena.until(taken, "nobody took over", 20)
    arena.figures["detection"] = took_over[0] - arena.fault_at
    arena.succeeded(run_id)


@fault("F7", "an orchestrator is frozen past its lease, and comes back", "what it then writes is refused", slow=True)
def orchestrator_frozen(arena: Arena) -> None:
    arena.service(orchestrators=2)
    run_id = arena.launch()
    arena.a_moment_in(run_id, 0, 10)
    holder = arena.holder().pid
    arena.fault(lambda: kill(holder, signal.SIGSTOP))
    until = time.monotonic() + LEASE + 25
    is_sqlite = arena.database_url.startswith("sqlite")
    while not arena.status(run_id).is_final and time.monotonic() < until:
        time.sleep(0.1)
    # With SQLite, one that is frozen while it writes holds the file, and all others wait for it.
    check(is_sqlite or arena.status(run_id).is_final, "nobody went on with the run")
    if not arena.status(run_id).is_final:
        kill(holder, signal.SIGCONT)
        arena.succeeded(run_id)
        return
    time.sleep(max(0.0, arena.fault_at + LEASE + 2 - time.time()))
    before = len(arena.events(run_id))
    kill(holder, signal.SIGCONT)
    time.sleep(3)
    arena.succeeded(run_id)
    check(len(arena.events(run_id)) == before, "the frozen one wrote to a run that was another's")


@fault("F8", "three orchestrators at once", "each run has one driver")
def several_orchestrators(arena: Arena) -> None:
    arena.service(orchestrators=3)
    runs = [arena.launch() for _ in range(3)]
    for run_id in runs:
        arena.succeeded(run_id)
        starts = [event for event in arena.events(run_id) if event.TYPE.value == "PIPELINE_START"]
        check(len(starts) == 1, f"{len(starts)} starts of one run")


# ---- Redis -----------------------------------------------------------------------------------------------------------


@fault("F9", "Redis is killed and comes back with its data", "no step fails, the run goes on")
def redis_restarted(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    arena.fault(lambda: arena.redis.restart(arena.chance.random()))
    back = time.time()
    arena.succeeded(run_id, once=False)
    later = [event.at for event in arena.of(run_id, StepSucceeded) if event.at > back]
    if later:
        arena.figures["recovery"] = min(later) - back


@fault("F10", "Redis loses everything", "noticed; lost outputs are made again; SUCCESS")
def redis_emptied(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    arena.fault(lambda: arena.flush(lambda client: client.flushall()))
    arena.succeeded(run_id, once=False)


@fault("F11", "Redis comes back as it was some time ago", "as F10")
def redis_rolled_back(arena: Arena) -> None:
    import shutil

    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id, 1, 9)
    data, copy = arena.folder / "redis", arena.folder / f"copy-{run_id}"
    shutil.copytree(data, copy)
    arena.a_moment_in(run_id, 10, 18)

    def back() -> None:
        arena.redis.kill()
        shutil.rmtree(data)
        shutil.copytree(copy, data)
        arena.redis.revive()

    arena.fault(back)
    arena.succeeded(run_id, once=False)


def outage(arena: Arena, weather: Weather, seconds: float, whom: str) -> None:
    proxy = arena.to_workers if whom == "workers" else arena.to_orchestrators
    proxy.weather = weather
    time.sleep(seconds)
    proxy.weather = Weather.FAIR


@fault("F12", "the way between workers and Redis is cut, or silent, for 0.4 to 40 s", "the run goes on")
def workers_cut_off(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    weather = arena.chance.choice([Weather.CUT, Weather.SILENT])
    (seconds,) = arena.chance.choices([0.4, 2.0, 4.0, 40.0], [4, 4, 4, 1])
    arena.fault(lambda: outage(arena, weather, seconds, "workers"))
    back = time.time()
    arena.succeeded(run_id)
    later = [event.at for event in arena.of(run_id, StepSucceeded) if event.at > back]
    if later:
        arena.figures["recovery"] = min(later) - back


@fault("F13", "the way between orchestrators and Redis is cut, or silent", "no lease ends for lack of sight")
def orchestrators_cut_off(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    weather = arena.chance.choice([Weather.CUT, Weather.SILENT])
    arena.fault(lambda: outage(arena, weather, arena.chance.choice([0.5, 3.0]), "orchestrators"))
    arena.succeeded(run_id)
    check(not arena.of(run_id, StepLost), "attempts were lost, though their workers were well")


@fault("F14", "messages are lost", "sent again, and each step runs once")
def messages_lost(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id, 2, 6)
    queues = Keys().queue_lists("opgrid")
    arena.fault(lambda: arena.flush(lambda client: client.delete(*queues)))
    arena.succeeded(run_id)


@fault("F15", "messages come three times", "one claim wins")
def messages_doubled(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id, 2, 6)

    def double(client: Any) -> None:
        for name in Keys().queue_lists("opgrid"):
            waiting = client.lrange(name, 0, -1)
            if waiting:
                arena.chance.shuffle(waiting)
                client.rpush(name, *waiting, *waiting)

    arena.fault(lambda: arena.flush(double))
    arena.succeeded(run_id)
    marks = [len(path.read_text().splitlines()) for path in arena.marks.iterdir() if path.name != "sum"]
    check(set(marks) == {1}, f"bodies ran more than once: {marks}")


@fault("F16", "events come twice, and out of order", "no state changes")
def events_replayed(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    run = arena.store.run(run_id)
    assert run is not None
    stream = Keys().events(run.brief.stream)

    def replay(client: Any) -> None:
        entries = [fields for _, fields in client.xrange(stream)]
        arena.chance.shuffle(entries)
        for fields in entries:
            client.xadd(stream, fields)

    for _ in range(3):
        arena.a_moment_in(run_id)
        arena.fault(lambda: arena.flush(replay))
    arena.succeeded(run_id)


@fault("F17", "answers to orchestrators are lost: did it arrive?", "each step runs once")
def publish_ambiguous(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    if arena.chance.random() < 0.7:
        arena.a_moment_in(run_id, 0, 12)
    arena.fault(lambda: outage(arena, Weather.ONE_WAY, 1.0, "orchestrators"))
    arena.succeeded(run_id)
    marks = [len(path.read_text().splitlines()) for path in arena.marks.iterdir() if path.name != "sum"]
    check(set(marks) == {1}, f"bodies ran more than once: {marks}")


# ---- steps and values ------------------------------------------------------------------------------------------------


@fault("F18", "an op kills every process that takes it", "three losses, then the step fails; others are unharmed")
def poison(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch("poisoned")
    check(arena.ended(run_id) is RunStatus.FAILURE, "the run did not fail")
    arena.sound(run_id)
    check(len([each for each in arena.of(run_id, StepStarted) if each.step == "poison"]) <= 4, "more than four starts")
    failed = arena.of(run_id, StepFailed)
    check([each.step for each in failed] == ["poison"], f"others failed, too: {[each.step for each in failed]}")
    check("total" in {each.step for each in arena.of(run_id, StepSucceeded)}, "others did not go on")


@fault(
    "F19",
    "a stored value is damaged, forged, or another's",
    "never unpickled; what is damaged is made again, else the step fails and says so",
)
def value_damaged(arena: Arena) -> None:
    arena.service()
    how = arena.chance.choice(["damaged", "damaged", "forged", "another's"])
    run_id = arena.launch(tags={"opgrid/fuse": "false"})
    arena.a_moment_in(run_id, 3, 12)
    armed = arena.folder / f"armed-{run_id}"
    arena.fault(lambda: arena.flush(lambda client: change_values(client, arena, run_id, how, armed)))
    check(arena.ended(run_id).is_final and not armed.exists(), "a forged value was unpickled")
    if how == "damaged" or arena.status(run_id) is RunStatus.SUCCESS:  # else every value had been read by then
        arena.succeeded(run_id, once=False)
        return
    failed = arena.of(run_id, StepFailed)
    causes = [each.error.cause.kind for each in failed if each.error.cause is not None]
    check(set(causes) == {"PayloadRejected"}, f"steps failed of something else: {[each.error for each in failed]}")


def change_values(client: Any, arena: Arena, run_id: RunId, how: str, armed: Path) -> None:
    keys = [key for key in client.scan_iter(match=f"*io:{run_id}:*", count=1000) if client.type(key) == b"string"]
    chosen = arena.chance.sample(keys, min(2, len(keys)))
    values = {key: client.get(key) for key in chosen}
    for place, key in enumerate(chosen):
        if how == "forged":
            client.set(key, forged(values[key], armed))
        elif how == "another's":
            client.set(key, values[chosen[place - 1]])
        else:
            at = arena.chance.randrange(len(values[key]))
            client.setrange(key, at, bytes([values[key][at] ^ 1 << arena.chance.randrange(8)]))


def forged(value: bytes, armed: Path) -> bytes:
    """A bomb with all checksums as they should be: all that who has no key can do."""
    bomb = pickle.dumps(Bomb(str(armed)))
    (length,) = struct.unpack_from(">I", value)
    header = bytearray(value[8 : 4 + length])
    old = value[4 + length :]
    digest = hashlib.sha256(old).digest()
    at = header.find(digest)
    header[at : at + 32] = hashlib.sha256(bomb).digest()
    sizes = struct.pack(">QQ", len(old), len(old))
    header = bytearray(bytes(header).replace(sizes, struct.pack(">QQ", len(bomb), len(bomb))))
    return struct.pack(">I", length) + zlib.crc32(header).to_bytes(4, "big") + bytes(header) + bomb


class Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@fault("F20", "a value is too large", "refused before it is sent, with size and limit; 64 MiB works")
def value_too_large(arena: Arena) -> None:
    arena.service()
    fits = arena.launch("heavy", {"ops": {"large": {"inputs": {"size": 64 * 2**20}}}})
    check(arena.ended(fits) is RunStatus.SUCCESS, "64 MiB did not fit")
    refused = arena.launch("heavy", {"ops": {"large": {"inputs": {"size": 128 * 2**20}}}})
    check(arena.ended(refused) is RunStatus.FAILURE, "128 MiB fitted")
    (failed,) = arena.of(refused, StepFailed)
    said = f"{failed.error.message} {failed.error.cause.message if failed.error.cause else ''}"
    check(f"{100 * 2**20:,}" in said, f"the limit is not named: {said}")


@fault("F21", "the memory of Redis is full for some seconds", "workers stay; the run goes on when there is room")
def memory_full(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)

    def fill(client: Any) -> None:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * arena.chance.choice([0.9, 1.1])))

    arena.fault(lambda: arena.flush(fill))
    time.sleep(arena.chance.choice([1.0, 4.0]))
    arena.flush(lambda client: client.config_set("maxmemory", 0))
    arena.succeeded(run_id)
    check(all(worker.process.poll() is None for worker in arena.workers), "a worker has ended")


# ---- the database ----------------------------------------------------------------------------------------------------


@fault("F22", "the disk of the database is full for some seconds", "nothing is acknowledged that was not stored")
def disk_full(arena: Arena) -> None:
    arena.service()
    orchestrator = arena.processes[0].pid
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    if arena.database_url.startswith("sqlite"):
        import resource

        def full() -> None:
            resource.prlimit(orchestrator, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

        arena.fault(full)
        time.sleep(arena.chance.choice([1.0, 3.0]))
        resource.prlimit(orchestrator, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        arena.fault(lambda: refuse_writes(arena, arena.chance.choice([1.0, 3.0])))
    arena.succeeded(run_id)


def refuse_writes(arena: Arena, seconds: float) -> None:
    """As PostgreSQL says it when its disk is full."""
    engine = engine_of(arena)
    with engine.begin() as connection:
        connection.execute(
            text(
                "create or replace function full_disk() returns trigger language plpgsql as $$ begin "
                "raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$"
            )
        )
        connection.execute(text("create trigger full_disk before insert on events execute function full_disk()"))
    time.sleep(seconds)
    with engine.begin() as connection:
        connection.execute(text("drop trigger full_disk on events"))
    engine.dispose()


def engine_of(arena: Arena) -> Any:
    url = make_url(arena.database_url)
    return create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)


@fault("F23", "the database is locked for some seconds", "everybody waits, nothing is lost")
def database_locked(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    seconds = arena.chance.choice([1.0, 4.0])
    if arena.database_url.startswith("sqlite"):
        path = make_url(arena.database_url).database
        with closing(sqlite3.connect(str(path), timeout=30, isolation_level=None)) as connection:
            connection.execute("begin exclusive")
            arena.fault(lambda: time.sleep(seconds))
            connection.execute("rollback")
    else:
        engine = engine_of(arena)
        with engine.begin() as connection:
            connection.execute(text("lock table events in access exclusive mode"))
            arena.fault(lambda: time.sleep(seconds))
        engine.dispose()
    arena.succeeded(run_id)


@fault("F24", "the database is slow", "slower, but no lease is lost and nothing doubled")
def database_slow(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    over = threading.Event()

    def slow_down() -> None:
        if arena.database_url.startswith("sqlite"):
            path = make_url(arena.database_url).database
            with closing(sqlite3.connect(str(path), timeout=30, isolation_level=None)) as connection:
                while not over.is_set():
                    connection.execute("begin immediate")
                    time.sleep(0.4)
                    connection.execute("rollback")
                    time.sleep(0.02)
            return
        engine = engine_of(arena)
        while not over.is_set():
            with engine.begin() as connection:
                connection.execute(text("lock table events in access exclusive mode"))
                time.sleep(0.4)
            time.sleep(0.02)
        engine.dispose()

    slow = threading.Thread(target=slow_down)
    slow.start()
    try:
        arena.ended(run_id)
    finally:
        over.set()
        slow.join()
    arena.succeeded(run_id)
    check(not arena.of(run_id, StepLost), "attempts were lost")


@fault("F25", "clocks are set two hours forward or back", "no lease ends, nothing is doubled or late", anew=True)
def clocks_set(arena: Arena) -> None:
    arena.give_wrong_clocks()
    if arena.chance.random() < 0.3:
        daemons_clock_set(arena)
        return
    arena.service(orchestrators=2)
    for _ in range(2):
        owners = {name: lease.owner for name, lease in arena.store.held().items()}
        run_id = arena.launch()
        arena.a_moment_in(run_id, 0, 12)
        some = arena.chance.sample(arena.clocks, arena.chance.randint(1, len(arena.clocks)))
        arena.fault(lambda those=some: [arena.set_clock(each, arena.chance.choice([-7200, 7200])) for each in those])
        arena.succeeded(run_id)
        check(not arena.of(run_id, StepLost), "attempts were lost, though their workers were well")
        time.sleep(LEASE_TTL)
        time.sleep(RENEW)
        now = {name: lease.owner for name, lease in arena.store.held().items()}
        check(now == owners, "an orchestrator took over from one that was well")


def daemons_clock_set(arena: Arena) -> None:
    origin = "sensor:tests.faults.jobs:counting"
    arena.start("daemon", "run", "-m", "tests.faults.jobs", "-d", str(ROOT))
    for _ in range(3):
        wanted = len(arena.store.launched(origin)) + arena.chance.randint(1, 3)
        arena.until(lambda least=wanted: len(arena.store.launched(origin)) >= least, "no ticks")  # type: ignore[misc]
        arena.fault(lambda: arena.set_clock(arena.clocks[0], arena.chance.choice([-7200, 7200])))
    arena.until(lambda: len(arena.store.launched(origin)) >= 12, "ticks are missing")
    time.sleep(1.0)
    numbers = sorted(int(key) for key in arena.store.launched(origin))
    check(numbers == list(range(1, 13)), f"runs of ticks: {numbers}")


@fault("F26", "a run of 10,000 steps, 1,000 at once", "done within 120 s, with memory in bounds", slow=True)
def many_steps(arena: Arena) -> None:
    arena.service()
    begin = time.monotonic()
    run_id = arena.launch("wide")
    check(arena.ended(run_id, 120) is RunStatus.SUCCESS, "the run failed")
    arena.figures["recovery"] = time.monotonic() - begin
    wins = len(arena.of(run_id, StepSucceeded))
    check(wins == WIDE * DEEP + 2, f"{wins} steps succeeded")
    status = dict(
        line.split(":", 1)
        for line in open(f"/proc/{arena.processes[0].pid}/status").read().splitlines()  # noqa: SIM115
    )
    check(int(status["VmHWM"].split()[0]) < 400 * 1024, f"the orchestrator took {status['VmHWM']}")


# ---- deliberate stops ------------------------------------------------------------------------------------------------


@fault("F27", "a worker is stopped, in order or at once, while another comes", "nothing fails; at once, its steps move")
def rolling_deploy(arena: Arena) -> None:
    arena.service()
    run_id = arena.launch()
    arena.a_moment_in(run_id)
    at_once = arena.chance.random() < 0.4
    arena.fault(lambda: arena.workers[0].process.send_signal(signal.SIGQUIT if at_once else signal.SIGTERM))
    arena.worker()
    arena.succeeded(run_id)
    code = arena.workers[0].process.wait(30)
    if at_once:
        arena.measure(run_id)
        check(arena.figures.get("recovery", 0.0) <= 5.0, "the steps of the worker were not sent again within 5 s")
        return
    check(not arena.of(run_id, StepLost), "attempts were lost")
    check(code == 0, "the worker ended with an error")


@fault("F28", "a cancel: queued, running, without workers, or while another takes over", "CANCELED, and nothing starts")
def canceled(arena: Arena) -> None:
    how = arena.chance.choice(["queued", "running", "no worker", "takeover"])
    arena.service(orchestrators=2 if how == "takeover" else 1)
    run_id = arena.launch(tags={"held": "1"} if how == "queued" else {})
    if how != "queued":
        arena.a_moment_in(run_id, 1, 12)
    if how == "no worker":
        for worker in arena.workers:
            family = descendants(worker.pid)
            signal_all(family, signal.SIGSTOP)
            signal_all(family, signal.SIGKILL)
    if how == "takeover":
        kill(arena.holder().pid)
    record = arena.store.run(run_id)
    assert record is not None
    if record.status.is_final:
        return
    said: list[RunStatus] = []
    arena.fault(lambda: said.append(cancel(arena.store, record, "enough")))
    if said[0] is RunStatus.SUCCESS:
        return  # it had ended before
    check(arena.ended(run_id, 30) is RunStatus.CANCELED, f"{how}: it ended otherwise")
    arena.figures["recovery"] = time.time() - arena.fault_at
    time.sleep(1.5)
    marks = sorted(arena.marks.iterdir())
    late = [
        path.name
        for path in marks
        if path.name != "sum" and float(path.read_text().split()[-1]) > arena.fault_at + arena.figures["recovery"]
    ]
    check(not late, f"{how}: steps started after it had ended: {late}")


@fault("F29", "nobody serves the queue", "the run says so within 30 s", limit=30.0)
def no_worker(arena: Arena) -> None:
    arena.service(workers=1)
    arena.fault_at = time.time()
    run_id = arena.launch("unserved")
    arena.until(lambda: arena.of(run_id, EngineNote), "the run says nothing", 30)
    (note, *_) = arena.of(run_id, EngineNote)
    check("'nobody'" in note.message, note.message)
    arena.figures["detection"] = note.at - arena.fault_at


@fault("F30", "the daemon is killed around ticks", "one run for each tick", anew=True)
def daemon_killed(arena: Arena) -> None:
    origin = "sensor:tests.faults.jobs:counting"
    code = ("daemon", "run", "-m", "tests.faults.jobs", "-d", str(ROOT))
    for _ in range(2):
        wanted = len(arena.store.launched(origin)) + arena.chance.randint(1, 5)
        daemon = arena.start(*code)
        arena.until(lambda least=wanted: len(arena.store.launched(origin)) >= min(least, 12), "no ticks")  # type: ignore[misc]
        time.sleep(arena.chance.random() * 0.5)
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
    arena.start(*code)
    arena.until(lambda: len(arena.store.launched(origin)) >= 12, "ticks are missing")
    time.sleep(1.0)
    numbers = sorted(int(key) for key in arena.store.launched(origin))
    check(numbers == list(range(1, 13)), f"runs of ticks: {numbers}")
    check(len(arena.store.runs()) == 12, "a tick launched twice")


ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
