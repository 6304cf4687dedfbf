"""What feeds each input: a wire, run config, a top-level input, its own manager, its default; or nothing."""

from __future__ import annotations

from typing import NamedTuple

from opgrid.contracts.structure import InputInfo
from opgrid.contracts.tasks import FromConfig, FromDefault, FromInputManager, FromJobInput
from opgrid.errors import InvalidConfigError
from opgrid.ids import NodePath
from orchestrator.planner.flatten import TopInput
from orchestrator.planner.plan import StaticFeed
from orchestrator.planner.snapshot import JobSnapshot


class Unsatisfied(NamedTuple):
    """An input that nothing feeds."""

    step: str
    input: str
    type: str
    loadable: bool
    top: str  #: the top-level input it is wired to, or ""
    cut: str  #: the step that would feed it and is not selected, or ""
    unfed: str = ""  #: the input of the graph around that stands in its list and has no wire, or ""
    partial: bool = False  #: it is a list of which the rest is there: a default cannot stand for what lacks


class UnsatisfiedInputs(InvalidConfigError):
    """Inputs of steps have no source; all of them are listed."""

    def __init__(self, job: str, missing: list[Unsatisfied], location: str = "") -> None:
        super().__init__(job, missing)
        self.args = (job, missing, location)
        self.job, self.missing, self.location = job, missing, location

    def describe(self) -> str:
        lines = [_worded(Unsatisfied(*some)) for some in self.missing]
        count = "1 input has" if len(lines) == 1 else f"{len(lines)} inputs have"
        place = f" ({self.location})" if self.location else ""
        head = f"The job {self.job!r}{place} cannot start: {count} no source."
        return "\n".join([head, *(f"  {line}" for line in lines)])


def _worded(missing: Unsatisfied) -> str:
    path = "ops." + ".ops.".join(missing.step.split("."))
    ways: list[str] = []
    if missing.cut:
        ways.append(f"select {missing.cut!r}, too")
    if missing.top:
        ways.append(f"give a value for the job's input {missing.top!r} (input_values, or `inputs:` of the run config)")
    if missing.unfed:
        ways.append(f"wire an output to the input {missing.unfed!r} of its graph")
    elif not missing.cut and not missing.top:
        ways.append("wire an output to it")
    value = "a value" if missing.loadable else "{value: ...}"
    whole = "the whole list as " if missing.partial else ""
    ways.append(f"set {path}.inputs.{missing.input} to {whole}{value} in the run config")
    if not missing.partial:
        ways.append("give the parameter a default")
    why = f" ({missing.cut!r}, which feeds it, is not selected)" if missing.cut else ""
    return f"Input {missing.input!r} of step {missing.step!r}, of type {missing.type}{why}: {', or '.join(ways)}."


def unwired(info: InputInfo, step: NodePath, top: TopInput | None, snapshot: JobSnapshot) -> StaticFeed | None:
    """What feeds an input without a wire; None: nothing does."""
    if top is not None and (top.name in snapshot.inputs or top.name in snapshot.config.inputs):
        return FromJobInput(top.name)
    if info.managed:
        return FromInputManager()  # what the run config says for it is for the manager
    node = snapshot.config.nodes.get(step)
    if node is not None and info.name in node.inputs:
        return FromConfig()
    if info.has_default:
        return FromDefault()
    return None
