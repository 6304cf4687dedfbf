"""The steps of one message on their way through a process, on a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from opgrid import HookContext, JobDefinition, job, op, success_hook
from opgrid.broker.keys import Keys
from opgrid.broker.messages import CeleryMessages, label, open_events, open_returned, seal_events, sign_tasks
from opgrid.broker.pace import Pace
from opgrid.broker.protocol import ABOARD, Attempt, Exchanged, Exchanging, Outgoing, Protocol, Said
from opgrid.contracts.events import LossCause, RunStarted, StepLost, StepStarted, StepSucceeded
from opgrid.contracts.tasks import StepTask
from opgrid.errors import BrokerUnreachable
from opgrid.ids import NodePath, RunId, StepKey
from opgrid.io.keys import KeyRing
from opgrid.io.pending import Pending
from opgrid.steps.scope import RunScope
from opgrid.trouble import Trouble
from orchestrator.engine.commands import Launch
from orchestrator.engine.machine import RunMachine
from orchestrator.services.launching import Prepared, Request, prepare
from tests.unit.broker.claims import claim
from tests.waiting import eventually
from worker import ride as ride_module
from worker.along import Along, Begun, Over, Taken, words
from worker.cancellation import Stoppable
from worker.event_stream import LOOK_EVERY, Flusher
from worker.leases import Slot, slot_path
from worker.means import Means
from worker.ride import Ride
from worker.settings import WorkerSettings
from worker.telling import Telling

_STEPS = 6
CONTENT = "c" * 32  #: hash of the brief
_BESIDE = "opgrid-events"  #: the thread
#: That thread has told something since a nap began to wait for it.
TOLD_BESIDE = threading.Event()
#: What a long nap waits for.
GIVEN_BACK = threading.Event()
#: What a very long one waits for.
SELDOM = threading.Event()


@op
def nap() -> int:
    """As long as the other thread needs."""
    TOLD_BESIDE.wait(0.5)
    TOLD_BESIDE.clear()
    return 1


@op
def blink() -> int:
    return 1


@op
def sleep() -> int:
    return SELDOM.wait(100)


@job
def sleeps() -> None:
    sleep()


@job
def naps() -> None:
    for _ in range(_STEPS):
        nap()


@job
def blinks() -> None:
    for _ in range(_STEPS):
        blink()


@success_hook
def cheer(_: HookContext) -> None: ...


@job
def hooked_blink() -> None:
    blink.with_hooks({cheer})()


class Known(Pace):
    """However long steps take on this machine, they are expected to take what was learnt first."""

    def learn(self, what: Hashable, seconds: float) -> None:
        if self.expect(what) is None:
            super().learn(what, seconds)


class Overheard(Protocol):
    """Says in which thread each exchange was made; fails those beside the step where it is told to."""

    def __init__(self, url: str, keys: Keys) -> None:
        super().__init__(url, keys, "test")
        self.told: list[tuple[str, int, int]] = []  #: thread, how many have ended, how many are claimed
        self.failures_beside = 0  #: still to come

    def begin_exchange(self, *args: Any, **more: Any) -> Exchanging:
        thread = threading.current_thread().name
        self.told.append((thread, len(more.get("finished", ())), len(more.get("wanted", ()))))
        if self.failures_beside and thread == _BESIDE:
            self.failures_beside -= 1
            raise BrokerUnreachable(self.url, "for a test")
        asked = super().begin_exchange(*args, **more)
        if thread == _BESIDE:
            TOLD_BESIDE.set()
        return asked


class Rides:
    """Everything that a ride needs."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.ring, self.keys = KeyRing.load(str(folder)), Keys("test")
        self.protocol = Overheard(url, self.keys)
        self.flusher = Flusher()
        self.grace = 60.0
        self.along: Along | None = None
        self.has_more = False  #: of the run, as far as is known
        self.heard: list[Begun | Over] = []  #: by the worker's own process

    def ride(self, what: JobDefinition, seconds: float) -> str:
        """All steps of a run in one message; they are expected to take so long."""
        prepared = prepare(Request(what, executor="celery"))
        op_name = what.nodes[0].name
        self.steps = [op_name, *(f"{op_name}_{number}" for number in range(2, _STEPS + 1))]
        run_id = prepared.brief.run_id
        tasks = [StepTask(run_id, StepKey(each), NodePath(each), op=op_name) for each in self.steps]
        return self.run(prepared, tasks, {op_name: seconds})

    def run(self, prepared: Prepared, tasks: Sequence[StepTask], seconds: Mapping[str, float]) -> str:
        """``seconds``: that an op is expected to take."""
        brief = msgspec.structs.replace(prepared.brief, stream="test")
        slot, pending = Slot.create(slot_path(self.folder, 1)), Pending()
        means = Means(
            WorkerSettings(
                broker_url=self.url, home=str(self.folder), deployment="test", name="w", redis_grace=self.grace
            ),
            self.keys,
            self.protocol,
            CeleryMessages(self.keys),
            self.ring,
            slot,
            Stoppable(slot),
            pending,
            "w:1",
            self.flusher.look_now,
            Known(),
            self.along,
        )
        for name, each in seconds.items():
            means.pace.learn((prepared.job.name, name), each)
        members = [(each.step, each.attempt) for task in tasks for each in (task, *task.then)]
        self.protocol.publish(brief.run_id, "test", [Outgoing("", b"", members)])
        scope = RunScope(
            brief, prepared.job, home=str(self.folder), broker_url=self.url, keys=self.ring, pending=pending
        )
        with scope:
            ride = Ride(means, scope, CONTENT, "q", tasks, self.has_more)
            self.flusher.watch(ride.look_after)
            try:
                return ride.run()
            finally:
                self.flusher.watch(None)

    def leave(self, tasks: Sequence[StepTask], content: str = "") -> str:
        """In the queue, as the coordinator does; the id of the message."""
        dispatch, _ = sign_tasks(content or CONTENT, tasks, self.ring)
        shown = label("job", tasks)
        self.protocol.client.lpush(*CeleryMessages(self.keys).build(dispatch, shown, "q", 0, along=True))
        return shown.task_id

    def send(self, tasks: Sequence[StepTask]) -> str:
        """As the coordinator does; the id of the message."""
        dispatch, _ = sign_tasks(CONTENT, tasks, self.ring)
        shown = label("job", tasks)
        list_, message = CeleryMessages(self.keys).build(dispatch, shown, "q", 0, along=True)
        outgoing = [Outgoing(list_, message, [(task.step, task.attempt) for task in tasks])]
        if mates := [(mate.step, mate.attempt) for task in tasks for mate in task.then]:
            outgoing.append(Outgoing(ABOARD, b"", mates))
        self.protocol.publish(tasks[0].run_id, "test", outgoing, hands=self.keys.hands(CONTENT))
        return shown.task_id

    def events(self) -> list[Any]:
        entries: Any = self.protocol.client.xrange(self.keys.events("test"))
        return [event for _, fields in entries if b"d" in fields for event in open_events(fields[b"d"], self.ring)]

    def given_back(self) -> list[str]:
        """Steps that the coordinator was told to send elsewhere."""
        entries: Any = self.protocol.client.xrange(self.keys.events("test"))
        back = [each for _, fields in entries if b"r" in fields for each in open_returned(fields[b"r"], self.ring)]
        return [step for _, step, _ in back]


