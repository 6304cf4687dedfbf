"""Jobs: what they bring, and running them in process."""

from __future__ import annotations

import math
import os
import uuid
from typing import Any

import pytest

from opgrid import (
    Backoff,
    Config,
    Definitions,
    Failure,
    In,
    InvalidConfigError,
    InvalidDefinitionError,
    InvalidInvocationError,
    InvalidSubsetError,
    InvariantViolationError,
    Jitter,
    MaxRetriesExceededError,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    RetryPolicy,
    RetryRequested,
    RunConfig,
    UnknownJob,
    graph,
    in_process_executor,
    instance_for_test,
    job,
    multiprocess_executor,
    op,
    repository,
)
from opgrid.contracts.events import EventType, StepUpForRetry


@op
def one() -> int:
    return 1


@op
def add(number: int, more: int = 1) -> int:
    return number + more


@op
def fails() -> int:
    raise ValueError("on purpose")


@graph
def two_steps(number: int) -> int:
    return add(add(number))


# ---- what a job is -------------------------------------------------------------------------------------------------


def test_a_job_carries_what_it_was_given() -> None:
    @job(
        name="named",
        tags={"a": 1, "b": {"c": 2}},
        run_tags={"r": "1"},
        metadata={"m": 3},
        owners=["team:data", "me@x.example"],
        executor_def=in_process_executor,
    )
    def made() -> None:
        """What it is for."""
        one()

    assert (made.name, made.description) == ("named", "What it is for.")
    assert made.tags == {"a": "1", "b": '{"c": 2}'}
    assert made.run_tags == {"r": "1"}
    assert list(made.owners) == ["team:data", "me@x.example"]
    assert made.executor_def is in_process_executor
    result = made.execute_in_process(tags={"mine": "yes"})
    assert result.run.brief.tags["r"] == "1"
    assert result.run.brief.tags["mine"] == "yes"
    assert made.execute_in_process(tags={"r": "2"}).run.tags["r"] == "2"
    with pytest.raises(InvalidDefinitionError, match="nobody"):
        _owned_by("nobody")


def _owned_by(owner: str) -> Any:
    @job(owners=[owner])
    def owned() -> None: ...

    return owned


def test_an_empty_job_succeeds() -> None:
    @job
    def empty() -> None: ...

    result = empty.execute_in_process()
    assert result.success
    assert result.all_node_events == []


def test_a_job_is_not_called() -> None:
    @job
    def inner() -> None:
        one()

    with pytest.raises((InvariantViolationError, InvalidInvocationError), match="execute_in_process"):
        inner()
    with pytest.raises((InvariantViolationError, InvalidDefinitionError), match="job 'inner'|'inner'"):

        @job
        def outer() -> None:
            inner()


def test_top_level_inputs() -> None:
    @graph
    def sums(number: int, more: int) -> int:
        return add(number, more)

    takes = sums.to_job()
    assert takes.execute_in_process(input_values={"number": 40, "more": 2}).output_value() == 42
    config = {"inputs": {"number": 1, "more": {"value": 2}}}
    assert takes.execute_in_process(run_config=config).output_value() == 3
    with pytest.raises(InvalidConfigError, match="'number'"):
        takes.execute_in_process(input_values={"more": 1})
    with pytest.raises(InvalidDefinitionError, match="'nmber'.*Did you mean 'number'"):
        takes.execute_in_process(input_values={"number": 1, "nmber": 1})
    with pytest.raises(InvalidDefinitionError, match="nmber"):

        @job(input_values={"nmber": 1})
        def wrong(number: int) -> None:
            add(number)


def test_one_graph_makes_many_jobs() -> None:
    plus = two_steps.to_job(name="plus", input_values={"number": 1}, tags={"env": "test"})
    assert plus.execute_in_process().output_value() == 3
    assert plus.tags == {"env": "test"}
    assert two_steps.to_job().name == "two_steps"
    assert two_steps.execute_in_process(input_values={"number": 5}).output_value() == 7


def test_names_of_repeated_ops() -> None:
    @job
    def repeats() -> None:
        add(add(add.alias("first")(one())))

    result = repeats.execute_in_process()
    assert [event.step for event in result.get_step_success_events()] == ["one", "first", "add", "add_2"]


def test_modifiers_chain() -> None:
    changed = one.tag({"kind": "x"}).alias("renamed").with_retry_policy(RetryPolicy(max_retries=3))

    @job
    def modified() -> None:
        changed()

    node = modified.graph.nodes["renamed"]
    assert node.tags["kind"] == "x"
    assert node.retry_policy == RetryPolicy(max_retries=3)


