"""What a pool process makes of a message, on a real Redis."""

from __future__ import annotations

import importlib
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from opgrid.broker.keys import Keys, priority_step
from opgrid.broker.messages import (
    BRIEF,
    CeleryMessages,
    Dispatch,
    encode_run,
    label,
    open_events,
    open_tasks,
    read_message,
    sign_tasks,
    verify_dispatch,
)
from opgrid.broker.protocol import Outgoing
from opgrid.contracts.config import ExecutorChoice
from opgrid.contracts.events import EngineNote
from opgrid.contracts.tasks import Gathered, JobRef, OutputRef, RunBrief, StepTask, TaskInput
from opgrid.contracts.told import unfolded
from opgrid.errors import PayloadRejected
from opgrid.ids import NodePath, RunId, StepKey
from opgrid.io.envelope import seal
from opgrid.io.keys import KeyRing
from worker.along import words
from worker.child import Child
from worker.code import PURPOSE_JOB, Code
from worker.settings import WorkerSettings

RING = KeyRing(b"a" * 32)
RUN = RunBrief(RunId("r"), JobRef("job", "hash"), ExecutorChoice("celery"), stream="s")
CONTENT, DATA = encode_run(RUN)
TASK = StepTask(RunId("r"), StepKey("a"), NodePath("a"))
DISPATCH, _ = sign_tasks(CONTENT, [TASK], RING)


@pytest.fixture
def child(redis_url: str, tmp_path: Path) -> Iterator[Child]:
    settings = WorkerSettings(broker_url=redis_url, home=str(tmp_path), deployment="", name="w")
    hearing, speaking = words()
    with hearing, speaking:
        made = Child(settings, Code(()), RING, tmp_path, speaking)
        yield made
        made.close()


def opened(child: Child, along: object, dispatch: Dispatch = DISPATCH) -> tuple[RunBrief, list[StepTask]]:
    return child._open(dispatch, along)


def test_a_brief_that_came_along_is_not_fetched(child: Child) -> None:
    assert opened(child, DATA.decode()) == (RUN, [TASK])


def test_one_that_did_not_is_fetched(child: Child) -> None:
    with pytest.raises(PayloadRejected, match="not in Redis"):
        opened(child, None)
    child.protocol.client.set(child.keys.brief(CONTENT), DATA)
    assert opened(child, None) == (RUN, [TASK])


@pytest.mark.parametrize("along", ["", "{}", DATA.decode().replace("hash", "hush"), "\ud800"])
def test_another_than_the_message_was_signed_for_is_refused(child: Child, along: str) -> None:
    with pytest.raises(PayloadRejected, match="was changed"):
        opened(child, along)


def test_only_small_ones_come_along() -> None:
    def header(brief: bytes | None) -> bool:
        _, message = CeleryMessages(Keys()).build(DISPATCH, label("job", [TASK]), "q", 0, brief)
        return BRIEF.encode() in message

    assert header(DATA)
    assert not header(DATA + b" " * 2000)
    assert not header(None)


def test_long_steps_that_came_together_are_handed_back_one_by_one_and_whole(child: Child) -> None:
    chance = random.Random(1)
    refs = tuple(OutputRef(RunId("r"), StepKey(f"a[{chance.randbytes(16).hex()}]")) for _ in range(300))
    inputs = (TaskInput("all", Gathered(refs)),)
    tasks = [StepTask(RunId("r"), StepKey(name), NodePath("b"), inputs=inputs) for name in ("b[1]", "b[2]")]
    protocol, keys = child.protocol, child.keys
    protocol.publish("r", "s", [Outgoing("", b"", [(task.step, task.attempt) for task in tasks])])
    dispatch, beside = sign_tasks(CONTENT, tasks, RING)
    assert beside is not None
    protocol.client.set(keys.tasks(CONTENT, dispatch.tasks), beside)
    said = child.run(dispatch, "q", DATA.decode())  # it has no code at all
    assert said == "handed back: back handed back: back"
    found = []
    for message in protocol.client.lrange(keys.queue("q", priority_step(0)), 0, -1):
        assert isinstance(message, bytes)
        _, again = read_message(message)
        verify_dispatch(again, RING)
        stored = protocol.client.get(keys.tasks(CONTENT, again.tasks))
        assert isinstance(stored, bytes)
        found.append(open_tasks(again, stored))
    assert found == [[tasks[1]], [tasks[0]]]


def test_a_job_by_value_that_needs_what_is_not_here_is_handed_back_with_the_reason(child: Child) -> None:
    """It could not be seen to wait for ever otherwise: the message was gone, and sent again, and so on."""
    protocol = child.protocol
    protocol.client.set(child.keys.job("v"), seal(PURPOSE_JOB, [pickle.dumps(Elsewhere())], RING))
    content, data = encode_run(replace(RUN, job=JobRef("job", "hash", value="v")))
    protocol.publish("r", "s", [Outgoing("", b"", [(TASK.step, TASK.attempt)])])
    dispatch, _ = sign_tasks(content, [TASK], RING)
    assert child.run(dispatch, "q", data.decode()) == "handed back: back"
    ((_, fields),) = protocol.client.xrange(child.keys.events("s"))
    (note,) = unfolded(open_events(fields[b"d"], RING))
    assert isinstance(note, EngineNote)
    assert "cannot be read here (ModuleNotFoundError: No module named 'of_who_launched_it')" in note.message
    assert "reconstructable(job)" in note.message


class Elsewhere:
    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("of_who_launched_it",)