@pytest.fixture
def rides(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rides]:
    for name in ("SLOW", "_LONGEST", "_LONGEST_ALONE", "_WAIT"):  # a busy machine makes no step and no chain slow
        monkeypatch.setattr(ride_module, name, 60.0)
    TOLD_BESIDE.clear()
    GIVEN_BACK.set()
    made = Rides(redis_url, tmp_path)
    yield made
    made.protocol.close()


def assert_each_once(rides: Rides) -> None:
    told = rides.events()
    for kind in (StepStarted, StepSucceeded):
        assert [event.step for event in told if isinstance(event, kind)] == rides.steps


def test_while_a_step_runs_another_thread_tells_of_the_one_before_and_claims_the_next(rides: Rides) -> None:
    assert rides.ride(naps, 0.01) == f"STEP_SUCCESS x{_STEPS}"
    beside = [(ended, claimed) for thread, ended, claimed in rides.protocol.told if thread == _BESIDE]
    assert sum(ended for ended, _ in beside) >= _STEPS - 2
    assert sum(claimed for _, claimed in beside) >= _STEPS - 3
    assert_each_once(rides)


def test_between_short_steps_nobody_else_wakes(rides: Rides) -> None:
    assert rides.ride(blinks, 0.0001) == f"STEP_SUCCESS x{_STEPS}"
    assert {thread for thread, _, _ in rides.protocol.told} == {threading.current_thread().name}
    assert_each_once(rides)


