"""What a plan says about a job."""

from __future__ import annotations

import sys

import pytest

from opgrid.contracts.config import ExecutorChoice, NodeConfig, ResolvedConfig
from opgrid.contracts.structure import (
    Delivery,
    FanIn,
    FromGraphInput,
    GraphInfo,
    GraphOutput,
    InputInfo,
    JobStructure,
    NodeInfo,
    OutputInfo,
    Retry,
)
from opgrid.contracts.tasks import FromConfig, FromDefault, FromInputManager, FromJobInput, OutputRef
from opgrid.errors import InvalidConfigError, InvalidDefinitionError
from opgrid.ids import RunId, StepKey
from orchestrator.planner.compile import CyclicJob, compile
from orchestrator.planner.dynamic import DynamicError
from orchestrator.planner.flatten import BadWire
from orchestrator.planner.inputs import UnsatisfiedInputs
from orchestrator.planner.plan import MANY, NEVER, FromSteps, KnownStep, Plan, StepSpec, breadth
from orchestrator.planner.routing import BadTag
from orchestrator.planner.snapshot import JobSnapshot
from tests.unit.engine.jobs import (
    call,
    chain,
    collected,
    fan_in,
    fan_out_job,
    feed,
    given,
    job,
    mapped,
    op,
    over,
    snapshot,
    whole,
)

A, INC, TWO = op("a"), op("inc", "x"), op("two", "x", "y")


def steps(structure: JobStructure, **more: object) -> dict[str, StepSpec]:
    return {spec.key: spec for spec in compile(snapshot(structure, **more)).steps}  # type: ignore[arg-type]


def feeds(spec: StepSpec) -> dict[str, object]:
    return {each.name: each.feed for each in spec.inputs}


def test_an_empty_job_is_an_empty_plan() -> None:
    assert compile(snapshot(job([]))).steps == ()


def test_inputs_know_their_source() -> None:
    plan = steps(job([A, INC], call("a"), call("b", "inc", x="a")))
    assert feeds(plan["b"]) == {"x": feed("a")}


def test_a_list_keeps_its_order() -> None:
    plan = steps(job([A, op("sum", "xs")], call("a"), call("b", "a"), call("sum", xs=fan_in("b", "a"))))
    assert feeds(plan["sum"]) == {"xs": FromSteps((feed("b"), feed("a")))}


def test_an_empty_list_is_a_list() -> None:
    assert feeds(steps(job([op("sum", "xs")], call("sum", xs=FanIn(()))))["sum"]) == {"xs": FromSteps(())}


def test_nested_graphs_are_flattened_and_their_inputs_and_outputs_followed() -> None:
    inner = GraphInfo(
        "inner",
        (call("inc", x=given("n")), call("inc_2", "inc", x="inc")),
        (InputInfo("n"),),
        (GraphOutput("result", whole("inc_2")),),
    )
    outer = GraphInfo(
        "outer",
        (NodeInfo("g", "inner", True, {"n": given("m")}),),
        (InputInfo("m"),),
        (GraphOutput("out", whole("g")),),
    )
    structure = job(
        [A, INC],
        call("a"),
        NodeInfo("o", "outer", True, {"m": whole("a")}),
        call("last", "inc", x="o.out"),
        graphs=[inner, outer],
    )
    plan = steps(structure)
    assert list(plan) == ["a", "o.g.inc", "o.g.inc_2", "last"]
    assert feeds(plan["o.g.inc"]) == {"x": feed("a")}
    assert feeds(plan["o.g.inc_2"]) == {"x": feed("o.g.inc")}
    assert feeds(plan["last"]) == {"x": feed("o.g.inc_2")}


def test_how_many_steps_can_be_ready_at_the_same_time() -> None:
    def of(*nodes: NodeInfo) -> int:
        return breadth(compile(snapshot(job([A, INC, TWO], *nodes))).steps)

    assert breadth([]) == 0
    assert breadth(compile(snapshot(chain(5))).steps) == 1
    assert of(call("a"), call("b", "a"), call("two", x="a", y="b")) == 2
    assert of(call("a"), *(call(f"inc{n}", "inc", x="a") for n in range(4))) == 4
    assert of(call("a"), call("two", x="a", y="a")) == 1
    assert breadth(compile(snapshot(fan_out_job())).steps) == MANY