# ---- results -------------------------------------------------------------------------------------------------------


@op(out={"yes": Out(int, is_required=False), "no": Out(int, is_required=False)})
def branch():  # type: ignore[no-untyped-def]
    yield Output(1, "yes", metadata={"why": "said so"})


@job
def mixed() -> None:
    yes, no = branch()
    add.alias("after_yes")(yes)
    add.alias("after_no")(no)
    add.alias("after_failure")(fails())
    two_steps(one())


def test_a_result_answers_about_every_node() -> None:
    result = mixed.execute_in_process(raise_on_error=False)
    assert not result.success
    assert uuid.UUID(result.run_id)
    assert result.is_node_success("after_yes")
    assert result.is_node_skipped("after_no")
    assert result.is_node_failed("fails")
    assert result.is_node_untouched("after_failure")
    assert result.output_for_node("two_steps.add_2") == 3
    assert result.output_for_node("branch", "yes") == 1
    assert [event.step for event in result.get_step_skipped_events()] == ["after_no"]
    assert result.get_failed_step_keys() == {"fails"}
    assert result.retry_attempts_for_node("fails") == 0
    assert "fails" in result.get_run_failure_event().reason
    assert {event.step for event in result.events_for_node("branch")} == {"branch"}
    assert [event.TYPE for event in result.filter_events(lambda each: each.TYPE is EventType.STEP_FAILURE)]
    failure = result.failure_data_for_node("fails")
    assert failure is not None
    assert failure.error.cause is not None
    assert (failure.error.cause.kind, failure.error.cause.message) == ("ValueError", "on purpose")
    assert "test_job.py" in failure.error.cause.traceback
    assert result.failure_data_for_node("one") is None


@pytest.mark.parametrize(
    "ask",
    [
        lambda result: result.output_for_node("none"),
        lambda result: result.output_for_node("branch", "none"),
        lambda result: result.output_for_node("branch", "no"),
        lambda result: result.output_for_node("fails"),
        lambda result: result.is_node_success("none"),
        lambda result: result.get_run_success_event(),
    ],
)
def test_a_result_says_what_there_is_not(ask: Any) -> None:
    with pytest.raises(InvariantViolationError):
        ask(mixed.execute_in_process(raise_on_error=False))


def test_what_user_code_raised_comes_out_as_it_was() -> None:
    with pytest.raises(ValueError, match="on purpose"):
        mixed.execute_in_process()


def test_a_run_id_is_given_or_made() -> None:
    mine = str(uuid.uuid4())
    with instance_for_test() as instance:
        two = two_steps.to_job(input_values={"number": 1})
        assert two.execute_in_process(run_id=mine, instance=instance).run_id == mine
        assert instance.get_run_by_id(mine) is not None


def test_the_executor_of_a_job_is_left_aside_in_process() -> None:
    @job(executor_def=multiprocess_executor)
    def elsewhere() -> None:
        one()

    import os

    pids = []

    @op
    def pid() -> None:
        pids.append(os.getpid())

    @job(executor_def=multiprocess_executor, config={"execution": {"config": {"max_concurrent": 3}}})
    def here() -> None:
        pid()

    assert here.execute_in_process().success
    assert pids == [os.getpid()]
    assert elsewhere.execute_in_process().success


def test_selections() -> None:
    assert [e.step for e in _selected(["one", "two_steps.add"])] == ["one", "two_steps.add"]
    assert {e.step for e in _selected(["*two_steps"])} == {"one", "two_steps.add", "two_steps.add_2"}
    assert {e.step for e in _selected(["branch+"])} >= {"branch", "after_yes"}
    with pytest.raises(InvalidSubsetError, match="'nothing'"):
        _selected(["nothing"])
    result = mixed.execute_in_process(op_selection=["one"])
    assert (result.run.job_name, result.job_def.name) == ("mixed", "mixed")


def _selected(clauses: list[str]) -> Any:
    return mixed.execute_in_process(op_selection=clauses, raise_on_error=False).get_step_success_events()


# ---- retries -------------------------------------------------------------------------------------------------------


def _retried(policy: RetryPolicy | None = None, job_policy: RetryPolicy | None = None, fail: int = 99) -> Any:
    numbers: list[int] = []

    @op(retry_policy=policy)
    def flaky(context: OpExecutionContext) -> int:
        numbers.append(context.retry_number)
        if len(numbers) <= fail:
            raise ConnectionError("again")
        return len(numbers)

    @job(op_retry_policy=job_policy)
    def tries() -> None:
        flaky()

    result = tries.execute_in_process(raise_on_error=False)
    waits = [event.delay for event in result.all_events if isinstance(event, StepUpForRetry)]
    return result, numbers, waits


