"""How many steps may be out at once."""

from __future__ import annotations

import pytest

from opgrid.contracts.tasks import StepTask
from opgrid.errors import InvalidConfigError
from opgrid.ids import NodePath, StepKey
from orchestrator.engine.limits import Admission, TagLimit, from_config
from tests.unit.engine.fakes import RUN


def task(name: str, priority: int = 0) -> StepTask:
    return StepTask(RUN, StepKey(name), NodePath(name), priority=priority)


def tasks(count: int, start: int = 0) -> list[StepTask]:
    return [task(f"s{n}") for n in range(start, start + count)]


def steps(admitted: list[StepTask]) -> list[str]:
    return [each.step for each in admitted]


def test_a_place_that_is_left_is_taken_by_the_next() -> None:
    admission = Admission(max_concurrent=2)
    assert steps(admission.admit(tasks(4), {})) == ["s0", "s1"]
    assert steps(admission.done(StepKey("s1"), 1)) == ["s2"]
    assert admission.done(StepKey("s1"), 1) == []
    assert admission.done(StepKey("s9"), 1) == []


def test_the_highest_priority_goes_first() -> None:
    admission = Admission(max_concurrent=1)
    given = [task("low", -1), task("first"), task("second"), task("high", 9)]
    assert steps(admission.admit(given, {})) == ["high"]
    assert steps(admission.done(StepKey("high"), 1)) == ["first"]


def test_a_tag_may_be_limited_by_value_or_for_each_value() -> None:
    tags = {StepKey(f"s{n}"): {"db": "a" if n < 3 else "b"} for n in range(6)}
    by_value = Admission(tags=[TagLimit("db", 1, value="a")])
    assert steps(by_value.admit(tasks(6), tags)) == ["s0", "s3", "s4", "s5"]
    each = Admission(tags=[TagLimit("db", 1, per_value=True)])
    assert steps(each.admit(tasks(6), tags)) == ["s0", "s3"]
    assert steps(each.done(StepKey("s0"), 1)) == ["s1"]


def test_what_holds_steps_back_is_known_by_its_tag() -> None:
    tags = {StepKey(f"s{n}"): {"db": "a" if n < 3 else "b", "gpu": ""} for n in range(6)}
    admission = Admission(tags=[TagLimit("db", 1, value="a"), TagLimit("db", 2, per_value=True), TagLimit("gpu", 4)])
    admission.admit(tasks(5), tags)
    assert admission.held() == {"db=a": (StepKey("s1"), 1)}
    admission.admit(tasks(1, 5), tags)
    assert admission.held() == {"db=a": (StepKey("s1"), 1), "db=b": (StepKey("s5"), 2)}
    for step in ("s0", "s1", "s3", "s4"):
        admission.done(StepKey(step), 1)
    assert admission.held() == {}


def test_what_is_withdrawn_does_not_go() -> None:
    admission = Admission(max_concurrent=1)
    admission.admit(tasks(3), {})
    assert admission.withdraw(StepKey("s1"), 1)
    assert not admission.withdraw(StepKey("s0"), 1)
    assert steps(admission.done(StepKey("s0"), 1)) == ["s2"]


def test_what_ends_while_it_waits_takes_no_place_later() -> None:
    admission = Admission(max_concurrent=1)
    admission.admit(tasks(3), {})
    assert admission.done(StepKey("s1"), 1) == []  # another process had sent it
    assert steps(admission.done(StepKey("s0"), 1)) == ["s2"]


def test_limits_are_read_from_the_executors_config() -> None:
    assert from_config({}) is None
    value = {"applyLimitPerUniqueValue": True}
    admission = from_config({"tag_concurrency_limits": [{"key": "db", "value": value, "limit": 1}]})
    assert admission is not None
    tags = {StepKey("s0"): {"db": "a"}, StepKey("s1"): {"db": "a"}, StepKey("s2"): {"db": "b"}}
    assert steps(admission.admit(tasks(3), tags)) == ["s0", "s2"]
    with pytest.raises(InvalidConfigError, match="needs `key` and `limit`"):
        from_config({"tag_concurrency_limits": [{"limit": 1}]})
