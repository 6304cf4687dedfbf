"""Which steps travel in one message, and what they are told to wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

import pytest

from opgrid import DynamicOut, DynamicOutput, In, Nothing, Out, graph, job, op
from opgrid.contracts.events import LossCause, RunStarted, StepLost, StepSucceeded
from opgrid.contracts.fusing import following, fulfilled, made_of, promise
from opgrid.contracts.tasks import Gathered, OutputRef, StepTask, Stored
from opgrid.definitions.job import JobDefinition
from opgrid.ids import RunId, StepKey
from orchestrator.engine.commands import Launch
from orchestrator.engine.machine import RunMachine
from orchestrator.planner.compile import compile
from orchestrator.planner.routing import BadTag
from orchestrator.planner.snapshot import take

RUN = RunId("r")


@op
def one() -> int:
    return 1


@op
def inc(x: int) -> int:
    return x + 1


@op
def add(a: int, b: int) -> int:
    return a + b


@op
def total(xs: list) -> int:  # type: ignore[type-arg]
    return sum(xs)


@op(out=DynamicOut())
def parts():  # type: ignore[no-untyped-def]
    yield DynamicOutput(1, mapping_key="a")


def machine_of(made: JobDefinition) -> RunMachine:
    return RunMachine(RUN, compile(take(made, made.resolve(None), made.tags)))


def launched(
    machine: RunMachine,
    event: RunStarted | StepSucceeded | StepLost,
    seconds: Mapping[str, float] | None = None,
    most: float = 0.1,
) -> list[StepTask]:
    """``seconds``: what is known of ops, where steps of ``most`` seconds together are sooner done by one process."""
    tasks = [command.task for command in machine.take(event, 1.0) or [] if isinstance(command, Launch)]
    if seconds is None:
        return machine.tasks.with_crews(tasks)
    return machine.tasks.with_crews(tasks, lambda spec: seconds.get(spec.op), most)


def started(machine: RunMachine, seconds: Mapping[str, float] | None = None) -> list[StepTask]:
    return launched(machine, RunStarted(run_id=RUN, at=1.0), seconds)


def succeeded(machine: RunMachine, step: str, *refs: OutputRef) -> list[StepTask]:
    made = refs or (OutputRef(RUN, StepKey(step), claim="c"),)
    return launched(machine, StepSucceeded(run_id=RUN, at=1.0, step=StepKey(step), attempt=1, outputs=made))


def aboard(task: StepTask) -> list[str]:
    return [mate.step for mate in task.then]


def test_what_will_be_skipped_does_not_travel() -> None:
    @op(out=Out(int, is_required=False))
    def maybe():  # type: ignore[no-untyped-def]
        yield from ()

    @job
    def late() -> None:
        first = one()
        inc(first)
        inc(add(inc(first), maybe()))

    machine = machine_of(late)
    started(machine)
    launched(machine, StepSucceeded(run_id=RUN, at=1.0, step=StepKey("maybe"), attempt=1))
    assert [(task.step, aboard(task)) for task in succeeded(machine, "one")] == [("inc", []), ("inc_2", [])]


def test_a_chain_travels_together_as_far_as_it_is_one() -> None:
    @job
    def fork() -> None:
        x = inc(inc(one()))
        add(inc(x), x)

    machine = machine_of(fork)
    (first,) = started(machine)
    assert aboard(first) == ["inc", "inc_2"]
    assert [mate.after for mate in first.then] == [("one",), ("inc",)]
    assert first.then[0].inputs[0].source == Stored(promise(StepKey("one"), "result"))
    (second,) = succeeded(machine, "one")
    assert (second.step, second.then) == ("inc", ())  # it is on its way, and so is what follows it
    succeeded(machine, "inc")
    assert [(task.step, aboard(task)) for task in succeeded(machine, "inc_2")] == [("inc_3", ["add"])]


def test_a_long_chain_is_sent_in_parts() -> None:
    @job
    def long() -> None:
        x = one()
        for _ in range(600):
            x = inc(x)

    machine = machine_of(long)
    (task,) = started(machine)
    assert len(task.then) == 500
    sent = 0
    for step in ["one", "inc", *(f"inc_{number}" for number in range(2, 600))]:
        (task,) = succeeded(machine, step)
        sent += bool(task.then)
    assert sent == 1


def test_what_went_on_with_an_attempt_that_was_not_accepted_counts_as_lost() -> None:
    @job
    def two() -> None:
        inc(one())

    machine = machine_of(two)
    started(machine)
    key, follower = StepKey("one"), StepKey("inc")
    machine.take(StepLost(run_id=RUN, at=1.0, step=key, attempt=1, cause=LossCause("silent")), 1.0)
    accepted = OutputRef(RUN, key, "result", None, 2, "c2")
    machine.take(StepSucceeded(run_id=RUN, at=2.0, step=key, attempt=2, outputs=(accepted,)), 2.0)

    def told(claim: str) -> StepSucceeded:
        return StepSucceeded(run_id=RUN, at=3.0, step=follower, attempt=1, after=((key, claim),))

    assert machine.vetted(told("c2")) == told("c2")
    lost = machine.vetted(told("c1"))
    assert isinstance(lost, StepLost)
    assert (lost.step, lost.attempt) == (follower, 1)
    assert "'one'" in lost.cause.reason
    (again,) = launched(machine, lost)
    assert (again.step, again.attempt) == (follower, 2)


def test_of_what_made_nothing_nothing_was_taken() -> None:
    @job
    def two() -> None:
        inc(one())

    machine = machine_of(two)
    started(machine)
    machine.take(StepSucceeded(run_id=RUN, at=2.0, step=StepKey("one"), attempt=1), 2.0)
    told = StepSucceeded(run_id=RUN, at=3.0, step=StepKey("inc"), attempt=1, after=((StepKey("one"), "c"),))
    assert machine.vetted(told) is told


def _fork(x):  # type: ignore[no-untyped-def]
    return add(inc(x), inc(x))


def test_a_fused_graph_travels_whole() -> None:
    diamond = graph(name="diamond", tags={"opgrid/fuse": "true"})(_fork)

    @job
    def whole() -> None:
        inc(diamond(one()))

    machine = machine_of(whole)
    assert [aboard(task) for task in started(machine)] == [[]]
    first, second = succeeded(machine, "one")
    assert (first.step, aboard(first)) == ("diamond.inc", ["diamond.inc_2", "diamond.add"])
    assert first.fused
    assert first.then[1].after == ("diamond.inc", "diamond.inc_2")
    assert (second.step, second.then) == ("diamond.inc_2", ())


def test_who_travels_already_is_not_sent_with_others_besides() -> None:
    @graph(tags={"opgrid/fuse": "true"})
    def fused(y):  # type: ignore[no-untyped-def]
        inc.alias("behind")(inc.alias("aside")(y))
        inc.alias("last")(inc.alias("next")(one()))

    @job
    def whole() -> None:
        fused(one.alias("outside")())

    machine = machine_of(whole)
    (leader,) = [task for task in started(machine) if task.step == "fused.one"]
    assert aboard(leader) == ["fused.next", "fused.last"]
    tasks = []
    for step in map(StepKey, ("outside", "fused.one")):
        made = StepSucceeded(run_id=RUN, at=1.0, step=step, attempt=1, outputs=(OutputRef(RUN, step, claim="c"),))
        tasks += [each.task for each in machine.take(made, 1.0) or [] if isinstance(each, Launch)]
    sent = {task.step: aboard(task) for task in machine.tasks.with_crews(tasks)}
    assert sent == {"fused.aside": ["fused.behind"], "fused.next": []}


def test_steps_of_a_mapped_branch_travel_together() -> None:
    @job
    def mapped() -> None:
        total(parts().map(lambda part: inc(inc(part))).collect())

    machine = machine_of(mapped)
    assert aboard(started(machine)[0]) == []
    (branch,) = succeeded(machine, "parts", OutputRef(RUN, StepKey("parts"), mapping_key="a"))
    assert (branch.step, aboard(branch)) == ("inc[a]", ["inc_2[a]"])


@pytest.mark.parametrize(
    "apart",
    [
        pytest.param(lambda: inc.tag({"opgrid/fuse": "false"}), id="says no"),
        pytest.param(lambda: inc.tag({"opgrid/queue": "gpu"}), id="another queue"),
        pytest.param(lambda: inc.tag({"opgrid/priority": "3"}), id="another priority"),
        pytest.param(lambda: inc.tag({"opgrid/executor": "in_process"}), id="another executor"),
        pytest.param(lambda: op(name="pooled", pool="db")(lambda x: x), id="a pool"),
    ],
)
def test_what_keeps_steps_apart(apart: Callable[[], Callable[..., object]]) -> None:
    @job
    def two() -> None:
        apart()(one())

    assert aboard(started(machine_of(two))[0]) == []


def test_a_run_can_say_no() -> None:
    @job(tags={"opgrid/fuse": "false"})
    def two() -> None:
        inc(one())

    assert aboard(started(machine_of(two))[0]) == []


def test_a_run_that_says_no_keeps_steps_apart_that_are_ready_together() -> None:
    @job(tags={"opgrid/fuse": "false"})
    def mapped() -> None:
        total(parts().map(inc).collect())

    machine = machine_of(mapped)
    started(machine)
    made = [OutputRef(RUN, StepKey("parts"), mapping_key=key) for key in "ab"]
    first, second = succeeded(machine, "parts", *made)
    assert (first.then, second.then) == ((), ())
    assert first.alone
    assert not first.fused


def test_a_tag_that_is_neither_yes_nor_no() -> None:
    @job(tags={"opgrid/fuse": "perhaps"})
    def two() -> None:
        inc(one())

    with pytest.raises(BadTag, match="'opgrid/fuse' of the run is 'perhaps'; it must be true or false"):
        machine_of(two)


def test_promises_are_kept_by_what_was_made() -> None:
    @op(out={"a": Out(is_required=False), "b": Out()})
    def both():  # type: ignore[no-untyped-def]
        yield 1

    @job
    def listed() -> None:
        a, b = both()
        total([a, b])

    (task,) = started(machine_of(listed))
    (mate,) = task.then
    made = OutputRef(RUN, StepKey("both"), "b", claim="c")
    assert fulfilled(mate, {}, set()) is None
    assert fulfilled(mate, {}, {StepKey("both")}) is None
    kept = fulfilled(mate, made_of([made]), {StepKey("both")})
    assert kept is not None
    assert kept.inputs[0].source == Gathered((made,))


@op(ins={"before": In(Nothing)})
def behind() -> int:
    return 1


@op(out={"a": Out(is_required=False), "b": Out(is_required=False), "c": Out()})
def some():  # type: ignore[no-untyped-def]
    yield from ()


@pytest.mark.parametrize(
    ("before", "yielded", "runs"),
    [("a", "bc", False), ("a", "a", True), ("c", "c", True), ("ab", "c", False), ("ab", "b", True), ("ac", "c", True)],
)
def test_what_waits_for_an_output_alone_needs_it_to_be_yielded(before: str, yielded: str, runs: bool) -> None:
    @job
    def ordered() -> None:
        outs = dict(zip("abc", some(), strict=True))
        wanted = [outs[name] for name in before]
        behind(wanted if len(wanted) > 1 else wanted[0])

    machine = machine_of(ordered)
    ((mate,),) = [task.then for task in started(machine)]
    made = [OutputRef(RUN, StepKey("some"), name, claim="c") for name in yielded]
    assert (fulfilled(mate, made_of(made), {StepKey("some")}) is not None) is runs
    assert [task.step for task in succeeded(machine, "some", *made)] == ["behind"] * runs


def test_what_waits_for_all_of_a_fan_out_may_travel_behind_another() -> None:
    @op(ins={"before": In(Nothing)})
    def last(x: int) -> int:
        return x

    @job
    def both() -> None:
        x = one()
        inc.alias("other")(x)
        last(before=parts().map(inc).collect(), x=inc.alias("late")(x))

    machine = machine_of(both)
    started(machine)
    succeeded(machine, "parts", OutputRef(RUN, StepKey("parts"), mapping_key="a"))
    succeeded(machine, "inc[a]")
    assert [aboard(task) for task in succeeded(machine, "one")] == [[], ["last"]]


# ---- what is short travels together, whatever its shape


@job
def lattice() -> None:
    values = [one.alias(f"at_0_{place}")() for place in range(4)]
    for layer in range(1, 4):
        values = [add.alias(f"at_{layer}_{at}")(values[at], values[(at + 1) % 4]) for at in range(4)]


def test_layers_of_short_steps_travel_together() -> None:
    first, *others = started(machine_of(lattice), {"one": 0.02, "add": 0.02})
    assert [(task.step, task.then) for task in others] == [(f"at_0_{place}", ()) for place in range(1, 4)]
    assert aboard(first) == [
        *(task.step for task in others),
        *(f"at_{layer}_{at}" for layer in (1, 2, 3) for at in range(4)),
    ]
    done = {first.step}
    for mate in first.then:  # each comes behind those that it needs
        assert done.issuperset(mate.after)
        done.add(mate.step)
    assert not any(mate.fused for mate in first.then)


@pytest.mark.parametrize("seconds", [{"one": 0.02, "add": 0.03}, {"one": 0.03, "add": 0.02}, {"one": 0.02}])
def test_layers_that_take_longer_or_nobody_knows_how_long_go_to_several(seconds: dict[str, float]) -> None:
    tasks = started(machine_of(lattice), seconds)
    assert [(task.step, task.then) for task in tasks] == [(f"at_0_{place}", ()) for place in range(4)]


def test_what_others_wait_for_as_well_goes_step_by_step() -> None:
    machine = machine_of(lattice)
    started(machine)
    known = {"one": 0.001, "add": 0.001}
    for place in range(3):
        done = StepSucceeded(
            run_id=RUN,
            at=1.0,
            step=StepKey(f"at_0_{place}"),
            attempt=1,
            outputs=(OutputRef(RUN, StepKey(f"at_0_{place}"), claim="c"),),
        )
        assert [aboard(task) for task in launched(machine, done, known)] == [[]] * (place > 0)


def test_where_there_is_but_one_place_what_waits_for_others_is_left_out() -> None:
    machine = machine_of(lattice)
    started(machine)
    known = {"one": 0.0, "add": 0.0}
    tasks = []
    for place in range(3):
        ref = OutputRef(RUN, StepKey(f"at_0_{place}"), claim="c")
        done = StepSucceeded(run_id=RUN, at=1.0, step=ref.step, attempt=1, outputs=(ref,))
        tasks += launched(machine, done, known, inf)
    assert [task.step for task in tasks] == ["at_1_0", "at_1_1"]
    last = OutputRef(RUN, StepKey("at_0_3"), claim="c")
    done = StepSucceeded(run_id=RUN, at=1.0, step=last.step, attempt=1, outputs=(last,))
    first, _ = launched(machine, done, known, inf)
    assert aboard(first) == ["at_1_3", "at_2_2"]


def test_one_leader_takes_along_what_forks_and_meets_again() -> None:
    @job
    def diamonds() -> None:
        for number in range(20):
            x = one.alias(f"top_{number}")()
            add(inc(x), inc(x))

    tasks = started(machine_of(diamonds), {"one": 0.03, "inc": 0.03, "add": 0.03})
    assert [len(task.then) for task in tasks] == [3] * 20


def test_what_has_travelled_once_does_not_lead_others() -> None:
    machine = machine_of(lattice)
    known = {"one": 0.02, "add": 0.02}
    for task in started(machine, known):
        done = StepSucceeded(
            run_id=RUN, at=1.0, step=task.step, attempt=1, outputs=(OutputRef(RUN, task.step, claim="c"),)
        )
        assert all(not each.then for each in launched(machine, done, known))


def test_of_others_those_follow_that_wait_for_nothing_else() -> None:
    a, b, c, d, e = (StepKey(each) for each in "abcde")
    others = [(b, (a,)), (c, (b, e)), (d, (b,)), (StepKey("f"), ())]
    assert following(a, others) == {b, d}
    assert following(a, others, done=[e]) == {b, c, d}
