"""A plan: every step of a run, where its inputs come from and how it is to be run. Frozen, JSON, content-hashed.

A step whose ``scope`` is not empty is a template: it has one instance for each combination of the mapping keys of the
dynamic outputs in its scope, outermost first. The engine makes the instances when the step that yields their keys is
accepted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec

from opgrid.contracts.decoding import json_decoder
from opgrid.contracts.structure import Delivery, OutputInfo, Retry, TriggerRule
from opgrid.contracts.tasks import FromConfig, FromDefault, FromInputManager, FromJobInput, OutputRef
from opgrid.contracts.wire import content_hash
from opgrid.ids import NodePath, StepKey

#: ``StepSpec.fuse`` of a step that always travels alone.
NEVER = "-"
#: ``breadth`` of steps that are mapped.
MANY = 1 << 16
#: The mapping keys of one instance, outermost first; () where a step is not mapped.
Keys = tuple[str, ...]


class FanOut(msgspec.Struct, frozen=True, gc=False):
    """A dynamic output that is mapped over."""

    step: NodePath
    output: str


class FromStep(msgspec.Struct, frozen=True, tag="step", omit_defaults=True, gc=False):
    """An output of a step. Which instance: the one with as many of the consumer's keys as its scope is long.

    WHOLE: the output. MAPPED: the one value of a dynamic output that the consumer's next key names. COLLECTED: a list,
    in the order of the keys, of the values of a dynamic output or of a step's instances over its innermost fan-out.
    """

    step: NodePath
    output: str = "result"
    delivery: Delivery = Delivery.WHOLE


class FromSteps(msgspec.Struct, frozen=True, tag="steps", gc=False):
    """A list, in this order; items that were not yielded are left out."""

    items: tuple[FromStep, ...]


StaticFeed = FromConfig | FromJobInput | FromDefault | FromInputManager
Feed = FromStep | FromSteps | StaticFeed


class InputSpec(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str
    feed: Feed
    nothing: bool = False  #: orders only


class StepSpec(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    key: NodePath
    op: str
    scope: tuple[FanOut, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    outputs: tuple[OutputInfo, ...] = ()
    retry: Retry | None = None
    timeout: float | None = None  #: seconds from start to end of one attempt
    start_timeout: float | None = None  #: seconds that one attempt may wait for a worker
    recompute: bool = True  #: it may run again when its outputs were lost
    trigger: TriggerRule = TriggerRule.ALL_SUCCESS
    pool: str | None = None
    queue: str | None = None
    priority: int = 0  #: higher first; the run's own is in it
    tags: dict[str, str] = {}
    executor: str | None = None  #: None: the run's
    fuse: str = ""  #: steps with the same text run in one task; "": only where one follows the other; NEVER: not at all
    hooks: tuple[str, ...] = ()
    runs: bool = True  #: False: only its known outputs matter
    only: tuple[Keys, ...] | None = None  #: it runs for instances whose keys begin with one of these; None: for all

    def covers(self, keys: Keys) -> bool:
        """Whether the instance with these keys is one to run (unless its outcome is known)."""
        if not self.runs:
            return False
        return self.only is None or any(keys[: len(some)] == some for some in self.only)


class KnownStep(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A step of an earlier run whose outcome counts as accepted from the start: it does not run again."""

    step: StepKey
    outputs: tuple[OutputRef, ...] = ()
    skipped: bool = False


class Plan(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``steps`` are in topological order."""

    job: str
    steps: tuple[StepSpec, ...] = ()
    known: tuple[KnownStep, ...] = ()
    retries: bool = True  #: False: the executor was told not to retry
    max_runtime: float | None = None  #: seconds from the start of the run
    snapshot: str = ""  #: hash of the snapshot it was compiled from

    def to_json(self) -> bytes:
        return _encode(self)

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Raises msgspec.ValidationError for what is no plan."""
        return json_decoder(cls).decode(data)

    @property
    def hash(self) -> str:
        return content_hash(self)

    @property
    def keys(self) -> list[NodePath]:
        return [spec.key for spec in self.steps]


def upstream(spec: StepSpec) -> list[FromStep]:
    """Every wire into a step, in the order of its inputs."""
    found: list[FromStep] = []
    for given in spec.inputs:
        if isinstance(given.feed, FromStep):
            found.append(given.feed)
        elif isinstance(given.feed, FromSteps):
            found.extend(given.feed.items)
    return found


def breadth(steps: Iterable[StepSpec]) -> int:
    """How many of these are ready at the same time, as far as can be told beforehand: those that wait for none, or all
    that wait for the same one; MANY where steps are mapped. A chain has 1.
    """
    first, most, after = 0, 0, dict[NodePath, int]()
    for spec in steps:
        if not spec.runs:
            continue
        if spec.scope:
            return MANY
        before = {wire.step for wire in upstream(spec)}
        first += not before
        for each in before:
            after[each] = after.get(each, 0) + 1
            most = max(most, after[each])
    return max(first, most)


_encode = msgspec.json.Encoder(order="deterministic").encode
