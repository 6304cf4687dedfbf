"""Resources: opened in the order in which they need each other, once a run or once a step, and ended in the reverse
order.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from opgrid.contracts.events import ErrorInfo, ResourceInitFailed, ResourceInitStarted, ResourceInitSucceeded
from opgrid.errors import (
    InvalidDefinitionError,
    ResourceFunctionError,
    UnknownResourceError,
    UserCodeExecutionError,
    listed,
    nearest,
)
from opgrid.ids import StepKey

if TYPE_CHECKING:
    from opgrid.definitions.resource import ResourceDefinition
    from opgrid.steps.attempt import Attempt


class Resources:
    """``context.resources``: what the op, hook or resource said that it needs, as attributes."""

    __slots__ = ("_owner", "_values")

    def __init__(self, values: Mapping[str, Any], owner: str) -> None:
        self._values = values
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            if name.startswith("__"):
                raise AttributeError(name) from None
            raise UnknownResourceError(
                f"{self._owner[:1].upper()}{self._owner[1:]} has no resource {name!r}.{nearest(name, self._values)} It "
                f"requires: {listed(self._values)}. "
                f"Name it in required_resource_keys, or take it as an annotated parameter."
            ) from None

    def __dir__(self) -> Iterable[str]:
        return list(self._values)

    def _asdict(self) -> dict[str, Any]:
        return dict(self._values)


def open_resources(attempt: Attempt, hooks_only: bool = False) -> None:
    """All that the step needs, its hooks and IO managers included."""
    node = attempt.node
    keys = frozenset(key for hook in node.hooks for key in hook.required_resource_keys) if hooks_only else node.opens
    if keys:
        _open(attempt, keys)


def open_one(attempt: Attempt, key: str) -> Any:
    """A resource that turns out to be needed while the step runs: the IO manager of an upstream output."""
    _open(attempt, frozenset({key}))
    return attempt.opened[key]


def _open(attempt: Attempt, keys: frozenset[str]) -> None:
    """What is open already stays; of a run's resources, those are found open that an earlier step needed."""
    if attempt.scope.lifetime == "run":
        with attempt.scope.lock:
            _open_missing(attempt, keys)
    else:
        _open_missing(attempt, keys)


def _open_missing(attempt: Attempt, keys: frozenset[str]) -> None:
    scope = attempt.scope
    lasting = scope.lifetime == "run"
    opened = scope.opened if lasting else dict(attempt.opened)
    attempt.opened = opened
    attempt.configs = scope.configs if lasting else dict(attempt.configs)
    missing = [key for key in in_order(keys, scope.job.resource_defs, f"step {attempt.whose}") if key not in opened]
    if not missing:
        return
    if lasting:
        stack = scope.stack
    else:
        stack = attempt.stack = attempt.stack or ExitStack()
    step, number = (StepKey(""), 0) if lasting else (attempt.task.step, attempt.task.attempt)
    common: dict[str, Any] = {"run_id": attempt.task.run_id, "step": step, "attempt": number, "keys": tuple(missing)}
    started = time.time()
    attempt.sink.emit(ResourceInitStarted(**common, at=started))
    try:
        for key in missing:
            opened[key] = _open_one(attempt, key, opened, stack)
    except UserCodeExecutionError as error:
        attempt.sink.emit(ResourceInitFailed(**common, at=time.time(), error=ErrorInfo.of(error)))
        raise
    now = time.time()
    attempt.sink.emit(ResourceInitSucceeded(**common, at=now, seconds=now - started))


def _open_one(attempt: Attempt, key: str, opened: Mapping[str, Any], stack: ExitStack) -> Any:
    from opgrid.definitions.resource import InitResourceContext

    scope = attempt.scope
    if key in scope.failed:  # of this run's resources; each step that needs it fails with the same cause
        raise ResourceFunctionError(f"Resource {key!r} could not be opened.") from scope.failed[key]
    definition: ResourceDefinition = scope.job.resource_defs[key]
    try:
        config = scope.brief.config.resources.get(key)
        field = definition.config_field
        innermost, attempt.configs[key] = definition.innermost(config if field is None else field.load(config))
        context = InitResourceContext(
            resource_config=attempt.configs[key],
            resources=Resources(
                {each: opened[each] for each in definition.required_resource_keys}, f"resource {key!r}"
            ),
            resource_def=definition,
            run_id=scope.brief.run_id,
            run_tags=scope.brief.tags,
            log=attempt.log,
            instance=lambda: attempt.instance,
            run=attempt.context.run,
        )
        return stack.enter_context(innermost.open(context))
    except Exception as error:
        if scope.lifetime == "run":
            scope.failed[key] = error
        raise ResourceFunctionError(f"Resource {key!r} could not be opened.") from error


def in_order(keys: frozenset[str], bound: Mapping[str, ResourceDefinition], owner: str) -> Iterator[str]:
    """Each key after those that it needs."""
    done: set[str] = set()
    doing: list[str] = []

    def visit(key: str) -> Iterator[str]:
        if key in done:
            return
        if key in doing:
            raise InvalidDefinitionError(f"Resources need each other in a circle: {' -> '.join([*doing, key])}.")
        if key not in bound:
            needed = f"resource {doing[-1]!r}" if doing else owner
            raise InvalidDefinitionError(
                f"There is no resource {key!r}, which {needed} needs.{nearest(key, bound)} Bound to the job: "
                f"{listed(bound)}. Give it in resource_defs= of the job, or in resources= of the Definitions."
            )
        doing.append(key)
        for each in sorted(bound[key].required_resource_keys):
            yield from visit(each)
        doing.pop()
        done.add(key)
        yield key

    for key in sorted(keys):
        yield from visit(key)
