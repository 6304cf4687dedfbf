"""The executor that sends steps to Celery workers and hears from them on a Redis stream."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from math import inf
from typing import Any, Final, Self

import msgspec

from executors.celery.backlog import Backlog, Kind, Line, Parcel, Waiting, each_of, expected, kind_of
from executors.celery.briefs import Briefs
from executors.celery.flights import TOLD, Flight, Flights, owner_of
from executors.celery.hearing import Hearing
from executors.celery.memory import Memory
from executors.celery.sending import BATCH, Sending
from executors.celery.serving import Serving
from executors.celery.settings import CelerySettings
from opgrid.broker.connection import check, reaching
from opgrid.broker.deployment import QUIET, STREAM_TTL, agree_on_database, agree_on_key, is_for
from opgrid.broker.keys import Keys
from opgrid.broker.messages import (
    Attempted,
    seal_events,
    seal_returned,
)
from opgrid.broker.pace import Pace
from opgrid.broker.protocol import ABOARD, Attempt, Living, Protocol, Said, generation_of
from opgrid.contracts.events import (
    EngineNote,
    ErrorInfo,
    LossCause,
    StepCanceled,
    StepFailed,
    StepLost,
    StepSucceeded,
)
from opgrid.contracts.executor import Executor, ExecutorSetup, Polled, Position
from opgrid.contracts.fusing import out_with
from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.contracts.told import Report
from opgrid.crash_points import reach
from opgrid.errors import BrokerBusy, BrokerUnfit, BrokerUnreachable
from opgrid.ids import RunId, StepKey
from opgrid.io.kept import expire_run, index_of
from opgrid.io.keys import KeyRing
from opgrid.trouble import Trouble

_CROWD: Final = 16  #: steps on their way; then events may gather
_GATHER: Final = 0.002  #: seconds
_LOOK: Final = QUIET / 3  #: seconds between looks at Redis, at most
_LONGEST: Final = 2.0  #: seconds of waiting after which it is seen to what else there is to do
_OFTEN: Final = 3  #: times that a message is lost until that is no accident
_TOO_OFTEN: Final = 10  #: times after which it is sent no more; with a lease of eight seconds, that is after 40 minutes

_log = logging.getLogger("opgrid.celery")


class CeleryExecutor(Executor):
    """One per coordinator: it owns its stream, and is used by one thread."""

    crosses_processes = True
    fuses = True
    sooner_alone = 0.016  #: what it takes to tell the coordinator, and to get the next message
    default_io = "redis"

    def __init__(self, setup: ExecutorSetup, settings: CelerySettings, keys: Keys, ring: KeyRing) -> None:
        self.url = settings.broker_url
        self.stream = setup.stream or f"own-{uuid.uuid4().hex[:12]}"
        self.settings = settings
        self.keys = keys
        self.ring = ring
        self.setup = setup
        self._protocol = Protocol(self.url, keys, f"coordinator-{self.stream}")
        self._flights = Flights(settings.lease_ttl)
        self._backlog = Backlog()
        self._pace = Pace()
        self._serving = Serving(self._protocol, self.stream, settings.lease_ttl)
        self._memory = Memory(self._protocol)
        self._briefs = Briefs(setup, self.stream, self._protocol, ring)
        self._sending = Sending(self._protocol, self._briefs, self._memory, ring)
        self._all_is_told = False  #: to that generation: all that a worker may have is known to it
        self._inherited: set[RunId] = set()  #: runs that another process drove: it may have sent what waits here
        self._is_submitting = False  #: or was to, and could not
        self._next_look = 0.0
        self._next_search = 0.0
        self._last_read = 0.0
        self._returned: list[Attempted] = []  #: by workers, and still to be taken back
        self._over: dict[tuple[RunId, StepKey], int] = {}  #: attempts that Redis says have ended, and no end was read
        self._blind_since: float | None = None
        self._away, self._unfit = Trouble(_log), Trouble(_log)  #: of a broker that is away, or is to get no steps
        self._told_to_wait: set[RunId] = set()  #: for a broker that may get steps again
        self._closed = False
        self._hearing = Hearing(self._protocol, self.stream, ring, setup.database, setup.guest)
        self._woken = False

    @classmethod
    def create(cls, setup: ExecutorSetup) -> Self:
        """Raises SettingsError, where the stream is read for another database too, and BrokerUnreachable."""
        settings = CelerySettings.of(setup)
        executor = cls(setup, settings, Keys.load(), KeyRing.load(setup.home))
        client = executor._protocol.client
        check(client, executor.url)
        with reaching(executor.url):
            executor._agree()
            executor._hearing.generation = executor._protocol.generation()
            pipe = client.pipeline(transaction=False)
            executor._keep_stream(pipe)
            pipe.execute()
        return executor

    def _keep_stream(self, pipe: Any) -> None:
        """Who read it before may have closed, or closes yet. That of one run goes when nobody drives that any more."""
        for key in (self.keys.events(self.stream), self.keys.told(self.stream)):
            if self.setup.database:
                pipe.persist(key)
            else:
                pipe.expire(key, STREAM_TTL)

    def _agree(self) -> None:
        """With those who are there already."""
        client = self._protocol.client
        agree_on_key(client, self.keys, self.ring)
        if self.setup.database:
            agree_on_database(client, self.keys, self.setup.database)

    def expects(self, job: str, op: str) -> float | None:
        return expected(self._pace, (job, op))

    # ---- submitting ------------------------------------------------------------------------------------------------

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        self._is_submitting = True
        _, content, brief = self._briefs.of(run)
        travelling = []
        beside = {mate.step for task in tasks if task.then for mate in out_with(task)[1:]}
        now, lines = time.monotonic(), dict[tuple[str | None, int], Line]()
        for task in tasks:
            if beside and task.step in beside:
                continue
            known = self._flights.get(task.run_id, task.step)
            if known is not None and known.at.attempt == task.attempt:
                known.task = task
            elif self._flights.is_aboard(task):
                travelling.append(task)
            else:
                line = lines.get((task.queue, task.priority))
                if line is None:
                    line = lines[task.queue, task.priority] = self._line(brief, task)
                self._backlog.put(Waiting(brief, content, task, line, now))
        for start in range(0, len(travelling), BATCH):
            self._follow(brief, travelling[start : start + BATCH])
        with contextlib.suppress(BrokerUnfit):  # they are here, and can be canceled; ``poll`` says that they wait
            self._dispatch()
        if not self._all_is_told:
            self._tell_what_waits(brief)
        self._is_submitting = False

    def run_hooks(self, run: RunBrief, task: StepTask, error: ErrorInfo | None) -> bool:
        brief = self._briefs.stored(run).brief
        self._sending.hooks(run, task, error, self._line(brief, task))
        return True

    def _follow(self, brief: RunBrief, tasks: Sequence[StepTask]) -> None:
        """Steps whose message travels already, with one that they waited for."""
        members = [(task.step, task.attempt) for task in tasks]
        said = self._sending.fence(brief, "", members)
        now = time.monotonic()
        for task, answer in zip(tasks, said, strict=True):
            if answer is Said.STALE:
                self._over[task.run_id, task.step] = task.attempt
            else:
                self._flights.departs(self._at(brief, task), task, self._line(brief, task), now)

    def _dispatch(self) -> None:
        """Send of what waits so much that no worker has to wait, and not more: what is here can still be sized,
        reordered and canceled.
        """
        now = time.monotonic()
        is_one = len(self._backlog) == 1 and not len(self._flights)  # it goes, whoever is there
        for line in self._backlog.lines():
            slots = 1 if is_one else self._serving.slots(line.queue, now)
            while parcels := self._backlog.parcels(line, self._flights.room(line, slots, now), self._pace):
                self._publish(parcels, now)  # those that have ended already take no place

    def _publish(self, parcels: Sequence[Parcel], now: float) -> None:
        """Parcels of one run. Raises BrokerUnreachable: they wait again then."""
        try:
            said = iter(self._sending.publish(parcels, now))
        except BrokerUnreachable:
            for parcel in reversed(parcels):
                self._backlog.put_back(parcel)
            raise
        for parcel in parcels:
            self._depart(parcels[0][0].brief, parcel, said, now)

    def _depart(self, brief: RunBrief, parcel: Parcel, said: Iterator[Said], now: float) -> None:
        """``said``: what was answered about its steps, and those that are out with them."""
        order, seconds = self._flights.new_order(), each_of(parcel, self._pace)
        for each in parcel:
            for task in out_with(each.task):
                if next(said) is Said.STALE:
                    self._over[task.run_id, task.step] = task.attempt
                    for mate in task.then:  # its worker goes on with them
                        self._flights.drifts(mate.run_id, mate.step)
                    continue
                flight = self._flights.departs(self._at(brief, task), task, each.line, now, order, seconds)
                flight.since = each.since
                if each.resent:
                    self._flights.delay(flight, each.resent, now)

    def _at(self, brief: RunBrief, task: StepTask) -> Attempt:
        return Attempt(task.run_id, brief.stream, task.step, task.attempt)

    def _line(self, brief: RunBrief, task: StepTask) -> Line:
        return Line(self._queue(brief, task), self._priority(brief, task))

    def _queue(self, brief: RunBrief, task: StepTask) -> str:
        """The run's own config goes before ours: one executor may serve runs of several."""
        return str(task.queue or brief.executor.config.get("queue") or self.settings.queue)

    def _priority(self, brief: RunBrief, task: StepTask) -> int:
        given = brief.executor.config.get("priority")
        return task.priority or (given if isinstance(given, int) else 0) or self.settings.priority

    # ---- hearing ---------------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> Polled:
        until = time.monotonic() + timeout
        while True:
            events: list[Report] = []  # what was read counts, whatever fails after it
            try:
                self._keep_up()
                self._let_gather(until)
                events = self._read(self._block(until))
                self._see_again()
                self._take_back()
                events += self._send_more()
                self._tell_that_all_is_told()
                self._away.is_not_seen("The broker is back")
            except BrokerUnreachable as error:
                self._go_blind(error, until)
            if events or self._woken or time.monotonic() >= until:
                self._woken = False
                return Polled(events, self._hearing.position)

    def _tell_that_all_is_told(self) -> None:
        """What another process had sent before this one took over, and Redis has lost, is known to it again once it
        was submitted.
        """
        if not self._all_is_told and not self._is_submitting and not self.setup.guest:
            self._protocol.all_is_told(self.stream, self._hearing.generation)
            self._all_is_told = True

    def _tell_what_waits(self, brief: RunBrief) -> None:
        """What was sent before, by this process or another, and waits to be sent again: a worker that has it is to be
        heard.
        """
        is_inherited = brief.run_id in self._inherited
        waiting = [each for each in self._backlog.of_run(brief.run_id) if each.again or is_inherited]
        self._sending.fence(brief, ABOARD, [(each.task.step, each.task.attempt) for each in waiting])

    def _let_gather(self, until: float) -> None:
        """While workers have a queue to work on, nobody waits for us: one turn for many events costs less than many."""
        now = time.monotonic()
        if len(self._flights) > _CROWD:
            time.sleep(max(0.0, min(self._last_read + _GATHER, until) - now))
        self._last_read = time.monotonic()

    def _kind(self, event: StepSucceeded) -> Kind | None:
        task, known = self._flights.task(event.run_id, event.step), self._briefs.get(event.run_id)
        return None if task is None or known is None else kind_of(known.brief, task)

    def _send_more(self) -> list[EngineNote]:
        """What is to be told to runs that nothing is sent of."""
        try:
            if len(self._backlog):
                self._memory.mind()
                self._dispatch()
        except BrokerUnfit as unfit:
            self._unfit.is_there(str(unfit))
            untold = self._backlog.runs() - self._told_to_wait
            self._told_to_wait |= untold
            now = time.time()
            return [EngineNote(run_id=run_id, at=now, message=f"Steps wait. {unfit}") for run_id in sorted(untold)]
        self._unfit.is_not_seen("Steps are sent again")
        if not self._unfit:
            self._told_to_wait.clear()
        return []

    def _block(self, until: float) -> float:
        now = time.monotonic()
        wait = min(until - now, _LONGEST)
        if len(self._flights) or len(self._backlog):
            wait = min(wait, self._next_look - now)
        return max(wait, 0.0)

    def _read(self, block: float) -> list[Report]:
        events, returned, rung, is_all = self._hearing.read(block, to_the_end=bool(self._over))
        self._woken |= rung
        self._returned += returned
        now = time.monotonic()
        for event in events:
            if type(event) not in TOLD:  # as most
                continue
            if isinstance(event, StepSucceeded) and (kind := self._kind(event)) is not None:
                self._pace.learn(kind, event.seconds)
            flight = self._flights.handle(event, now)
            if flight is not None and isinstance(event, StepLost) and not event.gone:  # its process may have ended
                self._returned += self._flights.left_behind(flight, self._returned)
        if is_all:
            events += self._ends_of_nothing(events)
        return events

    def _ends_of_nothing(self, events: Sequence[Report]) -> list[StepLost]:
        """Attempts that had ended when they were submitted, and whose end is not to be read any more: it came before
        they were out, with a step whose own end Redis has lost, and changed nothing.
        """
        over, self._over = self._over, {}
        for event in events:
            if isinstance(event, StepSucceeded | StepFailed | StepLost | StepCanceled):
                over.pop((event.run_id, event.step), None)
        cause = LossCause("its end had come before it was known to be out")
        return [
            StepLost(run_id=run_id, at=time.time(), step=step, attempt=attempt, cause=cause)
            for (run_id, step), attempt in over.items()
        ]

    def wake(self) -> None:
        self._hearing.wake()

    def acknowledge(self, position: Position) -> None:
        self._hearing.acknowledge(position)

    def resume_at(self, position: Position) -> None:
        self._hearing.resume_at(position)

    # ---- watching over what is on its way --------------------------------------------------------------------------

    def _keep_up(self) -> None:
        now = time.monotonic()
        self._hearing.trim(now)
        if now >= self._next_look:  # with nothing out, too: a worker may wait to hear what became of what it had
            self._next_look = now + min(self.settings.lease_ttl / 8, _LOOK)
            with contextlib.suppress(BrokerBusy):  # a full one takes no figures, and says all the rest
                self._serving.tell_backlog(self._backlog.by_queue())
            self._look(now)
        if now >= self._next_search:
            self._next_search = now + self.settings.lease_ttl * 5 / 8
            self._search(now)

    def _look(self, now: float) -> None:
        """Which leases have not been beaten for?"""
        with reaching(self.url):
            pipe = self._protocol.client.pipeline(transaction=False)
            pipe.get(self.keys.generation)
            pipe.info("server")
            pipe.hgetall(self.keys.leases(self.stream))
            self._keep_stream(pipe)
            if self.setup.database:
                pipe.expire(self.keys.database, STREAM_TTL)
                pipe.get(self.keys.database)
            generation, server, leases, *_, claim = pipe.execute()
            if self.setup.database and not is_for(claim, self.setup.database):
                self._agree()
        if generation_of(generation, server) != self._hearing.generation:
            self._start_over(now)
            return
        self._see_again()  # nobody could beat while Redis was away: that is not to be held against them
        for flight in self._flights.look(leases, now):
            self._expire(flight, now)

    def _expire(self, flight: Flight, now: float) -> None:
        if not flight.lease:  # its start was told, and then it was given back: somebody else is to have it
            self._back_to_backlog([flight])
            return
        if not flight.started:  # claimed with others, and not begun
            self._fetch_back(flight)
            return
        cause = LossCause(f"its worker has been silent for {now - flight.seen:.1f} s", worker=owner_of(flight.lease))
        event = StepLost(
            run_id=RunId(flight.at.run_id),
            at=time.time(),
            step=StepKey(flight.at.step),
            attempt=flight.at.attempt,
            cause=cause,
        )
        reach("expire before")
        said = self._protocol.expire(flight.at, flight.lease, seal_events([event], self.ring))
        reach("expire after")
        flight.seen = now  # the event comes by the stream, like any other
        if said is Said.STALE and flight.refused:  # it ended long ago, or there is a later attempt: no event comes
            self._over[event.run_id, event.step] = event.attempt
            self._flights.returns(flight)
        flight.refused = said is Said.STALE
        _log.warning("Step %s, attempt %s: lease expired (%s).", flight.at.step, flight.at.attempt, said.value)

    def _fetch_back(self, flight: Flight) -> None:
        at, claim = flight.at, flight.lease.split(b" ")[1].decode()
        notice = seal_returned([(RunId(at.run_id), StepKey(at.step), at.attempt)], self.ring)
        self._protocol.exchange(at.run_id, at.stream, "", returned=[(at.step, claim)], notice=notice)
        _log.warning("Step %s, attempt %s: its worker is silent and had not begun it.", at.step, at.attempt)

    def _search(self, now: float) -> None:
        """Which messages are neither in a queue nor claimed?"""
        queued = self._flights.queued
        if not queued:
            return
        queues = sorted({flight.line.queue for flight in queued})
        with reaching(self.url):
            pipe = self._protocol.client.pipeline(transaction=False)
            for queue in queues:
                for name in self.keys.queue_lists(queue):
                    pipe.llen(name)
            lengths = pipe.execute()
        lists = len(lengths) // len(queues)
        waiting = {queue: sum(lengths[at * lists : (at + 1) * lists]) for at, queue in enumerate(queues)}
        self._send_again(self._flights.lost(waiting, now))
        for flight in queued:
            if flight.task is not None and now - flight.since > (flight.task.start_timeout or inf):
                self._give_up_waiting(flight.at, now - flight.since)
        for each in self._backlog.overdue(now):
            self._follow(each.brief, [each.task])
            self._give_up_waiting(self._at(each.brief, each.task), now - each.since)
        long = [flight for flight in queued if now - flight.seen > self.settings.start_timeout]
        for note in self._serving.missing((flight.at.run_id, flight.line.queue) for flight in long):
            self._protocol.append(self.stream, seal_events([note], self.ring))

    def _give_up_waiting(self, at: Attempt, seconds: float) -> None:
        self._give_up(at, f" within {seconds:.1f} s (opgrid/start_timeout).", timed_out=True)

    def _give_up(self, at: Attempt, why: str, timed_out: bool) -> Said:
        error = ErrorInfo("StepNotStarted", f"No worker has started step {at.step!r}{why}")
        event = StepFailed(
            run_id=RunId(at.run_id),
            at=time.time(),
            step=StepKey(at.step),
            attempt=at.attempt,
            error=error,
            timed_out=timed_out,
            orphaned=True,
        )
        return self._protocol.expire(at, b"", seal_events([event], self.ring))

    def _send_again(self, lost: Sequence[Flight]) -> None:
        again = []
        for flight in lost:
            run_id, step, attempt = RunId(flight.at.run_id), StepKey(flight.at.step), flight.at.attempt
            times = flight.resent + 1
            if times >= _TOO_OFTEN:
                why = f": its message was lost {times} times. {self._thief(flight)}"
                if self._give_up(flight.at, why, timed_out=False) is Said.OK:
                    continue  # else Redis does not know it any more, or knows better: it says so when it is sent
            again.append(flight)
            lost_by_now = "was lost" + (f", {times} times by now" if flight.resent else "")
            text = f"The message of step {step!r}, attempt {attempt}, {lost_by_now}: it is sent again."
            if times >= _OFTEN:
                text += (
                    f" {self._thief(flight)} After {_TOO_OFTEN} times the step fails, or after the time that its tag "
                    "opgrid/start_timeout says."
                )
            note = EngineNote(run_id=run_id, at=time.time(), message=text, step=step)
            self._protocol.append(self.stream, seal_events([note], self.ring))
            self._briefs.store_again(run_id)
        self._back_to_backlog(again, resent=1)

    @staticmethod
    def _thief(flight: Flight) -> str:
        return (
            f"Something takes messages out of the queue {flight.line.queue!r} and runs no step: another program that "
            "reads it, or a worker that dies of them."
        )

    def _take_back(self) -> None:
        """What workers had and have not begun. It waits here until that was possible."""
        returned = dict.fromkeys(self._returned)  # one may have come back twice
        for run_id, step, _ in returned:
            self._flights.comes_back(run_id, step)
        flights = [self._flights.get(run_id, step) for run_id, step, _ in returned]
        pairs = zip(flights, returned, strict=True)
        self._back_to_backlog(
            [flight for flight, (_, _, attempt) in pairs if flight is not None and flight.at.attempt == attempt]
        )
        self._returned.clear()

    def _back_to_backlog(self, flights: Sequence[Flight], resent: int = 0) -> None:
        stopped: dict[RunId, list[tuple[StepKey, int]]] = {}
        for at in (each.at for each in flights if self._flights.is_stopped(each)):
            stopped.setdefault(RunId(at.run_id), []).append((StepKey(at.step), at.attempt))
        for run_id, steps in stopped.items():
            self.cancel(run_id, steps)
        for flight in reversed([each for each in flights if not self._flights.is_stopped(each)]):
            known = self._briefs.get(RunId(flight.at.run_id))
            self._flights.returns(flight)
            if flight.task is None or known is None:
                continue  # it is about to be submitted, by whoever has taken over
            _, content, brief = known
            task, times = flight.task, flight.resent + resent
            if len(out_with(task)) > 1:  # the others come back, or not, on their own
                task = msgspec.structs.replace(task, then=())
            self._backlog.put_back([Waiting(brief, content, task, flight.line, flight.since, True, times)])

    # ---- when Redis goes away, or comes back with less than it had -------------------------------------------------

    def _go_blind(self, error: BrokerUnreachable, until: float) -> None:
        now = time.monotonic()
        if self._blind_since is None:
            self._blind_since = now
        self._away.is_there(f"{error} Waiting for it.")
        if now - self._blind_since > self.settings.outage_grace:
            raise error
        self._woken |= self._hearing.pause(min(until - now, 0.2))

    def _see_again(self) -> None:
        if self._blind_since is None:
            return
        now = time.monotonic()
        self._blind_since = None
        self._flights.blind(now)
        self._next_look = now

    def _start_over(self, now: float) -> None:
        """Redis has lost its data, or some of it: write again what we know; workers make their leases again with their
        next beat, and steps whose inputs are gone say so.
        """
        _log.warning("The broker was restarted, or has lost its data: everything on its way is sent again.")
        with reaching(self.url):
            self._agree()
        generation = self._protocol.generation()
        self._briefs.start_over()
        for run in [known.given for known in self._briefs.all()]:
            brief = self._briefs.stored(run, again=True).brief
            flights = self._flights.of_run(run.run_id)
            self._sending.fence(brief, "", [(each.at.step, each.at.attempt) for each in flights])
            self._tell_what_waits(brief)
            self._sending.fence(brief, ABOARD, [(step, 1) for step in self._flights.aboard(run.run_id)])
            reach("starting over")
            self.cancel(run.run_id, self._flights.stops(run.run_id))
            self._back_to_backlog([each for each in flights if not each.claimed and not self._flights.is_stopped(each)])
        for run_id in self._flights.stopping().difference(each.given.run_id for each in self._briefs.all()):
            self.cancel(run_id, self._flights.stops(run_id))  # nothing of it was known to be out when it was taken over
        self._hearing.start_over()
        if self._all_is_told and not self.setup.guest:
            self._protocol.all_is_told(self.stream, generation)
        self._hearing.generation = generation
        self._flights.blind(now, self._respite)

    @property
    def _respite(self) -> float:
        """Seconds until workers have found a Redis that was away, and beat again."""
        return self.settings.lease_ttl * 3 / 4

    # ---- runs ------------------------------------------------------------------------------------------------------

    def recover(self, run: RunBrief) -> frozenset[tuple[StepKey, int]] | None:
        """All attempts that Redis knows of: running, queued, or ended with an event that is still to be read."""
        self._inherited.add(run.run_id)
        if not self._all_is_told:
            self._all_is_told = self._protocol.told_all(self.stream) == self._hearing.generation
        with reaching(self.url):
            fences: Any = self._protocol.client.hgetall(self.keys.run(run.run_id))
        now = time.monotonic()
        found = set()
        for name, fence in fences.items():
            kind, _, step = name.decode().partition(":")
            if kind != "f":
                continue
            attempt, _, ended = fence.decode().partition(" x ")
            found.add((StepKey(step), int(attempt.removesuffix(" ~"))))
            if attempt.endswith("~"):  # it went along with one before it: where it is out by now, it is submitted
                self._flights.drifts(run.run_id, StepKey(step))
                continue
            if not ended and self._flights.get(run.run_id, StepKey(step)) is None:
                at = Attempt(run.run_id, run.stream or self.stream, step, int(attempt))
                self._flights.departs(at, None, Line(self.settings.queue, 0), now)
        if found:
            self._briefs.stored(run)
        else:
            self._briefs.of(run)  # to be released as this run, whoever may still be about to send some of it
        return frozenset(found)

    def may_go_on(self, run: RunBrief, begun: Collection[tuple[StepKey, int]]) -> frozenset[tuple[StepKey, int]]:
        """All: Redis has lost its data, and their workers have not."""
        brief = self._briefs.stored(run).brief
        self._sending.fence(brief, "", list(begun))
        now, line = time.monotonic(), Line(self.settings.queue)
        for step, attempt in begun:
            self._flights.goes_on(Attempt(run.run_id, brief.stream, step, attempt), line, now, self._respite)
        return frozenset(begun)

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        of_run = self._briefs.get(run_id)
        stream = of_run.brief.stream if of_run is not None else self.stream
        self._backlog.withdraw(run_id, {step for step, _ in steps})
        marks = []
        mates = [(mate, 1) for mate in sorted(self._flights.mates(run_id, {step for step, _ in steps}))]
        for step, attempt in [*steps, *mates]:
            event = StepCanceled(run_id=run_id, at=time.time(), step=step, attempt=attempt)
            marks.append((step, attempt, seal_events([event], self.ring)))
            self._flights.stop(run_id, step, attempt)
        reach("cancel before")
        now = time.monotonic()
        for start in range(0, len(marks), BATCH):
            some = marks[start : start + BATCH]
            for (step, attempt, _), said in zip(some, self._protocol.cancel(run_id, stream, some), strict=True):
                known = self._flights.get(run_id, step)
                if said is Said.RUNNING and (known is None or known.at.attempt != attempt):
                    # It was sent, and the answer lost: nobody else watches its lease.
                    self._flights.departs(Attempt(run_id, stream, step, attempt), None, Line(self.settings.queue), now)
        reach("cancel after")

    def release(self, run_id: RunId) -> None:
        reach("release before")
        known = self._briefs.forget(run_id)
        self._backlog.forget(run_id)
        self._inherited.discard(run_id)
        self._over = {step: attempt for step, attempt in self._over.items() if step[0] != run_id}
        gone = self._flights.forget(run_id)
        self._serving.forget(run_id)
        try:
            stream, content, created = self.stream, "", 0.0
            if known is not None:
                stream, content, created = known.brief.stream, known.content, known.brief.created
            living = Living(index_of(run_id), self.settings.retention, content, self.settings.lease_seconds)
            if not self._protocol.release(run_id, stream, [flight.at.step for flight in gone], living, created):
                with reaching(self.url):
                    expire_run(self._protocol.client, run_id, self.settings.retention)
        except BrokerUnreachable as error:
            _log.warning("What run %s holds in Redis stays until its time is over: %s", run_id, error)
        reach("release after")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._hearing.close()
            with reaching(self.url):
                self._protocol.client.expire(self.keys.events(self.stream), STREAM_TTL)
                self._protocol.client.expire(self.keys.told(self.stream), STREAM_TTL)
        except BrokerUnreachable:
            pass
        self._protocol.close()
