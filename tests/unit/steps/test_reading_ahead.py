from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opgrid import In, InputContext, IOManager, Nothing, OutputContext, job, op
from opgrid.contracts.tasks import OutputRef
from opgrid.io.setup import IOSetup


class Ahead(IOManager):
    """In memory; says how many values it was told of before they were asked for."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.told: list[list[str]] = []

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        self.values[context.step_key] = obj

    def load_input(self, context: InputContext) -> Any:
        assert context.upstream_output is not None
        return self.values[context.upstream_output.step_key]

    def read_ahead(self, io: IOSetup, refs: Sequence[OutputRef]) -> None:
        self.told.append([ref.step for ref in refs])


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


def test_what_goes_wrong_ahead_says_nothing_of_the_values(monkeypatch: Any) -> None:
    manager = Ahead()
    monkeypatch.setattr(manager, "read_ahead", lambda io, refs: 1 / 0)
    assert gathers.execute_in_process(resources={"io_manager": manager}).output_for_node("total") == 4
