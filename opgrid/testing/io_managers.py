"""The contract of IO managers, as a suite: subclass :class:`IOManagerContract` and give it a manager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opgrid.contracts.tasks import OutputRef
from opgrid.ids import RunId, StepKey
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.manager import IOManager


def ref(
    step: str = "make", output: str = "result", mapping_key: str | None = None, attempt: int = 1, claim: str = "c1"
) -> OutputRef:
    return OutputRef(RunId("0123-run"), StepKey(step), output, mapping_key, attempt, claim)


class IOManagerContract:
    """Whatever stores outputs has to pass this.

    ``class TestMine(IOManagerContract)`` with a fixture ``manager`` that gives a fresh one. For a manager that other
    processes read from, also a fixture ``another`` that gives a second instance looking at the same place.
    """

    #: The manager writes under attempt and claim, so that attempts cannot see each other's values.
    keeps_attempts_apart = True

    @pytest.fixture
    def manager(self) -> IOManager:
        raise NotImplementedError("give a fixture: manager")

    @pytest.fixture
    def another(self, manager: IOManager) -> IOManager:
        return manager

    @pytest.fixture
    def around(self) -> Any:
        """What stands behind the contexts (``opgrid.io.context.Surroundings``), if the manager asks."""
        return None

    @pytest.fixture
    def store(self, manager: IOManager, around: Any) -> Callable[[OutputRef, Any], OutputRef]:
        def store(to: OutputRef, value: Any) -> OutputRef:
            context = OutputContext(to.output, to, around)
            manager.handle_output(context, value)
            return OutputRef(to.run_id, to.step, to.output, to.mapping_key, to.attempt, to.claim, context.manifest)

        return store

    @pytest.fixture
    def load(self, another: IOManager, around: Any) -> Callable[[OutputRef], Any]:
        def load(of: OutputRef) -> Any:
            upstream = OutputContext(of.output, of, around)
            context = InputContext("value", upstream, around, run_id=of.run_id, step_key="use")
            return another.load_input(context)

        return load

    @pytest.mark.parametrize(
        "value", [None, 0, True, 1.5, "", "text\0\n", b"\x00\xff", [], {"a": [1, {"b": None}]}, {1, 2}, (1, "x")]
    )
    def test_a_value_comes_back(self, store: Any, load: Any, value: Any) -> None:
        found = load(store(ref(), value))
        assert found == value
        assert type(found) is type(value)

    def test_a_large_value_comes_back(self, store: Any, load: Any) -> None:
        value = bytes(range(256)) * 20_000
        assert load(store(ref(), value)) == value

    def test_outputs_do_not_meet(self, store: Any, load: Any) -> None:
        places = [
            ref("a"),
            ref("a", "other"),
            ref("b"),
            ref("a[x]"),
            ref("a[y]"),
            ref("g.a"),
            ref("a", mapping_key="x"),
            ref("a", mapping_key="y"),
            ref("a", mapping_key="other"),
        ]
        stored = [store(place, number) for number, place in enumerate(places)]
        assert [load(each) for each in stored] == list(range(len(places)))

    def test_attempts_do_not_meet(self, store: Any, load: Any) -> None:
        if not self.keeps_attempts_apart:
            pytest.skip("this manager does not claim to keep attempts apart")
        accepted = store(ref(attempt=2, claim="b"), "accepted")
        store(ref(attempt=1, claim="a"), "of a lost attempt that came back")
        store(ref(attempt=2, claim="z"), "of a claim that was refused")
        assert load(accepted) == "accepted"

    def test_what_is_not_there_is_an_error_that_names_it(self, load: Any) -> None:
        with pytest.raises(Exception, match="gone"):
            load(ref("gone"))

    def test_a_value_can_be_read_many_times(self, store: Any, load: Any) -> None:
        stored = store(ref(), [1])
        assert [load(stored), load(stored)] == [[1], [1]]
