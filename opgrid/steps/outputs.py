"""The last stage of a step: what the op returned or yields, checked against what it declares, and stored one by one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final

from opgrid.contracts.events import (
    AssetMaterialized,
    AssetObserved,
    ExpectationChecked,
    HandledOutput,
    StepOutput,
)
from opgrid.contracts.facts import AssetMaterialization, AssetObservation, ExpectationResult
from opgrid.contracts.metadata import check_metadata, metadata_to_json
from opgrid.contracts.tasks import OutputRef
from opgrid.crash_points import reach
from opgrid.definitions.events import DynamicOutput, Output
from opgrid.errors import (
    ExecutionHandleOutputError,
    InvalidDefinitionError,
    InvariantViolationError,
    StepOutputNotFoundError,
    listed,
    nearest,
)
from opgrid.io.context import OutputContext
from opgrid.io.manager import IOManager
from opgrid.steps.call import yielded_by
from opgrid.steps.reading import manager
from opgrid.steps.type_checks import check

if TYPE_CHECKING:
    from opgrid.definitions.ports import Out
    from opgrid.steps.attempt import Attempt

_FACTS: Final = AssetMaterialization, AssetObservation, ExpectationResult


def store_outputs(attempt: Attempt, result: Any) -> None:
    """Each output is stored before the op goes on to the next one that it yields."""
    if isinstance(result, GeneratorType):
        with closing(result):
            for item in yielded_by(attempt, result):
                _take(attempt, item)
    else:
        _returned(attempt, result)
    _complete(attempt)


def report(attempt: Attempt, event: Any) -> None:
    """An event of the user's own: yielded, or through ``context.log_event``."""
    task = attempt.task
    common: dict[str, Any] = {"run_id": task.run_id, "at": time.time(), "step": task.step, "attempt": task.attempt}
    match event:
        case AssetMaterialization():
            attempt.sink.emit(AssetMaterialized(**common, **_asset(event)))
        case AssetObservation():
            attempt.sink.emit(AssetObserved(**common, **_asset(event)))
        case ExpectationResult():
            attempt.sink.emit(
                ExpectationChecked(
                    **common,
                    success=event.success,
                    label=event.label,
                    description=event.description,
                    metadata=metadata_to_json(event.metadata),
                )
            )
        case _:
            raise InvariantViolationError(
                f"Step {task.step!r} reported a {type(event).__name__}, which is no event. Use AssetMaterialization, "
                "AssetObservation "
                f"or ExpectationResult."
            )


# ---- what was returned -----------------------------------------------------------------------------------------------


def _returned(attempt: Attempt, result: Any) -> None:
    outs = attempt.node.outs
    if len(outs) == 1:
        (name,) = outs
        _returned_for(attempt, name, outs[name], result)
    elif not outs:
        if result is not None:
            raise InvariantViolationError(
                f"Op {attempt.named_op} declares no outputs, but it returned a {type(result).__name__}."
            )
    else:
        _returned_for_all(attempt, outs, result)


def _returned_for_all(attempt: Attempt, outs: Mapping[str, Out], result: Any) -> None:
    op = attempt.named_op
    if result is None and not any(out.is_required and not out.type.is_nothing for out in outs.values()):
        return
    if not isinstance(result, tuple):
        raise InvariantViolationError(
            f"Op {op} has {len(outs)} outputs ({listed(outs)}), so it has to return a tuple of that many or yield "
            f"them; it returned a {type(result).__name__}."
        )
    if len(result) != len(outs):
        raise InvariantViolationError(
            f"Op {op} has {len(outs)} outputs ({listed(outs)}), but the tuple that it returned has length "
            f"{len(result)}."
        )
    for (name, out), value in zip(outs.items(), result, strict=True):
        _returned_for(attempt, name, out, value)


