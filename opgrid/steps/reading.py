"""Stored outputs back into values, through the manager that stored them or the one that the input names."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from opgrid.contracts.tasks import OutputRef, StepTask
from opgrid.definitions.resource import config_of_port
from opgrid.errors import InvalidDefinitionError
from opgrid.ids import node_of
from opgrid.io.context import InputContext, Port
from opgrid.io.manager import InputManager
from opgrid.io.selection import DEFAULT_KEY
from opgrid.steps.attempt import Attempt
from opgrid.steps.resources import open_one
from opgrid.steps.scope import Read

if TYPE_CHECKING:
    from opgrid.steps.scope import Node, RunScope


def reading(attempt: Attempt, name: str, ref: OutputRef) -> Read:
    """By the input's own manager, or the one that stored the output."""
    step = ref.step
    writer, reads = attempt.scope.node(node_of(step) if step[-1] == "]" else step), attempt.node.reads
    if writer.config.outputs:  # which is of this one node, where others of its op have other config
        return _reading(attempt, name, writer, ref.output)
    found = reads.get((name, writer.op, ref.output))
    if found is None:
        found = reads[name, writer.op, ref.output] = _reading(attempt, name, writer, ref.output)
    return found


def _reading(attempt: Attempt, name: str, writer: Node, output: str) -> Read:
    written = writer.writes[output]
    port = attempt.node.ins.get(name)
    own_manager = port.input_manager_key if port is not None else None
    key = own_manager or written.manager
    own = attempt.node.config.inputs.get(name)
    if port is None:
        reader = Port(name, None, own, None, manager=key)
    else:
        schema = config_of_port(attempt.scope.job.resource_defs.get(key), "input") if own_manager else None
        reader = Port(name, port.type, own, port.metadata, manager=key, schema=schema)
    return Read(key, reader, written._replace(manager=key, op=writer.op))


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


def read(attempt: Attempt, how: Read, ref: OutputRef, manager: InputManager) -> tuple[Any, dict[str, Any]]:
    task = attempt.task
    context = InputContext(how.port, None, attempt, run_id=task.run_id, step_key=task.step, writer=how.writer, ref=ref)
    return manager.load_input(context), context.consume_metadata()


def read_without_upstream(attempt: Attempt, name: str, key: str) -> tuple[Any, dict[str, Any]]:
    port = attempt.node.ins[name]
    storer = manager(attempt, key)
    context = InputContext(
        name,
        None,
        attempt,
        run_id=attempt.task.run_id,
        step_key=attempt.task.step,
        type=port.type,
        definition_metadata=port.metadata,
        config=attempt.node.config.inputs.get(name),
        manager=key,
        schema=config_of_port(attempt.scope.job.resource_defs.get(key), "input"),
    )
    value = storer.load_input(context)
    return value, context.consume_metadata()


def load_output(scope: RunScope, ref: OutputRef) -> Any:
    """For a reader that is no step: results after a run."""
    if ref.manifest is None:
        return None
    task = StepTask(ref.run_id, ref.step, node_of(ref.step), ref.attempt)
    attempt = Attempt(task, scope, scope.node(task.node), Deaf(), ref.claim)
    with ExitStack() as stack:
        attempt.stack = stack
        written = attempt.node.writes[ref.output]
        how = Read(written.manager, written._replace(config=None, schema=None), written)
        value, _ = read(attempt, how, ref, manager(attempt, how.manager))
        return value


class Deaf:
    def emit(self, event: object) -> None:
        """Nobody follows this."""
