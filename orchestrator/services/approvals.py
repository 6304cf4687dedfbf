"""Answering steps that wait for an approval."""

from __future__ import annotations

import time

from opgrid.contracts.wording import span
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
    if gate.approved is not None:
        raise _no_more(gate)
    if run.status.is_final:
        raise InvariantViolationError(f"Run {run.run_id} has ended already: {run.status.value}.")
    if gate.due is not None and time.time() >= gate.due:
        raise _no_more(gate)
    if not store.decide(run.run_id, gate.step, approved, who, note):
        raise _no_more({each.step: each for each in store.gates([run.run_id])}[gate.step])
    return gate._replace(approved=approved, who=who, note=note)


def _no_more(gate: Gate) -> InvariantViolationError:
    if gate.who:
        how = f"was {'approved' if gate.approved else 'rejected'} by {gate.who} already"
    else:
        how = f"waits no more: nobody answered within {span((gate.due or gate.since) - gate.since)}"
    return InvariantViolationError(f"Step {gate.step!r} of run {gate.run_id} {how}.")
