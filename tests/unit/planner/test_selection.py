"""What a selection of steps means, as a smaller job and as a re-execution."""

from __future__ import annotations

import msgspec
import pytest

from opgrid.contracts.structure import GraphInfo, GraphOutput, InputInfo, JobStructure, NodeInfo, TriggerRule
from opgrid.contracts.tasks import OutputRef
from opgrid.errors import InvalidSubsetError, NothingSelected
from opgrid.ids import RunId, StepKey
from orchestrator.planner.compile import compile
from orchestrator.planner.known import MissingParentOutput
from orchestrator.planner.plan import KnownStep, Plan, upstream
from orchestrator.planner.selection import UnknownStep
from tests.unit.engine.jobs import call, chain, collected, fan_in, fan_out_job, given, job, mapped, op, snapshot, whole


def selected(structure: JobStructure, *clauses: str) -> list[str]:
    return [str(key) for key in compile(snapshot(structure), op_selection=clauses).keys]


def diamond() -> JobStructure:
    """a -> b, c -> d, where inputs have defaults, so that any subset is a job."""
    inc = op("inc", InputInfo("x", has_default=True))
    two = op("two", InputInfo("x", has_default=True), InputInfo("y", has_default=True))
    return job(
        [inc, two], call("a", "inc"), call("b", "inc", x="a"), call("c", "inc", x="b"), call("d", "two", x="c", y="a")
    )


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        (["b"], "b"),
        (["*c"], "abc"),
        (["b*"], "bcd"),
        (["*b*"], "abcd"),
        (["+c"], "bc"),
        (["++c"], "abc"),
        (["+d"], "acd"),
        (["a+"], "abd"),
        (["+b+"], "abc"),
        (["a", "c"], "ac"),
        (["+c", "b+"], "bc"),
    ],
)
def test_clauses(clauses: list[str], expected: str) -> None:
    assert "".join(selected(diamond(), *clauses)) == expected


@pytest.mark.parametrize("clause", ["", "x", "a b", "**", "++", "a[", "a**", "*+a", "a[k]"])
def test_a_clause_that_matches_nothing_is_an_error(clause: str) -> None:
    with pytest.raises(InvalidSubsetError):
        selected(diamond(), "b", clause)


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(NothingSelected, match=r"'\*tota' matches no step of this job. Did you mean 'total'\?"):
        selected(fan_out_job(), "*tota")


def nested() -> JobStructure:
    inc = op("inc", InputInfo("x", has_default=True))
    inner = GraphInfo(
        "inner",
        (call("one", "inc", x=given("n")), call("two", "inc", x="one")),
        (InputInfo("n"),),
        (GraphOutput("result", whole("two")),),
    )
    return job(
        [inc],
        call("a", "inc"),
        NodeInfo("g", "inner", True, {"n": whole("a")}),
        call("z", "inc", x="g"),
        graphs=[inner],
    )


def test_graphs_are_selected_whole_or_in_part() -> None:
    assert selected(nested(), "g") == ["g.one", "g.two"]
    assert selected(nested(), "*g") == ["a", "g.one", "g.two"]
    assert selected(nested(), "g.two*") == ["g.two", "z"]
    assert selected(nested(), "a+") == ["a", "g.one", "g.two"]  # a graph is one node for those beside it
    assert selected(nested(), "+z") == ["g.one", "g.two", "z"]
    assert selected(nested(), "+g.two") == ["g.one", "g.two"]
    assert selected(nested(), "*") == selected(nested()) == ["a", "g.one", "g.two", "z"]