def test_a_graph_that_contains_itself_is_an_error() -> None:
    loop = GraphInfo("loop", (NodeInfo("again", "loop", True),))
    with pytest.raises(InvalidDefinitionError, match=r"'loop' contains itself, at 'l.again'"):
        compile(snapshot(job([], NodeInfo("l", "loop", True), graphs=[loop])))


def test_steps_that_are_written_in_any_order_come_in_topological_order() -> None:
    structure = job([A, INC], call("c", "inc", x="b"), call("b", "inc", x="a"), call("a"))
    assert list(steps(structure)) == ["a", "b", "c"]


def test_a_circle_is_named_in_the_direction_of_the_data() -> None:
    structure = job([INC], call("a", "inc", x="c"), call("b", "inc", x="a"), call("c", "inc", x="b"))
    with pytest.raises(CyclicJob, match=r"a -> b -> c -> a"):
        compile(snapshot(structure))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (call("b", "inc", x="aa"), r"'b' is wrong: there is no node 'aa' beside it. Did you mean 'a'\?"),
        (call("b", "inc", x="a.reslt"), r"'a' has no output 'reslt'; it has 'result'"),
        (call("b", "inc", x="a", z="a"), r"it has no input 'z'; its inputs are 'x'"),
    ],
)
def test_wires_that_lead_nowhere_are_errors(node: NodeInfo, words: str) -> None:
    with pytest.raises(BadWire, match=words):
        compile(snapshot(job([A, INC], call("a"), node)))


class TestInputsWithoutAWire:
    def test_all_that_are_unsatisfied_are_named_with_the_ways_out(self) -> None:
        structure = job([INC, TWO], call("inc"), call("two"))
        with pytest.raises(UnsatisfiedInputs) as caught:
            compile(snapshot(structure))
        text = str(caught.value)
        assert "3 inputs have no source" in text
        assert "'x' of step 'inc'" in text
        assert "ops.two.inputs.y" in text
        assert isinstance(caught.value, InvalidConfigError)

    def test_config_comes_before_a_default(self) -> None:
        config = ResolvedConfig({"f": NodeConfig(inputs={"x": 1})})
        structure = job([op("f", InputInfo("x", has_default=True))], call("f"), call("g", "f"))
        plan = steps(structure, config=config)
        assert feeds(plan["f"]) == {"x": FromConfig()}
        assert feeds(plan["g"]) == {"x": FromDefault()}

    def test_an_input_with_a_manager_is_loaded_by_it_and_config_is_for_the_manager(self) -> None:
        config = ResolvedConfig({"f": NodeConfig(inputs={"x": 1})})
        structure = job([op("f", InputInfo("x", has_default=True, managed=True))], call("f"), call("g", "f"))
        plan = steps(structure, config=config)
        assert feeds(plan["f"]) == feeds(plan["g"]) == {"x": FromInputManager()}

    def test_a_default_is_the_last_way(self) -> None:
        assert feeds(steps(job([op("f", InputInfo("x", has_default=True))], call("f")))["f"]) == {"x": FromDefault()}

    def test_a_top_level_input_is_fed_by_its_caller_or_by_config(self) -> None:
        structure = job([INC], call("f", "inc", x=given("n")), inputs=(InputInfo("n"),))
        assert feeds(steps(structure, inputs=("n",))["f"]) == {"x": FromJobInput("n")}
        assert feeds(steps(structure, config=ResolvedConfig(inputs={"n": 1}))["f"]) == {"x": FromJobInput("n")}
        with pytest.raises(UnsatisfiedInputs, match="give a value for the job's input 'n'"):
            compile(snapshot(structure))

    def test_one_that_orders_only_needs_nothing(self) -> None:
        plan = steps(
            job([A, op("f", InputInfo("after", nothing=True))], call("a"), call("f"), call("g", "f", after="a"))
        )
        assert feeds(plan["f"]) == {}
        assert plan["g"].inputs[0].nothing

    def test_selecting_too_little_names_what_was_left_out(self) -> None:
        with pytest.raises(UnsatisfiedInputs, match=r"\('s1', which feeds it, is not selected\): select 's1', too"):
            compile(snapshot(chain(4)), op_selection=["s2*"])

    def test_a_list_is_shortened_by_a_selection_but_not_emptied(self) -> None:
        structure = job([A, op("sum", "xs")], call("a"), call("b", "a"), call("sum", xs=fan_in("b", "a")))
        plan = compile(snapshot(structure), op_selection=["a", "sum"])
        assert feeds(plan.steps[1]) == {"xs": FromSteps((feed("a"),))}
        with pytest.raises(UnsatisfiedInputs):
            compile(snapshot(structure), op_selection=["sum"])

    def test_what_comes_into_a_list_through_a_graph_input_is_not_left_out(self) -> None:
        summing = op("sum", InputInfo("xs", has_default=True))
        inner = GraphInfo("inner", (call("sum", xs=FanIn((given("m"), given("n")))),), (InputInfo("m"), InputInfo("n")))
        around = NodeInfo("g", "inner", True, {"m": whole("a"), "n": whole("b")})
        structure = job([A, summing], call("a"), call("b", "a"), around, graphs=[inner])
        missing = r"\('b', which feeds it, is not selected\): select 'b', too, or set ops.g.ops.sum.inputs.xs"
        with pytest.raises(UnsatisfiedInputs, match=missing) as caught:
            compile(snapshot(structure), op_selection=["a", "g"])
        assert "default" not in str(caught.value)
        config = ResolvedConfig({"g.sum": NodeConfig(inputs={"xs": [1, 2]})})
        plan = compile(snapshot(structure, config=config), op_selection=["a", "g"])
        assert feeds(plan.steps[1]) == {"xs": FromConfig()}
        assert feeds(compile(snapshot(structure), op_selection=["g"]).steps[0]) == {"xs": FromDefault()}

        unfed = job([A, op("sum", "xs")], call("a"), NodeInfo("g", "inner", True, {"n": whole("a")}), graphs=[inner])
        with pytest.raises(UnsatisfiedInputs, match="wire an output to the input 'm' of its graph"):
            compile(snapshot(unfed))

    def test_a_list_that_orders_only_waits_for_those_that_are_selected(self) -> None:
        after = op("after", InputInfo("xs", nothing=True))
        inner = GraphInfo("inner", (call("after", xs=FanIn((given("m"), given("n")))),), (InputInfo("m"),))
        around = NodeInfo("g", "inner", True, {"m": whole("a"), "n": whole("b")})
        plan = compile(
            snapshot(job([A, after], call("a"), call("b", "a"), around, graphs=[inner])), op_selection=["a", "g"]
        )
        assert feeds(plan.steps[1]) == {"xs": FromSteps((feed("a"),))}

    def test_steps_can_be_selected_within_a_selection_of_ops(self) -> None:
        structure = job([A, op("sum", "xs")], call("a"), call("b", "a"), call("sum", xs=fan_in("b", "a")))
        known = [KnownStep(StepKey("a"), (OutputRef(RunId("r"), StepKey("a")),))]
        plan = compile(snapshot(structure), op_selection=["a", "sum"], step_selection=["sum"], known=known)
        assert {spec.key: spec.runs for spec in plan.steps} == {"a": False, "sum": True}