def test_a_policy_retries_until_it_works() -> None:
    result, numbers, waits = _retried(RetryPolicy(max_retries=3, delay=0.01), fail=2)
    assert result.success
    assert (numbers, waits) == ([0, 1, 2], [0.01, 0.01])
    assert result.retry_attempts_for_node("flaky") == 2
    types = [event.TYPE.name for event in result.events_for_node("flaky")]
    assert [name for name in types if "RE" in name and name.startswith("STEP")].count("STEP_RESTARTED") == 2


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (RetryPolicy(max_retries=3, delay=0.01, backoff=Backoff.LINEAR), [0.01, 0.02, 0.03]),
        (RetryPolicy(max_retries=3, delay=0.01, backoff=Backoff.EXPONENTIAL), [0.01, 0.03, 0.07]),
        (RetryPolicy(max_retries=2), [0.0, 0.0]),
    ],
)
def test_delays_grow_as_they_should(policy: RetryPolicy, expected: list[float]) -> None:
    result, _, waits = _retried(policy)
    assert not result.success
    assert waits == pytest.approx(expected)


def test_jitter_stays_within_its_bounds() -> None:
    _, _, waits = _retried(RetryPolicy(max_retries=5, delay=0.01, jitter=Jitter.FULL))
    assert all(0 <= wait <= 0.01 for wait in waits)
    assert len(set(waits)) > 1
    _, _, waits = _retried(RetryPolicy(max_retries=5, delay=0.01, jitter=Jitter.PLUS_MINUS))
    assert all(0 <= wait <= 0.02 for wait in waits)


def test_the_op_before_the_job() -> None:
    _, numbers, _ = _retried(RetryPolicy(max_retries=1), RetryPolicy(max_retries=4))
    assert numbers == [0, 1]
    _, numbers, _ = _retried(None, RetryPolicy(max_retries=2))
    assert numbers == [0, 1, 2]


def test_a_policy_that_makes_no_sense() -> None:
    for more in (
        {"backoff": Backoff.LINEAR},
        {"jitter": Jitter.FULL},
        {"max_retries": -1},
        {"delay": -1.0},
        {"delay": math.nan},
    ):
        with pytest.raises(InvalidDefinitionError):
            RetryPolicy(**more)  # type: ignore[arg-type]


@op(tags={"opgrid/executor": "multiprocess"})
def elsewhere() -> int:
    return os.getpid()


@op
def hands_on(number: int) -> int:
    return number


def test_in_process_is_in_process_for_ops_with_an_executor_of_their_own_too() -> None:
    @job
    def spread() -> None:
        hands_on(elsewhere())

    assert spread.execute_in_process().output_for_node("hands_on") == os.getpid()


class _Clumsy(Exception): ...


@op
def drops(context: OpExecutionContext) -> None:
    raise _Clumsy(context.retry_number)


@op(retry_policy=RetryPolicy(max_retries=2))
def gives_up(context: OpExecutionContext) -> None:
    raise Failure("for good", allow_retries=context.retry_number == 0)


def test_a_policy_that_is_used_up_is_raised_with_the_last_error_as_its_cause() -> None:
    @job(op_retry_policy=RetryPolicy(max_retries=2))
    def dropping() -> None:
        drops()

    with pytest.raises(
        MaxRetriesExceededError, match="'drops' failed, and has had the 2 retries of its policy"
    ) as error:
        dropping.execute_in_process()
    assert isinstance(error.value.__cause__, _Clumsy) and error.value.__cause__.args == (2,)
    with pytest.raises(_Clumsy):
        dropping.execute_in_process({"execution": {"config": {"retries": {"disabled": {}}}}})


def test_what_refuses_the_policy_or_has_none_is_raised_itself() -> None:
    @job
    def for_good() -> None:
        gives_up()

    @job
    def plainly() -> None:
        drops()

    with pytest.raises(Failure, match="for good"):
        for_good.execute_in_process()
    with pytest.raises(_Clumsy):
        plainly.execute_in_process()


