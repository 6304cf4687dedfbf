"""What attempts tell by the way travels in one piece, and comes out as it went in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opgrid.contracts.events import (
    AnyEvent,
    AssetMaterialized,
    HandledOutput,
    LoadedInput,
    LogMessage,
    RunStarted,
    StepEvent,
    StepInput,
    StepOutput,
    StepStarted,
    StepSucceeded,
)
from opgrid.contracts.told import MOST, ROUTINE, Told, decode_reports, encode_reports, unfolded
from opgrid.ids import RunId, StepKey
from orchestrator.engine.machine import TOLD

RUN = RunId("r")


def about(kind: Any, step: str = "s", attempt: int = 1, **fields: Any) -> AnyEvent:
    made: AnyEvent = kind(run_id=RUN, at=1.0, step=StepKey(step), attempt=attempt, **fields)
    return made


def line(text: str, step: str | None = "s") -> LogMessage:
    return LogMessage(run_id=RUN, at=2.0, message=text, step=None if step is None else StepKey(step), attempt=1)


def test_a_short_step_is_three_reports() -> None:
    told = [about(LoadedInput, input="x"), about(StepInput, input="x"), line("hello"), about(StepOutput, output="y")]
    start, end = about(StepStarted), about(StepSucceeded)
    reports = decode_reports(encode_reports([start, *told, end]))
    assert [type(each) for each in reports] == [StepStarted, Told, StepSucceeded]
    between = reports[1]
    assert isinstance(between, Told)
    assert (between.run_id, between.step, between.attempt, between.at, between.count) == (RUN, "s", 1, 1.0, 4)
    assert between.unfolded() == told


@pytest.mark.parametrize(
    "apart",
    [
        [about(StepOutput, "a", output="y"), about(StepOutput, "b", output="y")],
        [about(StepOutput, attempt=1, output="y"), about(StepOutput, attempt=2, output="y")],
        [about(StepOutput, output="y"), about(AssetMaterialized, asset=("t",)), about(HandledOutput, output="y")],
        [line("of the run", None), line("of the run, too", None)],
        [about(StepOutput, output="alone")],
    ],
)
def test_what_is_not_of_one_attempt_or_decides_something_stands_alone(apart: list[AnyEvent]) -> None:
    assert decode_reports(encode_reports(apart)) == apart


def test_many_lines_are_several_reports() -> None:
    said = [line(str(number)) for number in range(2 * MOST + 1)]
    reports = decode_reports(encode_reports(said))
    assert [each.count if isinstance(each, Told) else 1 for each in reports] == [MOST, MOST, 1]
    assert list(unfolded(reports)) == said


_KINDS = [
    lambda step, attempt: about(LoadedInput, step, attempt, input="x"),
    lambda step, attempt: about(StepStarted, step, attempt),
    lambda step, attempt: about(AssetMaterialized, step, attempt, asset=("t",)),
    lambda step, attempt: line("a\nb \u2028 'ü' ]}", step if attempt == 1 else None),
    lambda step, attempt: RunStarted(run_id=RUN, at=3.0),
]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(_KINDS), st.sampled_from("ab"), st.integers(1, 2)), max_size=100))
def test_whatever_is_told_comes_in_its_order(drawn: list[tuple[Any, str, int]]) -> None:
    told = [kind(step, attempt) for kind, step, attempt in drawn]
    assert list(unfolded(decode_reports(encode_reports(told)))) == told


def test_what_is_no_text_is_written_out_here_as_well() -> None:
    reports = decode_reports(encode_reports([line("before"), line("a\udcff")]))
    assert [event.message for event in unfolded(reports) if isinstance(event, LogMessage)] == ["before", r"a\udcff"]


def test_what_nobody_wrote_is_refused_when_it_is_looked_at() -> None:
    (strange,) = decode_reports(
        b'[{"type":"TOLD","run_id":"r","step":"s","attempt":1,"at":1.0,"count":1,"events":[{"type":"STRANGE"}]}]'
    )
    with pytest.raises(msgspec.ValidationError):
        list(unfolded([strange]))
    with pytest.raises(msgspec.ValidationError):
        decode_reports(b'[{"type":"TOLD","run_id":"r"}]')


def test_nothing_is_decided_on_what_is_told_by_the_way() -> None:
    assert {kind for kind in ROUTINE if issubclass(kind, StepEvent)} <= TOLD
