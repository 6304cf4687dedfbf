"""Random jobs with outcomes drawn up front, what must come of them, and a world that delivers events badly.

``expected`` is an interpreter of its own: it looks at the drawn job, never at a plan or a machine. ``play`` drives a
machine: every event may come twice, in any order, timers too; its own replay may take the machine's place at any point.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from opgrid.contracts import wire
from opgrid.contracts.events import (
    AnyEvent,
    ErrorInfo,
    HookCompleted,
    LossCause,
    RetryDue,
    RetryRequest,
    RunCanceling,
    RunStarted,
    StepCanceled,
    StepFailed,
    StepLost,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.structure import Delivery, FanIn, FromNode, JobStructure, NodeInfo, Retry
from opgrid.contracts.tasks import Gathered, OutputRef, StepTask, Stored
from opgrid.ids import RunId, StepKey, step_key
from orchestrator.engine.commands import Cancel, Command, Finish, Launch, Note, RunHook, WakeAt
from orchestrator.planner.compile import compile
from orchestrator.planner.plan import Plan
from tests.unit.engine.jobs import job, op, snapshot

RUN = RunId("run")
BUDGET = 3
Keys = tuple[str, ...]
Place = tuple[str, Keys]


# ---- the job


@dataclass(frozen=True)
class Wire:
    """One input; more than one source makes a list."""

    sources: tuple[tuple[str, Delivery], ...]
    listed: bool = False


@dataclass(frozen=True)
class Drawn:
    """One op invocation."""

    name: str
    scope: tuple[str, ...]  #: names of the dynamic steps that it is mapped over
    wires: tuple[Wire, ...]
    dynamic: bool
    retries: int
    delay: float
    hooks: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What the attempts of one instance come to; the last goes on for ever. ``keys`` None: nothing was yielded."""

    attempts: tuple[str, ...]
    keys: tuple[str, ...] | None


@dataclass
class Case:
    steps: list[Drawn]
    seed: int

    def outcome(self, place: Place) -> Outcome:
        """Drawn by name: the same whoever asks, and however often."""
        step = next(step for step in self.steps if step.name == place[0])
        rng = random.Random(f"{self.seed}/{place}")
        kinds = ["ok", "ok", "ok", "fail", "lost", "stopped", "fatal", "asks"]
        attempts = (*rng.choices(kinds, k=rng.randint(0, 4)), rng.choice(["ok", "ok", "ok", "fail"]))
        if rng.random() < 0.6:
            attempts = rng.choice([("ok",), ("ok",), ("ok",), ("fail", "fail", "ok")])
        keys = tuple(rng.sample(["k1", "k2", "k3"], rng.randint(0, 3))) if step.dynamic else ("",)
        return Outcome(attempts, None if not step.dynamic and rng.random() < 0.15 else keys)

    def must_yield(self, name: str) -> bool:
        """Whether a dynamic step without values counts as one that gives an empty list, rather than nothing."""
        dynamic = any(step.dynamic for step in self.steps if step.name == name)
        return dynamic and random.Random(f"{self.seed}/{name}/must").random() < 0.5

    def structure(self) -> JobStructure:
        ops = [
            op(
                step.name,
                *(f"i{n}" for n in range(len(step.wires))),
                dynamic=step.dynamic,
                required=self.must_yield(step.name),
                retry=Retry(step.retries, step.delay) if step.retries else None,
            )
            for step in self.steps
        ]
        nodes = [
            NodeInfo(
                step.name,
                step.name,
                wires={f"i{n}": _as_wire(each) for n, each in enumerate(step.wires)},
                hooks=step.hooks,
            )
            for step in self.steps
        ]
        return job(ops, *nodes)


def _as_wire(drawn: Wire) -> FromNode | FanIn:
    items = tuple(FromNode(name, "result", delivery) for name, delivery in drawn.sources)
    return FanIn(items) if drawn.listed else items[0]


