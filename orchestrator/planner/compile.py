"""From a snapshot to a plan: flatten, select, order, find scopes and sources. Linear in steps and wires."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opgrid.contracts.structure import Delivery, InputInfo, JobStructure, OpInfo
from opgrid.errors import InvalidDefinitionError, listed
from opgrid.ids import NodePath
from orchestrator.planner import routing
from orchestrator.planner.dynamic import Scope, joined, taken
from orchestrator.planner.flatten import BadWire, Flat, Frame, Leaf, Link, Links, Origin, TopInput, flatten, hooks_of
from orchestrator.planner.inputs import Unsatisfied, UnsatisfiedInputs, unwired
from orchestrator.planner.known import among
from orchestrator.planner.plan import NEVER, Feed, FromStep, FromSteps, InputSpec, KnownStep, Plan, StepSpec
from orchestrator.planner.selection import Wiring, instances, read, select
from orchestrator.planner.snapshot import JobSnapshot

_UNMAPPED: Scope = ()


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
    flat = flatten(snapshot.structure)
    leaves, origins = _wired(flat)
    cut = _cut(origins, op_selection)
    leaves = _ordered([leaf for leaf in leaves if leaf.path not in cut], origins, cut)
    specs = _Specs(snapshot, origins, cut)
    steps = {leaf.path: specs.of(leaf) for leaf in leaves}
    if specs.missing:
        raise UnsatisfiedInputs(snapshot.structure.name, specs.missing)
    plan = Plan(
        snapshot.structure.name,
        tuple(steps.values()),
        retries="disabled" not in _retries(snapshot),
        max_runtime=specs.run.timeout,
        snapshot=snapshot.hash,
    )
    if step_selection is None and known is None:
        return plan
    chosen = None
    if step_selection is not None:
        wiring = Wiring({path: _sources(origins[path].values()) for path in steps})
        chosen = instances(read(step_selection, wiring), {path: spec.scope for path, spec in steps.items()})
    return among(plan, chosen, known or (), resume)


def selected_ops(structure: JobStructure, op_selection: Sequence[str] | None) -> frozenset[NodePath] | None:
    """The paths of the ops that a selection keeps; None for all. Raises NothingSelected."""
    if not op_selection:
        return None
    _, origins = _wired(flatten(structure))
    return frozenset(origins.keys() - _cut(origins, op_selection))


Origins = dict[NodePath, dict[str, Origin]]


def _wired(flat: Flat) -> tuple[list[Leaf], Origins]:
    origins: Origins = {}
    for leaf in flat.leaves:
        inputs = {info.name: flat.origin(leaf, info.name) for info in leaf.op.inputs}
        if len(leaf.node.wires) > len(inputs) or not leaf.node.wires.keys() <= inputs.keys():
            strange = leaf.node.wires.keys() - inputs.keys()
            raise BadWire(leaf.path, f"it has no input {listed(strange)}; its inputs are {listed(inputs)}.")
        origins[leaf.path] = inputs
    return flat.leaves, origins


def _sources(origins: Iterable[Origin]) -> list[NodePath]:
    """The steps behind some origins."""
    found: list[NodePath] = []
    for origin in origins:
        if isinstance(origin, Link):
            found.append(origin.step)
        elif isinstance(origin, Links):
            found.extend(link.step for link in origin.items)
    return found


def _cut(origins: Origins, op_selection: Sequence[str] | None) -> frozenset[NodePath]:
    if not op_selection:
        return frozenset()
    wiring = Wiring({path: _sources(inputs.values()) for path, inputs in origins.items()})
    return frozenset(origins.keys() - select(op_selection, wiring))


def _ordered(leaves: list[Leaf], origins: Origins, cut: frozenset[NodePath]) -> list[Leaf]:
    """Topological order; the order of definition where that is one already."""
    above = {leaf.path: [up for up in _sources(origins[leaf.path].values()) if up not in cut] for leaf in leaves}
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


@dataclass(slots=True)
class _Specs:
    """Makes the steps of a plan, in topological order."""

    snapshot: JobSnapshot
    origins: Origins
    cut: frozenset[NodePath]
    missing: list[Unsatisfied] = field(default_factory=list)
    run: routing.Routing = field(init=False)
    _scopes: dict[NodePath, Scope] = field(default_factory=dict)
    _dynamic: dict[NodePath, Mapping[str, bool]] = field(default_factory=dict)
    _outputs: dict[str, Mapping[str, bool]] = field(default_factory=dict)
    _fused: dict[str, str] = field(default_factory=dict)  #: what is said of the steps of a graph, by its path

    def __post_init__(self) -> None:
        self.run = routing.of_run(self.snapshot.tags)

    def of(self, leaf: Leaf) -> StepSpec:
        op, node, path = leaf.op, leaf.node, leaf.path
        scopes: list[tuple[NodePath, Scope]] = []
        inputs: list[InputSpec] = []
        for info in op.inputs:
            feed = self._feed(leaf, info, self.origins[path][info.name], scopes)
            if feed is not None:
                inputs.append(InputSpec(info.name, feed, info.nothing))
        scope = joined(path, scopes) if scopes else _UNMAPPED
        self._scopes[path] = scope
        self._dynamic[path] = self._outputs_of(node.definition, op)
        tags = {**op.tags, **node.tags} if node.tags else op.tags
        how = routing.of_step(tags, path) if tags else routing.Routing()
        return StepSpec(
            key=path,
            op=op.name,
            scope=scope,
            inputs=tuple(inputs),
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
        cut = ""
        if isinstance(origin, Link):
            if origin.step not in self.cut:
                return self._take(leaf, origin, scopes)
            cut = origin.step
        elif isinstance(origin, Links):
            items = [link for link in origin.items if link.step not in self.cut]
            if items or not origin.items:
                return FromSteps(tuple(self._item(leaf, link, scopes) for link in items))
            cut = origin.items[0].step
        if info.nothing:
            return None
        top = origin if isinstance(origin, TopInput) else None
        feed = unwired(info, leaf.path, top, self.snapshot)
        if feed is None:
            self.missing.append(
                Unsatisfied(leaf.path, info.name, info.type, info.loadable, top.name if top is not None else "", cut)
            )
        return feed

    def _take(self, leaf: Leaf, link: Link, scopes: list[tuple[NodePath, Scope]]) -> FromStep:
        dynamic = self._dynamic[link.step].get(link.output)
        if dynamic is None:
            known = listed(self._dynamic[link.step].keys())
            raise BadWire(leaf.path, f"{link.step!r} has no output {link.output!r}; it has {known}.")
        scope = self._scopes[link.step]
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

    def _outputs_of(self, definition: str, op: OpInfo) -> Mapping[str, bool]:
        """Output name -> dynamic; one table per op."""
        found = self._outputs.get(definition)
        if found is None:
            found = self._outputs[definition] = {output.name: output.dynamic for output in op.outputs}
        return found
