"""Loading, calling and failing: the pipeline around an op."""

from __future__ import annotations

import gc
import logging
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from opgrid import (
    Config,
    ConfigurableResource,
    Failure,
    HookContext,
    In,
    InputContext,
    IOManager,
    OpExecutionContext,
    Out,
    OutputContext,
    ResourceDefinition,
    RetryPolicy,
    RetryRequested,
    failure_hook,
    get_logger,
    job,
    op,
    resource,
    success_hook,
)
from opgrid.contracts.config import NodeConfig
from opgrid.contracts.events import (
    EventType,
    HandledOutput,
    HookCompleted,
    HookErrored,
    HookSkipped,
    LoadedInput,
    LogMessage,
    ResourceInitFailed,
    ResourceInitStarted,
    ResourceInitSucceeded,
    StepCanceled,
    StepFailed,
    StepInput,
    StepSucceeded,
)
from opgrid.contracts.tasks import FromConfig, FromDefault, FromInputManager, FromJobInput, Gathered
from opgrid.errors import (
    ExecutionInterruptedError,
    InvariantViolationError,
    ResourceFunctionError,
    TypeCheckDidNotPass,
    UnknownResourceError,
)
from tests.unit.steps.conftest import BenchMaker, node_config


@op
def five() -> int:
    return 5


@op
def add_one(number: int) -> int:
    return number + 1


@op
def total(numbers: list[int], more: int = 10) -> int:
    return sum(numbers) + more


@job
def sums() -> None:
    total([five(), add_one(five.alias("other")())])


def test_values_go_from_step_to_step(bench: BenchMaker) -> None:
    b = bench(sums)
    first = b.stored("five")
    second = b.stored("add_one", number=first)
    assert b.value("total", numbers=Gathered((first.ref, second.ref)), more=FromDefault()) == 21
    loaded = b.sink.only(LoadedInput)
    assert [(event.input, event.upstream_step, event.upstream_output) for event in loaded] == [
        ("number", "five", "result"),
        ("numbers", "five", "result"),
        ("numbers", "add_one", "result"),
    ]
    assert b.sink.only(StepInput)[0].type_check["success"] is True


def test_inputs_from_run_config_and_from_the_caller(bench: BenchMaker) -> None:
    b = bench(
        sums,
        nodes={"add_one": NodeConfig(inputs={"number": {"value": 3}})},
        inputs={"n": 7},
        input_values={"from_caller": 40},
    )
    assert b.value("add_one", number=FromConfig()) == 4
    assert b.value("add_one", number=FromJobInput("n")) == 8
    assert b.value("add_one", number=FromJobInput("from_caller")) == 41


def test_types_of_inputs_are_checked(bench: BenchMaker) -> None:
    b = bench(sums, input_values={"n": "text"})
    error = b.error("add_one", number=FromJobInput("n"))
    assert isinstance(error, TypeCheckDidNotPass)
    assert "'number'" in str(error)
    assert "'Int'" in str(error)


# ---- failing ---------------------------------------------------------------------------------------------------------


def test_failure_carries_the_users_error_and_traceback(bench: BenchMaker) -> None:
    @op
    def divide() -> float:
        return 1 / 0

    @job
    def tested() -> None:
        divide()

    b = bench(tested)
    event = b.failure("divide")
    assert event.error.kind == "ExecutionStepExecutionError"
    assert event.error.cause is not None
    assert event.error.cause.kind == "ZeroDivisionError"
    assert "return 1 / 0" in event.error.cause.traceback
    assert "opgrid/steps" not in event.error.cause.traceback
    assert isinstance(b.local.errors["divide", 1], ZeroDivisionError)


def test_failures_and_retries_as_the_user_asks_for_them(bench: BenchMaker) -> None:
    @op
    def give_up() -> None:
        raise Failure("no use", metadata={"rows": 0}, allow_retries=False)

    @op
    def again() -> None:
        raise RetryRequested(max_retries=3, seconds_to_wait=0.5) from ValueError("flaky")

    @op
    def leave() -> None:
        raise SystemExit(3)

    @job
    def tested() -> None:
        give_up()
        again()
        leave()

    b = bench(tested)
    event = b.failure("give_up")
    assert (event.allow_retries, event.error.kind, event.error.message) == (False, "Failure", "no use")
    assert event.error.metadata["rows"]["value"] == 0
    retry = b.failure("again")
    assert retry.retry is not None
    assert (retry.retry.max_retries, retry.retry.seconds_to_wait) == (3, 0.5)
    assert retry.error.cause is not None
    assert retry.error.cause.message == "flaky"
    assert isinstance(b.error("leave"), SystemExit)


