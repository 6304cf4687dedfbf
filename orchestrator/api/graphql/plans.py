"""Plans and the graphs of jobs, as clients of Dagster know them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Self

import msgspec
import strawberry

from orchestrator.api.graphql.scalars import Json
from orchestrator.planner.plan import Plan
from orchestrator.services.timeline import PlannedStep, plan_view


@strawberry.enum
class StepKind(Enum):
    COMPUTE = "COMPUTE"
    UNRESOLVED_MAPPED = "UNRESOLVED_MAPPED"
    UNRESOLVED_COLLECT = "UNRESOLVED_COLLECT"


@strawberry.type
class ExecutionStepOutput:
    name: str


@strawberry.type
class ExecutionStepInput:
    name: str
    depends_on: list[ExecutionStep] = strawberry.field(description="They tell their keys only.")


@strawberry.type
class ExecutionStep:
    planned: strawberry.Private[PlannedStep]

    @strawberry.field
    def key(self) -> str:
        return self.planned.key

    @strawberry.field(name="solidHandleID")
    def solid_handle_id(self) -> str:
        return self.planned.key

    @strawberry.field
    def kind(self) -> StepKind:
        if self.planned.mapped:
            return StepKind.UNRESOLVED_MAPPED
        collects = any(need.delivery == "collected" for need in self.planned.needs)
        return StepKind.UNRESOLVED_COLLECT if collects else StepKind.COMPUTE

    @strawberry.field
    def inputs(self) -> list[ExecutionStepInput]:
        found: dict[str, list[str]] = {name: [] for name in self.planned.inputs}
        for need in self.planned.needs:
            found.setdefault(need.input, []).append(need.step)
        return [
            ExecutionStepInput(name=name, depends_on=[ExecutionStep(planned=PlannedStep(key, "", [])) for key in keys])
            for name, keys in found.items()
        ]

    @strawberry.field
    def outputs(self) -> list[ExecutionStepOutput]:
        return [ExecutionStepOutput(name=name) for name in self.planned.outputs]


@strawberry.type
class ExecutionPlan:
    """Shape of ``plan``: as that of a run."""

    plan: Json
    step_keys: list[str]
    steps: list[ExecutionStep]
    artifacts_persisted: bool = True

    @classmethod
    def of(cls, plan: Plan) -> Self:
        view = plan_view(plan)
        steps = [ExecutionStep(planned=step) for step in view.steps if step.runs]
        keys = [step.planned.key for step in steps]
        return cls(plan=Json(msgspec.to_builtins(view)), step_keys=keys, steps=steps)


# ---- graphs --------------------------------------------------------------------------------------------------------


@strawberry.type
class InputDefinition:
    name: str
    description: str | None


@strawberry.type
class OutputDefinition:
    name: str
    description: str | None
    is_dynamic: bool


@strawberry.type
class SolidDefinition:
    """An op, or a graph that is used like one."""

    name: str
    description: str | None
    input_definitions: list[InputDefinition]
    output_definitions: list[OutputDefinition]


@strawberry.type
class Solid:
    """A node of a graph."""

    name: str
    definition: SolidDefinition


def solids_of(structure: Any, graph: str | None = None) -> list[Solid]:
    """The nodes of a graph in the structure of a job; of the job's own where none is named."""
    graphs, ops = structure.get("graphs", {}), structure.get("ops", {})
    found = graphs.get(graph or structure["graph"], {})
    return [
        Solid(name=node["name"], definition=_definition(node["definition"], ops.get(node["definition"]), graphs))
        for node in found.get("nodes", ())
    ]


def _definition(name: str, op: Any, graphs: Any) -> SolidDefinition:
    found = op if op is not None else graphs.get(name, {})
    return SolidDefinition(
        name=name,
        description=found.get("description"),
        input_definitions=[
            InputDefinition(name=port["name"], description=port.get("description")) for port in found.get("inputs", ())
        ],
        output_definitions=_outputs(found.get("outputs", ())),
    )


def _outputs(ports: Sequence[Any]) -> list[OutputDefinition]:
    return [
        OutputDefinition(
            name=port["name"], description=port.get("description"), is_dynamic=bool(port.get("dynamic", False))
        )
        for port in ports
    ]
