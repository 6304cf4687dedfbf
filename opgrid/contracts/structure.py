"""A job as data: what it is made of and how it is wired, without user code.

Definitions emit a :class:`JobStructure`; the planner compiles it; its hash tells whether two processes hold the same
job.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

#: On an op: what somebody is asked before it runs; and the seconds after which it fails when nobody has answered.
APPROVAL_TAG = "opgrid/approval"
APPROVAL_TIMEOUT_TAG = "opgrid/approval_timeout"


class Backoff(StrEnum):
    """How the delay grows with retry n: LINEAR is n times, EXPONENTIAL 2^n - 1 times the delay."""

    LINEAR = "LINEAR"
    EXPONENTIAL = "EXPONENTIAL"


class Jitter(StrEnum):
    """What chance does to a delay: FULL draws from 0 to the delay, PLUS_MINUS moves it by up to the base delay."""

    FULL = "FULL"
    PLUS_MINUS = "PLUS_MINUS"


class Retry(msgspec.Struct, frozen=True, gc=False):
    """A retry policy as data."""

    max_retries: int = 1
    delay: float | None = None  #: seconds
    backoff: Backoff | None = None
    jitter: Jitter | None = None

    def before(self, number: int, share: float) -> float:
        """Seconds before retry ``number``, from 1 on. ``share`` is in [0, 1): what jitter takes for chance."""
        if self.delay is None:
            return 0.0
        if self.backoff is Backoff.EXPONENTIAL:
            base = (2.0 ** min(number, 64) - 1) * self.delay
        elif self.backoff is Backoff.LINEAR:
            base = number * self.delay
        else:
            base = self.delay
        if self.jitter is Jitter.FULL:
            return share * base
        if self.jitter is Jitter.PLUS_MINUS:
            return max(0.0, base + (2 * share - 1) * self.delay)
        return base


class InputInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str
    type: str = "Any"  #: display name
    nothing: bool = False  #: orders only, carries no value
    has_default: bool = False
    loadable: bool = False  #: its type can be loaded from run config
    managed: bool = False  #: its own input manager loads it when nothing is wired to it
    description: str | None = None


class OutputInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str
    type: str = "Any"
    nothing: bool = False  #: no value is stored
    dynamic: bool = False
    required: bool = True
    io_manager_key: str = "io_manager"
    description: str | None = None


class TriggerRule(StrEnum):
    """When a step runs, told by how the steps above it ended. It waits until all of them have.

    A step that can never run because something above it failed counts as failed here; a skipped one as neither.
    """

    ALL_SUCCESS = "all_success"  #: as every op does that says nothing: also skipped where an input was not yielded
    ALL_DONE = "all_done"  #: whatever they came to: for cleaning up and for telling
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ALL_FAILED = "all_failed"
    NONE_FAILED = "none_failed"  #: also when all were skipped


class OpInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str
    inputs: tuple[InputInfo, ...] = ()
    outputs: tuple[OutputInfo, ...] = ()
    description: str | None = None
    has_config: bool = False
    resource_keys: tuple[str, ...] = ()
    retry: Retry | None = None
    tags: dict[str, str] = {}
    pool: str | None = None
    timeout: float | None = None  #: seconds from start to end of one attempt
    trigger: TriggerRule = TriggerRule.ALL_SUCCESS


class Delivery(StrEnum):
    """How an input takes an output."""

    WHOLE = "whole"  #: the value of this output, or of the instance in the same mapped branch
    MAPPED = "mapped"  #: one instance of the consumer for each key of a dynamic output
    COLLECTED = "collected"  #: a list of the values of all keys of the innermost fan-out


class FromNode(msgspec.Struct, frozen=True, tag="node", omit_defaults=True, gc=False):
    node: str  #: its name in the same graph
    output: str = "result"
    delivery: Delivery = Delivery.WHOLE


class FromGraphInput(msgspec.Struct, frozen=True, tag="input", gc=False):
    name: str  #: an input of the enclosing graph
    delivery: Delivery = Delivery.WHOLE


class FanIn(msgspec.Struct, frozen=True, tag="fan_in", gc=False):
    """A list, in this order."""

    items: tuple[FromNode | FromGraphInput, ...]


Wire = FromNode | FromGraphInput | FanIn


class NodeInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One invocation of an op or a graph inside a graph."""

    name: str  #: unique in its graph
    definition: str  #: key into JobStructure.ops or .graphs
    is_graph: bool = False
    wires: dict[str, Wire] = {}  #: by input name; an input that is missing here is fed by config or default
    tags: dict[str, str] = {}
    retry: Retry | None = None
    hooks: tuple[str, ...] = ()


class GraphOutput(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str
    source: Wire
    description: str | None = None


class GraphInfo(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str
    nodes: tuple[NodeInfo, ...] = ()
    inputs: tuple[InputInfo, ...] = ()
    outputs: tuple[GraphOutput, ...] = ()
    description: str | None = None
    tags: dict[str, str] = {}
    hooks: tuple[str, ...] = ()
    has_config: bool = False  #: a config mapping stands in for the config of what is inside


class JobStructure(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    name: str
    graph: str  #: key into graphs: the root
    ops: dict[str, OpInfo] = {}
    graphs: dict[str, GraphInfo] = {}
    description: str | None = None
    tags: dict[str, str] = {}
    hooks: tuple[str, ...] = ()
    retry: Retry | None = None  #: for ops that have none
    resource_keys: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