def test_interrupts_cancel_and_a_keyboard_interrupt_goes_on(bench: BenchMaker) -> None:
    @op
    def stopped() -> None:
        raise ExecutionInterruptedError

    @op
    def ctrl_c() -> None:
        raise KeyboardInterrupt

    @job
    def tested() -> None:
        stopped()
        ctrl_c()

    b = bench(tested)
    assert isinstance(b.run("stopped").event, StepCanceled)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            b.run("ctrl_c")
    finally:
        signal.signal(signal.SIGINT, before)
    assert b.sink.types[-1] is EventType.STEP_CANCELED
    assert b.sink.types.count(EventType.STEP_CANCELED) == 2


class Odd(BaseException):
    """No Exception."""


@pytest.mark.parametrize("error", [Odd("on purpose"), KeyboardInterrupt("on purpose")])
def test_whatever_an_op_raises_fails_its_step(bench: BenchMaker, error: BaseException) -> None:
    @op
    def raises() -> None:
        raise error

    @job
    def tested() -> None:
        raises()

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a worker: no keyboard interrupts it
    try:
        failed = bench(tested).run("raises").event
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(failed, StepFailed)
    assert (failed.error.kind, failed.error.message) == (type(error).__name__, "on purpose")


# ---- context and config ----------------------------------------------------------------------------------------------


class Greeting(Config):
    word: str
    times: int = 1


