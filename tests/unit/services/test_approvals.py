"""Steps that somebody has to approve, on a real store and the real loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opgrid import (
    HookContext,
    In,
    Instance,
    InvalidDefinitionError,
    Nothing,
    approval_op,
    failure_hook,
    job,
    op,
)
from opgrid.contracts.events import HookErrored, StepFailed
from opgrid.contracts.status import RunStatus, StepStatus
from opgrid.contracts.structure import APPROVAL_TIMEOUT_TAG
from opgrid.contracts.wording import span
from opgrid.errors import InvariantViolationError
from opgrid.ids import RunId, StepKey
from opgrid.steps.scope import LocalRun
from orchestrator.engine.gates import Gate
from orchestrator.engine.inbox import Inbox
from orchestrator.services.approvals import answer
from orchestrator.services.launching import Request, close_all, drive_new, make_executors, prepare
from orchestrator.storage.sql.store import SqlStore

RAN: list[str] = []


@op
def build() -> None:
    RAN.append("build")


@op(ins={"start": In(Nothing)})
def publish() -> None:
    RAN.append("publish")


@op(tags={"opgrid/approval": "Really?"})
def dangerous() -> None:
    RAN.append("dangerous")


@job
def release() -> None:
    publish(start=approval_op("ship", "Ship it?")(start=build()))


@job
def hurried() -> None:
    publish(start=approval_op("ship", "Ship it?", timeout=0.3)(start=build()))


@failure_hook
def mourn(context: HookContext) -> None:
    RAN.append(f"mourned {context.step_key}")


@job(hooks={mourn})
def mourned() -> None:
    publish(start=approval_op("ship", "Ship it?")(start=build()))


@job
def tagged() -> None:
    dangerous()
    build()


class Running:
    """A run that is driven by a thread."""

    def __init__(self, store: SqlStore, home: Path, which: Any) -> None:
        RAN.clear()
        self.store = store
        self.inbox = Inbox()
        self.prepared = prepare(Request(which, executor="in_process"))
        self.run_id: RunId = self.prepared.brief.run_id
        local = LocalRun(self.prepared.brief, self.prepared.job)
        executors = make_executors(
            self.prepared.brief.executor,
            self.prepared.plan,
            home=home,
            code=None,
            job=self.prepared.job,
            broker_url=None,
            stream=self.run_id,
            local=local,
        )

        def drive() -> None:
            drive_new(self.prepared, executors, store, inbox=self.inbox)
            close_all(executors)

        self._thread = threading.Thread(target=drive)
        self._thread.start()

    def waiting(self) -> Gate:
        end = time.monotonic() + 60
        while not (found := self.store.waiting_gates()):
            assert time.monotonic() < end
            time.sleep(0.01)
        return found[0]

    def answer(self, step: str, approved: bool, note: str = "") -> None:
        record = self.store.run(self.run_id)
        assert record is not None
        answer(self.store, record, step, approved, "ann", note)

    def ended(self) -> RunStatus:
        self._thread.join(20)
        record = self.store.run(self.run_id)
        assert record is not None and not self._thread.is_alive()
        return record.status


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Callable[[Any], Running]]:
    store = SqlStore(database_url)
    yield lambda which: Running(store, tmp_path, which)
    store.close()


def test_what_is_behind_an_approval_runs_once_it_is_given(start: Callable[[Any], Running]) -> None:
    run = start(release)
    gate = run.waiting()
    assert (gate.step, gate.question, gate.approved) == ("ship", "Ship it?", None)
    assert RAN == ["build"]
    run.answer("ship", True, "looks good")
    assert run.ended() is RunStatus.SUCCESS
    assert RAN == ["build", "publish"]
    said = [getattr(event, "message", "") for event in run.store.read(run.run_id)]
    assert "It waits for an approval: Ship it?" in said and "ann approved it. looks good" in said
    assert run.store.waiting_gates() == []


def test_a_rejection_fails_the_step_and_says_who_and_why(start: Callable[[Any], Running]) -> None:
    run = start(release)
    run.waiting()
    run.answer("ship", False, "not today")
    assert run.ended() is RunStatus.FAILURE
    (failed,) = (event for event in run.store.read(run.run_id) if isinstance(event, StepFailed))
    assert (failed.error.kind, failed.error.message) == ("ApprovalRejected", "ann rejected it: not today")
    assert RAN == ["build"]


def test_failure_hooks_run_where_it_is_rejected(start: Callable[[Any], Running]) -> None:
    run = start(mourned)
    run.waiting()
    run.answer("ship", False)
    assert run.ended() is RunStatus.FAILURE
    assert RAN == ["build", "mourned ship"]
    assert not [event for event in run.store.read(run.run_id) if isinstance(event, HookErrored)]


def test_nobody_answers_in_time(start: Callable[[Any], Running]) -> None:
    run = start(hurried)
    assert run.ended() is RunStatus.FAILURE
    (failed,) = (event for event in run.store.read(run.run_id) if isinstance(event, StepFailed))
    assert failed.error.kind == "ApprovalTimeout"
    assert [(gate.approved, gate.who) for gate in run.store.gates([run.run_id])] == [(False, "")]
    with pytest.raises(InvariantViolationError, match=r"'ship' .* waits no more: nobody answered within 0.3 s."):
        run.answer("ship", True)


def test_an_answer_that_comes_too_late_counts_for_nothing_though_nobody_looks(start: Callable[[Any], Running]) -> None:
    run = start(release)
    run.waiting()
    now = time.time()
    late = Gate(run.run_id, StepKey("other"), "Still?", now - 9, now - 4)
    run.store.open_gates([late])
    with pytest.raises(InvariantViolationError, match=r"'other' .* waits no more: nobody answered within 5 s."):
        run.answer("other", True)
    assert {gate.step: gate.approved for gate in run.store.gates([run.run_id])}["other"] is None
    run.answer("ship", True)
    assert run.ended() is RunStatus.SUCCESS


def test_who_is_called_nobody_rejects_as_others_do(start: Callable[[Any], Running]) -> None:
    run = start(release)
    run.waiting()
    record = run.store.run(run.run_id)
    assert record is not None
    answer(run.store, record, "ship", False, "nobody", "no")
    assert run.ended() is RunStatus.FAILURE
    (failed,) = (event for event in run.store.read(run.run_id) if isinstance(event, StepFailed))
    assert (failed.error.kind, failed.error.message) == ("ApprovalRejected", "nobody rejected it: no")


def test_any_op_can_ask_and_others_go_on_meanwhile(start: Callable[[Any], Running]) -> None:
    run = start(tagged)
    run.waiting()
    end = time.monotonic() + 60
    while RAN != ["build"] and time.monotonic() < end:
        time.sleep(0.01)
    assert RAN == ["build"]
    run.answer("dangerous", True)
    assert run.ended() is RunStatus.SUCCESS
    assert RAN == ["build", "dangerous"]


def test_a_run_that_waits_is_canceled_at_once(start: Callable[[Any], Running]) -> None:
    run = start(release)
    run.waiting()
    run.inbox.request_cancel(run.run_id, "enough")
    assert run.ended() is RunStatus.CANCELED
    states = {step.step: step.status for step in run.store.steps(run.run_id)}
    assert states["ship"] is StepStatus.CANCELED
    with pytest.raises(InvariantViolationError, match="has ended already: CANCELED"):
        run.answer("ship", True)


def test_an_answer_is_given_once_and_to_a_step_that_waits(start: Callable[[Any], Running]) -> None:
    run = start(release)
    run.waiting()
    with pytest.raises(InvariantViolationError, match="'build' .* waits for no approval. Those that do: 'ship'."):
        run.answer("build", True)
    assert run.store.decide(run.run_id, run.waiting().step, True, "bob", "")
    with pytest.raises(InvariantViolationError, match="was approved by bob already"):
        run.answer("ship", False)
    assert run.ended() is RunStatus.SUCCESS


def test_where_nobody_else_can_answer_it_is_approved() -> None:
    RAN.clear()
    assert release.execute_in_process(instance=Instance.ephemeral()).success
    assert RAN == ["build", "publish"]


@pytest.mark.parametrize("seconds", [1234567, 1234567.25, 86400.0, 0.3])
def test_no_digit_of_a_long_timeout_is_lost(seconds: float) -> None:
    made = approval_op("ship", "Ship it?", timeout=seconds)
    assert float(made.tags[APPROVAL_TIMEOUT_TAG]) == seconds
    assert "e" not in made.tags[APPROVAL_TIMEOUT_TAG] + span(seconds).removesuffix(" s")
    assert float(span(seconds).removesuffix(" s")) == seconds


@pytest.mark.parametrize(("given", "said"), [({"question": " "}, "needs a question"), ({"timeout": 0}, "above 0")])
def test_an_approval_that_cannot_be_says_why(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=said):
        approval_op("ship", **{"question": "Ship it?", **given})