class TestFanOuts:
    def test_what_is_mapped_is_a_template_and_what_collects_is_not(self) -> None:
        plan = steps(fan_out_job())
        assert plan["work"].scope == (over("keys"),)
        assert feeds(plan["work"]) == {"x": feed("keys", Delivery.MAPPED)}
        assert plan["total"].scope == ()

    def test_a_step_below_a_mapped_one_is_in_its_branch(self) -> None:
        structure = job(
            [op("keys", dynamic=True), A, INC, TWO],
            call("keys"),
            call("a"),
            call("f", "inc", x=mapped("keys")),
            call("g", "two", x="f", y="a"),
        )
        assert steps(structure)["g"].scope == (over("keys"),)

    def test_fan_outs_nest(self) -> None:
        structure = job(
            [op("keys", dynamic=True), op("parts", "x", dynamic=True), INC, op("join", "xs")],
            call("keys"),
            call("parts", x=mapped("keys")),
            call("f", "inc", x=mapped("parts")),
            call("join", xs=collected("f")),
            call("all", "join", xs=collected("join")),
        )
        plan = steps(structure)
        outer, inner = over("keys"), over("parts")
        assert plan["f"].scope == (outer, inner)
        assert plan["join"].scope == (outer,)
        assert plan["all"].scope == ()

    def test_a_graph_can_be_mapped(self) -> None:
        inner = GraphInfo(
            "inner",
            (call("inc", x=given("n")), call("inc_2", "inc", x="inc")),
            (InputInfo("n"),),
            (GraphOutput("result", whole("inc_2")),),
        )
        structure = job(
            [op("keys", dynamic=True), INC, op("sum", "xs")],
            call("keys"),
            NodeInfo("g", "inner", True, {"n": mapped("keys")}),
            call("sum", xs=collected("g")),
            graphs=[inner],
        )
        plan = steps(structure)
        assert plan["g.inc"].scope == plan["g.inc_2"].scope == (over("keys"),)
        assert feeds(plan["sum"]) == {"xs": feed("g.inc_2", Delivery.COLLECTED)}

    def test_a_graph_can_return_a_dynamic_output_or_a_collection(self) -> None:
        make = GraphInfo("make", (call("keys"),), (), (GraphOutput("result", whole("keys")),))
        both = GraphInfo(
            "both",
            (call("keys"), call("inc", x=mapped("keys"))),
            (),
            (GraphOutput("result", collected("inc")),),
        )
        structure = job(
            [op("keys", dynamic=True), INC, op("sum", "xs")],
            NodeInfo("m", "make", True),
            call("f", "inc", x=mapped("m")),
            NodeInfo("b", "both", True),
            call("sum", xs="b"),
            graphs=[make, both],
        )
        plan = steps(structure)
        assert plan["f"].scope == (over("m.keys"),)
        assert plan["sum"].scope == ()
        assert feeds(plan["sum"]) == {"xs": feed("b.inc", Delivery.COLLECTED)}

    def test_the_values_of_a_dynamic_output_can_be_collected_directly(self) -> None:
        structure = job([op("keys", dynamic=True), op("sum", "xs")], call("keys"), call("sum", xs=collected("keys")))
        assert steps(structure)["sum"].scope == ()

    @pytest.mark.parametrize(
        ("node", "words"),
        [
            (call("f", "inc", x="keys"), r"'f' takes the dynamic output 'keys.result' as it is; .map"),
            (
                call("f", "two", x=mapped("keys"), y=mapped("more")),
                "two dynamic outputs that do not contain each other",
            ),
            (call("f", "inc", x=mapped("a")), r"maps over 'a.result', which is no dynamic output"),
            (call("f", "inc", x=collected("a")), r"collects 'a', which is not mapped"),
            (call("f", "inc", x=FanIn((collected("keys"),))), r"is collected inside a list"),
        ],
    )
    def test_what_has_no_meaning_is_an_error(self, node: NodeInfo, words: str) -> None:
        keys = op("keys", dynamic=True)
        with pytest.raises((DynamicError, BadWire), match=words):
            compile(snapshot(job([A, INC, TWO, keys], call("a"), call("keys"), call("more", "keys"), node)))


