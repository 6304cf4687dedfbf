"""From a snapshot to a plan: flatten, select, order, find scopes and sources. Linear in steps and wires."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from opgrid.contracts.structure import (
    Delivery,
    FanIn,
    FromNode,
    InputInfo,
    JobStructure,
    OutputInfo,
    Retry,
    TriggerRule,
)
from opgrid.contracts.tasks import FromDefault
from opgrid.errors import InvalidDefinitionError, listed
from opgrid.ids import NodePath
from orchestrator.planner import routing
from orchestrator.planner.dynamic import Scope, joined, taken
from orchestrator.planner.flatten import (
    BadWire,
    Frame,
    Leaf,
    Link,
    Links,
    Origin,
    TopInput,
    flatten,
    follow,
    hooks_of,
)
from orchestrator.planner.inputs import Unsatisfied, UnsatisfiedInputs, unwired
from orchestrator.planner.known import among
from orchestrator.planner.plan import NEVER, Feed, FromStep, FromSteps, InputSpec, KnownStep, Plan, StepSpec, upstream
from orchestrator.planner.selection import Wiring, instances, read, select
from orchestrator.planner.snapshot import JobSnapshot

_UNMAPPED: Scope = ()
#: Ops of jobs whose plans are remembered: with more, plans take too much room for what they save.
_SMALL: Final = 500


class CyclicJob(InvalidDefinitionError):
    """Steps wait for each other in a circle."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__(steps)
        self.steps = steps

    def describe(self) -> str:
        return (
            f"These steps wait for each other in a circle: {' -> '.join(self.steps)}. Remove one of the dependencies."
        )


