"""Hooks: who calls them, what they see, and that they change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from opgrid import (
    Config,
    HookContext,
    HookDefinition,
    InvalidDefinitionError,
    InvalidInvocationError,
    OpExecutionContext,
    RetryPolicy,
    build_hook_context,
    build_op_context,
    failure_hook,
    graph,
    job,
    op,
    success_hook,
)
from opgrid.contracts.events import EventType, HookErrored

seen: list[Any] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    seen.clear()


@success_hook
def on_success(context: HookContext) -> None:
    seen.append(("success", context.step_key))


@failure_hook
def on_failure(context: HookContext) -> None:
    seen.append(("failure", context.step_key, repr(context.op_exception)))


@success_hook(name="breaks", required_resource_keys=set())
def breaking(context: HookContext) -> None:
    raise RuntimeError("in the hook")


@success_hook(name="leaves", required_resource_keys=set())
def leaving(context: HookContext) -> None:
    raise SystemExit("in the hook")


class Settings(Config):
    level: int = 3


@op
def fine(config: Settings) -> int:
    return config.level


@op
def fails() -> None:
    raise ValueError("on purpose")


def types(result: Any, node: str) -> list[str]:
    return [event.TYPE.name for event in result.events_for_node(node) if event.TYPE.name.startswith("HOOK")]


def test_a_hook_of_a_job_is_called_for_every_step() -> None:
    @job(hooks={on_success, on_failure})
    def both() -> None:
        fine()
        fails()

    result = both.execute_in_process(raise_on_error=False)
    assert sorted(seen) == [("failure", "fails", "ValueError('on purpose')"), ("success", "fine")]
    assert sorted(types(result, "fine")) == ["HOOK_COMPLETED", "HOOK_SKIPPED"]
    assert sorted(types(result, "fails")) == ["HOOK_COMPLETED", "HOOK_SKIPPED"]


def test_a_hook_of_an_invocation_is_called_for_that_one() -> None:
    @job
    def one() -> None:
        fine.with_hooks({on_success}).alias("hooked")()
        fine.alias("bare")()

    one.execute_in_process()
    assert seen == [("success", "hooked")]


def test_a_hook_of_a_graph_is_called_for_what_is_inside() -> None:
    @graph
    def inner() -> None:
        fine()

    @job
    def outer() -> None:
        inner.with_hooks({on_success})()
        fine()

    outer.execute_in_process()
    assert seen == [("success", "inner.fine")]


@pytest.mark.parametrize("hook", [breaking, leaving])
def test_a_hook_that_raises_fails_nothing(hook: HookDefinition) -> None:
    @job(hooks={hook})
    def broken() -> None:
        fine()

    result = broken.execute_in_process()
    assert result.success
    (event,) = [each for each in result.all_events if isinstance(each, HookErrored)]
    assert "in the hook" in repr(event.error)


def test_a_hook_is_called_once_after_the_last_attempt() -> None:
    @op(retry_policy=RetryPolicy(max_retries=2))
    def always() -> None:
        raise ValueError("again")

    @job(hooks={on_failure})
    def retried() -> None:
        always()

    retried.execute_in_process(raise_on_error=False)
    assert seen == [("failure", "always", "ValueError('again')")]


def test_what_a_hook_sees() -> None:
    @success_hook(required_resource_keys={"store"})
    def looks(context: HookContext) -> None:
        context.log.info("looking")
        seen.append(
            (
                context.op.name,
                context.op_config,
                context.op_output_values,
                context.resources.store,
                context.job_name,
                bool(context.run_id),
                context.hook_def.name,
            )
        )

    @job(hooks={looks}, resource_defs={"store": "a store"})
    def looked_at() -> None:
        fine()

    result = looked_at.execute_in_process()
    ((name, config, outputs, store, job_name, has_run, hook_name),) = seen
    assert (name, config, outputs, store) == ("fine", {"level": 3}, {"result": 3}, "a store")
    assert (job_name, has_run, hook_name) == ("looked_at", True, "looks")
    assert EventType.LOG_MESSAGE in [event.TYPE for event in result.all_events]


def test_the_op_of_a_context_is_its_invocation() -> None:
    @success_hook(name="names", required_resource_keys=set())
    def names(context: HookContext) -> None:
        seen.append(("hook", context.op.name, context.op.definition.name, context.op.tags))

    @op(tags={"of": "op"})
    def told(context: OpExecutionContext) -> None:
        seen.append(("op", context.op.name, context.op_def.name))

    @graph
    def inner() -> None:
        told.tag({"at": "place"}).alias("renamed").with_hooks({names})()

    @job
    def outer() -> None:
        inner()
        told()

    outer.execute_in_process()
    told(build_op_context())
    names(build_hook_context(op=told))
    assert seen == [
        ("op", "renamed", "told"),
        ("hook", "renamed", "told", {"of": "op", "at": "place"}),
        ("op", "told", "told"),
        ("op", "told", "told"),
        ("hook", "told", "told", {"of": "op"}),
    ]
    with pytest.raises(InvalidInvocationError, match="op="):
        _ = build_hook_context().op


def test_what_no_hook_can_be_made_of() -> None:
    with pytest.raises(InvalidDefinitionError, match="hook"):

        @success_hook
        def two(context: HookContext, more: int) -> None: ...

    with pytest.raises(InvalidDefinitionError, match="hook"):

        @job(hooks={fine})  # type: ignore[arg-type]
        def wrong() -> None: ...


def test_a_hook_needs_its_resources() -> None:
    @success_hook(required_resource_keys={"missing"})
    def needy(context: HookContext) -> None: ...

    @job(hooks={needy})
    def needs() -> None:
        fine()

    with pytest.raises(InvalidDefinitionError, match="'missing'"):
        needs.execute_in_process()


def test_a_hook_is_a_function_to_a_test() -> None:
    on_success(build_hook_context(op=fine))
    on_failure(build_hook_context(op=fails, op_exception=ValueError("x")))
    assert [each[0] for each in seen] == ["success", "failure"]
    assert seen[1][2] == "ValueError('x')"
