"""What the log says of each step, as it is kept beside it."""

from __future__ import annotations

from opgrid.contracts.events import AnyEvent, LossCause, StepLost, StepSucceeded
from opgrid.contracts.status import StepStatus
from opgrid.ids import RunId, StepKey
from orchestrator.storage.projection import changes

RUN, STEP = RunId("r"), StepKey("s")


def test_a_step_that_has_ended_stays_so_though_its_process_dies_in_a_hook() -> None:
    events: list[AnyEvent] = [
        StepSucceeded(run_id=RUN, at=1.0, step=STEP, attempt=1),
        StepLost(run_id=RUN, at=2.0, step=STEP, attempt=1, cause=LossCause("killed", 9), after_end=True),
    ]
    assert changes(events)[STEP].status is StepStatus.SUCCESS
    assert changes(events[1:]) == {}