class TestSettings:
    def test_the_retry_policy_of_the_invocation_wins_then_the_ops_then_the_jobs(self) -> None:
        own, invoked, jobs = Retry(1), Retry(2), Retry(3)
        structure = job(
            [op("own", retry=own), op("none")],
            NodeInfo("a", "own", retry=invoked),
            call("own"),
            call("none"),
            retry=jobs,
        )
        plan = steps(structure)
        assert [plan[key].retry for key in ("a", "own", "none")] == [invoked, own, jobs]

    def test_tags_route_and_those_of_the_invocation_win(self) -> None:
        tags = {"opgrid/queue": "slow", "dagster/priority": "3", "opgrid/timeout": "7.5", "team": "x"}
        structure = job([op("f", tags=tags)], call("f"), NodeInfo("g", "f", tags={"opgrid/queue": "fast"}))
        plan = steps(structure, tags={"opgrid/priority": "10"})
        assert (plan["f"].queue, plan["f"].priority, plan["f"].timeout) == ("slow", 13, 7.5)
        assert plan["g"].queue == "fast"
        assert plan["g"].tags["team"] == "x"

    def test_what_is_said_of_one_invocation_is_not_said_of_the_next(self) -> None:
        retry = Retry(2)
        structure = job(
            [op("f", tags={"team": "x"})],
            call("a", "f"),
            NodeInfo("b", "f", tags={"opgrid/queue": "fast"}, retry=retry, hooks=("tell",)),
            call("c", "f"),
            NodeInfo("d", "inside", is_graph=True, retry=retry),
            graphs=[GraphInfo("inside", (call("e", "f"),), tags={"opgrid/fuse": "false"})],
        )
        plan = steps(structure)
        told = {key: (spec.queue, spec.retry, spec.hooks, spec.fuse) for key, spec in plan.items()}
        assert told == {
            "a": (None, None, (), ""),
            "b": ("fast", retry, ("tell",), ""),
            "c": (None, None, (), ""),
            "d.e": (None, retry, (), NEVER),
        }

    def test_names_of_dagster_celery_are_understood(self) -> None:
        tags = {"dagster-celery/queue": "q", "dagster-celery/priority": "-2"}
        spec = steps(job([op("f", tags=tags)], call("f")), tags={"dagster-celery/run_priority": "5"})["f"]
        assert (spec.queue, spec.priority) == ("q", 3)

    @pytest.mark.parametrize(
        ("tag", "value"),
        [("opgrid/priority", "high"), ("opgrid/timeout", "-1"), ("opgrid/approval_timeout", "5m")],
    )
    def test_a_tag_that_cannot_be_read_is_named(self, tag: str, value: str) -> None:
        with pytest.raises(BadTag, match=rf"The tag '{tag}' of step 'f' is '{value}'; it must be a"):
            compile(snapshot(job([op("f", tags={tag: value})], call("f"))))

    def test_the_run_may_have_a_time_limit(self) -> None:
        assert compile(snapshot(chain(1), tags={"dagster/max_runtime": "60"})).max_runtime == 60

    def test_hooks_of_job_graph_and_invocation_come_together(self) -> None:
        inner = GraphInfo("inner", (NodeInfo("f", "a", hooks=("c", "a")),), hooks=("b",))
        structure = job([A], NodeInfo("g", "inner", True), call("a"), graphs=[inner], hooks=("a",))
        plan = steps(structure)
        assert plan["g.f"].hooks == ("a", "b", "c")
        assert plan["a"].hooks == ("a",)

    def test_the_executor_may_be_told_not_to_retry(self) -> None:
        choice = ExecutorChoice("fake", {"retries": {"disabled": {}}})
        assert not compile(snapshot(chain(1), executor=choice)).retries