def draw(rng: random.Random) -> Case:
    """Fan-outs, nested ones and what collects them are drawn often: that is where the corners are."""
    steps: list[Drawn] = []
    for number in range(rng.randint(1, 10)):
        scopes = sorted({()} | {step.scope for step in steps} | {(*s.scope, s.name) for s in steps if s.dynamic})
        scope = rng.choices(scopes, [1 + 2 * len(each) if len(each) < 4 else 0 for each in scopes])[0]
        wires = [_wire(rng, steps, scope) for _ in range(rng.choice([1, 1, 2, 3] if steps else [0]))]
        kept = tuple(each for each in wires if each is not None)
        steps.append(
            Drawn(
                f"s{number}",
                _scope(steps, kept),
                kept,
                rng.random() < 0.35,
                rng.choice([0, 0, 1, 2, 3]),
                rng.choice([0.0, 1.0, 1.0, 2.5]),
                ("h1", "h2") if rng.random() < 0.15 else (),
            )
        )
    return Case(steps, rng.randint(0, 2**32))


def _wire(rng: random.Random, steps: list[Drawn], scope: tuple[str, ...]) -> Wire | None:
    """An input of a step that may be in ``scope``."""
    mapped = [(s.name, Delivery.MAPPED) for s in steps if s.dynamic and _within(scope, (*s.scope, s.name))]
    values = [(s.name, Delivery.COLLECTED) for s in steps if s.dynamic and _within(scope, s.scope)]
    whole = [(s.name, Delivery.WHOLE) for s in steps if not s.dynamic and _within(scope, s.scope)]
    made = [(s.name, Delivery.COLLECTED) for s in steps if not s.dynamic and s.scope and _within(scope, s.scope[:-1])]
    if rng.random() < 0.2 and mapped + whole:
        return Wire(tuple(rng.choices(mapped + whole, k=rng.randint(1, 3))), listed=True)
    if rng.random() < 0.03:
        return Wire((), listed=True)
    kinds = [(kind, weight) for kind, weight in ((mapped, 3), (whole, 3), (made, 3), (values, 1)) if kind]
    if not kinds:
        return None
    chosen = rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
    return Wire((rng.choice(chosen),))


