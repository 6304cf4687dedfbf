"""Stored outputs back into values, through the manager that stored them or the one that the input names."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from opgrid.contracts.tasks import OutputRef, StepTask
from opgrid.errors import InvalidDefinitionError
from opgrid.io.context import InputContext, OutputContext
from opgrid.io.manager import InputManager
from opgrid.io.selection import DEFAULT_KEY
from opgrid.steps.attempt import Attempt
from opgrid.steps.resources import open_one

if TYPE_CHECKING:
    from opgrid.steps.scope import RunScope


def manager_for(attempt: Attempt, name: str, ref: OutputRef) -> tuple[str, InputManager]:
    """The input's own manager, or the one that stored the output."""
    port = attempt.node.ins.get(name)
    key = (port.input_manager_key if port is not None else None) or attempt.scope.manager_key(ref)
    return key, manager(attempt, key)


def manager(attempt: Attempt, key: str) -> InputManager:
    """By resource key: opened with the step's resources, or now, for a key that only an upstream op knows."""
    scope = attempt.scope
    found = attempt.opened.get(key)
    if found is None:
        if key == DEFAULT_KEY and key not in scope.job.resource_defs:
            return scope.default_io
        found = open_one(attempt, key)
    if not isinstance(found, InputManager):
        raise InvalidDefinitionError(
            f"Resource {key!r} is used as an IO manager, but it is a {type(found).__name__}: it needs to be an "
            "IOManager or InputManager."
        )
    return found


def read(attempt: Attempt, name: str, ref: OutputRef, key: str, manager: InputManager) -> tuple[Any, dict[str, Any]]:
    scope = attempt.scope
    writer = scope.node(_node(ref))
    out = writer.outs[ref.output]
    port = attempt.node.ins.get(name)
    upstream = OutputContext(
        ref.output,
        ref,
        attempt,
        type=out.type,
        definition_metadata=out.metadata,
        resource_config=scope.brief.config.resources.get(key),
    )
    context = InputContext(
        name,
        upstream,
        attempt,
        run_id=attempt.task.run_id,
        step_key=attempt.task.step,
        type=None if port is None else port.type,
        definition_metadata=None if port is None else port.metadata,
        config=attempt.node.config.inputs.get(name),
        resource_config=upstream.resource_config,
    )
    value = manager.load_input(context)
    return value, context.consume_metadata()


def read_without_upstream(attempt: Attempt, name: str, key: str) -> tuple[Any, dict[str, Any]]:
    port = attempt.node.ins[name]
    context = InputContext(
        name,
        None,
        attempt,
        run_id=attempt.task.run_id,
        step_key=attempt.task.step,
        type=port.type,
        definition_metadata=port.metadata,
        config=attempt.node.config.inputs.get(name),
        resource_config=attempt.brief.config.resources.get(key),
    )
    value = manager(attempt, key).load_input(context)
    return value, context.consume_metadata()


def load_output(scope: RunScope, ref: OutputRef) -> Any:
    """For a reader that is no step: results after a run."""
    if ref.manifest is None:
        return None
    task = StepTask(ref.run_id, ref.step, _node(ref), ref.attempt)
    attempt = Attempt(task, scope, scope.node(task.node), _Deaf(), ref.claim)
    with ExitStack() as stack:
        attempt.stack = stack
        key = scope.manager_key(ref)
        value, _ = read(attempt, ref.output, ref, key, manager(attempt, key))
        return value


def _node(ref: OutputRef) -> Any:
    from opgrid.ids import split_step_key

    return split_step_key(ref.step)[0]


class _Deaf:
    def emit(self, event: object) -> None:
        """Nobody follows this."""
