"""Answering steps that wait for an approval."""

from __future__ import annotations

from opgrid.errors import InvariantViolationError
from opgrid.ids import StepKey
from orchestrator.engine.gates import Gate
from orchestrator.storage.records import RunRecord
from orchestrator.storage.service_protocols import ServiceStore


def answer(store: ServiceStore, run: RunRecord, step: str, approved: bool, who: str, note: str = "") -> Gate:
    """Durable when this returns; who drives the run sees it within a second. Raises InvariantViolationError for a step
    that does not wait.
    """
    known = {gate.step: gate for gate in store.gates([run.run_id])}
    gate = known.get(StepKey(step))
    if gate is None:
        waiting = ", ".join(repr(name) for name, each in known.items() if each.approved is None)
        raise InvariantViolationError(
            f"Step {step!r} of run {run.run_id} waits for no approval."
            + (f" Those that do: {waiting}." if waiting else "")
        )
    if run.status.is_final:
        raise InvariantViolationError(f"Run {run.run_id} has ended already: {run.status.value}.")
    if not store.decide(run.run_id, gate.step, approved, who, note):
        now = {each.step: each for each in store.gates([run.run_id])}[gate.step]
        how = "approved" if now.approved else "rejected"
        raise InvariantViolationError(f"Step {step!r} of run {run.run_id} was {how} by {now.who} already.")
    return gate._replace(approved=approved, who=who, note=note)
