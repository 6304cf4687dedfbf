"""The watch process of a worker: beats for the claims of all its children, and tells when one or all have died.

It is started by exec and shares nothing with the worker but a folder and a socket: no library of the user's can stall
it. It learns of a child's death from the kernel (a descriptor of the process, or the end of the child's connection), of
the worker's from the end of its socket, and of a worker that hangs from ticks that do not come.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from opgrid.broker.connection import reaching
from opgrid.broker.keys import Keys
from opgrid.broker.messages import seal_events, seal_returned
from opgrid.broker.presence import Presence, announce, withdraw
from opgrid.broker.protocol import Beat, Protocol, Said
from opgrid.contracts import wire
from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.events import AnyEvent, ErrorInfo, LossCause, StepCanceled, StepFailed, StepLost
from opgrid.errors import BrokerUnreachable
from opgrid.ids import RunId, StepKey
from opgrid.io.keys import KeyRing
from opgrid.trouble import Trouble
from worker.cancellation import STOP_SIGNAL
from worker.leases import AFTER, Claim, Slot, slot_path
from worker.settings import WorkerSettings

SOCKET: Final = "watch.sock"
HELLO: Final = struct.Struct("<I")  # a child's process id
LENGTH: Final = struct.Struct("<I")  # of the settings, which come first on the worker's socket
WORD: Final = struct.Struct("<cIi")  # then these: what, process id, exit code
TICK: Final = b"t"
READY: Final = b"r"  # the worker takes messages
BYE: Final = b"q"
EXIT: Final = b"x"
SERVES: Final = b"s"  # so many bytes follow as its second number says: Serves, as JSON

_WAIT_FOR_STATUS: Final = 1.0  #: seconds until a death is told without its exit code

_log = logging.getLogger("opgrid.watch")


class Serves(msgspec.Struct, frozen=True, array_like=True):
    """What a worker takes messages of by now, and how many at once: remote control may have changed it."""

    queues: tuple[str, ...]  #: none, of a worker that is to end
    concurrency: int


class Why(Enum):
    """A child is told to stop."""

    STALE = "stale"
    CANCEL = "cancel"
    TIMEOUT = "timeout"


@dataclass(slots=True)
class Stopping:
    claim: str
    why: Why
    kill_at: float


@dataclass(slots=True)
class Child:
    pid: int
    connection: socket.socket | None  #: none for one that a former watch process knew, until it connects again
    slot: Slot
    process: int | None  #: descriptor of the process, where the system has such
    stopping: Stopping | None = None


@dataclass(slots=True)
class Death:
    """A child has ended; its claims wait for its exit code, and for Redis to take the news."""

    pid: int
    claims: list[Claim]
    running: str  #: the claim whose step ran; "": between two
    since: float  #: when it began
    stopping: Stopping | None
    tell_at: float
    status: int | None = None
    trouble: Trouble = field(default_factory=lambda: Trouble(_log))  #: that keeps it from being told

    @property
    def blamed(self) -> list[Claim]:
        """What ran; where that cannot be told, all but what the coordinator may not know to be out: a loss of that
        would be a loss of nothing, and end an attempt that is still to be sent.
        """
        if self.running.startswith(AFTER):
            return []
        ran = [claim for claim in self.claims if claim.claim == self.running]
        return ran or [claim for claim in self.claims if not claim.follows]

    @property
    def left_off(self) -> list[Claim]:
        """What had ended, whether that was heard or not, and whose hooks may not have run."""
        return [claim for claim in self.claims if AFTER + claim.claim == self.running]


@dataclass(slots=True)
class Watch:
    settings: WorkerSettings
    protocol: Protocol
    ring: KeyRing
    folder: Path
    parent: socket.socket
    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    children: dict[int, Child] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    beats: dict[str, int] = field(default_factory=dict)  #: by claim
    peaks: dict[int, int] = field(default_factory=dict)  #: bytes that children with a step have used at most
    statuses: dict[int, int] = field(default_factory=dict)  #: exit codes that came before the death was noticed
    heard: bytes = b""
    last_tick: float = field(default_factory=time.monotonic)
    next_beat: float = 0.0
    parent_is_gone: bool = False
    gone_at: float = 0.0
    draining: bool = False
    announced: bool = False
    silent: bool = False
    no_beat: Trouble = field(default_factory=lambda: Trouble(_log))

    # ---- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the worker has ended and everything about it is told."""
        self.selector.register(self.listener, selectors.EVENT_READ, self._on_connect)
        self.selector.register(self.parent, selectors.EVENT_READ, self._on_parent)
        self._adopt()
        self.next_beat = time.monotonic() + self.settings.beat_interval
        while not self._is_done():
            for key, _ in self.selector.select(max(0.0, self._next_wake() - time.monotonic())):
                key.data()
            now = time.monotonic()
            self._tell_deaths(now)
            self._kill_what_does_not_stop(now)
            if now >= self.next_beat:
                self.next_beat = now + self.settings.beat_interval
                self._beat(now)

    def _is_done(self) -> bool:
        """The worker is gone, and what became of its children is told, or cannot be: their leases end by themselves."""
        if not self.parent_is_gone:
            return False
        return not (self.children or self.deaths) or time.monotonic() > self.gone_at + self.settings.redis_grace

    def _next_wake(self) -> float:
        times = [self.next_beat]
        times += [death.tell_at for death in self.deaths]
        times += [child.stopping.kill_at for child in self.children.values() if child.stopping]
        return min(times)

    # ---- children come and go --------------------------------------------------------------------------------------

    def _on_connect(self) -> None:
        """Who it is may come later, on a busy machine: nobody waits for that, and all others are beaten for."""
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._on_hello(connection))

    def _on_hello(self, connection: socket.socket) -> None:
        self.selector.unregister(connection)
        try:
            (pid,) = HELLO.unpack(connection.recv(HELLO.size))  # sent in one piece
            slot = Slot.open(slot_path(self.folder, pid))
        except (OSError, struct.error):
            connection.close()
            return
        before = self.children.get(pid)
        if before is not None:
            self._let_go(before)
        self._take_on(Child(pid, connection, slot, _descriptor_of(pid), before.stopping if before else None))

    def _adopt(self) -> None:
        """Children of a worker whose former watch process died: their slots are still there."""
        for path in self.folder.glob("*.slot"):
            pid = int(path.stem)
            process = _descriptor_of(pid)
            if process is not None:
                self._take_on(Child(pid, None, Slot.open(path), process))

    def _take_on(self, child: Child) -> None:
        self.children[child.pid] = child
        ends = child.process if child.process is not None else child.connection
        assert ends is not None
        self.selector.register(ends, selectors.EVENT_READ, lambda: self._on_child_end(child))

    def _let_go(self, child: Child) -> None:
        ends = child.process if child.process is not None else child.connection
        assert ends is not None
        self.selector.unregister(ends)
        child.slot.close()
        if child.connection is not None:
            child.connection.close()
        if child.process is not None:
            os.close(child.process)
        del self.children[child.pid]

    def _on_child_end(self, child: Child) -> None:
        claims, (running, since) = child.slot.held(), child.slot.running()
        child.slot.path.unlink(missing_ok=True)
        self._let_go(child)
        kill_group(child.pid)
        if not self.parent_is_gone:
            with contextlib.suppress(OSError):
                self.parent.send(EXIT, socket.MSG_DONTWAIT)  # it answers with the exit code
        status = self.statuses.pop(child.pid, None)
        wait = 0.0 if self.parent_is_gone or status is not None else _WAIT_FOR_STATUS
        if claims:
            tell_at = time.monotonic() + wait
            self.deaths.append(Death(child.pid, claims, running, since, child.stopping, tell_at, status))

    def _on_parent(self) -> None:
        try:
            data = self.parent.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self._on_parent_end()
            return
        self.heard += data
        while len(self.heard) >= WORD.size:
            word, pid, number = WORD.unpack_from(self.heard)
            end = WORD.size + (number if word == SERVES else 0)
            if len(self.heard) < end:
                return
            said, self.heard = self.heard[WORD.size : end], self.heard[end:]
            self._on_word(word, pid, number, said)

    def _on_word(self, word: bytes, pid: int, status: int, said: bytes) -> None:
        if word == TICK:
            self.last_tick = time.monotonic()
        elif word == READY:
            self.announced = True
            self._announce()
        elif word == BYE:
            self.draining, self.announced = True, False
        elif word == EXIT:
            self._on_status(pid, status)
        elif word == SERVES:
            serves = json_decoder(Serves).decode(said)
            queues, concurrency = serves.queues, serves.concurrency
            self.settings = msgspec.structs.replace(self.settings, queues=queues, concurrency=concurrency)
            self._announce()

    def _on_status(self, pid: int, status: int) -> None:
        if pid in self.children:
            self.statuses[pid] = status
        for death in self.deaths:
            if death.pid == pid:
                death.status, death.tell_at = status, 0.0

    def _on_parent_end(self) -> None:
        self.selector.unregister(self.parent)
        self.parent_is_gone, self.gone_at = True, time.monotonic()
        with contextlib.suppress(BrokerUnreachable), reaching(self.settings.broker_url):
            withdraw(self.protocol.client, self.protocol.keys, self.settings.name)
        if not self.draining:
            _log.error("The worker process is gone; its children are ended.")
        for child in list(self.children.values()):
            kill_group(child.pid)

    # ---- telling ---------------------------------------------------------------------------------------------------

    def _tell_deaths(self, now: float) -> None:
        for death in [each for each in self.deaths if each.tell_at <= now]:
            try:
                blamed, left_off = death.blamed, death.left_off
                self._give_back([claim for claim in death.claims if claim not in blamed and claim not in left_off])
                for claim in left_off:
                    self._tell_of_hooks(death, claim)
                death.claims = blamed
                while death.claims:
                    self._tell(death, death.claims[-1])
                    death.claims.pop()
                self.deaths.remove(death)
                death.trouble.is_over(f"The end of process {death.pid} is told")
            except BrokerUnreachable as error:
                death.trouble.is_there(f"The end of process {death.pid} waits to be told: {error}")
                death.tell_at = now + 0.5

    def _give_back(self, claims: Sequence[Claim]) -> None:
        """What the process had claimed ahead, or had not told of yet, is sent again as the same attempt."""
        for at, claim in [(each.at, each.claim) for each in claims]:
            returned = seal_returned([(RunId(at.run_id), StepKey(at.step), at.attempt)], self.ring)
            self.protocol.exchange(at.run_id, at.stream, "", returned=[(at.step, claim)], notice=returned)
            self.beats.pop(claim, None)

    def _tell(self, death: Death, claim: Claim) -> None:
        event = self._ended(death, claim)
        said = self.protocol.finish(claim.at, claim.claim, seal_events([event], self.ring))
        self.beats.pop(claim.claim, None)
        if said is Said.OK:
            _log.warning(
                "%s: step %s, attempt %s of run %s", type(event).__name__, claim.step, claim.attempt, claim.run_id
            )

    def _tell_of_hooks(self, death: Death, claim: Claim) -> None:
        """The end of the step stands, and whoever waits for its hooks is told that nobody runs them; unless the end was
        not heard: then the attempt is lost.
        """
        lost = self._lost(death, claim)
        self.protocol.finish(claim.at, claim.claim, seal_events([lost], self.ring))
        lost = msgspec.structs.replace(lost, after_end=True)
        self.protocol.append(claim.stream, seal_events([lost], self.ring))
        self.beats.pop(claim.claim, None)

    def _ended(self, death: Death, claim: Claim) -> AnyEvent:
        run_id, step, at = RunId(claim.run_id), StepKey(claim.step), time.time()
        why = death.stopping.why if death.stopping and death.stopping.claim == claim.claim else None
        if why is Why.CANCEL:
            return StepCanceled(run_id=run_id, at=at, step=step, attempt=claim.attempt)
        if why is Why.TIMEOUT:
            seconds = time.monotonic() - death.since
            error = ErrorInfo("StepTimedOut", f"Step {claim.step!r} was killed after {seconds:.1f} s: it did not stop.")
            return StepFailed(
                run_id=run_id,
                at=at,
                step=step,
                attempt=claim.attempt,
                error=error,
                timed_out=True,
                orphaned=True,
                seconds=seconds,
            )
        return self._lost(death, claim)

    def _lost(self, death: Death, claim: Claim) -> StepLost:
        cause = self._cause(death)
        run_id, step = RunId(claim.run_id), StepKey(claim.step)
        return StepLost(run_id=run_id, at=time.time(), step=step, attempt=claim.attempt, cause=cause)

    def _cause(self, death: Death) -> LossCause:
        found = self._why(death)
        return msgspec.structs.replace(found, host=socket.gethostname(), peak_memory=self.peaks.pop(death.pid, 0))

    def _why(self, death: Death) -> LossCause:
        worker, status = self.settings.name, death.status
        if self.parent_is_gone:
            return LossCause("the worker was killed", worker=worker, pid=death.pid)
        if status is None:
            return LossCause("the process that ran it ended", worker=worker, pid=death.pid)
        if status < 0:
            name = _signal_name(-status)
            return LossCause(f"the process that ran it was killed by {name}", -status, worker=worker, pid=death.pid)
        return LossCause(f"the process that ran it exited with code {status}", None, status, worker, death.pid)

    # ---- beating and stopping --------------------------------------------------------------------------------------

    def _beat(self, now: float) -> None:
        if self.parent_is_gone:
            return
        claims = {child.pid: [claim for claim in child.slot.held() if claim.taken] for child in self.children.values()}
        for pid, held in claims.items():
            if held:
                self.peaks[pid] = peak_memory(pid)
            running, since = self.children[pid].slot.running()
            for claim in held:
                if claim.claim != running or claim.timeout is None:
                    continue
                if now - since > claim.timeout + self.settings.cancel_grace:
                    self._stop(self.children[pid], claim.claim, Why.TIMEOUT, now)
        if now - self.last_tick > self.settings.longest_silence:
            if not self.silent:
                self.silent = True
                _log.error("The worker process has been silent for %.1f s: nobody beats for it.", now - self.last_tick)
            return
        self.silent = False
        self._announce()
        self._beat_for([(pid, claim) for pid, held in claims.items() for claim in held], now)

    def _beat_for(self, pairs: Sequence[tuple[int, Claim]], now: float) -> None:
        known = {claim.claim: self.beats.get(claim.claim, 0) + 1 for _, claim in pairs}
        self.beats = known
        beats = [Beat(claim.at, claim.claim, known[claim.claim], claim.owner) for _, claim in pairs]
        if not beats:
            self.no_beat.is_not_seen("No steps are left to beat for")
            return
        try:
            answers = self.protocol.beat(beats)
        except BrokerUnreachable as error:
            self.no_beat.is_there(f"No beat: {error}")
            return
        self.no_beat.is_over("Beats are heard again")
        for (pid, claim), said in zip(pairs, answers, strict=True):
            if said in (Said.STALE, Said.CANCEL) and self.children[pid].slot.running()[0] == claim.claim:
                why = Why.CANCEL if said is Said.CANCEL else Why.STALE
                self._stop(self.children[pid], claim.claim, why, now)

    def _announce(self) -> None:
        """Tell who asks for workers that this one lives, and what it serves."""
        if not self.announced:
            return
        settings = self.settings
        about = Presence(
            settings.name,
            settings.queues,
            settings.concurrency,
            tuple(target.location for target in settings.code),
            tuple(sorted(self.children)),
            settings.versions,
            settings.release,
            wire.VERSION,
        )
        with contextlib.suppress(BrokerUnreachable), reaching(settings.broker_url):
            announce(self.protocol.client, self.protocol.keys, about, settings.lease_ttl)

    def _stop(self, child: Child, claim: str, why: Why, now: float) -> None:
        if child.stopping is not None and child.stopping.claim == claim:
            return
        grace = 0.0 if why is Why.TIMEOUT else self.settings.cancel_grace
        child.stopping = Stopping(claim, why, now + grace)
        child.slot.ask_to_stop(claim)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, STOP_SIGNAL)

    def _kill_what_does_not_stop(self, now: float) -> None:
        for child in self.children.values():
            stopping = child.stopping
            if stopping is None or now < stopping.kill_at:
                continue
            if any(claim.claim == stopping.claim for claim in child.slot.held()):
                _log.warning("Process %s did not stop within its grace: killed.", child.pid)
                stopping.kill_at = now + 5.0
                kill_group(child.pid)
            else:
                child.stopping = None