def _returned_for(attempt: Attempt, name: str, out: Out, value: Any) -> None:
    if out.is_dynamic:
        if not isinstance(value, list) or not all(isinstance(item, DynamicOutput) for item in value):
            raise InvariantViolationError(
                f"Output {name!r} of op {attempt.named_op} is dynamic: return a list of DynamicOutput, or yield them."
            )
        for item in value:
            _named_as(attempt, name, item.output_name)
            _store(attempt, name, out, item.value, item.metadata, item.mapping_key)
    elif isinstance(value, Output):
        _named_as(attempt, name, value.output_name)
        _store(attempt, name, out, value.value, value.metadata, None)
    elif isinstance(value, DynamicOutput):
        _take(attempt, value)
    elif isinstance(value, _FACTS):
        raise InvariantViolationError(
            f"Op {attempt.named_op} returned {value!r} for its output {name!r}, where nobody would hear of it: yield "
            "it, or give it to context.log_event."
        )
    else:
        _store(attempt, name, out, value, None, None)


def _named_as(attempt: Attempt, name: str, given: str) -> None:
    """An ``Output`` in a returned tuple may leave its name at the default."""
    if given not in (name, "result"):
        raise InvariantViolationError(
            f"Op {attempt.named_op} returned an output named {given!r} in the place of {name!r}: "
            f"a returned tuple follows the order of the declared outputs."
        )


# ---- what was yielded ------------------------------------------------------------------------------------------------


def _take(attempt: Attempt, item: Any) -> None:
    match item:
        case Output():
            out = _declared(attempt, item.output_name)
            if out.is_dynamic:
                raise InvariantViolationError(
                    f"Output {item.output_name!r} of op {attempt.named_op} is dynamic: yield a DynamicOutput "
                    "with a mapping key."
                )
            _store(attempt, item.output_name, out, item.value, item.metadata, None)
        case DynamicOutput():
            out = _declared(attempt, item.output_name)
            if not out.is_dynamic:
                raise InvariantViolationError(
                    f"Output {item.output_name!r} of op {attempt.named_op} is not dynamic: declare it as "
                    "DynamicOut, or yield an Output."
                )
            _store(attempt, item.output_name, out, item.value, item.metadata, item.mapping_key)
        case AssetMaterialization() | AssetObservation() | ExpectationResult():
            report(attempt, item)
        case _:
            raise InvariantViolationError(
                f"Op {attempt.named_op} yielded a {type(item).__name__}. An op that yields has to yield Output "
                "or DynamicOutput "
                f"objects (or AssetMaterialization, AssetObservation, ExpectationResult)."
            )


def _declared(attempt: Attempt, name: str) -> Out:
    outs = attempt.node.outs
    if name not in outs:
        raise InvariantViolationError(
            f"Op {attempt.named_op} yielded an output {name!r} that it does not declare.{nearest(name, outs)} "
            f"Declared: {listed(outs)}."
        )
    return outs[name]


def _complete(attempt: Attempt) -> None:
    for name, out in attempt.node.outs.items():
        if name in attempt.yielded or out.is_dynamic:
            continue
        if out.type.is_nothing:
            _store(attempt, name, out, None, None, None)
        elif out.is_required:
            raise StepOutputNotFoundError(
                f"Step {attempt.whose} did not yield its required output {name!r}. "
                f"Yield it, or declare it with Out(is_required=False).",
                attempt.task.step,
                name,
            )


# ---- one output ------------------------------------------------------------------------------------------------------


def _store(
    attempt: Attempt, name: str, out: Out, value: Any, metadata: Mapping[str, Any] | None, mapping_key: str | None
) -> None:
    _only_once(attempt, name, mapping_key)
    task = attempt.task
    report: dict[str, Any] = {}
    wrong = None
    type = attempt.node.checked_outs.get(name)
    if type is not None:
        report, wrong = check(type, attempt, value, "output", name)
    all_metadata: Mapping[str, Any] = metadata or {}
    if attempt.added and (added := attempt.added.pop((name, mapping_key), None)):
        all_metadata = {**all_metadata, **check_metadata(added, f"output {name!r}")}
    attempt.sink.emit(
        StepOutput(
            run_id=task.run_id,
            at=time.time(),
            step=task.step,
            attempt=task.attempt,
            output=name,
            mapping_key=mapping_key,
            metadata=metadata_to_json(all_metadata) if all_metadata else {},
            type_check=report,
        )
    )
    if wrong is not None:
        raise wrong
    ref = OutputRef(task.run_id, task.step, name, mapping_key, task.attempt, attempt.claim)
    attempt.refs.append(ref if out.type.is_nothing else _handled(attempt, ref, out, value, all_metadata))
    _remember(attempt, name, value, all_metadata, mapping_key)


