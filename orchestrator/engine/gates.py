"""Steps that wait until somebody has approved them: they are held back by the loop, and no worker waits with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from opgrid.contracts.events import AnyEvent, EngineNote, ErrorInfo, StepFailed
from opgrid.contracts.structure import APPROVAL_TAG, APPROVAL_TIMEOUT_TAG
from opgrid.contracts.tasks import StepTask
from opgrid.ids import RunId, StepKey
from orchestrator.planner.plan import StepSpec

if TYPE_CHECKING:
    from orchestrator.engine.loop import LiveRun

#: Seconds between looks for decisions.
LOOK_AGAIN: Final = 0.5
_NOBODY: Final = ""  #: answered in time; accounts have names such as "nobody"


class Gate(NamedTuple):
    """A step that waits, or waited, for a decision. Times are Unix seconds."""

    run_id: RunId
    step: StepKey
    question: str
    since: float
    due: float | None = None
    approved: bool | None = None  #: None: nobody has decided
    who: str = ""
    note: str = ""


class GateStore(Protocol):
    """Durable: a decision holds for whoever drives the run."""

    def open_gates(self, gates: Sequence[Gate]) -> list[Gate]:
        """As they are stored; those that were not there yet are stored as they are given."""
        ...

    def decide(self, run_id: RunId, step: StepKey, approved: bool, who: str, note: str) -> bool:
        """False where there is no such gate, or where it was decided already."""
        ...


def asks(spec: StepSpec) -> bool:
    return APPROVAL_TAG in spec.tags


@dataclass(slots=True)
class _Held:
    run: LiveRun
    task: StepTask
    gate: Gate


class Gates:
    """Of one loop. Without a store nobody could answer, and nothing is held back."""

    def __init__(self, store: GateStore | None) -> None:
        self._store = store
        self._held: dict[tuple[RunId, StepKey], _Held] = {}
        self._look_at = 0.0

    @property
    def due(self) -> float | None:
        """When to look again; None while nothing waits."""
        return self._look_at if self._held else None

    def hold(self, run: LiveRun, tasks: list[StepTask], now: float) -> tuple[list[StepTask], list[AnyEvent]]:
        """Those that need not wait, and what is to be told of the others."""
        if self._store is None or not run.gated:
            return tasks, []
        passing: list[StepTask] = []
        asked: list[Gate] = []
        notes: list[AnyEvent] = []
        for task in tasks:
            spec = run.gated.get(task.node)
            if spec is None:
                passing.append(task)
                continue
            limit = _seconds(spec.tags.get(APPROVAL_TIMEOUT_TAG))
            gate = Gate(run.run_id, task.step, spec.tags[APPROVAL_TAG], now, None if limit is None else now + limit)
            self._held[run.run_id, task.step] = _Held(run, task, gate)
            asked.append(gate)
            text = f"It waits for an approval: {gate.question}"
            notes.append(EngineNote(run_id=run.run_id, at=now, message=text, step=task.step))
        if asked:
            self._store.open_gates(asked)  # before anything is told of them
            self._look_at = now
        return passing, notes

    def look(self, now: float) -> tuple[list[tuple[LiveRun, StepTask]], list[AnyEvent]]:
        """Those that were approved, and the ends of those that were not."""
        if self._store is None or not self._held or now < self._look_at:
            return [], []
        self._look_at = now + LOOK_AGAIN
        opened: list[tuple[LiveRun, StepTask]] = []
        ends: list[AnyEvent] = []
        for gate in self._store.open_gates([held.gate for held in self._held.values()]):
            held = self._held[gate.run_id, gate.step]
            if gate.approved is None and gate.due is not None and now >= gate.due:
                self._store.decide(gate.run_id, gate.step, False, _NOBODY, "")
                self._look_at = now  # somebody may have been quicker
            if gate.approved is None:
                continue
            del self._held[gate.run_id, gate.step]
            if gate.approved:
                opened.append((held.run, held.task))
                text = f"{gate.who} approved it." + (f" {gate.note}" if gate.note else "")
                ends.append(EngineNote(run_id=gate.run_id, at=now, message=text, step=gate.step))
            else:
                ends.append(_refused(held.task, gate, now))
        return opened, ends

    def withdraw(self, run_id: RunId, step: StepKey) -> bool:
        """Whether it was held back; it is no more."""
        return self._held.pop((run_id, step), None) is not None


def _refused(task: StepTask, gate: Gate, now: float) -> StepFailed:
    if gate.who == _NOBODY:
        error = ErrorInfo("ApprovalTimeout", f"Nobody answered in time: {gate.question}")
    else:
        said = f": {gate.note}" if gate.note else "."
        error = ErrorInfo("ApprovalRejected", f"{gate.who} rejected it{said}")
    return StepFailed(
        run_id=gate.run_id,
        at=now,
        step=gate.step,
        attempt=task.attempt,
        error=error,
        allow_retries=False,
        orphaned=True,
    )


def _seconds(text: str | None) -> float | None:
    """None for what is no number, as in plans that were made before it was checked."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
