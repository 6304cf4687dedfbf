"""Re-execution: which steps of a plan run, and which count as done with the outputs of an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from opgrid.contracts.structure import Delivery, TriggerRule
from opgrid.errors import InvalidSubsetError
from opgrid.ids import NodePath, StepKey, split_step_key, step_key
from orchestrator.planner.plan import FanOut, FromStep, FromSteps, InputSpec, Keys, KnownStep, Plan, StepSpec, upstream

#: Selected steps with the beginnings of the keys of their instances, None for all instances.
Chosen = Mapping[NodePath, tuple[Keys, ...] | None]


class MissingParentOutput(InvalidSubsetError):
    """A selected step needs a step that is not selected and of which the earlier run has no outcome."""

    def __init__(self, step: str, needs: str, fan_out: str = "") -> None:
        super().__init__(step, needs, fan_out)
        self.step, self.needs, self.fan_out = step, needs, fan_out

    def describe(self) -> str:
        if self.fan_out:
            why = f"is not selected, though the fan-out of {self.fan_out!r} that it belongs to runs again"
        else:
            why = "is not selected and did not succeed in the earlier run"
        return f"The step {self.step!r} is selected and needs {self.needs!r}, which {why}. Select {self.needs!r}, too."


def among(plan: Plan, chosen: Chosen | None, known: Iterable[KnownStep], resume: bool = False) -> Plan:
    """The plan cut down to a re-execution.

    ``chosen`` None: all steps that are not known. ``resume``: chosen steps that are known do not run again.
    """
    specs = {spec.key: spec for spec in plan.steps}
    told = {step.step: step for step in known if split_step_key(step.step)[0] in specs}
    if chosen is None:
        return msgspec.structs.replace(plan, known=tuple(_standing(specs, told)))
    for key in specs:
        runs = key in chosen
        specs[key] = msgspec.structs.replace(specs[key], runs=runs, only=chosen[key] if runs else None)
    if not resume:
        told = {key: step for key, step in told.items() if not _covered(specs, key)}
    standing = {step.step: step for step in _standing(specs, told)}
    check = _Check(specs, standing)
    for spec in plan.steps:
        specs[spec.key] = _set_free(specs[spec.key], check)
    check.all()
    wanted = _wanted(specs)
    return msgspec.structs.replace(
        plan,
        steps=tuple(spec for key, spec in specs.items() if key in wanted),
        known=tuple(step for step in standing.values() if split_step_key(step.step)[0] in wanted),
    )


def _covered(specs: Mapping[NodePath, StepSpec], key: StepKey) -> bool:
    node, keys = split_step_key(key)
    return specs[node].covers(keys)


def _standing(specs: Mapping[NodePath, StepSpec], told: Mapping[StepKey, KnownStep]) -> Iterator[KnownStep]:
    """Known steps without those in a fan-out that is made anew: its keys may be others."""
    for key, step in told.items():
        node, keys = split_step_key(key)
        scope = specs[node].scope
        if len(keys) == len(scope) and not any(
            _anew(specs, told, out, keys[:depth]) for depth, out in enumerate(scope)
        ):
            yield step


def _anew(specs: Mapping[NodePath, StepSpec], told: Mapping[StepKey, KnownStep], out: FanOut, keys: Keys) -> bool:
    return step_key(out.step, keys) not in told and specs[out.step].covers(keys)


def _wanted(specs: Mapping[NodePath, StepSpec]) -> set[NodePath]:
    """Steps that run, what feeds them, and what makes the keys of all these."""
    wanted: set[NodePath] = set()
    for spec in reversed(list(specs.values())):
        if spec.runs:
            wanted.add(spec.key)
            wanted.update(wire.step for wire in upstream(spec))
        if spec.key in wanted:
            wanted.update(out.step for out in spec.scope)
    return wanted


def _set_free(spec: StepSpec, check: _Check) -> StepSpec:
    """A selected step without those that it takes nothing from and only comes after, where they neither run nor have
    succeeded: who selects it wants it to run without them.
    """
    free = spec.runs and not spec.scope and spec.trigger in (TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE)
    if not free or not any(given.nothing for given in spec.inputs):
        return spec

    def there(wire: FromStep) -> bool:
        return check.specs[wire.step].runs or check.lack(spec, wire) is None

    inputs: list[InputSpec] = []
    for given in spec.inputs:
        feed = given.feed
        if given.nothing and isinstance(feed, FromSteps):
            inputs.append(InputSpec(given.name, FromSteps(tuple(filter(there, feed.items))), nothing=True))
        elif not given.nothing or not isinstance(feed, FromStep) or there(feed):
            inputs.append(given)
    return msgspec.structs.replace(spec, inputs=tuple(inputs))


@dataclass(slots=True)
class _Check:
    """Every instance that runs finds what it needs: running as well, or known."""

    specs: Mapping[NodePath, StepSpec]
    known: Mapping[StepKey, KnownStep]
    _branches: dict[tuple[FanOut, ...], list[Keys]] = field(default_factory=dict)

    def all(self) -> None:
        for spec in self.specs.values():
            if spec.runs:
                for wire in upstream(spec):
                    lack = self.lack(spec, wire)
                    if lack is not None:
                        raise lack

    def lack(self, spec: StepSpec, wire: FromStep) -> MissingParentOutput | None:
        """What keeps a step from taking what a wire is to bring."""
        source, collected = self.specs[wire.step], wire.delivery is Delivery.COLLECTED
        if source.runs and source.only is None:
            return None
        alike = source.runs and not collected and source.only == spec.only
        for depth, out in enumerate(source.scope):
            for keys in self._keys(source.scope[:depth]):
                if _anew(self.specs, self.known, out, keys) and not (alike or source.covers(keys)):
                    return MissingParentOutput(spec.key, source.key, out.step)
        for keys in self._keys(source.scope):
            if self._needed(spec, source, keys, collected) and not self._given(source, keys):
                return MissingParentOutput(spec.key, step_key(source.key, keys))
        if source.scope and collected:
            maker = self.specs[source.scope[-1].step]
            for keys in self._keys(maker.scope):
                if self._needed(spec, maker, keys, False) and not self._given(maker, keys):
                    return MissingParentOutput(spec.key, step_key(maker.key, keys))
        return None

    def _needed(self, spec: StepSpec, source: StepSpec, keys: Keys, collected: bool) -> bool:
        if spec.only is None:
            return True
        shared = keys[: min(len(source.scope) - collected, len(spec.scope))]
        return any(shared[: len(some)] == some[: len(shared)] for some in spec.only)

    def _given(self, source: StepSpec, keys: Keys) -> bool:
        return source.covers(keys) or step_key(source.key, keys) in self.known

    def _keys(self, scope: tuple[FanOut, ...]) -> list[Keys]:
        """The keys of all known branches of a scope."""
        if not scope:
            return [()]
        if scope not in self._branches:
            out = scope[-1]
            self._branches[scope] = [
                (*outer, ref.mapping_key)
                for outer in self._keys(scope[:-1])
                if (maker := self.known.get(step_key(out.step, outer))) is not None
                for ref in maker.outputs
                if ref.output == out.output and ref.mapping_key is not None
            ]
        return self._branches[scope]