def _handled(attempt: Attempt, ref: OutputRef, out: Out, value: Any, about: Mapping[str, Any]) -> OutputRef:
    key = out.io_manager_key
    storer = manager(attempt, key)
    if storer is not attempt.scope.default_io and not isinstance(storer, IOManager):
        raise InvalidDefinitionError(f"Resource {key!r} only loads inputs: output {ref.output!r} needs an IOManager.")
    context = OutputContext(attempt.node.writes[ref.output], ref, attempt, about)
    metadata: dict[str, Any] = {}
    try:
        handle: Any = storer.handle_output
        told = handle(context, value)
        if isinstance(told, GeneratorType):
            for item in told:
                if isinstance(item, Mapping):
                    metadata.update(item)
                else:
                    report(attempt, item)
    except Exception as error:
        raise not_stored(attempt, ref) from error
    reach("output stored")
    if added := context.consume_metadata():
        metadata.update(added)
    attempt.sink.emit(
        HandledOutput(
            run_id=ref.run_id,
            at=time.time(),
            step=ref.step,
            attempt=ref.attempt,
            output=ref.output,
            manager=key,
            mapping_key=ref.mapping_key,
            metadata=metadata_to_json(metadata) if metadata else {},
        )
    )
    return OutputRef(ref.run_id, ref.step, ref.output, ref.mapping_key, ref.attempt, ref.claim, context.manifest)


def write_outputs(attempt: Attempt) -> None:
    """What waits to be written with others is written, unless it may wait for those of other steps, too."""
    scope = attempt.scope
    if scope.io.bundles is None or (scope.gathers and not attempt.node.hooks and not attempt.node.is_async):
        return
    try:
        scope.io.bundles.write()
    except OSError as error:
        if not scope.gathers:  # else others are among those that were not written
            scope.io.bundles.forgive()
        for ref in attempt.refs:
            if ref.manifest is not None:
                raise not_stored(attempt, ref) from error


def not_stored(attempt: Attempt, ref: OutputRef) -> ExecutionHandleOutputError:
    key = attempt.node.outs[ref.output].io_manager_key
    return ExecutionHandleOutputError(f"Output {ref.output!r} of step {attempt.whose} could not be stored by {key!r}.")


def _only_once(attempt: Attempt, name: str, mapping_key: str | None) -> None:
    if mapping_key is None:
        if name in attempt.yielded:
            raise InvariantViolationError(f"Op {attempt.named_op} gave its output {name!r} twice.")
        attempt.yielded[name] = None
        return
    keys = attempt.yielded.get(name)  # a dynamic output always has a key
    if keys is None:
        keys = attempt.yielded[name] = set()
    if mapping_key in keys:
        raise InvariantViolationError(
            f"Op {attempt.named_op} yielded the mapping key {mapping_key!r} twice for its dynamic output "
            f"{name!r}. Every key names steps of its own: give each value another one."
        )
    keys.add(mapping_key)


def _remember(attempt: Attempt, name: str, value: Any, metadata: Mapping[str, Any], mapping_key: str | None) -> None:
    local = attempt.scope.local
    if local is not None and local.capture:
        local.outputs[attempt.task.step, name, mapping_key] = value
    if not attempt.node.hooks:
        return
    if mapping_key is None:
        attempt.values[name] = value
        attempt.metadata[name] = metadata
    else:
        attempt.values.setdefault(name, {})[mapping_key] = value
        attempt.metadata.setdefault(name, {})[mapping_key] = metadata


def _asset(event: AssetMaterialization | AssetObservation) -> dict[str, Any]:
    return {
        "asset": tuple(event.asset_key.path),
        "description": event.description,
        "partition": event.partition,
        "metadata": metadata_to_json(event.metadata),
        "tags": dict(event.tags or {}),
    }
