"""One writer per run: who drives one holds its lease, and every transaction checks that it still does."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from opgrid.contracts.events import AnyEvent, RunCanceled, RunCanceling, RunFailed
from opgrid.contracts.status import RunStatus
from opgrid.crash_points import reach
from opgrid.errors import DatabaseUnreachable, OpGridError
from opgrid.ids import RunId, StepKey
from orchestrator.engine.gates import Gate
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.log import Turn
from orchestrator.engine.pools import Slot
from orchestrator.storage.protocols import FencedTurn, Store, Taker
from orchestrator.storage.records import Lease

#: Seconds that others wait for an owner on another machine who no longer renews.
LEASE = 10.0
RENEW = 3.0
#: Between looks of those who would take over.
STAND_BY = 1.0
#: Seconds between looks for a request to cancel.
_LOOK = 0.5


class RunIsDriven(OpGridError):
    """Another process drives this run."""

    exit_code = 2

    def __init__(self, run_id: str, owner: str) -> None:
        super().__init__(run_id, owner)
        self.run_id, self.owner = run_id, owner

    def describe(self) -> str:
        return f"Run {self.run_id} is being driven by {self.owner}. End that process first, or wait for the run."


@contextmanager
def driving(store: Store, run_id: RunId, inbox: Inbox | None = None, lease: Lease | None = None) -> Iterator[FencedLog]:
    """The log to write while this process drives the run. ``inbox`` is told when somebody asks for the run's end;
    ``lease`` is this process's, where it has one. Raises RunIsDriven.
    """
    owner = this_process()
    lease = lease or _taken(store, run_id, owner)
    log = FencedLog(store, run_id, lease.epoch)
    try:
        with _kept(store, run_id, owner, inbox) if store.crosses_processes else contextlib.nullcontext():
            yield log
    finally:
        if not log.is_closed:
            with contextlib.suppress(DatabaseUnreachable):  # others take over when the lease ends
                store.drop_lease(run_id, owner)


def _taken(store: Store, run_id: RunId, owner: str) -> Lease:
    lease = store.take_lease(run_id, owner, LEASE)
    if lease is None:
        held = store.lease(run_id)
        if held is None or not is_dead(held.owner):
            raise RunIsDriven(run_id, held.owner if held else "another process")
        store.drop_lease(run_id, held.owner)
        lease = store.take_lease(run_id, owner, LEASE)
        if lease is None:
            raise RunIsDriven(run_id, "another process")
    return lease


def end_canceled(store: Store, run_id: str, reason: str) -> None:
    """End a run at once, over the head of whoever drives it. What it has started may run on for a while."""
    now = time.time()
    events: list[AnyEvent] = [
        RunCanceling(run_id=RunId(run_id), at=now, reason=reason),
        RunCanceled(run_id=RunId(run_id), at=now),
    ]
    store.end_run(run_id, RunStatus.CANCELED, events, now)


def end_refused(store: Store, run_id: RunId, reason: str) -> None:
    """Fail a run of which the database does not take what it says."""
    failed = RunFailed(run_id=run_id, at=time.time(), reason=reason)
    store.end_run(run_id, RunStatus.FAILURE, [failed], failed.at)


class FencedLog:
    """A run's log, for as long as the lease's epoch is ours."""

    def __init__(self, store: Store, run_id: RunId, epoch: int) -> None:
        self._store, self._run_id, self._epoch = store, run_id, epoch
        self.is_closed = False  #: the run has ended, and its lease went with it

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        with self._store.turn() as turn:
            yield turn
            self.only(turn)
            ends = turn.ends(self._run_id)
        self.is_closed = self.is_closed or ends

    def only(self, turn: FencedTurn) -> None:
        turn.only_of_owner(self._run_id, self._epoch)

    @property
    def taker(self) -> Taker:
        return Taker(self._run_id, self.only)

    def read(self, run_id: RunId) -> Iterable[AnyEvent]:
        return self._store.read(run_id)

    def position(self, stream: str) -> str:
        return self._store.position(stream)


class ShardLog:
    """The log of all runs of a shard, for as long as the epoch of its lease is ours."""

    def __init__(self, store: Store, shard: str, epoch: int) -> None:
        self._store, self._shard, self._epoch = store, shard, epoch

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        with self._store.turn() as turn:
            yield turn
            self.only(turn)
            reach("turn before")
        reach("turn after")

    def only(self, turn: FencedTurn) -> None:
        turn.only_of_holder(self._shard, self._epoch)

    @property
    def taker(self) -> Taker:
        return Taker(self._shard, self.only)

    def read(self, run_id: RunId) -> Iterable[AnyEvent]:
        return self._store.read(run_id)

    def position(self, stream: str) -> str:
        return self._store.position(stream)


class FencedHolding:
    """What steps may have to wait for, of runs that this process drives: who drives them no more takes no slots for
    them, which nobody would free, and frees none.
    """

    def __init__(self, store: Store, taker: Taker) -> None:
        self._store, self._taker = store, taker

    def take_slots(self, wanted: Mapping[Slot, int]) -> set[Slot]:
        return self._store.take_slots(wanted, self._taker)

    def keep_slots(self, run_id: RunId, steps: Collection[StepKey]) -> None:
        self._store.keep_slots(run_id, steps, self._taker.only)

    def open_gates(self, gates: Sequence[Gate]) -> list[Gate]:
        return self._store.open_gates(gates)

    def decide(self, run_id: RunId, step: StepKey, approved: bool, who: str, note: str) -> bool:
        return self._store.decide(run_id, step, approved, who, note)


@contextmanager
def _kept(store: Store, run_id: RunId, owner: str, inbox: Inbox | None) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=_keep, args=(store, run_id, owner, stop, inbox), name="opgrid-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep(store: Store, run_id: RunId, owner: str, stop: threading.Event, inbox: Inbox | None) -> None:
    due = time.monotonic() + RENEW
    asked = False
    while not stop.wait(_LOOK):
        with contextlib.suppress(DatabaseUnreachable):  # tried again; the loop itself waits for it
            if inbox is not None and not asked:
                run = store.run(run_id)
                if run is not None and run.cancel is not None:
                    inbox.request_cancel(run_id, run.cancel)
                    inbox.interrupt()
                    asked = True
            if time.monotonic() >= due:
                store.keep_lease(run_id, owner, LEASE)
                due = time.monotonic() + RENEW


def this_process() -> str:
    """host:pid:start, where the start of the process tells it from a later one with the same number."""
    return _named(socket.gethostname(), os.getpid())


@lru_cache(maxsize=1)
def _named(host: str, pid: int) -> str:
    return f"{host}:{pid}:{_start_of(pid)}"


os.register_at_fork(after_in_child=_named.cache_clear)


def is_dead(owner: str) -> bool:
    """Known for this machine only."""
    host, _, rest = owner.partition(":")
    pid, _, start = rest.partition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _start_of(int(pid)) != start


def _start_of(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _by_signal(pid)
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _by_signal(pid: int) -> str:
    """Where there is no /proc: whether a process of that number lives."""
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