def _within(scope: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return scope[: len(outer)] == outer


def _scope(steps: list[Drawn], wires: tuple[Wire, ...]) -> tuple[str, ...]:
    by_name = {step.name: step for step in steps}
    longest: tuple[str, ...] = ()
    for each in wires:
        for name, delivery in each.sources:
            source = by_name[name]
            scope = source.scope
            if delivery is Delivery.MAPPED:
                scope = (*scope, name)
            elif delivery is Delivery.COLLECTED and not source.dynamic:
                scope = scope[:-1]
            longest = max(longest, scope, key=len)
    return longest


# ---- what must come of it


@dataclass
class Expected:
    status: dict[StepKey, StepStatus] = field(default_factory=dict)
    numbers: dict[StepKey, tuple[int, int, int]] = field(default_factory=dict)  #: attempt, retry number, losses
    inputs: dict[StepKey, list[list[tuple[str, str | None]]]] = field(default_factory=dict)
    keys: dict[Place, tuple[str, ...] | None] = field(default_factory=dict)


def expected(case: Case) -> Expected:
    """What must happen to each step, whatever the order of delivery."""
    found = Expected()
    for step in case.steps:
        for keys in _branches(case, found, step.scope):
            place = (step.name, keys)
            key = step_key(*place)
            given = [_given(case, found, each, keys) for each in step.wires]
            if any(each is _BLOCKED for each in given):
                found.status[key] = StepStatus.PENDING
            elif any(each is None for each in given):
                found.status[key], found.keys[place] = StepStatus.SKIPPED, None
            else:
                outcome = case.outcome(place)
                found.inputs[key] = [each for each in given if each is not None]
                found.status[key], found.numbers[key] = _lived(step, outcome.attempts)
                if found.status[key] is StepStatus.SUCCESS:
                    found.keys[place] = outcome.keys
    return found


_BLOCKED: list[tuple[str, str | None]] = []


def _branches(case: Case, found: Expected, scope: tuple[str, ...]) -> list[Keys]:
    if not scope:
        return [()]
    outer = _branches(case, found, scope[:-1])
    return [(*keys, key) for keys in outer for key in found.keys.get((scope[-1], keys)) or ()]


def _given(case: Case, found: Expected, each: Wire, keys: Keys) -> list[tuple[str, str | None]] | None:
    """The values of one input; None: nothing was yielded; _BLOCKED: a step that it needs failed or never ran."""
    if each.listed:
        parts = [_from_source(case, found, name, delivery, keys) for name, delivery in each.sources]
        if any(part is _BLOCKED for part in parts):
            return _BLOCKED
        there = [value for part in parts if part is not None for value in part]
        return None if parts and not there else list(there)
    name, delivery = each.sources[0]
    return _from_source(case, found, name, delivery, keys)


def _from_source(
    case: Case, found: Expected, name: str, delivery: Delivery, keys: Keys
) -> list[tuple[str, str | None]] | None:
    source = next(step for step in case.steps if step.name == name)
    depth = len(source.scope)
    if delivery is Delivery.COLLECTED and not source.dynamic:
        return _from_branches(case, found, source, keys[: depth - 1])
    place = (name, keys[:depth])
    key = step_key(*place)
    if not _done(found, place):
        return _BLOCKED
    yielded = found.keys[place]
    if found.status[key] is StepStatus.SKIPPED or yielded is None:
        return None
    if delivery is Delivery.COLLECTED:
        return [(key, each) for each in yielded] if yielded or case.must_yield(name) else None
    return [(key, keys[depth] if delivery is Delivery.MAPPED else None)]


def _from_branches(case: Case, found: Expected, source: Drawn, keys: Keys) -> list[tuple[str, str | None]] | None:
    maker = (source.scope[-1], keys)
    if not _done(found, maker):
        return _BLOCKED
    if found.status[step_key(*maker)] is StepStatus.SKIPPED:
        return None
    places = [(source.name, (*keys, key)) for key in found.keys[maker] or ()]
    if not all(_done(found, place) for place in places):
        return _BLOCKED
    values: list[tuple[str, str | None]] = [
        (step_key(*place), None) for place in places if found.keys[place] is not None
    ]
    return values if values or (not places and case.must_yield(maker[0])) else None


def _done(found: Expected, place: Place) -> bool:
    return found.status[step_key(*place)] in (StepStatus.SUCCESS, StepStatus.SKIPPED)


def _lived(step: Drawn, attempts: tuple[str, ...]) -> tuple[StepStatus, tuple[int, int, int]]:
    number = retries = losses = 0
    while True:
        number += 1
        result = attempts[min(number, len(attempts)) - 1]
        if result == "ok":
            return StepStatus.SUCCESS, (number, retries, losses)
        if result in ("lost", "stopped"):
            losses += 1
            if losses < BUDGET:
                continue
        allowed = {"fatal": 0, "asks": 1}.get(result, step.retries)
        if retries >= allowed:
            return StepStatus.FAILURE, (number, retries, losses)
        retries += 1


# ---- the world


@dataclass
class World:
    """Runs attempts, and delivers what they say: late, twice, in any order."""

    case: Case
    rng: random.Random
    inbox: list[AnyEvent] = field(default_factory=list)
    timers: list[AnyEvent] = field(default_factory=list)
    launched: dict[tuple[StepKey, int], StepTask] = field(default_factory=dict)
    finishes: list[RunStatus] = field(default_factory=list)
    canceled: bool = False
    machine: Any = None
    forgets: float = 0.0  #: how likely a step finds that what it needs is gone

    def obey(self, commands: list[Command], again: bool = False) -> None:
        """``again``: these come from a replay, so what is out already may be launched once more."""
        for command in commands:
            match command:
                case Launch(task):
                    if again and (task.step, task.attempt) in self.launched:
                        continue
                    self._launch(task)
                case Cancel(step, attempt):
                    assert (step, attempt) in self.launched, f"{step} was never out"
                    self._say(StepCanceled(run_id=RUN, at=self._skewed(), step=step, attempt=attempt))
                case WakeAt(_, event):
                    self.timers.extend([event] * self.rng.randint(1, 2))
                case RunHook(task, hooks, _):
                    self._run_hooks(task, hooks, 0.7)
                case Finish(status):
                    self.finishes.append(status)
                case Note():
                    pass

    def deliver(self) -> AnyEvent:
        pool = self.inbox if self.inbox and (not self.timers or self.rng.random() < 0.7) else self.timers
        return pool.pop(self.rng.randrange(len(pool)))

    def _launch(self, task: StepTask) -> None:
        assert not self.canceled, f"{task.step} was launched after the run was canceled"
        assert (task.step, task.attempt) not in self.launched, f"{task.step} attempt {task.attempt} was launched twice"
        self.launched[task.step, task.attempt] = task
        at, attempt, step = self._skewed(), task.attempt, task.step
        self._say(StepStarted(run_id=RUN, at=at, step=step, attempt=attempt))
        drawn = next(each for each in self.case.steps if each.name == task.node)
        outcome = self.case.outcome((task.node, task.mapping_keys))
        there = self.machine.steps[step]
        gone = self._gone(task)
        if gone:
            cause = LossCause("what it needs is gone")
            self._say(StepLost(run_id=RUN, at=at, step=step, attempt=attempt, cause=cause, gone=gone))
            return
        number = attempt - there.anew
        result = "ok" if there.again else outcome.attempts[min(number, len(outcome.attempts)) - 1]
        error = ErrorInfo("Boom", result)
        ended = True
        if result == "ok":
            keys = outcome.keys or ()
            refs = tuple(OutputRef(RUN, step, "result", key or None, attempt) for key in keys)
            self._say(StepSucceeded(run_id=RUN, at=at, step=step, attempt=attempt, outputs=refs))
        elif result == "lost":
            self._say(StepLost(run_id=RUN, at=at, step=step, attempt=attempt, cause=LossCause("it died", 9)))
            ended = False
        elif result == "stopped":
            self._say(StepCanceled(run_id=RUN, at=at, step=step, attempt=attempt))
            ended = False
        else:
            asked = RetryRequest(1, 0.5) if result == "asks" else None
            allowed = {"fatal": 0, "asks": 1}.get(result, drawn.retries)
            ended = task.retry_number >= allowed
            self._say(
                StepFailed(
                    run_id=RUN,
                    at=at,
                    step=step,
                    attempt=attempt,
                    error=error,
                    allow_retries=result != "fatal",
                    retry=asked,
                )
            )
        if ended:
            self._run_hooks(task, drawn.hooks, 0.9)

    def _gone(self, task: StepTask) -> tuple[OutputRef, ...]:
        if self.rng.random() >= self.forgets:
            return ()
        refs = [ref for each in task.inputs for ref in _outputs(each.source)]
        return tuple(ref for ref in refs if self.machine.steps[ref.step].redone < 2 and self.rng.random() < 0.6)

    def _run_hooks(self, task: StepTask, hooks: tuple[str, ...], likely: float) -> None:
        for hook in hooks:
            if self.rng.random() < likely:
                at = self._skewed()
                self._say(HookCompleted(run_id=RUN, at=at, step=task.step, attempt=task.attempt, hook=hook))

    def _say(self, event: AnyEvent) -> None:
        self.inbox.extend([event] * self.rng.randint(1, 3))

    def _skewed(self) -> float:
        """The clock of some worker."""
        return 500.0 + self.rng.random() * 1000


Make = Callable[[RunId, Plan], Any]


def play(
    case: Case, rng: random.Random, make: Make, cancel: bool = False, crashes: bool = False, forgets: float = 0.0
) -> None:
    """Drive a machine through a case and hold it to what must come of it."""
    plan = Plan.from_json(compile(snapshot(case.structure())).to_json())
    must = expected(case)
    world = World(case, rng, forgets=forgets)
    machine = world.machine = make(RUN, plan)
    log: list[AnyEvent] = []
    world.inbox.extend([RunStarted(run_id=RUN, at=1000.0)] * 2)
    if cancel:
        rng.choice([world.inbox, world.timers]).extend([RunCanceling(run_id=RUN, at=1000.0, reason="enough")] * 2)
    now = 1000.0
    finals: dict[StepKey, StepStatus] = {}
    for _ in range(5000):
        if not world.inbox and not world.timers:
            break
        event = world.deliver()
        now += rng.random()
        world.canceled = world.canceled or (cancel and isinstance(event, RunCanceling))
        out = {(key, step.attempt) for key, step in machine.steps.items() if step.status in _OUT}
        commands = machine.take(event, now)
        if commands is not None:
            log.append(event)
            log.extend(command.event for command in commands if isinstance(command, Note))
            _reasonable(event, commands, out)
        machine.check()
        world.obey(commands or [])
        finals = _unchanged(machine, finals, forgets > 0)
        if crashes and rng.random() < 0.1:
            machine = _replaced(machine, plan, log, make, world, now)
    assert not world.inbox, "the run goes on for ever"
    assert world.finishes == [machine.status], f"the run ended {len(world.finishes)} times"
    replayed = _replay(make, plan, log)
    assert replayed.view() == machine.view(), "the replay is not the run"
    assert replayed.status is machine.status
    _outcomes(machine, must, world)


_OUT = (StepStatus.DISPATCHED, StepStatus.RUNNING)


def _reasonable(event: AnyEvent, commands: list[Command], out: set[tuple[StepKey, int]]) -> None:
    launched = [command.task for command in commands if isinstance(command, Launch)]
    if isinstance(event, RetryDue):
        assert [(task.step, task.attempt) for task in launched] == [(event.step, event.attempt)], (
            "another retry was due"
        )
    if isinstance(event, RunCanceling):
        stopped = {(command.step, command.attempt) for command in commands if isinstance(command, Cancel)}
        assert stopped == out, "something is out and was not stopped"


def _unchanged(machine: Any, before: dict[StepKey, StepStatus], forgets: bool) -> dict[StepKey, StepStatus]:
    """A success alone may be taken up again, where its outputs were lost."""
    now = {key: step.status for key, step in machine.steps.items() if step.status.is_final}
    if forgets:
        before = {key: status for key, status in before.items() if status is not StepStatus.SUCCESS}
    assert all(now.get(key) is status for key, status in before.items()), "a final status changed"
    return now


def _replaced(machine: Any, plan: Plan, log: list[AnyEvent], make: Make, world: World, now: float) -> Any:
    """The coordinator dies with its timers; another one goes on from the log."""
    again = _replay(make, plan, log)
    again.check()
    assert again.view() == machine.view(), "the replay is not the run"
    world.machine = again
    world.timers[:] = [event for event in world.timers if isinstance(event, RunCanceling)]
    world.obey(again.outstanding(now), again=True)
    return again


def _replay(make: Make, plan: Plan, log: list[AnyEvent]) -> Any:
    machine = make(RUN, plan)
    for event in wire.decode_events(wire.encode_events(log)):
        machine.take(event, event.at)
    return machine


def _outcomes(machine: Any, must: Expected, world: World) -> None:
    for (step, _), task in world.launched.items():
        assert _values(task) == must.inputs[step], f"{step} was given other inputs"
    statuses = {key: step.status for key, step in machine.steps.items()}
    if world.canceled:
        assert machine.status.is_final
        for key, status in statuses.items():
            allowed = {must.status.get(key), StepStatus.PENDING, StepStatus.CANCELED, StepStatus.FAILURE}
            assert status in allowed, f"{key} is {status}"
        return
    assert statuses == must.status
    failed = StepStatus.FAILURE in must.status.values()
    assert machine.status is (RunStatus.FAILURE if failed else RunStatus.SUCCESS)
    for key, numbers in must.numbers.items():
        step = machine.steps[key]
        assert (step.attempt - step.anew, step.retry_number, step.losses) == numbers, (
            f"{key}: attempts were counted wrong"
        )


def _values(task: StepTask) -> list[list[tuple[str, str | None]]]:
    return [list(_refs(each.source)) for each in task.inputs]


def _refs(source: object) -> Iterator[tuple[str, str | None]]:
    for ref in _outputs(source):
        yield ref.step, ref.mapping_key


def _outputs(source: object) -> tuple[OutputRef, ...]:
    if isinstance(source, Stored):
        return (source.ref,)
    return source.items if isinstance(source, Gathered) else ()
