"""The steps of one run as they come to be: who waits for whom, what a fan-out adds, and what is at hand for a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from opgrid.contracts.status import StepStatus
from opgrid.contracts.structure import Delivery
from opgrid.contracts.tasks import Gathered, OutputRef, Source, Stored, TaskInput
from opgrid.ids import NodePath, StepKey, step_key
from orchestrator.planner.plan import FromStep, FromSteps, Keys, Plan, StepSpec, upstream


@dataclass(slots=True, eq=False)
class Step:
    """Where one step stands. ``attempt`` fences: events of any other attempt mean nothing."""

    spec: StepSpec
    key: StepKey
    keys: Keys = ()
    status: StepStatus = StepStatus.PENDING
    attempt: int = 1
    retry_number: int = 0  #: retries that were granted
    losses: int = 0  #: attempts of which nobody can say how far they came
    due: float | None = None  #: when WAITING: the start of the next attempt
    outputs: tuple[OutputRef, ...] = ()
    missing: int = 0  #: what it waits for: steps, and gates, that are not done
    waiters: list[Step] = field(default_factory=list)
    gate: Gate | None = None

    @property
    def done(self) -> bool:
        """What is below may go on (or be skipped)."""
        return self.status is StepStatus.SUCCESS or self.status is StepStatus.SKIPPED

    def output(self, name: str, mapping_key: str | None = None) -> OutputRef | None:
        for ref in self.outputs:
            if ref.output == name and ref.mapping_key == mapping_key:
                return ref
        return None


@dataclass(slots=True, eq=False)
class Gate:
    """All instances of a step over one innermost fan-out. Open when each of them is done."""

    made: bool = False
    remaining: int = 0
    members: list[Step] = field(default_factory=list)
    waiters: list[Step] = field(default_factory=list)


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
        self._wires: dict[NodePath, list[FromStep]] = {}
        self._gated: set[NodePath] = set()
        for spec in plan.steps:
            if spec.scope:
                innermost = spec.scope[-1]
                self._fans.setdefault(innermost.step, {}).setdefault(innermost.output, []).append(spec)
            if spec.runs:
                self._wires[spec.key] = wires = upstream(spec)
                self._gated.update(wire.step for wire in wires if self._over_instances(wire))
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
            step.gate.remaining -= 1
            if not step.gate.remaining:
                _admit(step.gate.waiters, ready)
        if step.spec.key in self._fans:
            self._expand(step, ready)
        return ready

    def inputs(self, step: Step) -> tuple[TaskInput, ...] | Absent:
        """What a ready step is given; or what is absent, so that it is to be skipped."""
        found: list[TaskInput] = []
        for given in step.spec.inputs:
            feed = given.feed
            source: Source | None
            if isinstance(feed, FromStep):
                source = self._taken(feed, step)
                if source is None:
                    return Absent(given.name, feed.step, feed.output)
            elif isinstance(feed, FromSteps):
                refs = [self._one(item, step) for item in feed.items]
                source = Gathered(tuple(ref for ref in refs if ref is not None))
                if refs and not source.items:
                    return Absent(given.name, feed.items[0].step, feed.items[0].output)
            else:
                source = feed
            if not given.nothing:
                found.append(TaskInput(given.name, source))
        return tuple(found)

    def unmade(self) -> list[NodePath]:
        """Templates that have no instance so far."""
        made = {step.spec.key for step in self.steps.values()}
        return [path for path in self._specs if path not in made]

    def waits_for(self, step: Step) -> int:
        """``missing``, counted anew: for checks."""
        return sum(self._pending(wire, step) is not None for wire in self._wires.get(step.spec.key, ()))

    # ---- making steps

    def _make(self, spec: StepSpec, keys: Keys) -> Step | None:
        key = step_key(spec.key, keys) if keys else StepKey(spec.key)
        known = self._known.get(key)
        if known is not None:
            status = StepStatus.SKIPPED if known.skipped else StepStatus.SUCCESS
            step = Step(spec, key, keys, status, outputs=known.outputs)
        elif spec.covers(keys):
            step = Step(spec, key, keys)
            for wire in self._wires[spec.key]:
                holder = self._pending(wire, step)
                if holder is not None:
                    holder.waiters.append(step)
                    step.missing += 1
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
                members = [step for key in branch if (step := self._make(spec, (*maker.keys, key))) is not None]
                made.extend(members)
                if spec.key in self._gated:
                    self._open(self._gate(spec.key, maker.keys), members, ready)
        ready.extend(step for step in made if not step.missing and not step.done)
        for step in made:
            if step.done:
                self._expand(step, ready)

    def _open(self, gate: Gate, members: list[Step], ready: list[Step]) -> None:
        gate.made, gate.members = True, members
        gate.remaining = sum(not step.done for step in members)
        for step in members:
            step.gate = gate
        if not gate.remaining:
            _admit(gate.waiters, ready)

    def _pending(self, wire: FromStep, step: Step) -> Step | Gate | None:
        """What a step waits for because of one of its wires, unless it is done."""
        if self._over_instances(wire):
            gate = self._gate(wire.step, step.keys[: self._depth[wire.step] - 1])
            return None if gate.made and not gate.remaining else gate
        source = self._source(wire, step)
        return None if source.done else source

    def _gate(self, template: NodePath, keys: Keys) -> Gate:
        gate = self._gates.get((template, keys))
        if gate is None:
            gate = self._gates[template, keys] = Gate()
        return gate

    def _over_instances(self, wire: FromStep) -> bool:
        """A collection of instances, rather than of the values of one dynamic output."""
        if wire.delivery is not Delivery.COLLECTED:
            return False
        return not any(out.dynamic and out.name == wire.output for out in self._specs[wire.step].outputs)

    def _source(self, wire: FromStep, step: Step) -> Step:
        depth = self._depth[wire.step]
        return self.steps[step_key(wire.step, step.keys[:depth]) if depth else StepKey(wire.step)]

    # ---- what is at hand

    def _taken(self, feed: FromStep, step: Step) -> Source | None:
        if feed.delivery is not Delivery.COLLECTED:
            ref = self._one(feed, step)
            return None if ref is None else Stored(ref)
        if not self._over_instances(feed):
            maker = self._source(feed, step)
            if maker.status is StepStatus.SKIPPED:
                return None
            return Gathered(tuple(self._branch(maker, feed.output).values()))
        members = self._gate(feed.step, step.keys[: self._depth[feed.step] - 1]).members
        refs = tuple(ref for member in members if (ref := member.output(feed.output)) is not None)
        return Gathered(refs) if refs or not (members or self._maker_skipped(feed, step)) else None

    def _maker_skipped(self, feed: FromStep, step: Step) -> bool:
        maker = self._specs[feed.step].scope[-1].step
        depth = self._depth[maker]
        return self.steps[step_key(maker, step.keys[:depth])].status is StepStatus.SKIPPED

    def _one(self, feed: FromStep, step: Step) -> OutputRef | None:
        source = self._source(feed, step)
        if feed.delivery is Delivery.MAPPED:
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


def _admit(waiters: list[Step], ready: list[Step]) -> None:
    for step in waiters:
        step.missing -= 1
        if not step.missing:
            ready.append(step)