def test_config_reaches_the_op(bench: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @op
    def greet(context: OpExecutionContext, config: Greeting) -> str:
        seen.append(context.op_config)
        return config.word * config.times

    @job
    def tested() -> None:
        greet()

    b = bench(tested, nodes=node_config(greet={"word": "hi", "times": 2}))
    assert b.value("greet") == "hihi"
    assert seen == [{"word": "hi", "times": 2}]


def test_environment_is_read_in_the_step(bench: BenchMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    @op
    def greet(config: Greeting) -> str:
        return config.word

    @job
    def tested() -> None:
        greet()

    b = bench(tested, nodes=node_config(greet={"word": {"env": "OPGRID_TEST_WORD"}}))
    assert "OPGRID_TEST_WORD" in str(b.error("greet"))
    monkeypatch.setenv("OPGRID_TEST_WORD", "hello")
    assert bench(tested, nodes=node_config(greet={"word": {"env": "OPGRID_TEST_WORD"}})).value("greet") == "hello"


def test_the_context_knows_where_it_is(bench: BenchMaker) -> None:
    seen: dict[str, Any] = {}

    @op(tags={"kind": "x"})
    def look(context: OpExecutionContext) -> None:
        seen.update(
            run_id=context.run_id,
            job=context.job_name,
            op=context.op.name,
            handle=context.op_handle,
            key=context.step_key,
            mapping=context.get_mapping_key(),
            retry=context.retry_number,
            tag=context.get_tag("team"),
            partition=context.partition_key,
            same=OpExecutionContext.get() is context,
        )

    @job
    def tested() -> None:
        look()

    b = bench(tested, tags={"team": "a", "opgrid/partition": "p1"})
    b.do(b.task("look", step="look[k1]", mapping_keys=("k1",), retry_number=2))
    assert seen == {
        "run_id": "r1",
        "job": "tested",
        "op": "look",
        "handle": "look",
        "key": "look[k1]",
        "mapping": "k1",
        "retry": 2,
        "tag": "a",
        "partition": "p1",
        "same": True,
    }
    with pytest.raises(InvariantViolationError):
        OpExecutionContext.get()


def test_logs_become_events(bench: BenchMaker) -> None:
    @op
    def speak(context: OpExecutionContext) -> None:
        context.log.info("%s rows", 5)
        context.log.warning("careful")
        get_logger("mine").debug("from below")
        try:
            raise ValueError("caught")
        except ValueError:
            context.log.exception("went wrong")
        context.log.info("%d", "no number")

    @job
    def tested() -> None:
        speak()

    b = bench(tested)
    assert isinstance(b.run("speak").event, StepSucceeded)
    told = [(event.message, event.level, event.logger) for event in b.sink.only(LogMessage)]
    assert told[:4] == [
        ("5 rows", logging.INFO, "opgrid"),
        ("careful", logging.WARNING, "opgrid"),
        ("from below", logging.DEBUG, "mine"),
        ("went wrong", logging.ERROR, "opgrid"),
    ]
    assert "cannot be formatted" in told[4][0]
    error = b.sink.only(LogMessage)[3].error
    assert error is not None
    assert error.message == "caught"


# ---- resources -------------------------------------------------------------------------------------------------------


def lifecycle(trace: list[str]) -> Any:
    @resource
    @contextmanager
    def low(context: Any) -> Iterator[str]:
        trace.append("open low")
        yield "low"
        trace.append("close low")

    @resource(required_resource_keys={"low"})
    @contextmanager
    def high(context: Any) -> Iterator[str]:
        trace.append(f"open high over {context.resources.low}")
        yield "high"
        trace.append("close high")

    @op(required_resource_keys={"high"})
    def use(context: OpExecutionContext) -> str:
        trace.append("use")
        with pytest.raises(UnknownResourceError):
            context.resources.low
        return str(context.resources.high)

    @job(resource_defs={"low": low, "high": high})
    def tested() -> None:
        use()

    return tested


def test_resources_open_in_order_and_close_with_the_step(bench: BenchMaker) -> None:
    trace: list[str] = []
    b = bench(lifecycle(trace))
    b.run("use")
    b.run("use")
    assert trace == ["open low", "open high over low", "use", "close high", "close low"] * 2
    assert [event.keys for event in b.sink.only(ResourceInitStarted)] == [("low", "high")] * 2
    assert [event.step for event in b.sink.only(ResourceInitSucceeded)] == ["use", "use"]


def test_resources_of_a_run_open_once(bench: BenchMaker) -> None:
    trace: list[str] = []
    b = bench(lifecycle(trace), lifetime="run")
    b.run("use")
    b.run("use")
    assert trace == ["open low", "open high over low", "use", "use"]
    b.scope.close()
    assert trace[4:] == ["close high", "close low"]
    assert [event.step for event in b.sink.only(ResourceInitStarted)] == [""]


def test_a_resource_that_cannot_be_opened_fails_the_step(bench: BenchMaker) -> None:
    @resource
    def broken(context: Any) -> Any:
        raise OSError("no such host")

    @op(required_resource_keys={"broken"})
    def use() -> None: ...

    @job(resource_defs={"broken": broken})
    def tested() -> None:
        use()

    for lifetime in ("step", "run"):
        b = bench(tested, lifetime=lifetime)
        event = b.failure("use")
        assert event.error.kind == "ResourceFunctionError"
        assert "'broken'" in event.error.message
        assert b.sink.one(ResourceInitFailed).error is not None
        error = b.error("use")
        assert isinstance(error, ResourceFunctionError)
        assert isinstance(error.__cause__, OSError)


class Server(ConfigurableResource):  # type: ignore[type-arg]
    url: str

    def ping(self) -> str:
        return f"ping {self.url}"


def test_resource_parameters(bench: BenchMaker) -> None:
    @op
    def use(server: Server) -> str:
        return server.ping()

    @job(resource_defs={"server": Server(url="here")})
    def tested() -> None:
        use()

    assert bench(tested, resources=_resource_config(tested)).value("use") == "ping here"

    @op(required_resource_keys={"server"})
    def mocked(context: OpExecutionContext) -> None:
        context.resources.server.ping()

    @job(resource_defs={"server": ResourceDefinition.mock_resource()})
    def with_mock() -> None:
        mocked()

    assert isinstance(bench(with_mock).run("mocked").event, StepSucceeded)


def _resource_config(tested: Any) -> dict[str, Any]:
    resolved: dict[str, Any] = tested.resolve(None).config.resources
    return resolved


# ---- IO managers -----------------------------------------------------------------------------------------------------


class Shelf(IOManager):
    """A user's own manager: values by identifier."""

    def __init__(self) -> None:
        self.shelf: dict[tuple[str, ...], Any] = {}

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        context.add_output_metadata({"kind": type(obj).__name__, **context.definition_metadata})
        self.shelf[tuple(context.get_identifier())] = obj

    def load_input(self, context: InputContext) -> Any:
        assert context.upstream_output is not None
        context.add_input_metadata({"from": context.upstream_output.step_key})
        return self.shelf[tuple(context.get_identifier())]


def test_managers_are_chosen_per_output_and_per_input(bench: BenchMaker) -> None:
    shelf, other = Shelf(), Shelf()

    @op(out=Out(int, io_manager_key="shelf", metadata={"note": "n"}))
    def make() -> int:
        return 5

    @op
    def use(number: int) -> int:
        return number + 1

    @op(ins={"number": In(int, input_manager_key="other")})
    def use_other(number: int) -> int:
        return number + 1

    @job(resource_defs={"shelf": shelf, "other": other})
    def tested() -> None:
        number = make()
        use(number)
        use_other(number)

    b = bench(tested)
    made = b.stored("make")
    assert shelf.shelf == {("r1", "make", "result"): 5}
    handled = b.sink.one(HandledOutput)
    assert handled.manager == "shelf"
    assert {name: data["value"] for name, data in handled.metadata.items()} == {"kind": "int", "note": "n"}
    assert b.value("use", number=made) == 6
    assert b.sink.one(LoadedInput).manager == "shelf"
    other.shelf["r1", "make", "result"] = 40
    assert b.value("use_other", number=made) == 41


def test_an_input_manager_without_upstream(bench: BenchMaker) -> None:
    from opgrid import input_manager

    @input_manager
    def table(context: Any) -> int:
        return 9

    @op(ins={"number": In(int, input_manager_key="table")})
    def use(number: int) -> int:
        return number

    @job(resource_defs={"table": table})
    def tested() -> None:
        use()

    assert bench(tested).value("use", number=FromInputManager()) == 9


def test_a_manager_that_raises_fails_the_step(bench: BenchMaker) -> None:
    class Broken(Shelf):
        def handle_output(self, context: OutputContext, obj: Any) -> None:
            raise OSError("disk full")

    @job(resource_defs={"io_manager": Broken()})
    def tested() -> None:
        five()

    event = bench(tested).failure("five")
    assert event.error.kind == "ExecutionHandleOutputError"
    assert event.error.cause is not None
    assert event.error.cause.message == "disk full"


# ---- hooks -----------------------------------------------------------------------------------------------------------


def hooked(trace: list[Any], **op_arguments: Any) -> Any:
    @success_hook
    def cheer(context: HookContext) -> None:
        trace.append(("cheer", context.op.name, dict(context.op_output_values), context.op_exception))

    @failure_hook
    def mourn(context: HookContext) -> None:
        trace.append(("mourn", context.step_key, type(context.op_exception).__name__))

    @success_hook
    def broken(context: HookContext) -> None:
        raise ValueError("hook")

    @op
    def work() -> int:
        return 1

    @op(**op_arguments)
    def fail() -> None:
        raise KeyError("x")

    @job(hooks={cheer, mourn, broken})
    def tested() -> None:
        work()
        fail()

    return tested


def test_hooks_follow_the_outcome_and_cannot_change_it(bench: BenchMaker) -> None:
    trace: list[Any] = []
    b = bench(hooked(trace))
    assert isinstance(b.run("work").event, StepSucceeded)
    assert trace == [("cheer", "work", {"result": 1}, None)]
    assert b.sink.one(HookCompleted).hook == "cheer"
    assert b.sink.one(HookErrored).hook == "broken"
    assert b.sink.one(HookSkipped).hook == "mourn"
    trace.clear()
    assert isinstance(b.run("fail").event, StepFailed)
    assert trace == [("mourn", "fail", "KeyError")]


def test_failure_hooks_wait_for_the_last_retry(bench: BenchMaker) -> None:
    trace: list[Any] = []
    b = bench(hooked(trace, retry_policy=RetryPolicy(max_retries=1)))
    b.do(b.task("fail"))
    assert trace == []
    b.do(b.task("fail", attempt=2, retry_number=1))
    assert trace == [("mourn", "fail", "KeyError")]


def test_all_hooks_report_where_the_keyboard_interrupts_one(bench: BenchMaker) -> None:
    begun = []

    @success_hook
    def one(context: HookContext) -> None:
        begun.append(context.step_key)
        raise KeyboardInterrupt

    @success_hook
    def another(context: HookContext) -> None:
        begun.append(context.step_key)
        raise KeyboardInterrupt

    @job(hooks={one, another})
    def tested() -> None:
        five()

    b = bench(tested)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            b.run("five")
    finally:
        signal.signal(signal.SIGINT, before)
    assert begun == ["five"]
    assert {event.hook for event in b.sink.events if isinstance(event, HookErrored)} == {"one", "another"}


def test_what_a_step_held_is_let_go_when_it_ends() -> None:
    """Without the garbage collector: large values would wait for it."""
    held: list[weakref.ref[Any]] = []

    @op
    def says(context: OpExecutionContext) -> int:
        context.log.info("here")
        held.append(weakref.ref(context._attempt))
        return 1

    @op
    def takes(context: OpExecutionContext, number: int) -> None:
        held.append(weakref.ref(context._attempt))

    @job
    def lets_go() -> None:
        takes(says())

    gc.disable()
    try:
        assert lets_go.execute_in_process().success
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


def test_a_context_that_is_kept_still_answers() -> None:
    kept: list[OpExecutionContext] = []

    @op
    def keeps(context: OpExecutionContext) -> None:
        kept.append(context)

    @job
    def keeping() -> None:
        keeps()

    keeping.execute_in_process()
    (context,) = kept
    context.log.info("too late for the log, and no error")
    assert context.step_key == "keeps"