class Hearing:
    """What each exchange is told, and when its answer is heard, between the steps that run."""

    def __init__(self, rides: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.before_answer: Callable[[int], None] = lambda number: None
        begin, attempt, result = rides.protocol.begin_exchange, Ride._attempt, Exchanging.result
        numbers: dict[int, int] = {}

        def begin_exchange(*args: Any, **more: Any) -> Exchanging:
            begun = begin(*args, **more)
            numbers[id(begun)] = len(numbers)
            self.seen.append(f"asked, with {len(more.get('finished', ()))} ended")
            return begun

        def heard(exchange: Exchanging) -> Exchanged:
            self.before_answer(numbers[id(exchange)])
            self.seen.append("answered")
            return result(exchange)

        def attempted(ride: Ride, item: ride_module.Item) -> None:
            self.seen.append(item.task.step)
            attempt(ride, item)

        monkeypatch.setattr(rides.protocol, "begin_exchange", begin_exchange)
        monkeypatch.setattr(Exchanging, "result", heard)
        monkeypatch.setattr(Ride, "_attempt", attempted)
        monkeypatch.setattr(ride_module, "_AHEAD", 4)


def test_steps_that_are_claimed_go_on_while_redis_works(rides: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    hearing = Hearing(rides, monkeypatch)
    assert rides.ride(blinks, 0.0001) == f"STEP_SUCCESS x{_STEPS}"
    assert hearing.seen == [
        *("asked, with 0 ended", "answered", "blink", "blink_2"),
        *("asked, with 2 ended", "blink_3", "blink_4", "answered"),
        *("blink_5", "blink_6", "asked, with 4 ended", "answered"),
    ]
    assert_each_once(rides)


def test_an_answer_that_is_lost_meanwhile_is_asked_for_again(rides: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(number: int) -> None:
        if number == 1:
            client: Any = rides.protocol.client
            theirs = {each["id"] for each in client.client_list() if each["name"] == "test"} - {str(client.client_id())}
            assert sum(client.client_kill_filter(_id=each) for each in theirs) >= 1

    Hearing(rides, monkeypatch).before_answer = lose
    assert rides.ride(blinks, 0.0001) == f"STEP_SUCCESS x{_STEPS}"
    assert_each_once(rides)


def test_a_redis_that_goes_meanwhile_is_waited_for(
    rides: Rides, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gone: list[int] = []

    def go(number: int) -> None:
        if number in (1, 2, 3):
            gone.append(number)
            raise BrokerUnreachable(rides.url, "for a test")

    Hearing(rides, monkeypatch).before_answer = go
    assert rides.ride(blinks, 0.0001) == f"STEP_SUCCESS x{_STEPS}"
    assert gone == [1, 2, 3]
    said = [message[:12] for message in caplog.messages]
    assert said == ["Asking again", "The end of s", "The broker h"]
    assert_each_once(rides)


def test_who_cannot_even_ask_tells_what_has_ended_once_that_is_possible(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    hearing = Hearing(rides, monkeypatch)
    begin, failures = rides.protocol.begin_exchange, [1]

    def begin_exchange(*args: Any, **more: Any) -> Exchanging:
        if more.get("finished") and failures:
            failures.pop()
            raise BrokerUnreachable(rides.url, "for a test")
        return begin(*args, **more)

    monkeypatch.setattr(rides.protocol, "begin_exchange", begin_exchange)
    assert rides.ride(blinks, 0.0001) == f"STEP_SUCCESS x{_STEPS}"
    assert not failures
    assert hearing.seen.count("blink_3") == 1
    assert_each_once(rides)


def test_what_was_refused_meanwhile_is_known_before_more_is_claimed(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has given up the first step before its end was told; the other one that was told with it counts."""
    hearing = Hearing(rides, monkeypatch)
    begin = rides.protocol.begin_exchange

    def begin_exchange(*args: Any, **more: Any) -> Exchanging:
        for each in more.get("finished", ())[:1]:
            if each.at.step == "blink":
                run_id, step = RunId(each.at.run_id), StepKey(each.at.step)
                lost = StepLost(run_id=run_id, at=0.0, step=step, attempt=1, cause=LossCause("for a test"))
                lease: Any = rides.protocol.client.hget(rides.keys.leases("test"), each.at.field)
                rides.protocol.expire(each.at, lease or b"", seal_events([lost], rides.ring))
        return begin(*args, **more)

    monkeypatch.setattr(rides.protocol, "begin_exchange", begin_exchange)
    assert rides.ride(blinks, 0.0001) == f"STEP_SUCCESS x{_STEPS - 1}, STEP_SUCCESS, refused: stale"
    assert hearing.seen.count("blink_6") == 1
    assert [event.step for event in rides.events() if isinstance(event, StepSucceeded)] == rides.steps[1:]


def test_a_step_is_not_slow_before_it_begins(rides: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Ride._attempt

    def looked_at_first(ride: Ride, item: ride_module.Item) -> None:
        ride.look_after()
        whole(ride, item)

    monkeypatch.setattr(Ride, "_attempt", looked_at_first)
    assert rides.ride(blinks, 0.0001) == f"STEP_SUCCESS x{_STEPS}"
    assert not rides.given_back()


@job
def one_blink() -> None:
    blink()


def test_each_time_that_redis_is_away_behind_a_slow_step_is_told_on_its_own(
    rides: Rides, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, away = [0.0], [False]
    whole, arrives = Ride._attempt, Ride._arrive

    def arrive(ride: Ride) -> None:
        if away[0]:
            raise BrokerUnreachable(rides.url, "for a test")
        arrives(ride)

    def looked_at_first(ride: Ride, item: ride_module.Item) -> None:
        with ride._lock:  # no other thread looks meanwhile
            ride._running, ride._begun = item, -1000.0
            for away[0] in (True, True, False, True):
                now[0] += 100.0
                ride.look_after()
            ride._running, away[0] = None, False
        whole(ride, item)

    monkeypatch.setattr(ride_module, "Trouble", lambda log: Trouble(log, lambda: now[0]))
    monkeypatch.setattr(Ride, "_arrive", arrive)
    monkeypatch.setattr(Ride, "_attempt", looked_at_first)
    prepared = prepare(Request(one_blink, executor="celery"))
    assert rides.run(prepared, crew_of(prepared), {"blink": 0.001}) == "STEP_SUCCESS"
    error = f"What waits behind step blink waits on: {BrokerUnreachable(rides.url, 'for a test')}"
    assert caplog.messages == [
        error,
        f"{error} That has lasted for 100 s.",
        "The broker is back after 100.0 s.",
        error,
    ]


@pytest.mark.parametrize(("seconds", "together"), [(0.001, True), (1.0, False), (None, False)])
def test_that_a_short_step_has_begun_is_told_with_its_end(rides: Rides, seconds: float | None, together: bool) -> None:
    prepared = prepare(Request(one_blink, executor="celery"))
    expected = {} if seconds is None else {"blink": seconds}
    assert rides.run(prepared, crew_of(prepared), expected) == "STEP_SUCCESS"
    first, *_, last = rides.events()
    assert (type(first), type(last)) == (StepStarted, StepSucceeded)
    assert rides.protocol.client.xlen(rides.keys.events("test")) == (1 if together else 2)


_told = threading.Event()


@op
def until_it_is_told() -> bool:
    return _told.wait(30.0)


@job
def longer_than_expected() -> None:
    until_it_is_told()


def test_of_one_that_takes_longer_it_is_told_while_it_runs(rides: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ride_module, "SLOW", 0.0)
    begin = rides.protocol.begin_report

    def begin_report(*args: Any) -> Callable[[], Said]:
        answer = begin(*args)
        _told.set()
        return answer

    monkeypatch.setattr(rides.protocol, "begin_report", begin_report)
    _told.clear()
    prepared = prepare(Request(longer_than_expected, executor="celery"))
    assert rides.run(prepared, crew_of(prepared), {"until_it_is_told": 0.001}) == "STEP_SUCCESS"
    assert _told.is_set()
    first, *_, last = rides.events()
    assert (type(first), type(last)) == (StepStarted, StepSucceeded)


def test_a_redis_that_is_gone_for_a_while_beside_a_step_loses_nothing(rides: Rides) -> None:
    rides.protocol.failures_beside = 3
    assert rides.ride(naps, 0.01) == f"STEP_SUCCESS x{_STEPS}"
    assert rides.protocol.failures_beside == 0
    assert_each_once(rides)


@op
def plus(left: int, right: int) -> int:
    return left + right


@op
def long_nap() -> int:
    assert GIVEN_BACK.wait(20)
    return 1


@job
def meshed() -> None:
    slow, quick = long_nap(), blink()
    plus.alias("twice")(slow, slow)
    plus.alias("both")(slow, quick)
    plus.alias("beside")(quick, quick)


@op
def more(number: int) -> int:
    return number + 1


@job
def lined_up() -> None:
    more(more(more(blink())))


def crew_of(prepared: Prepared) -> list[StepTask]:
    """All steps as one message, as if they were known to be short."""
    machine = RunMachine(prepared.brief.run_id, prepared.plan)
    commands = machine.take(RunStarted(run_id=prepared.brief.run_id, at=0.0), 0.0) or []
    launches = [command.task for command in commands if isinstance(command, Launch)]
    first, *_ = machine.tasks.with_crews(launches, lambda spec: 0.0, 1.0)
    return [first]


def test_steps_of_any_shape_run_one_after_the_other(rides: Rides) -> None:
    prepared = prepare(Request(meshed, executor="celery"))
    assert rides.run(prepared, crew_of(prepared), {}) == "STEP_SUCCESS x5"
    events = {event.step: event for event in rides.events() if isinstance(event, StepSucceeded)}
    claims = {step: event.outputs[0].claim for step, event in events.items()}
    assert dict(events["both"].after) == {step: claims[step] for step in ("long_nap", "blink")}
    assert rides.given_back() == []


def test_what_does_not_wait_for_a_slow_step_is_given_back_from_its_crew(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ride_module, "SLOW", 0.05)
    GIVEN_BACK.clear()
    whole = Ride._give_back

    def give_back(ride: Ride, running: ride_module.Item) -> None:
        whole(ride, running)
        if running.task.step == "long_nap":
            GIVEN_BACK.set()

    monkeypatch.setattr(Ride, "_give_back", give_back)
    prepared = prepare(Request(meshed, executor="celery"))
    tasks = crew_of(prepared)
    assert [task.step for task in (tasks[0], *tasks[0].then)] == ["long_nap", "blink", "twice", "both", "beside"]
    assert rides.run(prepared, tasks, {}) == "STEP_SUCCESS x2"
    assert {event.step for event in rides.events() if isinstance(event, StepSucceeded)} == {"long_nap", "twice"}
    assert sorted(rides.given_back()) == ["beside", "blink", "both"]


@pytest.mark.parametrize(("waiting", "alone"), [(True, 60.0), (False, 60.0), (False, 0.0)])
def test_after_a_while_a_chain_goes_back_into_the_queue_and_later_where_nothing_waits_there(
    rides: Rides, monkeypatch: pytest.MonkeyPatch, waiting: bool, alone: float
) -> None:
    monkeypatch.setattr(ride_module, "_LONGEST", 0.0)
    monkeypatch.setattr(ride_module, "_LONGEST_ALONE", alone)
    monkeypatch.setattr(ride_module, "_AHEAD", 1)
    lists = rides.keys.queue_lists("q")
    if waiting:
        rides.protocol.client.lpush(lists[0], b"another")
    prepared = prepare(Request(lined_up, executor="celery"))
    (chain,) = crew_of(prepared)
    assert len(chain.then) == 3
    said = rides.run(prepared, [chain], {})
    goes = waiting or not alone
    assert said == ("STEP_SUCCESS, sent on" if goes else "STEP_SUCCESS x4")
    assert sum(int(rides.protocol.client.llen(name)) for name in lists) == waiting + goes  # type: ignore[arg-type]


def test_after_a_while_a_crew_goes_back_into_the_queue_and_the_rest_to_who_sent_it(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ride_module, "_LONGEST", 0.0)
    monkeypatch.setattr(ride_module, "_AHEAD", 1)
    prepared = prepare(Request(meshed, executor="celery"))
    assert rides.run(prepared, crew_of(prepared), {}) == "STEP_SUCCESS x2, sent on"
    assert {event.step for event in rides.events() if isinstance(event, StepSucceeded)} == {"long_nap", "blink"}
    assert sorted(rides.given_back()) == ["beside", "both"]


def test_what_a_chain_was_to_go_on_with_is_given_back_where_its_making_was_refused(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ride_module, "_LONGEST", 0.0)
    monkeypatch.setattr(ride_module, "_LONGEST_ALONE", 0.0)
    monkeypatch.setattr(ride_module, "_AHEAD", 1)
    prepared = prepare(Request(lined_up, executor="celery"))
    whole = Ride._send_on

    def too_late(ride: Ride, item: ride_module.Item) -> None:  # a later attempt is out
        rides.protocol.client.hset(rides.keys.run(prepared.brief.run_id), "f:blink", "2")
        whole(ride, item)

    monkeypatch.setattr(Ride, "_send_on", too_late)
    assert rides.run(prepared, crew_of(prepared), {}) == "STEP_SUCCESS, refused: stale"
    assert rides.given_back() == ["more", "more_2", "more_3"]


def test_what_has_ended_is_told_though_nobody_can_see_whether_others_wait(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ride_module, "_LONGEST", 0.0)
    monkeypatch.setattr(ride_module, "_AHEAD", 1)
    prepared = prepare(Request(lined_up, executor="celery"))
    whole = Ride._others_wait
    seen: list[bool] = []

    def refused(**_: Any) -> None:
        raise redis.ConnectionError("for a test")

    def blind(ride: Ride) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(rides.protocol.client, "pipeline", refused)
            seen.append(whole(ride))
        return seen[-1]

    monkeypatch.setattr(Ride, "_others_wait", blind)
    assert rides.run(prepared, crew_of(prepared), {}) == "STEP_SUCCESS x4"
    assert seen
    assert not any(seen)


def test_a_redis_that_was_emptied_hears_of_the_steps_of_a_crew_as_they_come_out(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows a step is known to Redis once the end of that step was told, and it was sent."""
    prepared = prepare(Request(lined_up, executor="celery"))
    steps = ["blink", "more", "more_2", "more_3"]
    whole = rides.protocol.begin_exchange
    emptied: list[bool] = []

    def begin_exchange(*args: Any, **more: Any) -> Exchanging:
        if len(more.get("finished", ())) == len(steps) and not emptied:
            rides.protocol.client.flushdb()
            emptied.append(True)
        if emptied:
            ended = [event.step for event in rides.events() if isinstance(event, StepSucceeded)]
            out = [(step, 1) for step in steps[len(ended) :][:1]]
            rides.protocol.publish(prepared.brief.run_id, "test", [Outgoing("", b"", out)])
        return whole(*args, **more)

    monkeypatch.setattr(rides.protocol, "begin_exchange", begin_exchange)
    assert rides.run(prepared, crew_of(prepared), dict.fromkeys(("blink", "more"), 0.0001)) == "STEP_SUCCESS x4"
    assert emptied
    assert [event.step for event in rides.events() if isinstance(event, StepSucceeded)] == steps


def loses_the_answer(rides: Rides, monkeypatch: pytest.MonkeyPatch, knows: Callable[[int], bool]) -> list[bytes]:
    """To the first end that is told: Redis is emptied with it. ``knows``: whether it is told of all that is out before
    it is asked for the next time. Gives what it was asked.
    """
    rides.grace = float("inf")
    whole, told_all = rides.protocol.begin_exchange, rides.protocol.told_all
    asked: list[bytes] = []

    def begin_exchange(*args: Any, **more: Any) -> Exchanging:
        begun = whole(*args, **more)
        if more.get("finished") and not asked:
            begun.result()
            rides.protocol.client.flushdb()
            asked.append(b"")
            raise BrokerUnreachable(rides.url, "for a test")
        return begun

    def knowing(stream: str) -> bytes:
        if knows(len(asked)):
            rides.protocol.all_is_told(stream, rides.protocol.generation())
        asked.append(told_all(stream))
        return asked[-1]

    monkeypatch.setattr(rides.protocol, "begin_exchange", begin_exchange)
    monkeypatch.setattr(rides.protocol, "told_all", knowing)
    return asked


@pytest.mark.parametrize("known", ["all that is out", "less, and more later"])
def test_an_end_that_was_heard_holds_nobody_up_though_redis_went_with_the_answer(
    rides: Rides, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    """Redis says so: nothing else would end its wait."""
    asked = loses_the_answer(rides, monkeypatch, lambda times: known == "all that is out" or times > 3)
    prepared = prepare(Request(one_blink, executor="celery"))
    task = StepTask(prepared.brief.run_id, StepKey("blink"), NodePath("blink"))
    assert rides.run(prepared, [task], {}) == "STEP_SUCCESS, refused: unknown"
    assert asked[-2] == asked[-1] == rides.protocol.generation()  # before it was asked for the last time, and after
    assert b"" in asked
    assert rides.events() == []


def test_who_has_not_heard_whether_an_end_was_accepted_leaves_its_hooks_to_others(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    loses_the_answer(rides, monkeypatch, lambda times: True)
    prepared = prepare(Request(hooked_blink, executor="celery"))
    task = StepTask(prepared.brief.run_id, StepKey("blink"), NodePath("blink"))
    assert rides.run(prepared, [task], {}) == "STEP_SUCCESS, refused: unknown"
    (lost,) = rides.events()  # and no word of the hook
    assert isinstance(lost, StepLost)
    assert lost.after_end


def test_the_longer_a_step_takes_the_less_often_it_is_interrupted_by_a_look(
    rides: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    SELDOM.clear()
    pauses: list[float] = []
    whole = Ride.look_after

    def look_after(ride: Ride) -> float:
        pauses.append(whole(ride))
        if pauses[-1] >= ride_module._FLUSH_EVERY / 2:
            SELDOM.set()
        return pauses[-1]

    monkeypatch.setattr(Ride, "look_after", look_after)
    monkeypatch.setattr(ride_module, "SLOW", 0.0)
    prepared = prepare(Request(sleeps, executor="celery"))
    task = StepTask(prepared.brief.run_id, StepKey("sleep"), NodePath("sleep"))
    assert rides.run(prepared, [task], {}) == "STEP_SUCCESS"
    seldom = pauses[: pauses.index(max(pauses)) + 1]
    assert seldom == sorted(seldom)
    assert seldom[-1] == ride_module._FLUSH_EVERY / 2
    assert all(pause >= LOOK_EVERY for pause in pauses)


class Watched(Along):
    """Goes through the queue like that of a child; what it tells is kept."""

    def __init__(self, rides: Rides) -> None:
        hearing, speaking = words()
        super().__init__(rides.protocol, rides.ring, ["q"], speaking)
        hearing.close()
        self.rides = rides
        self.threads: list[str] = []  #: in which it found something
        self.then: Callable[[Taken | None], object] = lambda taken: None
        self.waited = 0  #: how often it has for what comes by hand
        self.meanwhile: Callable[[], object] = lambda: None

    def take(self, content: str, queue: str) -> Taken | None:
        taken = super().take(content, queue)
        if taken is not None:
            self.threads.append(threading.current_thread().name)
        self.then(taken)
        return taken

    def wait(self, content: str, queue: str, seconds: float, claim: str, owner: str) -> Taken | None:
        self.waited += 1
        hands = self.protocol.keys.hands(content, self.protocol.keys.queue(queue, 0))
        threading.Thread(target=self._once_there_is_one, args=[hands], daemon=True).start()
        return super().wait(content, queue, seconds, claim, owner)

    def _once_there_is_one(self, hands: str) -> None:
        eventually(lambda: self.rides.protocol.client.exists(hands))
        self.meanwhile()

    def _say(self, word: Begun | Over) -> None:
        super()._say(word)  # nobody listens
        self.rides.heard.append(word)


@pytest.fixture
def along(rides: Rides, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(ride_module, "_SOON", 60.0)
    rides.along = made = Watched(rides)
    yield made
    made.speaking.close()


def tasks_of(rides: Rides, prepared: Prepared, *steps: str) -> list[StepTask]:
    """Out, to be sent in messages."""
    run_id = prepared.brief.run_id
    rides.steps = list(steps)
    tasks = [StepTask(run_id, StepKey(each), NodePath(each), op=each.partition("_")[0]) for each in steps]
    rides.protocol.publish(run_id, "test", [Outgoing("", b"", [(each.step, each.attempt) for each in tasks])])
    return tasks


def numbered(op_name: str) -> list[str]:
    return [op_name, *(f"{op_name}_{number}" for number in range(2, _STEPS + 1))]


@pytest.mark.parametrize(("what", "seconds"), [(naps, 0.01), (blinks, 0.0001)])
def test_the_next_message_of_a_run_is_taken_along(
    rides: Rides, along: Watched, what: JobDefinition, seconds: float
) -> None:
    prepared, op_name = prepare(Request(what, executor="celery")), what.nodes[0].name
    tasks = tasks_of(rides, prepared, *numbered(op_name))
    task_id = rides.leave(tasks[3:])
    assert rides.run(prepared, tasks[:3], {op_name: seconds}) == "STEP_SUCCESS x3"
    assert_each_once(rides)
    begun, over = rides.heard
    assert isinstance(begun, Begun)
    assert over == Over(task_id, "STEP_SUCCESS x3")
    if what is naps:  # a thread beside it has claimed what comes next when it ends
        assert along.threads == [_BESIDE]


@pytest.mark.parametrize(
    ("of", "fetched", "asked"),
    [
        pytest.param(2, [], 6, id="two steps a message"),
        pytest.param(1, [], 1, id="one by itself comes claimed"),
        pytest.param(1, ["value"], 3, id="inputs are asked for with the claim"),
    ],
)
def test_what_gets_ready_when_all_is_told_comes_by_hand(
    rides: Rides, along: Watched, monkeypatch: pytest.MonkeyPatch, of: int, fetched: list[str], asked: int
) -> None:
    monkeypatch.setattr(Telling, "_to_fetch", lambda self, wanted: iter(fetched if wanted else []))
    prepared = prepare(Request(blinks, executor="celery"))
    run_id, steps = prepared.brief.run_id, numbered("blink")[: 3 * of]
    rides.steps, rides.has_more = steps, True
    tasks = [StepTask(run_id, StepKey(each), NodePath(each), op="blink") for each in steps]
    sent: list[str] = []

    def meanwhile() -> None:
        if len(sent) < 2:
            place = of * (len(sent) + 1)
            sent.append(rides.send(tasks[place : place + of]))

    along.meanwhile = meanwhile
    monkeypatch.setattr(ride_module, "_AT_HAND", 1.0)
    said = f"STEP_SUCCESS{' x2' if of == 2 else ''}"
    assert rides.run(prepared, tasks[:of], {"blink": 0.0001}) == said
    assert along.waited == 3  # the last time in vain
    assert_each_once(rides)
    over = [word for word in rides.heard if isinstance(word, Over)]
    assert over == [Over(each, said) for each in sent]
    assert sum(claimed for _, _, claimed in rides.protocol.told) == asked
    assert not rides.protocol.client.exists(*rides.keys.queue_lists("q"))


def test_a_chain_that_comes_by_hand_goes_on_behind_its_first_step(
    rides: Rides, along: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(Request(blinks, executor="celery"))
    run_id, steps = prepared.brief.run_id, numbered("blink")[:4]
    rides.steps, rides.has_more = steps, True
    first, second, *others = [StepTask(run_id, StepKey(each), NodePath(each), op="blink") for each in steps]
    mates = tuple(msgspec.structs.replace(each, after=(second.step,)) for each in others)
    sent: list[str] = []

    def meanwhile() -> None:
        if not sent:
            sent.append(rides.send([msgspec.structs.replace(second, then=mates)]))

    along.meanwhile = meanwhile
    monkeypatch.setattr(ride_module, "_AT_HAND", 1.0)
    rides.protocol.publish(run_id, "test", [Outgoing("", b"", [(first.step, 1)])])
    assert rides.run(prepared, [first], {"blink": 0.0001}) == "STEP_SUCCESS"
    assert_each_once(rides)
    assert Over(sent[0], "STEP_SUCCESS x3") in rides.heard


@op
def glances() -> int:
    """Started, for whoever looks at the log of its run while it holds the interpreter."""
    return len([event for event in _glance() if isinstance(event, StepStarted)])


_glance: Callable[[], list[Any]] = list


@job
def glance_twice() -> None:
    glances()
    glances()


def test_the_start_of_a_step_that_came_claimed_is_told_at_once_where_it_may_take_long(
    rides: Rides, along: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(Request(glance_twice, executor="celery"))
    run_id, steps = prepared.brief.run_id, ["glances", "glances_2"]
    rides.steps, rides.has_more = steps, True
    first, second = [StepTask(run_id, StepKey(each), NodePath(each), op="glances") for each in steps]
    started: list[int] = []

    def glance() -> list[Any]:
        events = rides.events()
        started.append(len([event for event in events if isinstance(event, StepStarted)]))
        return events

    monkeypatch.setitem(globals(), "_glance", glance)
    monkeypatch.setattr(ride_module, "_AT_HAND", 1.0)
    monkeypatch.setattr(ride_module, "SLOW", 60.0)
    along.meanwhile = lambda: rides.send([second]) if len(started) == 1 else None
    rides.protocol.publish(run_id, "test", [Outgoing("", b"", [(first.step, 1)])])
    assert rides.run(prepared, [first], {"glances": 1.0}) == "STEP_SUCCESS"
    assert started == [1, 2]
    assert_each_once(rides)


def test_nobody_waits_for_more_who_has_not_looked_whether_others_do(rides: Rides, along: Watched) -> None:
    prepared = prepare(Request(blinks, executor="celery"))
    tasks = tasks_of(rides, prepared, *numbered("blink"))
    rides.has_more = True
    at = Attempt(prepared.brief.run_id, "test", tasks[0].step, 1)
    claim(rides.protocol, at, "another", "w", b"started")
    assert rides.run(prepared, tasks[:1], {"blink": 0.0001}) == "not run: taken"
    assert along.waited == 0


@pytest.mark.parametrize("why", ["another waits", "too long", "nothing has followed"])
def test_nobody_waits_for_more_who_is_wanted_elsewhere_or_need_not(
    rides: Rides, along: Watched, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    prepared = prepare(Request(until_then, executor="celery"))
    _told.set()
    first, last = tasks_of(rides, prepared, "until", "blink")
    rides.has_more = why != "nothing has followed"
    if why == "too long":
        monkeypatch.setattr(ride_module, "_LONGEST", -1.0)
    if why == "another waits":
        rides.leave([last], "d" * 32)
    assert rides.run(prepared, [first], {"until": 0.0001}) == "STEP_SUCCESS"
    assert along.waited == 0


@op
def until() -> bool:
    """What comes after it is claimed, or given back."""
    return _told.wait(30.0)


@job
def until_then() -> None:
    until()
    blink()


def test_a_message_that_comes_while_the_last_step_runs_is_claimed_before_that_ends(
    rides: Rides, along: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rides.protocol.begin_exchange

    def begin_exchange(*args: Any, **more: Any) -> Exchanging:
        asked = whole(*args, **more)
        if threading.current_thread().name == _BESIDE and more["wanted"]:
            _told.set()
        return asked

    monkeypatch.setattr(rides.protocol, "begin_exchange", begin_exchange)
    _told.clear()
    prepared = prepare(Request(until_then, executor="celery"))
    first, last = tasks_of(rides, prepared, "until", "blink")
    left: list[str] = []

    def leave(taken: Taken | None) -> None:
        if not left:  # it has looked in vain
            left.append(rides.leave([last]))

    along.then = leave
    assert rides.run(prepared, [first], {"until": 0.02, "blink": 0.02}) == "STEP_SUCCESS"
    assert _told.is_set()
    assert_each_once(rides)
    assert rides.heard[-1] == Over(*left, "STEP_SUCCESS")


def test_what_was_taken_along_is_given_back_where_the_step_before_it_takes_long(
    rides: Rides, along: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_slow_once_taken(taken: Taken | None) -> None:
        if taken is not None:
            monkeypatch.setattr(ride_module, "SLOW", 0.0)

    whole = Ride._give_back

    def give_back(ride: Ride, running: ride_module.Item) -> None:
        whole(ride, running)
        _told.set()

    along.then = is_slow_once_taken
    monkeypatch.setattr(Ride, "_give_back", give_back)
    _told.clear()
    prepared = prepare(Request(until_then, executor="celery"))
    first, last = tasks_of(rides, prepared, "until", "blink")
    task_id = rides.leave([last])
    assert rides.run(prepared, [first], {"until": 0.02}) == "STEP_SUCCESS"
    assert rides.given_back() == ["blink"]
    assert rides.heard[-1] == Over(task_id, "")


@pytest.mark.parametrize("why", ["another run", "too long", "signed by others"])
def test_what_is_for_others_is_left_to_celery(
    rides: Rides, along: Watched, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "too long":
        monkeypatch.setattr(ride_module, "_LONGEST", -1.0)
    prepared = prepare(Request(until_then, executor="celery"))
    _told.set()
    first, last = tasks_of(rides, prepared, "until", "blink")
    ring, rides.ring = rides.ring, KeyRing(b"x" * 32) if why == "signed by others" else rides.ring
    rides.leave([last], "d" * 32 if why == "another run" else CONTENT)
    rides.ring = ring
    assert rides.run(prepared, [first], {"until": 0.02}) == "STEP_SUCCESS"
    assert rides.heard == []
    waiting = sum(int(rides.protocol.client.llen(name)) for name in rides.keys.queue_lists("q"))  # type: ignore[arg-type]
    assert waiting == (why != "signed by others")  # such a message is thrown away, as by Celery's task