def compile(
    snapshot: JobSnapshot,
    *,
    op_selection: Sequence[str] | None = None,
    step_selection: Sequence[str] | None = None,
    known: Iterable[KnownStep] | None = None,
    resume: bool = False,
) -> Plan:
    """Raises errors that name step, input and way out.

    ``op_selection`` makes a smaller job: what lies outside is not there. ``step_selection`` re-executes: what lies
    outside counts as done, with the outputs in ``known`` (those of the parent run, see ``RunMachine.known``). Without
    a step selection everything runs that is not known, which is re-execution from failure; ``resume`` does the same
    within a step selection.
    """
    asked = _Asked(snapshot.hash, tuple(op_selection or ()), snapshot)
    plan = _remembered(asked) if _is_small(snapshot.structure) else _planned(asked)
    if step_selection is None and known is None:
        return plan
    chosen = None
    steps = {spec.key: spec for spec in plan.steps}
    if step_selection is not None:
        wiring = Wiring({path: [wire.step for wire in upstream(spec)] for path, spec in steps.items()})
        chosen = instances(read(step_selection, wiring), {path: spec.scope for path, spec in steps.items()})
    return among(plan, chosen, known or (), resume)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A job that is to be planned, and what tells it from others."""

    content: str  #: hash of its snapshot
    op_selection: Sequence[str]
    snapshot: JobSnapshot = field(compare=False)


def _is_small(structure: JobStructure) -> bool:
    return sum(len(graph.nodes) for graph in structure.graphs.values()) <= _SMALL


def _planned(asked: _Asked) -> Plan:
    snapshot, op_selection = asked.snapshot, asked.op_selection
    structure = snapshot.structure
    specs = _Specs(snapshot)
    if op_selection or not _in_order(structure):
        leaves = list(flatten(structure))
        origins = _wired(structure, leaves)
        specs.cut = cut = _cut(origins, op_selection)
        for leaf in _ordered([leaf for leaf in leaves if leaf.path not in cut], origins, cut):
            specs.add(leaf, origins[leaf.path])
    else:  # one after the other: leaves and origins of a large job are never there all at once
        for leaf in flatten(structure):
            specs.add(leaf, _origins(structure, leaf))
    steps = specs.steps
    if specs.missing:
        raise UnsatisfiedInputs(structure.name, specs.missing)
    return Plan(
        structure.name,
        tuple(steps.values()),
        retries="disabled" not in _retries(snapshot),
        max_runtime=specs.run.timeout,
        snapshot=asked.content,
    )


#: Who runs a job again and again, with the same config and tags, has it planned once.
_remembered = lru_cache(maxsize=8)(_planned)


def selected_ops(structure: JobStructure, op_selection: Sequence[str] | None) -> frozenset[NodePath] | None:
    """The paths of the ops that a selection keeps; None for all. Raises NothingSelected."""
    if not op_selection:
        return None
    origins = _wired(structure, list(flatten(structure)))
    return frozenset(origins.keys() - _cut(origins, op_selection))


#: What is at the other end of each input of an op, in their order.
Origins = tuple[Origin, ...]


def _wired(structure: JobStructure, leaves: Iterable[Leaf]) -> dict[NodePath, Origins]:
    return {leaf.path: _origins(structure, leaf) for leaf in leaves}


def _origins(structure: JobStructure, leaf: Leaf) -> Origins:
    """Raises BadWire."""
    path, wires, frame = leaf.path, leaf.node.wires, leaf.frame
    found: list[Origin] = []
    followed = 0
    for info in leaf.op.inputs:
        wire = wires.get(info.name)
        if wire is None:
            found.append(None)
        else:
            followed += 1
            found.append(follow(structure, frame, wire, path))
    if followed < len(wires):
        inputs = [info.name for info in leaf.op.inputs]
        strange = wires.keys() - set(inputs)
        raise BadWire(path, f"it has no input {listed(strange)}; its inputs are {listed(inputs)}.")
    return tuple(found)


def _in_order(structure: JobStructure) -> bool:
    """Whether each node comes after all that it takes something from, as in every graph that opgrid composed: then so
    do the ops when graphs are laid flat.
    """
    for graph in structure.graphs.values():
        seen: set[str] = set()
        for node in graph.nodes:
            for wire in node.wires.values():
                for source in wire.items if isinstance(wire, FanIn) else (wire,):
                    if isinstance(source, FromNode) and source.node not in seen:
                        return False
            seen.add(node.name)
    return True


def _sources(origins: Iterable[Origin]) -> list[NodePath]:
    """The steps behind some origins."""
    found: list[NodePath] = []
    for origin in origins:
        if isinstance(origin, Link):
            found.append(origin.step)
        elif isinstance(origin, Links):
            found.extend(link.step for link in origin.items)
    return found


def _cut(origins: Mapping[NodePath, Origins], op_selection: Sequence[str] | None) -> frozenset[NodePath]:
    if not op_selection:
        return frozenset()
    wiring = Wiring({path: _sources(inputs) for path, inputs in origins.items()})
    return frozenset(origins.keys() - select(op_selection, wiring))


def _ordered(leaves: list[Leaf], origins: Mapping[NodePath, Origins], cut: frozenset[NodePath]) -> list[Leaf]:
    """Topological order; the order of definition where that is one already."""
    above = {leaf.path: [up for up in _sources(origins[leaf.path]) if up not in cut] for leaf in leaves}
    seen: set[NodePath] = set()
    for path, sources in above.items():
        if not seen.issuperset(sources):
            break
        seen.add(path)
    else:
        return leaves
    below: dict[NodePath, list[NodePath]] = {path: [] for path in above}
    waiting = {path: len(sources) for path, sources in above.items()}
    for path, sources in above.items():
        for source in sources:
            below[source].append(path)
    ready = deque(path for path, count in waiting.items() if not count)
    order: list[NodePath] = []
    while ready:
        order.append(ready.popleft())
        for path in below[order[-1]]:
            waiting[path] -= 1
            if not waiting[path]:
                ready.append(path)
    if len(order) < len(leaves):
        raise CyclicJob(_circle({path: above[path] for path in above.keys() - set(order)}))
    by_path = {leaf.path: leaf for leaf in leaves}
    return [by_path[path] for path in order]


def _circle(above: Mapping[NodePath, list[NodePath]]) -> list[str]:
    """One circle among steps that all wait for one another; in the direction of the data."""
    trail: dict[NodePath, int] = {}
    step = min(above)
    while step not in trail:
        trail[step] = len(trail)
        step = next(source for source in above[step] if source in above)
    around = [path for path, place in trail.items() if place >= trail[step]]
    return [step, *reversed(around)]


def _retries(snapshot: JobSnapshot) -> Mapping[str, object]:
    retries = snapshot.executor.config.get("retries")
    return retries if isinstance(retries, dict) else {}


class _Manner(NamedTuple):
    """How a step is run, whatever it takes in: the fields of its StepSpec from ``outputs`` on, in their order."""

    outputs: tuple[OutputInfo, ...]
    retry: Retry | None
    timeout: float | None
    start_timeout: float | None
    recompute: bool
    trigger: TriggerRule
    pool: str | None
    queue: str | None
    priority: int
    tags: dict[str, str]
    executor: str | None
    fuse: str
    hooks: tuple[str, ...]


@dataclass(slots=True)
class _Specs:
    """Makes the steps of a plan; those that a step takes something from have to be added before it."""

    snapshot: JobSnapshot
    cut: frozenset[NodePath] = frozenset()
    missing: list[Unsatisfied] = field(default_factory=list)
    steps: dict[NodePath, StepSpec] = field(default_factory=dict)
    run: routing.Routing = field(init=False)
    _outputs: dict[str, Mapping[str, bool]] = field(default_factory=dict)  #: of an op: whether each is dynamic
    _manners: dict[tuple[str, str], _Manner] = field(default_factory=dict)  #: by the paths of graphs and their ops
    _fused: dict[str, str] = field(default_factory=dict)  #: what is said of the steps of a graph, by its path

    def __post_init__(self) -> None:
        self.run = routing.of_run(self.snapshot.tags)

    def add(self, leaf: Leaf, origins: Origins) -> None:
        op, path = leaf.op, leaf.path
        scopes: list[tuple[NodePath, Scope]] = []
        inputs: list[InputSpec] = []
        for info, origin in zip(op.inputs, origins, strict=True):
            feed = self._feed(leaf, info, origin, scopes)
            if feed is not None:
                inputs.append(InputSpec(info.name, feed, info.nothing))
        scope = joined(path, scopes) if scopes else _UNMAPPED
        self.steps[path] = StepSpec(path, op.name, scope, tuple(inputs), *self._manner(leaf))

    def _manner(self, leaf: Leaf) -> _Manner:
        """Invocations in one graph that nothing is said about of their own share it."""
        node = leaf.node
        if node.tags or node.retry is not None or node.hooks:
            return self._manner_of(leaf)
        at = (leaf.frame.path, node.definition)
        found = self._manners.get(at)
        if found is None:
            found = self._manners[at] = self._manner_of(leaf)
        return found

    def _manner_of(self, leaf: Leaf) -> _Manner:
        op, node = leaf.op, leaf.node
        tags = {**op.tags, **node.tags} if node.tags else op.tags
        how = routing.of_step(tags, leaf.path) if tags else routing.Routing()
        return _Manner(
            outputs=op.outputs,
            retry=node.retry or leaf.frame.retry or op.retry or self.snapshot.structure.retry,
            timeout=how.timeout or op.timeout,
            start_timeout=how.start_timeout,
            recompute=how.recompute,
            trigger=op.trigger,
            pool=op.pool,
            queue=how.queue or self.run.queue,
            priority=how.priority + self.run.priority,
            tags=tags,
            executor=how.executor or self.run.executor,
            fuse=self._fuse(leaf, tags),
            hooks=hooks_of(leaf),
        )

    def _fuse(self, leaf: Leaf, tags: Mapping[str, str]) -> str:
        """What is said nearest to the step counts: its own tags, those of the graphs around it, the run's."""
        if tags and (own := routing.fused(tags, f"step {leaf.path!r}")) is not None:
            return f"{leaf.frame.path}/" if own else NEVER
        path = leaf.frame.path
        found = self._fused.get(path)
        if found is None:
            found = self._fused[path] = self._fuse_inside(leaf.frame)
        return found

    def _fuse_inside(self, frame: Frame | None) -> str:
        while frame is not None:
            around = {**frame.graph.tags, **(frame.node.tags if frame.node is not None else {})}
            if around and (said := routing.fused(around, f"graph {frame.path or frame.graph.name!r}")) is not None:
                return f"{frame.path}/" if said else NEVER
            frame = frame.parent
        said = routing.fused(self.snapshot.tags, "the run")
        return "" if said is None else "/" if said else NEVER

    def _feed(self, leaf: Leaf, info: InputInfo, origin: Origin, scopes: list[tuple[NodePath, Scope]]) -> Feed | None:
        cut = unfed = ""
        partial = False
        if isinstance(origin, Link):
            if origin.step not in self.cut:
                return self._take(leaf, origin, scopes)
            cut = origin.step
        elif isinstance(origin, Links):
            items = [link for link in origin.items if link.step not in self.cut]
            lost = [step for step in origin.outer if step in self.cut]
            partial = bool(items) and not info.nothing and bool(lost or origin.unfed)
            if (items and not partial) or not (origin.items or origin.unfed):
                return FromSteps(tuple(self._item(leaf, link, scopes) for link in items))
            unfed = next(iter(origin.unfed), "")
            cut = next(iter(lost or [link.step for link in origin.items if not items]), "")
        if info.nothing:
            return None
        top = origin if isinstance(origin, TopInput) else None
        feed = unwired(info, leaf.path, top, self.snapshot)
        if feed is None or (partial and isinstance(feed, FromDefault)):
            given = top.name if top is not None else ""
            self.missing.append(Unsatisfied(leaf.path, info.name, info.type, info.loadable, given, cut, unfed, partial))
        return feed

    def _take(self, leaf: Leaf, link: Link, scopes: list[tuple[NodePath, Scope]]) -> FromStep:
        source = self.steps[link.step]
        outputs = self._outputs.get(source.op)
        if outputs is None:
            outputs = self._outputs[source.op] = {output.name: output.dynamic for output in source.outputs}
        dynamic = outputs.get(link.output)
        if dynamic is None:
            known = listed(outputs.keys())
            raise BadWire(leaf.path, f"{link.step!r} has no output {link.output!r}; it has {known}.")
        scope = source.scope
        if not dynamic and not link.deliveries:
            feed = FromStep(link.step, link.output)
        else:
            feed, scope = taken(link, dynamic, scope, leaf.path)
        if scope:
            scopes.append((link.step, scope))
        return feed

    def _item(self, leaf: Leaf, link: Link, scopes: list[tuple[NodePath, Scope]]) -> FromStep:
        feed = self._take(leaf, link, scopes)
        if feed.delivery is Delivery.COLLECTED:
            raise BadWire(
                leaf.path, f"{link.step!r} is collected inside a list; give the collected list an input of its own."
            )
        return feed