def _descriptor_of(pid: int) -> int | None:
    """Becomes readable when the process ends, even while a process of the user's holds its connection open."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def peak_memory(pid: int) -> int:
    """Bytes; 0 where nobody says."""
    try:
        lines = Path("/proc", str(pid), "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def kill_group(pid: int) -> None:
    """A child leads its own session: what it started goes with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def main(argv: Sequence[str]) -> None:
    """``FOLDER DESCRIPTOR``: where the worker's children connect, and the socket that its parent process speaks on."""
    logging.basicConfig(level=logging.WARNING, format="[%(asctime)s: %(levelname)s/watch] %(message)s")
    folder = Path(argv[0])
    with socket.socket(fileno=int(argv[1])) as parent, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        (length,) = LENGTH.unpack(parent.recv(LENGTH.size, socket.MSG_WAITALL))
        settings = json_decoder(WorkerSettings).decode(parent.recv(length, socket.MSG_WAITALL))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # it ends after the worker, never before
        (folder / SOCKET).unlink(missing_ok=True)
        listener.bind(str(folder / SOCKET))
        listener.listen(256)
        ring = KeyRing.load(settings.home, create=False)
        protocol = Protocol(settings.broker_url, Keys(settings.deployment), f"watch-{settings.name}")
        parent.send(TICK)  # ready
        with contextlib.closing(protocol):
            Watch(settings, protocol, ring, folder, parent, listener).run()
    shutil.rmtree(folder, ignore_errors=True)  # a worker that was killed has left it


if __name__ == "__main__":
    main(sys.argv[1:])