class TestReexecution:
    KNOWN = (
        KnownStep(
            StepKey("keys"), tuple(OutputRef(RunId("p"), StepKey("keys"), "result", key) for key in ("k1", "k2", "k3"))
        ),
        KnownStep(StepKey("work[k1]"), (OutputRef(RunId("p"), StepKey("work[k1]")),)),
        KnownStep(StepKey("work[k3]"), (OutputRef(RunId("p"), StepKey("work[k3]")),)),
    )

    def plan(self, *clauses: str, known: tuple[KnownStep, ...] = KNOWN) -> Plan:
        return compile(snapshot(fan_out_job()), step_selection=clauses, known=known)

    def test_from_failure_keeps_all_that_is_known(self) -> None:
        plan = compile(snapshot(fan_out_job()), known=self.KNOWN)
        assert plan.known == self.KNOWN
        assert all(spec.runs for spec in plan.steps)
        assert Plan.from_json(plan.to_json()) == plan

    def test_one_instance_and_what_is_below(self) -> None:
        plan = self.plan("work[k2]*")
        runs = {spec.key: spec.only for spec in plan.steps if spec.runs}
        assert runs == {"work": (("k2",),), "total": None}
        assert [step.step for step in plan.known] == ["keys", "work[k1]", "work[k3]"]

    def test_an_instance_that_succeeded_runs_again_when_it_is_selected(self) -> None:
        plan = self.plan("work[k1]")
        assert [spec.key for spec in plan.steps if spec.runs] == ["work"]
        assert [step.step for step in plan.known] == ["keys", "work[k3]"]

    def test_what_runs_again_makes_its_whole_fan_out_anew(self) -> None:
        plan = self.plan("keys*")
        assert plan.known == ()
        assert all(spec.runs and spec.only is None for spec in plan.steps)

    def test_what_a_selected_step_needs_must_be_selected_or_known(self) -> None:
        with pytest.raises(
            MissingParentOutput, match=r"'total' is selected and needs 'work\[k2\]', which is not selected"
        ):
            self.plan("total")
        with pytest.raises(MissingParentOutput, match=r"'work' is selected and needs 'keys'"):
            self.plan("work", known=())

    @pytest.mark.parametrize("trigger", list(TriggerRule))
    def test_what_it_only_comes_after_need_not_have_succeeded(self, trigger: TriggerRule) -> None:
        last = msgspec.structs.replace(op("last", "x", InputInfo("after", nothing=True)), trigger=trigger)
        structure = job(
            [op("a"), op("keys", dynamic=True), op("work", "x"), last],
            call("a"),
            call("b", "a"),
            call("keys"),
            call("work", x=mapped("keys")),
            NodeInfo("last", "last", wires={"x": whole("a"), "after": fan_in("a", "b")}),
            NodeInfo("all", "last", wires={"x": whole("a"), "after": collected("work")}),
        )
        a = KnownStep(StepKey("a"), (OutputRef(RunId("p"), StepKey("a")),))
        known = (a, *self.KNOWN)  # all but b and work[k2]
        if trigger not in (TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE):  # how those ended decides
            for name in ("last", "all"):
                with pytest.raises(MissingParentOutput):
                    compile(snapshot(structure), step_selection=[name], known=known)
            return
        steps = {spec.key: spec for spec in compile(snapshot(structure), step_selection=["last"], known=known).steps}
        assert [wire.step for wire in upstream(steps["last"])] == ["a", "a"]
        assert steps.keys() == {"a", "last"}
        steps = {spec.key: spec for spec in compile(snapshot(structure), step_selection=["all"], known=known).steps}
        assert [wire.step for wire in upstream(steps["all"])] == ["a"]
        both = compile(snapshot(structure), step_selection=["b", "last"], known=known)
        assert [wire.step for wire in upstream(both.steps[-1])] == ["a", "a", "b"]
        with pytest.raises(MissingParentOutput, match="'last' is selected and needs 'a'"):
            compile(snapshot(structure), step_selection=["last"], known=())

    def test_a_fan_out_that_runs_again_needs_its_steps_selected(self) -> None:
        with pytest.raises(MissingParentOutput, match=r"the fan-out of 'keys' that it belongs to runs again"):
            self.plan("keys", "total")

    def test_what_nobody_needs_is_left_out(self) -> None:
        known = tuple(KnownStep(StepKey(f"s{n}"), (OutputRef(RunId("p"), StepKey(f"s{n}")),)) for n in range(4))
        plan = compile(snapshot(chain(4)), step_selection=["s2"], known=known)
        assert [spec.key for spec in plan.steps] == ["s1", "s2"]
        assert [step.step for step in plan.known] == ["s1"]

    def test_resuming_within_a_selection_keeps_what_succeeded(self) -> None:
        plan = compile(snapshot(fan_out_job()), step_selection=["work*"], known=self.KNOWN, resume=True)
        assert [step.step for step in plan.known] == ["keys", "work[k1]", "work[k3]"]

    @pytest.mark.parametrize("clause", ["work[k1,k2]", "keys[k1]"])
    def test_the_number_of_keys_must_fit(self, clause: str) -> None:
        with pytest.raises(UnknownStep, match=r"has 1 mapping key|is not mapped"):
            self.plan(clause)

    def test_one_branch_of_a_nested_fan_out(self) -> None:
        structure = job(
            [op("keys", dynamic=True), op("parts", "x", dynamic=True), op("inc", "x"), op("join", "xs")],
            call("keys"),
            call("parts", x=mapped("keys")),
            call("f", "inc", x=mapped("parts")),
            call("join", xs=collected("f")),
            call("all", "join", xs=collected("join")),
        )
        run = RunId("p")
        known = [
            KnownStep(StepKey("keys"), tuple(OutputRef(run, StepKey("keys"), "result", key) for key in "ab")),
            *(
                KnownStep(StepKey(f"parts[{a}]"), (OutputRef(run, StepKey(f"parts[{a}]"), "result", "x"),))
                for a in "ab"
            ),
            *(KnownStep(StepKey(f"f[{a},x]"), (OutputRef(run, StepKey(f"f[{a},x]")),)) for a in "ab"),
            *(KnownStep(StepKey(f"join[{a}]"), (OutputRef(run, StepKey(f"join[{a}]")),)) for a in "ab"),
        ]
        plan = compile(snapshot(structure), step_selection=["parts[a]*"], known=known)
        assert {spec.key: spec.only for spec in plan.steps if spec.runs} == {
            "parts": (("a",),),
            "f": (("a",),),
            "join": (("a",),),
            "all": None,
        }
        assert [step.step for step in plan.known] == ["keys", "parts[b]", "f[b,x]", "join[b]"]
