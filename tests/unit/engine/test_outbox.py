"""What is taken back, and what cannot be: a submission that failed may have arrived."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from opgrid.contracts.tasks import RunBrief, StepTask
from opgrid.errors import ExecutorUnavailable
from opgrid.ids import NodePath, RunId, StepKey
from orchestrator.engine.outbox import Outbox, Stop, Submit
from tests.unit.engine.fakes import RUN, FakeClock, FakeExecutor, brief

STEP = StepKey("a")
TASK = StepTask(RUN, STEP, NodePath("a"), 1)


class Deaf(FakeExecutor):
    """Does what it is told, and until it is well says that it did not hear."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.well = False
        self.told: list[str] = []

    def submit(self, run: RunBrief, tasks: Sequence[StepTask]) -> None:
        self.told.append("submit")
        if not self.well:
            raise ExecutorUnavailable("the answer was lost")

    def cancel(self, run_id: RunId, steps: Sequence[tuple[StepKey, int]]) -> None:
        self.told.append("cancel")


@pytest.fixture
def executor() -> Deaf:
    return Deaf()


def test_what_was_never_submitted_is_taken_back(executor: Deaf) -> None:
    box = Outbox("deaf", executor)
    box.put(Submit(brief(), [TASK]))
    assert box.withdraw(RUN, [(STEP, 1)]) == {(STEP, 1)}
    box.flush(0.0)
    assert executor.told == []


def test_what_may_have_arrived_is_stopped_instead(executor: Deaf) -> None:
    box = Outbox("deaf", executor)
    box.put(Submit(brief(), [TASK]))
    box.flush(0.0)
    assert box.withdraw(RUN, [(STEP, 1)]) == set(), "a worker may have begun with it"
    box.put(Stop(RUN, [(STEP, 1)]))
    executor.well = True
    box.flush(1.0)
    assert executor.told == ["submit", "submit", "cancel"]
    box.put(Submit(brief(), [TASK]))
    assert box.withdraw(RUN, [(STEP, 1)]) == {(STEP, 1)}, "another message, which was not tried"
