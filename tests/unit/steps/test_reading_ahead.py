from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from opgrid import In, InputContext, IOManager, Nothing, OutputContext, job, op
from opgrid.contracts.events import LoadedInput
from opgrid.contracts.tasks import OutputRef
from opgrid.io.setup import IOSetup


class Ahead(IOManager):
    """In memory; says how many values it was told of before they were asked for, and which were."""

    def __init__(self, at_hand: Collection[str] = ()) -> None:
        self.values: dict[str, Any] = {}
        self.told: list[list[str]] = []
        self.asked: list[str] = []
        self.at_hand = at_hand

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        self.values[context.step_key] = obj

    def load_input(self, context: InputContext) -> Any:
        assert context.upstream_output is not None
        self.asked.append(context.upstream_output.step_key)
        return self.values[context.upstream_output.step_key]

    def read_ahead(self, io: IOSetup, refs: Sequence[OutputRef]) -> Mapping[int, Any]:
        self.told.append([ref.step for ref in refs])
        return {at: 10 * self.values[ref.step] for at, ref in enumerate(refs) if ref.step in self.at_hand}


@op
def one() -> int:
    return 1


@op(ins={"after": In(Nothing)})
def two() -> int:
    return 2


@op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@job
def gathers() -> None:
    total([one(), two(), one()])


def test_a_manager_is_told_of_all_that_a_step_gathers() -> None:
    manager = Ahead()
    result = gathers.execute_in_process(resources={"io_manager": manager})
    assert result.output_for_node("total") == 4
    assert manager.told == [["one", "two", "one_2"]]
    assert manager.asked == ["one", "two", "one_2"]


def test_what_it_has_at_hand_is_not_asked_for_again() -> None:
    manager = Ahead(at_hand=["one", "one_2"])
    result = gathers.execute_in_process(resources={"io_manager": manager})
    assert result.output_for_node("total") == 10 + 2 + 10
    assert manager.asked == ["two"]
    loaded = [event for event in result.all_events if isinstance(event, LoadedInput)]
    assert [(event.upstream_step, event.manager) for event in loaded] == [
        ("one", "io_manager"),
        ("two", "io_manager"),
        ("one_2", "io_manager"),
    ]


def test_what_goes_wrong_ahead_says_nothing_of_the_values(monkeypatch: Any) -> None:
    manager = Ahead()
    monkeypatch.setattr(manager, "read_ahead", lambda io, refs: 1 / 0)
    assert gathers.execute_in_process(resources={"io_manager": manager}).output_for_node("total") == 4