def test_an_op_may_ask_for_a_retry() -> None:
    numbers: list[int] = []

    @op
    def asks(context: OpExecutionContext) -> None:
        numbers.append(context.retry_number)
        raise RetryRequested(max_retries=2, seconds_to_wait=0.01)

    @job
    def asking() -> None:
        asks()

    with pytest.raises(MaxRetriesExceededError):
        asking.execute_in_process()
    assert numbers == [0, 1, 2]
    numbers.clear()
    asking.execute_in_process(run_config={"execution": {"config": {"retries": {"disabled": {}}}}}, raise_on_error=False)
    assert numbers == [0]


@pytest.mark.parametrize(
    "wrong", [{"max_retries": "2"}, {"max_retries": 1.5}, {"seconds_to_wait": "2"}, {"seconds_to_wait": float("nan")}]
)
def test_a_retry_that_nobody_can_grant_fails_the_step(wrong: dict[str, Any]) -> None:
    @op
    def asks() -> None:
        raise RetryRequested(**wrong)

    @job
    def asking() -> None:
        asks()

    result = asking.execute_in_process(raise_on_error=False)
    failure = result.failure_data_for_node("asks")
    assert failure is not None
    assert failure.error.cause is not None
    assert f"RetryRequested({next(iter(wrong))}=" in failure.error.cause.message


def test_a_failure_may_be_described_by_an_exception() -> None:
    assert str(Failure(ValueError("no such row"))) == "no such row"  # type: ignore[arg-type]


def test_a_failure_may_refuse_retries_and_carry_metadata() -> None:
    calls: list[int] = []

    @op(retry_policy=RetryPolicy(max_retries=5))
    def gives_up() -> None:
        calls.append(1)
        raise Failure("for good", metadata={"rows": 3}, allow_retries=False)

    @job
    def giving_up() -> None:
        gives_up()

    result = giving_up.execute_in_process(raise_on_error=False)
    failure = result.failure_data_for_node("gives_up")
    assert failure is not None
    assert calls == [1]
    assert "for good" in repr(failure.error)
    assert "rows" in repr(failure.error.metadata)


# ---- failures do not spread further than they have to --------------------------------------------------------------


def test_other_branches_go_on_after_a_failure() -> None:
    @op(ins={"after": In(Nothing)})
    def last() -> None: ...

    @job
    def branches() -> None:
        last(fails())
        last.alias("elsewhere")(one())

    result = branches.execute_in_process(raise_on_error=False)
    assert result.is_node_success("elsewhere")
    assert result.is_node_untouched("last")


# ---- bundles -------------------------------------------------------------------------------------------------------


def test_a_bundle_finds_its_jobs() -> None:
    @job
    def first() -> None:
        one()

    defs = Definitions(jobs=[first, two_steps])
    assert defs.get_job_def("first").name == "first"
    assert sorted(defs.job_names) == ["first", "two_steps"]
    with pytest.raises(UnknownJob, match="'frst'.*'first'") as told:
        defs.get_job_def("frst")
    assert isinstance(told.value, InvariantViolationError), "what code that comes from Dagster catches"

    @job(name="first")
    def second() -> None:
        fails()

    with pytest.raises(InvalidDefinitionError, match="two different jobs named 'first'"):
        Definitions(jobs=[first, second])
    merged = Definitions.merge(defs, Definitions(jobs=[mixed]))
    assert sorted(merged.job_names) == ["first", "mixed", "two_steps"]
    with pytest.raises(InvalidDefinitionError, match="assets"):
        Definitions(assets=[object()])


def test_a_repository_is_a_bundle() -> None:
    @repository
    def ours() -> list[Any]:
        return [mixed, two_steps]

    assert ours.name == "ours"
    assert ours.has_job("mixed")

    @repository
    def listed() -> list[Any]:
        return [[mixed, [two_steps]]]

    assert listed.has_job("mixed")
    assert listed.has_job("two_steps")


def test_a_bundle_binds_its_executor_and_keeps_that_of_a_job() -> None:
    @job
    def plain() -> None: ...

    @job(executor_def=in_process_executor)
    def own() -> None: ...

    defs = Definitions(jobs=[plain, own], executor=multiprocess_executor)
    assert defs.get_job_def("plain").executor_def is multiprocess_executor
    assert defs.get_job_def("own").executor_def is in_process_executor


def test_a_config_class_may_be_shared() -> None:
    class Shared(Config):
        n: int = 1

    @op
    def uses(config: Shared) -> int:
        return config.n

    @job(config=RunConfig(ops={"uses": Shared(n=2), "again": Shared(n=3)}))
    def both() -> None:
        uses()
        uses.alias("again")()

    result = both.execute_in_process()
    assert (result.output_for_node("uses"), result.output_for_node("again")) == (2, 3)
