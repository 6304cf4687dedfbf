"""Who takes over while another one is about to write: PostgreSQL refuses that one in the round trip that writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import StepStarted
from opgrid.contracts.status import RunStatus
from opgrid.contracts.tasks import JobRef, RunBrief
from opgrid.ids import RunId, StepKey
from orchestrator.storage.records import LeaseLost, RunRecord
from orchestrator.storage.sql.store import SqlStore
from tests.integration.service import until
from tests.unit.storage.locks import somebody_waits

pytestmark = pytest.mark.postgres

RUN, SHARD = RunId("run"), "shard-0"


@pytest.fixture
def store(postgres_url: str) -> Iterator[SqlStore]:
    made = SqlStore(postgres_url)
    brief = RunBrief(RUN, JobRef("job", "h"), ExecutorChoice("celery"), stream=SHARD)
    record = RunRecord(RUN, "job", RunStatus.STARTED, brief, "p", "s", created=1.0)
    made.create_own_run(record, b"plan", b"snapshot", "one", 60.0)
    assert made.hold(SHARD, "one", 60.0) is not None
    yield made
    made.close()


def tell(store: SqlStore, of: str, epoch: int, events: int) -> None:
    told = [StepStarted(run_id=RUN, at=1.0, step=StepKey(f"step_{number}"), attempt=1) for number in range(events)]
    with store.turn() as turn:
        if of == RUN:
            turn.only_of_owner(RUN, epoch)
        else:
            turn.only_of_holder(of, epoch)
        if told:
            turn.append(RUN, told)
            turn.set_position(SHARD, "1-1")


@pytest.mark.parametrize("events", [0, 1, 5000])
@pytest.mark.parametrize(
    ("of", "takes_over"),
    [
        (RUN, "UPDATE runs SET epoch = epoch + 1 WHERE run_id = 'run'"),
        (SHARD, "UPDATE leases SET epoch = epoch + 1 WHERE name = 'shard-0'"),
        (SHARD, "DELETE FROM leases WHERE name = 'shard-0'"),
    ],
    ids=["of a run", "of a shard", "gone"],
)
def test_who_waits_for_a_take_over_is_refused_behind_it(store: SqlStore, of: str, takes_over: str, events: int) -> None:
    refused: list[LeaseLost] = []

    def late() -> None:
        try:
            tell(store, of, 1, events)
        except LeaseLost as error:
            refused.append(error)

    waiting = threading.Thread(target=late, daemon=True)
    with store._writing() as connection:
        connection.execute(text(takes_over))
        waiting.start()
        until(lambda: somebody_waits(store))
    waiting.join()
    whose = "Run run" if of == RUN else of
    assert [str(error) for error in refused] == [f"{whose} is driven by another process now; this one stops."]
    assert list(store.read(RUN)) == []
    assert store.position(SHARD) == ""


@pytest.mark.parametrize("events", [0, 1, 5000])
def test_who_waits_for_a_take_over_that_comes_to_nothing_writes(store: SqlStore, events: int) -> None:
    waiting = threading.Thread(target=tell, args=(store, SHARD, 1, events), daemon=True)
    with pytest.raises(RuntimeError, match="changed its mind"), store._writing() as connection:
        connection.execute(text("UPDATE leases SET epoch = epoch + 1 WHERE name = 'shard-0'"))
        waiting.start()
        until(lambda: somebody_waits(store))
        raise RuntimeError("it has changed its mind")
    waiting.join()
    assert len(list(store.read(RUN))) == events
