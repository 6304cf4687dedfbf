"""The steps of one run as they come to be: who waits for whom, what a fan-out adds, and what is at hand for a step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from opgrid.contracts.fusing import promise
from opgrid.contracts.status import StepStatus
from opgrid.contracts.structure import Delivery, TriggerRule
from opgrid.contracts.tasks import FromDefault, Gathered, OutputRef, Source, Stored, TaskInput
from opgrid.ids import NodePath, StepKey, step_key
from orchestrator.planner.plan import FromStep, FromSteps, Keys, Plan, StepSpec, upstream

_COLLECTED = Delivery.COLLECTED
_MAPPED = Delivery.MAPPED
_SUCCESS, _SKIPPED = StepStatus.SUCCESS, StepStatus.SKIPPED


class Step(msgspec.Struct, eq=False):
    """Where one step stands. ``attempt`` fences: events of any other attempt mean nothing."""

    spec: StepSpec
    key: StepKey
    keys: Keys = ()
    status: StepStatus = StepStatus.PENDING
    attempt: int = 1
    retry_number: int = 0  #: retries that were granted
    losses: int = 0  #: attempts of which nobody can say how far they came
    anew: int = 0  #: attempts that came of lost outputs: its own, or those that it needs
    redone: int = 0  #: times that it ran again because its own were lost
    again: bool = False  #: it had succeeded, and runs again because its outputs were lost
    due: float | None = None  #: when WAITING: the start of the next attempt
    delay: float = 0.0  #: and how long that was to be
    outputs: tuple[OutputRef, ...] = ()
    earlier: tuple[OutputRef, ...] = ()  #: that it made before they were lost, and it ran again
    missing: int = 0  #: what it waits for: steps, and gates, that are not done
    blocked: bool = False  #: it will never run (only told in plans with trigger rules)
    waiters: list[Step] = []
    gate: Gate | None = None  #: that waits for it
    aboard: bool = False  #: it was sent along with a step before it

    @property
    def done(self) -> bool:
        """What is below may go on (or be skipped)."""
        return self.status is _SUCCESS or self.status is _SKIPPED or self.again

    @property
    def ended(self) -> bool:
        """Nothing more comes of it."""
        return self.done or self.blocked or self.status is StepStatus.FAILURE

    @property
    def ruled(self) -> bool:
        """It may run although something above it failed."""
        return self.spec.trigger is not TriggerRule.ALL_SUCCESS

    def output(self, name: str, mapping_key: str | None = None) -> OutputRef | None:
        for ref in self.outputs:
            if ref.output == name and ref.mapping_key == mapping_key:
                return ref
        return None


@dataclass(slots=True, eq=False)
class Gate:
    """All instances of a step over one innermost fan-out. Open when each of them is done.

    Where there are trigger rules, instances that failed do not remain: then it opens only for steps that have one.
    """

    made: bool = False
    failed: bool = False
    remaining: int = 0
    members: list[Step] = field(default_factory=list)
    waiters: list[Step] = field(default_factory=list)


class _Wire(msgspec.Struct, frozen=True, gc=False):
    """What an instance waits for because of one of its inputs."""

    step: NodePath
    depth: int  #: how many of its keys name the source
    collected: bool  #: all instances of the step, rather than one output


class Absent(NamedTuple):
    """An input that will never come: what it needs was not yielded."""

    input: str
    step: str
    output: str


class Instances:
    """Grows when fan-outs are accepted. Statuses belong to the machine: here they are only read."""

    def __init__(self, plan: Plan) -> None:
        self.steps: dict[StepKey, Step] = {}
        self._known = {step.step: step for step in plan.known}
        self._specs = {spec.key: spec for spec in plan.steps}
        self._depth = {spec.key: len(spec.scope) for spec in plan.steps}
        #: maker -> output -> the templates over that fan-out, innermost
        self._fans: dict[NodePath, dict[str, list[StepSpec]]] = {}
        self._wires: dict[NodePath, tuple[_Wire, ...]] = {}
        self._gated: set[NodePath] = set()
        self._rules = False
        for spec in plan.steps:
            if spec.trigger is not TriggerRule.ALL_SUCCESS:
                self._rules = True
            if spec.scope:
                innermost = spec.scope[-1]
                self._fans.setdefault(innermost.step, {}).setdefault(innermost.output, []).append(spec)
            if spec.runs:
                self._wires[spec.key] = wires = tuple([self._wire(feed) for feed in upstream(spec)])
                for wire in wires:
                    if wire.collected:
                        self._gated.add(wire.step)
        self._gates: dict[tuple[NodePath, Keys], Gate] = {}
        #: values of dynamic outputs by key, of makers that are done
        self._branches: dict[tuple[StepKey, str], dict[str, OutputRef]] = {}

    def begin(self) -> list[Step]:
        """Make the steps that are in no fan-out, and what known fan-outs yield. Returns those that are ready."""
        for spec in self._specs.values():
            if not spec.scope:
                self._make(spec, ())
        first = list(self.steps.values())
        for step in first:
            if step.done:
                self._expand(step, [])
        return [step for step in self.steps.values() if not step.missing and step.status is StepStatus.PENDING]

    def release(self, step: Step) -> list[Step]:
        """A step is done: those that are ready now."""
        ready: list[Step] = []
        _admit(step.waiters, ready)
        if step.gate is not None:
            gate, step.gate = step.gate, None  # which holds it, too: they would be garbage that only a search finds
            gate.remaining -= 1
            if not gate.remaining:
                self._pass(gate, ready)
        if step.spec.key in self._fans:
            self._expand(step, ready)
        return ready

    def renew(self, step: Step) -> None:
        """A step has made its outputs again: those of its fan-outs that are not there any more are missed by the steps
        over them.
        """
        for out in step.spec.outputs:
            self._branches.pop((step.key, out.name), None)

    def give_up(self, step: Step) -> list[Step]:
        """A step has failed for good, and nothing that needs it will run: those with a trigger rule that are ready."""
        ready: list[Step] = []
        if self._rules:
            self._block([step], ready)
        return ready

    def _wire(self, feed: FromStep) -> _Wire:
        return _Wire(feed.step, self._depth[feed.step], self._over_instances(feed))

    def inputs(self, step: Step, promised: Collection[StepKey] = ()) -> tuple[TaskInput, ...] | Absent:
        """What a ready step is given; or what is absent, so that it is to be skipped. Outputs of steps that are only
        ``promised`` are refs of attempt 0.
        """
        found: list[TaskInput] = []
        for given in step.spec.inputs:
            feed = given.feed
            source: Source | None
            if isinstance(feed, FromStep):
                source = self._taken(feed, step, promised)
                if source is None and step.ruled:
                    source = FromDefault()
                if source is None:
                    return Absent(given.name, feed.step, feed.output)
            elif isinstance(feed, FromSteps):
                refs = [self._one(item, step, promised) for item in feed.items]
                source = Gathered(tuple(ref for ref in refs if ref is not None))
                if refs and not source.items and not step.ruled:
                    return Absent(given.name, feed.items[0].step, feed.items[0].output)
            else:
                source = feed
            if not given.nothing:
                found.append(TaskInput(given.name, source))
        return tuple(found)

    def needs(self, step: Step, promised: Collection[StepKey]) -> tuple[Source, ...]:
        """What inputs of type Nothing wait for, of steps that are only promised: outputs that these may not yield."""
        found: list[Source] = []
        for given in step.spec.inputs:
            if given.nothing and isinstance(given.feed, FromStep | FromSteps):
                feeds = given.feed.items if isinstance(given.feed, FromSteps) else (given.feed,)
                if any(feed.delivery is _COLLECTED for feed in feeds):
                    continue  # none that is only promised
                refs = [ref for feed in feeds if (ref := self._one(feed, step, promised)) is not None]
                if not any(ref.attempt or self._is_sure(ref) for ref in refs):
                    found.append(Gathered(tuple(refs)))
        return tuple(found)

    def _is_sure(self, ref: OutputRef) -> bool:
        """Whether the step yields it if it succeeds."""
        return self._is_required(self.steps[ref.step], ref.output)

    def agrees(self, step: Step) -> bool:
        """Whether the trigger rule of a ready step lets it run."""
        if not step.ruled:
            return True
        ended = self.sources(step)
        match step.spec.trigger:
            case TriggerRule.ONE_SUCCESS:
                return any(each.status is StepStatus.SUCCESS for each in ended)
            case TriggerRule.ONE_FAILED:
                return not all(each.done for each in ended)
            case TriggerRule.ALL_FAILED:
                return not any(each.done for each in ended)
            case TriggerRule.NONE_FAILED:
                return all(each.done for each in ended)
            case _:
                return True

    def sources(self, step: Step) -> list[Step]:
        """The steps above it: for a collection the instances, or what should have made them where there are none."""
        found: list[Step] = []
        for wire in self._wires.get(step.spec.key, ()):
            if wire.collected:
                members = self._gate(wire.step, step.keys[: wire.depth - 1]).members
                found.extend(members or [self._maker(wire.step, step)])
            else:
                found.append(self._source(wire.step, step))
        return found

    def unmade(self) -> list[NodePath]:
        """Templates that have no instance so far."""
        made = {step.spec.key for step in self.steps.values()}
        return [path for path in self._specs if path not in made]

    def waits_for(self, step: Step) -> int:
        """``missing``, counted anew: for checks."""
        return sum(self._pending(wire, step) is not None for wire in self._wires.get(step.spec.key, ()))

    # ---- making steps

    def _make(self, spec: StepSpec, keys: Keys, wires: Sequence[_Wire] | None = None) -> Step | None:
        """``wires``: those that it may have to wait for, where that is known."""
        key = step_key(spec.key, keys)
        known = self._known.get(key)
        if known is not None:
            status = StepStatus.SKIPPED if known.skipped else StepStatus.SUCCESS
            step = Step(spec, key, keys, status, outputs=known.outputs)
        elif spec.covers(keys):
            step = Step(spec, key, keys)
            for wire in self._wires[spec.key] if wires is None else wires:
                holder = self._pending(wire, step)
                if holder is not None:
                    holder.waiters.append(step)
                    step.missing += 1
                    step.blocked = step.blocked or (self._rules and _dead(holder))
        else:
            return None
        self.steps[key] = step
        return step

    def _expand(self, maker: Step, ready: list[Step]) -> None:
        """Make the instances over the dynamic outputs of a step that is done; one that was skipped has none."""
        made: list[Step] = []
        for output, templates in self._fans.get(maker.spec.key, {}).items():
            branch = list(self._branch(maker, output))
            for spec in templates:
                # Of what is not selected nothing is made, and what it would wait for may not be there.
                covered = any(spec.covers((*maker.keys, key)) for key in branch)
                wires = self._own_wires(spec, maker.keys) if covered else None
                members = [step for key in branch if (step := self._make(spec, (*maker.keys, key), wires)) is not None]
                made.extend(members)
                if spec.key in self._gated:
                    self._open(self._gate(spec.key, maker.keys), members, ready)
        ready.extend([step for step in made if not step.missing and step.status is StepStatus.PENDING])
        if self._rules:
            for step in made:
                if step.blocked:
                    self._block([step], ready)
        if self._known:
            for step in made:
                if step.done:
                    self._expand(step, ready)

    def _own_wires(self, spec: StepSpec, keys: Keys) -> list[_Wire]:
        """What its instances over a fan-out, whose maker has these keys, may have to wait for: without what all of
        them share and is done.
        """
        alike = Step(spec, StepKey(spec.key), keys)
        return [
            wire
            for wire in self._wires.get(spec.key, ())
            if wire.depth - wire.collected > len(keys) or self._pending(wire, alike) is not None
        ]

    def _open(self, gate: Gate, members: list[Step], ready: list[Step]) -> None:
        gate.made, gate.members = True, members
        left = [step for step in members if not step.done] if self._known else members
        gate.remaining = len(left)
        for step in members:
            step.gate = gate
        if not gate.remaining:
            self._pass(gate, ready)

    def _pass(self, gate: Gate, ready: list[Step]) -> None:
        """Every instance has ended."""
        if gate.failed:
            blocked: list[Step] = []
            _refuse(gate.waiters, ready, blocked)
            self._block(blocked, ready)
        else:
            _admit(gate.waiters, ready)

    def _block(self, dead: list[Step], ready: list[Step]) -> None:
        """Tell those below that these steps will never be done."""
        while dead:
            step = dead.pop()
            _refuse(step.waiters, ready, dead)
            if step.gate is not None:
                gate, step.gate = step.gate, None
                gate.failed = True
                gate.remaining -= 1
                if not gate.remaining:
                    _refuse(gate.waiters, ready, dead)
            for templates in self._fans.get(step.spec.key, {}).values():
                for spec in templates:
                    if spec.key in self._gated:
                        gate = self._gate(spec.key, step.keys)
                        gate.made = gate.failed = True
                        _refuse(gate.waiters, ready, dead)

    def _pending(self, wire: _Wire, step: Step) -> Step | Gate | None:
        """What a step waits for because of one of its wires, unless it is done."""
        if wire.collected:
            gate = self._gate(wire.step, step.keys[: wire.depth - 1])
            passed = gate.made and not gate.remaining and (step.ruled or not gate.failed)
            return None if passed else gate
        source = self._source(wire.step, step)
        return None if source.done or (step.ruled and source.ended) else source

    def _gate(self, template: NodePath, keys: Keys) -> Gate:
        gate = self._gates.get((template, keys))
        if gate is None:
            gate = self._gates[template, keys] = Gate()
        return gate

    def _over_instances(self, feed: FromStep) -> bool:
        """A collection of instances, rather than of the values of one dynamic output."""
        if feed.delivery is not _COLLECTED:
            return False
        return not any(out.dynamic and out.name == feed.output for out in self._specs[feed.step].outputs)

    def _source(self, path: NodePath, step: Step) -> Step:
        depth = self._depth[path]
        return self.steps[step_key(path, step.keys[:depth]) if depth else StepKey(path)]

    # ---- what is at hand

    def _taken(self, feed: FromStep, step: Step, promised: Collection[StepKey]) -> Source | None:
        if feed.delivery is not _COLLECTED:
            ref = self._one(feed, step, promised)
            return None if ref is None else Stored(ref)
        if not self._over_instances(feed):
            maker = self._source(feed.step, step)
            if maker.status is StepStatus.SKIPPED and not step.ruled:
                return None
            refs = tuple(self._branch(maker, feed.output).values())
            return Gathered(refs) if refs or step.ruled or self._is_required(maker, feed.output) else None
        members = self._gate(feed.step, step.keys[: self._depth[feed.step] - 1]).members
        refs = tuple(ref for member in members if (ref := member.output(feed.output)) is not None)
        return Gathered(refs) if refs or step.ruled or (not members and self._may_be_none(feed.step, step)) else None

    def _may_be_none(self, path: NodePath, step: Step) -> bool:
        """Whether instances of which there are none are collected as an empty list, or as an output left out."""
        maker, fan = self._maker(path, step), self._specs[path].scope[-1]
        return maker.status is not StepStatus.SKIPPED and self._is_required(maker, fan.output)

    def _maker(self, path: NodePath, step: Step) -> Step:
        """Whose keys the instances have that are collected."""
        maker = self._specs[path].scope[-1].step
        return self.steps[step_key(maker, step.keys[: self._depth[maker]])]

    @staticmethod
    def _is_required(maker: Step, output: str) -> bool:
        return any(out.required for out in maker.spec.outputs if out.name == output)

    def _one(self, feed: FromStep, step: Step, promised: Collection[StepKey]) -> OutputRef | None:
        source = self._source(feed.step, step)
        if promised and source.key in promised:
            return promise(source.key, feed.output)
        if feed.delivery is _MAPPED:
            return self._branch(source, feed.output).get(step.keys[self._depth[feed.step]])
        return source.output(feed.output)

    def _branch(self, maker: Step, output: str) -> dict[str, OutputRef]:
        """The values of a dynamic output by key, in the order in which they were yielded."""
        found = self._branches.get((maker.key, output))
        if found is None:
            found = {
                ref.mapping_key: ref for ref in maker.outputs if ref.output == output and ref.mapping_key is not None
            }
            self._branches[maker.key, output] = found
        return found


def _dead(holder: Step | Gate) -> bool:
    if isinstance(holder, Step):
        return holder.ended
    return holder.made and not holder.remaining


def _refuse(waiters: list[Step], ready: list[Step], blocked: list[Step]) -> None:
    """What they wait for will never be done: that is an end, too, for those with a trigger rule."""
    for step in waiters:
        if step.ruled:
            step.missing -= 1
            if not step.missing:
                ready.append(step)
        elif not step.blocked:
            step.blocked = True
            blocked.append(step)


def _admit(waiters: list[Step], ready: list[Step]) -> None:
    for step in waiters:
        step.missing -= 1
        if not step.missing:
            ready.append(step)