class TestTheWire:
    def test_a_plan_survives_json(self) -> None:
        plan = compile(snapshot(fan_out_job()))
        assert Plan.from_json(plan.to_json()) == plan
        assert Plan.from_json(plan.to_json()).hash == plan.hash

    def test_a_snapshot_survives_json_and_is_known_by_its_content(self) -> None:
        one = snapshot(chain(3), tags={"a": "1", "b": "2"})
        again = JobSnapshot.from_json(one.to_json())
        assert again == one
        assert again.hash == one.hash == snapshot(chain(3), tags={"b": "2", "a": "1"}).hash
        assert one.hash != snapshot(chain(4), tags={"a": "1", "b": "2"}).hash
        assert compile(one).hash == compile(again).hash


def test_a_nothing_output_orders() -> None:
    quiet = op("quiet", out=[OutputInfo("result", nothing=True)])
    plan = steps(job([quiet, op("f", InputInfo("after", nothing=True))], call("quiet"), call("f", after="quiet")))
    assert feeds(plan["f"]) == {"after": feed("quiet")}


def test_a_graph_input_without_a_wire_is_fed_at_the_leaf() -> None:
    inner = GraphInfo("inner", (call("inc", x=FromGraphInput("n")),), (InputInfo("n"),))
    structure = job([INC], NodeInfo("g", "inner", True), graphs=[inner])
    config = ResolvedConfig({"g.inc": NodeConfig(inputs={"x": 4})})
    assert feeds(steps(structure, config=config)["g.inc"]) == {"x": FromConfig()}


def test_the_work_grows_with_the_steps_and_no_faster() -> None:
    """Calls are counted rather than seconds: these depend on what else the machine does."""

    def calls(count: int) -> int:
        big, made = snapshot(chain(count)), 0

        def counted(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            compile(big)
        finally:
            sys.setprofile(None)
        return made

    few, many = calls(500), calls(5000)
    assert many < 11 * few
    assert many < 25 * 5000


# ---- planned before -------------------------------------------------------------------------------------------------


def test_a_job_that_was_planned_before_has_its_plan() -> None:
    structure = job([A, INC], call("a"), call("b", "inc", x=whole("a")))
    plan = compile(snapshot(structure))
    assert compile(snapshot(structure)) is plan
    tagged = compile(snapshot(structure, tags={"team": "x"}))
    assert (tagged.steps, tagged.snapshot != plan.snapshot) == (plan.steps, True)
    assert [spec.key for spec in compile(snapshot(structure), op_selection=["a"]).steps] == ["a"]
    assert compile(snapshot(structure), step_selection=["a"], known=[]) != plan
    assert compile(snapshot(structure)) is plan


def test_plans_of_large_jobs_are_not_kept() -> None:
    large = snapshot(chain(501))
    assert compile(large) == compile(large)
    assert compile(large) is not compile(large)
